//! flock(2) on files and folders that another may remove meanwhile: the holder's death frees it.

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::path::Path;

/// Locks `file`, waiting for others; a signal does not end the waiting.
pub(crate) fn lock(file: impl AsFd, operation: FlockOperation) -> io::Result<()> {
    loop {
        match rustix::fs::flock(&file, operation) {
            Err(Errno::INTR) => {}
            done => return Ok(done?),
        }
    }
}

/// As [`lock`] for a `NonBlocking` operation; gives whether it is ours.
pub(crate) fn try_lock(file: impl AsFd, operation: FlockOperation) -> io::Result<bool> {
    match lock(file, operation) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        locked => locked.map(|()| true),
    }
}

/// Makes or opens a file and holds it exclusively. It is the file of that name also once locked.
pub(crate) fn lock_file(path: &Path) -> io::Result<File> {
    loop {
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        lock(&file, FlockOperation::LockExclusive)?;
        if is_at(&file, path)? {
            return Ok(file);
        }
    }
}

/// Opens a folder, without following a link.
pub(crate) fn open_folder(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(CWD, path, flags, Mode::empty())?)
}

/// Whether an open file is still what has this path.
pub(crate) fn is_at(file: impl AsFd, path: &Path) -> io::Result<bool> {
    let open = rustix::fs::fstat(file)?;
    match rustix::fs::lstat(path) {
        Ok(named) => Ok((open.st_dev, open.st_ino) == (named.st_dev, named.st_ino)),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
