//! `systemd-analyze`: where the time of a boot went (systemd-analyze(1): time, blame, critical-chain,
//! plot, dot, verify, unit-paths, calendar, timestamp, timespan). PID 1 gives each unit's times; the rest is arithmetic here.

mod chain;
mod dot;
mod moment;
mod plot;

use super::client::ask;
use super::usage::span;
use super::{Request, Response, SOCKET, UnitStatus, systemctl};
use std::fmt::Write as _;
use std::path::PathBuf;

const USAGE: &str =
    "systemd-analyze [time | blame | critical-chain [UNIT] | plot | dot [--order | --require] [PATTERN…] | verify FILE… |
      unit-paths | calendar [--iterations=N] [--base-time=TIME] EXPRESSION… | timestamp TIME… | timespan SPAN…]";

/// Runs a call; prints to stdout and stderr and gives the exit code: 0, 1 on failure, 2 for wrong usage.
pub fn main(arguments: &[String]) -> u8 {
    let mut socket = PathBuf::from(SOCKET);
    let mut words: Vec<&str> = Vec::new();
    let (mut iterations, mut base, mut edges) = (None, None, None);
    for argument in arguments {
        match argument.as_str() {
            "--no-pager" | "--system" => {} // nothing is ever paged here
            other => match other.strip_prefix("--socket=") {
                Some(path) => socket = path.into(),
                None => match other.split_once('=').unwrap_or((other, "")) {
                    ("--iterations", number) => iterations = Some(number),
                    ("--base-time", time) => base = Some(time),
                    ("--order", "") => edges = Some(dot::Edges::Order),
                    ("--require", "") => edges = Some(dot::Edges::Requirement),
                    _ => words.push(other),
                },
            },
        }
    }
    let (verb, operands) = words.split_first().map_or(("time", &[][..]), |(verb, rest)| (*verb, rest));
    // Each option is of one verb.
    let of_calendar = iterations.is_some() || base.is_some();
    if of_calendar && verb != "calendar" || edges.is_some() && verb != "dot" {
        eprintln!("error: `{verb}` has no such option\nhint: {USAGE}");
        return 2;
    }
    let Ok(count @ 1..=1000_usize) = iterations.map_or(Ok(1), str::parse) else {
        eprintln!("error: --iterations= wants a number from 1 to 1000\nhint: {USAGE}");
        return 2;
    };
    let result = match (verb, operands) {
        ("verify", files) => {
            let call: Vec<String> = ["verify"].iter().chain(files).map(|word| (*word).to_owned()).collect();
            return systemctl::main(&call);
        }
        ("timespan", spans @ [_, ..]) => moment::timespans(spans),
        ("timestamp", texts @ [_, ..]) => moment::timestamps(texts),
        ("calendar", texts @ [_, ..]) => moment::calendars(texts, count, base),
        ("unit-paths", []) => Ok(unit_paths()),
        ("dot", patterns) => {
            boot(&socket).map(|boot| dot::render(&boot.units, edges.unwrap_or(dot::Edges::All), patterns))
        }
        ("time", []) => boot(&socket).map(|boot| time(&boot)),
        ("blame", []) => boot(&socket).map(|boot| blame(&boot.units)),
        ("critical-chain", operands @ ([] | [_])) => boot(&socket).and_then(|boot| {
            chain::render(&boot.units, operands.first().copied().unwrap_or("default.target"))
        }),
        ("plot", []) => boot(&socket).map(|boot| plot::render(&boot.stages, &boot.units)),
        _ => {
            eprintln!("error: `{}` is not supported\nhint: {USAGE}", words.join(" "));
            return 2;
        }
    };
    match result {
        Ok(text) => {
            use std::io::Write as _;
            // A reader that went away wants no more.
            let _ = std::io::stdout().write_all(text.as_bytes());
            0
        }
        Err(why) => {
            eprintln!("error: {why}");
            1
        }
    }
}

/// What PID 1 knows of the boot.
struct Boot {
    units: Vec<UnitStatus>,
    /// The stages before units, each with the time at which it ended, in microseconds.
    stages: Vec<(String, u64)>,
}

fn boot(socket: &std::path::Path) -> Result<Boot, String> {
    let get = |request: &Request| ask(socket, request).map_err(|error| error.to_string());
    let units = match get(&Request::List)? {
        Response::Units(units) => units,
        other => return Err(format!("PID 1 answered {other:?}")),
    };
    let stages = match get(&Request::Status)? {
        Response::Status(table) => stages(&table),
        other => return Err(format!("PID 1 answered {other:?}")),
    };
    Ok(Boot { units, stages })
}

