//! What the log needs of a disk.
//!
//! Promised by a disk: a sector of [`SECTOR`] bytes is written whole or not at all; what
//! `sync_data` returned for stays; a folder's names stay as `sync_folder` found them. Nothing else:
//! without a sync any sector of any write can be lost, in any order.

mod real;
pub mod sim;

use std::io;
use std::path::Path;

pub use real::{RealDisk, RealFile};

/// Bytes that are written whole or not at all.
pub const SECTOR: u64 = 512;

/// A disk, or a part of one.
pub trait Disk: Send + Sync + 'static {
    /// A file of it.
    type File: DiskFile;
    /// What keeps others out of a folder while it lives.
    type Lock: Send + Sync + 'static;

    /// Makes a folder, and those above it.
    fn create_folder(&self, folder: &Path) -> io::Result<()>;
    /// Takes a folder for this process alone; none when another one has it.
    fn lock(&self, folder: &Path) -> io::Result<Option<Self::Lock>>;
    /// Makes an empty file, in place of one of that name.
    fn create(&self, path: &Path) -> io::Result<Self::File>;
    /// Opens a file for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Self::File>;
    /// Gives a file another name, in place of the file that had it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Takes a file's name away; who has it open can go on reading.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// The names in a folder, in any order.
    fn list(&self, folder: &Path) -> io::Result<Vec<String>>;
    /// Makes the names in a folder durable.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
}

/// An open file. Reads and writes are at offsets in bytes, from any thread.
pub trait DiskFile: Send + Sync + 'static {
    /// Fills the buffer; a file that ends before that is an error.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
    /// Writes all of it.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes all that was written durable, and the size (fdatasync(2)).
    fn sync_data(&self) -> io::Result<()>;
    /// Gives a new file its size and the room for it, as zeros (fallocate(2)).
    fn preallocate(&self, size: u64) -> io::Result<()>;
    /// Its size in bytes.
    fn size(&self) -> io::Result<u64>;
}
