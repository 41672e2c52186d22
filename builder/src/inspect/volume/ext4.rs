//! ext4: inodes, names and extended attributes by our own checked reader, which knows inode
//! numbers and attributes; content and link targets by crate `ext4-view`.

use super::super::error::{EntryProblem, InspectError, Place};
use super::super::image::PartitionReader;
use super::super::shown;
use super::{Kind, Node, Unix, Xattrs, is_file_name, join};
use ext4_view::{Ext4, Ext4Error, Ext4Read};
use formats::ext4::{DirectoryEntry, Image, ROOT_INODE, RawInode, ReadError};
use formats::read_at::ReadAt;
use std::error::Error;
use std::io::{self, Read};

/// Largest directory that is read: of entries with names of 255 bytes, 130,000.
const MAX_DIRECTORY: u64 = 32 << 20;
/// Most names of one directory.
const MAX_NAMES: usize = 1 << 19;
/// Longest target of a symbolic link (ext4(5) has one block for it, less the NUL byte).
const MAX_SYMLINK: u64 = 4095;

/// An open ext4 file system.
pub(in super::super) struct Ext4Volume {
    place: Place,
    image: Image<PartitionReader>,
    view: Ext4,
}

struct View(PartitionReader);

impl Ext4Read for View {
    fn read(&mut self, start: u64, bytes: &mut [u8]) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(self.0.read_exact_at(bytes, start)?)
    }
}

impl Ext4Volume {
    /// Opens it; its superblock has passed all our checks before `ext4-view` sees it.
    pub(super) fn open(reader: PartitionReader, place: Place) -> Result<Self, InspectError> {
        let failed = |source| InspectError::Ext4 { place: place.clone(), source };
        let image = Image::open(reader.clone()).map_err(failed)?;
        if image.superblock().needs_recovery() {
            return Err(InspectError::Journal { place });
        }
        match Ext4::load(Box::new(View(reader))) {
            Ok(view) => Ok(Self { place, image, view }),
            Err(source) => Err(InspectError::Ext4File { place, path: "/".to_owned(), source }),
        }
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    pub(super) fn size(&self) -> u64 {
        self.image.superblock().size_bytes()
    }

    pub(super) fn root(&self) -> Result<Node, InspectError> {
        self.node(Vec::new(), ROOT_INODE)
    }

    pub(super) fn list(&self, directory: &Node) -> Result<Vec<Node>, InspectError> {
        let mut names = self.names(directory)?;
        names.sort_by(|one, other| one.name.cmp(&other.name));
        // Which of the two a path means would be anybody's guess, ext4-view's for one.
        if let Some(pair) = names.windows(2).find(|pair| pair[0].name == pair[1].name) {
            return Err(self.problem(&join(&directory.path, &pair[0].name), EntryProblem::Duplicate));
        }
        names
            .into_iter()
            .filter(|entry| entry.name != b"." && entry.name != b"..")
            .map(|entry| {
                let path = join(&directory.path, &entry.name);
                if is_file_name(&entry.name) {
                    self.node(path, entry.inode)
                } else {
                    Err(self.problem(&path, EntryProblem::BadName))
                }
            })
            .collect()
    }

    pub(super) fn find(&self, directory: &Node, name: &[u8]) -> Result<Option<Node>, InspectError> {
        let found = self.names(directory)?.into_iter().find(|entry| entry.name == name);
        found.map(|entry| self.node(join(&directory.path, name), entry.inode)).transpose()
    }

    pub(super) fn xattrs(&self, node: &Node) -> Result<Xattrs, InspectError> {
        let number = node.unix.as_ref().map_or(ROOT_INODE, |unix| unix.inode);
        let xattrs = self.image.inode(number).and_then(|inode| self.image.xattrs(&inode));
        xattrs.map_err(|source| self.failed(source))
    }

    /// The path has no symbolic links on the way, since it was put together by listing.
    pub(super) fn open_file(&self, file: &Node) -> Result<Box<dyn Read + '_>, InspectError> {
        let opened = self.view.open(absolute(&file.path).as_slice());
        let content = opened.map_err(|source| self.view_failed(&file.path, source))?;
        Ok(Box::new(FileContent(content)))
    }

    fn names(&self, directory: &Node) -> Result<Vec<DirectoryEntry>, InspectError> {
        let number = directory.unix.as_ref().map_or(ROOT_INODE, |unix| unix.inode);
        let inode = self.image.inode(number).map_err(|source| self.failed(source))?;
        if inode.size > MAX_DIRECTORY {
            let problem = EntryProblem::DirectorySize { size: inode.size, limit: MAX_DIRECTORY };
            return Err(self.problem(&directory.path, problem));
        }
        let names = self.image.read_directory(&inode).map_err(|source| self.failed(source))?;
        if names.len() > MAX_NAMES {
            return Err(self.problem(&directory.path, EntryProblem::TooManyNames(MAX_NAMES)));
        }
        Ok(names)
    }

    fn node(&self, path: Vec<u8>, number: u32) -> Result<Node, InspectError> {
        let inode = self.image.inode(number).map_err(|source| self.failed(source))?;
        let kind = self.kind(&path, &inode)?;
        let unix = Unix {
            inode: number,
            mode: inode.mode & 0o7777,
            uid: inode.uid,
            gid: inode.gid,
            links: inode.links,
            mtime: inode.mtime,
        };
        Ok(Node { path, kind, size: inode.size, unix: Some(unix), cluster: 0 })
    }

    fn kind(&self, path: &[u8], inode: &RawInode) -> Result<Kind, InspectError> {
        let (major, minor) = inode.rdev.unwrap_or_default();
        Ok(match inode.mode & 0o17_0000 {
            0o1_0000 => Kind::Fifo,
            0o2_0000 => Kind::CharDevice(major, minor),
            0o4_0000 => Kind::Directory,
            0o6_0000 => Kind::BlockDevice(major, minor),
            0o10_0000 => Kind::File,
            0o12_0000 => Kind::Symlink(self.target(path)?),
            0o14_0000 => Kind::Socket,
            _ => {
                let problem = EntryProblem::UnknownType { inode: inode.number, mode: inode.mode };
                return Err(self.problem(path, problem));
            }
        })
    }

    fn target(&self, path: &[u8]) -> Result<Vec<u8>, InspectError> {
        let failed = |source| self.view_failed(path, source);
        let place = absolute(path);
        // ext4-view allocates as much as it takes the size to be, high half included, which
        // means nothing in a symbolic link.
        let size = self.view.symlink_metadata(place.as_slice()).map_err(failed)?.len();
        if size > MAX_SYMLINK {
            return Err(self.problem(path, EntryProblem::SymlinkSize(size)));
        }
        let target = self.view.read_link(place.as_slice()).map_err(failed)?;
        let bytes: &[u8] = target.as_ref();
        Ok(bytes.to_vec())
    }

    fn failed(&self, source: ReadError) -> InspectError {
        InspectError::Ext4 { place: self.place.clone(), source }
    }

    fn view_failed(&self, path: &[u8], source: Ext4Error) -> InspectError {
        InspectError::Ext4File { place: self.place.clone(), path: shown::path(path), source }
    }

    fn problem(&self, path: &[u8], problem: EntryProblem) -> InspectError {
        InspectError::Entry { place: self.place.clone(), path: shown::path(path), problem }
    }
}

fn absolute(path: &[u8]) -> Vec<u8> {
    [b"/", path].concat()
}

struct FileContent(ext4_view::File);

impl Read for FileContent {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_bytes(buffer).map_err(io::Error::other)
    }
}
