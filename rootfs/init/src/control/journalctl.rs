//! `journalctl`: shows the journal (journalctl(1), the part that is named in its usage).

use crate::journal::{self, Entry, Filter, follow};
use crate::unit::{Facts, UnitName};
use std::collections::VecDeque;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

const USAGE: &str =
    "journalctl [-u UNIT] [-b] [-n LINES] [-p PRIORITY] [-o short|cat|json] [-f] [-r] [-D FOLDER]";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Short,
    Cat,
    Json,
}

#[derive(Debug)]
struct Call {
    folder: PathBuf,
    filter: Filter,
    lines: Option<usize>,
    form: Form,
    follow: bool,
    reverse: bool,
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}\nhint: {USAGE}")]
    Usage(String),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Json(#[from] serde_json::Error),
}

/// Runs a call; prints to stdout and stderr and gives the exit code.
pub fn main(arguments: &[String]) -> u8 {
    let mut out = BufWriter::new(io::stdout().lock());
    match parse(arguments).and_then(|call| run(&call, &mut out)) {
        Ok(()) => 0,
        // The reader of our pipe has seen enough.
        Err(Failure::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => 0,
        Err(failure) => {
            eprintln!("error: {failure}");
            if matches!(failure, Failure::Usage(_)) { 2 } else { 1 }
        }
    }
}

fn parse(arguments: &[String]) -> Result<Call, Failure> {
    let mut call = Call {
        folder: journal::FOLDER.into(),
        filter: Filter::default(),
        lines: None,
        form: Form::Short,
        follow: false,
        reverse: false,
    };
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let (name, inline) = match argument.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name, Some(value.to_owned())),
            _ => (argument.as_str(), None),
        };
        let bad = |text: &str| Failure::Usage(format!("{name} does not take `{text}`"));
        let mut wants_value = || {
            let value = inline.clone().or_else(|| rest.next().cloned());
            value.ok_or_else(|| Failure::Usage(format!("{name} wants a value")))
        };
        match name {
            "-u" | "--unit" => {
                let text = wants_value()?;
                let unit = UnitName::from_user(&text).map_err(|error| Failure::Usage(error.to_string()))?;
                call.filter.unit = Some(unit.as_str().to_owned());
            }
            "-b" | "--boot" => call.filter.boot_id = Some(Facts::read().boot_id),
            "-n" | "--lines" => {
                let text = wants_value()?;
                call.lines = if text == "all" { None } else { Some(text.parse().map_err(|_| bad(&text))?) };
            }
            "-p" | "--priority" => {
                let text = wants_value()?;
                let names = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];
                let found = names.iter().position(|name| *name == text).map(|number| number as u8);
                let found = found.or_else(|| text.parse().ok().filter(|number| *number <= 7));
                call.filter.priority = Some(found.ok_or_else(|| bad(&text))?);
            }
            "-o" | "--output" => {
                let text = wants_value()?;
                call.form = match text.as_str() {
                    "short" => Form::Short,
                    "cat" => Form::Cat,
                    "json" => Form::Json,
                    _ => return Err(bad(&text)),
                };
            }
            "-f" | "--follow" => call.follow = true,
            "-r" | "--reverse" => call.reverse = true,
            // Nothing is ever paged here, so the wish is met.
            "--no-pager" => {}
            "-D" | "--directory" => call.folder = wants_value()?.into(),
            other => return Err(Failure::Usage(format!("`{other}` is not supported"))),
        }
    }
    if call.follow && call.lines.is_none() {
        call.lines = Some(10);
    }
    if call.follow && call.reverse {
        return Err(Failure::Usage("-f and -r exclude each other".into()));
    }
    Ok(call)
}

fn run(call: &Call, out: &mut impl Write) -> Result<(), Failure> {
    let entries = journal::read(&call.folder, &call.filter);
    if call.lines.is_none() && !call.reverse {
        for entry in entries {
            print(&entry, call.form, out)?;
        }
    } else {
        let keep = call.lines.unwrap_or(usize::MAX);
        let mut last: VecDeque<Entry> = VecDeque::new();
        for entry in entries {
            last.push_back(entry);
            if last.len() > keep {
                last.pop_front();
            }
        }
        if call.reverse {
            last.make_contiguous().reverse();
        }
        for entry in &last {
            print(entry, call.form, out)?;
        }
    }
    out.flush()?;
    if call.follow {
        let mut failed = None;
        follow(Path::new(&call.folder), &call.filter, |entry| {
            let done = print(entry, call.form, out).and_then(|()| Ok(out.flush()?));
            failed = done.err();
            failed.is_none()
        })?;
        return failed.map_or(Ok(()), Err);
    }
    Ok(())
}

fn print(entry: &Entry, form: Form, out: &mut impl Write) -> Result<(), Failure> {
    match form {
        Form::Short => writeln!(out, "{}", short(entry))?,
        Form::Cat => writeln!(out, "{}", entry.message)?,
        Form::Json => {
            serde_json::to_writer(&mut *out, entry)?;
            writeln!(out)?;
        }
    }
    Ok(())
}

/// `Nov 22 18:05:09 name[pid]: message`, in UTC.
pub(super) fn short(entry: &Entry) -> String {
    let name = if entry.identifier.is_empty() { &entry.unit } else { &entry.identifier };
    format!("{} {name}[{}]: {}", stamp(entry.realtime_us), entry.pid, entry.message)
}

/// Month, day and time of day in UTC; the days by Howard Hinnant's `days_from_civil`, reversed.
pub(super) fn stamp(realtime_us: u64) -> String {
    let seconds = realtime_us / 1_000_000;
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    let day_of_era = (days + 719_468) % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let names = ["Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec", "Jan", "Feb"];
    let name = names.get(month as usize).copied().unwrap_or("???");
    format!("{name} {day:02} {:02}:{:02}:{:02}", of_day / 3600, of_day / 60 % 60, of_day % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_utc_dates() {
        // date -u -d @… of coreutils.
        for (seconds, text) in [
            (0, "Jan 01 00:00:00"),
            (1_709_164_799, "Feb 28 23:59:59"),
            (1_709_164_800, "Feb 29 00:00:00"),
            (1_795_370_709, "Nov 22 18:05:09"),
        ] {
            assert_eq!(stamp(seconds * 1_000_000), text);
        }
    }
}
