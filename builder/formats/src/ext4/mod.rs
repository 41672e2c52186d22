//! ext4: a writer that streams a [`Tree`](crate::tree::Tree) as an image, and checked
//! readers of what ext4-view does not show.
//!
//! [`Layout::plan`] decides where everything goes, as plain data; [`Layout::write`] streams
//! the image once, from its first block to its last. Start with [`layout`](Layout), then
//! `geometry` (where metadata lies) and `write` (the order of things).
//!
//! What it deliberately does not do: change an existing file system, block sizes other than
//! 4 KiB, `meta_bg`, `inline_data`, `ea_inode`, `casefold`, `mmp`, `large_dir`.
//!
//! Source of every structure: Linux, Documentation/filesystems/ext4, whose field names and
//! offsets are used here; where it is silent, e2fsprogs' `lib/ext2fs`.

mod acl;
mod bytes;
mod crc;
mod directory;
mod dirhash;
mod error;
mod extents;
mod geometry;
mod groups;
mod holes;
mod image;
mod inode;
mod inodes;
mod journal;
mod layout;
mod nodes;
mod read_error;
mod resize;
pub mod superblock;
mod write;
pub mod xattr;

pub use error::{BadName, Error, PathBytes};
pub use image::{DirectoryEntry, Extent, Image, RawInode};
pub use layout::{Layout, Options, Size};
pub use read_error::ReadError;

/// Bytes in a block of every file system written here.
pub const BLOCK_SIZE: u64 = 4096;

/// The same as a buffer's length.
const BLOCK: usize = BLOCK_SIZE as usize;

/// Inode number of the root directory (special inodes, Documentation/filesystems/ext4).
pub const ROOT_INODE: u32 = 2;
/// Inode number of the resize inode.
const RESIZE_INODE: u32 = 7;
/// Inode number of the journal.
const JOURNAL_INODE: u32 = 8;
/// The first inode number that is not reserved.
const FIRST_INODE: u32 = 11;
