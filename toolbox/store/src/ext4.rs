//! An ext4 file system into a tree, without mounting it.
//!
//! Inodes, names, attributes and extents come from the checked reader of `formats`; the rare file
//! whose blocks are in a map, as ext3 has them, from crate `ext4-view`. The image's digest is that
//! of its entries in order, so that free space, the journal and the layout do not count.

use crate::digest::{Digest, Hasher};
use crate::disk::Disk;
use crate::tar::{Entry, Kind};
use crate::tree::{UnpackError, Writer, cannot, shown};
use ext4_view::{Ext4, Ext4Read};
use formats::ext4::{Extent, Image, ROOT_INODE, RawInode, ReadError};
use formats::read_at::ReadAt;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

const CHUNK: usize = 256 << 10;
/// Longest target of a symbolic link (ext4(5) has one block for it, less the NUL byte).
const MAX_SYMLINK: u64 = 4095;
/// Largest directory that is read.
const MAX_DIRECTORY: u64 = 64 << 20;

/// Why a file system does not become a tree.
#[derive(Debug, thiserror::Error)]
pub enum Ext4Error {
    /// It cannot be read.
    #[error("ext4: {0}")]
    Read(#[from] ReadError),
    /// It cannot be read by the other reader.
    #[error("ext4: `{path}`: {source}")]
    View {
        /// Of the file.
        path: String,
        /// What is wrong.
        source: ext4_view::Ext4Error,
    },
    /// Its content cannot be read.
    #[error("ext4: content of `{path}`: {source}")]
    Content {
        /// Of the file.
        path: String,
        /// The disk's answer.
        source: io::Error,
    },
    /// It was not unmounted.
    #[error("ext4: the file system was not unmounted: its journal has changes that are not in place yet")]
    Journal,
    /// A name that is none, a type that is none, and such.
    #[error("ext4: `{path}`: {what}")]
    Entry {
        /// Of the entry.
        path: String,
        /// What is wrong.
        what: &'static str,
    },
    /// The entry could not be made.
    #[error(transparent)]
    Unpack(#[from] UnpackError),
}

struct View(Disk);

impl Ext4Read for View {
    fn read(&mut self, start: u64, bytes: &mut [u8]) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        Ok(self.0.read_exact_at(bytes, start)?)
    }
}

struct Unpacking<'w> {
    image: Image<Disk>,
    disk: Disk,
    view: Option<Ext4>,
    writer: &'w mut Writer,
    hasher: Hasher,
    /// The first name of each inode that has several.
    linked: BTreeMap<u32, Vec<u8>>,
    buffer: Vec<u8>,
    tick: &'w mut dyn FnMut(u64),
}

/// Fills the tree from a file system that is any bytes: what an import does with a file, for those that have none.
/// Gives the digest of the entries; [`Writer::finish`] is the caller's.
///
/// # Errors
/// See [`Ext4Error`]; the tree is then to be thrown away.
pub fn unpack(reader: impl ReadAt + Send + Sync + 'static, writer: &mut Writer) -> Result<Digest, Ext4Error> {
    apply(Disk::of(reader), writer, &mut |_| ())
}

/// Fills the tree from the file system. `tick` is told how many bytes of content came each time.
///
/// # Errors
/// See [`Ext4Error`]; the tree is then to be thrown away.
pub(crate) fn apply(disk: Disk, writer: &mut Writer, tick: &mut dyn FnMut(u64)) -> Result<Digest, Ext4Error> {
    let image = Image::open(disk.clone())?;
    if image.superblock().needs_recovery() {
        return Err(Ext4Error::Journal);
    }
    let mut unpacking = Unpacking {
        image,
        disk,
        view: None,
        writer,
        hasher: Hasher::default(),
        linked: BTreeMap::new(),
        buffer: vec![0; CHUNK],
        tick,
    };
    unpacking.tree()?;
    Ok(unpacking.hasher.finish())
}

