//! Reading of what ext4-view does not show: inode numbers, raw inodes, extended attributes.
//!
//! Bytes are taken for hostile: every number is checked before it is used, loops end
//! because something grows in each turn, and no more is allocated than the image has bytes.

use super::bytes::{get16, get32};
use super::crc::{crc, inode_seed};
use super::extents;
use super::inode::{BLOCK_OFFSET, CHECKSUM_HIGH, CHECKSUM_LOW, EXTENTS_FLAG, INDEX_FLAG, checksum, mode};
use super::read_error::ReadError;
use super::superblock::{self, Superblock, feature};
use super::xattr;
use crate::read_at::ReadAt;
use std::collections::BTreeMap;

/// `i_flags`: the content is in the inode (Documentation/filesystems/ext4, "Inode Table").
const INLINE_DATA_FLAG: u32 = 0x1000_0000;

/// An inode as it is on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawInode {
    /// Its number.
    pub number: u32,
    /// `i_mode`: type and permissions.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Names; 1 for a directory with too many to count.
    pub links: u16,
    /// Bytes of content.
    pub size: u64,
    /// `i_flags`.
    pub flags: u32,
    /// Modification time, seconds since 1970.
    pub mtime: i64,
    /// Nanoseconds of it.
    pub mtime_nanoseconds: u32,
    /// Major and minor number of a device.
    pub rdev: Option<(u32, u32)>,
    generation: u32,
    block: [u8; 60],
    xattr_block: u64,
    /// Where in the image the bytes behind `i_extra_isize` are.
    spare_offset: u64,
    spare: Vec<u8>,
}

/// A name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// The inode that it names.
    pub inode: u32,
    /// The name; `.` and `..` are among them.
    pub name: Vec<u8>,
}

/// Neighbouring blocks of a file's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// The first block's place in the file.
    pub logical: u64,
    /// The first block's place in the file system.
    pub physical: u64,
    /// How many.
    pub blocks: u64,
    /// Whether they have content; otherwise they read as zeros.
    pub written: bool,
}

/// An image of a file system, open for reading.
#[derive(Debug)]
pub struct Image<R> {
    reader: R,
    superblock: Superblock,
}

impl<R: ReadAt> Image<R> {
    /// Opens the file system that starts at byte 0 of `reader`.
    ///
    /// # Errors
    /// No valid superblock, an image shorter than its file system, `meta_bg`.
    pub fn open(reader: R) -> Result<Self, ReadError> {
        let superblock = superblock::read(&reader)?;
        if superblock.incompat & feature::META_BG != 0 {
            return Err(ReadError::Unsupported { what: "a file system with meta_bg" });
        }
        let (needs_bytes, has_bytes) = (superblock.size_bytes(), reader.size());
        if needs_bytes > has_bytes {
            return Err(ReadError::Truncated { needs_bytes, has_bytes });
        }
        Ok(Self { reader, superblock })
    }

    /// The superblock.
    pub fn superblock(&self) -> &Superblock {
        &self.superblock
    }

    /// Reads an inode.
    ///
    /// # Errors
    /// There is none of this number, it is not in use, or it is damaged.
    pub fn inode(&self, number: u32) -> Result<RawInode, ReadError> {
        let superblock = &self.superblock;
        let index = number
            .checked_sub(1)
            .filter(|&index| index < superblock.inodes)
            .ok_or(ReadError::NoSuchInode { number, inodes: superblock.inodes })?;
        let group = index / superblock.inodes_per_group;
        let block_size = u64::from(superblock.block_size);
        let descriptor_offset = (u64::from(superblock.first_data_block) + 1) * block_size
            + u64::from(group) * u64::from(superblock.descriptor_size);
        let mut descriptor = vec![0; superblock.descriptor_size.into()];
        self.read("a group descriptor", descriptor_offset, &mut descriptor)?;
        let table = u64::from(get32(&descriptor, 0x8).unwrap_or(0))
            | u64::from(get32(&descriptor, 0x28).unwrap_or(0)) << 32;
        if table == 0 || table >= superblock.blocks {
            return Err(ReadError::InodeTable { group, block: table });
        }
        // Within 64 bits: the table's block is within the file system, whose size is.
        let offset = table * block_size
            + u64::from(index % superblock.inodes_per_group) * u64::from(superblock.inode_size);
        let mut bytes = vec![0; superblock.inode_size.into()];
        self.read("an inode", offset, &mut bytes)?;
        self.decode(number, offset, &bytes)
    }

