//! The superblock: written, read with every check, and found again from its backups.
//!
//! Source: Documentation/filesystems/ext4, "The Super Block".

use super::bytes::{get16, get32, put_split, put16, put32};
use super::crc::{crc, file_system_seed};
use super::directory::HALF_MD4;
use super::geometry::{BLOCKS_PER_GROUP, LOG_GROUPS_PER_FLEX, Shape, first_block, has_super};
use super::groups::DESCRIPTOR;
use super::inode::{EXTRA_SIZE, SIZE as INODE_SIZE};
use super::{BLOCK, BLOCK_SIZE, FIRST_INODE, JOURNAL_INODE};
use crate::read_at::ReadAt;
use std::io;

/// Offset of the superblock in its file system.
pub const OFFSET: u64 = 1024;
/// Bytes of a superblock.
pub const SIZE: usize = 1024;
/// Offset of the checksum, which covers all before it.
const CHECKSUM: usize = 0x3fc;
/// `s_magic`.
const MAGIC: u16 = 0xef53;
/// `s_checksum_type` of crc32c.
const CRC32C: u8 = 1;

/// Bits of `s_feature_compat`, `s_feature_incompat` and `s_feature_ro_compat`.
pub mod feature {
    /// Compatible: a journal.
    pub const HAS_JOURNAL: u32 = 0x4;
    /// Compatible: extended attributes.
    pub const EXT_ATTR: u32 = 0x8;
    /// Compatible: descriptor blocks in reserve.
    pub const RESIZE_INODE: u32 = 0x10;
    /// Compatible: hash-indexed directories.
    pub const DIR_INDEX: u32 = 0x20;
    /// Incompatible: types in directory entries.
    pub const FILETYPE: u32 = 0x2;
    /// Incompatible: the journal must be replayed.
    pub const RECOVER: u32 = 0x4;
    /// Incompatible: group descriptors spread over the groups.
    pub const META_BG: u32 = 0x10;
    /// Incompatible: extents.
    pub const EXTENTS: u32 = 0x40;
    /// Incompatible: 64-bit block numbers.
    pub const BIT64: u32 = 0x80;
    /// Incompatible: flexible groups.
    pub const FLEX_BG: u32 = 0x200;
    /// Incompatible: the checksum seed is stored.
    pub const CSUM_SEED: u32 = 0x2000;
    /// Read-only compatible: few backup superblocks.
    pub const SPARSE_SUPER: u32 = 0x1;
    /// Read-only compatible: files of 2 GiB and more.
    pub const LARGE_FILE: u32 = 0x2;
    /// Read-only compatible: 48 bits of block count in an inode.
    pub const HUGE_FILE: u32 = 0x8;
    /// Read-only compatible: checksums of group descriptors alone.
    pub const GDT_CSUM: u32 = 0x10;
    /// Read-only compatible: directories of more than 65000 directories.
    pub const DIR_NLINK: u32 = 0x20;
    /// Read-only compatible: inodes of more than 128 bytes.
    pub const EXTRA_ISIZE: u32 = 0x40;
    /// Read-only compatible: checksums of all metadata.
    pub const METADATA_CSUM: u32 = 0x400;
}

/// What a file system made here says of itself beyond its shape.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    pub shape: Shape,
    pub total_blocks: u64,
    pub free_blocks: u64,
    pub free_inodes: u32,
    pub uuid: [u8; 16],
    pub hash_seed: [u8; 16],
    pub label: [u8; 16],
    pub created: i64,
    /// `i_block` and size of the journal's inode.
    pub journal: Option<([u8; 60], u64)>,
}

