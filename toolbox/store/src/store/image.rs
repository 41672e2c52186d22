//! What is known of an image.

use crate::digest::Digest;
use crate::tree::{Notes, Ownership};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// The digest of an image's source, and how it was unpacked: a folder's name in the store.
///
/// For archives it is the digest of the stored bytes, for OCI images that of the manifest, for
/// file systems that of all entries in order.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageId(String);

impl ImageId {
    pub(crate) fn new(digest: &Digest, ownership: Ownership, devices: bool) -> Self {
        let own = if ownership == Ownership::Own { "-own" } else { "" };
        let devices = if devices { "-devices" } else { "" };
        Self(format!("{}{own}{devices}", digest.hex()))
    }

    /// Of its text.
    pub fn parse(text: &str) -> Option<Self> {
        let (hex, rest) = text.split_at_checked(64)?;
        Digest::from_hex(hex)?;
        matches!(rest, "" | "-own" | "-devices" | "-own-devices").then(|| Self(text.to_owned()))
    }

    /// The digest that it is made of.
    pub fn digest(&self) -> Option<Digest> {
        Digest::from_hex(self.0.get(..64)?)
    }

    /// Whether an image of this id was unpacked so.
    pub(crate) fn is_for(&self, ownership: Ownership, devices: bool) -> bool {
        self.digest().is_some_and(|digest| Self::new(&digest, ownership, devices) == *self)
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ImageId {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(&self.0)
    }
}

impl TryFrom<String> for ImageId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("no image id")
    }
}

impl From<ImageId> for String {
    fn from(id: ImageId) -> Self {
        id.0
    }
}

/// How a container of the image starts (OCI image specification, "Image Configuration": `config`).
/// Empty for sources that say nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// `NAME=VALUE`
    pub env: Vec<String>,
    /// Program and first arguments.
    pub entrypoint: Vec<String>,
    /// Arguments, or the program where there is no entrypoint.
    pub cmd: Vec<String>,
    /// Where it starts.
    pub working_dir: Option<String>,
    /// `USER`, `UID`, `USER:GROUP` or `UID:GID`.
    pub user: Option<String>,
    /// For people and tools.
    pub labels: BTreeMap<String, String>,
}

/// An image, ready for use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// None of a directory that is used in place.
    pub id: Option<ImageId>,
    /// The root of its files. Nobody may write there.
    pub tree: PathBuf,
    /// How it starts.
    pub config: Config,
    /// Under which it is known, sorted.
    pub names: Vec<String>,
    /// Bytes of its files.
    pub size_bytes: u64,
    /// When it was unpacked, seconds since 1970.
    pub created: u64,
    /// What it came from.
    pub source: String,
    /// What was left out.
    pub notes: Notes,
}

/// `image.json` beside the tree.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) id: ImageId,
    pub(crate) source: String,
    pub(crate) config: Config,
    pub(crate) size_bytes: u64,
    pub(crate) created: u64,
    #[serde(default)]
    pub(crate) notes: Notes,
}
