//! One flipped bit in what the booted slot needs to get ready: never a machine that is ready.
//! (In what it does not need: never one that is blessed, see `boot_counting`.)

use qemu_tests::{BLESSED, Boot, Disk, Image, LONG, READY};
use slipway::machine::NotSeen;

const NEEDED: &str = "/usr/lib/systemd/system/multi-user.target";

#[test]
fn the_other_slot_is_booted_after_the_last_try() {
    let (old, new) = (Image::older(), Image::newer());
    let entries = [("slipway_0.1.0+3.efi", &old), ("slipway_0.2.0+3.efi", &new)];
    let disk = Disk::with_entries(&old, Some(&new), &entries);
    disk.flip_bit("SLOT-B", NEEDED);
    let mut boot = Boot::start(&Boot::firmware(&disk));
    let ready = boot.wait(READY);
    assert!(ready.contains("slot=SLOT-A version=0.1.0"), "{ready}");
    assert_eq!(boot.resets(), 3, "as many as there were tries");
    assert_eq!(boot.text().matches("dm-verity device corrupted").count(), 3);
    boot.wait(BLESSED);
    boot.cut();
    assert_eq!(disk.entries(), ["slipway_0.1.0+3.efi", "slipway_0.2.0+0-3.efi"]);
}

#[test]
fn alone_it_fails_loudly() {
    let image = Image::older();
    let disk = Disk::of(&image);
    disk.flip_bit("SLOT-A", NEEDED);
    let mut spec = Boot::direct(&disk, &image);
    spec.no_reboot = true;
    let mut boot = Boot::start(&spec);
    assert_eq!(boot.machine().wait_for(READY, LONG), Err(NotSeen::Ended));
    let console = boot.ends_by("guest-reset");
    assert!(console.contains("is corrupted"), "{console}");
    assert!(console.contains("Kernel panic - not syncing: dm-verity device corrupted"), "{console}");
}
