//! Debian's udevadm reads what we keep and hears what we send.

use devices::database::{Database, Entry};
use devices::event::Properties;
use devices::{Event, broadcast};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

const UDEVADM: &str = "/usr/bin/udevadm";

#[test]
fn the_database_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let text = "S:disk/by-label/a\\x20b\nL:50\nI:1234\nE:ID_FS_TYPE=ext4\nE:ID_SERIAL=a=b\nG:systemd\nQ:systemd\nV:1\n";
    // /dev/null is there everywhere.
    Database::new(folder.path()).write("c1:3", &Entry::parse(text)).unwrap();
    let script = format!(
        "mkdir -p /run/udev && mount --bind {} /run/udev && exec {UDEVADM} info -q all -n /dev/null",
        folder.path().display()
    );
    let output = Command::new("unshare").args(["-m", "sh", "-ec", &script]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "apt-get install udev; run as root: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    for line in [
        "P: /devices/virtual/mem/null",
        "N: null",
        "L: 50",
        "S: disk/by-label/a\\x20b",
        "E: DEVLINKS=/dev/disk/by-label/a\\x20b",
        "E: ID_FS_TYPE=ext4",
        "E: ID_SERIAL=a=b",
        "E: TAGS=:systemd:",
        "E: USEC_INITIALIZED=1234",
    ] {
        assert!(said.lines().any(|it| it == line), "{line} is not in\n{said}");
    }
}

#[test]
fn events_are_heard() {
    let mut properties = Properties::new();
    for (key, value) in [
        ("ACTION", "change"),
        ("DEVPATH", "/devices/virtual/mem/null"),
        ("SUBSYSTEM", "mem"),
        ("DEVNAME", "/dev/null"),
        ("MAJOR", "1"),
        ("MINOR", "3"),
        ("SEQNUM", "4242"),
        ("SLIPWAY_TEST", "heard"),
    ] {
        properties.insert(key.to_owned(), value.to_owned());
    }
    let event = Event::from_properties(properties).unwrap();
    let mut monitor = Command::new(UDEVADM)
        // The filter is by our hash of the subsystem's name.
        .args(["monitor", "--udev", "--property", "--subsystem-match=mem"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("apt-get install udev");
    let mut lines = BufReader::new(monitor.stdout.take().unwrap()).lines().map_while(Result::ok);
    // It says so when it listens.
    assert!(lines.by_ref().any(|line| line.starts_with("UDEV - the event")));
    broadcast(&event).unwrap();
    let heard = lines.by_ref().any(|line| line == "SLIPWAY_TEST=heard");
    monitor.kill().unwrap();
    monitor.wait().unwrap();
    assert!(heard);
}
