//! One flipped bit in the booted slot: never a machine that is ready.

use qemu_tests::{Boot, Disk, Image, LONG, READY};
use slipway::machine::NotSeen;

#[test]
fn the_other_slot_is_booted_after_the_last_try() {
    let (old, new) = (Image::older(), Image::newer());
    let entries = [("slipway_0.1.0+3.efi", &old), ("slipway_0.2.0+3.efi", &new)];
    let disk = Disk::with_entries(&old, Some(&new), &entries);
    disk.flip_bit_of_pid_1("SLOT-B");
    let mut boot = Boot::start(&Boot::firmware(&disk));
    let ready = boot.wait(READY);
    assert!(ready.contains("slot=SLOT-A version=0.1.0"), "{ready}");
    assert_eq!(boot.resets(), 3, "as many as there were tries");
    assert_eq!(boot.text().matches("dm-verity device corrupted").count(), 3);
    boot.cut();
    assert_eq!(disk.entries(), ["slipway_0.1.0+3.efi", "slipway_0.2.0+0-3.efi"]);
}

#[test]
fn alone_it_fails_loudly() {
    let image = Image::older();
    let disk = Disk::of(&image);
    disk.flip_bit_of_pid_1("SLOT-A");
    let mut spec = Boot::direct(&disk, &image);
    spec.no_reboot = true;
    let mut boot = Boot::start(&spec);
    assert_eq!(boot.machine().wait_for(READY, LONG), Err(NotSeen::Ended));
    let console = boot.ends_by("guest-reset");
    assert!(console.contains("is corrupted"), "{console}");
    assert!(console.contains("Kernel panic - not syncing: dm-verity device corrupted"), "{console}");
}
