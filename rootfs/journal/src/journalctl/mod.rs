//! `journalctl`: shows the journal (journalctl(1), the part that is named in its usage).

mod call;

use crate::daemon::control;
use crate::entry::Entry;
use crate::folder::{self, FOLDER};
use crate::query::Query;
use crate::read::{Follower, boots, last_sequence, read, values};
use crate::show::Form;
use crate::sockets::RUNTIME;
use crate::time::Civil;
use crate::verify::verify;
use crate::write::Stamp;
use call::{Action, BootChoice, Call, USAGE};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use std::fs;
use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;
use std::path::Path;

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}\nhint: {USAGE}")]
    Usage(String),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Refused(String),
    /// Already told.
    #[error("the journal is damaged")]
    Damaged,
}

/// Runs a call; prints to stdout and stderr and gives the exit code: 0 done, 1 failed, 2 usage.
pub fn main(arguments: &[String]) -> u8 {
    let mut out = BufWriter::with_capacity(64 << 10, io::stdout().lock());
    let now_us = Stamp::now().realtime_us;
    let result = Call::parse(arguments, now_us).map_err(Failure::Usage).and_then(|call| {
        run(&call, &mut out)?;
        Ok(out.flush()?)
    });
    match result {
        Ok(()) => 0,
        // The reader of our pipe has seen enough.
        Err(Failure::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => 0,
        Err(failure) => {
            eprintln!("error: {failure}");
            if matches!(failure, Failure::Usage(_)) { 2 } else { 1 }
        }
    }
}

fn run(call: &Call, out: &mut impl Write) -> Result<(), Failure> {
    let folder = call.folder.as_deref().unwrap_or(Path::new(FOLDER));
    match &call.action {
        Action::Show => show(call, folder, out),
        Action::ListBoots => {
            let boots = boots(folder)?;
            for (number, boot) in boots.iter().enumerate() {
                let offset = number as i64 - boots.len() as i64 + 1;
                let time = |us| Civil::from_us(us).full();
                writeln!(out, "{offset:3} {} {}—{}", boot.id, time(boot.first_us), time(boot.last_us))?;
            }
            Ok(())
        }
        Action::Field(name) => {
            for value in values(folder, name)? {
                out.write_all(&value)?;
                writeln!(out)?;
            }
            Ok(())
        }
        Action::DiskUsage => {
            let bytes = folder::disk_usage(folder)?;
            let mib = bytes as f64 / f64::from(1 << 20);
            Ok(writeln!(out, "The journal takes {mib:.1}M on the disk ({bytes} bytes).")?)
        }
        Action::Verify => {
            let verdicts = verify(folder)?;
            for verdict in &verdicts {
                let state = if verdict.closed { "closed" } else { "open" };
                let good = if verdict.faults.is_empty() { "PASS" } else { "FAIL" };
                writeln!(out, "{good}: {} ({} entries, {state})", verdict.path.display(), verdict.entries)?;
                for fault in &verdict.faults {
                    writeln!(out, "      {fault}")?;
                }
            }
            let good = verdicts.iter().all(|verdict| verdict.faults.is_empty());
            good.then_some(()).ok_or(Failure::Damaged)
        }
        Action::Header => {
            for path in folder::segments(folder)? {
                let Ok(segment) = folder::open(&path) else {
                    writeln!(out, "{}: unreadable", path.display())?;
                    continue;
                };
                let directory = segment.directory();
                let (first, last) = directory.times();
                let time = |us| Civil::from_us(us).full();
                let state = if segment.is_closed() { "closed" } else { "open" };
                let entries = directory.entries();
                let name = path.display();
                writeln!(out, "{name}: {state}, {entries} entries, {} to {}", time(first), time(last))?;
            }
            Ok(())
        }
        Action::Ask(request) => control::ask(Path::new(RUNTIME), *request).map_err(Failure::Refused),
    }
}

/// The condition for a boot.
fn of_boot(call: &Call, folder: &Path, choice: &BootChoice) -> Result<Query, Failure> {
    if *choice == BootChoice::Offset(0) && call.folder.is_none() {
        let id = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
        return Ok(Query::field("_BOOT_ID", id.trim().replace('-', "")));
    }
    let boots = boots(folder)?;
    let place = match choice {
        BootChoice::Offset(offset) if *offset > 0 => Some(offset - 1),
        BootChoice::Offset(offset) => Some(boots.len() as i64 - 1 + offset),
        BootChoice::Id(id, offset) => {
            boots.iter().position(|boot| boot.id == *id).map(|place| place as i64 + offset)
        }
    };
    let boot = place.and_then(|place| boots.get(usize::try_from(place).ok()?));
    let boot = boot.ok_or_else(|| Failure::Refused("there are no entries of that boot".into()))?;
    Ok(Query::field("_BOOT_ID", &boot.id))
}

fn show(call: &Call, folder: &Path, out: &mut impl Write) -> Result<(), Failure> {
    let query = match &call.boot {
        None => call.query.clone(),
        Some(choice) => call.query.clone().and(of_boot(call, folder, choice)?),
    };
    let newest = last_sequence(folder)?;
    let mut printer = Printer { call, boot: String::new(), last: None };
    let wanted = |entry: &Entry| entry.sequence > call.after && entry.sequence <= newest;
    match (call.lines, call.reverse) {
        (None, reverse) => {
            for entry in read(folder, &query, call.span, reverse)?.filter(wanted) {
                printer.print(&entry, out)?;
            }
        }
        (Some(count), reverse) => {
            let newest = read(folder, &query, call.span, true)?;
            let mut found: Vec<Entry> = newest.filter(wanted).take(count).collect();
            if !reverse {
                found.reverse();
            }
            for entry in &found {
                printer.print(entry, out)?;
            }
        }
    }
    if call.follow {
        follow(folder, &query, newest.max(call.after), &mut printer, out)?;
    }
    match &printer.last {
        Some(cursor) if call.show_cursor => writeln!(out, "-- cursor: {cursor}")?,
        None if !call.quiet => eprintln!("-- No entries --"),
        _ => {}
    }
    Ok(())
}

struct Printer<'a> {
    call: &'a Call,
    boot: String,
    last: Option<String>,
}