/// The superblock of `group`.
pub(super) fn encode(facts: &Facts, group: u32) -> [u8; SIZE] {
    let mut bytes = [0; SIZE];
    let shape = &facts.shape;
    let time = facts.created as u32;
    let time_high = (facts.created >> 32) as u8;
    put32(&mut bytes, 0x0, shape.inodes());
    put_split(&mut bytes, 0x4, 0x150, facts.total_blocks);
    put_split(&mut bytes, 0xc, 0x158, facts.free_blocks);
    put32(&mut bytes, 0x10, facts.free_inodes);
    put32(&mut bytes, 0x18, 2); // s_log_block_size: 1024 << 2
    put32(&mut bytes, 0x1c, 2); // s_log_cluster_size
    put32(&mut bytes, 0x20, BLOCKS_PER_GROUP as u32);
    put32(&mut bytes, 0x24, BLOCKS_PER_GROUP as u32); // s_clusters_per_group
    put32(&mut bytes, 0x28, shape.inodes_per_group);
    put32(&mut bytes, 0x30, time); // s_wtime
    put16(&mut bytes, 0x36, u16::MAX); // s_max_mnt_count: no checks by count
    put16(&mut bytes, 0x38, MAGIC);
    put16(&mut bytes, 0x3a, STATE_VALID);
    put16(&mut bytes, 0x3c, 1); // s_errors: continue
    put32(&mut bytes, 0x40, time); // s_lastcheck
    put32(&mut bytes, 0x4c, 1); // s_rev_level: dynamic
    put32(&mut bytes, 0x54, FIRST_INODE);
    put16(&mut bytes, 0x58, INODE_SIZE as u16);
    put16(&mut bytes, 0x5a, group as u16); // s_block_group_nr
    let mut compat = feature::EXT_ATTR | feature::DIR_INDEX;
    if shape.reserved_descriptor_blocks > 0 {
        compat |= feature::RESIZE_INODE;
    }
    if let Some((block, size)) = &facts.journal {
        compat |= feature::HAS_JOURNAL;
        put32(&mut bytes, 0xe0, JOURNAL_INODE);
        bytes[0xfd] = 1; // s_jnl_backup_type: s_jnl_blocks holds the inode's blocks and size
        bytes[0x10c..0x10c + 60].copy_from_slice(block);
        put_split(&mut bytes, 0x10c + 64, 0x10c + 60, *size);
    }
    put32(&mut bytes, 0x5c, compat);
    put32(&mut bytes, 0x60, feature::FILETYPE | feature::EXTENTS | feature::BIT64 | feature::FLEX_BG);
    put32(
        &mut bytes,
        0x64,
        feature::SPARSE_SUPER
            | feature::LARGE_FILE
            | feature::HUGE_FILE
            | feature::DIR_NLINK
            | feature::EXTRA_ISIZE
            | feature::METADATA_CSUM,
    );
    bytes[0x68..0x78].copy_from_slice(&facts.uuid);
    bytes[0x78..0x88].copy_from_slice(&facts.label);
    put16(&mut bytes, 0xce, shape.reserved_descriptor_blocks as u16);
    bytes[0xec..0xfc].copy_from_slice(&facts.hash_seed);
    bytes[0xfc] = HALF_MD4; // s_def_hash_version
    put16(&mut bytes, 0xfe, DESCRIPTOR as u16); // s_desc_size
    put32(&mut bytes, 0x100, 0xc); // s_default_mount_opts: user_xattr, acl
    put32(&mut bytes, 0x108, time); // s_mkfs_time
    put16(&mut bytes, 0x15c, EXTRA_SIZE); // s_min_extra_isize
    put16(&mut bytes, 0x15e, EXTRA_SIZE); // s_want_extra_isize
    put32(&mut bytes, 0x160, 1); // s_flags: names are hashed as signed bytes
    bytes[0x174] = LOG_GROUPS_PER_FLEX;
    bytes[0x175] = CRC32C;
    bytes[0x274] = time_high; // s_wtime_hi
    bytes[0x276] = time_high; // s_mkfs_time_hi
    bytes[0x277] = time_high; // s_lastcheck_hi
    seal(&mut bytes);
    bytes
}

fn seal(bytes: &mut [u8; SIZE]) {
    let checksum = crc(!0, &bytes[..CHECKSUM]);
    put32(bytes, CHECKSUM, checksum);
}

