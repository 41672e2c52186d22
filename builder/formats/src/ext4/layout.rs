//! The plan: every inode's place, before a byte is written.

use super::crc::{file_system_seed, inode_seed};
use super::error::Error;
use super::extents::{Extent, blocks_for, extents, tree_blocks};
use super::geometry::{Area, BLOCKS_PER_GROUP, INODES_PER_BLOCK, MAX_INODES_PER_GROUP, Shape, Space};
use super::groups::{Usage, last_inode};
use super::holes::{self, Run, SCANNED_FROM};
use super::nodes::{Name, Node, Nodes, check_time, inode_number};
use super::superblock::Facts;
use super::xattr::Attributes;
use super::{BLOCK, BLOCK_SIZE, directory, journal};
use crate::tree::{Kind, Tree};
use std::slice;

/// Scratch space to look for holes in.
const SCAN_BUFFER: usize = 64 * BLOCK;
/// A file system that is to be used gets an inode for each of these bytes, as mke2fs has it.
const BYTES_PER_INODE: u64 = 16384;
/// Symbolic links below this many bytes are in the inode.
pub(super) const FAST_SYMLINK: usize = 60;

/// How large a file system is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// At most this many bytes, with an inode for every 16 KiB: a file system to be used.
    /// What does not fill a block, or is too little for a last group, is left.
    Exact(u64),
    /// The smallest that holds the tree: a file system that is only read.
    Minimal,
}

/// What a file system is to be apart from its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// How large.
    pub size: Size,
    /// UUID; also the seed of all checksums.
    pub uuid: [u8; 16],
    /// Seed of the hashes that index directories.
    pub hash_seed: [u8; 16],
    /// Label of up to 16 bytes.
    pub label: String,
    /// When it is made, in seconds since 1970. Entries that the tree does not have
    /// (`lost+found`, journal, perhaps the root) are of this time.
    pub created: i64,
    /// Blocks of 4 KiB for a journal, from 1024 on.
    pub journal_blocks: Option<u32>,
    /// Whether to keep room for group descriptors, so that it can grow about a thousandfold
    /// while mounted. From 16 TiB on there is no such room: the kernel then grows by `meta_bg`.
    pub resizable: bool,
}

/// A planned file system.
#[derive(Debug)]
pub struct Layout<'a> {
    pub(super) nodes: Vec<Node<'a>>,
    /// All names, those of a directory together, in the order of its blocks.
    pub(super) names: Vec<Name<'a>>,
    /// Runs of data of the sparse files.
    pub(super) runs: Vec<Run>,
    pub(super) space: Space,
    pub(super) usage: Usage,
    pub(super) uuid: [u8; 16],
    pub(super) hash_seed: [u8; 16],
    pub(super) label: [u8; 16],
    pub(super) created: i64,
    pub(super) journal_blocks: u32,
}

impl<'a> Layout<'a> {
    /// Plans the file system that holds `tree`. Of content, only files of 64 KiB and more
    /// are read, to find blocks of zeros, which are not stored.
    ///
    /// # Errors
    /// What ext4 cannot hold, by path; [`Error::TooSmall`] when the size does not suffice;
    /// [`Error::Content`] when a file cannot be read.
    pub fn plan(tree: &'a Tree, options: &Options) -> Result<Self, Error> {
        let mut label = [0; 16];
        let length = options.label.len();
        label
            .get_mut(..length)
            .ok_or(Error::LabelTooLong { length })?
            .copy_from_slice(options.label.as_bytes());
        check_time(b"", options.created)?;
        let journal_blocks = options.journal_blocks.unwrap_or(0);
        if options.journal_blocks.is_some_and(|b| !(journal::MIN_BLOCKS..=journal::MAX_BLOCKS).contains(&b)) {
            return Err(Error::JournalSize { blocks: journal_blocks });
        }

        let Nodes { mut nodes, mut names } = Nodes::new(tree)?;
        let runs = measure(&mut nodes, &mut names, &options.hash_seed)?;
        let mut placing = Placing { nodes: &mut nodes, runs: &runs, journal_blocks };
        let placed = match options.size {
            Size::Minimal => placing.minimal(options.resizable)?,
            Size::Exact(bytes) => placing.exact(bytes, options.resizable)?,
        };
        let mut directories = vec![0; placed.shape.groups as usize];
        for (node, _) in (0..).zip(&nodes).filter(|(_, node)| node.is_directory()) {
            directories[((inode_number(node) - 1) / placed.shape.inodes_per_group) as usize] += 1;
        }
        let usage = Usage {
            shape: placed.shape,
            areas: placed.areas,
            total_blocks: placed.total_blocks,
            frontier: placed.frontier,
            last_inode: last_inode(nodes.len() as u64) as u32,
            directories,
        };
        Ok(Self {
            nodes,
            names,
            runs,
            space: placed.space,
            usage,
            uuid: options.uuid,
            hash_seed: options.hash_seed,
            label,
            created: options.created,
            journal_blocks,
        })
    }

