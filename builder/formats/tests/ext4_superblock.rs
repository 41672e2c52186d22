//! The superblock's reader: one good block, one field poked, one exact error; and backups.
#![allow(clippy::unwrap_used, reason = "clippy knows test functions only, not what they share")]

mod ext4_support;

use ext4_support::{e2fsck, image, options, succeed, trees};
use formats::ext4::superblock::{self, Superblock, SuperblockError, SuperblockReadError};
use formats::ext4::{Options, Size};
use formats::read_at::ReadAt;
use std::os::unix::fs::FileExt;

fn golden() -> [u8; 1024] {
    let file = image(&trees::random(1, 20, 100), &options(Size::Minimal));
    let mut bytes = [0; 1024];
    ReadAt::read_exact_at(file.as_file(), &mut bytes, superblock::OFFSET).unwrap();
    bytes
}

/// Pokes a field, puts the checksum right, and gives the verdict.
fn poke(offset: usize, bytes: &[u8]) -> Result<Superblock, SuperblockError> {
    let mut block = golden();
    block[offset..offset + bytes.len()].copy_from_slice(bytes);
    let checksum = !crc32c::crc32c(&block[..0x3fc]);
    block[0x3fc..].copy_from_slice(&checksum.to_le_bytes());
    Superblock::decode(&block)
}

#[test]
fn a_good_block_says_what_was_asked_for() {
    let found = Superblock::decode(&golden()).unwrap();
    let options = options(Size::Minimal);
    assert_eq!((found.uuid, found.created), (options.uuid, options.created));
    assert_eq!(found.label, b"slipway");
    assert_eq!((found.block_size, found.group, found.groups()), (4096, 0, 1));
    assert!(found.clean && !found.errors && found.has_checksums() && !found.needs_recovery());
}

#[test]
fn each_poked_field_has_its_error() {
    use SuperblockError as E;
    let good = Superblock::decode(&golden()).unwrap();
    assert_eq!(poke(0x38, &[0, 0]), Err(E::Magic { found: 0 }));
    assert_eq!(poke(0x175, &[2]), Err(E::ChecksumType { found: 2 }));
    assert_eq!(poke(0x18, &7_u32.to_le_bytes()), Err(E::BlockSize { log: 7 }));
    assert_eq!(poke(0x4, &[0; 4]), Err(E::BlockCount { blocks: 0, first_data_block: 0 }));
    let first = good.blocks as u32;
    assert_eq!(
        poke(0x14, &first.to_le_bytes()),
        Err(E::BlockCount { blocks: good.blocks, first_data_block: first })
    );
    let blocks = 0xffff_ffff_0000_0000 | good.blocks;
    assert_eq!(poke(0x150, &[0xff; 4]), Err(E::Size { blocks, block_size: 4096 }));
    assert_eq!(poke(0x20, &[0; 4]), Err(E::BlocksPerGroup { found: 0 }));
    assert_eq!(poke(0x20, &32769_u32.to_le_bytes()), Err(E::BlocksPerGroup { found: 32769 }));
    assert_eq!(poke(0x28, &[0; 4]), Err(E::InodesPerGroup { found: 0 }));
    assert_eq!(poke(0x28, &[0xff; 4]), Err(E::InodesPerGroup { found: u32::MAX }));
    let inodes_per_group = good.inodes_per_group;
    assert_eq!(poke(0x0, &[1, 0, 0, 0]), Err(E::InodeCount { found: 1, groups: 1, inodes_per_group }));
    for size in [0, 64, 300, 8192_u16] {
        assert_eq!(poke(0x58, &size.to_le_bytes()), Err(E::InodeSize { found: size }));
    }
    for size in [0, 32, 100, 2048_u16] {
        assert_eq!(poke(0xfe, &size.to_le_bytes()), Err(E::DescriptorSize { found: size }));
    }
    assert!(poke(0x3a, &[3, 0]).unwrap().errors);
    assert!(!poke(0x3a, &[0, 0]).unwrap().clean);
}

#[test]
fn a_flipped_bit_anywhere_is_an_error() {
    let good = golden();
    for bit in 0..8 * 1024 {
        let mut block = good;
        block[bit / 8] ^= 1 << (bit % 8);
        // Without its feature bit a checksum means nothing, to the kernel as to us.
        if bit == 8 * 0x65 + 2 {
            continue;
        }
        assert!(Superblock::decode(&block).is_err(), "bit {bit}");
    }
}

#[test]
fn reading_says_where() {
    let error = superblock::read(&vec![0; 1500]).unwrap_err();
    assert!(matches!(error, SuperblockReadError::Io { offset: 1024, .. }));
    let error = superblock::read(&vec![0; 4096]).unwrap_err();
    assert!(matches!(
        error,
        SuperblockReadError::Superblock { offset: 1024, source: SuperblockError::Magic { found: 0 } }
    ));
}

#[test]
fn a_lost_superblock_comes_back_from_a_backup() {
    let options = Options { journal_blocks: Some(1024), resizable: true, ..options(Size::Exact(500 << 20)) };
    let file = image(&trees::random(2, 100, 5000), &options);
    let size = file.as_file().metadata().unwrap().len();
    let good = superblock::read(file.as_file()).unwrap();
    let wipe = |offset| file.as_file().write_all_at(&[0x55; 1024], offset).unwrap();
    wipe(superblock::OFFSET);
    wipe(32768 * 4096);
    assert!(superblock::read(file.as_file()).is_err());
    let backup = superblock::find_backup(file.as_file(), size).unwrap().unwrap();
    assert_eq!((backup.offset, &backup.superblock), (3 * 32768 * 4096, &good));
    file.as_file().write_all_at(&backup.bytes, superblock::OFFSET).unwrap();
    e2fsck(file.path());
    // A backup that claims more than there is, is no backup.
    assert_eq!(superblock::find_backup(file.as_file(), size - 1).unwrap(), None);
}

/// Theirs writes, ours reads.
#[test]
fn reads_what_mke2fs_writes() {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(200 << 20).unwrap();
    let path = file.path().to_str().unwrap();
    succeed("e2fsprogs", "mke2fs", &["-q", "-t", "ext4", "-b", "4096", "-L", "theirs", path]);
    let found = superblock::read(file.as_file()).unwrap();
    assert_eq!((found.size_bytes(), &found.label[..]), (200 << 20, &b"theirs"[..]));
    file.as_file().write_all_at(&[0; 1024], 1024).unwrap();
    let backup = superblock::find_backup(file.as_file(), 200 << 20).unwrap().unwrap();
    assert_eq!(backup.superblock.uuid, found.uuid);
    for kind in ["ext2", "ext3"] {
        succeed("e2fsprogs", "mke2fs", &["-q", "-F", "-t", kind, "-b", "1024", path]);
        assert_eq!(superblock::read(file.as_file()).unwrap().size_bytes(), 200 << 20);
    }
}
