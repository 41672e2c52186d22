//! Two folders walked side by side, as overlayfs merges them.

use super::{CommitError, Overlay};
use crate::tree::shown;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Two descriptors a level; a process has 1024 by default.
const MAX_DEPTH: usize = 400;

/// What is at a path.
pub(super) enum Event<'e> {
    /// The upper folder does not touch it.
    Lower(Node<'e>),
    /// The upper folder has it, and the lower one had this.
    Upper(Node<'e>, Option<Node<'e>>),
    /// The lower folder had it; it is taken away and nothing is in its place.
    Removed(&'e [u8]),
    /// The upper folder's directory here hides all that the lower one's has. Follows its `Upper`.
    Opaque(&'e [u8]),
}

/// An entry in an open folder.
pub(super) struct Node<'e> {
    pub(super) path: &'e [u8],
    pub(super) folder: &'e OwnedFd,
    /// `.` for the root.
    pub(super) name: &'e [u8],
    pub(super) stat: Stat,
}

pub(super) fn failed(what: &'static str, path: &[u8], error: Errno) -> CommitError {
    CommitError::Io { what, path: shown(path), source: error.into() }
}

impl Node<'_> {
    pub(super) fn file_type(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }

    /// Opens a regular file or a folder for reading.
    pub(super) fn open(&self) -> Result<File, CommitError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        rustix::fs::openat(self.folder, self.name, flags, Mode::empty())
            .map(File::from)
            .map_err(|error| failed("cannot open", self.path, error))
    }

    pub(super) fn target(&self) -> Result<Vec<u8>, CommitError> {
        rustix::fs::readlinkat(self.folder, self.name, Vec::new())
            .map(std::ffi::CString::into_bytes)
            .map_err(|error| failed("cannot read the link", self.path, error))
    }

    /// Whether nothing that a person would call a change was made.
    pub(super) fn is_same(&self, other: &Self) -> Result<bool, CommitError> {
        let (one, two) = (&self.stat, &other.stat);
        if (one.st_mode, one.st_uid, one.st_gid) != (two.st_mode, two.st_uid, two.st_gid) {
            return Ok(false);
        }
        match self.file_type() {
            FileType::Directory => Ok(true),
            FileType::Symlink => Ok(self.target()? == other.target()?),
            FileType::RegularFile => {
                // overlayfs copies a file up when it is opened for writing.
                Ok(one.st_size == two.st_size && self.same_content(other)?)
            }
            _ => Ok(one.st_rdev == two.st_rdev),
        }
    }

    fn same_content(&self, other: &Self) -> Result<bool, CommitError> {
        let (mut one, mut two) = (self.open()?, other.open()?);
        let (mut mine, mut theirs) = (vec![0; 64 << 10], vec![0; 64 << 10]);
        let read = |file: &mut File, buffer: &mut [u8]| -> io::Result<usize> {
            let mut filled = 0;
            while filled < buffer.len() {
                match file.read(&mut buffer[filled..])? {
                    0 => break,
                    count => filled += count,
                }
            }
            Ok(filled)
        };
        loop {
            let counts = read(&mut one, &mut mine).and_then(|one| Ok((one, read(&mut two, &mut theirs)?)));
            let (count, other_count) = counts.map_err(|source| CommitError::Io {
                what: "cannot read",
                path: shown(self.path),
                source,
            })?;
            if count != other_count || mine[..count] != theirs[..count] {
                return Ok(false);
            }
            if count == 0 {
                return Ok(true);
            }
        }
    }
}

type Visit<'v> = dyn FnMut(Event<'_>) -> Result<(), CommitError> + 'v;

/// The open roots.
pub(super) struct Merge {
    lower: OwnedFd,
    upper: Option<OwnedFd>,
}

impl Merge {
    pub(super) fn of(overlay: &Overlay<'_>) -> Result<Self, CommitError> {
        let open = |path: &Path| {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            rustix::fs::openat(CWD, path, flags, Mode::empty())
                .map_err(|error| failed("cannot open", path.as_os_str().as_encoded_bytes(), error))
        };
        Ok(Self { lower: open(overlay.lower)?, upper: overlay.upper.map(open).transpose()? })
    }

    /// Visits the root and everything below it, folders before what is in them, sorted by name.
    pub(super) fn walk(&self, visit: &mut Visit<'_>) -> Result<(), CommitError> {
        let node = |folder| -> Result<Node<'_>, CommitError> {
            let stat = rustix::fs::fstat(folder).map_err(|error| failed("cannot stat", b"/", error))?;
            Ok(Node { path: b"", folder, name: b".", stat })
        };
        let lower = node(&self.lower)?;
        match &self.upper {
            None => visit(Event::Lower(lower))?,
            Some(upper) => visit(Event::Upper(node(upper)?, Some(lower)))?,
        }
        let lower = self.lower.try_clone().map_err(|source| CommitError::Io {
            what: "cannot open",
            path: "/".to_owned(),
            source,
        })?;
        let below = Below { folder: Some(lower), hidden: false };
        folder(&below, self.upper.as_ref(), &mut Vec::new(), 0, visit)
    }
}

/// A lower folder.
struct Below {
    folder: Option<OwnedFd>,
    /// An opaque folder is above it: what is not made anew is gone.
    hidden: bool,
}

