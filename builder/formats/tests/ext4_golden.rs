//! What a reviewer reads: the superblock as `dumpe2fs -h` shows it; and the same bytes each time.
#![allow(clippy::unwrap_used, reason = "clippy knows test functions only, not what they share")]

mod ext4_support;

use ext4_support::trees::{directory, file, random, tree};
use ext4_support::{image, options, succeed};
use formats::ext4::{Layout, Options, Size, superblock};
use formats::tree::Tree;

fn small() -> Tree {
    tree([("etc", directory()), ("etc/hostname", file(b"slipway\n")), ("big", file(&[7; 10_000]))])
}

/// The superblock without times, which `dumpe2fs` prints in the local zone.
fn dump(options: &Options) -> String {
    let file = image(&small(), options);
    let text = succeed("e2fsprogs", "dumpe2fs", &["-h", file.path().to_str().unwrap()]);
    let is_time = |line: &str| line.starts_with("Filesystem created") || line.starts_with("Last ");
    let lines: Vec<&str> = text.lines().filter(|line| !is_time(line)).map(str::trim_end).collect();
    lines.join("\n")
}

fn assert_golden(name: &str, golden: &str, found: &str) {
    assert!(
        found.trim() == golden.trim(),
        "{name} differs; if that is meant, change it in the same commit:\n{found}"
    );
}

#[test]
fn a_slot() {
    let found = dump(&options(Size::Minimal));
    assert_golden("ext4_golden.slot.txt", include_str!("ext4_golden.slot.txt"), &found);
}

#[test]
fn a_state() {
    let found =
        dump(&Options { journal_blocks: Some(1024), resizable: true, ..options(Size::Exact(200 << 20)) });
    assert_golden("ext4_golden.state.txt", include_str!("ext4_golden.state.txt"), &found);
}

#[test]
fn the_same_tree_gives_the_same_bytes() {
    let options = options(Size::Minimal);
    let bytes = |tree: &Tree| {
        let mut bytes = Vec::new();
        Layout::plan(tree, &options).unwrap().write(&mut bytes).unwrap();
        bytes
    };
    let first = bytes(&random(3, 1500, 10_000));
    assert!(first == bytes(&random(3, 1500, 10_000)));
    assert!(first != bytes(&random(4, 1500, 10_000)));
}

#[test]
fn a_deferred_superblock_is_all_that_is_missing() {
    let options = Options { journal_blocks: Some(1024), resizable: true, ..options(Size::Exact(160 << 20)) };
    let tree = small();
    let layout = Layout::plan(&tree, &options).unwrap();
    let (mut whole, mut without) = (Vec::new(), Vec::new());
    layout.write(&mut whole).unwrap();
    let superblock = layout.write_with_deferred_superblock(&mut without).unwrap();
    let place = superblock::OFFSET as usize..superblock::OFFSET as usize + superblock::SIZE;
    assert!(without[place.clone()].iter().all(|&byte| byte == 0));
    without[place].copy_from_slice(&superblock);
    assert!(without == whole);
}
