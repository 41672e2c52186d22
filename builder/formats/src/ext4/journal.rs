//! An empty journal's superblock; the rest of the journal is zeros.
//!
//! Zeros they must be: recovery goes on as long as it meets blocks with the next sequence
//! number, and a file system made before on the same device has left such blocks.
//!
//! Source: Documentation/filesystems/ext4, "Journal (jbd2)". Numbers are big-endian.

use super::BLOCK;

/// `JBD2_MIN_JOURNAL_BLOCKS`.
pub(super) const MIN_BLOCKS: u32 = 1024;
/// mke2fs's limit.
pub(super) const MAX_BLOCKS: u32 = 10_240_000;

/// The journal's first block.
pub(super) fn superblock(blocks: u32, uuid: &[u8; 16]) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    for (offset, value) in [
        (0x0, 0xc03b_3998), // h_magic
        (0x4, 4),           // h_blocktype: superblock, version 2
        (0xc, BLOCK as u32),
        (0x10, blocks), // s_maxlen
        (0x14, 1),      // s_first
        (0x18, 1),      // s_sequence
        (0x40, 1),      // s_nr_users
    ] {
        block[offset..offset + 4].copy_from_slice(&u32::to_be_bytes(value));
    }
    block[0x30..0x40].copy_from_slice(uuid);
    block
}
