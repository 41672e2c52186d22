//! Group descriptors and bitmaps.
//!
//! Source: Documentation/filesystems/ext4, "Block Group Descriptors" and "Block and Inode Bitmaps".

use super::bytes::{put16, put32};
use super::crc::crc;
use super::geometry::{Area, AreaKind, BLOCKS_PER_GROUP, Shape, first_block};
use super::{BLOCK, FIRST_INODE};
use std::ops::Range;

/// Bytes of a descriptor (`64bit`).
pub(super) const DESCRIPTOR: usize = 64;
/// `EXT4_BG_INODE_UNINIT`: no inode is used; bitmap and table were never written.
const INODE_UNINIT: u16 = 1;
/// `EXT4_BG_BLOCK_UNINIT`: no block is used; the bitmap was never written.
const BLOCK_UNINIT: u16 = 2;
/// `EXT4_BG_INODE_ZEROED`: the table is zero where it is not used.
const INODE_ZEROED: u16 = 4;

/// What is used of a planned file system, and where its metadata is.
#[derive(Debug)]
pub(super) struct Usage {
    pub shape: Shape,
    /// Metadata in ascending order.
    pub areas: Vec<Area>,
    /// Blocks of the file system.
    pub total_blocks: u64,
    /// The first block that holds no content: all before are used, behind it only metadata.
    pub frontier: u64,
    /// The last inode in use.
    pub last_inode: u32,
    /// Directories by group.
    pub directories: Vec<u32>,
}

impl Usage {
    fn blocks(&self, group: u32) -> Range<u64> {
        let start = first_block(group);
        start..self.total_blocks.min(start + BLOCKS_PER_GROUP)
    }

    /// The used blocks of a group, as ranges in ascending order that do not overlap.
    fn used(&self, group: u32) -> impl Iterator<Item = Range<u64>> {
        let blocks = self.blocks(group);
        let content = blocks.start..self.frontier.clamp(blocks.start, blocks.end);
        let from = content.end;
        let first = self.areas.partition_point(|area| area.end() <= from);
        let metadata = self.areas[first..]
            .iter()
            .take_while(move |area| area.start < blocks.end)
            .map(move |area| area.start.max(from)..area.end().min(blocks.end));
        std::iter::once(content).chain(metadata).filter(|range| !range.is_empty())
    }

    fn used_blocks(&self, group: u32) -> u64 {
        self.used(group).map(|range| range.end - range.start).sum()
    }

    /// Blocks that nothing uses, of the whole file system.
    pub(super) fn free_blocks(&self) -> u64 {
        let metadata: u64 =
            self.areas.iter().map(|area| area.end().saturating_sub(area.start.max(self.frontier))).sum();
        self.total_blocks - self.frontier.min(self.total_blocks) - metadata
    }

    fn used_inodes(&self, group: u32) -> u32 {
        (self.last_inode).saturating_sub(group * self.shape.inodes_per_group).min(self.shape.inodes_per_group)
    }

    /// Whether a group's inode bitmap and table are written.
    pub(super) fn has_inodes(&self, group: u32) -> bool {
        self.used_inodes(group) > 0
    }

    /// Whether a group's block bitmap is written. The last group's is, for its padding.
    pub(super) fn has_block_bitmap(&self, group: u32) -> bool {
        group + 1 == self.shape.groups || self.used(group).next().is_some()
    }

    /// The bitmap of a group's blocks; bits beyond the last group's end are set.
    pub(super) fn block_bitmap(&self, group: u32) -> [u8; BLOCK] {
        let mut bitmap = [0; BLOCK];
        let blocks = self.blocks(group);
        let padding = blocks.end..blocks.start + BLOCKS_PER_GROUP;
        for range in self.used(group).chain([padding]) {
            set(&mut bitmap, (range.start - blocks.start) as usize..(range.end - blocks.start) as usize);
        }
        bitmap
    }

    /// The bitmap of a group's inodes; bits beyond their number are set.
    pub(super) fn inode_bitmap(&self, group: u32) -> [u8; BLOCK] {
        let mut bitmap = [0; BLOCK];
        set(&mut bitmap, 0..self.used_inodes(group) as usize);
        set(&mut bitmap, self.shape.inodes_per_group as usize..BLOCK * 8);
        bitmap
    }

