//! Taking images away, and what the dead left behind.

use super::image::ImageId;
use super::{Store, index, lock, temporary};
use crate::error::{StoreError, io_error};
use crate::tree;
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Dir, FileType, FlockOperation, Mode, OFlags};
use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// What a collection took away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Freed {
    /// Images that nobody names, keeps or uses.
    pub images: Vec<ImageId>,
    /// Folders of unpackings that did not end.
    pub leftovers: u64,
    /// Bytes on the disk.
    pub bytes: u64,
    /// What could not be taken away: the path, and why.
    pub failures: Vec<(PathBuf, String)>,
}

impl Store {
    /// Takes a name away, or, of an id or its beginning, all its names, and the image itself when
    /// no name is left. Gives whether the image is gone.
    ///
    /// # Errors
    /// There is none, a session has it, or it cannot be removed.
    pub fn remove(&self, name: &str) -> Result<bool, StoreError> {
        let lock = self.lock(FlockOperation::LockExclusive)?;
        let id = self.find(name)?;
        let mut names = self.names()?;
        if names.remove(name).is_none() {
            names.retain(|_, named| *named != id);
        }
        if names.values().any(|named| *named == id) {
            self.write_names(&names)?;
            return Ok(false);
        }
        let doomed = match self.doom(&id)? {
            Doomed::InUse => return Err(StoreError::InUse { name: name.to_owned() }),
            Doomed::Gone => None,
            Doomed::Moved(folder, path) => Some((folder, path)),
        };
        self.write_names(&names)?;
        drop(lock);
        if let Some((_folder, path)) = doomed {
            tree::remove(&path).map_err(io_error("cannot remove", &path))?;
        }
        Ok(true)
    }

    /// Takes away every image that has no name, that `keep` does not have (those of kept boxes)
    /// and that no session uses; and what dead processes left. It does all it can; what failed is
    /// in the result.
    ///
    /// # Errors
    /// The store itself cannot be read.
    pub fn gc(&self, keep: &[ImageId]) -> Result<Freed, StoreError> {
        let mut freed = Freed::default();
        let lock = self.lock(FlockOperation::LockExclusive)?;
        let named: BTreeSet<ImageId> = self.names()?.into_values().collect();
        let mut doomed = Vec::new();
        for id in self.ids()? {
            if named.contains(&id) || keep.contains(&id) {
                continue;
            }
            match self.doom(&id) {
                Ok(Doomed::Moved(folder, path)) => {
                    freed.images.push(id);
                    doomed.push((folder, path));
                }
                Ok(Doomed::InUse | Doomed::Gone) => {}
                Err(error) => {
                    let path = self.root.join("images").join(id.as_str());
                    freed.failures.push((path, error.to_string()));
                }
            }
        }
        for folder in ["tmp", "downloads"] {
            self.leftovers(folder, &mut doomed, &mut freed)?;
        }
        drop(lock);
        for (folder, path) in doomed {
            freed.bytes += folder.as_ref().map_or_else(|| file_bytes(&path), folder_bytes);
            if let Err(error) = tree::remove(&path) {
                freed.failures.push((path, error.to_string()));
            }
        }
        self.clean_index(&mut freed)?;
        Ok(freed)
    }

    /// Moves an image out of sight, unless somebody has it. The caller holds the store's lock
    /// exclusively; the result's descriptor holds the folder's.
    fn doom(&self, id: &ImageId) -> Result<Doomed, StoreError> {
        let path = self.root.join("images").join(id.as_str());
        let failed = io_error("cannot remove", &path);
        let folder = match lock::open_folder(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Doomed::Gone),
            folder => folder.map_err(&failed)?,
        };
        if !lock::try_lock(&folder, FlockOperation::NonBlockingLockExclusive).map_err(&failed)? {
            return Ok(Doomed::InUse);
        }
        let to = self.root.join("tmp").join(temporary::random_name().map_err(&failed)?);
        std::fs::rename(&path, &to).map_err(&failed)?;
        Ok(Doomed::Moved(Some(folder), to))
    }

    /// Finds what has no living owner.
    fn leftovers(
        &self,
        folder: &str,
        doomed: &mut Vec<(Option<OwnedFd>, PathBuf)>,
        freed: &mut Freed,
    ) -> Result<(), StoreError> {
        let folder = self.root.join(folder);
        let failed = io_error("cannot read", &folder);
        let entries = match std::fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(&failed)?,
        };
        for entry in entries {
            let path = entry.map_err(&failed)?.path();
            if doomed.iter().any(|(_, known)| *known == path) {
                continue;
            }
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
            let opened = rustix::fs::openat(rustix::fs::CWD, &path, flags, Mode::empty());
            let locked = opened.map_err(io::Error::from).and_then(|opened| {
                let ours = lock::try_lock(&opened, FlockOperation::NonBlockingLockExclusive)?;
                Ok(ours.then_some(opened))
            });
            match locked {
                Ok(Some(opened)) => {
                    freed.leftovers += 1;
                    doomed.push((Some(opened), path));
                }
                // Its owner lives.
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => freed.failures.push((path, error.to_string())),
            }
        }
        Ok(())
    }

    /// Forgets files whose image is gone.
    fn clean_index(&self, freed: &mut Freed) -> Result<(), StoreError> {
        let index = self.root.join("index");
        let ids: BTreeSet<ImageId> = self.ids()?.into_iter().collect();
        let failed = io_error("cannot read", &index);
        for entry in std::fs::read_dir(&index).map_err(&failed)? {
            let path = entry.map_err(&failed)?.path();
            let clean = || -> io::Result<()> {
                let mut file = File::options().read(true).write(true).open(&path)?;
                // Somebody is unpacking it right now.
                if !lock::try_lock(&file, FlockOperation::NonBlockingLockExclusive)? {
                    return Ok(());
                }
                match index::read_known(&mut file)? {
                    Some(id) if ids.contains(&id) => Ok(()),
                    _ => std::fs::remove_file(&path),
                }
            };
            match clean() {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    freed.failures.push((path, error.to_string()));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

enum Doomed {
    Gone,
    InUse,
    Moved(Option<OwnedFd>, PathBuf),
}

fn file_bytes(path: &Path) -> u64 {
    rustix::fs::lstat(path).map_or(0, |stat| (stat.st_blocks as u64).saturating_mul(512))
}

/// Bytes on the disk of what is about to be removed; what cannot be read counts nothing.
fn folder_bytes(folder: &OwnedFd) -> u64 {
    let mut bytes = 0_u64;
    let Ok(stat) = rustix::fs::fstat(folder) else { return 0 };
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return (stat.st_blocks as u64).saturating_mul(512);
    }
    let Ok(entries) = Dir::read_from(folder) else { return 0 };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let Ok(stat) = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            if let Ok(inner) = rustix::fs::openat(folder, name, flags, Mode::empty()) {
                bytes = bytes.saturating_add(folder_bytes(&inner));
            }
        } else {
            // A file of several names is shared out among them.
            let links = u64::from(stat.st_nlink as u32).max(1);
            bytes = bytes.saturating_add((stat.st_blocks as u64).saturating_mul(512) / links);
        }
    }
    bytes
}
