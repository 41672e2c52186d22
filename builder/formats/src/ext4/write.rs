//! The image as a stream: metadata where it lies, and content in between.
//!
//! Content is pushed in the order in which blocks were handed out; whenever the position
//! reaches metadata, that is written first. So nothing is sought and nothing kept.

use super::directory::{DIRECTORY_TYPE, Directory};
use super::error::Error;
use super::extents::Tree;
use super::geometry::{Area, AreaKind, INODES_PER_BLOCK};
use super::inode::{self, EXTENTS_FLAG, INDEX_FLAG, Inode, mode};
use super::layout::{FAST_SYMLINK, Layout, whole};
use super::nodes::{Name, Node, inode_number, node_index};
use super::xattr::Attributes;
use super::{BLOCK, BLOCK_SIZE, JOURNAL_INODE, RESIZE_INODE, journal, resize, superblock};
use crate::stream::ImageSink;
use crate::tree::{Content, Kind};

/// What is collected before the sink gets it.
const BUFFER: usize = 1 << 20;

impl Layout<'_> {
    /// Writes the file system: [`size_bytes`](Self::size_bytes) bytes, in ascending order, once.
    /// What nothing uses is skipped, what must be zero is written as zeros.
    ///
    /// # Errors
    /// [`Error::Content`] when a file cannot be read or has become shorter since the plan;
    /// [`Error::Sink`] when the sink fails.
    pub fn write(&self, sink: &mut impl ImageSink) -> Result<(), Error> {
        let superblock = self.superblock();
        self.stream(sink, &superblock)
    }

    /// Like [`write`](Self::write), but with zeros in the superblock's place: to be written at
    /// [`superblock::OFFSET`] when all the rest is on the disk, so that a
    /// formatting that was interrupted leaves no file system.
    ///
    /// # Errors
    /// As of [`write`](Self::write).
    pub fn write_with_deferred_superblock(
        &self,
        sink: &mut impl ImageSink,
    ) -> Result<[u8; superblock::SIZE], Error> {
        self.stream(sink, &[0; superblock::SIZE])?;
        Ok(self.superblock())
    }

    fn superblock(&self) -> [u8; superblock::SIZE] {
        superblock::encode(&self.facts(self.journal()), 0)
    }

    /// `i_block` and size of the journal's inode, which the superblock repeats.
    fn journal(&self) -> Option<([u8; 60], u64)> {
        let size = u64::from(self.journal_blocks) * BLOCK_SIZE;
        (self.journal_blocks > 0).then(|| (self.journal_tree().root, size))
    }

    fn journal_tree(&self) -> Tree {
        let index = self.journal_start() + u64::from(self.journal_blocks);
        Tree::new(&self.journal_extents(), &self.space, index, self.inode_seed(JOURNAL_INODE))
    }

    fn tree(&self, node: &Node<'_>, number: u32) -> Tree {
        let index = node.data_start() + u64::from(node.blocks);
        Tree::new(&self.extents(node), &self.space, index, self.inode_seed(number))
    }

    fn stream(&self, sink: &mut impl ImageSink, superblock: &[u8; superblock::SIZE]) -> Result<(), Error> {
        let mut stream = Stream {
            layout: self,
            sink,
            buffer: vec![0; BUFFER],
            filled: 0,
            position: 0,
            areas: &self.usage.areas,
            superblock,
            descriptors: self.usage.descriptors(self.seed()),
        };
        if self.resizable() {
            stream.block(&resize::indirect_block(&self.usage.shape))?;
        }
        if self.journal_blocks > 0 {
            stream.block(&journal::superblock(self.journal_blocks, &self.uuid))?;
            stream.zeros(u64::from(self.journal_blocks) - 1)?;
            stream.blocks(&self.journal_tree().blocks)?;
        }
        for (index, node) in (0..).zip(&self.nodes) {
            if node.all_blocks() > 0 {
                stream.node(node, inode_number(index))?;
            }
        }
        stream.finish()
    }

    /// The bytes of an inode; zeros where there is none.
    fn inode(&self, number: u32) -> [u8; inode::SIZE] {
        let node = node_index(number).and_then(|index| self.nodes.get(index as usize));
        let mut bytes = match (number, node) {
            (_, Some(node)) => self.node_inode(node, number),
            (RESIZE_INODE, _) if self.resizable() => {
                let indirect = self.space.locate(0).0;
                resize::inode(&self.usage.shape, indirect, self.created).encode()
            }
            (JOURNAL_INODE, _) if self.journal_blocks > 0 => self.journal_inode().encode(),
            _ => return [0; inode::SIZE],
        };
        inode::finish(&mut bytes, number, self.seed());
        bytes
    }

    fn journal_inode(&self) -> Inode {
        let tree = self.journal_tree();
        Inode {
            mode: mode::FILE | 0o600,
            uid: 0,
            gid: 0,
            size: u64::from(self.journal_blocks) * BLOCK_SIZE,
            time: self.created,
            created: self.created,
            links: 1,
            blocks: u64::from(self.journal_blocks) + tree.blocks.len() as u64,
            flags: EXTENTS_FLAG,
            block: tree.root,
            xattr_block: 0,
        }
    }

    fn node_inode(&self, node: &Node<'_>, number: u32) -> [u8; inode::SIZE] {
        let tree = || if node.blocks == 0 { inode::no_extents() } else { self.tree(node, number).root };
        let (file_type, size, flags, block) = match node.kind() {
            Kind::Directory => {
                let index = if node.blocks > 1 { INDEX_FLAG } else { 0 };
                (mode::DIRECTORY, u64::from(node.blocks) * BLOCK_SIZE, EXTENTS_FLAG | index, tree())
            }
            Kind::File(content) => (mode::FILE, content.len(), EXTENTS_FLAG, tree()),
            Kind::Symlink(target) if target.len() < FAST_SYMLINK => {
                let mut block = [0; 60];
                block[..target.len()].copy_from_slice(target);
                (mode::SYMLINK, target.len() as u64, 0, block)
            }
            Kind::Symlink(target) => (mode::SYMLINK, target.len() as u64, EXTENTS_FLAG, tree()),
            &Kind::CharDevice { major, minor } => (mode::CHAR_DEVICE, 0, 0, inode::device(major, minor)),
            &Kind::BlockDevice { major, minor } => (mode::BLOCK_DEVICE, 0, 0, inode::device(major, minor)),
            Kind::Fifo => (mode::FIFO, 0, 0, [0; 60]),
            // A hard link is a name of another node, never a node.
            Kind::Socket | Kind::HardLink(_) => (mode::SOCKET, 0, 0, [0; 60]),
        };
        let absent_mode = if node.path.is_empty() { 0o755 } else { 0o700 };
        let mut bytes = Inode {
            mode: file_type | node.entry.map_or(absent_mode, |entry| entry.mode),
            uid: node.entry.map_or(0, |entry| entry.uid),
            gid: node.entry.map_or(0, |entry| entry.gid),
            size,
            time: node.entry.map_or(self.created, |entry| entry.mtime),
            created: self.created,
            links: node.links,
            blocks: node.all_blocks(),
            flags,
            block,
            xattr_block: if node.xattr_block { self.space.locate(node.start).0 } else { 0 },
        }
        .encode();
        if let Ok(Some(attributes)) = attributes(node) {
            attributes.put_in_inode(&mut bytes);
        }
        bytes
    }

    /// Inode number and directory entry type of a name.
    fn resolve(&self, name: &Name<'_>) -> (u32, u8) {
        let file_type = match self.nodes[name.node as usize].kind() {
            Kind::File(_) => 1,
            Kind::Directory => DIRECTORY_TYPE,
            Kind::CharDevice { .. } => 3,
            Kind::BlockDevice { .. } => 4,
            Kind::Fifo => 5,
            Kind::Socket | Kind::HardLink(_) => 6,
            Kind::Symlink(_) => 7,
        };
        (inode_number(name.node), file_type)
    }
}