impl Unpacking<'_> {
    fn tree(&mut self) -> Result<(), Ext4Error> {
        // In a tree each directory has one name.
        let mut seen = BTreeSet::from([ROOT_INODE]);
        let root = self.image.inode(ROOT_INODE)?;
        self.entry(b"", &root)?;
        // Entries still to visit of each open directory, the next one last.
        let mut waiting = vec![self.names(b"", &root)?];
        while let Some(entries) = waiting.last_mut() {
            let Some((path, number)) = entries.pop() else {
                waiting.pop();
                continue;
            };
            let inode = self.image.inode(number)?;
            self.entry(&path, &inode)?;
            if inode.mode & 0o17_0000 == 0o4_0000 {
                if !seen.insert(number) {
                    return Err(wrong(&path, "a directory that has another name as well"));
                }
                waiting.push(self.names(&path, &inode)?);
            }
        }
        Ok(())
    }

    /// Paths and inodes in a directory, sorted backwards.
    fn names(&self, path: &[u8], inode: &RawInode) -> Result<Vec<(Vec<u8>, u32)>, Ext4Error> {
        if inode.size > MAX_DIRECTORY {
            return Err(wrong(path, "a directory of more than 64 MiB"));
        }
        let mut names = Vec::new();
        for entry in self.image.read_directory(inode)? {
            if matches!(entry.name.as_slice(), b"." | b"..") {
                continue;
            }
            if entry.name.is_empty() || entry.name.iter().any(|byte| matches!(byte, b'/' | 0)) {
                return Err(wrong(path, "a directory with a name that cannot be one"));
            }
            let path = if path.is_empty() { entry.name } else { [path, b"/", &entry.name].concat() };
            names.push((path, entry.inode));
        }
        names.sort_by(|one, other| other.cmp(one));
        if names.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Err(wrong(path, "a directory that has a name twice"));
        }
        Ok(names)
    }

    fn entry(&mut self, path: &[u8], inode: &RawInode) -> Result<(), Ext4Error> {
        let (major, minor) = inode.rdev.unwrap_or_default();
        let mut kind = match inode.mode & 0o17_0000 {
            0o1_0000 => Kind::Fifo,
            0o2_0000 => Kind::CharDevice(major, minor),
            0o4_0000 => Kind::Directory,
            0o6_0000 => Kind::BlockDevice(major, minor),
            0o10_0000 => Kind::File,
            0o12_0000 => Kind::Symlink(self.target(path, inode)?),
            // A socket is nothing without the process that made it.
            0o14_0000 => return Ok(()),
            _ => return Err(wrong(path, "an inode of no known type")),
        };
        // A device that is left out is nothing to link to.
        if inode.links > 1 && kind != Kind::Directory && inode.rdev.is_none() {
            if let Some(first) = self.linked.get(&inode.number) {
                kind = Kind::HardLink(first.clone());
            } else {
                self.linked.insert(inode.number, path.to_vec());
            }
        }
        let entry = Entry {
            path: path.to_vec(),
            kind,
            mode: u32::from(inode.mode) & 0o7777,
            uid: inode.uid,
            gid: inode.gid,
            mtime: (inode.mtime, inode.mtime_nanoseconds.min(999_999_999)),
            xattrs: self.image.xattrs(inode)?.into_iter().collect(),
            size: if inode.mode & 0o17_0000 == 0o10_0000 { inode.size } else { 0 },
            // Set so that the file gets its length whatever holes it ends in.
            pieces: Some(Vec::new()),
        };
        self.hash(&entry);
        if let Some(file) = self.writer.make(&entry)? {
            self.content(&file, &entry, inode)?;
            self.writer.close(&file, &entry)?;
        }
        (self.tick)(0);
        Ok(())
    }

    /// Everything that makes the entry what it is, each part with its length.
    fn hash(&mut self, entry: &Entry) {
        let mut part = |bytes: &[u8]| {
            self.hasher.update(&(bytes.len() as u64).to_le_bytes());
            self.hasher.update(bytes);
        };
        part(&entry.path);
        part(format!("{:?}", entry.kind).as_bytes());
        part(
            format!("{} {} {} {:?} {}", entry.mode, entry.uid, entry.gid, entry.mtime, entry.size).as_bytes(),
        );
        part(&(entry.xattrs.len() as u64).to_le_bytes());
        for (name, value) in &entry.xattrs {
            part(name);
            part(value);
        }
    }

    fn content(&mut self, file: &File, entry: &Entry, inode: &RawInode) -> Result<(), Ext4Error> {
        let Some(extents) = self.image.extents(inode)? else { return self.mapped(file, entry) };
        let block_size = u64::from(self.image.superblock().block_size);
        for Extent { logical, physical, blocks, written } in extents {
            let start = logical.saturating_mul(block_size);
            let length = (blocks * block_size).min(inode.size.saturating_sub(start));
            if !written || length == 0 {
                continue;
            }
            self.hasher.update(&start.to_le_bytes());
            let mut done = 0;
            while done < length {
                let count = (length - done).min(CHUNK as u64) as usize;
                let buffer = &mut self.buffer[..count];
                self.disk
                    .read_exact_at(buffer, physical * block_size + done)
                    .map_err(|source| Ext4Error::Content { path: shown(&entry.path), source })?;
                self.hasher.update(buffer);
                file.write_all_at(buffer, start + done)
                    .map_err(|source| cannot(entry, "cannot write it", source))?;
                done += count as u64;
                (self.tick)(count as u64);
            }
        }
        Ok(())
    }

    /// A file whose blocks are in a map.
    fn mapped(&mut self, file: &File, entry: &Entry) -> Result<(), Ext4Error> {
        let failed = |source| Ext4Error::View { path: shown(&entry.path), source };
        let view = match &self.view {
            Some(view) => view,
            None => self.view.insert(Ext4::load(Box::new(View(self.disk.clone()))).map_err(failed)?),
        };
        let path = [b"/", entry.path.as_slice()].concat();
        let mut content = view.open(path.as_slice()).map_err(failed)?;
        let mut done = 0;
        while done < entry.size {
            let count = content.read_bytes(&mut self.buffer).map_err(failed)?;
            if count == 0 {
                return Err(wrong(&entry.path, "a file that ends before its size"));
            }
            let bytes = &self.buffer[..count];
            self.hasher.update(bytes);
            if bytes.iter().any(|byte| *byte != 0) {
                file.write_all_at(bytes, done).map_err(|source| cannot(entry, "cannot write it", source))?;
            }
            done += count as u64;
            (self.tick)(count as u64);
        }
        Ok(())
    }

    fn target(&self, path: &[u8], inode: &RawInode) -> Result<Vec<u8>, Ext4Error> {
        if inode.size > MAX_SYMLINK {
            return Err(wrong(path, "a symbolic link of more than 4095 bytes"));
        }
        if let Some(target) = self.image.short_target(inode) {
            return Ok(target.to_vec());
        }
        let extents = self.image.extents(inode)?.unwrap_or_default();
        let block_size = self.image.superblock().block_size;
        match extents.first() {
            Some(extent) if extent.logical == 0 && extent.written && inode.size <= block_size.into() => {
                let mut target = vec![0; inode.size as usize];
                self.disk
                    .read_exact_at(&mut target, extent.physical * u64::from(block_size))
                    .map_err(|source| Ext4Error::Content { path: shown(path), source })?;
                Ok(target)
            }
            _ => Err(wrong(path, "a symbolic link without a target")),
        }
    }
}

fn wrong(path: &[u8], what: &'static str) -> Ext4Error {
    Ext4Error::Entry { path: shown(path), what }
}
