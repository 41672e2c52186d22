//! A unit in words, for `systemctl status` and `systemctl show`.

use super::UnitStatus;
use crate::unit::Facts;
use journal::{Query, Span};
use std::fmt::Write;
use std::fs;
use std::path::Path;

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
        ("ExecMainStatus", unit.exit_code.clone()),
        ("NRestarts", unit.n_restarts.to_string()),
        ("ActiveEnterTimestampMonotonic", unit.active_enter_us.to_string()),
        ("InactiveEnterTimestampMonotonic", unit.inactive_enter_us.to_string()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into();
    found.extend(unit.relations.iter().map(|(key, names)| (key.clone(), names.join(" "))));
    found
}

/// The block of `systemctl status`, with the last `lines` of the journal.
pub(super) fn render(unit: &UnitStatus, lines: usize) -> String {
    let mut out = String::new();
    let mark = match unit.active_state.as_str() {
        "active" | "reloading" => "●",
        "failed" => "×",
        _ => "○",
    };
    // Writing into a string does not fail.
    let _ = writeln!(out, "{mark} {} - {}", unit.id, unit.description);
    let mut row = |name: &str, value: String| _ = writeln!(out, "{name:>10}: {value}");
    let load = match unit.load_error.as_str() {
        "" => unit.load_state.clone(),
        error => format!("{} ({error})", unit.load_state),
    };
    row(
        "Loaded",
        if unit.fragment_path.is_empty() { load } else { format!("{load} ({})", unit.fragment_path) },
    );
    if !unit.drop_in_paths.is_empty() {
        row("Drop-In", unit.drop_in_paths.join(" "));
    }
    let since = match unit.active_state.as_str() {
        "active" | "reloading" | "deactivating" => unit.active_enter_us,
        _ => unit.inactive_enter_us,
    };
    let since =
        if since > 0 { format!(" since {:.3} s after boot", since as f64 / 1e6) } else { String::new() };
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
        row("Main PID", unit.exit_code.clone());
    }
    if !unit.status_text.is_empty() {
        row("Status", format!("\"{}\"", unit.status_text));
    }
    if unit.n_restarts > 0 {
        row("Restarts", unit.n_restarts.to_string());
    }
    if !unit.control_group.is_empty() {
        row("CGroup", unit.control_group.clone());
    }
    let query = Query::unit(&unit.id).and(Query::field("_BOOT_ID", Facts::read().boot_id));
    let newest = journal::read(Path::new(journal::FOLDER), &query, Span::default(), true);
    let last: Vec<_> = newest.into_iter().flatten().take(lines).collect();
    if !last.is_empty() {
        out.push('\n');
    }
    for entry in last.iter().rev() {
        let _ = writeln!(out, "{}", journal::show::short(entry));
    }
    out
}

fn program_of(pid: i32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).map(|name| name.trim().to_owned()).unwrap_or_default()
}
