//! Why there is no image: what failed where, and what helps.

use crate::disk::DiskError;
use crate::ext4::Ext4Error;
use crate::layer::ApplyError;
use crate::oci::OciError;
use crate::registry::RegistryError;
use crate::source::SourceError;
use crate::tree::UnpackError;
use std::error::Error;
use std::io;
use std::path::PathBuf;

/// Any failure of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The system refused.
    #[error("{what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// Its answer.
        source: io::Error,
    },
    /// The disk is full.
    #[error("no space left for the image in {}", store.display())]
    NoSpace {
        /// The store.
        store: PathBuf,
    },
    /// The user may not have more.
    #[error("the disk quota does not allow the image in {}", store.display())]
    Quota {
        /// The store.
        store: PathBuf,
    },
    /// The source says nothing that is understood.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The archive is broken, hostile or too large.
    #[error("{}: {source}", path.display())]
    Archive {
        /// The archive.
        path: PathBuf,
        /// What is wrong.
        source: ApplyError,
    },
    /// The archive's entries could not be made.
    #[error("{}: {source}", path.display())]
    Unpack {
        /// The source.
        path: PathBuf,
        /// What failed.
        source: UnpackError,
    },
    /// The compression is broken, or asks for too much memory.
    #[error("{}: cannot be decompressed: {source}", path.display())]
    Decompress {
        /// The archive.
        path: PathBuf,
        /// What the decoder says.
        source: io::Error,
    },
    /// There is no file system to read.
    #[error("{}: {source}", path.display())]
    Disk {
        /// The disk.
        path: PathBuf,
        /// Why.
        source: DiskError,
    },
    /// The file system is damaged, hostile or of an unknown form.
    #[error("{}: {source}", path.display())]
    Ext4 {
        /// The file or disk.
        path: PathBuf,
        /// What is wrong.
        source: Ext4Error,
    },
    /// The image is damaged, hostile, or not for this machine.
    #[error("{}: {source}", path.display())]
    Oci {
        /// The layout or archive.
        path: PathBuf,
        /// What is wrong.
        source: OciError,
    },
    /// The package is broken.
    #[error("{}: {source}", path.display())]
    Deb {
        /// The package.
        path: PathBuf,
        /// What is wrong.
        source: deb::DebError,
    },
    /// A registry does not give it.
    #[error("{reference}: {source}")]
    Registry {
        /// The image.
        reference: String,
        /// Why.
        source: RegistryError,
    },
    /// Somebody wrote to it.
    #[error("{} changed while it was read", path.display())]
    Changed {
        /// The source.
        path: PathBuf,
    },
    /// No image of this name.
    #[error("there is no image `{name}` in the store")]
    Unknown {
        /// As asked for.
        name: String,
    },
    /// The beginning of an id that several have.
    #[error("`{name}` is the beginning of several images' ids")]
    Ambiguous {
        /// As asked for.
        name: String,
    },
    /// A session has it.
    #[error("image `{name}` is in use by a session")]
    InUse {
        /// As asked for.
        name: String,
    },
    /// A name that cannot be one.
    #[error("`{name}` cannot be the name of an image")]
    Name {
        /// As asked for.
        name: String,
    },
    /// A store that something else made.
    #[error("{} has format {found}, this program knows 1", path.display())]
    Format {
        /// The store's `format` file.
        path: PathBuf,
        /// What it says.
        found: String,
    },
    /// A record of the store's own is broken.
    #[error("{} is damaged: {source}", path.display())]
    Record {
        /// The record.
        path: PathBuf,
        /// Where.
        source: serde_json::Error,
    },
}

impl StoreError {
    /// What a person can try, for a line of its own.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::NoSpace { .. } => "free space there, with `toolbox gc` for one; the next try starts anew",
            Self::Quota { .. } => "remove images with `toolbox rm`, or ask for a larger quota",
            Self::Archive {
                source: ApplyError::Unpack(UnpackError::Bytes { .. } | UnpackError::Entries { .. }),
                ..
            }
            | Self::Unpack { source: UnpackError::Bytes { .. } | UnpackError::Entries { .. }, .. } => {
                "if the image is to be trusted, raise the limits"
            }
            Self::Ext4 { source: Ext4Error::Journal, .. } => {
                "shut down what uses it, or replay the journal with `e2fsck -p`"
            }
            Self::Ext4 { source: Ext4Error::Read(_), .. } => "`e2fsck -fn` says more; get the image again",
            Self::Disk { source: DiskError::NotExt4(_) | DiskError::NoFileSystem, .. } => {
                "name another partition: disk:PATH#LABEL"
            }
            Self::Oci { source, .. } => return source.hint(),
            Self::Registry { source, .. } => return source.hint(),
            Self::Deb { .. } => "get the package again",
            Self::Archive { .. } => "the archive is damaged or hostile: get it again",
            Self::Decompress { .. } => {
                "get the file again; windows beyond 128 MiB (zstd --long=28 and more) are not supported"
            }
            Self::Changed { .. } => "try again when nobody writes to it",
            Self::Unknown { .. } | Self::Ambiguous { .. } => "`toolbox images` lists names and ids",
            Self::InUse { .. } => "end the session first; `toolbox ls` shows it",
            Self::Name { .. } => "use letters, digits and `._-/:@`",
            Self::Format { .. } => "use another store, or remove it",
            Self::Record { .. } => "remove the image with `toolbox rm`, and import it again",
            Self::Io { source, .. } if source.kind() == io::ErrorKind::ReadOnlyFilesystem => {
                "an image that is there starts by its name or id; for others set XDG_DATA_HOME to a folder that can be written"
            }
            Self::Source(source) => return source.hint(),
            Self::Io { .. } | Self::Unpack { .. } | Self::Ext4 { .. } | Self::Disk { .. } => return None,
        })
    }

    /// Says that the disk is full where that is the cause.
    pub(crate) fn with_cause(self, store: &std::path::Path) -> Self {
        let mut cause: Option<&(dyn Error + 'static)> = Some(&self);
        while let Some(error) = cause {
            let code = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error);
            match code.map(rustix::io::Errno::from_raw_os_error) {
                Some(rustix::io::Errno::NOSPC) => return Self::NoSpace { store: store.to_owned() },
                Some(rustix::io::Errno::DQUOT) => return Self::Quota { store: store.to_owned() },
                _ => cause = error.source(),
            }
        }
        self
    }
}

/// For `map_err`.
pub(crate) fn io_error<'p>(
    what: &'static str,
    path: &'p std::path::Path,
) -> impl Fn(io::Error) -> StoreError + 'p {
    move |source| StoreError::Io { what, path: path.to_owned(), source }
}
