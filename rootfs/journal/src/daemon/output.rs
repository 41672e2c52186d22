//! From what was said to entries: limits, the fields that the journal adds, the writer, the disk.

use super::process::{Credentials, Known};
use super::run::Daemon;
use super::unit::Settings;
use crate::field::join;
use crate::folder;
use crate::write::{Recovery, Shared, Stamp, Sync, Writer};
use std::fmt::Write as _;
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

/// sd-messages.h: `SD_MESSAGE_JOURNAL_DROPPED`.
const DROPPED_ID: &str = "a596d6fe7bfa4994828e72309e95d61e";
/// `SD_MESSAGE_JOURNAL_START`.
const STARTED_ID: &str = "f77379a8490b408bbe5f6940505a777b";
/// `SD_MESSAGE_JOURNAL_STOP`.
const STOPPED_ID: &str = "d93fb3c9c24d451a97cea615ce59c00b";

/// How long until a folder that cannot be written to is tried again.
const RETRY: Duration = Duration::from_secs(10);
/// How often old segments are looked for besides when one is closed.
const VACUUM: Duration = Duration::from_hours(1);
/// Entries of this priority and more urgent ones are made durable at once.
const URGENT: u8 = 2;

/// The writer and the state of what it wrote.
pub(super) struct Output {
    pub(super) writer: Option<Writer>,
    retry_at: Duration,
    vacuum_at: Duration,
    /// Entries lost while there was no writer.
    lost: u64,
    dirty_since: Option<Duration>,
    urgent: bool,
    to_sync: SyncSender<Sync>,
    synced: Receiver<Sync>,
    syncing: bool,
}

impl Output {
    /// Starts the thread that waits for the disk; it writes a byte into `wake` each time.
    pub(super) fn start(wake: UnixStream) -> io::Result<Self> {
        let (to_sync, work) = sync_channel::<Sync>(1);
        let (done, synced) = sync_channel(1);
        thread::Builder::new().name("sync".into()).stack_size(64 << 10).spawn(move || {
            for sync in work {
                // If the disk fails, no mark says that it is durable.
                if sync.run().is_ok() && done.send(sync).is_err() {
                    return;
                }
                let _ = (&wake).write(&[0]);
            }
        })?;
        Ok(Self {
            writer: None,
            retry_at: Duration::ZERO,
            vacuum_at: VACUUM,
            lost: 0,
            dirty_since: None,
            urgent: false,
            to_sync,
            synced,
            syncing: false,
        })
    }

    /// When there is something to be done without an event.
    pub(super) fn deadline(&self, sync_interval: Duration) -> Option<Duration> {
        let sync = self.dirty_since.filter(|_| !self.syncing).map(|since| since + sync_interval);
        let retry = self.writer.is_none().then_some(self.retry_at);
        [sync, retry, Some(self.vacuum_at)].into_iter().flatten().min()
    }
}

impl Daemon {
    /// Opens the journal; a folder that cannot be used is tried again later.
    pub(super) fn open_writer(&mut self) {
        self.output.retry_at = self.now + RETRY;
        let size = std::fs::create_dir_all(&self.options.folder)
            .ok()
            .and_then(|()| folder::file_system(&self.options.folder))
            .map_or(1 << 30, |(size, _)| size);
        let limits = self.config.limits(size);
        let Ok((writer, recoveries)) = Writer::start(&self.options.folder, limits) else { return };
        self.output.writer = Some(writer);
        self.say(6, &[("MESSAGE", "Journal started"), ("MESSAGE_ID", STARTED_ID)]);
        for recovery in recoveries {
            let (priority, message) = told(&recovery);
            self.say(priority, &[("MESSAGE", &message)]);
        }
        if let Some(writer) = &mut self.output.writer {
            writer.vacuum(Stamp::now().realtime_us);
        }
    }

    /// Whether an entry of this service may pass, and what its unit says of it. Its unit, or its user if
    /// it has none.
    pub(super) fn passes(
        &mut self,
        unit: Option<&str>,
        who: Credentials,
        priority: u8,
    ) -> Option<Rc<Settings>> {
        if who.pid == 1 {
            return Some(Rc::default());
        }
        let settings = unit.map_or_else(Rc::default, |unit| self.units.get(unit));
        if settings.level_max.is_some_and(|level| priority > level) {
            return None;
        }
        let user;
        let service = match unit {
            Some(unit) => unit,
            None => {
                user = format!("user {}", who.uid);
                &user
            }
        };
        let (interval, burst) = (settings.rate_interval, settings.rate_burst);
        let (pass, dropped) = self.rate.check_with(service, self.now, interval, burst);
        if dropped > 0 {
            let service = service.to_owned();
            self.tell_dropped(&service, dropped);
        }
        pass.then_some(settings)
    }

