//! The journal in a real machine: units, syslog(3) and the kernel; killed, and started again.

use qemu_tests::{Boot, Disk, Image, POWER_OFF, document, give, oneshot};

#[test]
fn everybody_is_heard_and_a_killed_daemon_comes_back() {
    let image = Image::older();
    let disk = Disk::of(&image);
    let talk = "echo said on stdout; busybox logger -t tagged said by syslog; journalctl --sync; \
                echo `journalctl -u talk -o cat _TRANSPORT=stdout` = own; echo `journalctl -t tagged -o cat` = tagged; \
                echo messages: `journalctl -k -q -o export | busybox grep -c ^_TRANSPORT=kernel`; \
                systemctl kill -s 9 systemd-journald.service";
    let again = "until journalctl --sync 2>/dev/null; do true; done; echo heard again; journalctl --sync; \
                 echo lines `journalctl -u again -o cat _TRANSPORT=stdout | busybox grep -c .`; \
                 echo `journalctl -q -o cat | busybox grep -c not.closed` was open; journalctl --verify && echo verified";
    let user_data = document(&[
        ("talk.service", &oneshot("", talk)),
        ("again.service", &oneshot("After=talk.service", again)),
        POWER_OFF,
    ]);
    let mut spec = Boot::direct(&disk, &image);
    give(&mut spec, &disk, &user_data);
    let mut boot = Boot::start(&spec);
    boot.wait("said on stdout = own");
    boot.wait("said by syslog = tagged");
    let kernel = boot.wait("messages: ");
    let count: u32 = kernel.rsplit(' ').next().unwrap().trim().parse().unwrap();
    assert!(count > 100, "{kernel}");
    boot.wait("heard again");
    boot.wait("lines 1");
    boot.wait("1 was open");
    boot.wait("verified");
    boot.ends_by("guest-shutdown");
    let verdicts = journal::verify(&disk.journal()).unwrap();
    assert_eq!(verdicts.len(), 2, "{verdicts:?}");
    assert!(verdicts.iter().all(|verdict| verdict.closed && verdict.faults.is_empty()), "{verdicts:?}");
}
