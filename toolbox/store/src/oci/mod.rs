//! OCI images: layouts (OCI image specification, "Image Layout"), and what `docker save` writes.
//!
//! [`document`] reads the JSON of strangers, [`blobs`] finds what it names in a folder or an
//! archive, and [`unpack`] lays the layers over one another, each checked against its digest.

mod blobs;
pub mod document;
mod layout;

pub(crate) use blobs::{Blob, Blobs};
pub(crate) use layout::{docker_archive, layout};

use crate::digest::{Digest, DigestError};
use crate::import::{Ticker, archive_error};
use crate::layer::{self, Whiteouts};
use crate::store::{Built, Config, Progress, Stage};
use crate::tree::Writer;
use crate::unpacked::{Packing, Unpacked};
use crate::{StoreError, error::io_error};
use std::io;
use std::path::Path;

/// Why an image cannot be put together.
#[derive(Debug, thiserror::Error)]
pub enum OciError {
    /// A part is missing.
    #[error("the image has no `{0}`")]
    Missing(String),
    /// A part cannot be read.
    #[error("`{name}`: {source}")]
    Io {
        /// The part.
        name: String,
        /// The system's answer.
        source: io::Error,
    },
    /// A document is malformed.
    #[error("`{name}`: {source}")]
    Json {
        /// The document.
        name: String,
        /// Where.
        source: serde_json::Error,
    },
    /// A document is too large.
    #[error("`{name}` has {size} bytes, more than {limit}")]
    TooLarge {
        /// The document.
        name: String,
        /// Its size.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// A digest that is none.
    #[error(transparent)]
    Digest(#[from] DigestError),
    /// The content is another.
    #[error("`{name}` has digest {found} instead of {expected}")]
    Mismatch {
        /// The part.
        name: String,
        /// What it should have.
        expected: Digest,
        /// What it has.
        found: Digest,
    },
    /// No image of this name.
    #[error("there is no image `{wanted}`; there are: {}", names.join(", "))]
    NoReference {
        /// As asked for.
        wanted: String,
        /// What there is.
        names: Vec<String>,
    },
    /// Several, and none was named.
    #[error("there are several images: {}", .0.join(", "))]
    Several(Vec<String>),
    /// Not for this machine.
    #[error("there is no image for {wanted}; there are: {}", found.join(", "))]
    Platform {
        /// This machine's platform.
        wanted: String,
        /// What there is.
        found: Vec<String>,
    },
    /// Something of an index within indexes, or that is no image.
    #[error("{0} is not supported")]
    Unsupported(String),
    /// Numbers of layers that contradict each other.
    #[error("the manifest has {layers} layers, the configuration {diff_ids}")]
    Layers {
        /// In the manifest.
        layers: usize,
        /// In the configuration.
        diff_ids: usize,
    },
}

impl OciError {
    /// What a person can try.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoReference { .. } | Self::Several(_) => Some("name one of them: oci:PATH:NAME"),
            Self::Mismatch { .. } | Self::Missing(_) => Some("the image is damaged: get it again"),
            _ => None,
        }
    }
}

/// An image whose parts are all known, none of the layers read yet.
pub(crate) struct Resolved {
    /// Of the manifest; of the configuration where there is no manifest.
    pub(crate) digest: Digest,
    pub(crate) config: Config,
    /// The lowest first.
    pub(crate) layers: Vec<Layer>,
}

pub(crate) struct Layer {
    pub(crate) name: String,
    pub(crate) blob: Blob,
    /// Of the bytes as they are stored.
    pub(crate) digest: Option<Digest>,
    /// Of the archive without compression.
    pub(crate) diff_id: Option<Digest>,
}

/// Unpacks the layers over one another.
pub(crate) fn unpack(
    path: &Path,
    image: Resolved,
    mut writer: Writer,
    progress: &mut dyn FnMut(Progress),
) -> Result<Built, StoreError> {
    let total = image.layers.iter().fold(0_u64, |sum, layer| sum.saturating_add(layer.blob.length));
    let mut ticker = Ticker::new(progress, Stage::Unpack, Some(total));
    for (number, layer) in image.layers.into_iter().enumerate() {
        let failed = io_error("cannot read", path);
        let packing = Packing::detect(&layer.blob.head().map_err(&failed)?);
        let wants_diff_id = layer.diff_id.is_some();
        let input = Unpacked::start(layer.blob.reader(), packing, wants_diff_id, ticker.done.clone())
            .map_err(&failed)?;
        let whiteouts = if number == 0 { Whiteouts::Lowest } else { Whiteouts::Upper };
        let input = layer::apply(input, &mut writer, whiteouts, &mut || ticker.tick())
            .map_err(|source| archive_error(path, source))?;
        let finished =
            input.finish().map_err(|source| StoreError::Decompress { path: path.to_owned(), source })?;
        let found = [(layer.digest, Some(finished.digest)), (layer.diff_id, finished.diff_id)];
        for (expected, found) in found {
            if let (Some(expected), Some(found)) = (expected, found)
                && expected != found
            {
                let source = OciError::Mismatch { name: layer.name, expected, found };
                return Err(StoreError::Oci { path: path.to_owned(), source });
            }
        }
    }
    ticker.tick();
    let (notes, size_bytes) =
        writer.finish().map_err(|source| StoreError::Unpack { path: path.to_owned(), source })?;
    Ok(Built { digest: image.digest, config: image.config, notes, size_bytes })
}
