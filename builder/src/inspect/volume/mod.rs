//! The file system in a partition, read entry by entry: ext4 or FAT.

mod ext4;
mod fat;
mod resolve;
mod walk;

use super::error::{EntryProblem, InspectError, Place};
use super::image::{Content, OpenImage};
use super::shown;
use formats::gpt::Partition;
use formats::verity::to_hex;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{self, Read};

pub(super) use walk::Walk;

/// Beyond the size of its file system, this many bytes of holes are read out and not more: what
/// is larger would take hours and holds nothing.
const MAX_HOLES: u64 = 16 << 30;

/// Extended attributes by full name, with values as `getxattr(2)` gives them.
pub(super) type Xattrs = BTreeMap<Vec<u8>, Vec<u8>>;

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    File,
    /// To these bytes.
    Symlink(Vec<u8>),
    /// Major and minor number.
    CharDevice(u32, u32),
    BlockDevice(u32, u32),
    Fifo,
    Socket,
}

impl Kind {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Directory => "directory",
            Self::File => "file",
            Self::Symlink(_) => "symbolic link",
            Self::CharDevice(..) => "character device",
            Self::BlockDevice(..) => "block device",
            Self::Fifo => "fifo",
            Self::Socket => "socket",
        }
    }

    /// ls(1)'s letter for it.
    pub(super) fn letter(&self) -> char {
        match self {
            Self::Directory => 'd',
            Self::File => '-',
            Self::Symlink(_) => 'l',
            Self::CharDevice(..) => 'c',
            Self::BlockDevice(..) => 'b',
            Self::Fifo => 'p',
            Self::Socket => 's',
        }
    }

    pub(super) fn device(&self) -> Option<(u32, u32)> {
        match self {
            Self::CharDevice(major, minor) | Self::BlockDevice(major, minor) => Some((*major, *minor)),
            _ => None,
        }
    }
}

/// What FAT does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unix {
    pub(super) inode: u32,
    /// Permission bits.
    pub(super) mode: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) links: u16,
    /// Seconds since 1970.
    pub(super) mtime: i64,
}

/// A file, directory or whatever else has a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    /// From the root of the file system, without slashes at the ends; empty for the root.
    pub(super) path: Vec<u8>,
    pub(super) kind: Kind,
    /// Bytes of content.
    pub(super) size: u64,
    pub(super) unix: Option<Unix>,
    /// First cluster in FAT.
    cluster: u32,
}

impl Node {
    /// The last part of the path.
    pub(super) fn name(&self) -> &[u8] {
        self.path.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
    }
}

/// An open file system.
pub(super) enum Volume {
    Ext4(Box<ext4::Ext4Volume>),
    Fat(fat::FatVolume),
}

impl Volume {
    /// Opens what is in a partition.
    pub(super) fn open(image: &OpenImage, partition: &Partition) -> Result<Self, InspectError> {
        let place = image.place(partition);
        let reader = image.partition(partition);
        match image.content(partition)? {
            Content::Ext4 => ext4::Ext4Volume::open(reader, place).map(|volume| Self::Ext4(Box::new(volume))),
            Content::Fat => fat::FatVolume::open(reader, place).map(Self::Fat),
            Content::Empty => Err(InspectError::Empty { place }),
            Content::Unknown => Err(InspectError::UnknownContent { place }),
        }
    }

    /// Its root directory.
    pub(super) fn root(&self) -> Result<Node, InspectError> {
        match self {
            Self::Ext4(volume) => volume.root(),
            Self::Fat(_) => Ok(fat::FatVolume::root()),
        }
    }

    /// The entries of a directory, sorted by name.
    pub(super) fn list(&self, directory: &Node) -> Result<Vec<Node>, InspectError> {
        if directory.kind != Kind::Directory {
            return Err(self.problem(&directory.path, EntryProblem::NotDirectory));
        }
        let mut nodes = match self {
            Self::Ext4(volume) => volume.list(directory)?,
            Self::Fat(volume) => volume.list(directory)?,
        };
        nodes.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(nodes)
    }

    /// The entry of this name in a directory.
    fn find(&self, directory: &Node, name: &[u8]) -> Result<Node, InspectError> {
        if directory.kind != Kind::Directory {
            return Err(self.problem(&directory.path, EntryProblem::NotDirectory));
        }
        let found = match self {
            Self::Ext4(volume) => volume.find(directory, name)?,
            Self::Fat(volume) => volume.find(directory, name)?,
        };
        found.ok_or_else(|| self.problem(&join(&directory.path, name), EntryProblem::NotFound))
    }

