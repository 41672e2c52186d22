//! The image as a stream: metadata where it lies, and content in between.
//!
//! Content is pushed in the order in which blocks were handed out; whenever the position
//! reaches metadata, that is written first. So nothing is sought and nothing kept.

use super::directory::{DIRECTORY_TYPE, Directory};
use super::error::Error;
use super::geometry::{Area, AreaKind, INODES_PER_BLOCK};
use super::inode;
use super::inodes::attributes;
use super::layout::{Layout, whole};
use super::nodes::{Name, Node, inode_number};
use super::{BLOCK, BLOCK_SIZE, journal, resize, superblock};
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