/// `s_state`: unmounted cleanly.
const STATE_VALID: u16 = 1;
/// `s_state`: the kernel saw errors.
const STATE_ERRORS: u16 = 2;

/// A superblock that has passed every check of [`Superblock::decode`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Superblock {
    /// Inodes of the file system.
    pub inodes: u32,
    /// Its blocks.
    pub blocks: u64,
    /// Blocks that are free, as of the last clean unmount.
    pub free_blocks: u64,
    /// Bytes in a block.
    pub block_size: u32,
    /// The block that group 0 starts with.
    pub first_data_block: u32,
    /// Blocks in a group.
    pub blocks_per_group: u32,
    /// Inodes in a group.
    pub inodes_per_group: u32,
    /// Bytes of an inode.
    pub inode_size: u16,
    /// Bytes of a group descriptor.
    pub descriptor_size: u16,
    /// The group whose copy this is: 0 for the superblock itself.
    pub group: u16,
    /// Whether it was unmounted cleanly.
    pub clean: bool,
    /// Whether the kernel has met errors in it.
    pub errors: bool,
    /// How many errors the kernel has counted.
    pub error_count: u32,
    /// `s_feature_compat`, see [`feature`].
    pub compat: u32,
    /// `s_feature_incompat`, see [`feature`].
    pub incompat: u32,
    /// `s_feature_ro_compat`, see [`feature`].
    pub ro_compat: u32,
    /// UUID.
    pub uuid: [u8; 16],
    /// Label, up to its first NUL.
    pub label: Vec<u8>,
    /// Seed of the checksums of metadata.
    pub checksum_seed: u32,
    /// When it was made, in seconds since 1970.
    pub created: i64,
}

/// Why bytes are no superblock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SuperblockError {
    /// Something else is there.
    #[error("ext4 superblock: magic is {found:#06x}, not 0xef53")]
    Magic {
        /// `s_magic`.
        found: u16,
    },
    /// Checksums of a kind that is not known.
    #[error("ext4 superblock: unknown checksum type {found}")]
    ChecksumType {
        /// `s_checksum_type`.
        found: u8,
    },
    /// Damaged.
    #[error("ext4 superblock: checksum is {stored:#010x} but should be {computed:#010x}")]
    Checksum {
        /// `s_checksum`.
        stored: u32,
        /// Of the bytes.
        computed: u32,
    },
    /// Blocks beyond 64 KiB.
    #[error("ext4 superblock: block size 1024 << {log}")]
    BlockSize {
        /// `s_log_block_size`.
        log: u32,
    },
    /// No blocks, or none behind the first.
    #[error("ext4 superblock: {blocks} blocks, of which data starts at {first_data_block}")]
    BlockCount {
        /// Blocks.
        blocks: u64,
        /// `s_first_data_block`.
        first_data_block: u32,
    },
    /// A file system whose size in bytes is beyond 64 bits.
    #[error("ext4 superblock: {blocks} blocks of {block_size} bytes")]
    Size {
        /// Blocks.
        blocks: u64,
        /// Bytes in a block.
        block_size: u32,
    },
    /// No blocks in a group, or more than a bitmap has bits.
    #[error("ext4 superblock: {found} blocks in a group")]
    BlocksPerGroup {
        /// `s_blocks_per_group`.
        found: u32,
    },
    /// No inodes in a group, or more than a bitmap has bits.
    #[error("ext4 superblock: {found} inodes in a group")]
    InodesPerGroup {
        /// `s_inodes_per_group`.
        found: u32,
    },
    /// More or fewer inodes than the groups have.
    #[error("ext4 superblock: {found} inodes, but {groups} groups of {inodes_per_group}")]
    InodeCount {
        /// `s_inodes_count`.
        found: u32,
        /// Groups.
        groups: u64,
        /// `s_inodes_per_group`.
        inodes_per_group: u32,
    },
    /// An inode size that is no power of two from 128 to a block.
    #[error("ext4 superblock: inodes of {found} bytes")]
    InodeSize {
        /// `s_inode_size`.
        found: u16,
    },
    /// A descriptor size that is no power of two from 64 to 1024.
    #[error("ext4 superblock: group descriptors of {found} bytes")]
    DescriptorSize {
        /// `s_desc_size`.
        found: u16,
    },
}

