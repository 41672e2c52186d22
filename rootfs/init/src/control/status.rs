//! A unit in words, for `systemctl status` and `systemctl show`.

use super::UnitStatus;
use super::usage::{Usage, bytes, span, tree};
use crate::unit::load::Loader;
use crate::unit::{Facts, UnitName, install, value};
use journal::show::Form;
use journal::time::Civil;
use journal::{Query, Span};
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// `KEY, value` pairs under systemd's names.
pub(super) fn properties(unit: &UnitStatus) -> Vec<(String, String)> {
    let mut names = vec![unit.id.clone()];
    names.extend(unit.names.iter().cloned());
    let mut found: Vec<(String, String)> = [
        ("Id", unit.id.clone()),
        ("Names", names.join(" ")),
        ("Description", unit.description.clone()),
        ("LoadState", unit.load_state.clone()),
        ("LoadError", unit.load_error.clone()),
        ("ActiveState", unit.active_state.clone()),
        ("SubState", unit.sub_state.clone()),
        ("Job", unit.job.clone()),
        ("FragmentPath", unit.fragment_path.clone()),
        ("DropInPaths", unit.drop_in_paths.join(" ")),
        ("Result", unit.result.clone()),
        ("MainPID", unit.main_pid.to_string()),
        ("ControlPID", unit.control_pid.to_string()),
        ("ControlGroup", unit.control_group.clone()),
        ("StatusText", unit.status_text.clone()),
        ("ExecMainCode", exit_of(&unit.exit_code).0.to_string()),
        ("ExecMainStatus", exit_of(&unit.exit_code).1.to_string()),
        (
            "UnitFileState",
            if unit.fragment_path.is_empty() { String::new() } else { enabled(unit).to_owned() },
        ),
        ("NRestarts", unit.n_restarts.to_string()),
        ("ActiveEnterTimestampMonotonic", unit.active_enter_us.to_string()),
        ("InactiveEnterTimestampMonotonic", unit.inactive_enter_us.to_string()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into();
    let special = [
        ("socket", "Listen", unit.listen.join(" ")),
        ("socket", "NConnections", unit.n_connections.to_string()),
        ("service", "NFileDescriptorStore", unit.n_file_descriptor_store.to_string()),
        ("timer", "NextElapseUSecMonotonic", unit.next_elapse_us.to_string()),
        ("timer", "LastTriggerUSec", unit.last_trigger_wall_us.to_string()),
    ];
    let kind = unit.id.rsplit_once('.').map_or("", |(_, kind)| kind);
    let own = special.into_iter().filter(|(of, ..)| *of == kind);
    found.extend(own.map(|(_, key, value)| (key.to_owned(), value)));
    let times = [
        ("InactiveExitTimestampMonotonic", unit.times.inactive_exit_us),
        ("ActiveExitTimestampMonotonic", unit.times.active_exit_us),
    ];
    found.extend(times.map(|(key, us)| (key.to_owned(), us.to_string())));
    let dates = [
        ("InactiveExitTimestamp", unit.times.inactive_exit_us),
        ("ActiveEnterTimestamp", unit.active_enter_us),
        ("ActiveExitTimestamp", unit.times.active_exit_us),
        ("InactiveEnterTimestamp", unit.inactive_enter_us),
    ];
    let date = |us| if us == 0 { String::new() } else { date_of(us).0 };
    found.extend(dates.map(|(key, us)| (key.to_owned(), date(us))));
    let usage = usage(unit);
    let count = |count: Option<u64>| count.map_or("[not set]".to_owned(), |count| count.to_string());
    let limit = |limit: Option<u64>| limit.map_or("infinity".to_owned(), |limit| limit.to_string());
    let figures = [
        ("TasksCurrent", count(usage.tasks)),
        ("TasksMax", limit(usage.tasks_max)),
        ("MemoryCurrent", count(usage.memory_bytes)),
        ("MemoryMax", limit(usage.memory_max_bytes)),
        ("CPUUsageNSec", count(usage.cpu_us.map(|us| us * 1000))),
    ];
    found.extend(figures.map(|(key, value)| (key.to_owned(), value)));
    found.extend(unit.relations.iter().map(|(key, names)| (key.clone(), names.join(" "))));
    found
}

/// The block of `systemctl status`, with the last `lines` of the journal.
pub(super) fn render(unit: &UnitStatus, lines: usize, form: Form) -> String {
    let mut out = String::new();
    let mark = match unit.active_state.as_str() {
        "failed" => "×",
        "inactive" => "○",
        "reloading" => "↻",
        _ => "●",
    };
    // Writing into a string does not fail.
    let _ = writeln!(out, "{mark} {} - {}", unit.id, unit.description);
    let mut row = |name: &str, value: String| _ = writeln!(out, "{name:>10}: {value}");
    let load = match unit.load_error.as_str() {
        "" => unit.load_state.clone(),
        error => format!("{} ({error})", unit.load_state),
    };
    let enabled = if unit.fragment_path.is_empty() { String::new() } else { format!("; {}", enabled(unit)) };
    row(
        "Loaded",
        if unit.fragment_path.is_empty() {
            load
        } else {
            format!("{load} ({}{enabled})", unit.fragment_path)
        },
    );
    if !unit.drop_in_paths.is_empty() {
        row("Drop-In", unit.drop_in_paths.join(" "));
    }
    let since = match unit.active_state.as_str() {
        "active" | "reloading" => unit.active_enter_us,
        "activating" => unit.times.inactive_exit_us,
        "deactivating" => unit.times.active_exit_us,
        _ => unit.inactive_enter_us,
    };
    let since = if since > 0 { self::since(since) } else { String::new() };
    let result =
        if unit.active_state == "failed" { format!(", result: {}", unit.result) } else { String::new() };
    row("Active", format!("{} ({}{result}){since}", unit.active_state, unit.sub_state));
    if !unit.condition.is_empty() {
        row("Condition", format!("{} was not met", unit.condition));
    }
    if !unit.job.is_empty() {
        row("Job", unit.job.clone());
    }
    if unit.main_pid > 0 {
        row("Main PID", format!("{} ({})", unit.main_pid, program_of(unit.main_pid)));
    } else if !unit.exit_code.is_empty() {
        row("Main PID", format!("({})", exit_words(&unit.exit_code)));
    }
    if !unit.status_text.is_empty() {
        row("Status", format!("\"{}\"", unit.status_text));
    }
    if unit.n_restarts > 0 {
        row("Restarts", unit.n_restarts.to_string());
    }
    let usage = usage(unit);
    if let Some(tasks) = usage.tasks.filter(|_| !unit.control_group.is_empty()) {
        let limit = usage.tasks_max.map_or(String::new(), |limit| format!(" (limit: {limit})"));
        row("Tasks", format!("{tasks}{limit}"));
    }
    if let Some(memory) = usage.memory_bytes {
        let limit = usage.memory_max_bytes.map_or(String::new(), |limit| format!(" (max: {})", bytes(limit)));
        row("Memory", format!("{}{limit}", bytes(memory)));
    }
    if let Some(us) = usage.cpu_us.filter(|_| !unit.control_group.is_empty()) {
        row("CPU", span(us));
    }
    if !unit.control_group.is_empty() {
        row("CGroup", unit.control_group.clone());
        out.push_str(&tree(Path::new(&unit.cgroup_folder), "            "));
    }
    let query = Query::unit(&unit.id).and(Query::field("_BOOT_ID", Facts::read().boot_id));
    let newest = journal::read(Path::new(journal::FOLDER), &query, Span::default(), true);
    let last: Vec<_> = newest.into_iter().flatten().take(lines).collect();
    if !last.is_empty() {
        out.push('\n');
    }
    for entry in last.iter().rev() {
        let _ = writeln!(out, "{}", journal::show::shown(entry, form));
    }
    out
}

fn usage(unit: &UnitStatus) -> Usage {
    if unit.cgroup_folder.is_empty() { Usage::default() } else { Usage::of(Path::new(&unit.cgroup_folder)) }
}

/// `enabled`, `static` and so on, by the files as they are now.
fn enabled(unit: &UnitStatus) -> &'static str {
    let loader = Loader::system(Facts::read());
    UnitName::parse(&unit.id).map_or("", |name| install::state(&loader, &loader.load(&name).unit))
}

/// The date of a time of this boot, and how long ago it is, for a sentence.
fn since(at_us: u64) -> String {
    let (date, ago) = date_of(at_us);
    format!(" since {date}; {} ago", span(ago.as_micros() as u64))
}

/// The date of a time of this boot, and how long ago it is.
fn date_of(at_us: u64) -> (String, Duration) {
    let now = |clock| nix::time::clock_gettime(clock).map_or(Duration::ZERO, Duration::from);
    let (boot, wall) = (now(nix::time::ClockId::CLOCK_BOOTTIME), now(nix::time::ClockId::CLOCK_REALTIME));
    let ago = boot.saturating_sub(Duration::from_micros(at_us));
    (Civil::from_us(wall.saturating_sub(ago).as_micros() as u64).full(), ago)
}

/// `exited 3` or `killed KILL` as waitid(2)'s code and status; zeros if there is none.
fn exit_of(text: &str) -> (i32, i32) {
    match text.split_once(' ') {
        Some(("exited", code)) => (1, code.parse().unwrap_or(0)),
        Some(("killed", name)) => (2, value::signal(name).unwrap_or(0)),
        _ => (0, 0),
    }
}

/// The same as systemd says it.
fn exit_words(text: &str) -> String {
    match text.split_once(' ') {
        Some((how, "0")) => format!("code={how}, status=0/SUCCESS"),
        Some((how, what)) => format!("code={how}, status={what}"),
        None => text.to_owned(),
    }
}

fn program_of(pid: i32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).map(|name| name.trim().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_numbers_for_programs_and_words_for_people() {
        assert_eq!([exit_of("exited 3"), exit_of("killed KILL"), exit_of("")], [(1, 3), (2, 9), (0, 0)]);
        assert_eq!(exit_words("exited 0"), "code=exited, status=0/SUCCESS");
        assert_eq!(exit_words("killed SEGV"), "code=killed, status=SEGV");
    }
}
