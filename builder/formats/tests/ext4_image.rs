//! Our reader of inodes and attributes on other people's images and on damaged ones.
#![allow(clippy::unwrap_used, reason = "clippy knows test functions only, not what they share")]

mod ext4_support;

use ext4_support::mount::Mounted;
use ext4_support::seen::{by_kernel, by_us};
use ext4_support::{image, options, succeed, trees};
use formats::ext4::xattr::XattrError;
use formats::ext4::{Image, ROOT_INODE, ReadError, Size};
use formats::tree::Tree;
use proptest::prelude::*;
use std::fs::File;
use std::io::Read;

/// Theirs writes, ours reads: a tree that the kernel wrote to a file system of mke2fs.
#[test]
fn reads_what_mke2fs_and_the_kernel_write() {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(64 << 20).unwrap();
    succeed("e2fsprogs", "mke2fs", &["-q", "-t", "ext4", file.path().to_str().unwrap()]);
    let mut mounted = Mounted::new(file.path(), "rw");
    for command in [
        "mkdir -p $2/a/b/c; for n in $(seq 2000); do echo $n > $2/a/b/file-with-a-name-$n; done",
        "mknod $2/null c 1 3; mknod $2/far b 300 70000; ln -s a/b $2/link; ln $2/null $2/a/zero",
        "setfattr -n user.short -v 1 $2/a; setfattr -n user.long -v $(seq -s, 500) $2/a; touch -d 1950-01-01 $2/a/b",
        "setcap cap_net_raw+ep $2/a/b/file-with-a-name-7; chown 70000:80000 $2/a/b; chmod 2750 $2/a/b",
        "setfattr -n system.posix_acl_default -v \
         0x0200000001000700ffffffff02000700d204000004000500ffffffff10000700ffffffff20000500ffffffff $2/a/b",
        "sync; mount -o remount,ro $2",
    ] {
        mounted.run(command);
    }
    let tree = Tree::default();
    let mut theirs = by_kernel(&mounted.root(), &tree);
    for seen in theirs.values_mut() {
        seen.content = None;
        seen.target = None;
    }
    let ours = by_us(&Image::open(file.as_file()).unwrap(), &tree);
    mounted.unmount();
    assert!(ours.len() > 2000);
    ext4_support::seen::assert_same(&ours, &theirs, "our reader");
}

fn bytes() -> Vec<u8> {
    let file = image(&trees::random(11, 400, 3000), &options(Size::Minimal));
    let mut bytes = Vec::new();
    File::open(file.path()).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

/// Reads all there is to read; how much of it is an error does not matter.
fn read_all(bytes: &Vec<u8>) {
    let Ok(image) = Image::open(bytes) else { return };
    for number in 0..=image.superblock().inodes {
        if let Ok(inode) = image.inode(number) {
            let _ = image.xattrs(&inode);
            let _ = image.read_directory(&inode);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Damage is an error, never a panic or a hang. Without checksums each check must stand alone.
    #[test]
    fn damage_is_survived(pokes in prop::collection::vec((any::<u32>(), any::<u8>()), 1..400)) {
        thread_local!(static GOOD: Vec<u8> = bytes());
        let mut bytes = GOOD.with(Clone::clone);
        bytes[1024 + 0x65] &= !4;
        for (place, value) in pokes {
            // Mostly metadata, which lies at the front.
            let place = place as usize % if place % 4 == 0 { bytes.len() } else { 256 << 10 };
            if !(1024..2048).contains(&place) {
                bytes[place] = value;
            }
        }
        read_all(&bytes);
    }
}

#[test]
fn each_kind_of_damage_has_its_error() {
    let good = bytes();
    let open = |bytes: &[u8]| Image::open(bytes.to_vec()).unwrap();
    let image = open(&good);
    assert!(matches!(Image::open(good[..good.len() - 1].to_vec()), Err(ReadError::Truncated { .. })));
    assert!(matches!(image.inode(0), Err(ReadError::NoSuchInode { number: 0, .. })));
    let inodes = image.superblock().inodes;
    assert!(matches!(image.inode(inodes + 1), Err(ReadError::NoSuchInode { .. })));
    assert!(matches!(image.inode(5), Err(ReadError::UnusedInode { number: 5 })));
    let file = (12..inodes).map(|n| image.inode(n).unwrap()).find(|i| i.mode & 0xf000 == 0x8000).unwrap();
    assert!(matches!(image.read_directory(&file), Err(ReadError::NotDirectory { .. })));

    // The inode table lies behind superblock, descriptors and the two bitmaps; the root's data behind it.
    let table = 4 * 4096;
    let mut bad = good.clone();
    bad[table + 256 + 4] ^= 1;
    assert!(matches!(open(&bad).inode(ROOT_INODE), Err(ReadError::InodeChecksum { number: 2, .. })));
    let mut bad = good.clone();
    bad[4096 + 8..4096 + 12].copy_from_slice(&[0xff; 4]);
    assert!(matches!(open(&bad).inode(ROOT_INODE), Err(ReadError::InodeTable { group: 0, .. })));

    let damaged = (11..inodes).find_map(|number| {
        let inode = image.inode(number).ok()?;
        let offset = table + (number as usize - 1) * 256;
        let block = u32::from_le_bytes(good[offset + 0x68..offset + 0x6c].try_into().unwrap());
        (block != 0).then_some((inode, block as usize * 4096))
    });
    let (inode, block) = damaged.unwrap();
    let with = |offset: usize, value: u8| {
        let mut bad = good.clone();
        bad[block + offset] = value;
        match open(&bad).xattrs(&inode) {
            Err(ReadError::Xattrs { offset, source, .. }) if offset == block as u64 => source,
            other => panic!("{other:?}"),
        }
    };
    assert!(matches!(with(0, 1), XattrError::Magic { .. }));
    assert!(matches!(with(4095, good[block + 4095] ^ 1), XattrError::Checksum { .. }));
}
