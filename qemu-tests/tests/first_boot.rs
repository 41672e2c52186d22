//! A fresh image boots through firmware, boot loader and UKI until it is ready.

use qemu_tests::{Boot, Disk, Image, row};

#[test]
fn a_fresh_image_gets_ready_and_says_what_it_is() {
    let image = Image::older();
    let disk = Disk::of(&image);
    let mut boot = Boot::start(&Boot::firmware(&disk));
    let ready = boot.wait(qemu_tests::READY);
    assert!(ready.starts_with("slipway: ready slot=SLOT-A version=0.1.0 boot_ms="), "{ready}");
    let console = boot.text();
    assert_eq!(row(&console, "slot"), "SLOT-A");
    assert_eq!(row(&console, "version"), "0.1.0");
    assert_eq!(row(&console, "verity"), format!("{}…", &image.root_hash[..16]));
    assert_eq!(row(&console, "state"), "formatted");
    assert_eq!(row(&console, "user-data"), "none");
    let times = row(&console, "boot (ms)");
    for stage in ["kernel", "modules", "slot", "verity", "switch", "STATE", "user-data", "units"] {
        assert!(times.contains(&format!("{stage} ")), "{times}");
    }
    assert!(row(&console, "units").ends_with(" active, 0 failed"), "{console}");
    assert_eq!(boot.resets(), 0);
    boot.wait(qemu_tests::BLESSED);
    boot.cut();
    disk.assert_state_sound();
    disk.assert_table_sound();
    assert_eq!(disk.entries(), ["slipway_0.1.0+3.efi"], "a good boot gets its try back");
}
