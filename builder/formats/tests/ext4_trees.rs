//! Random trees, written by us and read by others, equal what went in, entry by entry.
#![allow(clippy::unwrap_used, reason = "clippy knows test functions only, not what they share")]

mod ext4_support;

use ext4_support::seen::{Can, assert_same, by_ext4_view, by_us, expected};
use ext4_support::{e2fsck, image, options, trees};
use formats::ext4::{Image, Size};
use formats::tree::Tree;
use proptest::prelude::*;

/// e2fsck, ext4-view and our own reader must all agree with the tree.
fn check(tree: &Tree, size: Size) {
    let file = image(tree, &options(size));
    e2fsck(file.path());
    let ours = by_us(&Image::open(file.as_file()).unwrap(), tree);
    assert_same(&ours, &expected(tree, Can { content: false, target: false, raw: true }), "our reader");

    let tree = with_times_of_ext4_view(tree);
    let file = image(&tree, &options(size));
    let theirs = by_ext4_view(file.path(), &tree);
    assert_same(&theirs, &expected(&tree, Can { content: true, target: true, raw: false }), "ext4-view");
}

/// ext4-view 1.0.0 takes a negative low half of a time for corruption: times before 1970,
/// and the upper half of each 136 years after, are for the other readers.
fn with_times_of_ext4_view(tree: &Tree) -> Tree {
    let mut tree = tree.clone();
    for entry in tree.entries.values_mut() {
        entry.mtime &= !(1 << 31);
        entry.mtime = entry.mtime.max(0);
    }
    tree
}

fn nightly() -> bool {
    std::env::var_os("SLIPWAY_NIGHTLY").is_some()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if nightly() { 500 } else { 24 },
        failure_persistence: Some(Box::new(
            proptest::test_runner::FileFailurePersistence::Direct("tests/ext4_trees.proptest-regressions"),
        )),
        ..ProptestConfig::default()
    })]

    #[test]
    fn random_trees_are_read_back(seed: u64, count in 10_usize..3000, exact: bool) {
        let size = if exact { Size::Exact((256 << 20) + seed % 10_000) } else { Size::Minimal };
        check(&trees::random(seed, count, 20_000), size);
    }
}

#[test]
fn fifty_thousand_entries_are_read_back() {
    check(&trees::random(1, if nightly() { 400_000 } else { 50_000 }, 6000), Size::Minimal);
}
