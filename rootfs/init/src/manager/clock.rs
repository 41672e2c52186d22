//! What timers need of the world: the wall clock and when it is set (timerfd(2)), time zones,
//! the stamps of persistent timers on STATE.

use super::{Manager, now};
use crate::engine::UnitId;
use crate::time::Zone;
use crate::unit::far;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Where time zones are, if the image or the user brings them.
const ZONES: &str = "/usr/share/zoneinfo";
/// The largest time zone file read; the largest there is has 4 KiB.
const MAX_ZONE_BYTES: u64 = 256 << 10;

/// A descriptor that becomes readable when the wall clock is set.
pub(super) fn watch() -> io::Result<TimerFd> {
    let timer = TimerFd::new(ClockId::CLOCK_REALTIME, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
    arm(&timer)?;
    Ok(timer)
}

/// It never elapses, it is only cancelled.
fn arm(timer: &TimerFd) -> io::Result<()> {
    let never = TimeSpec::from_duration(Duration::from_secs(i64::MAX as u64 / 1_000_000_000));
    let flags = TimerSetTimeFlags::TFD_TIMER_ABSTIME | TimerSetTimeFlags::TFD_TIMER_CANCEL_ON_SET;
    Ok(timer.set(Expiration::OneShot(never), flags)?)
}

fn wall_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

fn read_zone(path: &Path) -> io::Result<Zone> {
    let bytes = far::within(path, |path| {
        let file = fs::File::open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        let mut bytes = Vec::new();
        file.take(MAX_ZONE_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    })?;
    Zone::parse(&bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))
}

/// When a persistent timer ran last, by the time of its stamp; microseconds since 1970.
pub(super) fn stamp_of(path: &Path) -> Option<i64> {
    let modified = fs::metadata(path).and_then(|meta| meta.modified()).ok()?;
    i64::try_from(modified.duration_since(UNIX_EPOCH).ok()?.as_micros()).ok()
}

impl Manager {
    /// Gives the engine what the clock shows now. Called at the start, and when it was set.
    pub(super) fn read_clock(&mut self, clock_set: bool, zone_set: bool) {
        let at = now();
        let mut clock = self.engine.clock().clone();
        if !clock_set && !zone_set {
            clock.startup = at;
            clock.machine_id.clone_from(&self.loader.facts.machine_id);
            clock.boot_id.clone_from(&self.loader.facts.boot_id);
        }
        clock.epoch_us = wall_us().saturating_sub(i64::try_from(at.as_micros()).unwrap_or(0));
        clock.local = match read_zone(Path::new("/etc/localtime")) {
            Ok(zone) => zone,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Zone::utc(),
            Err(error) => {
                self.tell(None, 4, &format!("/etc/localtime: {error}; timers go by UTC"));
                Zone::utc()
            }
        };
        self.engine.set_clock(clock, clock_set, zone_set, at);
    }

    /// The wall clock was set.
    pub(super) fn clock_set(&mut self) {
        // Reading it says ECANCELED, and the timer is to be set again.
        let _ = self.clock.wait();
        if let Err(error) = arm(&self.clock) {
            self.tell(None, 3, &format!("timers no longer hear of the clock being set: {error}"));
        }
        self.read_clock(true, false);
    }

    /// Reads the time zones that timers name.
    pub(super) fn read_zones(&mut self) {
        let missing = self.engine.missing_zones();
        if missing.is_empty() {
            return;
        }
        let mut clock = self.engine.clock().clone();
        for name in missing {
            match read_zone(&Path::new(ZONES).join(&name)) {
                Ok(zone) => _ = clock.zones.insert(name, zone),
                Err(error) => self.tell(None, 4, &format!("time zone {name}: {error}")),
            }
        }
        self.engine.set_clock(clock, false, false, now());
    }

    pub(super) fn stamp_path(&self, id: UnitId) -> PathBuf {
        self.paths.stamps.join(format!("stamp-{}", self.engine.unit(id).name))
    }

    /// Keeps the present moment. In a thread: STATE's disk may be slow, and PID 1 does not wait.
    pub(super) fn write_stamp(&mut self, id: UnitId) {
        let path = self.stamp_path(id);
        let write = move || {
            let made = path.parent().map_or(Ok(()), fs::create_dir_all);
            // A new file of the same name: its time is the stamp, and a cut leaves the old one.
            let new = path.with_extension("timer.new");
            made.and_then(|()| fs::write(&new, b"")).and_then(|()| fs::rename(&new, &path))
        };
        let builder = std::thread::Builder::new().name("stamp".into());
        let begun = builder.spawn(move || {
            // Without it the timer runs once too often after the next boot.
            let _ = write();
        });
        if let Err(error) = begun {
            self.tell(Some(id), 4, &format!("its last run is not kept: {error}"));
        }
    }
}
