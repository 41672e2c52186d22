//! A boot entry whose slot nobody has.

use qemu_tests::{BLESSED, Boot, Disk, Image, READY};

#[test]
fn the_other_entry_is_booted_after_the_last_try() {
    let (old, new) = (Image::older(), Image::newer());
    let entries = [("slipway_0.1.0+3.efi", &old), ("slipway_0.2.0+3.efi", &new)];
    let disk = Disk::with_entries(&old, None, &entries);
    let mut boot = Boot::start(&Boot::firmware(&disk));
    let ready = boot.wait(READY);
    assert!(ready.contains("slot=SLOT-A version=0.1.0"), "{ready}");
    assert_eq!(boot.resets(), 3, "as many as there were tries");
    let console = boot.text();
    assert_eq!(console.matches(&format!("stage1: no slot has root hash {}", new.root_hash)).count(), 3);
    boot.wait(BLESSED);
    boot.cut();
    assert_eq!(disk.entries(), ["slipway_0.1.0+3.efi", "slipway_0.2.0+0-3.efi"]);
}