    fn decode(&self, number: u32, offset: u64, bytes: &[u8]) -> Result<RawInode, ReadError> {
        let u16_at = |offset| get16(bytes, offset).unwrap_or(0);
        let u32_at = |offset| get32(bytes, offset).unwrap_or(0);
        let wide = |low, high| u32::from(u16_at(low)) | u32::from(u16_at(high)) << 16;
        let (i_mode, links) = (u16_at(0x0), u16_at(0x1a));
        if i_mode == 0 && links == 0 {
            return Err(ReadError::UnusedInode { number });
        }
        let extra_size = u16_at(0x80);
        let spare_start = 128 + usize::from(extra_size);
        if extra_size % 4 != 0 || (bytes.len() > 128 && spare_start > bytes.len()) {
            return Err(ReadError::ExtraSize { number, found: extra_size });
        }
        let generation = u32_at(0x64);
        if self.superblock.has_checksums() {
            let seed = inode_seed(self.superblock.checksum_seed, number, generation);
            let (stored, computed) = if extra_size >= 4 {
                (wide(CHECKSUM_LOW, CHECKSUM_HIGH), checksum(bytes, seed))
            } else {
                let low = crc(crc(seed, &bytes[..CHECKSUM_LOW]), &[0; 2]);
                (u32::from(u16_at(CHECKSUM_LOW)), crc(low, &bytes[CHECKSUM_LOW + 2..]) & 0xffff)
            };
            if stored != computed {
                return Err(ReadError::InodeChecksum { number, stored, computed });
            }
        }
        let mut block = [0; 60];
        block.copy_from_slice(&bytes[BLOCK_OFFSET..BLOCK_OFFSET + 60]);
        let file_type = i_mode & mode::TYPE;
        let is_device = file_type == mode::CHAR_DEVICE || file_type == mode::BLOCK_DEVICE;
        let mtime_extra = if extra_size >= 12 { u32_at(0x88) } else { 0 };
        // i_size_high means something else in directories of ext2, and nothing in other types.
        let has_high_size = file_type == mode::FILE || file_type == mode::DIRECTORY;
        Ok(RawInode {
            number,
            mode: i_mode,
            uid: wide(0x2, 0x78),
            gid: wide(0x18, 0x7a),
            links,
            size: u64::from(u32_at(0x4)) | if has_high_size { u64::from(u32_at(0x6c)) << 32 } else { 0 },
            flags: u32_at(0x20),
            mtime: i64::from(u32_at(0x10) as i32) + (i64::from(mtime_extra & 3) << 32),
            mtime_nanoseconds: mtime_extra >> 2,
            rdev: is_device.then(|| device(&block)),
            generation,
            block,
            xattr_block: u64::from(u32_at(0x68)) | u64::from(u16_at(0x76)) << 32,
            spare_offset: offset + spare_start as u64,
            spare: bytes.get(spare_start..).unwrap_or_default().to_vec(),
        })
    }

    /// Reads an inode's extended attributes by full name, with values as `getxattr(2)` gives them.
    ///
    /// # Errors
    /// They are malformed, or in a form that is not supported (`ea_inode`).
    pub fn xattrs(&self, inode: &RawInode) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, ReadError> {
        let failed = |offset| move |source| ReadError::Xattrs { number: inode.number, offset, source };
        let mut found = BTreeMap::new();
        xattr::read_inode(&inode.spare, &mut found).map_err(failed(inode.spare_offset))?;
        if inode.xattr_block != 0 {
            let physical = inode.xattr_block;
            let (block, offset) = self.block(inode.number, physical)?;
            let seed = self.superblock.has_checksums().then_some(self.superblock.checksum_seed);
            xattr::read_block(&block, physical, seed, &mut found).map_err(failed(offset))?;
        }
        Ok(found)
    }

