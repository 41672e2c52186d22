//! Extents, and the tree that holds them when the inode cannot.
//!
//! Source: Documentation/filesystems/ext4, "Extent Tree".

use super::bytes::{put16, put32};
use super::crc::crc;
use super::geometry::Space;
use super::holes::Run;
use super::{BLOCK, BLOCK_SIZE};

/// `eh_magic`.
pub(super) const MAGIC: u16 = 0xf30a;
/// Bytes of a header, an extent and an index entry alike.
pub(super) const ENTRY: usize = 12;
/// Entries in the inode's 60 bytes.
pub(super) const IN_INODE: usize = 4;
/// Entries in a block, whose last four bytes are a checksum.
pub(super) const IN_BLOCK: usize = (BLOCK - ENTRY - 4) / ENTRY;
/// The longest extent: longer ones would say "unwritten".
const MAX_BLOCKS: u64 = 1 << 15;

/// Neighbouring blocks of a file that are neighbours in the image too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    pub logical: u32,
    pub blocks: u32,
    pub physical: u64,
}

/// The extents of a file whose data starts at `index` of `space`.
pub(super) fn extents(space: &Space, index: u64, runs: &[Run]) -> impl Iterator<Item = Extent> {
    let mut index = index;
    runs.iter().flat_map(move |run| {
        let (mut logical, end) = (run.first, run.first + run.blocks);
        let mut next = index;
        index += u64::from(run.blocks);
        std::iter::from_fn(move || {
            (logical < end).then(|| {
                let (physical, neighbours) = space.locate(next);
                let blocks = neighbours.min(MAX_BLOCKS).min(u64::from(end - logical)) as u32;
                let extent = Extent { logical, blocks, physical };
                logical += blocks;
                next += u64::from(blocks);
                extent
            })
        })
    })
}

/// Blocks on each level of the tree over `count` extents, from the leaves up, without the
/// root in the inode.
fn levels(count: usize) -> Vec<usize> {
    let mut levels = Vec::new();
    let mut entries = count;
    while entries > IN_INODE {
        entries = entries.div_ceil(IN_BLOCK);
        levels.push(entries);
    }
    levels
}

/// Blocks of the tree over `count` extents.
pub(super) fn tree_blocks(count: usize) -> u32 {
    levels(count).iter().sum::<usize>() as u32
}

/// The tree of a file: the root for the inode, and the blocks, leaves first, which lie from
/// `index` of `space` on.
pub(super) struct Tree {
    pub root: [u8; 60],
    pub blocks: Vec<[u8; BLOCK]>,
}

impl Tree {
    pub(super) fn new(extents: &[Extent], space: &Space, index: u64, inode_seed: u32) -> Self {
        let mut index = index;
        let mut blocks = Vec::new();
        let mut entries: Vec<[u8; ENTRY]> = extents.iter().map(leaf_entry).collect();
        let levels = levels(extents.len());
        for (depth, &nodes) in levels.iter().enumerate() {
            let mut parents = Vec::with_capacity(nodes);
            for children in entries.chunks(IN_BLOCK) {
                let mut block = [0; BLOCK];
                put_node(&mut block, children, IN_BLOCK, depth);
                let tail = BLOCK - 4;
                let checksum = crc(inode_seed, &block[..tail]);
                put32(&mut block, tail, checksum);
                blocks.push(block);
                parents.push(index_entry(&children[0], space.locate(index).0));
                index += 1;
            }
            entries = parents;
        }
        let mut root = [0; 60];
        put_node(&mut root, &entries, IN_INODE, levels.len());
        Self { root, blocks }
    }
}

fn leaf_entry(extent: &Extent) -> [u8; ENTRY] {
    let mut entry = [0; ENTRY];
    put32(&mut entry, 0x0, extent.logical); // ee_block
    put16(&mut entry, 0x4, extent.blocks as u16); // ee_len
    put16(&mut entry, 0x6, (extent.physical >> 32) as u16); // ee_start_hi
    put32(&mut entry, 0x8, extent.physical as u32); // ee_start_lo
    entry
}

/// An index entry for the block at `physical`, whose first entry is `first`.
fn index_entry(first: &[u8; ENTRY], physical: u64) -> [u8; ENTRY] {
    let mut entry = [0; ENTRY];
    entry[..4].copy_from_slice(&first[..4]); // ei_block
    put32(&mut entry, 0x4, physical as u32); // ei_leaf_lo
    put16(&mut entry, 0x8, (physical >> 32) as u16); // ei_leaf_hi
    entry
}

fn put_node(node: &mut [u8], entries: &[[u8; ENTRY]], most: usize, depth: usize) {
    put16(node, 0x0, MAGIC);
    put16(node, 0x2, entries.len() as u16); // eh_entries
    put16(node, 0x4, most as u16); // eh_max
    put16(node, 0x6, depth as u16); // eh_depth
    node[ENTRY..ENTRY + entries.len() * ENTRY].copy_from_slice(entries.as_flattened());
}

/// Blocks that hold `length` bytes.
pub(super) fn blocks_for(length: u64) -> u64 {
    length.div_ceil(BLOCK_SIZE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ext4::geometry::{Area, AreaKind};

    #[test]
    fn trees_are_as_low_as_they_can_be() {
        assert_eq!(levels(0), []);
        assert_eq!(levels(4), []);
        assert_eq!(levels(5), [1]);
        assert_eq!(levels(4 * 340), [4]);
        assert_eq!(levels(4 * 340 + 1), [5, 1]);
        assert_eq!(levels(4 * 340 * 340 + 1), [1361, 5, 1]);
    }

    #[test]
    fn extents_break_at_metadata_at_holes_and_at_their_longest() {
        let area = Area { start: 10, blocks: 5, group: 0, kind: AreaKind::Super };
        let space = Space::new(&[area]);
        let runs = [Run { first: 0, blocks: 12 }, Run { first: 100, blocks: 40_000 }];
        let found: Vec<_> = extents(&space, 2, &runs).map(|e| (e.logical, e.blocks, e.physical)).collect();
        assert_eq!(found, [(0, 8, 2), (8, 4, 15), (100, 32768, 19), (32868, 7232, 32787)]);
    }
}