impl Printer<'_> {
    fn print(&mut self, entry: &Entry, out: &mut impl Write) -> io::Result<()> {
        let short = matches!(
            self.call.form,
            Form::Short | Form::ShortIso | Form::ShortPrecise | Form::ShortMonotonic
        );
        if short && !self.call.quiet {
            let boot = entry.text("_BOOT_ID");
            if boot != self.boot && !boot.is_empty() {
                if !self.boot.is_empty() {
                    writeln!(out, "-- Boot {boot} --")?;
                }
                self.boot = boot;
            }
        }
        if self.call.show_cursor || self.last.is_none() {
            self.last = Some(entry.cursor().to_string());
        }
        self.call.form.write(entry, out)
    }
}

/// Prints what comes, until nobody reads it any more.
fn follow(
    folder: &Path,
    query: &Query,
    after: u64,
    printer: &mut Printer<'_>,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let watch = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).map_err(io::Error::from)?;
    watch
        .add_watch(folder, AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO)
        .map_err(io::Error::from)?;
    let mut follower = Follower::new(folder, after);
    let stdout = io::stdout();
    loop {
        for entry in follower.next_entries()?.iter().filter(|entry| query.takes(entry)) {
            let until = printer.call.span.until_us;
            if entry.realtime_us <= until {
                printer.print(entry, out)?;
            }
        }
        out.flush()?;
        let mut fds =
            [PollFd::new(watch.as_fd(), PollFlags::POLLIN), PollFd::new(stdout.as_fd(), PollFlags::empty())];
        match poll(&mut fds, PollTimeout::NONE) {
            Err(nix::errno::Errno::EINTR) => continue,
            result => _ = result.map_err(io::Error::from)?,
        }
        // A closed pipe is an error that is always told.
        let gone = PollFlags::POLLERR | PollFlags::POLLHUP | PollFlags::POLLNVAL;
        if fds[1].revents().is_some_and(|events| events.intersects(gone)) {
            return Ok(());
        }
        while watch.read_events().is_ok_and(|events| !events.is_empty()) {}
    }
}
