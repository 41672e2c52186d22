//! Every entry out of tries: there is nothing left to fall back to, so the machine stays up and
//! says why.

use qemu_tests::{Boot, Disk, Image, document, give};

#[test]
fn the_newest_stays_up_in_recovery_and_is_not_blessed() {
    let (old, new) = (Image::older(), Image::newer());
    let entries = [("slipway_0.1.0+0-3.efi", &old), ("slipway_0.2.0+0-3.efi", &new)];
    let disk = Disk::with_entries(&old, Some(&new), &entries);
    let unit = "[Unit]\nAfter=recovery.target\n[Service]\nType=oneshot\nStandardOutput=journal+console\n\
                ExecStart=/usr/bin/host status\nExecStart=/usr/bin/systemctl is-active recovery.target\n\
                ExecStart=/usr/bin/busybox echo that was all\n[Install]\nWantedBy=recovery.target\n";
    let mut spec = Boot::firmware(&disk);
    give(&mut spec, &disk, &document(&[("look.service", unit)]));
    let mut boot = Boot::start(&spec);
    boot.wait("recovery: every boot entry is out of tries");
    let status = boot.wait("slipway: not ready");
    assert!(status.contains("slot=SLOT-B version=0.2.0"), "{status}");
    boot.wait(": active");
    boot.wait("that was all");
    assert_eq!(boot.resets(), 0);
    boot.cut();
    assert_eq!(disk.entries(), ["slipway_0.1.0+0-3.efi", "slipway_0.2.0+0-4.efi"]);
}

#[test]
fn stage_1_stays_up_when_even_the_last_root_is_absent() {
    let (old, new) = (Image::older(), Image::newer());
    let disk = Disk::with_entries(&old, None, &[("slipway_0.2.0+0-3.efi", &new)]);
    let mut boot = Boot::start(&Boot::firmware(&disk));
    boot.wait(&format!("stage1: no slot has root hash {}", new.root_hash));
    let why = boot.wait("stage1: every boot entry is out of tries");
    assert!(why.ends_with("staying up"), "{why}");
    assert_eq!(boot.resets(), 0);
}
