//! Why a step failed.

use super::state::StateError;
use crate::stage1::disk::DiskError;
use std::io;
use std::path::{Path, PathBuf};
use sys::modules::ModuleError;
use sys::mount::MountError;

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A file or folder cannot be handled.
    #[error("cannot {verb} {}: {cause}", path.display())]
    File {
        /// What was tried.
        verb: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// Something cannot be mounted or unmounted.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// A module cannot be loaded.
    #[error(transparent)]
    Module(#[from] ModuleError),
    /// The boot disk cannot be read.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// STATE cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// There is no watchdog, or it cannot be armed.
    #[error("no watchdog: {0}")]
    Watchdog(io::Error),
    /// The kernel refused the host name.
    #[error("cannot set the host name {name:?}: {cause}")]
    Hostname {
        /// The name.
        name: String,
        /// Why.
        cause: io::Error,
    },
    /// The kernel has no random numbers.
    #[error("no random numbers: {0}")]
    Random(io::Error),
    /// The document kept on STATE, valid when it was kept, is not any more.
    #[error("the user-data kept on STATE is refused: {0}")]
    KeptUserData(String),
    /// The kernel refused to end the machine.
    #[error("cannot end the machine: {0}")]
    End(io::Error),
}

impl SetupError {
    fn file<T>(verb: &'static str, path: &Path, result: io::Result<T>) -> Result<T, Self> {
        result.map_err(|cause| Self::File { verb, path: path.to_owned(), cause })
    }

    pub(super) fn reading<T>(path: &Path, result: io::Result<T>) -> Result<T, Self> {
        Self::file("read", path, result)
    }

    pub(super) fn writing<T>(path: &Path, result: io::Result<T>) -> Result<T, Self> {
        Self::file("write", path, result)
    }

    pub(super) fn creating<T>(path: &Path, result: io::Result<T>) -> Result<T, Self> {
        Self::file("create", path, result)
    }
}