    /// Where the content of a file or a long symbolic link is, ascending; what no extent has is a
    /// hole, and extents may reach past the file's size. None when its blocks are in a map instead.
    ///
    /// # Errors
    /// The extents are malformed, or the content is in the inode (`inline_data`).
    pub fn extents(&self, inode: &RawInode) -> Result<Option<Vec<Extent>>, ReadError> {
        if inode.flags & INLINE_DATA_FLAG != 0 {
            return Err(ReadError::Unsupported { what: "a file with inline_data" });
        }
        if inode.flags & EXTENTS_FLAG == 0 {
            return Ok(None);
        }
        let mut extents = Extents { image: self, inode, next: 0, end: None, found: Vec::new() };
        extents.node(&inode.block, 0, None)?;
        Ok(Some(extents.found))
    }

    /// The target of a symbolic link that is short enough to be in its inode, as far as one is.
    pub fn short_target<'n>(&self, inode: &'n RawInode) -> Option<&'n [u8]> {
        let is_link = inode.mode & mode::TYPE == mode::SYMLINK;
        let in_inode = inode.flags & (EXTENTS_FLAG | INLINE_DATA_FLAG) == 0;
        let length = usize::try_from(inode.size).ok().filter(|length| *length < inode.block.len())?;
        (is_link && in_inode).then(|| &inode.block[..length])
    }

    /// Reads all names of a directory, in the order of its blocks.
    ///
    /// # Errors
    /// It is no directory, is malformed, or has its blocks in a map instead of extents.
    pub fn read_directory(&self, inode: &RawInode) -> Result<Vec<DirectoryEntry>, ReadError> {
        let number = inode.number;
        if inode.mode & mode::TYPE != mode::DIRECTORY {
            return Err(ReadError::NotDirectory { number });
        }
        if inode.flags & EXTENTS_FLAG == 0 {
            return Err(ReadError::Unsupported { what: "a directory without extents" });
        }
        let blocks = inode.size.div_ceil(self.superblock.block_size.into());
        if blocks > self.superblock.blocks {
            return Err(ReadError::DirectorySize { number, size: inode.size });
        }
        let mut extents = Extents { image: self, inode, next: 0, end: Some(blocks), found: Vec::new() };
        extents.node(&inode.block, 0, None)?;
        let mut entries = Vec::new();
        let found = extents.found.into_iter();
        for physical in found.flat_map(|extent| extent.physical..extent.physical + extent.blocks) {
            self.read_names(inode, physical, entries.is_empty(), &mut entries)?;
        }
        Ok(entries)
    }

    fn read_names(
        &self,
        inode: &RawInode,
        physical: u64,
        first: bool,
        entries: &mut Vec<DirectoryEntry>,
    ) -> Result<(), ReadError> {
        let number = inode.number;
        let (block, start) = self.block(number, physical)?;
        // Blocks of the index have their checksum elsewhere, and may end in what is left of a
        // block of names: its first block is the root, the others are one empty record.
        let is_index = inode.flags & INDEX_FLAG != 0
            && (first
                || (get32(&block, 0) == Some(0) && get16(&block, 4).map(usize::from) == Some(block.len())));
        // What other readers take for a node of the index; not all of them check how long it says it is.
        let whole = get16(&block, 4).map(usize::from) == Some(block.len());
        if inode.flags & INDEX_FLAG != 0 && (first || whole) {
            let limit = if first { 0x20 } else { 8 };
            let count = get16(&block, limit + 2).map_or(usize::MAX, usize::from);
            if count > (block.len() - limit - 8) / 8 {
                return Err(ReadError::DirectoryEntry { number, offset: start + limit as u64 });
            }
        }
        let (names, tail) = block.split_at(block.len() - 12);
        if self.superblock.has_checksums() && !is_index && tail[..8] == [0, 0, 0, 0, 12, 0, 0, 0xde] {
            let seed = inode_seed(self.superblock.checksum_seed, number, inode.generation);
            if get32(tail, 8) != Some(crc(seed, names)) {
                return Err(ReadError::DirectoryChecksum { number, offset: start });
            }
        }
        let mut offset = 0;
        while offset < block.len() {
            let malformed = || ReadError::DirectoryEntry { number, offset: start + offset as u64 };
            let record = &block[offset..];
            let (Some(named), Some(length)) = (get32(record, 0), get16(record, 4)) else {
                return Err(malformed());
            };
            // In blocks of 64 KiB a record that fills one says 0xffff or 0.
            let length = match length {
                0 | 0xffff if block.len() == 1 << 16 => block.len(),
                _ => length.into(),
            };
            let name_length = usize::from(*record.get(6).ok_or_else(malformed)?);
            if length < 8 + name_length || length % 4 != 0 || length > record.len() {
                return Err(malformed());
            }
            if named != 0 {
                entries.push(DirectoryEntry { inode: named, name: record[8..8 + name_length].to_vec() });
            }
            offset += length;
        }
        Ok(())
    }

    /// A block, and its offset in bytes.
    fn block(&self, number: u32, block: u64) -> Result<(Vec<u8>, u64), ReadError> {
        if block >= self.superblock.blocks {
            return Err(ReadError::BlockBounds { number, block });
        }
        let offset = block * u64::from(self.superblock.block_size);
        let mut bytes = vec![0; self.superblock.block_size as usize];
        self.read("a block", offset, &mut bytes)?;
        Ok((bytes, offset))
    }

    fn read(&self, what: &'static str, offset: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        self.reader.read_exact_at(buffer, offset).map_err(|source| ReadError::Io { what, offset, source })
    }
}

