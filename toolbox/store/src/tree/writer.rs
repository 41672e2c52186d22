//! Entries into a tree: what is made, and what is left out and counted.
//!
//! Everything is made new (`O_EXCL`) under the open descriptor of its folder; a name that is taken
//! is freed first, so the later of two entries wins and no write goes through a link. The tree
//! must lie in a folder that nobody else can enter until it is whole.

use super::root::{PathError, Root};
use super::times::{Times, timestamps};
use super::{parts, remove_entry};
use crate::tar::{Entry, Kind};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid, XattrFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io;

/// Whom the files belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ownership {
    /// As the source says, with setuid, setgid and file capabilities: for root, or the root of a
    /// user namespace with ranges of ids. An id that the namespace does not have becomes the caller's.
    Keep,
    /// All belong to the caller, who can enter, read and delete everything; no setuid or setgid.
    Own,
}

/// Where hostile archives are stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all files together, holes among them.
    pub bytes: u64,
    /// Entries of all layers together.
    pub entries: u64,
    /// Folders above one another.
    pub depth: usize,
}

impl Default for Limits {
    /// 64 GiB, four million entries, 128 folders deep.
    fn default() -> Self {
        Self { bytes: 64 << 30, entries: 4_000_000, depth: 128 }
    }
}

/// How a tree is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Whom the files belong to.
    pub ownership: Ownership,
    /// Whether device nodes are made (by root; never the 0:0 that overlayfs takes for a whiteout).
    /// A sandbox has its own /dev, so that images need none.
    pub devices: bool,
    /// What is refused.
    pub limits: Limits,
    /// Whether a folder may stay a link to one, as dpkg(1) has it for merged /usr; tar replaces it.
    pub keep_folder_links: bool,
    /// Whether openat2(2) is tried; off, the walk for kernels without it is used.
    pub openat2: bool,
}

impl Policy {
    /// With default limits and no devices.
    pub fn new(ownership: Ownership) -> Self {
        Self { ownership, devices: false, limits: Limits::default(), keep_folder_links: false, openat2: true }
    }
}

/// What was left out, by count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Notes {
    /// Device nodes not made.
    pub devices_skipped: u64,
    /// Extended attributes that are not kept here or that the file system does not take.
    pub attributes_dropped: u64,
    /// Owners without an id in this user namespace.
    pub owners_unmapped: u64,
    /// Files that lost setuid or setgid.
    pub set_id_dropped: u64,
}

/// Why an entry cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// Its path cannot be used.
    #[error("entry `{path}`: {source}")]
    Path {
        /// Of the entry.
        path: String,
        /// Why.
        source: PathError,
    },
    /// The system refused.
    #[error("entry `{path}`: {what}: {source}")]
    Io {
        /// Of the entry.
        path: String,
        /// What was tried.
        what: &'static str,
        /// Its answer.
        source: io::Error,
    },
    /// A hard link to what the tree does not have.
    #[error("entry `{path}`: a hard link to `{target}`, which is no file of the tree")]
    HardLink {
        /// Of the entry.
        path: String,
        /// What it points at.
        target: String,
    },
    /// The root is something else than a folder.
    #[error("entry `{path}`: the root cannot be anything but a folder")]
    Root {
        /// Of the entry.
        path: String,
    },
    /// Too many bytes.
    #[error("entry `{path}`: the files have more than {limit} bytes together")]
    Bytes {
        /// Of the entry.
        path: String,
        /// The limit.
        limit: u64,
    },
    /// Too many entries.
    #[error("there are more than {limit} entries")]
    Entries {
        /// The limit.
        limit: u64,
    },
}

/// A path for a message: foreign bytes never reach a terminal as they are.
pub(crate) fn shown(path: &[u8]) -> String {
    let shown: String = path.iter().take(300).flat_map(|byte| byte.escape_ascii()).map(char::from).collect();
    if path.len() > 300 { shown + "…" } else { shown }
}

/// Makes entries below a root.
pub struct Writer {
    root: Root,
    policy: Policy,
    notes: Notes,
    bytes: u64,
    entries: u64,
    times: Times,
}

