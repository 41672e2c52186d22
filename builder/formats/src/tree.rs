//! What goes into a file system: paths with their metadata and the place of their content.
//!
//! A [`Tree`] is plain data. It holds no file content except small pieces made by the
//! builder itself; everything else is a slice of a file on the host, so that a tree of
//! any size is planned in little memory.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// Bytes of one regular file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Bytes held in memory.
    Bytes(Arc<[u8]>),
    /// `length` bytes at `offset` of a host file: a whole file, or a member of an unpacked archive.
    Slice {
        /// The host file.
        path: Arc<Path>,
        /// First byte.
        offset: u64,
        /// Number of bytes.
        length: u64,
    },
}

impl Content {
    /// Content held in memory.
    pub fn bytes(bytes: impl Into<Arc<[u8]>>) -> Self {
        Self::Bytes(bytes.into())
    }

    /// Length in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Slice { length, .. } => *length,
        }
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Opens the content for positioned reading.
    ///
    /// # Errors
    /// The host file cannot be opened.
    pub fn open(&self) -> io::Result<ContentReader<'_>> {
        match self {
            Self::Bytes(bytes) => Ok(ContentReader::Bytes(bytes)),
            Self::Slice { path, offset, length } => {
                Ok(ContentReader::Slice { file: File::open(path)?, offset: *offset, length: *length })
            }
        }
    }
}

/// An open [`Content`].
#[derive(Debug)]
pub enum ContentReader<'a> {
    /// Bytes in memory.
    Bytes(&'a [u8]),
    /// A slice of an open file.
    Slice {
        /// The open file.
        file: File,
        /// First byte of the slice.
        offset: u64,
        /// Bytes in the slice.
        length: u64,
    },
}

impl ContentReader<'_> {
    /// Fills `buffer` from `position` on.
    ///
    /// # Errors
    /// The content ends before `buffer` is full (`UnexpectedEof`: the host file was
    /// shortened since it was planned), or the host file cannot be read.
    pub fn read_exact_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        match self {
            Self::Bytes(bytes) => {
                let start = usize::try_from(position).map_err(|_| io::ErrorKind::UnexpectedEof)?;
                let source = start
                    .checked_add(buffer.len())
                    .and_then(|end| bytes.get(start..end))
                    .ok_or(io::ErrorKind::UnexpectedEof)?;
                buffer.copy_from_slice(source);
                Ok(())
            }
            Self::Slice { file, offset, length } => {
                let end = position.checked_add(buffer.len() as u64).ok_or(io::ErrorKind::UnexpectedEof)?;
                if end > *length {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                file.read_exact_at(buffer, offset + position)
            }
        }
    }
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file.
    File(Content),
    /// A symbolic link to these bytes.
    Symlink(Vec<u8>),
    /// One more name of the entry at this path (same form as the tree's keys).
    HardLink(Vec<u8>),
    /// A character device.
    CharDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

/// One name in the tree. Of a [`Kind::HardLink`] only the kind counts: the rest is its target's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: Kind,
    /// Permission bits with setuid, setgid and sticky (`0o7777`).
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time, seconds since 1970.
    pub mtime: i64,
    /// Extended attributes by full name (`security.capability`), values as `getxattr(2)` gives them.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Entry {
    /// An entry owned by root, without extended attributes, of time 0.
    pub fn new(kind: Kind, mode: u16) -> Self {
        Self { kind, mode, uid: 0, gid: 0, mtime: 0, xattrs: BTreeMap::new() }
    }
}

/// A file tree. Keys are paths relative to the root without leading or trailing slash, raw
/// bytes; the empty key is the root directory itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    /// Every name.
    pub entries: BTreeMap<Vec<u8>, Entry>,
}