    /// The descriptors of all groups, in whole blocks.
    pub(super) fn descriptors(&self, seed: u32) -> Vec<u8> {
        let mut table = vec![0; self.shape.descriptor_blocks as usize * BLOCK];
        for area in &self.areas {
            let descriptor = &mut table[area.group as usize * DESCRIPTOR..][..DESCRIPTOR];
            let offset = match area.kind {
                AreaKind::Super => continue,
                AreaKind::BlockBitmap => 0x0,
                AreaKind::InodeBitmap => 0x4,
                AreaKind::InodeTable => 0x8,
            };
            put32(descriptor, offset, area.start as u32);
            put32(descriptor, offset + 0x20, (area.start >> 32) as u32);
        }
        for (group, descriptor) in (0..self.shape.groups).zip(table.chunks_exact_mut(DESCRIPTOR)) {
            self.put_counts(group, descriptor, seed);
        }
        table
    }

    fn put_counts(&self, group: u32, descriptor: &mut [u8], seed: u32) {
        let blocks = self.blocks(group);
        let used_inodes = self.used_inodes(group);
        let free_inodes = self.shape.inodes_per_group - used_inodes;
        let free_blocks = (blocks.end - blocks.start - self.used_blocks(group)) as u32;
        let mut flags = 0;
        if self.has_inodes(group) {
            flags |= INODE_ZEROED;
            let bitmap = self.inode_bitmap(group);
            let checksum = crc(seed, &bitmap[..self.shape.inodes_per_group as usize / 8]);
            put16(descriptor, 0x1a, checksum as u16); // bg_inode_bitmap_csum_lo
            put16(descriptor, 0x3a, (checksum >> 16) as u16); // bg_inode_bitmap_csum_hi
        } else {
            flags |= INODE_UNINIT;
        }
        if self.has_block_bitmap(group) {
            let checksum = crc(seed, &self.block_bitmap(group));
            put16(descriptor, 0x18, checksum as u16); // bg_block_bitmap_csum_lo
            put16(descriptor, 0x38, (checksum >> 16) as u16); // bg_block_bitmap_csum_hi
        } else {
            flags |= BLOCK_UNINIT;
        }
        for (low, high, count) in [
            (0xc, 0x2c, free_blocks),                       // bg_free_blocks_count
            (0xe, 0x2e, free_inodes),                       // bg_free_inodes_count
            (0x10, 0x30, self.directories[group as usize]), // bg_used_dirs_count
            (0x1c, 0x32, free_inodes),                      // bg_itable_unused
        ] {
            put16(descriptor, low, count as u16);
            put16(descriptor, high, (count >> 16) as u16);
        }
        put16(descriptor, 0x12, flags);
        // bg_checksum: over the group's number and the descriptor with this field zero.
        let checksum = crc(crc(seed, &group.to_le_bytes()), descriptor);
        put16(descriptor, 0x1e, checksum as u16);
    }
}

/// Sets bits of a bitmap.
fn set(bitmap: &mut [u8; BLOCK], bits: Range<usize>) {
    let (first, last) = (bits.start.div_ceil(8), bits.end / 8);
    if first <= last {
        bitmap[first..last].fill(0xff);
    }
    for bit in (bits.start..bits.end.min(first * 8)).chain(bits.start.max(last * 8)..bits.end) {
        bitmap[bit / 8] |= 1 << (bit % 8);
    }
}

/// The last inode in use when there are `nodes` nodes, the root among them.
pub(super) fn last_inode(nodes: u64) -> u64 {
    u64::from(FIRST_INODE) - 1 + nodes - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_set_from_the_first_to_before_the_last() {
        for (start, end) in
            [(0, 0), (0, 1), (3, 5), (3, 8), (7, 9), (8, 16), (5, 100), (32760, 32768), (9, 9)]
        {
            let mut bitmap = [0; BLOCK];
            set(&mut bitmap, start..end);
            for bit in 0..BLOCK * 8 {
                assert_eq!(bitmap[bit / 8] >> (bit % 8) & 1 == 1, (start..end).contains(&bit), "{bit}");
            }
        }
    }
}
