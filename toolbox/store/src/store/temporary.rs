//! A folder in which an image comes together. Its name cannot be guessed, and it is locked while
//! its maker lives, so that what the dead left behind is told from what is being made.

use super::lock;
use crate::tree;
use rustix::fd::OwnedFd;
use rustix::fs::{CWD, FlockOperation, Mode};
use std::io;
use std::path::{Path, PathBuf};

/// Removed with all that is in it, unless it got another name.
pub(crate) struct Temporary {
    path: Option<PathBuf>,
    folder: OwnedFd,
}

impl Temporary {
    /// Makes one in `above`; the caller holds the store's lock at least shared.
    pub(crate) fn new(above: &Path) -> io::Result<Self> {
        let path = above.join(random_name()?);
        rustix::fs::mkdirat(CWD, &path, Mode::RWXU)?;
        let folder = lock::open_folder(&path)?;
        lock::lock(&folder, FlockOperation::LockExclusive)?;
        Ok(Self { path: Some(path), folder })
    }

    pub(crate) fn path(&self) -> &Path {
        // Only `keep` takes it, and that takes all of this.
        self.path.as_deref().unwrap_or(Path::new(""))
    }

    pub(crate) fn folder(&self) -> &OwnedFd {
        &self.folder
    }

    /// Gives it another name; it then stays. The folder's descriptor holds its lock.
    pub(crate) fn rename(mut self, to: &Path) -> Result<OwnedFd, (Self, io::Error)> {
        match std::fs::rename(self.path(), to) {
            Ok(()) => self.path = None,
            Err(error) => return Err((self, error)),
        }
        match self.folder.try_clone() {
            Ok(folder) => Ok(folder),
            Err(error) => Err((self, error)),
        }
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(path) = self.path.take() {
            // What stays is found by its free lock, by gc.
            let _ = tree::remove(&path);
        }
    }
}

/// 128 bits of the kernel's random numbers.
pub(crate) fn random_name() -> io::Result<String> {
    let mut bytes = [0; 16];
    let mut filled = 0;
    while filled < bytes.len() {
        filled += rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty())?;
    }
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
