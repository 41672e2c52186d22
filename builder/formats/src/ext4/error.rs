//! Why a tree cannot become a file system.

use std::{fmt, io};

/// A path or name in raw bytes, shown with its unprintable bytes escaped.
#[derive(Clone, PartialEq, Eq)]
pub struct PathBytes(pub Vec<u8>);

impl From<&[u8]> for PathBytes {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

impl fmt::Display for PathBytes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "/")?;
        for chunk in self.0.utf8_chunks() {
            for character in chunk.valid().chars() {
                if character.is_control() {
                    write!(formatter, "{}", character.escape_default())?;
                } else {
                    write!(formatter, "{character}")?;
                }
            }
            write!(formatter, "{}", chunk.invalid().escape_ascii())?;
        }
        Ok(())
    }
}

impl fmt::Debug for PathBytes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "\"{self}\"")
    }
}

/// What is wrong with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// No bytes: a leading, trailing or doubled slash.
    #[error("a name is empty")]
    Empty,
    /// `.` or `..`.
    #[error("a name is . or ..")]
    Dot,
    /// A NUL byte.
    #[error("a name has a NUL byte")]
    Nul,
    /// More than 255 bytes.
    #[error("a name has {0} bytes, more than 255")]
    TooLong(usize),
}

/// Why a file system could not be planned or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A path has a name that no directory can hold.
    #[error("{path}: {why}")]
    BadName {
        /// The path.
        path: PathBytes,
        /// What is wrong.
        why: BadName,
    },
    /// A path's directory is not in the tree.
    #[error("{path}: its directory is not in the tree")]
    MissingParent {
        /// The path.
        path: PathBytes,
    },
    /// A path lies below something that is not a directory.
    #[error("{path}: what it lies in is not a directory")]
    ParentNotDirectory {
        /// The path.
        path: PathBytes,
    },
    /// The root, or `lost+found`, is in the tree but not as a directory.
    #[error("{path}: must be a directory")]
    MustBeDirectory {
        /// The path.
        path: PathBytes,
    },
    /// Mode bits beyond `0o7777`.
    #[error("{path}: mode {mode:#o} has more than permission bits")]
    BadMode {
        /// The path.
        path: PathBytes,
        /// The mode.
        mode: u16,
    },
    /// A time that an inode cannot hold beyond doubt (1901 to 2310). An empty path is the creation time.
    #[error("{path}: time {seconds} is before 1901 or after 2310")]
    TimeOutOfRange {
        /// The path.
        path: PathBytes,
        /// Seconds since 1970.
        seconds: i64,
    },
    /// A hard link to a path that is not in the tree.
    #[error("{path}: hard link to {target}, which is not in the tree")]
    LinkTargetMissing {
        /// The link.
        path: PathBytes,
        /// What it names.
        target: PathBytes,
    },
    /// A hard link to a directory.
    #[error("{path}: hard link to the directory {target}")]
    LinkTargetIsDirectory {
        /// The link.
        path: PathBytes,
        /// What it names.
        target: PathBytes,
    },
    /// A hard link to a hard link.
    #[error("{path}: hard link to {target}, which is itself a hard link")]
    LinkTargetIsLink {
        /// The link.
        path: PathBytes,
        /// What it names.
        target: PathBytes,
    },
    /// More names for one inode than ext4 counts.
    #[error("{path}: {links} hard links, more than 65000")]
    TooManyLinks {
        /// The first name.
        path: PathBytes,
        /// Names in the tree.
        links: u32,
    },
    /// A symbolic link to nothing, or with a NUL byte.
    #[error("{path}: the target of the symbolic link is empty or has a NUL byte")]
    BadSymlink {
        /// The link.
        path: PathBytes,
    },
    /// A symbolic link that no kernel follows.
    #[error("{path}: the target of the symbolic link has {length} bytes, more than 4095")]
    SymlinkTooLong {
        /// The link.
        path: PathBytes,
        /// Bytes of its target.
        length: usize,
    },
    /// A device number beyond 12 bits of major and 20 of minor.
    #[error("{path}: device {major}:{minor} is beyond 4095:1048575")]
    DeviceNumber {
        /// The node.
        path: PathBytes,
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A file with more blocks than an extent can name.
    #[error("{path}: {length} bytes, more than ext4's 16 TiB less a block")]
    FileTooLarge {
        /// The file.
        path: PathBytes,
        /// Its length in bytes.
        length: u64,
    },
    /// More names than an index of two levels holds.
    #[error("{path}: {names} names are more than a directory index of two levels holds")]
    DirectoryTooLarge {
        /// The directory.
        path: PathBytes,
        /// Its names.
        names: usize,
    },
    /// An extended attribute in a name space that ext4 does not store, or with an empty or long name.
    #[error("{path}: the extended attribute {name:?} is in no name space that ext4 stores, or its name is empty or too long", name = String::from_utf8_lossy(.name))]
    XattrName {
        /// The entry.
        path: PathBytes,
        /// The attribute.
        name: Vec<u8>,
    },
    /// A POSIX access control list that is not in the form of `getxattr(2)`.
    #[error("{path}: {name:?} is not a version 2 access control list", name = String::from_utf8_lossy(.name))]
    XattrAcl {
        /// The entry.
        path: PathBytes,
        /// The attribute.
        name: Vec<u8>,
    },
    /// Extended attributes that fit neither the inode nor one block.
    #[error(
        "{path}: its extended attributes need {needed} bytes of an attribute block, which has {available}"
    )]
    XattrTooLarge {
        /// The entry.
        path: PathBytes,
        /// Bytes that do not fit the inode.
        needed: usize,
        /// Bytes in a block.
        available: usize,
    },
    /// A label longer than its field.
    #[error("label of {length} bytes, more than 16")]
    LabelTooLong {
        /// Its bytes.
        length: usize,
    },
    /// A journal smaller than the kernel takes, or larger than a file may be.
    #[error("a journal of {blocks} blocks, not within 1024 and 10240000")]
    JournalSize {
        /// Blocks asked for.
        blocks: u32,
    },
    /// The tree does not fit the size that was asked for.
    #[error("the tree needs a file system of {needs_bytes} bytes, but it may have {has_bytes}")]
    TooSmall {
        /// The smallest size that holds the tree.
        needs_bytes: u64,
        /// The size asked for.
        has_bytes: u64,
    },
    /// A file system beyond what group descriptors without `meta_bg` can describe.
    #[error("a file system of {blocks} blocks is more than this writer can describe")]
    TooLarge {
        /// Its blocks.
        blocks: u64,
    },
    /// More inodes than 32 bits number.
    #[error("{inodes} inodes are more than a file system can number")]
    TooManyInodes {
        /// Inodes in the tree.
        inodes: u64,
    },
    /// The content of a file cannot be read.
    #[error("{path}: cannot read its content")]
    Content {
        /// The file.
        path: PathBytes,
        /// Why.
        source: io::Error,
    },
    /// The image cannot be written.
    #[error("cannot write the image")]
    Sink(#[source] io::Error),
}
