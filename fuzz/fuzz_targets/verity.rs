//! A slot as stage 1 and inspect find it: data, then the verity superblock and its tree. Never a
//! panic or a sum that overflows; a tree passes only under its own root hash. An input is the
//! data's size (8 bytes), then a disk.
#![no_main]

use formats::read_at::ReadAt as _;
use formats::verity::{self, SUPERBLOCK_SIZE, Superblock};
use fuzz::Disk;
use libfuzzer_sys::fuzz_target;

/// No made-up tree has this one.
const ROOT_HASH: [u8; 32] = [7; 32];

fuzz_target!(|input: &[u8]| {
    let Some((data_size, rest)) = input.split_first_chunk::<8>() else { return };
    let Some(disk) = Disk::from_input(rest) else { return };
    // A larger tree only costs time.
    if disk.size() > 1 << 24 {
        return;
    }
    let data_size = u64::from_le_bytes(*data_size);
    assert!(verity::verify(&disk, 0, data_size, &ROOT_HASH).is_err());
    let mut raw = [0; SUPERBLOCK_SIZE];
    let Ok(superblock) = disk.read_exact_at(&mut raw, data_size).map(|()| Superblock::decode(&raw)) else {
        return;
    };
    let Ok(superblock) = superblock else { return };
    let blocks = superblock.data_blocks;
    assert_eq!(superblock.data_size(), blocks * verity::BLOCK_SIZE);
    assert_eq!(superblock.hash_area_size(), verity::hash_area_blocks(blocks) * verity::BLOCK_SIZE);
    assert!(superblock.salt.len() <= verity::MAX_SALT);
    let mut top = [0; verity::BLOCK_SIZE as usize];
    if disk.read_exact_at(&mut top, superblock.top_block_offset()).is_ok() {
        assert!(!verity::top_matches(&superblock, &top, &ROOT_HASH));
    }
});
