//! Why an image cannot be looked into: which structure, and where.

use ext4_view::Ext4Error;
use formats::{ext4, fat, gpt, qcow2, uki};
use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use thiserror::Error;

/// A partition in messages; offsets that follow are relative to its start. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place(Arc<PartitionPlace>);

#[derive(Debug, PartialEq, Eq)]
struct PartitionPlace {
    image: PathBuf,
    label: String,
    offset: u64,
}

impl Place {
    /// The partition of an image's file with this label, which has no control characters, that
    /// starts at this byte of the disk.
    pub(super) fn new(image: PathBuf, label: String, offset: u64) -> Self {
        Self(Arc::new(PartitionPlace { image, label, offset }))
    }

    /// Its label, control characters escaped.
    pub fn label(&self) -> &str {
        &self.0.label
    }

    /// The partition without the image's name.
    pub fn partition(&self) -> String {
        format!("partition {} (at byte {} of the disk)", self.0.label, self.0.offset)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.0.image.display(), self.partition())
    }
}

/// Why an image cannot be looked into.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum InspectError {
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{} is compressed", .path.display())]
    Compressed { path: PathBuf, hint: &'static str },
    #[error("{}: {}", path.display(), chain(source))]
    Qcow2 { path: PathBuf, source: qcow2::Qcow2Error },
    #[error("{}: {}", path.display(), chain(source))]
    Gpt { path: PathBuf, source: gpt::ReadError },
    #[error("{}: cannot read the disk at byte {offset}: {source}", .path.display())]
    Disk { path: PathBuf, offset: u64, source: io::Error },
    #[error("the image has no partition {wanted}, only {}", .labels.join(", "))]
    NoPartition { wanted: String, labels: Vec<String> },
    #[error("the image has no EFI system partition")]
    NoEsp,
    #[error("no root partition of the image has a file system")]
    NoSlot,
    #[error("{place} is empty")]
    Empty { place: Place },
    #[error("{place} has neither ext4 nor FAT in it")]
    UnknownContent { place: Place },
    #[error("{place}: cannot read at byte {offset}: {source}")]
    Read { place: Place, offset: u64, source: io::Error },
    #[error("{place}: {}", chain(source))]
    Fat { place: Place, source: fat::FatError },
    #[error("{place}: {}", chain(source))]
    Ext4 { place: Place, source: ext4::ReadError },
    #[error("{place}: {path}: {source}")]
    Ext4File { place: Place, path: String, source: Ext4Error },
    #[error("{place}: {path}: cannot read the last {left} bytes: {source}")]
    Contents { place: Place, path: String, left: u64, source: io::Error },
    #[error("{place}: the journal holds changes that are not replayed")]
    Journal { place: Place },
    #[error("{place}: {path}: {problem}")]
    Entry { place: Place, path: String, problem: EntryProblem },
    #[error("the EFI system partition has no boot entry in /EFI/Linux")]
    NoBootEntry,
    #[error("{place}: boot entry {entry}: {}", chain(source))]
    Pe { place: Place, entry: String, source: uki::PeError },
    #[error("{place}: boot entry {entry}: {problem}")]
    Uki { place: Place, entry: String, problem: UkiProblem },
    #[error("{}: {source}", path.display())]
    Extract { path: PathBuf, source: io::Error },
    #[error("cannot write the output: {0}")]
    Output(#[source] io::Error),
}

/// What is wrong with a path, or with what it leads to.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum EntryProblem {
    #[error("not found")]
    NotFound,
    #[error("not a directory")]
    NotDirectory,
    #[error("is a {0}, not a regular file")]
    NotFile(&'static str),
    #[error("too many levels of symbolic links")]
    TooManySymlinks,
    #[error("a symbolic link of {0} bytes, more than 4095")]
    SymlinkSize(u64),
    #[error("the name is there twice")]
    Duplicate,
    #[error("the name cannot be that of a file")]
    BadName,
    #[error("the directory (inode {0}) is in the tree twice")]
    Loop(u32),
    #[error("a directory of {size} bytes, more than {limit}")]
    DirectorySize { size: u64, limit: u64 },
    #[error("a directory of more than {0} names")]
    TooManyNames(usize),
    #[error("the path has {0} bytes, more than 4095")]
    PathTooLong(usize),
    #[error("the tree has more than {0} bytes of names")]
    TreeTooLarge(usize),
    #[error("files of {bytes} bytes in all (holes included), more than {limit} that are read out")]
    ContentTooLarge { bytes: u64, limit: u64 },
    #[error("inode {inode} has mode {mode:#o}, which is no known type")]
    UnknownType { inode: u32, mode: u16 },
}

/// What is wrong with a UKI beyond its PE headers.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum UkiProblem {
    #[error("no section {0}")]
    NoSection(&'static str),
    #[error("section {0} is there twice")]
    Duplicate(String),
    #[error("section {name} at byte {offset} is not UTF-8")]
    NotUtf8 { name: &'static str, offset: u64 },
    #[error("the command line has no roothash=")]
    NoRootHash,
    #[error("roothash={} is not 64 hexadecimal digits", .0.escape_default())]
    BadRootHash(String),
}

impl InspectError {
    /// The message without the place, where that was said already.
    pub(super) fn detail(&self) -> String {
        match self {
            Self::Read { offset, source, .. } => format!("cannot read at byte {offset}: {source}"),
            Self::Fat { source, .. } => chain(source),
            Self::Ext4 { source, .. } => chain(source),
            Self::Ext4File { path, source, .. } => format!("{path}: {source}"),
            Self::Entry { path, problem, .. } => format!("{path}: {problem}"),
            Self::Pe { source, .. } => chain(source),
            Self::Uki { problem, .. } => problem.to_string(),
            other => other.to_string(),
        }
    }

    /// What to try.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Compressed { hint, .. } => Some(hint),
            Self::NoPartition { .. } | Self::Empty { .. } => {
                Some("`slipway inspect stat IMAGE` lists the partitions")
            }
            Self::Journal { .. } => Some("boot the image once, or run e2fsck on a copy of the partition"),
            Self::Extract { source, .. } if source.kind() == io::ErrorKind::AlreadyExists => {
                Some("extract to a path that does not exist yet")
            }
            _ => None,
        }
    }
}

/// An error with its causes; a cause that the message before it already tells is left out.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        if !text.ends_with(&words) {
            text = format!("{text}: {words}");
        }
        next = cause.source();
    }
    text
}