/// Visits what is in a folder that one or both have.
fn folder(
    lower: &Below,
    upper: Option<&OwnedFd>,
    path: &mut Vec<u8>,
    depth: usize,
    visit: &mut Visit<'_>,
) -> Result<(), CommitError> {
    if depth > MAX_DEPTH {
        return Err(CommitError::TooDeep { path: shown(path), limit: MAX_DEPTH });
    }
    let mut all = BTreeSet::new();
    for folder in [lower.folder.as_ref(), upper].into_iter().flatten() {
        names(folder, path, &mut all)?;
    }
    for name in all {
        let length = path.len();
        if length > 0 {
            path.push(b'/');
        }
        path.extend_from_slice(&name);
        entry(lower, upper, &name, path, depth, visit)?;
        path.truncate(length);
    }
    Ok(())
}

fn entry(
    lower: &Below,
    upper: Option<&OwnedFd>,
    name: &[u8],
    path: &mut Vec<u8>,
    depth: usize,
    visit: &mut Visit<'_>,
) -> Result<(), CommitError> {
    // A copy, because the walk goes on with `path` while nodes have this.
    let own_path = path.clone();
    let find = |folder: Option<&OwnedFd>| -> Result<Option<Stat>, CommitError> {
        let Some(folder) = folder else { return Ok(None) };
        match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(failed("cannot stat", &own_path, error)),
        }
    };
    let is_folder = |stat: &Stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    let below_folder = lower.folder.as_ref();
    let below = find(below_folder)?;
    let open = |folder: Option<&OwnedFd>| -> Result<Option<OwnedFd>, CommitError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = folder.map(|folder| rustix::fs::openat(folder, name, flags, Mode::empty()));
        opened.transpose().map_err(|error| failed("cannot open", &own_path, error))
    };
    let Some(above) = find(upper)? else {
        let (Some(folder_below), Some(stat)) = (below_folder, below) else { return Ok(()) };
        if lower.hidden {
            return visit(Event::Removed(&own_path));
        }
        visit(Event::Lower(Node { path: &own_path, folder: folder_below, name, stat }))?;
        if is_folder(&stat) {
            let below = Below { folder: open(below_folder)?, hidden: false };
            return folder(&below, None, path, depth + 1, visit);
        }
        return Ok(());
    };
    let Some(upper_folder) = upper else { return Ok(()) };
    let lower_entry =
        below_folder.zip(below).map(|(folder, stat)| Node { path: &own_path, folder, name, stat });
    let marks = Marks::read(upper_folder, name, &above, &own_path)?;
    if marks.whiteout {
        return if lower_entry.is_some() { visit(Event::Removed(&own_path)) } else { Ok(()) };
    }
    visit(Event::Upper(Node { path: &own_path, folder: upper_folder, name, stat: above }, lower_entry))?;
    if !is_folder(&above) {
        return Ok(());
    }
    let inner = open(upper)?;
    if !below.as_ref().is_some_and(is_folder) {
        let nothing = Below { folder: None, hidden: false };
        return folder(&nothing, inner.as_ref(), path, depth + 1, visit);
    }
    let below = Below { folder: open(below_folder)?, hidden: lower.hidden || marks.opaque };
    if below.hidden && !lower.hidden {
        visit(Event::Opaque(&own_path))?;
    }
    folder(&below, inner.as_ref(), path, depth + 1, visit)
}

fn names(folder: &OwnedFd, path: &[u8], names: &mut BTreeSet<Vec<u8>>) -> Result<(), CommitError> {
    let wrap = |error| failed("cannot list", path, error);
    for entry in Dir::read_from(folder).map_err(wrap)? {
        let entry = entry.map_err(wrap)?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.insert(name.to_vec());
        }
    }
    Ok(())
}

/// What overlayfs says of an entry of its upper folder.
struct Marks {
    whiteout: bool,
    opaque: bool,
}

impl Marks {
    fn read(folder: &OwnedFd, name: &[u8], stat: &Stat, path: &[u8]) -> Result<Self, CommitError> {
        let none = Self { whiteout: false, opaque: false };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::CharacterDevice => Ok(Self { whiteout: stat.st_rdev == 0, ..none }),
            // Whiteouts by attribute are empty files.
            FileType::RegularFile if stat.st_size != 0 && stat.st_blocks != 0 => {
                // A file with `metacopy` has its size, and no blocks.
                Ok(none)
            }
            FileType::RegularFile | FileType::Directory => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                let file = match rustix::fs::openat(folder, name, flags, Mode::empty()) {
                    // Its owner made it unreadable, so it is no whiteout, whose mode is its maker's.
                    Err(Errno::ACCESS) => return Ok(none),
                    file => file.map_err(|error| failed("cannot open", path, error))?,
                };
                for attribute in [
                    "trusted.overlay.redirect",
                    "user.overlay.redirect",
                    "trusted.overlay.metacopy",
                    "user.overlay.metacopy",
                ] {
                    if value(&file, attribute).is_some() {
                        return Err(CommitError::Redirected { path: shown(path), attribute });
                    }
                }
                let either = |what: &str| {
                    ["trusted", "user"]
                        .iter()
                        .find_map(|space| value(&file, &format!("{space}.overlay.{what}")))
                };
                let is_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
                Ok(Self {
                    whiteout: !is_folder && either("whiteout").is_some(),
                    opaque: is_folder && either("opaque").is_some_and(|value| value == b"y"),
                })
            }
            _ => Ok(none),
        }
    }
}

fn value(file: impl AsFd, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 4096];
    let count = rustix::fs::fgetxattr(file, name, &mut value).ok()?;
    value.truncate(count);
    Some(value)
}
