//! What systemd itself says of its keys and system call groups (Debian's package `systemd`).

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use init::unit::load::apply_text;
use init::unit::{Facts, Fault, LoadState, Unit, UnitName, syscall};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}: this test needs `apt-get install systemd`"));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Every key that systemd takes in [Service] and [Unit] is read, or named as one that has no effect or is refused;
/// none is taken for a spelling mistake.
#[test]
fn no_key_of_systemd_is_unknown() {
    let text = said("/lib/systemd/systemd", &["--dump-configuration-items"]);
    let mut section = "";
    let mut unknown = BTreeSet::new();
    let mut seen = 0;
    for line in text.lines() {
        if line.starts_with('[') {
            section = line.trim_matches(['[', ']']);
            continue;
        }
        let Some((key, _)) = line.split_once('=') else { continue };
        if !matches!(section, "Unit" | "Service" | "Install") {
            continue;
        }
        seen += 1;
        let mut unit = Unit::new(UnitName::parse("a.service").unwrap(), LoadState::Loaded);
        // An empty value is right for most keys; what a key makes of it does not matter here.
        let file = format!("[{section}]\n{key}=\n");
        let problems = apply_text(&mut unit, Path::new("a.service"), file.as_bytes(), &Facts::default());
        if problems.iter().any(|problem| matches!(problem.fault, Fault::UnknownKey { .. })) {
            unknown.insert(format!("[{section}] {key}"));
        }
    }
    assert!(seen > 300, "only {seen} keys were read");
    assert_eq!(unknown, BTreeSet::new());
}

#[test]
fn system_call_groups_are_those_of_systemd() {
    let text = said("systemd-analyze", &["syscall-filter"]);
    let mut groups: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut name = "";
    for line in text.lines() {
        let word = line.trim();
        if word.is_empty() || word.starts_with('#') {
            continue;
        }
        if line.starts_with(' ') {
            // Those of other architectures have no number here.
            if name == "@known" || word.starts_with('@') || syscall::number(word).is_some() {
                groups.entry(name).or_default().insert(word);
            } else {
                assert!(syscall::is_foreign(word), "{word}");
            }
        } else {
            name = word;
        }
    }
    groups.retain(|name, _| name.starts_with('@') && *name != "@known");
    assert!(groups.len() > 20, "only {} groups were read", groups.len());
    for (name, members) in groups {
        let ours: BTreeSet<&str> =
            syscall::group(name).unwrap_or_else(|| panic!("no group {name}")).collect();
        assert_eq!(ours, members, "{name}");
    }
}

/// `systemd-analyze` of both on moments, but for the lines about the present.
#[test]
fn moments_are_those_of_systemd() {
    let deps = std::env::current_exe().unwrap();
    let ours = deps.parent().unwrap().parent().unwrap().join("examples/scratch_pid1");
    let output = |program: &Path, first: &[&str], arguments: &[&str]| {
        let mut command = Command::new(program);
        let output = command.args(first).args(arguments).env("TZ", "UTC").env("LC_ALL", "C.UTF-8").output();
        let output = output.unwrap_or_else(|error| {
            panic!("{}: {error}: this test needs `apt-get install systemd`", program.display())
        });
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().filter(|line| !line.contains("From now:")).map(str::to_owned).collect::<Vec<_>>()
    };
    for arguments in [
        &[
            "calendar",
            "--base-time=2026-03-01 00:00:00",
            "daily",
            "2020-01-01",
            "Mon..Fri *-*~07/1 9..17/2:30",
        ][..],
        &["calendar", "--iterations=4", "--base-time=2028-02-28 12:00:00", "*-*-29 00/6:00 UTC"],
        &["timestamp", "@1395716396", "2026-01-01 12:34:56.5", "Fri 2026-01-02 UTC"],
        &["timespan", "1h 3s", "infinity", "1.5us", "1y 2month 8d", "61.5s", "1500us", "2ms", "0"],
    ] {
        let theirs = output(Path::new("systemd-analyze"), &[], arguments);
        assert_eq!(output(&ours, &["applet", "analyze"], arguments), theirs, "{arguments:?}");
    }
}