impl Superblock {
    /// Checks and reads a superblock.
    ///
    /// # Errors
    /// One for each way in which the bytes contradict themselves. A superblock whose
    /// checksum is right is still checked: checksums are no protection against malice.
    pub fn decode(bytes: &[u8; SIZE]) -> Result<Self, SuperblockError> {
        let u16_at = |offset| get16(bytes, offset).unwrap_or_default();
        let u32_at = |offset| get32(bytes, offset).unwrap_or_default();
        let split = |low, high| u64::from(u32_at(low)) | u64::from(u32_at(high)) << 32;

        let magic = u16_at(0x38);
        if magic != MAGIC {
            return Err(SuperblockError::Magic { found: magic });
        }
        let (incompat, ro_compat) = (u32_at(0x60), u32_at(0x64));
        if ro_compat & feature::METADATA_CSUM != 0 {
            if bytes[0x175] != CRC32C {
                return Err(SuperblockError::ChecksumType { found: bytes[0x175] });
            }
            let (stored, computed) = (u32_at(CHECKSUM), crc(!0, &bytes[..CHECKSUM]));
            if stored != computed {
                return Err(SuperblockError::Checksum { stored, computed });
            }
        }
        let log = u32_at(0x18);
        if log > 6 {
            return Err(SuperblockError::BlockSize { log });
        }
        let block_size = 1024 << log;
        let wide = incompat & feature::BIT64 != 0;
        let high = |low, high| if wide { split(low, high) } else { u64::from(u32_at(low)) };
        let (blocks, first_data_block) = (high(0x4, 0x150), u32_at(0x14));
        if blocks <= u64::from(first_data_block) {
            return Err(SuperblockError::BlockCount { blocks, first_data_block });
        }
        if blocks.checked_mul(block_size.into()).is_none() {
            return Err(SuperblockError::Size { blocks, block_size });
        }
        let (blocks_per_group, inodes_per_group) = (u32_at(0x20), u32_at(0x28));
        if blocks_per_group == 0 || blocks_per_group > 8 * block_size {
            return Err(SuperblockError::BlocksPerGroup { found: blocks_per_group });
        }
        if inodes_per_group == 0 || inodes_per_group > 8 * block_size {
            return Err(SuperblockError::InodesPerGroup { found: inodes_per_group });
        }
        let inodes = u32_at(0x0);
        let groups = (blocks - u64::from(first_data_block)).div_ceil(blocks_per_group.into());
        if groups.checked_mul(inodes_per_group.into()) != Some(inodes.into()) {
            return Err(SuperblockError::InodeCount { found: inodes, groups, inodes_per_group });
        }
        // Revision 0 has neither field.
        let inode_size = if u32_at(0x4c) == 0 { 128 } else { u16_at(0x58) };
        if !inode_size.is_power_of_two() || inode_size < 128 || u32::from(inode_size) > block_size {
            return Err(SuperblockError::InodeSize { found: inode_size });
        }
        let descriptor_size = if wide { u16_at(0xfe) } else { 32 };
        if wide && (!descriptor_size.is_power_of_two() || !(64..=1024).contains(&descriptor_size)) {
            return Err(SuperblockError::DescriptorSize { found: descriptor_size });
        }
        let uuid = u128::from_le_bytes(bytes[0x68..0x78].try_into().unwrap_or_default()).to_le_bytes();
        let state = u16_at(0x3a);
        Ok(Self {
            inodes,
            blocks,
            free_blocks: high(0xc, 0x158),
            block_size,
            first_data_block,
            blocks_per_group,
            inodes_per_group,
            inode_size,
            descriptor_size,
            group: u16_at(0x5a),
            clean: state & STATE_VALID != 0,
            errors: state & STATE_ERRORS != 0,
            error_count: u32_at(0x194),
            compat: u32_at(0x5c),
            incompat,
            ro_compat,
            uuid,
            label: bytes[0x78..0x88].iter().copied().take_while(|&byte| byte != 0).collect(),
            checksum_seed: if incompat & feature::CSUM_SEED == 0 {
                file_system_seed(&uuid)
            } else {
                u32_at(0x270)
            },
            created: i64::from(u32_at(0x108)) | i64::from(bytes[0x276] as i8) << 32,
        })
    }

