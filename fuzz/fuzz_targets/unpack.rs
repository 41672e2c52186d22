//! A tar archive unpacked into a folder, as a whole or as a layer over another, with openat2 and
//! without it. Never a panic; nothing beside the tree is ever touched, and the tree can be removed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;
use toolbox_store::layer::{self, Whiteouts};
use toolbox_store::tree::{self, Writer};
use toolbox_store::{Limits, Ownership, Policy};

/// A place in memory for this process, with a bystander in it.
fn place() -> &'static PathBuf {
    static PLACE: OnceLock<PathBuf> = OnceLock::new();
    PLACE.get_or_init(|| {
        let place = PathBuf::from(format!("/dev/shm/fuzz-unpack-{}", std::process::id()));
        tree::remove(&place).expect("the last one's place");
        fs::create_dir_all(place.join("victim")).expect("a place");
        fs::write(place.join("victim/file"), "untouched").expect("a bystander");
        place
    })
}

fuzz_target!(|input: &[u8]| {
    let Some((first, archive)) = input.split_first() else { return };
    let place = place();
    let root = place.join("tree");
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
    let scratch = place.join("scratch");
    let file = fs::File::options().read(true).write(true).create(true).truncate(true).open(&scratch);
    let file = file.expect("a scratch file");
    fs::remove_file(&scratch).expect("the scratch file");
    let mut writer = Writer::new(fs::File::open(&root).expect("the tree").into(), file, policy);
    if layer::apply(archive, &mut writer, whiteouts, &mut || ()).is_ok() {
        writer.finish().expect("a whole tree");
    }
    let beside = fs::read_dir(place).expect("the place").count();
    assert_eq!(beside, 2, "something beside the tree");
    let victim: Vec<_> = fs::read_dir(place.join("victim")).expect("the bystander").collect();
    assert_eq!(victim.len(), 1);
    let file = place.join("victim/file");
    assert_eq!(fs::read(&file).expect("the bystander"), b"untouched");
    assert_eq!(std::os::unix::fs::MetadataExt::nlink(&file.metadata().expect("the bystander")), 1);
    tree::remove(&root).expect("the tree can be removed");
});
