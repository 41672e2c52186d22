//! `journalctl`: shows the journal (journalctl(1), the part that is named in its usage).

mod call;
mod catalog;

use crate::daemon::control::{self, Request};
use crate::entry::Entry;
use crate::folder::{self, FOLDER};
use crate::query::Query;
use crate::read::{Follower, boots, last_sequence, names, read, values};
use crate::show::{FORMS, Previous, size};
use crate::sockets::RUNTIME;
use crate::time::Civil;
use crate::verify::verify;
use crate::write::Stamp;
use call::{Action, BootChoice, Call, Lines, Place, USAGE};
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

/// Runs a call; prints to stdout and stderr and gives the exit code: 0 done, 1 failed or nothing
/// matched `--grep`, 2 usage.
pub fn main(arguments: &[String]) -> u8 {
    let mut out = BufWriter::with_capacity(64 << 10, io::stdout().lock());
    let now_us = Stamp::now().realtime_us;
    let result = Call::parse(arguments, now_us).map_err(Failure::Usage).and_then(|call| {
        let code = run(&call, &mut out)?;
        out.flush()?;
        Ok(code)
    });
    match result {
        Ok(code) => code,
        // The reader of our pipe has seen enough.
        Err(Failure::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => 0,
        Err(failure) => {
            eprintln!("error: {failure}");
            if matches!(failure, Failure::Usage(_)) { 2 } else { 1 }
        }
    }
}

fn run(call: &Call, out: &mut impl Write) -> Result<u8, Failure> {
    let folder = call.folder.as_deref().unwrap_or(Path::new(FOLDER));
    match &call.action {
        Action::Show => return Ok(u8::from(!show(call, folder, out)?)),
        Action::Usage => writeln!(out, "{USAGE}")?,
        Action::Forms => FORMS.iter().try_for_each(|(name, _)| writeln!(out, "{name}"))?,
        Action::ListBoots => list_boots(call, folder, out)?,
        Action::Names => lines(names(folder)?, out)?,
        Action::Field(name) => lines(values(folder, name)?, out)?,
        Action::DiskUsage => {
            let size = size(folder::disk_usage(folder)?);
            writeln!(out, "Archived and active journals take up {size} in the file system.")?;
        }
        Action::Verify => verify_all(folder, out)?,
        Action::Header => headers(folder, out)?,
        Action::Ask(requests) => {
            for request in requests {
                let before = folder::disk_usage(folder)?;
                control::ask(Path::new(RUNTIME), *request).map_err(Failure::Refused)?;
                if matches!(request, Request::Vacuum { .. }) && !call.quiet {
                    let freed = size(before.saturating_sub(folder::disk_usage(folder)?));
                    eprintln!(
                        "Vacuuming done, freed {freed} of archived journals from {}.",
                        folder.display()
                    );
                }
            }
        }
    }
    Ok(0)
}

fn lines(values: impl IntoIterator<Item = Vec<u8>>, out: &mut impl Write) -> io::Result<()> {
    values.into_iter().try_for_each(|value| {
        out.write_all(&value)?;
        writeln!(out)
    })
}

fn list_boots(call: &Call, folder: &Path, out: &mut impl Write) -> Result<(), Failure> {
    let boots = boots(folder)?;
    if !call.quiet {
        writeln!(out, "{:>3} {:32} {:27} LAST ENTRY", "IDX", "BOOT ID", "FIRST ENTRY")?;
    }
    for (number, boot) in boots.iter().enumerate() {
        let offset = number as i64 - boots.len() as i64 + 1;
        let time = |us| Civil::from_us(us).full();
        writeln!(out, "{offset:3} {} {} {}", boot.id, time(boot.first_us), time(boot.last_us))?;
    }
    Ok(())
}

fn verify_all(folder: &Path, out: &mut impl Write) -> Result<(), Failure> {
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

fn headers(folder: &Path, out: &mut impl Write) -> Result<(), Failure> {
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

/// The condition for units, each a name or a pattern.
fn of_units(units: &[String], folder: &Path) -> Result<Query, Failure> {
    let mut wanted = Vec::new();
    for unit in units {
        if !unit.contains(['*', '?']) {
            wanted.push(Query::unit(unit));
            continue;
        }
        for name in ["_SYSTEMD_UNIT", "UNIT", "OBJECT_SYSTEMD_UNIT", "COREDUMP_UNIT"] {
            let known = values(folder, name)?.into_iter().filter(|known| glob(unit.as_bytes(), known));
            wanted.extend(known.map(|known| Query::unit(&String::from_utf8_lossy(&known))));
        }
    }
    if wanted.is_empty() {
        return Err(Failure::Refused("no unit of which there are entries matches".into()));
    }
    Ok(Query::Any(wanted))
}

/// `*` and `?`, as glob(7).
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut place) = (0, 0);
    // Where the last `*` is, and how far it reaches.
    let mut star: Option<(usize, usize)> = None;
    while place < text.len() {
        match (pattern.get(at), star) {
            (Some(b'*'), _) => {
                star = Some((at, place));
                at += 1;
            }
            (Some(byte), _) if *byte == b'?' || *byte == text[place] => {
                at += 1;
                place += 1;
            }
            (_, Some((begin, reach))) => {
                star = Some((begin, reach + 1));
                at = begin + 1;
                place = reach + 1;
            }
            _ => return false,
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

/// Shows entries; whether there were any, or none were looked for by their text.
fn show(call: &Call, folder: &Path, out: &mut impl Write) -> Result<bool, Failure> {
    let mut query = call.query.clone();
    if let Some(choice) = &call.boot {
        query = query.and(of_boot(call, folder, choice)?);
    }
    if !call.units.is_empty() {
        query = query.and(of_units(&call.units, folder)?);
    }
    let newest = last_sequence(folder)?;
    let mut place = call.place;
    if let Some(file) = &call.cursor_file {
        match fs::read_to_string(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            text => {
                let number = call::cursor(&text?);
                let number =
                    number.ok_or_else(|| Failure::Refused("there is no cursor in the file".into()))?;
                place = Some(Place::Behind(number));
            }
        }
    }
    // With -r, what is before the place is shown.
    let (first, last) = match (place, call.reverse) {
        (None, _) => (0, newest),
        (Some(Place::At(number)), false) => (number, newest),
        (Some(Place::Behind(number)), false) => (number.saturating_add(1), newest),
        (Some(Place::At(number)), true) => (0, number),
        (Some(Place::Behind(number)), true) => (0, number.saturating_sub(1)),
    };
    let mut printer = Printer { call, boot: String::new(), previous: None, last: None };
    let wanted = |entry: &Entry| (first..=last).contains(&entry.sequence) && found(call, entry);
    let entries =
        |reverse| Ok::<_, io::Error>(read(folder, &query, call.span, reverse)?.from_sequence(first));
    match (call.lines, call.reverse) {
        (Lines::All, reverse) => {
            for entry in entries(reverse)?.filter(wanted) {
                printer.print(&entry, out)?;
            }
        }
        (Lines::Oldest(count), false) => {
            for entry in entries(false)?.filter(wanted).take(count) {
                printer.print(&entry, out)?;
            }
        }
        (Lines::Newest(count), true) => {
            for entry in entries(true)?.filter(wanted).take(count) {
                printer.print(&entry, out)?;
            }
        }
        (Lines::Newest(count) | Lines::Oldest(count), _) => {
            let mut found: Vec<Entry> = entries(!call.reverse)?.filter(wanted).take(count).collect();
            found.reverse();
            for entry in &found {
                printer.print(entry, out)?;
            }
        }
    }
    if call.follow {
        follow(folder, &query, newest.max(first.saturating_sub(1)), &mut printer, out)?;
    }
    if let (Some(file), Some(cursor)) = (&call.cursor_file, &printer.last) {
        let new = file.with_added_extension("new");
        fs::write(&new, format!("{cursor}\n"))?;
        fs::rename(new, file)?;
    }
    match &printer.last {
        Some(cursor) if call.show_cursor => writeln!(out, "-- cursor: {cursor}")?,
        None if !(call.quiet || call.look.form.is_for_programs()) => writeln!(out, "-- No entries --")?,
        _ => {}
    }
    Ok(call.grep.is_none() || printer.last.is_some())
}

/// Whether an entry's message is one that is looked for.
fn found(call: &Call, entry: &Entry) -> bool {
    call.grep.as_ref().is_none_or(|pattern| {
        entry.get("MESSAGE").is_some_and(|message| pattern.is_match(&String::from_utf8_lossy(message)))
    })
}

struct Printer<'a> {
    call: &'a Call,
    boot: String,
    previous: Previous,
    last: Option<String>,
}

impl Printer<'_> {
    fn print(&mut self, entry: &Entry, out: &mut impl Write) -> io::Result<()> {
        let call = self.call;
        let for_programs = call.look.form.is_for_programs();
        if !(for_programs || call.quiet || call.merge) {
            let boot = entry.text("_BOOT_ID");
            if boot != self.boot && !boot.is_empty() {
                if !self.boot.is_empty() {
                    writeln!(out, "-- Boot {boot} --")?;
                }
                self.boot = boot;
            }
        }
        if call.show_cursor || call.cursor_file.is_some() || self.last.is_none() {
            self.last = Some(entry.cursor().to_string());
        }
        call.look.write(entry, &mut self.previous, out)?;
        if call.explain && !for_programs {
            catalog::write(entry, out)?;
        }
        Ok(())
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
            if entry.realtime_us <= until && found(printer.call, entry) {
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
