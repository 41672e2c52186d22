//! Out of the store again: what an overlay's upper folder changed, and trees as tar or OCI layout.
//!
//! Nothing is mounted: lower and upper are walked side by side as overlayfs would merge them
//! (Documentation/filesystems/overlayfs), with whiteouts as 0:0 devices or in `user.overlay.*`
//! and `trusted.overlay.*` attributes.

mod layout;
mod merge;
mod write;

pub use layout::write_layout;
pub use write::Owners;

use merge::{Event, Merge};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A tree, or one over another.
#[derive(Debug, Clone, Copy)]
pub struct Overlay<'p> {
    /// An image's tree.
    pub lower: &'p Path,
    /// What a session changed, if there is one.
    pub upper: Option<&'p Path>,
}

/// How a path differs from the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    /// The image has none.
    Added,
    /// Another content, kind, owner or mode; of folders, what is in them does not count.
    Changed,
    /// The image has it; of a folder, all below is gone too and not listed.
    Removed,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// From the root, without a leading slash.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: ChangeKind,
}

/// Why a tree cannot be told or written.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The system refused.
    #[error("{what} `{path}`: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// With which path of the tree.
        path: String,
        /// Its answer.
        source: io::Error,
    },
    /// The output broke.
    #[error("cannot write {}: {source}", path.display())]
    Output {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The overlay was mounted with features that hide where content is.
    #[error("`{path}` is a folder or file that overlayfs redirects ({attribute})")]
    Redirected {
        /// Of the entry.
        path: String,
        /// The attribute that says so.
        attribute: &'static str,
    },
    /// More folders above one another than there are descriptors.
    #[error("`{path}` is more than {limit} folders deep")]
    TooDeep {
        /// Of the folder.
        path: String,
        /// The limit.
        limit: usize,
    },
}

impl CommitError {
    /// What a person can try.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Redirected { .. } => Some("mount the overlay with redirect_dir=off,metacopy=off"),
            Self::Output { .. } => Some("nothing was left of it; write it where there is room"),
            _ => None,
        }
    }
}

impl Overlay<'_> {
    /// What the upper folder changed, sorted by path.
    ///
    /// # Errors
    /// A folder cannot be read, or is redirected.
    pub fn diff(&self) -> Result<Vec<Change>, CommitError> {
        let mut changes = Vec::new();
        Merge::of(self)?.walk(&mut |event| {
            let (path, kind) = match event {
                Event::Lower(_) | Event::Opaque(_) => return Ok(()),
                Event::Removed(path) => (path, ChangeKind::Removed),
                Event::Upper(node, None) => (node.path, ChangeKind::Added),
                Event::Upper(node, Some(below)) => {
                    if node.is_same(&below)? {
                        return Ok(());
                    }
                    (node.path, ChangeKind::Changed)
                }
            };
            // The root itself is neither new nor gone.
            if !path.is_empty() {
                changes.push(Change { path: path.to_vec(), kind });
            }
            Ok(())
        })?;
        changes.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(changes)
    }

    /// Writes the merged tree as a tar archive. Gives back `out`.
    ///
    /// # Errors
    /// A file cannot be read, or `out` not be written.
    pub fn write_tar<W: Write>(&self, out: W, owners: Owners) -> Result<W, CommitError> {
        let mut writer = write::TarWriter::new(out, owners);
        Merge::of(self)?.walk(&mut |event| match event {
            Event::Lower(node) | Event::Upper(node, _) => writer.add(&node),
            Event::Removed(_) | Event::Opaque(_) => Ok(()),
        })?;
        writer.finish()
    }

    /// Writes what the upper folder has as an OCI layer over the lower one, whiteouts as `.wh.`
    /// files (OCI image specification, "Layers"). Gives back `out`.
    ///
    /// # Errors
    /// As [`Overlay::write_tar`].
    pub fn write_layer<W: Write>(&self, out: W, owners: Owners) -> Result<W, CommitError> {
        let mut writer = write::TarWriter::new(out, owners);
        Merge::of(self)?.walk(&mut |event| match event {
            Event::Lower(_) => Ok(()),
            Event::Upper(node, _) => writer.add(&node),
            Event::Removed(path) => writer.whiteout(path),
            Event::Opaque(path) => writer.whiteout(&[path, b"/.wh..opq"].concat()),
        })?;
        writer.finish()
    }
}