    /// Blocks of 4 KiB of the whole file system: what [`write`](Self::write) emits.
    pub fn total_blocks(&self) -> u64 {
        self.usage.total_blocks
    }

    /// Bytes of the whole file system.
    pub fn size_bytes(&self) -> u64 {
        self.usage.total_blocks * BLOCK_SIZE
    }

    /// Bytes in use by content and metadata.
    pub fn used_bytes(&self) -> u64 {
        (self.usage.total_blocks - self.usage.free_blocks()) * BLOCK_SIZE
    }

    /// Inodes, used or not.
    pub fn inodes(&self) -> u32 {
        self.usage.shape.inodes()
    }

    pub(super) fn seed(&self) -> u32 {
        file_system_seed(&self.uuid)
    }

    /// The runs of a node's data; `whole` is where to put the one run of a file without holes.
    pub(super) fn runs<'r>(&'r self, node: &Node<'_>, whole: &'r mut Run) -> &'r [Run] {
        runs_of(node, &self.runs, whole)
    }

    pub(super) fn extents(&self, node: &Node<'_>) -> Vec<Extent> {
        extents(&self.space, node.data_start(), self.runs(node, &mut whole())).collect()
    }

    /// Whether there are descriptor blocks in reserve, and so a resize inode.
    pub(super) fn resizable(&self) -> bool {
        self.usage.shape.reserved_descriptor_blocks > 0
    }

    /// The index in free space of the journal, which lies behind the resize inode's block.
    pub(super) fn journal_start(&self) -> u64 {
        u64::from(self.resizable())
    }

    pub(super) fn journal_extents(&self) -> Vec<Extent> {
        let run = Run { first: 0, blocks: self.journal_blocks };
        extents(&self.space, self.journal_start(), slice::from_ref(&run)).collect()
    }

    pub(super) fn inode_seed(&self, inode: u32) -> u32 {
        inode_seed(self.seed(), inode, 0)
    }

    pub(super) fn facts(&self, journal: Option<([u8; 60], u64)>) -> Facts {
        Facts {
            shape: self.usage.shape,
            total_blocks: self.usage.total_blocks,
            free_blocks: self.usage.free_blocks(),
            free_inodes: self.usage.shape.inodes() - self.usage.last_inode,
            uuid: self.uuid,
            hash_seed: self.hash_seed,
            label: self.label,
            created: self.created,
            journal,
        }
    }
}

/// A run to be filled in by [`Layout::runs`].
pub(super) fn whole() -> Run {
    Run { first: 0, blocks: 0 }
}

fn runs_of<'r>(node: &Node<'_>, runs: &'r [Run], whole: &'r mut Run) -> &'r [Run] {
    if node.runs != (0, 0) {
        return &runs[node.runs.0 as usize..node.runs.1 as usize];
    }
    whole.blocks = node.blocks;
    if node.blocks == 0 { &[] } else { slice::from_ref(whole) }
}

/// Finds how many blocks each node needs, checks its attributes, and sorts the names of
/// large directories. Returns the runs of the sparse files.
fn measure(nodes: &mut [Node<'_>], names: &mut [Name<'_>], seed: &[u8; 16]) -> Result<Vec<Run>, Error> {
    let mut runs = Vec::new();
    let mut buffer = Vec::new();
    for node in nodes {
        if let Some(entry) = node.entry
            && !entry.xattrs.is_empty()
        {
            node.xattr_block = !Attributes::new(node.path, &entry.xattrs)?.in_block.is_empty();
        }
        node.blocks = match node.kind() {
            Kind::Directory => {
                let names = &mut names[node.names.0 as usize..node.names.1 as usize];
                let count = names.len();
                directory::plan(names, seed)
                    .ok_or_else(|| Error::DirectoryTooLarge { path: node.path.into(), names: count })?
            }
            Kind::Symlink(target) => u32::from(target.len() >= FAST_SYMLINK),
            Kind::File(content) => {
                let length = content.len();
                let blocks = u32::try_from(blocks_for(length))
                    .ok()
                    .filter(|&blocks| blocks < u32::MAX)
                    .ok_or_else(|| Error::FileTooLarge { path: node.path.into(), length })?;
                if length < SCANNED_FROM {
                    blocks
                } else {
                    buffer.resize(SCAN_BUFFER, 0);
                    let start = runs.len();
                    holes::find(content, &mut runs, &mut buffer)
                        .map_err(|source| Error::Content { path: node.path.into(), source })?;
                    let stored = runs[start..].iter().map(|run| run.blocks).sum();
                    if stored == blocks {
                        runs.truncate(start);
                    } else {
                        node.runs = (start as u32, runs.len() as u32);
                    }
                    stored
                }
            }
            _ => 0,
        };
    }
    Ok(runs)
}