    /// Opens a regular file for reading from its start to its end.
    pub(super) fn open_file(&self, file: &Node) -> Result<Contents<'_>, InspectError> {
        if file.kind != Kind::File {
            return Err(self.problem(&file.path, EntryProblem::NotFile(file.kind.name())));
        }
        let limit = self.content_limit();
        if file.size > limit {
            return Err(self.problem(&file.path, EntryProblem::ContentTooLarge { bytes: file.size, limit }));
        }
        let bytes = match self {
            Self::Ext4(volume) => volume.open_file(file)?,
            Self::Fat(volume) => volume.open_file(file)?,
        };
        Ok(Contents { bytes, volume: self, path: file.path.clone(), left: file.size })
    }

    /// Extended attributes by full name; none of a FAT entry.
    pub(super) fn xattrs(&self, node: &Node) -> Result<Xattrs, InspectError> {
        match self {
            Self::Ext4(volume) => volume.xattrs(node),
            Self::Fat(_) => Ok(Xattrs::new()),
        }
    }

    /// All about an entry: names escaped as they are for a terminal, attributes in hexadecimal.
    pub(super) fn json(&self, node: &Node) -> Result<Value, InspectError> {
        let mut value = json!({ "path": shown::path(&node.path), "type": node.kind.name() });
        if node.kind == Kind::File {
            value["size"] = json!(node.size);
        }
        if let Kind::Symlink(target) = &node.kind {
            value["target"] = json!(shown::name(target));
        }
        if let Some((major, minor)) = node.kind.device() {
            value["device"] = json!([major, minor]);
        }
        if let Some(unix) = &node.unix {
            value["mode"] = json!(format!("{:04o}", unix.mode));
            value["uid"] = json!(unix.uid);
            value["gid"] = json!(unix.gid);
            value["links"] = json!(unix.links);
            value["inode"] = json!(unix.inode);
            value["mtime"] = json!(unix.mtime);
            let xattrs = self.xattrs(node)?.into_iter();
            let xattrs = xattrs.map(|(name, value)| (shown::name(&name), Value::from(to_hex(&value))));
            value["xattrs"] = Value::Object(xattrs.collect());
        }
        Ok(value)
    }

    /// Most bytes that are read out of it by one command.
    pub(super) fn content_limit(&self) -> u64 {
        let size = match self {
            Self::Ext4(volume) => volume.size(),
            Self::Fat(volume) => volume.size(),
        };
        size.saturating_add(MAX_HOLES)
    }

    pub(super) fn place(&self) -> &Place {
        match self {
            Self::Ext4(volume) => volume.place(),
            Self::Fat(volume) => volume.place(),
        }
    }

    pub(super) fn problem(&self, path: &[u8], problem: EntryProblem) -> InspectError {
        InspectError::Entry { place: self.place().clone(), path: shown::path(path), problem }
    }
}

/// The content of a file on its way out.
pub(super) struct Contents<'v> {
    bytes: Box<dyn Read + 'v>,
    volume: &'v Volume,
    path: Vec<u8>,
    left: u64,
}

impl Contents<'_> {
    /// Fills the buffer, or as much of it as is left of the file; gives the count.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, InspectError> {
        let count = self.left.min(buffer.len() as u64) as usize;
        match self.bytes.read_exact(&mut buffer[..count]) {
            Ok(()) => {
                self.left -= count as u64;
                Ok(count)
            }
            Err(error) => Err(self.failed(error)),
        }
    }

    fn failed(&self, error: io::Error) -> InspectError {
        let (place, path) = (self.volume.place().clone(), shown::path(&self.path));
        match error.downcast::<ext4_view::Ext4Error>() {
            Ok(source) => InspectError::Ext4File { place, path, source },
            Err(source) => InspectError::Contents { place, path, left: self.left, source },
        }
    }
}

/// A path one name longer.
fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = directory.to_vec();
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}

/// Whether this can be the name of a file, and not a way to somewhere else.
fn is_file_name(name: &[u8]) -> bool {
    !name.is_empty() && name != b"." && name != b".." && !name.contains(&b'/') && !name.contains(&0)
}
