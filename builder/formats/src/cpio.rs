//! The initramfs: a cpio archive in the kernel's "newc" form (kernel documentation,
//! `driver-api/early-userspace/buffer-format`), by crate `cpio`.
//!
//! Every time is 0 and the inode numbers count from 1, so the same tree gives the same bytes.

use std::io::{self, Write};

use cpio::NewcBuilder;
use cpio::newc::ModeFileType;

use crate::tree::{Content, Entry, Kind, Tree};

/// Why there is no archive.
#[derive(Debug, thiserror::Error)]
pub enum CpioError {
    /// The format has no place for it.
    #[error("{} is {what}, which a cpio archive for the kernel cannot hold", .path.escape_ascii())]
    Unsupported {
        /// Its path.
        path: Vec<u8>,
        /// What it is.
        what: &'static str,
    },
    /// A path that is not UTF-8; crate cpio takes no other.
    #[error("{} is not UTF-8", .path.escape_ascii())]
    Name {
        /// The path.
        path: Vec<u8>,
    },
    /// Sizes have 32 bits.
    #[error("{} of {size} bytes is larger than a cpio member can be", .path.escape_ascii())]
    TooLarge {
        /// Its path.
        path: Vec<u8>,
        /// Its size in bytes.
        size: u64,
    },
    /// Content cannot be read, or the archive not written.
    #[error("{}: {source}", .path.escape_ascii())]
    Io {
        /// Whose content.
        path: Vec<u8>,
        /// Why not.
        source: io::Error,
    },
}

/// Writes the archive; its length is a multiple of 4.
///
/// # Errors
/// See [`CpioError`].
pub fn write(tree: &Tree, out: &mut dyn Write) -> Result<(), CpioError> {
    for (number, (path, entry)) in (1..).zip(&tree.entries) {
        member(path, entry, number, out)?;
    }
    let failed = |source| CpioError::Io { path: b"the archive's end".to_vec(), source };
    cpio::newc::trailer(out).map_err(failed)?;
    Ok(())
}

fn member(path: &[u8], entry: &Entry, number: u32, out: &mut dyn Write) -> Result<(), CpioError> {
    let unsupported = |what| CpioError::Unsupported { path: path.to_vec(), what };
    if !entry.xattrs.is_empty() {
        return Err(unsupported("a file with extended attributes"));
    }
    let none = Content::bytes([]);
    let (kind, content, device) = match &entry.kind {
        Kind::Directory => (ModeFileType::Directory, none, (0, 0)),
        Kind::File(content) => (ModeFileType::Regular, content.clone(), (0, 0)),
        Kind::Symlink(target) => (ModeFileType::Symlink, Content::bytes(target.as_slice()), (0, 0)),
        Kind::CharDevice { major, minor } => (ModeFileType::Char, none, (*major, *minor)),
        Kind::BlockDevice { major, minor } => (ModeFileType::Block, none, (*major, *minor)),
        Kind::Fifo => (ModeFileType::Fifo, none, (0, 0)),
        Kind::Socket => (ModeFileType::Socket, none, (0, 0)),
        // The kernel links members by inode number, content with the last name only: more
        // rules than an initramfs of a few files is worth.
        Kind::HardLink(_) => return Err(unsupported("a hard link")),
    };
    let size = content.len();
    let size32 = u32::try_from(size).map_err(|_| CpioError::TooLarge { path: path.to_vec(), size })?;
    let name = if path.is_empty() { b"." } else { path };
    let name = str::from_utf8(name).map_err(|_| CpioError::Name { path: path.to_vec() })?;
    let failed = |source| CpioError::Io { path: path.to_vec(), source };
    let mut writer = NewcBuilder::new(name)
        .ino(number)
        .uid(entry.uid)
        .gid(entry.gid)
        .nlink(if matches!(entry.kind, Kind::Directory) { 2 } else { 1 })
        .mode(entry.mode.into())
        .set_mode_file_type(kind)
        .rdev_major(device.0)
        .rdev_minor(device.1)
        .write(out, size32);
    let source = content.open().map_err(failed)?;
    let mut buffer = vec![0; size.min(1 << 20) as usize];
    for start in (0..size).step_by(buffer.len().max(1)) {
        let piece = &mut buffer[..(size - start).min(1 << 20) as usize];
        source.read_exact_at(piece, start).map_err(failed)?;
        writer.write_all(piece).map_err(failed)?;
    }
    writer.finish().map_err(failed)?;
    Ok(())
}
