//! Where metadata lies: groups, flexible groups, and the free space between.
//!
//! Blocks for content are handed out in ascending order, from the start of the image on,
//! stepping over metadata. So one number, an index into the free blocks, places anything,
//! and one number, the frontier, says which blocks are used.
//!
//! Source: Documentation/filesystems/ext4, "Block Groups" and "Flexible Block Groups".

use super::error::Error;
use super::{BLOCK, BLOCK_SIZE};

/// Blocks in a group: as many as one block of bitmap has bits.
pub(super) const BLOCKS_PER_GROUP: u64 = 8 * BLOCK_SIZE;
/// Inodes in a group, at most: likewise.
pub(super) const MAX_INODES_PER_GROUP: u32 = 8 * BLOCK as u32;
/// Inodes in a block of inode table.
pub(super) const INODES_PER_BLOCK: u32 = 16;
/// Groups whose bitmaps and inode tables lie together, as mke2fs has it.
pub(super) const LOG_GROUPS_PER_FLEX: u8 = 4;
const GROUPS_PER_FLEX: u32 = 1 << LOG_GROUPS_PER_FLEX;
/// Descriptors in a block.
const DESCRIPTORS_PER_BLOCK: u32 = 64;
/// How many times its size a resizable file system may grow online, as mke2fs has it.
const GROWTH: u64 = 1024;
/// Reserved descriptor blocks are addressed by one double-indirect block of 32-bit numbers.
const MAX_RESERVED_DESCRIPTOR_BLOCKS: u64 = BLOCK_SIZE / 4;

/// The few numbers from which all of the metadata's places follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    pub groups: u32,
    pub inodes_per_group: u32,
    pub descriptor_blocks: u32,
    pub reserved_descriptor_blocks: u32,
}

impl Shape {
    /// The shape of `groups` groups that hold `inodes` inodes.
    pub(super) fn new(groups: u64, inodes: u64, resizable: bool) -> Result<Self, Error> {
        let too_large = || Error::TooLarge { blocks: groups.saturating_mul(BLOCKS_PER_GROUP) };
        let groups = u32::try_from(groups).map_err(|_| too_large())?;
        let inodes_per_group = inodes.div_ceil(groups.into()).next_multiple_of(INODES_PER_BLOCK.into());
        let descriptor_blocks = groups.div_ceil(DESCRIPTORS_PER_BLOCK);
        let mut reserved_descriptor_blocks = 0;
        // The resize inode knows 32-bit block numbers only.
        if resizable && u32::try_from(u64::from(groups) * BLOCKS_PER_GROUP).is_ok() {
            let most_groups = (u64::from(groups) * GROWTH).min(u64::from(u32::MAX) / BLOCKS_PER_GROUP);
            reserved_descriptor_blocks = (most_groups.div_ceil(DESCRIPTORS_PER_BLOCK.into()) as u32)
                .saturating_sub(descriptor_blocks)
                .min(MAX_RESERVED_DESCRIPTOR_BLOCKS as u32);
        }
        // mke2fs turns to meta_bg from here on.
        if u64::from(descriptor_blocks + reserved_descriptor_blocks) > BLOCKS_PER_GROUP * 3 / 4 {
            return Err(too_large());
        }
        let most_inodes = u64::from(MAX_INODES_PER_GROUP);
        if inodes_per_group > most_inodes || inodes_per_group * u64::from(groups) > u64::from(u32::MAX) {
            return Err(Error::TooManyInodes { inodes });
        }
        Ok(Self {
            groups,
            inodes_per_group: inodes_per_group as u32,
            descriptor_blocks,
            reserved_descriptor_blocks,
        })
    }

    /// Blocks of one group's inode table.
    pub(super) fn table_blocks(&self) -> u32 {
        self.inodes_per_group / INODES_PER_BLOCK
    }

    /// Inodes of the whole file system, used or not.
    pub(super) fn inodes(&self) -> u32 {
        self.inodes_per_group * self.groups
    }

    /// Blocks at the start of `group` for superblock and descriptors; 0 where there is no backup.
    pub(super) fn super_blocks(&self, group: u32) -> u32 {
        if has_super(group) { 1 + self.descriptor_blocks + self.reserved_descriptor_blocks } else { 0 }
    }

    /// The fewest blocks that a last group may have: its own metadata and, as in mke2fs, 50 more.
    pub(super) fn fewest_last_blocks(&self) -> u64 {
        let group = self.groups - 1;
        let tables = if group.is_multiple_of(GROUPS_PER_FLEX) { 2 + self.table_blocks() } else { 0 };
        u64::from(self.super_blocks(group) + tables + 50)
    }

