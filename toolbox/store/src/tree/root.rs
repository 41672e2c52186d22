//! Folders below a root, found without ever leaving it.
//!
//! A path without links is opened by one openat2(2) that refuses every link and every way out.
//! Where that meets a link, or the kernel has no openat2, the path is walked name by name: each
//! folder is opened with `O_NOFOLLOW` under the one before, a link's target is read and walked in
//! the same way, `/` is the root and `..` stops there. Neither way trusts the tree's content.

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::rc::Rc;

/// As many as the kernel follows (`path_resolution(7)`).
const MAX_LINKS: usize = 40;
/// Folders that stay open for the entries that come next.
const CACHED: usize = 8;

/// Why a path cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PathError {
    /// `..` as a part.
    #[error("its path has a `..`")]
    Parent,
    /// A NUL byte.
    #[error("its path has a NUL byte")]
    Nul,
    /// More than 4095 bytes.
    #[error("its path has {0} bytes, more than 4095")]
    TooLong(usize),
    /// A part of more than 255 bytes.
    #[error("a name in its path has {0} bytes, more than 255")]
    NameTooLong(usize),
    /// Too many parts.
    #[error("its path is {depth} folders deep, more than {max_depth}")]
    TooDeep {
        /// Parts of the path.
        depth: usize,
        /// The limit.
        max_depth: usize,
    },
    /// A loop, most likely.
    #[error("its path has more than 40 symbolic links")]
    Links,
    /// The system refused.
    #[error("{what}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// Its answer.
        source: std::io::Error,
    },
}

pub(super) fn io(what: &'static str) -> impl Fn(Errno) -> PathError {
    move |error| PathError::Io { what, source: error.into() }
}

/// A folder that paths are relative to.
pub struct Root {
    folder: Rc<OwnedFd>,
    max_depth: usize,
    has_openat2: bool,
    /// The folders last used, the newest last.
    cache: Vec<(Vec<u8>, Rc<OwnedFd>)>,
}

impl Root {
    /// Takes an open folder. `openat2` is tried unless told not to, and given up where there is none.
    pub fn new(folder: OwnedFd, max_depth: usize, openat2: bool) -> Self {
        Self { folder: Rc::new(folder), max_depth, has_openat2: openat2, cache: Vec::new() }
    }

    /// The root itself.
    pub fn folder(&self) -> Rc<OwnedFd> {
        self.folder.clone()
    }

    /// Deepest path.
    pub(super) fn max_depth(&self) -> usize {
        self.max_depth
    }

    /// To be called when something that may be on the way to a folder was taken away.
    pub(crate) fn forget(&mut self) {
        self.cache.clear();
    }

    /// Opens the folder at a path of clean parts, links followed within the root. Missing folders
    /// are made, and what stands in the way is replaced, when `create` says so; else there is none.
    ///
    /// # Errors
    /// Too many links, too deep, or the system's refusal.
    pub(crate) fn open(&mut self, parts: &[&[u8]], create: bool) -> Result<Option<Rc<OwnedFd>>, PathError> {
        if parts.is_empty() {
            return Ok(Some(self.folder()));
        }
        let path = parts.join(&b'/');
        if let Some(at) = self.cache.iter().rposition(|(known, _)| *known == path) {
            let found = self.cache[at].1.clone();
            if at + 1 < self.cache.len() {
                let entry = self.cache.remove(at);
                self.cache.push(entry);
            }
            return Ok(Some(found));
        }
        let found = match self.beneath(&path)? {
            Some(found) => Some(Rc::new(found)),
            None => self.walk(parts, create)?,
        };
        if let Some(found) = &found {
            if self.cache.len() == CACHED {
                self.cache.remove(0);
            }
            self.cache.push((path, found.clone()));
        }
        Ok(found)
    }

    /// By one call; none where it met a link, found nothing, or is not to be had.
    fn beneath(&mut self, path: &[u8]) -> Result<Option<OwnedFd>, PathError> {
        if !self.has_openat2 {
            return Ok(None);
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH
            | ResolveFlags::NO_SYMLINKS
            | ResolveFlags::NO_MAGICLINKS
            | ResolveFlags::NO_XDEV;
        loop {
            return match rustix::fs::openat2(&*self.folder, path, flags, Mode::empty(), resolve) {
                Ok(found) => Ok(Some(found)),
                Err(Errno::AGAIN | Errno::INTR) => continue,
                Err(Errno::LOOP | Errno::NOENT | Errno::NOTDIR) => Ok(None),
                // No such call (before Linux 5.6), or a filter that does not know it.
                Err(Errno::NOSYS | Errno::PERM) => {
                    self.has_openat2 = false;
                    Ok(None)
                }
                Err(error) => Err(io("cannot open its folder")(error)),
            };
        }
    }

    /// Name by name.
    fn walk(&mut self, parts: &[&[u8]], create: bool) -> Result<Option<Rc<OwnedFd>>, PathError> {
        let mut way = vec![self.folder()];
        // The names that still have to be gone through, the next one last.
        let mut names: Vec<Vec<u8>> = parts.iter().rev().map(|part| part.to_vec()).collect();
        let mut links = 0;
        while let Some(name) = names.pop() {
            if name == b".." {
                way.truncate((way.len() - 1).max(1));
                continue;
            }
            let Some(folder) = way.last().cloned() else { break };
            if way.len() > self.max_depth {
                return Err(PathError::TooDeep { depth: way.len(), max_depth: self.max_depth });
            }
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            match rustix::fs::openat(&*folder, name.as_slice(), flags, Mode::empty()) {
                Ok(found) => way.push(Rc::new(found)),
                Err(Errno::NOENT) if create => {
                    make(&folder, &name)?;
                    names.push(name);
                }
                Err(Errno::NOENT) => return Ok(None),
                Err(Errno::NOTDIR | Errno::LOOP) => {
                    match rustix::fs::readlinkat(&*folder, name.as_slice(), Vec::new()) {
                        Ok(target) => {
                            links += 1;
                            if links > MAX_LINKS {
                                return Err(PathError::Links);
                            }
                            let target = target.as_bytes();
                            if target.starts_with(b"/") {
                                way.truncate(1);
                            }
                            let target = target.split(|byte| *byte == b'/');
                            let target = target.filter(|part| !matches!(*part, b"" | b"."));
                            names.extend(target.rev().map(<[u8]>::to_vec));
                        }
                        // A file: the later entry wins, which is the one below it.
                        Err(Errno::INVAL) if create => {
                            rustix::fs::unlinkat(&*folder, name.as_slice(), AtFlags::empty())
                                .map_err(io("cannot replace the file above it"))?;
                            self.forget();
                            make(&folder, &name)?;
                            names.push(name);
                        }
                        Err(Errno::INVAL) => return Ok(None),
                        Err(error) => return Err(io("cannot read a link on its path")(error)),
                    }
                }
                Err(error) => return Err(io("cannot open its folder")(error)),
            }
        }
        Ok(way.pop())
    }
}

fn make(folder: impl AsFd, name: &[u8]) -> Result<(), PathError> {
    rustix::fs::mkdirat(folder, name, Mode::from_raw_mode(0o755)).map_err(io("cannot make its folder"))
}