impl Writer {
    /// Fills the open folder `tree`. `scratch` is an empty file beside it that only this uses.
    pub fn new(tree: OwnedFd, scratch: File, policy: Policy) -> Self {
        Self {
            root: Root::new(tree, policy.limits.depth, policy.openat2),
            policy,
            notes: Notes::default(),
            bytes: 0,
            entries: 0,
            times: Times::new(scratch),
        }
    }

    /// Bytes of the files made.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What the archive may unpack to, padding and headers included.
    pub(crate) fn stream_limit(&self) -> u64 {
        let Limits { bytes, entries, .. } = self.policy.limits;
        bytes.saturating_add(entries.saturating_mul(2048))
    }

    pub(crate) fn root(&mut self) -> &mut Root {
        &mut self.root
    }

    pub(crate) fn depth(&self) -> usize {
        self.policy.limits.depth
    }

    /// Sets the times of folders; then the tree is whole.
    ///
    /// # Errors
    /// The system's refusal.
    pub fn finish(mut self) -> Result<(Notes, u64), UnpackError> {
        let path = || "the folders".to_owned();
        self.times.apply(&mut self.root).map_err(|source| UnpackError::Path { path: path(), source })?;
        Ok((self.notes, self.bytes))
    }

    /// Makes an entry. For a regular file it gives the open file: the caller writes the content and
    /// then calls [`Writer::close`].
    ///
    /// # Errors
    /// See [`UnpackError`].
    pub fn make(&mut self, entry: &Entry) -> Result<Option<File>, UnpackError> {
        self.entries += 1;
        if self.entries > self.policy.limits.entries {
            return Err(UnpackError::Entries { limit: self.policy.limits.entries });
        }
        let failed = |source| UnpackError::Path { path: shown(&entry.path), source };
        let parts = parts(&entry.path, self.policy.limits.depth).map_err(failed)?;
        let Some((name, above)) = parts.split_last() else {
            return self.root_entry(entry).map(|()| None);
        };
        let is_device = matches!(entry.kind, Kind::CharDevice(..) | Kind::BlockDevice(..));
        if is_device && (!self.policy.devices || entry.kind == Kind::CharDevice(0, 0)) {
            self.notes.devices_skipped += 1;
            return Ok(None);
        }
        let missing =
            || PathError::Io { what: "its folder vanished", source: io::ErrorKind::NotFound.into() };
        let folder =
            self.root.open(above, true).and_then(|found| found.ok_or_else(missing)).map_err(failed)?;
        match &entry.kind {
            Kind::File => {
                self.bytes = self
                    .bytes
                    .checked_add(entry.size)
                    .filter(|bytes| *bytes <= self.policy.limits.bytes)
                    .ok_or_else(|| UnpackError::Bytes {
                        path: shown(&entry.path),
                        limit: self.policy.limits.bytes,
                    })?;
                let flags =
                    OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let mode = Mode::RUSR | Mode::WUSR;
                let file = self.replacing(&folder, name, entry, "cannot make it", |folder| {
                    rustix::fs::openat(folder, *name, flags, mode)
                })?;
                return Ok(Some(File::from(file)));
            }
            Kind::Directory => self.folder(&folder, name, &parts, entry)?,
            Kind::Symlink(target) => {
                if target.is_empty() || target.contains(&0) {
                    return Err(failed(PathError::Nul));
                }
                self.replacing(&folder, name, entry, "cannot make the link", |folder| {
                    rustix::fs::symlinkat(target.as_slice(), folder, *name)
                })?;
                self.own_by_name(&folder, name, entry)?;
                self.notes.attributes_dropped += entry.xattrs.len() as u64;
                time_by_name(&folder, name, entry)?;
            }
            Kind::HardLink(target) => self.hard_link(&folder, name, target, entry)?,
            Kind::Fifo | Kind::CharDevice(..) | Kind::BlockDevice(..) => {
                let (file_type, (major, minor)) = match entry.kind {
                    Kind::CharDevice(major, minor) => (FileType::CharacterDevice, (major, minor)),
                    Kind::BlockDevice(major, minor) => (FileType::BlockDevice, (major, minor)),
                    _ => (FileType::Fifo, (0, 0)),
                };
                let device = rustix::fs::makedev(major, minor);
                self.replacing(&folder, name, entry, "cannot make the node", |folder| {
                    rustix::fs::mknodat(folder, *name, file_type, Mode::RUSR | Mode::WUSR, device)
                })?;
                self.own_by_name(&folder, name, entry)?;
                let mode = self.mode(entry, 0o400);
                // The name is a node made just now in a folder of ours, so there is no link to follow.
                rustix::fs::chmodat(&*folder, *name, mode, AtFlags::empty())
                    .map_err(|error| refused(entry, "cannot set its mode", error))?;
                self.notes.attributes_dropped += entry.xattrs.len() as u64;
                time_by_name(&folder, name, entry)?;
            }
        }
        Ok(None)
    }