/// Where things came to lie.
struct Placed {
    shape: Shape,
    areas: Vec<Area>,
    space: Space,
    frontier: u64,
    total_blocks: u64,
}

impl Placed {
    /// The first block behind all content and metadata.
    fn end(&self) -> u64 {
        self.areas.last().map_or(0, Area::end).max(self.frontier)
    }
}

/// Gives every node its place in the free space of a shape.
struct Placing<'p, 'a> {
    nodes: &'p mut [Node<'a>],
    runs: &'p [Run],
    journal_blocks: u32,
}

impl Placing<'_, '_> {
    /// Places all nodes in a file system of `groups` groups; whether it ends within them is not checked.
    fn place(&mut self, shape: Shape) -> Placed {
        let areas = shape.areas();
        let space = Space::new(&areas);
        let mut index = u64::from(shape.reserved_descriptor_blocks > 0);
        if self.journal_blocks > 0 {
            let run = Run { first: 0, blocks: self.journal_blocks };
            let count = extents(&space, index, slice::from_ref(&run)).count();
            index += u64::from(self.journal_blocks) + u64::from(tree_blocks(count));
        }
        for node in &mut *self.nodes {
            node.start = index;
            let mut whole = whole();
            let runs = runs_of(node, self.runs, &mut whole);
            node.tree_blocks = tree_blocks(extents(&space, node.data_start(), runs).count());
            index += node.all_blocks();
        }
        let frontier = space.frontier(index);
        Placed { shape, areas, space, frontier, total_blocks: 0 }
    }

    fn inodes(&self) -> u64 {
        last_inode(self.nodes.len() as u64)
    }

    fn minimal(&mut self, resizable: bool) -> Result<Placed, Error> {
        let mut groups = self.inodes().div_ceil(MAX_INODES_PER_GROUP.into());
        loop {
            let shape = Shape::new(groups, self.inodes(), resizable)?;
            let mut placed = self.place(shape);
            let fewest = (groups - 1) * BLOCKS_PER_GROUP + shape.fewest_last_blocks();
            let least = if groups == 1 { 0 } else { fewest };
            placed.total_blocks = placed.end().max(least);
            // More groups never need fewer blocks, so this many is the least that could do.
            let needed = placed.total_blocks.div_ceil(BLOCKS_PER_GROUP);
            if needed <= groups {
                return Ok(placed);
            }
            groups = needed;
        }
    }

    fn exact(&mut self, bytes: u64, resizable: bool) -> Result<Placed, Error> {
        let mut blocks = bytes / BLOCK_SIZE;
        loop {
            match self.within(blocks, resizable)? {
                Ok(placed) if blocks == bytes / BLOCK_SIZE => return Ok(placed),
                // A larger size gets more inodes, so what suffices is found by trying.
                Ok(placed) => {
                    return Err(Error::TooSmall {
                        needs_bytes: placed.total_blocks * BLOCK_SIZE,
                        has_bytes: bytes,
                    });
                }
                Err(needed) => blocks = needed.max(blocks + 1),
            }
        }
    }

    /// Places all nodes within `blocks` blocks, or says how many are needed at least.
    fn within(&mut self, blocks: u64, resizable: bool) -> Result<Result<Placed, u64>, Error> {
        let most_inodes = u64::from(MAX_INODES_PER_GROUP);
        // As many inodes as the size calls for, but 32 bits must number them; or as the tree has.
        let inodes = |groups: u64| {
            let numbered =
                u64::from(u32::MAX) / groups / u64::from(INODES_PER_BLOCK) * u64::from(INODES_PER_BLOCK);
            (blocks * BLOCK_SIZE / BYTES_PER_INODE).min(groups * most_inodes.min(numbered)).max(self.inodes())
        };
        let mut groups = blocks.div_ceil(BLOCKS_PER_GROUP);
        if groups < self.inodes().div_ceil(most_inodes) {
            return Ok(Err(self.minimal(resizable)?.total_blocks));
        }
        let mut shape = Shape::new(groups, inodes(groups), resizable)?;
        let mut total_blocks = blocks;
        let least = (groups - 1) * BLOCKS_PER_GROUP + shape.fewest_last_blocks();
        if groups > 1 && blocks < least {
            groups -= 1;
            if groups < self.inodes().div_ceil(most_inodes) {
                return Ok(Err(least));
            }
            shape = Shape::new(groups, inodes(groups), resizable)?;
            total_blocks = groups * BLOCKS_PER_GROUP;
        }
        let placed = self.place(shape);
        Ok(if placed.end() <= total_blocks {
            Ok(Placed { total_blocks, ..placed })
        } else {
            Err(placed.end().max(if total_blocks < blocks { least } else { 0 }))
        })
    }
}
