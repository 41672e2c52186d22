//! Extended attributes: in the inode's spare bytes, then in one block.
//!
//! Source: Documentation/filesystems/ext4, "Extended Attributes"; the hashes are those of
//! `fs/ext4/xattr.c`.

use super::bytes::{get16, get32, put16, put32};
use super::crc::crc;
use super::error::{Error, PathBytes};
use super::{BLOCK, acl};
use std::collections::BTreeMap;

/// `h_magic`, of the inode's header and the block's.
const MAGIC: u32 = 0xea02_0000;
/// Where attributes start in an inode: behind its 128 bytes and the 32 of `i_extra_isize`.
pub(super) const INODE_OFFSET: usize = 160;
/// Bytes for entries and values in a 256-byte inode, behind the magic, before the end mark.
const INODE_ROOM: usize = 256 - INODE_OFFSET - 4 - END_MARK;
/// Bytes of the block's header.
const BLOCK_HEADER: usize = 32;
/// Bytes for entries and values in a block.
const BLOCK_ROOM: usize = BLOCK - BLOCK_HEADER - END_MARK;
/// An entry without its name.
const ENTRY: usize = 16;
/// Four zero bytes behind the last entry.
const END_MARK: usize = 4;
/// Offset of `h_checksum`.
const CHECKSUM: usize = 0x10;
/// The longest name with its prefix (`XATTR_NAME_MAX`).
const MAX_NAME: usize = 255;

/// Name spaces by `e_name_index`. An access control list's index is its whole name.
const PREFIXES: [(u8, &[u8]); 4] = [(1, b"user."), (4, b"trusted."), (6, b"security."), (7, b"system.")];
const ACLS: [(u8, &[u8]); 2] = [(2, b"system.posix_acl_access"), (3, b"system.posix_acl_default")];

/// An attribute in the disk's form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attribute {
    index: u8,
    suffix: Vec<u8>,
    value: Vec<u8>,
}

impl Attribute {
    fn new(path: &[u8], name: &[u8], value: &[u8]) -> Result<Self, Error> {
        if let Some((index, _)) = ACLS.into_iter().find(|(_, whole)| *whole == name) {
            let value = acl::to_disk(value)
                .ok_or_else(|| Error::XattrAcl { path: path.into(), name: name.to_vec() })?;
            return Ok(Self { index, suffix: Vec::new(), value });
        }
        let bad_name = || Error::XattrName { path: path.into(), name: name.to_vec() };
        // What else is in "system." belongs to the kernel: `system.data` is a file's inline data.
        let (index, prefix) = PREFIXES
            .into_iter()
            .find(|(_, p)| *p != b"system." && name.starts_with(p))
            .ok_or_else(bad_name)?;
        let suffix = name[prefix.len()..].to_vec();
        if suffix.is_empty() || suffix.contains(&0) || name.len() > MAX_NAME {
            return Err(bad_name());
        }
        Ok(Self { index, suffix, value: value.to_vec() })
    }

    fn entry_length(&self) -> usize {
        ENTRY + self.suffix.len().next_multiple_of(4)
    }

    fn length(&self) -> usize {
        self.entry_length() + self.value.len().next_multiple_of(4)
    }

    /// `ext4_xattr_hash_entry`.
    fn hash(&self) -> u32 {
        let name = self.suffix.iter().fold(0_u32, |hash, &byte| hash.rotate_left(5) ^ u32::from(byte));
        self.value.chunks(4).fold(name, |hash, chunk| {
            let mut word = [0; 4];
            word[..chunk.len()].copy_from_slice(chunk);
            hash.rotate_left(16) ^ u32::from_le_bytes(word)
        })
    }
}

/// The attributes of one inode, divided between the inode and a block.
#[derive(Debug, Default)]
pub(super) struct Attributes {
    in_inode: Vec<Attribute>,
    pub in_block: Vec<Attribute>,
}

