//! A tar archive unpacked into a folder, as a whole or as a layer over another, with openat2 and
//! without it. Never a panic; nothing beside the tree is ever touched, and the tree can be removed.
#![no_main]

use fuzz::Place;
use libfuzzer_sys::fuzz_target;
use std::fs;
use toolbox_store::layer::{self, Whiteouts};
use toolbox_store::tree::Writer;
use toolbox_store::{Limits, Ownership, Policy};

fuzz_target!(|input: &[u8]| {
    let Some((first, archive)) = input.split_first() else { return };
    let place = Place::get("unpack");
    let tree = place.tree();
    let root = place.root();
    fs::create_dir_all(root.join("lower/opaque")).expect("a tree");
    fs::write(root.join("lower/file"), "lower").expect("a file");
    std::os::unix::fs::symlink("../../victim", root.join("lower/out")).expect("a link");
    let policy = Policy {
        openat2: first & 1 == 0,
        keep_folder_links: first & 2 != 0,
        limits: Limits { bytes: 1 << 20, entries: 500, depth: 32 },
        ..Policy::new(Ownership::Own)
    };
    let whiteouts = [Whiteouts::Literal, Whiteouts::Lowest, Whiteouts::Upper][usize::from(first >> 2) % 3];
    let mut writer = Writer::new(tree, place.scratch(), policy);
    if layer::apply(archive, &mut writer, whiteouts, &mut || ()).is_ok() {
        writer.finish().expect("a whole tree");
    }
    place.check();
});
