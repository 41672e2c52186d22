//! The inputs that are not the user's own files: packages and pinned paths.
//!
//! [`Store`] turns a name or a path of the spec into verified content. It asks the package
//! client only for what the cache lacks, and takes nothing whose hash is not the locked one.

pub mod apt;
pub mod cache;
pub use ::deb;
pub mod lock;

use apt::AptError;
use cache::{Cache, Hash, hash_of};
use deb::DebError;
use formats::tree::Entry;
use lock::{Lock, LockedFile, LockedPackage};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why an input cannot be had.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum InputError {
    #[error("package `{0}` is not in the lock file")]
    NotLocked(String),
    #[error("file `{0}` is not in the lock file")]
    FileNotLocked(String),
    #[error("package `{name}` has the SHA-256 {found}, but {locked} is locked")]
    Differs { name: String, found: Hash, locked: Hash },
    #[error("file `{path}` has the SHA-256 {found}, but {locked} is locked")]
    FileDiffers { path: String, found: Hash, locked: Hash },
    #[error("package `{name}` {version} is not in the cache, and fetching is off")]
    Offline { name: String, version: String },
    #[error("package `{name}`: {source}")]
    Apt { name: String, source: AptError },
    #[error("package `{name}`: {source}")]
    Deb { name: String, source: DebError },
    #[error("{source}; it is needed by {by}")]
    Dependency { by: String, source: Box<InputError> },
    #[error("package `{name}` has no kernel, and none of the packages that it depends on is a linux-image")]
    NoKernel { name: String },
    #[error("{path}: {source}")]
    File { path: String, source: io::Error },
    #[error("cache: {0}")]
    Cache(#[from] io::Error),
}

impl InputError {
    /// What to try.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NotLocked(_) | Self::FileNotLocked(_) => {
                Some("run `slipway lock` to pin what the spec asks for")
            }
            Self::Differs { .. } | Self::FileDiffers { .. } => Some(
                "when the change is meant, `slipway lock` pins the new content; else find out who changed it",
            ),
            Self::Offline { .. } => Some("build once without --offline"),
            Self::Apt { source, .. } => Some(source.hint()),
            Self::Dependency { .. } => Some(
                "a name that several packages provide: put the one that is meant into `packages`, and the name into `dependencies: {without: […]}`",
            ),
            _ => None,
        }
    }
}

/// Fetches and verifies inputs.
#[derive(Debug)]
pub struct Store<'a> {
    /// Where content is kept.
    pub cache: &'a Cache,
    /// What is pinned.
    pub lock: &'a Lock,
    /// The folder that the lock's paths start at.
    pub folder: &'a Path,
    /// Whether the package client must not be asked.
    pub offline: bool,
}

impl Store<'_> {
    /// A locked package's `.deb` file.
    ///
    /// # Errors
    /// It is not locked, cannot be fetched, or differs from its pin.
    pub fn package(&self, requested: &str) -> Result<(&LockedPackage, PathBuf), InputError> {
        let pin = self.lock.package(requested).ok_or_else(|| InputError::NotLocked(requested.to_owned()))?;
        if let Some(path) = self.cache.blob(pin.sha256)? {
            return Ok((pin, path));
        }
        if self.offline {
            return Err(InputError::Offline { name: pin.name.clone(), version: pin.version.clone() });
        }
        let (hash, path) = fetch(self.cache, &pin.name, Some(&pin.version))?;
        if hash != pin.sha256 {
            return Err(InputError::Differs { name: pin.name.clone(), found: hash, locked: pin.sha256 });
        }
        Ok((pin, path))
    }

    /// A pinned file of the host.
    ///
    /// # Errors
    /// It is not locked, cannot be read, or differs from its pin.
    pub fn file(&self, path: &Path) -> Result<(LockedFile, PathBuf), InputError> {
        let relative = path.strip_prefix(self.folder).unwrap_or(path);
        let shown = relative.display().to_string();
        let pin = self.lock.file(relative).ok_or_else(|| InputError::FileNotLocked(shown.clone()))?;
        let (found, _) = File::open(path)
            .and_then(hash_of)
            .map_err(|source| InputError::File { path: path.display().to_string(), source })?;
        if found != pin.sha256 {
            return Err(InputError::FileDiffers { path: shown, found, locked: pin.sha256 });
        }
        Ok((pin.clone(), path.to_owned()))
    }

    /// The entries of a `.deb` file with this hash, unpacked once into the cache.
    ///
    /// # Errors
    /// The package is broken, or the cache cannot be written.
    pub fn entries(
        &self,
        name: &str,
        deb: &Path,
        hash: Hash,
        epoch: i64,
    ) -> Result<Vec<(Vec<u8>, Entry)>, InputError> {
        let broken = |source| InputError::Deb { name: name.to_owned(), source };
        let archive = match self.cache.unpacked(hash)? {
            Some(archive) => archive,
            None => {
                let mut package = File::open(deb)?;
                let unpacked =
                    self.cache.add::<DebError>(|out| deb::unpack_data(&mut package, out)).map_err(broken)?;
                self.cache.set_unpacked(hash, unpacked.0)?;
                unpacked.1
            }
        };
        deb::entries(&archive, epoch).map_err(broken)
    }
}

fn fetch(cache: &Cache, name: &str, version: Option<&str>) -> Result<(Hash, PathBuf), InputError> {
    let folder = cache.temporary()?;
    let path = apt::download(name, version, folder.path())
        .map_err(|source| InputError::Apt { name: name.to_owned(), source })?;
    let mut file = File::open(&path)?;
    Ok(cache.add::<io::Error>(|out| io::copy(&mut file, out).map(|_| ()))?)
}

/// Pins the newest version of a package that the host's archive has. A kernel's
/// meta-package is followed to the package that holds the kernel. What it depends on is in the pin.
///
/// # Errors
/// It cannot be fetched, or is broken.
pub fn pin_package(cache: &Cache, requested: &str, kernel: bool) -> Result<LockedPackage, InputError> {
    let mut name = requested.to_owned();
    for _ in 0..4 {
        let (sha256, path) = fetch(cache, &name, None)?;
        let mut file = File::open(&path)?;
        let size = file.metadata()?.len();
        let control =
            deb::control(&mut file).map_err(|source| InputError::Deb { name: name.clone(), source })?;
        let next = control.depends.iter().find(|name| kernel && name.starts_with("linux-image-"));
        match next {
            Some(next) => name.clone_from(next),
            None => {
                return Ok(LockedPackage {
                    requested: requested.to_owned(),
                    name: control.package,
                    version: control.version,
                    architecture: control.architecture,
                    size,
                    sha256,
                    depends: control.depends,
                });
            }
        }
    }
    Err(InputError::NoKernel { name: requested.to_owned() })
}

/// Pins a file of the host as it is now.
///
/// # Errors
/// It cannot be read.
pub fn pin_file(folder: &Path, path: &Path) -> Result<LockedFile, InputError> {
    let shown = path.display().to_string();
    let (sha256, _) =
        File::open(path).and_then(hash_of).map_err(|source| InputError::File { path: shown, source })?;
    let relative = path.strip_prefix(folder).unwrap_or(path);
    Ok(LockedFile { path: relative.display().to_string(), sha256 })
}