impl Attributes {
    /// Takes attributes in the order of names into the inode as long as there is room, and
    /// the others into the block.
    pub(super) fn new(path: &[u8], xattrs: &BTreeMap<Vec<u8>, Vec<u8>>) -> Result<Self, Error> {
        let mut this = Self::default();
        let (mut inode_left, mut block_used) = (INODE_ROOM, 0_usize);
        for (name, value) in xattrs {
            let attribute = Attribute::new(path, name, value)?;
            let length = attribute.length();
            if let Some(left) = inode_left.checked_sub(length) {
                inode_left = left;
                this.in_inode.push(attribute);
            } else {
                block_used += length;
                this.in_block.push(attribute);
            }
        }
        if block_used > BLOCK_ROOM {
            let path = PathBytes::from(path);
            return Err(Error::XattrTooLarge { path, needed: block_used, available: BLOCK_ROOM });
        }
        // The kernel looks names up in a block by this order.
        this.in_block
            .sort_by(|a, b| (a.index, a.suffix.len(), &a.suffix).cmp(&(b.index, b.suffix.len(), &b.suffix)));
        Ok(this)
    }

    /// Puts the inode's share into the bytes of an inode.
    pub(super) fn put_in_inode(&self, inode: &mut [u8; 256]) {
        if !self.in_inode.is_empty() {
            put32(inode, INODE_OFFSET, MAGIC);
            put_entries(&mut inode[INODE_OFFSET + 4..], 0, &self.in_inode, false);
        }
    }

    /// The block, to lie at `physical`.
    pub(super) fn block(&self, physical: u64, file_system_seed: u32) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        put32(&mut block, 0x0, MAGIC);
        put32(&mut block, 0x4, 1); // h_refcount
        put32(&mut block, 0x8, 1); // h_blocks
        let hashes = self.in_block.iter().map(Attribute::hash);
        // ext4_xattr_rehash: an entry whose hash is 0 makes the block unshareable.
        let hash = if hashes.clone().any(|hash| hash == 0) {
            0
        } else {
            hashes.fold(0_u32, |sum, hash| sum.rotate_left(16) ^ hash)
        };
        put32(&mut block, 0xc, hash); // h_hash
        put_entries(&mut block, BLOCK_HEADER, &self.in_block, true);
        let checksum = block_checksum(&block, physical, file_system_seed);
        put32(&mut block, CHECKSUM, checksum);
        block
    }
}

/// Entries from `start` on, values down from the end. Offsets of values count from `area`'s start.
fn put_entries(area: &mut [u8], start: usize, attributes: &[Attribute], hashed: bool) {
    let (mut entry, mut end) = (start, area.len());
    for attribute in attributes {
        end -= attribute.value.len().next_multiple_of(4);
        area[end..end + attribute.value.len()].copy_from_slice(&attribute.value);
        area[entry] = attribute.suffix.len() as u8; // e_name_len
        area[entry + 1] = attribute.index; // e_name_index
        put16(area, entry + 2, if attribute.value.is_empty() { 0 } else { end as u16 }); // e_value_offs
        put32(area, entry + 8, attribute.value.len() as u32); // e_value_size
        put32(area, entry + 12, if hashed { attribute.hash() } else { 0 }); // e_hash
        area[entry + ENTRY..entry + ENTRY + attribute.suffix.len()].copy_from_slice(&attribute.suffix);
        entry += attribute.entry_length();
    }
}

/// The checksum of an attribute block: of its place, then of its bytes with `h_checksum` zero.
fn block_checksum(block: &[u8], physical: u64, file_system_seed: u32) -> u32 {
    let place = crc(file_system_seed, &physical.to_le_bytes());
    let head = crc(place, &block[..CHECKSUM]);
    crc(crc(head, &[0; 4]), &block[CHECKSUM + 4..])
}

