//! What a unit's cgroup uses and who is in it, for `systemctl status` and `show`: read from the
//! kernel by the client, so that PID 1 has nothing to do with it.

use std::fmt::Write;
use std::fs;
use std::path::Path;

/// The figures of a cgroup; those that the kernel does not count are absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) tasks: Option<u64>,
    pub(super) tasks_max: Option<u64>,
    pub(super) memory_bytes: Option<u64>,
    pub(super) memory_max_bytes: Option<u64>,
    pub(super) cpu_us: Option<u64>,
}

impl Usage {
    pub(super) fn of(folder: &Path) -> Self {
        let number = |file: &str| fs::read_to_string(folder.join(file)).ok()?.trim().parse().ok();
        let stat = fs::read_to_string(folder.join("cpu.stat")).unwrap_or_default();
        let cpu_us = stat.lines().find_map(|line| line.strip_prefix("usage_usec ")?.parse().ok());
        Self {
            tasks: number("pids.current"),
            tasks_max: number("pids.max"),
            memory_bytes: number("memory.current"),
            memory_max_bytes: number("memory.max"),
            cpu_us,
        }
    }
}

/// `1.5M`, as systemd rounds.
pub(super) fn bytes(count: u64) -> String {
    let mut value = count as f64;
    for unit in ["B", "K", "M", "G", "T"] {
        if value < 1024.0 || unit == "T" {
            return if unit == "B" { format!("{count}B") } else { format!("{value:.1}{unit}") };
        }
        value /= 1024.0;
    }
    String::new()
}

/// `1min 2.500s`, `34ms`.
pub(super) fn span(us: u64) -> String {
    let (ms, s) = (us / 1000, us / 1_000_000);
    match s {
        0 => format!("{ms}ms"),
        1..60 => format!("{}.{:03}s", s, ms % 1000),
        60..3600 => format!("{}min {}.{:03}s", s / 60, s % 60, ms % 1000),
        3600..86_400 => format!("{}h {}min", s / 3600, s / 60 % 60),
        _ => format!("{}d {}h", s / 86_400, s / 3600 % 24),
    }
}

/// The most processes that are listed.
const MAX_LISTED: usize = 200;

/// The processes of a cgroup and those below, each with its command line, as a tree.
pub(super) fn tree(folder: &Path, indent: &str) -> String {
    let mut out = String::new();
    let mut left = MAX_LISTED;
    branch(folder, indent, &mut left, &mut out);
    out
}

fn branch(folder: &Path, indent: &str, left: &mut usize, out: &mut String) {
    let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    let pids: Vec<&str> = text.lines().collect();
    let mut folders: Vec<_> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect();
    folders.sort();
    let count = pids.len() + folders.len();
    for (index, pid) in pids.iter().enumerate() {
        if *left == 0 {
            let _ = writeln!(out, "{indent}└─…");
            return;
        }
        *left -= 1;
        let mark = if index + 1 == count { "└─" } else { "├─" };
        // Writing into a string does not fail.
        let _ = writeln!(out, "{indent}{mark}{pid} {}", command_line(pid));
    }
    for (index, below) in folders.iter().enumerate() {
        let last = pids.len() + index + 1 == count;
        let (mark, deeper) = if last { ("└─", "  ") } else { ("├─", "│ ") };
        let name = below.file_name().unwrap_or_default().to_string_lossy();
        let _ = writeln!(out, "{indent}{mark}{name}");
        branch(below, &format!("{indent}{deeper}"), left, out);
    }
}

fn command_line(pid: &str) -> String {
    let raw = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let text = String::from_utf8_lossy(&raw).trim_end_matches('\0').replace('\0', " ");
    let text: String = text.chars().map(|c| if c.is_control() { '?' } else { c }).take(120).collect();
    if text.is_empty() {
        // A kernel thread, or a zombie.
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        return format!("[{}]", name.trim());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_spans_read_well() {
        assert_eq!([bytes(17), bytes(1536), bytes(3 << 30)], ["17B", "1.5K", "3.0G"]);
        assert_eq!([span(999), span(34_000), span(1_500_000)], ["0ms", "34ms", "1.500s"]);
        assert_eq!(
            [span(62_500_000), span(7_260_000_000), span(90_000_000_000)],
            ["1min 2.500s", "2h 1min", "1d 1h"]
        );
    }

    #[test]
    fn a_cgroup_is_read_from_its_files() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("pids.current", "3\n");
        write("pids.max", "max\n");
        write("memory.current", "4096\n");
        write("cpu.stat", "usage_usec 77\nuser_usec 5\n");
        write("cgroup.procs", &format!("{}\n", std::process::id()));
        let usage = Usage::of(folder.path());
        let expected =
            Usage { tasks: Some(3), memory_bytes: Some(4096), cpu_us: Some(77), ..Usage::default() };
        assert_eq!(usage, expected);
        fs::create_dir(folder.path().join("inner")).unwrap();
        let tree = tree(folder.path(), " ");
        assert!(
            tree.starts_with(&format!(" ├─{} ", std::process::id())) && tree.ends_with(" └─inner\n"),
            "{tree}"
        );
    }
}
