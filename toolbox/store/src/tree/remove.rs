//! Removal of a tree: no link is followed, no mount crossed, unreadable folders are opened by
//! their owner, and depth costs neither stack nor descriptors.

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::io;
use std::path::Path;

/// Open folders at a time; what is deeper is moved up first.
const MAX_OPEN: usize = 48;

/// Removes `path` and all that is below it; done when there is nothing.
///
/// # Errors
/// A file that may not be removed (chattr(1) +i, another's), or a mount inside.
pub fn remove(path: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match rustix::fs::openat(CWD, parent, flags, Mode::empty()) {
        Ok(parent) => Ok(remove_entry(&parent, name.as_encoded_bytes())?),
        Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// As [`remove`], of a name in an open folder.
pub(crate) fn remove_entry(parent: impl AsFd, name: &[u8]) -> Result<(), Errno> {
    match rustix::fs::unlinkat(&parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        // POSIX has EPERM for a folder, Linux EISDIR.
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(error) => return Err(error),
    }
    let top = enter(&parent, name)?;
    empty(&top)?;
    rustix::fs::unlinkat(&parent, name, AtFlags::REMOVEDIR)
}

/// Removes all that is in `top`.
fn empty(top: &OwnedFd) -> Result<(), Errno> {
    let mut moved = 0_u64;
    loop {
        empty_once(top, &mut moved)?;
        // What was moved up from the depths is next.
        let mut rest = names(top)?;
        if rest.next().is_none() {
            return Ok(());
        }
    }
}

fn empty_once(top: &OwnedFd, moved: &mut u64) -> Result<(), Errno> {
    // Open folders from `top` down; each with its name and the folders in it not yet entered.
    let mut way: Vec<(OwnedFd, Vec<u8>, Vec<Vec<u8>>)> = Vec::new();
    let mut waiting = unlink_all(top)?;
    loop {
        let next = way.last_mut().map_or(&mut waiting, |(.., waiting)| waiting).pop();
        let folder = way.last().map_or(top, |(folder, ..)| folder);
        match next {
            Some(name) if way.len() >= MAX_OPEN => lift(folder, &name, top, moved)?,
            Some(name) => {
                let opened = enter(folder, &name)?;
                let inner = unlink_all(&opened)?;
                way.push((opened, name, inner));
            }
            None => {
                let Some((_, name, _)) = way.pop() else { return Ok(()) };
                let parent = way.last().map_or(top, |(folder, ..)| folder);
                match rustix::fs::unlinkat(parent, name.as_slice(), AtFlags::REMOVEDIR) {
                    // Some file systems leave names out while others are removed; the next round has them.
                    Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY) => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }
}

/// Moves a folder to the top under a new name.
fn lift(folder: &OwnedFd, name: &[u8], top: &OwnedFd, moved: &mut u64) -> Result<(), Errno> {
    let flags = rustix::fs::RenameFlags::NOREPLACE;
    loop {
        *moved += 1;
        let new = format!(".removed-{moved}");
        match rustix::fs::renameat_with(folder, name, top, new.as_str(), flags) {
            Err(Errno::EXIST) => {}
            // A folder that may not be written cannot get another parent.
            Err(Errno::ACCESS) => {
                rustix::fs::chmodat(folder, name, Mode::RWXU, AtFlags::empty())?;
            }
            other => return other,
        }
    }
}

/// Removes the files of a folder, and gives the names of the folders in it.
fn unlink_all(folder: &OwnedFd) -> Result<Vec<Vec<u8>>, Errno> {
    let mut folders = Vec::new();
    for entry in names(folder)? {
        let (name, kind) = entry?;
        if kind == FileType::Directory {
            folders.push(name);
            continue;
        }
        match rustix::fs::unlinkat(folder, name.as_slice(), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::ISDIR) => folders.push(name),
            Err(error) => return Err(error),
        }
    }
    Ok(folders)
}

fn names(folder: &OwnedFd) -> Result<impl Iterator<Item = Result<(Vec<u8>, FileType), Errno>>, Errno> {
    let entries = Dir::read_from(folder)?;
    Ok(entries.filter_map(|entry| match entry {
        Ok(entry) => {
            let name = entry.file_name().to_bytes();
            (name != b"." && name != b"..").then(|| Ok((name.to_vec(), entry.file_type())))
        }
        Err(error) => Some(Err(error)),
    }))
}

/// Opens a folder that is to be emptied: never through a link, never across a mount.
fn enter(parent: impl AsFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    let opened = match open_folder(&parent, name) {
        Err(Errno::ACCESS) => {
            // `name` is a folder, or the call before would have said so.
            rustix::fs::chmodat(&parent, name, Mode::RWXU, AtFlags::empty())?;
            open_folder(&parent, name)?
        }
        opened => opened?,
    };
    let stat = rustix::fs::fstat(&opened)?;
    if Mode::from_raw_mode(stat.st_mode) & Mode::RWXU != Mode::RWXU {
        match rustix::fs::fchmod(&opened, Mode::RWXU) {
            // Root needs no permission of the folder's owner; others will hear of it by unlinkat.
            Ok(()) | Err(Errno::PERM) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(opened)
}

fn open_folder(parent: impl AsFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    match rustix::fs::openat2(&parent, name, flags, Mode::empty(), resolve) {
        Err(Errno::NOSYS | Errno::PERM) => {
            let opened = rustix::fs::openat(&parent, name, flags, Mode::empty())?;
            let (above, below) = (rustix::fs::fstat(&parent)?, rustix::fs::fstat(&opened)?);
            // A mount of the same file system stays unseen; removing its mount point is then refused.
            if above.st_dev == below.st_dev { Ok(opened) } else { Err(Errno::XDEV) }
        }
        opened => opened,
    }
}
