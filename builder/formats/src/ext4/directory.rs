//! Directory blocks: one linear block, or a hash tree of names.
//!
//! Source: Documentation/filesystems/ext4, "Directory Entries" and "Hash Tree Directories".

use super::BLOCK;
use super::bytes::{put16, put32};
use super::crc::crc;
use super::dirhash::half_md4;
use super::nodes::Name;
use std::ops::Range;

/// Bytes of the checksum tail of a block of names.
const TAIL: usize = 12;
/// Bytes for names in a block.
const ROOM: usize = BLOCK - TAIL;
/// Bytes of `.` and of `..`.
const DOT: usize = 12;
/// `DX_HASH_HALF_MD4`.
pub(super) const HALF_MD4: u8 = 1;
/// Entries in the root of the index: behind `.`, `..` and the root's info, before the checksum.
const IN_ROOT: usize = (BLOCK - ROOT_ENTRIES - 8) / 8;
const ROOT_ENTRIES: usize = 0x20;
/// Entries in the other blocks of the index: behind an empty entry, before the checksum.
const IN_NODE: usize = (BLOCK - NODE_ENTRIES - 8) / 8;
const NODE_ENTRIES: usize = 0x8;

/// Type bits of directory entries (`filetype`).
pub(super) const DIRECTORY_TYPE: u8 = 2;

/// Puts names into the order of the directory's blocks and says how many blocks there are;
/// `None` when they are more than an index of two levels can name.
pub(super) fn plan(names: &mut [Name<'_>], hash_seed: &[u8; 16]) -> Option<u32> {
    if 2 * DOT + names.iter().map(|name| record_length(name.bytes)).sum::<usize>() <= ROOM {
        return Some(1);
    }
    names.sort_by_cached_key(|name| half_md4(name.bytes, hash_seed));
    let leaves = leaves(names).count();
    let nodes = nodes(leaves);
    (nodes <= IN_ROOT).then_some((1 + nodes + leaves) as u32)
}

/// Blocks of the index's second level, which a small index does without.
fn nodes(leaves: usize) -> usize {
    if leaves <= IN_ROOT { 0 } else { leaves.div_ceil(IN_NODE) }
}

fn record_length(name: &[u8]) -> usize {
    (8 + name.len()).next_multiple_of(4)
}

/// The names of each leaf block.
fn leaves(names: &[Name<'_>]) -> impl Iterator<Item = Range<usize>> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let mut room = ROOM;
        let rest = names.get(start..)?;
        let count = rest
            .iter()
            .take_while(|name| {
                let left = room.checked_sub(record_length(name.bytes));
                room = left.unwrap_or(room);
                left.is_some()
            })
            .count();
        let leaf = start..start + count;
        start = leaf.end;
        (count > 0).then_some(leaf)
    })
}

/// A planned directory, ready to be written block by block.
pub(super) struct Directory<'a, F> {
    /// Inode numbers of the directory and of its parent.
    pub inode: u32,
    pub parent: u32,
    /// Names in the order that [`plan`] gave them.
    pub names: &'a [Name<'a>],
    pub blocks: u32,
    pub hash_seed: &'a [u8; 16],
    /// Seed of the directory inode's checksums.
    pub inode_seed: u32,
    /// Inode number and type of a name.
    pub resolve: F,
}

