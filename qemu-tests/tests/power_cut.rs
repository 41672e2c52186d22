//! The power is cut while STATE is formatted for the first time.
//!
//! The fault: of what the machine writes to its disk, the first N writes arrive and no later
//! one. QEMU's `blkdebug` counts them; the first that would be one too many stops the machine,
//! which then is killed. The next boot, on a sound disk, must get ready with a sound STATE.

use qemu_tests::{Boot, Disk, Image, document, give, oneshot, row};
use slipway::machine::Event;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

/// Table, marker, file system, superblock and marker are 8 writes here, some of them large.
#[test]
fn after_any_write_of_the_formatting() {
    let image = Image::older();
    let outcomes: Vec<String> = (0..=8).map(|writes| cut_after(writes, &image)).collect();
    // Both ends were met: the first cut left nothing at all, the last one a whole file system.
    assert_eq!([&outcomes[0], &outcomes[8]], ["formatted", "kept"], "{outcomes:?}");
}

#[test]
fn after_some_writes_of_the_first_use() {
    let image = Image::older();
    for writes in [10, 14, 20, 30] {
        assert_eq!(cut_after(writes, &image), "kept", "after {writes} writes");
    }
}

/// Cuts the power of a first boot after so many writes. Gives what the next boot made of STATE.
fn cut_after(writes: u32, image: &Image) -> String {
    let disk = Disk::of(image);
    disk.enlarge(50 << 20);
    // Something is always written, so that the count is reached in the end.
    let busy = "while true; do echo more >> /var/lib/more; busybox sync; done";
    let mut spec = Boot::direct(&disk, image);
    let sound = spec.clone();
    give(&mut spec, &disk, &document(&[("busy.service", &oneshot("", busy).replace("oneshot", "exec"))]));
    spec.disk.path = failing(&disk, writes);
    spec.more.extend(["-global".into(), "virtio-blk-pci.werror=stop".into()]);
    let mut boot = Boot::start(&spec);
    assert!(boot.machine().wait_for_event(&Event::Stopped, qemu_tests::LONG), "cut after {writes} writes");
    boot.cut();

    let mut boot = Boot::start(&sound);
    let console = boot.ready();
    let state = row(&console, "state");
    boot.cut();
    disk.assert_state_sound();
    disk.assert_table_sound();
    state
}

/// The disk behind a filter that lets so many writes through.
fn failing(disk: &Disk, writes: u32) -> PathBuf {
    let mut rules = String::new();
    // Its states count from 1.
    for state in 1..=writes {
        let next = state + 1;
        writeln!(rules, "[set-state]\nevent = \"write_aio\"\nstate = \"{state}\"\nnew_state = \"{next}\"")
            .unwrap();
    }
    let last = writes + 1;
    writeln!(rules, "[inject-error]\nevent = \"write_aio\"\nstate = \"{last}\"\nerrno = \"5\"").unwrap();
    let file = disk.folder().join("rules");
    fs::write(&file, rules).unwrap();
    format!("blkdebug:{}:{}", file.display(), disk.path().display()).into()
}