/// The row `boot (ms)  kernel 800 + modules 100 + units 234 = 1134` of the status table.
fn stages(table: &str) -> Vec<(String, u64)> {
    let row = table.lines().find_map(|line| line.trim().strip_prefix("boot (ms)")).unwrap_or("");
    let sum = row.split(" = ").next().unwrap_or("");
    let mut end = 0;
    let mut found = Vec::new();
    for part in sum.split(" + ") {
        let Some((name, ms)) = part.trim().rsplit_once(' ') else { continue };
        end += ms.parse::<u64>().unwrap_or(0) * 1000;
        found.push((name.trim().to_owned(), end));
    }
    found
}

fn time(boot: &Boot) -> String {
    let mut out = "Startup took ".to_owned();
    let mut before = 0;
    let parts: Vec<String> = boot
        .stages
        .iter()
        .map(|(name, end)| {
            let part = format!("{} ({name})", span(end - before));
            before = *end;
            part
        })
        .collect();
    // Writing into a string does not fail.
    let _ = writeln!(out, "{} = {}", parts.join(" + "), span(before));
    let target = boot.units.iter().find(|unit| names(unit, "default.target"));
    if let Some(target) = target.filter(|target| target.times.active_enter_us > 0) {
        let units_began = boot.stages.iter().rev().nth(1).map_or(0, |(_, end)| *end);
        let after = target.times.active_enter_us.saturating_sub(units_began);
        let _ = writeln!(out, "{} reached after {} of units.", target.id, span(after));
    }
    out
}

fn names(unit: &UnitStatus, name: &str) -> bool {
    unit.id == name || unit.names.iter().any(|other| other == name)
}

/// How long a unit took to start; `None` if it is not up, or has no start of its own.
fn took_us(unit: &UnitStatus) -> Option<u64> {
    let times = unit.times;
    (times.inactive_exit_us > 0 && times.active_enter_us > times.inactive_exit_us)
        .then(|| times.active_enter_us - times.inactive_exit_us)
}

fn blame(units: &[UnitStatus]) -> String {
    let mut found: Vec<(u64, &str)> =
        units.iter().filter_map(|unit| Some((took_us(unit)?, unit.id.as_str()))).collect();
    found.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
    let width = found.iter().map(|(us, _)| span(*us).len()).max().unwrap_or(0);
    found.iter().fold(String::new(), |mut out, (us, id)| {
        let _ = writeln!(out, "{:>width$} {id}", span(*us));
        out
    })
}

/// The search path of unit files, the folder that wins first.
fn unit_paths() -> String {
    let loader = crate::unit::load::Loader::system(crate::unit::Facts::default());
    loader.folders.iter().fold(String::new(), |mut out, folder| {
        let _ = writeln!(out, "{}", folder.display());
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Times;

    pub(super) fn unit(id: &str, from_ms: u64, to_ms: u64, after: &[&str]) -> UnitStatus {
        UnitStatus {
            id: id.into(),
            active_state: "active".into(),
            times: Times {
                inactive_exit_us: from_ms * 1000,
                active_enter_us: to_ms * 1000,
                ..Times::default()
            },
            relations: vec![("After".into(), after.iter().map(|name| (*name).to_owned()).collect())],
            ..UnitStatus::default()
        }
    }

    #[test]
    fn blame_puts_the_slowest_first_and_leaves_out_what_took_nothing() {
        let units = [
            unit("a.service", 100, 150, &[]),
            unit("b.service", 100, 1350, &[]),
            unit("t.target", 9, 9, &[]),
        ];
        assert_eq!(blame(&units), "1.250s b.service\n  50ms a.service\n");
    }

    #[test]
    fn stages_come_from_the_status_table() {
        let table = "  slot       A\n  boot (ms)  kernel 800 + modules 100 + units 234 = 1134\n  units      5 active\n";
        let stages = stages(table);
        assert_eq!(
            stages,
            [("kernel".into(), 800_000), ("modules".into(), 900_000), ("units".into(), 1_134_000)]
        );
        let mut target = unit("multi-user.target", 0, 1100, &[]);
        target.names = vec!["default.target".into()];
        let said = time(&Boot { units: vec![target], stages });
        assert_eq!(
            said,
            "Startup took 800ms (kernel) + 100ms (modules) + 234ms (units) = 1.134s\n\
             multi-user.target reached after 200ms of units.\n"
        );
    }

    #[test]
    fn the_search_path_is_that_of_the_loader() {
        assert_eq!(unit_paths(), "/etc/systemd/system\n/run/systemd/system\n/usr/lib/systemd/system\n");
    }
}