/// Why stored attributes cannot be read. Offsets are within the inode or the block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum XattrError {
    /// The block does not start as an attribute block.
    #[error("magic is {found:#010x}")]
    Magic {
        /// What is there instead.
        found: u32,
    },
    /// The block's checksum is wrong.
    #[error("checksum is {stored:#010x} but should be {computed:#010x}")]
    Checksum {
        /// In the block.
        stored: u32,
        /// Of its bytes.
        computed: u32,
    },
    /// An entry runs beyond its area.
    #[error("the entry at {offset} runs beyond its area")]
    EntryBounds {
        /// Offset of the entry.
        offset: usize,
    },
    /// A value lies beyond its area.
    #[error("the value of the entry at {offset} lies beyond its area")]
    ValueBounds {
        /// Offset of the entry.
        offset: usize,
    },
    /// A value in an inode of its own (`ea_inode`), which is not supported.
    #[error("the value of the entry at {offset} is in an inode of its own, which is not supported")]
    ValueInode {
        /// Offset of the entry.
        offset: usize,
    },
    /// A name space that has no name.
    #[error("the entry at {offset} is in the unknown name space {index}")]
    NameIndex {
        /// Offset of the entry.
        offset: usize,
        /// `e_name_index`.
        index: u8,
    },
    /// An access control list in no known form.
    #[error("the entry at {offset} is a malformed access control list")]
    Acl {
        /// Offset of the entry.
        offset: usize,
    },
}

/// Reads the attributes in an inode's bytes behind `i_extra_isize` into `found`.
pub(super) fn read_inode(area: &[u8], found: &mut BTreeMap<Vec<u8>, Vec<u8>>) -> Result<(), XattrError> {
    match (get32(area, 0), area.get(4..)) {
        (Some(MAGIC), Some(entries)) => read_entries(entries, 0, found),
        _ => Ok(()),
    }
}

/// Reads the attributes of the block at `physical` into `found`; its checksum counts when
/// `checksum_seed` is given.
pub(super) fn read_block(
    block: &[u8],
    physical: u64,
    checksum_seed: Option<u32>,
    found: &mut BTreeMap<Vec<u8>, Vec<u8>>,
) -> Result<(), XattrError> {
    let magic = get32(block, 0).unwrap_or(0);
    let (MAGIC, Some(stored)) = (magic, get32(block, CHECKSUM)) else {
        return Err(XattrError::Magic { found: magic });
    };
    if let Some(seed) = checksum_seed {
        let computed = block_checksum(block, physical, seed);
        if stored != computed {
            return Err(XattrError::Checksum { stored, computed });
        }
    }
    read_entries(block, BLOCK_HEADER, found)
}

fn read_entries(area: &[u8], start: usize, found: &mut BTreeMap<Vec<u8>, Vec<u8>>) -> Result<(), XattrError> {
    let mut offset = start;
    // Every turn moves on by at least an entry's length, so a hostile area ends the loop.
    while get32(area, offset).is_some_and(|word| word != 0) {
        let bounds = XattrError::EntryBounds { offset };
        let entry = area.get(offset..offset + ENTRY).ok_or(bounds)?;
        let (name_length, index) = (usize::from(entry[0]), entry[1]);
        let suffix = area.get(offset + ENTRY..offset + ENTRY + name_length).ok_or(bounds)?;
        let value_offset = usize::from(get16(entry, 2).ok_or(bounds)?);
        if get32(entry, 4) != Some(0) {
            return Err(XattrError::ValueInode { offset });
        }
        let size = get32(entry, 8).ok_or(bounds)? as usize;
        let value = if size == 0 {
            &[]
        } else {
            value_offset
                .checked_add(size)
                .and_then(|end| area.get(value_offset..end))
                .ok_or(XattrError::ValueBounds { offset })?
        };
        let (name, value) = full(index, suffix, value).map_err(|error| match error {
            Unnamed::Index => XattrError::NameIndex { offset, index },
            Unnamed::Acl => XattrError::Acl { offset },
        })?;
        found.insert(name, value);
        offset += ENTRY + name_length.next_multiple_of(4);
    }
    Ok(())
}

enum Unnamed {
    Index,
    Acl,
}

/// Name and value as `getxattr(2)` gives them.
fn full(index: u8, suffix: &[u8], value: &[u8]) -> Result<(Vec<u8>, Vec<u8>), Unnamed> {
    if let Some((_, name)) = ACLS.into_iter().find(|(acl, _)| *acl == index) {
        return Ok((name.to_vec(), acl::from_disk(value).ok_or(Unnamed::Acl)?));
    }
    let (_, prefix) = PREFIXES.into_iter().find(|(known, _)| *known == index).ok_or(Unnamed::Index)?;
    Ok(([prefix, suffix].concat(), value.to_vec()))
}
