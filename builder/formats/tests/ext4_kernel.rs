//! The kernel mounts what we write, sees the same tree and writes to it; resize2fs grows it.
//!
//! Growing while mounted asks for `CAP_SYS_RESOURCE`, which containers withhold even from
//! root: that is tested where a guest boots.
#![allow(clippy::unwrap_used, reason = "clippy knows test functions only, not what they share")]

mod ext4_support;

use ext4_support::mount::Mounted;
use ext4_support::seen::{Can, assert_same, by_kernel, expected};
use ext4_support::trees::{directory, file, tree};
use ext4_support::{e2fsck, image, options, succeed, trees};
use formats::ext4::{Options, Size, superblock};
use formats::tree::{Content, Entry, Kind, Tree};
use std::sync::Arc;

const ALL: Can = Can { content: true, target: true, raw: true };

fn check(tree: &Tree, options: &Options) {
    let file = image(tree, options);
    e2fsck(file.path());
    let mounted = Mounted::new(file.path(), "ro");
    assert_same(&by_kernel(&mounted.root(), tree), &expected(tree, ALL), "the kernel");
    mounted.unmount();
}

#[test]
fn random_trees_with_all_that_a_tree_can_have() {
    for seed in 0..4 {
        check(&trees::random(seed, 2500, 20_000), &options(Size::Minimal));
    }
}

#[test]
fn fifty_thousand_entries() {
    check(&trees::random(5, 50_000, 6000), &options(Size::Minimal));
}

#[test]
fn deep_and_wide_directories() {
    let mut entries = vec![];
    let mut path = Vec::new();
    for _ in 0..200 {
        path.extend_from_slice(if path.is_empty() { b"deep" } else { b"/deep" });
        entries.push((path.clone(), directory()));
    }
    entries.push((b"wide".to_vec(), directory()));
    for number in 0..20_000 {
        entries
            .push((format!("wide/a file with a name that is rather long {number}").into_bytes(), file(b"")));
    }
    check(&tree(entries), &options(Size::Minimal));
}

/// Names of 255 bytes fill a block with 15, so that the index needs its second level.
#[test]
fn an_index_of_two_levels() {
    let mut entries = vec![(b"wide".to_vec(), directory())];
    for number in 0..9000 {
        entries.push((format!("wide/{number:0255}").into_bytes(), file(b"")));
    }
    let tree = tree(entries);
    let image_file = image(&tree, &options(Size::Minimal));
    let dump =
        succeed("e2fsprogs", "debugfs", &["-R", "htree_dump /wide", image_file.path().to_str().unwrap()]);
    assert!(dump.contains("Indirect levels: 1"), "{}", &dump[..500]);
    check(&tree, &options(Size::Minimal));
}

#[test]
fn directories_with_more_directories_than_a_link_count_counts() {
    for count in [64_997, 64_998, 64_999] {
        let mut entries = vec![(b"wide".to_vec(), directory())];
        entries.extend((0..count).map(|number| (format!("wide/{number}").into_bytes(), directory())));
        let tree = tree(entries);
        let file = image(&tree, &options(Size::Minimal));
        e2fsck(file.path());
        let stat = succeed("e2fsprogs", "debugfs", &["-R", "stat /wide", file.path().to_str().unwrap()]);
        let links = if count > 64_998 { 1 } else { count + 2 };
        assert!(stat.contains(&format!("Links: {links} ")), "{count}: {stat}");
    }
}

/// A file with a hole behind every block has more extents than a tree of one level holds.
#[test]
fn sparse_files_of_four_gigabytes_and_of_many_extents() {
    let mut many = vec![0; 2 * 1400 * 4096];
    for block in many.chunks_mut(2 * 4096) {
        block[17] = 1;
    }
    let sparse = tempfile::NamedTempFile::new().unwrap();
    let length = (4 << 30) + 12345;
    sparse.as_file().set_len(length).unwrap();
    std::os::unix::fs::FileExt::write_all_at(sparse.as_file(), b"end", length - 3).unwrap();
    std::os::unix::fs::FileExt::write_all_at(sparse.as_file(), b"middle", 2 << 30).unwrap();
    let sparse = Kind::File(Content::Slice { path: Arc::from(sparse.path()), offset: 0, length });
    let tree = tree([
        ("five", file(&many[..2 * 5 * 4096])),
        ("hole", file(&vec![0; 100_000])),
        ("many", file(&many)),
        ("sparse", Entry::new(sparse, 0o600)),
    ]);
    let image_file = image(&tree, &options(Size::Minimal));
    assert!(image_file.as_file().metadata().unwrap().len() < 8 << 20, "holes are stored");
    check(&tree, &options(Size::Minimal));
}

fn state(megabytes: u64) -> Options {
    Options { journal_blocks: Some(4096), resizable: true, ..options(Size::Exact(megabytes << 20)) }
}

#[test]
fn a_state_is_written_to_and_stays_clean() {
    let tree = trees::random(7, 300, 5000);
    let image_file = image(&tree, &state(300));
    e2fsck(image_file.path());
    let mut mounted = Mounted::new(image_file.path(), "rw");
    assert_same(&by_kernel(&mounted.root(), &tree), &expected(&tree, ALL), "the kernel");
    mounted.run("mkdir $2/new; for n in $(seq 3000); do echo $n > $2/new/a-rather-long-name-$n; done");
    mounted.run("dd if=/dev/zero of=$2/big bs=1M count=200 status=none; rm $2/new/*-9*; sync");
    mounted.unmount();
    e2fsck(image_file.path());
    assert!(superblock::read(image_file.as_file()).unwrap().clean);
}

/// The journal is so large that it steps over the metadata of several groups, and that its
/// extents do not fit its inode; the file system is so large that it has 512 flexible groups.
#[test]
fn large_file_systems() {
    let tree = trees::random(10, 100, 5000);
    let large = Options { journal_blocks: Some(1_500_000), ..state(1 << 20) };
    let minimal = Options { journal_blocks: Some(600_000), ..options(Size::Minimal) };
    for options in [large, minimal] {
        let image_file = image(&tree, &options);
        e2fsck(image_file.path());
        let mut mounted = Mounted::new(image_file.path(), "rw");
        assert_same(&by_kernel(&mounted.root(), &tree), &expected(&tree, ALL), "the kernel");
        mounted.run("echo written > $2/new; sync");
        mounted.unmount();
        e2fsck(image_file.path());
    }
}

#[test]
fn resize2fs_grows_an_image_tenfold() {
    for megabytes in [60, 300, 3000] {
        let file = image(&trees::random(8, 200, 5000), &state(megabytes));
        let path = file.path().to_str().unwrap();
        e2fsck(file.path());
        file.as_file().set_len((megabytes * 10) << 20).unwrap();
        succeed("e2fsprogs", "resize2fs", &[path]);
        e2fsck(file.path());
        let grown = superblock::read(file.as_file()).unwrap();
        assert_eq!(grown.size_bytes(), (megabytes * 10) << 20);
    }
}
