//! Why something in an image cannot be read: which structure, where, and what is wrong.

use super::superblock::SuperblockReadError;
use super::xattr::XattrError;
use std::io;

/// Why something in an image cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The superblock.
    #[error(transparent)]
    Superblock(#[from] SuperblockReadError),
    /// The image cannot be read there.
    #[error("cannot read {what} at byte {offset}")]
    Io {
        /// What is there.
        what: &'static str,
        /// Offset in bytes.
        offset: u64,
        /// Why.
        source: io::Error,
    },
    /// The image ends before its file system does.
    #[error("the file system has {needs_bytes} bytes, but the image has {has_bytes}")]
    Truncated {
        /// By the superblock.
        needs_bytes: u64,
        /// Of the image.
        has_bytes: u64,
    },
    /// Something that is not supported here.
    #[error("{what} is not supported")]
    Unsupported {
        /// What.
        what: &'static str,
    },
    /// An inode number beyond the file system's.
    #[error("there is no inode {number}: the file system has {inodes}")]
    NoSuchInode {
        /// The number.
        number: u32,
        /// Inodes in the file system.
        inodes: u32,
    },
    /// An inode that is not in use.
    #[error("inode {number} is not in use")]
    UnusedInode {
        /// The number.
        number: u32,
    },
    /// A group descriptor that points beyond the file system.
    #[error("the descriptor of group {group} has its inode table at block {block}")]
    InodeTable {
        /// The group.
        group: u32,
        /// Where it points.
        block: u64,
    },
    /// A damaged inode.
    #[error("inode {number}: checksum is {stored:#010x} but should be {computed:#010x}")]
    InodeChecksum {
        /// The number.
        number: u32,
        /// In the inode.
        stored: u32,
        /// Of its bytes.
        computed: u32,
    },
    /// An inode whose second half is larger than there is room.
    #[error("inode {number}: i_extra_isize is {found}")]
    ExtraSize {
        /// The number.
        number: u32,
        /// `i_extra_isize`.
        found: u16,
    },
    /// Extended attributes that cannot be read.
    #[error("inode {number}: extended attributes at byte {offset}")]
    Xattrs {
        /// The inode.
        number: u32,
        /// Offset of the area in the image.
        offset: u64,
        /// Why not.
        source: XattrError,
    },
    /// A block number beyond the file system.
    #[error("inode {number}: block {block} is beyond the file system")]
    BlockBounds {
        /// The inode.
        number: u32,
        /// The block.
        block: u64,
    },
    /// A broken node of an extent tree.
    #[error("inode {number}: the extent tree's node at byte {offset} is malformed")]
    ExtentNode {
        /// The inode.
        number: u32,
        /// Offset of the node in the image; 0 for the one in the inode.
        offset: u64,
    },
    /// Something that should be a directory.
    #[error("inode {number} is not a directory")]
    NotDirectory {
        /// The inode.
        number: u32,
    },
    /// A directory that is larger than the file system.
    #[error("directory {number}: {size} bytes")]
    DirectorySize {
        /// The inode.
        number: u32,
        /// `i_size`.
        size: u64,
    },
    /// A damaged block of names.
    #[error("directory {number}: checksum of the block at byte {offset} is wrong")]
    DirectoryChecksum {
        /// The inode.
        number: u32,
        /// Offset of the block in the image.
        offset: u64,
    },
    /// A malformed entry.
    #[error("directory {number}: the entry at byte {offset} is malformed")]
    DirectoryEntry {
        /// The inode.
        number: u32,
        /// Offset of the entry in the image.
        offset: u64,
    },
}
