//! Units in a real machine: order, notification, restart.

use qemu_tests::{Boot, Disk, Image, document, give, oneshot, row};

#[test]
fn units_start_in_order_and_after_a_notification() {
    let image = Image::older();
    let disk = Disk::of(&image);
    // The work before the notification takes a while: whoever did not wait would be first.
    let slow = "[Service]\nType=notify\nStandardOutput=journal+console\n\
                ExecStart=/usr/bin/busybox sh -c \"busybox sha256sum /usr/bin/host >/dev/null; \
                echo one is up; exec notify READY=1\"\n[Install]\nWantedBy=multi-user.target\n";
    // In the document's order they would start the other way round.
    let user_data = document(&[
        ("three.service", &oneshot("Requires=two.service\nAfter=two.service", "echo three is up")),
        ("two.service", &oneshot("Requires=one.service\nAfter=one.service", "echo two is up")),
        ("one.service", slow),
    ]);
    let mut spec = Boot::direct(&disk, &image);
    give(&mut spec, &disk, &user_data);
    let mut boot = Boot::start(&spec);
    for line in ["one is up", "two is up", "three is up"] {
        boot.wait(line);
    }
    let console = boot.ready();
    assert!(row(&console, "units").ends_with(" 0 failed"), "{console}");
}

#[test]
fn a_unit_that_crashes_is_started_again() {
    let image = Image::older();
    let disk = Disk::of(&image);
    let script = "echo . >> /run/starts; echo start `busybox wc -l < /run/starts`; \
                  busybox test `busybox wc -l < /run/starts` = 3 || kill -SEGV $$$$; \
                  echo it stays up; exec notify READY=1";
    let crash = format!(
        "[Service]\nType=notify\nRestart=on-failure\nRestartSec=0\nStandardOutput=journal+console\n\
         ExecStart=/usr/bin/busybox sh -c \"{script}\"\n[Install]\nWantedBy=multi-user.target\n"
    );
    let user_data = document(&[("crash.service", &crash)]);
    let mut spec = Boot::direct(&disk, &image);
    give(&mut spec, &disk, &user_data);
    let mut boot = Boot::start(&spec);
    for line in ["start 1", "start 2", "start 3", "it stays up"] {
        boot.wait(line);
    }
    let console = boot.text();
    assert_eq!(console.matches("failed with result 'signal'").count(), 2, "{console}");
}
