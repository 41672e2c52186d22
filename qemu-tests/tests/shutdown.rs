//! The orderly end: units stopped in reverse order, STATE unmounted clean, machine off or on again.

use journal::{Query, Span};
use qemu_tests::{Boot, Disk, Image, POWER_OFF, document, give, oneshot, row};

/// A unit that says when it starts and when it stops.
fn talker(name: &str, dependencies: &str) -> String {
    format!(
        "[Unit]\n{dependencies}\n[Service]\nType=oneshot\nRemainAfterExit=yes\nStandardOutput=journal+console\n\
         ExecStart=/usr/bin/busybox echo {name} starts\nExecStop=/usr/bin/busybox echo {name} stops\n\
         [Install]\nWantedBy=multi-user.target\n"
    )
}

#[test]
fn poweroff_stops_units_in_reverse_order_and_leaves_state_clean() {
    let image = Image::older();
    let disk = Disk::of(&image);
    let user_data = document(&[
        ("first.service", &talker("first", "Before=second.service")),
        ("second.service", &talker("second", "")),
        POWER_OFF,
    ]);
    let mut spec = Boot::direct(&disk, &image);
    give(&mut spec, &disk, &user_data);
    let mut boot = Boot::start(&spec);
    for line in ["first starts", "second starts", "slipway: ready", "second stops", "first stops"] {
        boot.wait(line);
    }
    let console = boot.ends_by("guest-shutdown");
    assert!(!console.contains("remounting it read-only"), "{console}");
    disk.assert_state_clean();
    let entries = journal::read(&disk.journal(), &Query::All, Span::default(), false).unwrap();
    let said: Vec<String> = entries.map(|entry| entry.text("MESSAGE")).collect();
    assert!(said.iter().any(|line| line == "first stops"), "the journal's end is on the disk: {said:#?}");
    assert_eq!(said.last().unwrap(), "Journal stopped");
    let verdicts = journal::verify(&disk.journal()).unwrap();
    assert!(verdicts.iter().all(|verdict| verdict.closed && verdict.faults.is_empty()), "{verdicts:?}");
}

#[test]
fn state_is_left_clean_whatever_is_mounted_from_it_and_over_it() {
    let image = Image::older();
    let disk = Disk::of(&image);
    let script = "busybox mkdir /var/data /run/data; busybox mount --bind /var/data /run/data; \
                  echo kept > /run/data/file; busybox mount -t tmpfs none /var";
    let user_data = document(&[("mounts.service", &oneshot("", script)), POWER_OFF]);
    let mut spec = Boot::direct(&disk, &image);
    give(&mut spec, &disk, &user_data);
    Boot::start(&spec).ends_by("guest-shutdown");
    disk.assert_state_clean();
    assert_eq!(disk.state_file("/data/file"), "kept\n");
}

#[test]
fn reboot_starts_the_machine_again() {
    let image = Image::older();
    let disk = Disk::of(&image);
    let unit = "[Unit]\nConditionFirstBoot=yes\nAfter=multi-user.target\n[Service]\n\
                ExecStart=/usr/bin/systemctl reboot\n[Install]\nWantedBy=multi-user.target\n";
    let mut spec = Boot::direct(&disk, &image);
    give(&mut spec, &disk, &document(&[("again.service", unit)]));
    let mut boot = Boot::start(&spec);
    let console = boot.ready();
    assert_eq!(row(&console, "state"), "formatted");
    let console = boot.ready();
    assert_eq!(row(&console, "state"), "kept");
    assert!(!console.contains("recovery complete"), "STATE was unmounted before: {console}");
    // Without firmware it may be reset twice: the PC BIOS that QEMU brings does so itself.
    assert!(boot.resets() > 0);
}
