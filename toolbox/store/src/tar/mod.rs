//! Reading tar archives that nobody vouches for: entries in a stream, in bounded memory.
//!
//! POSIX.1-2017 `pax` (ustar and extended headers) and the GNU format (long names, old sparse
//! files), and GNU tar's sparse files in extended headers, versions 0.0, 0.1 and 1.0.
//! What a reader of crate `tar` does not have, and what is needed here: a bound on every
//! extended header, and the sparse formats.

mod header;
mod pax;
mod reader;
mod sparse;

pub use reader::Reader;

/// Largest extended header or long name.
pub(crate) const MAX_EXTENSION: u64 = 1 << 20;
/// Most pieces of one sparse file.
const MAX_PIECES: usize = 1 << 18;

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link to these bytes.
    Symlink(Vec<u8>),
    /// Another name of what has this path.
    HardLink(Vec<u8>),
    /// A character device with its major and minor number.
    CharDevice(u32, u32),
    /// A block device with its major and minor number.
    BlockDevice(u32, u32),
    /// A named pipe.
    Fifo,
}

/// One member of an archive, its content not yet read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// As written in the archive.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time: seconds since 1970 and nanoseconds.
    pub mtime: (i64, u32),
    /// Extended attributes by full name.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Bytes of the file, holes among them.
    pub size: u64,
    /// Where the data belongs, when there are holes: offset and length, ascending.
    pub pieces: Option<Vec<(u64, u64)>>,
}

/// Why an archive cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("archive at byte {offset}: {problem}")]
pub struct TarError {
    /// Of the header in question, in the archive without its compression.
    pub offset: u64,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong with an archive.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The stream broke.
    #[error(transparent)]
    Io(std::io::Error),
    /// It ends within an entry.
    #[error("it ends in the middle of an entry")]
    Truncated,
    /// The header's sum is another.
    #[error("this is no tar header: its checksum is wrong")]
    Checksum,
    /// A number is not one.
    #[error("its {0} is no number in range")]
    Number(&'static str),
    /// A type flag that is not known.
    #[error("entry type `{}` is not supported", char::from(*.0).escape_default())]
    Type(u8),
    /// An extended header is malformed.
    #[error("its extended header is malformed")]
    Pax,
    /// An extended header beyond 1 MiB.
    #[error("its extended header or long name has {0} bytes, more than 1 MiB")]
    ExtensionSize(u64),
    /// A sparse file is malformed.
    #[error("its list of pieces (sparse file) is malformed")]
    Sparse,
    /// More bytes than the limit come out of the compression.
    #[error("it unpacks to more than {0} bytes")]
    StreamLimit(u64),
}