impl<F: Fn(&Name<'_>) -> (u32, u8)> Directory<'_, F> {
    /// Gives every block to `emit`, in order.
    pub(super) fn write<E>(&self, mut emit: impl FnMut(&[u8; BLOCK]) -> Result<(), E>) -> Result<(), E> {
        if self.blocks == 1 {
            let mut block = Records::new();
            block.put(self.inode, DIRECTORY_TYPE, b".");
            block.put(self.parent, DIRECTORY_TYPE, b"..");
            self.put_names(&mut block, self.names);
            return emit(&block.finish(self.inode_seed));
        }
        self.write_index(&mut emit)?;
        for leaf in leaves(self.names) {
            let mut block = Records::new();
            self.put_names(&mut block, &self.names[leaf]);
            emit(&block.finish(self.inode_seed))?;
        }
        Ok(())
    }

    fn put_names(&self, block: &mut Records, names: &[Name<'_>]) {
        for name in names {
            let (inode, file_type) = (self.resolve)(name);
            block.put(inode, file_type, name.bytes);
        }
    }

    fn write_index<E>(&self, emit: &mut impl FnMut(&[u8; BLOCK]) -> Result<(), E>) -> Result<(), E> {
        let hash = |name: &Name<'_>| half_md4(name.bytes, self.hash_seed).0;
        let mut hashes = Vec::new();
        for leaf in leaves(self.names) {
            let first = hash(&self.names[leaf.start]);
            // The lowest bit says that names of this hash begin in the block before.
            let continued = leaf.start > 0 && hash(&self.names[leaf.start - 1]) == first;
            hashes.push(first | u32::from(continued));
        }
        let nodes = nodes(hashes.len()) as u32;
        let first_leaf = 1 + nodes;
        let leaves: Vec<(u32, u32)> = hashes.into_iter().zip(first_leaf..).collect();

        let mut root = [0; BLOCK];
        put_record(&mut root, 0, DOT, self.inode, DIRECTORY_TYPE, b".");
        put_record(&mut root, DOT, BLOCK - DOT, self.parent, DIRECTORY_TYPE, b"..");
        root[0x1c] = HALF_MD4; // hash_version
        root[0x1d] = 8; // info_length
        root[0x1e] = u8::from(nodes > 0); // indirect_levels
        if nodes == 0 {
            self.put_index(&mut root, ROOT_ENTRIES, IN_ROOT, &leaves);
            return emit(&root);
        }
        let parents: Vec<(u32, u32)> = leaves.chunks(IN_NODE).map(|node| node[0].0).zip(1..).collect();
        self.put_index(&mut root, ROOT_ENTRIES, IN_ROOT, &parents);
        emit(&root)?;
        for node in leaves.chunks(IN_NODE) {
            let mut block = [0; BLOCK];
            put_record(&mut block, 0, BLOCK, 0, 0, b"");
            self.put_index(&mut block, NODE_ENTRIES, IN_NODE, node);
            emit(&block)?;
        }
        Ok(())
    }

    /// Puts hashes and blocks from `start` on; the first hash gives way to limit and count.
    fn put_index(&self, block: &mut [u8; BLOCK], start: usize, limit: usize, entries: &[(u32, u32)]) {
        for (entry, &(hash, child)) in entries.iter().enumerate() {
            put32(block, start + entry * 8, hash);
            put32(block, start + entry * 8 + 4, child);
        }
        put16(block, start, limit as u16);
        put16(block, start + 2, entries.len() as u16);
        // dx_tail: the checksum covers the entries in use and the tail itself, with dt_checksum zero.
        let used = crc(self.inode_seed, &block[..start + entries.len() * 8]);
        let checksum = crc(used, &[0; 8]);
        put32(block, start + limit * 8 + 4, checksum);
    }
}

/// A block of names in the making.
struct Records {
    block: [u8; BLOCK],
    /// The last record, whose length grows to the end of the block.
    last: usize,
    end: usize,
}

impl Records {
    fn new() -> Self {
        Self { block: [0; BLOCK], last: 0, end: 0 }
    }

    fn put(&mut self, inode: u32, file_type: u8, name: &[u8]) {
        let length = record_length(name);
        put_record(&mut self.block, self.end, length, inode, file_type, name);
        self.last = self.end;
        self.end += length;
    }

    fn finish(mut self, inode_seed: u32) -> [u8; BLOCK] {
        put16(&mut self.block, self.last + 4, (ROOM - self.last) as u16);
        // ext4_dir_entry_tail: a record without a name, of type 0xde.
        put_record(&mut self.block, ROOM, TAIL, 0, 0xde, b"");
        let checksum = crc(inode_seed, &self.block[..ROOM]);
        put32(&mut self.block, ROOM + 8, checksum);
        self.block
    }
}

fn put_record(block: &mut [u8], offset: usize, length: usize, inode: u32, file_type: u8, name: &[u8]) {
    put32(block, offset, inode);
    put16(block, offset + 4, length as u16); // rec_len
    block[offset + 6] = name.len() as u8; // name_len
    block[offset + 7] = file_type;
    block[offset + 8..offset + 8 + name.len()].copy_from_slice(name);
}
