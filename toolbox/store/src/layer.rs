//! One tar archive into a tree: the whole of an image, or a layer over others.
//!
//! Whiteouts (OCI image specification, "Layers"): `.wh.NAME` takes NAME of the layers below away,
//! `.wh..wh..opq` all that a folder has of them. Neither touches what its own layer makes.

use crate::tar::{self, Entry, Kind, TarError};
use crate::tree::{self, PathError, UnpackError, Writer, cannot, shown};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use std::collections::HashSet;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::BufRead;
use std::os::unix::fs::FileExt;

/// Why an archive does not become a tree.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// It cannot be read.
    #[error(transparent)]
    Tar(#[from] TarError),
    /// It cannot be made.
    #[error(transparent)]
    Unpack(#[from] UnpackError),
}

/// What names that begin with `.wh.` mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whiteouts {
    /// Files like others: the archive is no layer.
    Literal,
    /// Nothing is below this layer, so that there is nothing to take away.
    Lowest,
    /// There are layers below.
    Upper,
}

/// Fills the tree from the archive. `tick` is called between entries, and while a large one is read.
///
/// # Errors
/// See [`ApplyError`]; the tree is then to be thrown away.
pub fn apply<R: BufRead>(
    input: R,
    writer: &mut Writer,
    whiteouts: Whiteouts,
    tick: &mut dyn FnMut(),
) -> Result<R, ApplyError> {
    let mut reader = tar::Reader::new(input, writer.stream_limit());
    let mut own = Own::new(whiteouts == Whiteouts::Upper);
    while let Some(entry) = reader.entry()? {
        tick();
        if whiteouts != Whiteouts::Literal && whiteout(&entry, writer, &own, whiteouts)? {
            continue;
        }
        own.add(&entry.path, writer.depth());
        if let Some(file) = writer.make(&entry)? {
            content(&mut reader, &file, &entry, tick)?;
            writer.close(&file, &entry)?;
        }
    }
    Ok(reader.into_inner())
}

fn content<R: BufRead>(
    reader: &mut tar::Reader<R>,
    file: &File,
    entry: &Entry,
    tick: &mut dyn FnMut(),
) -> Result<(), ApplyError> {
    let whole = [(0, entry.size)];
    for (offset, length) in entry.pieces.as_deref().unwrap_or(&whole) {
        let mut done = 0;
        while done < *length {
            let mut piece = reader.content(length - done)?;
            let written =
                piece.bytes().and_then(|bytes| file.write_all_at(bytes, offset + done).map(|()| bytes.len()));
            let count = written.map_err(|source| cannot(entry, "cannot write it", source))?;
            done += count as u64;
            drop(piece);
            tick();
        }
    }
    Ok(())
}

/// The paths that a layer made itself, as keyed hashes: 64 bits a path, so that a million take some
/// 20 MB and two never meet.
struct Own {
    paths: Option<HashSet<u64>>,
    key: RandomState,
    /// The folder last added.
    folder: Vec<u8>,
}

impl Own {
    fn new(kept: bool) -> Self {
        Self { paths: kept.then(HashSet::new), key: RandomState::new(), folder: Vec::new() }
    }

    /// Adds a path and the folders on its way; a path that cannot be used is refused elsewhere.
    fn add(&mut self, path: &[u8], depth: usize) {
        let Some(paths) = &mut self.paths else { return };
        let Ok(parts) = tree::parts(path, depth) else { return };
        let mut whole = parts.join(&b'/');
        paths.insert(self.key.hash_one(&whole));
        whole.truncate(whole.iter().rposition(|byte| *byte == b'/').unwrap_or(0));
        if whole == self.folder {
            return;
        }
        self.folder.clone_from(&whole);
        while !whole.is_empty() {
            paths.insert(self.key.hash_one(&whole));
            whole.truncate(whole.iter().rposition(|byte| *byte == b'/').unwrap_or(0));
        }
    }

    fn has(&self, path: &[u8]) -> bool {
        self.paths.as_ref().is_some_and(|paths| paths.contains(&self.key.hash_one(path)))
    }
}

/// Does what a whiteout says; gives whether the entry is one.
fn whiteout(entry: &Entry, writer: &mut Writer, own: &Own, whiteouts: Whiteouts) -> Result<bool, ApplyError> {
    let failed = |source| UnpackError::Path { path: shown(&entry.path), source };
    let parts = tree::parts(&entry.path, writer.depth()).map_err(failed)?;
    let Some((name, above)) = parts.split_last() else { return Ok(false) };
    let Some(hidden) = name.strip_prefix(b".wh.") else { return Ok(false) };
    // `.wh.`, `.wh..` and `.wh...` would name the folder itself or the one above.
    if matches!(hidden, b"" | b"." | b"..") {
        return Err(failed(PathError::Parent).into());
    }
    let is_opaque = hidden == b".wh..opq";
    if whiteouts == Whiteouts::Lowest
        || entry.kind == Kind::Directory
        // The rest of AUFS's own files (`.wh..wh.aufs` and such) mean nothing.
        || (!is_opaque && hidden.starts_with(b".wh."))
    {
        return Ok(true);
    }
    let Some(folder) = writer.root().open(above, false).map_err(failed)? else { return Ok(true) };
    let mut path = above.join(&b'/');
    let removed = if is_opaque {
        remove_lower(&folder, &mut path, own)
    } else {
        remove_lower_entry(&folder, hidden, &mut path, own)
    };
    writer.root().forget();
    removed.map_err(|error| cannot(entry, "cannot take away what it hides", error.into()))?;
    Ok(true)
}

/// Removes all in a folder that the layer did not make.
fn remove_lower(
    folder: &rustix::fd::OwnedFd,
    path: &mut Vec<u8>,
    own: &Own,
) -> Result<(), rustix::io::Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = rustix::fs::openat(folder, ".", flags, Mode::empty())?;
    let mut names = Vec::new();
    for entry in Dir::read_from(&opened)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(name.to_vec());
        }
    }
    for name in names {
        remove_lower_entry(&opened, &name, path, own)?;
    }
    Ok(())
}

/// Depth is bounded: folders are made by paths of bounded depth.
fn remove_lower_entry(
    folder: &rustix::fd::OwnedFd,
    name: &[u8],
    path: &mut Vec<u8>,
    own: &Own,
) -> Result<(), rustix::io::Errno> {
    let length = path.len();
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    let done = if own.has(path) {
        let stat = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW);
        match stat.map(|stat| FileType::from_raw_mode(stat.st_mode)) {
            Ok(FileType::Directory) => {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let inner = rustix::fs::openat(folder, name, flags, Mode::empty());
                inner.and_then(|inner| remove_lower(&inner, path, own))
            }
            _ => Ok(()),
        }
    } else {
        tree::remove_entry(folder, name)
    };
    path.truncate(length);
    done
}
