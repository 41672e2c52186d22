//! A machine whose PID 1 hangs is reset by its watchdog.

use qemu_tests::{Boot, Disk, Image, document, give, oneshot};

#[test]
fn a_frozen_pid_1_is_a_reset() {
    let image = Image::older();
    let disk = Disk::of(&image);
    // The kernel lets nobody stop PID 1, but the freezer does not ask.
    let script = "echo freezing; cd /sys/fs/cgroup; busybox mkdir ice; \
                  echo 1 > ice/cgroup.procs; echo 1 > ice/cgroup.freeze";
    let mut spec = Boot::direct(&disk, &image);
    spec.no_reboot = true;
    give(&mut spec, &disk, &document(&[("freeze.service", &oneshot("After=multi-user.target", script))]));
    let mut boot = Boot::start(&spec);
    boot.wait("freezing");
    let console = boot.ends_by("guest-reset");
    assert!(console.contains("softdog: Initiating system reboot"), "{console}");
}