    /// All metadata in ascending order.
    pub(super) fn areas(&self) -> Vec<Area> {
        let mut areas: Vec<Area> = (0..self.groups)
            .filter(|&group| has_super(group))
            .map(|group| Area {
                start: first_block(group),
                blocks: self.super_blocks(group),
                group,
                kind: AreaKind::Super,
            })
            .collect();
        for first in (0..self.groups).step_by(GROUPS_PER_FLEX as usize) {
            let groups = first..self.groups.min(first + GROUPS_PER_FLEX);
            let mut cursor = first_block(first);
            for (kind, blocks) in [
                (AreaKind::BlockBitmap, 1),
                (AreaKind::InodeBitmap, 1),
                (AreaKind::InodeTable, self.table_blocks()),
            ] {
                for group in groups.clone() {
                    let start = self.step_over_supers(cursor, blocks);
                    areas.push(Area { start, blocks, group, kind });
                    cursor = start + u64::from(blocks);
                }
            }
        }
        areas.sort_unstable_by_key(|area| area.start);
        areas
    }

    /// The first place from `cursor` on where `blocks` blocks touch no superblock's area.
    fn step_over_supers(&self, cursor: u64, blocks: u32) -> u64 {
        let mut start = cursor;
        loop {
            let end = start + u64::from(blocks);
            let groups = start / BLOCKS_PER_GROUP..=(end - 1) / BLOCKS_PER_GROUP;
            let hit = groups.map(|group| group as u32).find_map(|group| {
                let super_end = first_block(group) + u64::from(self.super_blocks(group));
                (start < super_end && end > first_block(group) && has_super(group)).then_some(super_end)
            });
            match hit {
                Some(super_end) => start = super_end,
                None => return start,
            }
        }
    }
}

/// Whether `group` starts with a superblock: 0, 1 and the powers of 3, 5 and 7 (`sparse_super`).
pub(super) fn has_super(group: u32) -> bool {
    let power_of = |base: u32| {
        let mut rest = group;
        while rest > 1 && rest.is_multiple_of(base) {
            rest /= base;
        }
        rest == 1
    };
    group <= 1 || [3, 5, 7].into_iter().any(power_of)
}

/// The first block of a group.
pub(super) fn first_block(group: u32) -> u64 {
    u64::from(group) * BLOCKS_PER_GROUP
}

/// What an area of metadata holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AreaKind {
    /// Superblock, group descriptors, and descriptor blocks in reserve.
    Super,
    BlockBitmap,
    InodeBitmap,
    InodeTable,
}

/// Neighbouring blocks of metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Area {
    pub start: u64,
    pub blocks: u32,
    /// The group that it describes, which need not be the one it lies in.
    pub group: u32,
    pub kind: AreaKind,
}

impl Area {
    pub(super) fn end(&self) -> u64 {
        self.start + u64::from(self.blocks)
    }
}

/// Free blocks between metadata: `blocks` of them from `start`, the `index`th of all on.
#[derive(Debug, Clone, Copy)]
struct Gap {
    index: u64,
    start: u64,
    blocks: u64,
}

/// Maps an index into the free blocks to a block. The last gap has no end: whether the
/// frontier lies within the file system is the planner's question.
#[derive(Debug, Clone)]
pub(super) struct Space {
    gaps: Vec<Gap>,
}

impl Space {
    pub(super) fn new(areas: &[Area]) -> Self {
        let mut gaps: Vec<Gap> = Vec::new();
        let (mut index, mut cursor) = (0, 0);
        let ends = areas.iter().map(|area| (area.start, area.end())).chain([(u64::MAX, u64::MAX)]);
        for (start, end) in ends {
            if start > cursor {
                gaps.push(Gap { index, start: cursor, blocks: start - cursor });
                index += start - cursor;
            }
            cursor = end;
        }
        Self { gaps }
    }

    /// The block at `index`, and how many follow it without a break, itself included.
    pub(super) fn locate(&self, index: u64) -> (u64, u64) {
        let gap = self.gaps[self.gaps.partition_point(|gap| gap.index <= index) - 1];
        let within = index - gap.index;
        (gap.start + within, gap.blocks - within)
    }

    /// The first block that is free when `index` blocks have been handed out.
    pub(super) fn frontier(&self, index: u64) -> u64 {
        index.checked_sub(1).map_or(0, |last| self.locate(last).0 + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn supers_are_where_e2fsprogs_lists_them() {
        let groups: Vec<u32> = (0..1000).filter(|&group| has_super(group)).collect();
        assert_eq!(groups, [0, 1, 3, 5, 7, 9, 25, 27, 49, 81, 125, 243, 343, 625, 729]);
    }

    #[test]
    fn areas_never_overlap_and_gaps_fill_the_rest() {
        for (groups, inodes) in [(1, 16), (4, 100_000), (17, 17 * 32768), (60, 60 * 32768), (200, 1_000_000)]
        {
            let shape = Shape::new(groups, inodes, true).unwrap();
            let areas = shape.areas();
            assert!(areas.windows(2).all(|pair| pair[0].end() <= pair[1].start), "{groups} groups");
            let space = Space::new(&areas);
            let (mut index, mut areas) = (0, areas.into_iter().peekable());
            for block in 0..groups * BLOCKS_PER_GROUP {
                while areas.next_if(|area| area.end() <= block).is_some() {}
                if areas.peek().is_none_or(|area| block < area.start) {
                    assert_eq!(space.locate(index).0, block);
                    index += 1;
                }
            }
        }
    }
}