/// Collects the blocks of a file in order.
struct Extents<'i, R> {
    image: &'i Image<R>,
    inode: &'i RawInode,
    /// The least logical block that may come next.
    next: u64,
    /// A directory's size in blocks. Without one, extents may be unwritten and reach anywhere.
    end: Option<u64>,
    found: Vec<Extent>,
}

impl<R: ReadAt> Extents<'_, R> {
    /// Reads a node, at byte `offset`, of `depth`; `None` takes the root's own. Each node's
    /// first logical block lies behind the last one's, so that a tree with loops is refused.
    fn node(&mut self, node: &[u8], offset: u64, depth: Option<u16>) -> Result<(), ReadError> {
        let number = self.inode.number;
        let malformed = || ReadError::ExtentNode { number, offset };
        let [magic, count, _, own_depth] = [0, 2, 4, 6].map(|field| get16(node, field).unwrap_or(0));
        let count = usize::from(count);
        if magic != extents::MAGIC
            || own_depth > 5
            || depth.is_some_and(|depth| own_depth != depth || count == 0)
        {
            return Err(malformed());
        }
        let entries = node.get(extents::ENTRY..extents::ENTRY * (count + 1)).ok_or_else(malformed)?;
        let mut least = self.next;
        for entry in entries.chunks_exact(extents::ENTRY) {
            let logical = u64::from(get32(entry, 0).unwrap_or(0));
            if logical < least {
                return Err(malformed());
            }
            least = logical + 1;
            let u16_at = |field| u64::from(get16(entry, field).unwrap_or(0));
            let u32_at = |field| u64::from(get32(entry, field).unwrap_or(0));
            if let Some(child_depth) = own_depth.checked_sub(1) {
                self.next = logical;
                let (block, offset) = self.image.block(number, u32_at(4) | u16_at(8) << 32)?;
                self.node(&block, offset, Some(child_depth))?;
                least = least.max(self.next);
            } else {
                let (blocks, written) = match u16_at(4) {
                    0 => return Err(malformed()),
                    blocks @ ..=0x8000 => (blocks, true),
                    // Unwritten, which a directory's blocks never are.
                    _ if self.end.is_some() => return Err(malformed()),
                    blocks => (blocks - 0x8000, false),
                };
                let start = u32_at(8) | u16_at(6) << 32;
                let end = start + blocks;
                let is_outside = self.end.is_some_and(|end| logical + blocks > end);
                if end > self.image.superblock.blocks || is_outside {
                    return Err(ReadError::BlockBounds { number, block: end - 1 });
                }
                self.next = logical + blocks;
                least = self.next;
                self.found.push(Extent { logical, physical: start, blocks, written });
            }
        }
        Ok(())
    }
}

/// Major and minor number of a device from its inode's `i_block`: the old form, else the new.
fn device(block: &[u8; 60]) -> (u32, u32) {
    match (get32(block, 0).unwrap_or(0), get32(block, 4).unwrap_or(0)) {
        (0, new) => ((new & 0xf_ff00) >> 8, (new & 0xff) | (new >> 12 & 0xf_ff00)),
        (old, _) => (old >> 8 & 0xff, old & 0xff),
    }
}
