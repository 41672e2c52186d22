//! An ext4 file system unpacked into a folder, as the toolbox does it with images. Never a panic; nothing beside
//! the tree is ever touched, and the tree can be removed.
#![no_main]

use fuzz::{Disk, Place};
use libfuzzer_sys::fuzz_target;
use toolbox_store::tree::Writer;
use toolbox_store::{Limits, Ownership, Policy, ext4};

fuzz_target!(|input: &[u8]| {
    let Some(disk) = Disk::from_input(input) else { return };
    let place = Place::get("ext4");
    let policy = Policy {
        openat2: input.len() % 2 == 0,
        limits: Limits { bytes: 1 << 20, entries: 500, depth: 32 },
        ..Policy::new(Ownership::Own)
    };
    let mut writer = Writer::new(place.tree(), place.scratch(), policy);
    if ext4::unpack(disk, &mut writer).is_ok() {
        writer.finish().expect("a whole tree");
    }
    place.check();
});