    /// Ends a file: its length, owner, mode, attributes and time.
    ///
    /// # Errors
    /// The system's refusal.
    pub fn close(&mut self, file: &File, entry: &Entry) -> Result<(), UnpackError> {
        if entry.pieces.is_some() {
            rustix::fs::ftruncate(file, entry.size)
                .map_err(|error| refused(entry, "cannot set its length", error))?;
        }
        self.attributes(file, entry, 0o400)?;
        rustix::fs::futimens(file, &timestamps(entry.mtime))
            .map_err(|error| refused(entry, "cannot set its time", error))
    }

    fn root_entry(&mut self, entry: &Entry) -> Result<(), UnpackError> {
        if entry.kind != Kind::Directory {
            return Err(UnpackError::Root { path: shown(&entry.path) });
        }
        let root = self.root.folder();
        let opened = open_folder(&root, b".").map_err(|error| refused(entry, "cannot open it", error))?;
        self.attributes(&opened, entry, 0o700)?;
        self.times.add(b"", entry.mtime).map_err(|source| cannot(entry, "cannot note its time", source))
    }

    fn folder(
        &mut self,
        above: &OwnedFd,
        name: &[u8],
        parts: &[&[u8]],
        entry: &Entry,
    ) -> Result<(), UnpackError> {
        let made = rustix::fs::mkdirat(above, name, Mode::RWXU);
        match made {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                if self.policy.keep_folder_links && is_link(above, name) {
                    let failed = |source| UnpackError::Path { path: shown(&entry.path), source };
                    if self.root.open(parts, false).map_err(failed)?.is_some() {
                        return Ok(());
                    }
                }
                if !is_folder(above, name) {
                    self.replacing(above, name, entry, "cannot make the folder", |above| {
                        rustix::fs::mkdirat(above, name, Mode::RWXU)
                    })?;
                }
            }
            Err(error) => return Err(refused(entry, "cannot make the folder", error)),
        }
        let opened = open_folder(above, name).map_err(|error| refused(entry, "cannot open it", error))?;
        self.attributes(&opened, entry, 0o700)?;
        self.times
            .add(&parts.join(&b'/'), entry.mtime)
            .map_err(|source| cannot(entry, "cannot note its time", source))
    }

    fn hard_link(
        &mut self,
        folder: &OwnedFd,
        name: &[u8],
        target: &[u8],
        entry: &Entry,
    ) -> Result<(), UnpackError> {
        let failed = |source| UnpackError::Path { path: shown(&entry.path), source };
        let no_target = || UnpackError::HardLink { path: shown(&entry.path), target: shown(target) };
        let target_parts = parts(target, self.policy.limits.depth).map_err(failed)?;
        let (target_name, target_above) = target_parts.split_last().ok_or_else(no_target)?;
        let target_folder = self.root.open(target_above, false).map_err(failed)?.ok_or_else(no_target)?;
        let find = |folder: &OwnedFd, name: &[u8]| {
            rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)
                .ok()
                .map(|stat| (FileType::from_raw_mode(stat.st_mode), stat.st_dev, stat.st_ino))
        };
        let found = find(&target_folder, target_name).ok_or_else(no_target)?;
        if found.0 == FileType::Directory {
            return Err(no_target());
        }
        // A link to itself would be removed before it is made.
        if find(folder, name) == Some(found) {
            return Ok(());
        }
        self.replacing(folder, name, entry, "cannot make the hard link", |folder| {
            // Without AT_SYMLINK_FOLLOW a link is linked itself.
            rustix::fs::linkat(&*target_folder, *target_name, folder, name, AtFlags::empty())
        })
    }

    /// Makes something; when the name is taken, frees it and makes it then.
    fn replacing<T>(
        &mut self,
        folder: &OwnedFd,
        name: &[u8],
        entry: &Entry,
        what: &'static str,
        make: impl Fn(&OwnedFd) -> Result<T, Errno>,
    ) -> Result<T, UnpackError> {
        match make(folder) {
            Err(Errno::EXIST) => {
                self.root.forget();
                remove_entry(folder, name)
                    .map_err(|error| refused(entry, "cannot replace the earlier entry", error))?;
                make(folder).map_err(|error| refused(entry, what, error))
            }
            made => made.map_err(|error| refused(entry, what, error)),
        }
    }

    /// Owner, mode and extended attributes, in the order in which the one does not undo the other.
    fn attributes(&mut self, file: impl AsFd, entry: &Entry, least: u32) -> Result<(), UnpackError> {
        if self.policy.ownership == Ownership::Keep {
            match rustix::fs::fchown(&file, Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid))) {
                Err(Errno::INVAL) => self.notes.owners_unmapped += 1,
                owned => owned.map_err(|error| refused(entry, "cannot set its owner", error))?,
            }
        }
        let mode = self.mode(entry, least);
        rustix::fs::fchmod(&file, mode).map_err(|error| refused(entry, "cannot set its mode", error))?;
        for (name, value) in &entry.xattrs {
            if !self.keeps_attribute(name) {
                self.notes.attributes_dropped += 1;
                continue;
            }
            match rustix::fs::fsetxattr(&file, name.as_slice(), value, XattrFlags::empty()) {
                Ok(()) => {}
                // Not on this file system, not of this kind of file, too large, or not in this namespace.
                Err(
                    Errno::OPNOTSUPP
                    | Errno::PERM
                    | Errno::INVAL
                    | Errno::RANGE
                    | Errno::TOOBIG
                    | Errno::NOSPC,
                ) => self.notes.attributes_dropped += 1,
                Err(error) => return Err(refused(entry, "cannot set an extended attribute", error)),
            }
        }
        Ok(())
    }

    /// Attributes that mean something to overlayfs would let an image redirect a sandbox's root.
    fn keeps_attribute(&self, name: &[u8]) -> bool {
        (name.starts_with(b"user.") && !name.starts_with(b"user.overlay.") && !name.contains(&0))
            || (name == b"security.capability" && self.policy.ownership == Ownership::Keep)
    }

    fn mode(&mut self, entry: &Entry, least: u32) -> Mode {
        match self.policy.ownership {
            Ownership::Keep => Mode::from_raw_mode(entry.mode & 0o7777),
            Ownership::Own => {
                if entry.mode & 0o6000 != 0 {
                    self.notes.set_id_dropped += 1;
                }
                Mode::from_raw_mode(entry.mode & 0o1777 | least)
            }
        }
    }

    fn own_by_name(&mut self, folder: &OwnedFd, name: &[u8], entry: &Entry) -> Result<(), UnpackError> {
        if self.policy.ownership == Ownership::Own {
            return Ok(());
        }
        let (uid, gid) = (Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid)));
        match rustix::fs::chownat(folder, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::INVAL) => {
                self.notes.owners_unmapped += 1;
                Ok(())
            }
            owned => owned.map_err(|error| refused(entry, "cannot set its owner", error)),
        }
    }
}

fn time_by_name(folder: &OwnedFd, name: &[u8], entry: &Entry) -> Result<(), UnpackError> {
    rustix::fs::utimensat(folder, name, &timestamps(entry.mtime), AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|error| refused(entry, "cannot set its time", error))
}

fn open_folder(above: &OwnedFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(above, name, flags, Mode::empty())
}

fn file_type(folder: &OwnedFd, name: &[u8]) -> Option<FileType> {
    let stat = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    Some(FileType::from_raw_mode(stat.st_mode))
}

fn is_link(folder: &OwnedFd, name: &[u8]) -> bool {
    file_type(folder, name) == Some(FileType::Symlink)
}

fn is_folder(folder: &OwnedFd, name: &[u8]) -> bool {
    file_type(folder, name) == Some(FileType::Directory)
}

fn refused(entry: &Entry, what: &'static str, error: Errno) -> UnpackError {
    cannot(entry, what, error.into())
}

pub(crate) fn cannot(entry: &Entry, what: &'static str, source: io::Error) -> UnpackError {
    UnpackError::Io { path: shown(&entry.path), what, source }
}
