//! An inode's 256 bytes.
//!
//! Source: Documentation/filesystems/ext4, "Index Nodes".

use super::bytes::{put_split, put16, put32};
use super::crc::{crc, inode_seed};
use super::extents::{ENTRY, IN_INODE, MAGIC};

/// Bytes of an inode.
pub(super) const SIZE: usize = 256;
/// Bytes that are used of an inode's second half.
pub(super) const EXTRA_SIZE: u16 = 32;
/// Offset of `i_block`.
pub(super) const BLOCK_OFFSET: usize = 0x28;
/// Offsets of the two halves of the checksum.
pub(super) const CHECKSUM_LOW: usize = 0x7c;
pub(super) const CHECKSUM_HIGH: usize = 0x82;

/// `EXT4_INDEX_FL`: a directory with a hash tree.
pub(super) const INDEX_FLAG: u32 = 0x1000;
/// `EXT4_EXTENTS_FL`.
pub(super) const EXTENTS_FLAG: u32 = 0x8_0000;

/// File types in `i_mode`.
pub(super) mod mode {
    pub(in crate::ext4) const FIFO: u16 = 0x1000;
    pub(in crate::ext4) const CHAR_DEVICE: u16 = 0x2000;
    pub(in crate::ext4) const DIRECTORY: u16 = 0x4000;
    pub(in crate::ext4) const BLOCK_DEVICE: u16 = 0x6000;
    pub(in crate::ext4) const FILE: u16 = 0x8000;
    pub(in crate::ext4) const SYMLINK: u16 = 0xa000;
    pub(in crate::ext4) const SOCKET: u16 = 0xc000;
    /// The bits that hold the type.
    pub(in crate::ext4) const TYPE: u16 = 0xf000;
}

/// What an inode says, before it is bytes.
#[derive(Debug, Clone)]
pub(super) struct Inode {
    pub mode: u16,
    pub uid: u32,
    pub gid: u32,
    pub size: u64,
    /// Of modification, access and change, in seconds since 1970.
    pub time: i64,
    /// Of creation.
    pub created: i64,
    pub links: u32,
    /// Blocks of all kinds that belong to it.
    pub blocks: u64,
    pub flags: u32,
    /// `i_block`.
    pub block: [u8; 60],
    /// The block of extended attributes, or 0.
    pub xattr_block: u64,
}

impl Inode {
    /// The inode's bytes; `finish` adds the checksum when all of them are there.
    pub(super) fn encode(&self) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        let sectors = self.blocks * 8;
        put16(&mut bytes, 0x0, self.mode);
        put16(&mut bytes, 0x2, self.uid as u16);
        put_split(&mut bytes, 0x4, 0x6c, self.size);
        for (offset, extra, time) in [
            (0x8, 0x8c, self.time),     // i_atime
            (0xc, 0x84, self.time),     // i_ctime
            (0x10, 0x88, self.time),    // i_mtime
            (0x90, 0x94, self.created), // i_crtime
        ] {
            put32(&mut bytes, offset, time as u32);
            put32(&mut bytes, extra, epoch(time));
        }
        put16(&mut bytes, 0x18, self.gid as u16);
        put16(&mut bytes, 0x1a, self.links as u16);
        put32(&mut bytes, 0x1c, sectors as u32); // i_blocks_lo
        put32(&mut bytes, 0x20, self.flags);
        bytes[BLOCK_OFFSET..BLOCK_OFFSET + 60].copy_from_slice(&self.block);
        put32(&mut bytes, 0x68, self.xattr_block as u32); // i_file_acl_lo
        put16(&mut bytes, 0x74, (sectors >> 32) as u16); // l_i_blocks_high
        put16(&mut bytes, 0x76, (self.xattr_block >> 32) as u16); // l_i_file_acl_high
        put16(&mut bytes, 0x78, (self.uid >> 16) as u16); // l_i_uid_high
        put16(&mut bytes, 0x7a, (self.gid >> 16) as u16); // l_i_gid_high
        put16(&mut bytes, 0x80, EXTRA_SIZE); // i_extra_isize
        bytes
    }
}

/// The two bits that extend a 32-bit time; nanoseconds would be the bits above.
fn epoch(time: i64) -> u32 {
    ((time - i64::from(time as i32)) >> 32) as u32 & 3
}

/// An extent tree without extents, for `i_block`.
pub(super) fn no_extents() -> [u8; 60] {
    let mut block = [0; 60];
    put16(&mut block, 0x0, MAGIC);
    put16(&mut block, 0x4, IN_INODE as u16);
    debug_assert_eq!(ENTRY * (IN_INODE + 1), block.len());
    block
}

/// `i_block` of a device: the old form where both numbers fit a byte, else the new.
pub(super) fn device(major: u32, minor: u32) -> [u8; 60] {
    let mut block = [0; 60];
    if major < 256 && minor < 256 {
        put32(&mut block, 0, major << 8 | minor);
    } else {
        put32(&mut block, 4, (minor & 0xff) | major << 8 | (minor & !0xff) << 12);
    }
    block
}

/// The checksum of an inode's bytes with its checksum fields zero. `bytes` must hold the second half.
pub(super) fn checksum(bytes: &[u8], seed: u32) -> u32 {
    let low = crc(crc(seed, &bytes[..CHECKSUM_LOW]), &[0; 2]);
    let middle = crc(low, &bytes[CHECKSUM_LOW + 2..CHECKSUM_HIGH]);
    crc(crc(middle, &[0; 2]), &bytes[CHECKSUM_HIGH + 2..])
}

/// Puts the checksum into complete bytes.
pub(super) fn finish(bytes: &mut [u8; SIZE], number: u32, file_system_seed: u32) {
    let checksum = checksum(bytes, inode_seed(file_system_seed, number, 0));
    put16(bytes, CHECKSUM_LOW, checksum as u16);
    put16(bytes, CHECKSUM_HIGH, (checksum >> 16) as u16);
}