    /// Bytes of the file system.
    pub fn size_bytes(&self) -> u64 {
        self.blocks * u64::from(self.block_size)
    }

    /// Groups of the file system.
    pub fn groups(&self) -> u32 {
        self.inodes / self.inodes_per_group
    }

    /// Whether the journal holds changes that a mount would replay.
    pub fn needs_recovery(&self) -> bool {
        self.incompat & feature::RECOVER != 0
    }

    /// Whether metadata has checksums.
    pub fn has_checksums(&self) -> bool {
        self.ro_compat & feature::METADATA_CSUM != 0
    }
}

/// Why a superblock cannot be had from a device.
#[derive(Debug, thiserror::Error)]
pub enum SuperblockReadError {
    /// The device cannot be read there.
    #[error("cannot read the ext4 superblock at byte {offset}")]
    Io {
        /// Offset in bytes.
        offset: u64,
        /// Why.
        source: io::Error,
    },
    /// What is there is no superblock.
    #[error("at byte {offset}")]
    Superblock {
        /// Offset in bytes.
        offset: u64,
        /// Why not.
        source: SuperblockError,
    },
}

/// Reads the superblock of the file system that starts at byte 0 of `reader`.
///
/// # Errors
/// It cannot be read, or is none.
pub fn read(reader: &(impl ReadAt + ?Sized)) -> Result<Superblock, SuperblockReadError> {
    let mut bytes = [0; SIZE];
    reader
        .read_exact_at(&mut bytes, OFFSET)
        .map_err(|source| SuperblockReadError::Io { offset: OFFSET, source })?;
    Superblock::decode(&bytes).map_err(|source| SuperblockReadError::Superblock { offset: OFFSET, source })
}

/// A backup of a superblock, ready to take the superblock's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// The offset in bytes at which it was found.
    pub offset: u64,
    /// What to write at [`OFFSET`].
    pub bytes: [u8; SIZE],
    /// The same, read.
    pub superblock: Superblock,
}

/// Looks for a backup in a file system that this module has written to `reader`, of which
/// `size` bytes may be its. `None` when there is none: file systems of up to 128 MiB have no backup.
///
/// # Errors
/// `reader` cannot be read.
pub fn find_backup(reader: &(impl ReadAt + ?Sized), size: u64) -> io::Result<Option<Backup>> {
    // s_block_group_nr has 16 bits.
    let groups = (size / BLOCK_SIZE / BLOCKS_PER_GROUP).min(u16::MAX.into()) as u32;
    for group in (1..=groups).filter(|&group| has_super(group)) {
        let offset = first_block(group) * BLOCK_SIZE;
        if offset + SIZE as u64 > size {
            break;
        }
        let mut bytes = [0; SIZE];
        reader.read_exact_at(&mut bytes, offset)?;
        let fits = |found: &Superblock| {
            u32::from(found.group) == group
                && found.has_checksums()
                && found.block_size == BLOCK as u32
                && u64::from(found.blocks_per_group) == BLOCKS_PER_GROUP
                && found.size_bytes() <= size
        };
        if Superblock::decode(&bytes).is_ok_and(|found| fits(&found)) {
            put16(&mut bytes, 0x5a, 0);
            seal(&mut bytes);
            if let Ok(superblock) = Superblock::decode(&bytes) {
                return Ok(Some(Backup { offset, bytes, superblock }));
            }
        }
    }
    Ok(None)
}