fn attributes(node: &Node<'_>) -> Result<Option<Attributes>, Error> {
    let entry = node.entry.filter(|entry| !entry.xattrs.is_empty());
    entry.map(|entry| Attributes::new(node.path, &entry.xattrs)).transpose()
}

struct Stream<'l, S> {
    layout: &'l Layout<'l>,
    sink: &'l mut S,
    buffer: Vec<u8>,
    /// Bytes in the buffer that the sink does not have yet.
    filled: usize,
    /// The block that comes next, behind what is in the buffer.
    position: u64,
    /// Metadata from `position` on.
    areas: &'l [Area],
    superblock: &'l [u8; superblock::SIZE],
    descriptors: Vec<u8>,
}

impl<S: ImageSink> Stream<'_, S> {
    fn node(&mut self, node: &Node<'_>, number: u32) -> Result<(), Error> {
        if node.xattr_block
            && let Some(attributes) = attributes(node)?
        {
            let physical = self.layout.space.locate(node.start).0;
            self.block(&attributes.block(physical, self.layout.seed()))?;
        }
        match node.kind() {
            Kind::Directory => self.directory(node, number)?,
            Kind::File(content) => self.file(node, content)?,
            Kind::Symlink(target) if node.blocks > 0 => {
                let room = self.room(1)?;
                room[..target.len()].copy_from_slice(target);
                room[target.len()..].fill(0);
            }
            _ => {}
        }
        if node.tree_blocks > 0 {
            self.blocks(&self.layout.tree(node, number).blocks)?;
        }
        Ok(())
    }

    fn directory(&mut self, node: &Node<'_>, number: u32) -> Result<(), Error> {
        let layout = self.layout;
        let directory = Directory {
            inode: number,
            parent: inode_number(node.parent),
            names: &layout.names[node.names.0 as usize..node.names.1 as usize],
            blocks: node.blocks,
            hash_seed: &layout.hash_seed,
            inode_seed: layout.inode_seed(number),
            resolve: |name: &Name<'_>| layout.resolve(name),
        };
        directory.write(|block| self.block(block))
    }

    fn file(&mut self, node: &Node<'_>, content: &Content) -> Result<(), Error> {
        if node.blocks == 0 {
            return Ok(());
        }
        let failed = |source| Error::Content { path: node.path.into(), source };
        let reader = content.open().map_err(failed)?;
        for run in self.layout.runs(node, &mut whole()) {
            let (mut block, end) = (u64::from(run.first), u64::from(run.first) + u64::from(run.blocks));
            while block < end {
                let room = self.room(end - block)?;
                let position = block * BLOCK_SIZE;
                let (data, padding) =
                    room.split_at_mut((content.len() - position).min(room.len() as u64) as usize);
                reader.read_exact_at(data, position).map_err(failed)?;
                padding.fill(0);
                block += (room.len() / BLOCK) as u64;
            }
        }
        Ok(())
    }

    /// The next blocks for content, to be filled: at least one and at most `wanted`.
    fn room(&mut self, wanted: u64) -> Result<&mut [u8], Error> {
        let until_area = self.until_area()?;
        self.take(wanted.min(until_area))
    }

    /// Writes the metadata that is due, and says how many blocks there are to the next.
    fn until_area(&mut self) -> Result<u64, Error> {
        while let [area, rest @ ..] = self.areas
            && area.start == self.position
        {
            self.areas = rest;
            self.area(*area)?;
        }
        Ok(self.areas.first().map_or(u64::MAX, |area| area.start - self.position))
    }

    /// The next blocks of the buffer, at least one and at most `wanted`.
    fn take(&mut self, wanted: u64) -> Result<&mut [u8], Error> {
        if self.filled == BUFFER {
            self.flush()?;
        }
        let bytes = wanted.saturating_mul(BLOCK_SIZE).min((BUFFER - self.filled) as u64) as usize;
        let start = self.filled;
        self.filled += bytes;
        self.position += (bytes / BLOCK) as u64;
        Ok(&mut self.buffer[start..start + bytes])
    }

    fn flush(&mut self) -> Result<(), Error> {
        if self.filled > 0 {
            self.sink.write(&self.buffer[..self.filled]).map_err(Error::Sink)?;
            self.filled = 0;
        }
        Ok(())
    }

    /// One block of content.
    fn block(&mut self, block: &[u8; BLOCK]) -> Result<(), Error> {
        self.room(1)?.copy_from_slice(block);
        Ok(())
    }

    fn blocks(&mut self, blocks: &[[u8; BLOCK]]) -> Result<(), Error> {
        blocks.iter().try_for_each(|block| self.block(block))
    }

    /// Blocks of content that are zero.
    fn zeros(&mut self, count: u64) -> Result<(), Error> {
        let mut left = count;
        while left > 0 {
            let blocks = left.min(self.until_area()?);
            self.put_zeros(blocks)?;
            left -= blocks;
        }
        Ok(())
    }

    fn put_zeros(&mut self, blocks: u64) -> Result<(), Error> {
        if blocks == 0 {
            return Ok(());
        }
        self.flush()?;
        self.position += blocks;
        self.sink.zeros(blocks * BLOCK_SIZE).map_err(Error::Sink)
    }

    fn skip(&mut self, blocks: u64) -> Result<(), Error> {
        if blocks == 0 {
            return Ok(());
        }
        self.flush()?;
        self.position += blocks;
        self.sink.skip(blocks * BLOCK_SIZE).map_err(Error::Sink)
    }

    /// The metadata behind the last content, and the free blocks between.
    fn finish(mut self) -> Result<(), Error> {
        let end = self.layout.usage.total_blocks;
        while self.position < end {
            let free = self.until_area()?.min(end - self.position);
            self.skip(free)?;
        }
        self.flush()
    }

    /// One block of metadata.
    fn metadata(&mut self, block: &[u8; BLOCK]) -> Result<(), Error> {
        self.take(1)?.copy_from_slice(block);
        Ok(())
    }

    fn area(&mut self, area: Area) -> Result<(), Error> {
        let usage = &self.layout.usage;
        match area.kind {
            AreaKind::Super => self.super_area(area.group),
            AreaKind::BlockBitmap if usage.has_block_bitmap(area.group) => {
                self.metadata(&usage.block_bitmap(area.group))
            }
            AreaKind::InodeBitmap if usage.has_inodes(area.group) => {
                self.metadata(&usage.inode_bitmap(area.group))
            }
            AreaKind::InodeTable if usage.has_inodes(area.group) => self.inode_table(area),
            _ => self.skip(area.blocks.into()),
        }
    }

    fn super_area(&mut self, group: u32) -> Result<(), Error> {
        let shape = &self.layout.usage.shape;
        let mut block = [0; BLOCK];
        if group == 0 {
            block[superblock::OFFSET as usize..][..superblock::SIZE].copy_from_slice(self.superblock);
        } else {
            let backup = superblock::encode(&self.layout.facts(self.layout.journal()), group);
            block[..superblock::SIZE].copy_from_slice(&backup);
        }
        self.metadata(&block)?;
        for index in 0..shape.descriptor_blocks as usize {
            let mut block = [0; BLOCK];
            block.copy_from_slice(&self.descriptors[index * BLOCK..][..BLOCK]);
            self.metadata(&block)?;
        }
        if group == 0 {
            for reserved in 0..shape.reserved_descriptor_blocks {
                self.metadata(&resize::reserved_descriptor_block(shape, reserved))?;
            }
            Ok(())
        } else {
            self.put_zeros(shape.reserved_descriptor_blocks.into())
        }
    }

    fn inode_table(&mut self, area: Area) -> Result<(), Error> {
        let usage = &self.layout.usage;
        let mut number = area.group * usage.shape.inodes_per_group + 1;
        let used_blocks = (usage.last_inode + 1 - number).div_ceil(INODES_PER_BLOCK).min(area.blocks);
        for _ in 0..used_blocks {
            let mut block = [0; BLOCK];
            let (inodes, _) = block.as_chunks_mut::<{ inode::SIZE }>();
            for (inode, number) in inodes.iter_mut().zip(number..) {
                if number <= usage.last_inode {
                    *inode = self.layout.inode(number);
                }
            }
            number += INODES_PER_BLOCK;
            self.metadata(&block)?;
        }
        self.put_zeros((area.blocks - used_blocks).into())
    }
}
