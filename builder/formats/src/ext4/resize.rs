//! The resize inode: it owns the descriptor blocks that are kept in reserve behind every
//! copy of the group descriptors, so that the file system can grow while it is mounted.
//!
//! Its double-indirect block lists the reserved blocks of the first group; each of those
//! lists the blocks of the same place behind the backups.
//!
//! Source: e2fsprogs, `lib/ext2fs/res_gdt.c`.

use super::bytes::put32;
use super::geometry::{Shape, first_block, has_super};
use super::inode::{Inode, mode};
use super::{BLOCK, BLOCK_SIZE};

/// Block numbers in a block.
const PER_BLOCK: u64 = BLOCK_SIZE / 4;

/// The inode; its double-indirect block is `indirect`.
pub(super) fn inode(shape: &Shape, indirect: u64, created: i64) -> Inode {
    let backups = backups(shape).count() as u64;
    let mut block = [0; 60];
    put32(&mut block, 13 * 4, indirect as u32);
    Inode {
        mode: mode::FILE | 0o600,
        uid: 0,
        gid: 0,
        size: (PER_BLOCK * PER_BLOCK + PER_BLOCK + 12) * BLOCK_SIZE,
        time: created,
        created,
        links: 1,
        blocks: 1 + u64::from(shape.reserved_descriptor_blocks) * (1 + backups),
        flags: 0,
        block,
        xattr_block: 0,
    }
}

/// The double-indirect block.
pub(super) fn indirect_block(shape: &Shape) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    for reserved in 0..shape.reserved_descriptor_blocks {
        let place = u64::from(shape.descriptor_blocks + reserved) % PER_BLOCK;
        put32(&mut block, place as usize * 4, reserved_block(shape, reserved) as u32);
    }
    block
}

/// The first group's reserved block with this number: it lists those behind the backups.
pub(super) fn reserved_descriptor_block(shape: &Shape, reserved: u32) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    for (place, group) in backups(shape).enumerate() {
        let number = first_block(group) + reserved_block(shape, reserved);
        put32(&mut block, place * 4, number as u32);
    }
    block
}

fn reserved_block(shape: &Shape, reserved: u32) -> u64 {
    u64::from(1 + shape.descriptor_blocks + reserved)
}

fn backups(shape: &Shape) -> impl Iterator<Item = u32> {
    (1..shape.groups).filter(|&group| has_super(group))
}
