//! Tries as the names of the boot entries show them, from one boot to the next.

use qemu_tests::{BLESSED, Boot, Disk, Image, READY, document, give};

#[test]
fn a_blessed_version_that_is_damaged_later_falls_back_too() {
    let (old, new) = (Image::older(), Image::newer());
    let entries = [("slipway_0.1.0+3.efi", &old), ("slipway_0.2.0+2-1.efi", &new)];
    let disk = Disk::with_entries(&old, Some(&new), &entries);
    // So that every start is a machine of its own, and the disk can be looked at in between.
    let mut spec = Boot::firmware(&disk);
    spec.no_reboot = true;

    let mut boot = Boot::start(&spec);
    let ready = boot.wait(READY);
    assert!(ready.contains("slot=SLOT-B version=0.2.0"), "{ready}");
    let blessed = boot.wait(BLESSED);
    assert!(blessed.contains("slipway_0.2.0+1-2.efi is slipway_0.2.0+3.efi again"), "{blessed}");
    boot.cut();
    assert_eq!(disk.entries(), ["slipway_0.1.0+3.efi", "slipway_0.2.0+3.efi"], "blessed: the full count");

    // Nothing reads this file before the machine is ready.
    disk.flip_bit("SLOT-B", "/usr/bin/busybox");
    for left in ["2-1", "1-2", "0-3"] {
        Boot::start(&spec).ends_by("guest-reset");
        assert_eq!(disk.entries(), ["slipway_0.1.0+3.efi".to_owned(), format!("slipway_0.2.0+{left}.efi")]);
    }

    let mut boot = Boot::start(&spec);
    let ready = boot.wait(READY);
    assert!(ready.contains("slot=SLOT-A version=0.1.0"), "{ready}");
    boot.wait(BLESSED);
    boot.cut();
    assert_eq!(disk.entries(), ["slipway_0.1.0+3.efi", "slipway_0.2.0+0-3.efi"]);
}

#[test]
fn a_machine_switched_off_at_once_keeps_its_tries() {
    let image = Image::older();
    let disk = Disk::of(&image);
    let mut spec = Boot::firmware(&disk);
    let unit = "[Unit]\nAfter=boot-complete.target\n[Service]\nType=oneshot\n\
                ExecStart=/usr/bin/systemctl poweroff\n[Install]\nWantedBy=multi-user.target\n";
    give(&mut spec, &disk, &document(&[("off.service", unit)]));
    Boot::start(&spec).ends_by("guest-shutdown");
    assert_eq!(disk.entries(), ["slipway_0.1.0+3.efi"]);
    disk.assert_state_clean();
}

#[test]
fn a_boot_without_what_boot_complete_requires_is_not_blessed() {
    let image = Image::older();
    let disk = Disk::of(&image);
    let unit = "[Service]\nType=oneshot\nExecStart=/usr/bin/busybox false\n\
                [Install]\nRequiredBy=boot-complete.target\n";
    let mut spec = Boot::firmware(&disk);
    spec.no_reboot = true;
    give(&mut spec, &disk, &document(&[("needed.service", unit)]));
    let console = Boot::start(&spec).ends_by("guest-reset");
    assert!(console.contains("slipway: boot failed: boot-complete.target"), "{console}");
    assert!(console.contains("needed.service is failed"), "{console}");
    assert_eq!(disk.entries(), ["slipway_0.1.0+2-1.efi"]);
    disk.assert_state_clean();
}