    pub(super) fn tell_dropped(&mut self, service: &str, count: u64) {
        let message = format!("Suppressed {count} messages from {service}");
        let number = count.to_string();
        self.say(
            4,
            &[
                ("MESSAGE", &message),
                ("MESSAGE_ID", DROPPED_ID),
                ("N_DROPPED", &number),
                ("OBJECT_SYSTEMD_UNIT", service),
            ],
        );
    }

    /// An entry of the journal's own.
    pub(super) fn say(&mut self, priority: u8, fields: &[(&str, &str)]) {
        let own = self.processes.get(self.own, self.now);
        let mut own_fields: Vec<Vec<u8>> = fields.iter().map(|(name, value)| join(name, value)).collect();
        own_fields.push(join("PRIORITY", priority.to_string()));
        let driver = self.driver.clone();
        let borrowed: Vec<&[u8]> = own_fields.iter().map(Vec::as_slice).collect();
        self.record(priority, &known(&own, &driver), &borrowed);
    }

    /// Something that a client did wrong; not more often than any service may speak.
    pub(super) fn complain(&mut self, message: &str) {
        if self.rate.check("systemd-journald.service", self.now).0 {
            self.say(4, &[("MESSAGE", message)]);
        }
    }

    /// Writes an entry; the fields of this host are added.
    pub(super) fn record(&mut self, priority: u8, shared: &[&Shared], own: &[&[u8]]) {
        let Some(writer) = &mut self.output.writer else {
            self.output.lost += 1;
            return;
        };
        let mut all = Vec::with_capacity(shared.len() + 1);
        all.push(&*self.host);
        all.extend(shared);
        writer.append(self.stamp, &all, own);
        self.output.urgent |= priority <= URGENT;
        self.output.dirty_since.get_or_insert(self.now);
    }

    /// At the end of each turn: what was collected goes into the file, what is due to the disk.
    pub(super) fn settle_output(&mut self) {
        if self.output.writer.is_none() && self.now >= self.output.retry_at {
            self.open_writer();
        }
        let Some(writer) = &mut self.output.writer else { return };
        writer.flush();
        while let Ok(sync) = self.output.synced.try_recv() {
            writer.synced(&sync);
            self.output.syncing = false;
        }
        let due = self
            .output
            .dirty_since
            .is_some_and(|since| self.output.urgent || self.now >= since + self.config.sync_interval);
        if due && !self.output.syncing {
            self.output.dirty_since = None;
            self.output.urgent = false;
            if let Some(sync) = writer.sync() {
                self.output.syncing = self.output.to_sync.try_send(sync).is_ok();
            }
        }
        if self.now >= self.output.vacuum_at {
            self.output.vacuum_at = self.now + VACUUM;
            writer.vacuum(self.stamp.realtime_us);
        }
        let lost = writer.take_lost() + std::mem::take(&mut self.output.lost);
        if lost > 0 {
            let message = format!("{lost} entries were lost: the disk is full or fails");
            self.say(3, &[("MESSAGE", &message)]);
        }
    }

    /// Writes all and waits until it is on the disk.
    pub(super) fn sync_now(&mut self) -> Result<(), String> {
        let Some(writer) = &mut self.output.writer else {
            return Err(format!("{} cannot be written to", self.options.folder.display()));
        };
        if let Some(sync) = writer.sync() {
            sync.run().map_err(|error| error.to_string())?;
            writer.synced(&sync);
            writer.flush();
        }
        self.output.dirty_since = None;
        Ok(())
    }

    pub(super) fn end_output(&mut self) {
        for (service, count) in self.rate.all() {
            self.tell_dropped(&service, count);
        }
        self.say(6, &[("MESSAGE", "Journal stopped"), ("MESSAGE_ID", STOPPED_ID)]);
        self.output.writer = None; // closes it
    }
}

/// The shared fields of a process, with its unit if it has one of its own.
pub(super) fn known<'a>(known: &'a Known, more: &'a Shared) -> Vec<&'a Shared> {
    let unit = known.unit.as_ref().map(|(_, shared)| &**shared);
    [&*known.process, more].into_iter().chain(unit).collect()
}

fn told(recovery: &Recovery) -> (u8, String) {
    let Recovery { path, entries, torn_bytes, damaged_bytes, unsynced_bytes, missing_bytes } = recovery;
    let mut text = format!("{} was not closed: {entries} entries are kept", path.display());
    if *unsynced_bytes > 0 {
        // Writing into a string does not fail, here and below.
        let _ = write!(text, ", {unsynced_bytes} bytes of them had not been synced, so more may be lost");
    }
    for (bytes, what) in [
        (torn_bytes, "were written in part and are cut away"),
        (damaged_bytes, "are damaged"),
        (missing_bytes, "had been synced and are missing"),
    ] {
        if *bytes > 0 {
            let _ = write!(text, ", {bytes} bytes {what}");
        }
    }
    (if damaged_bytes + missing_bytes > 0 { 3 } else { 4 }, text)
}
