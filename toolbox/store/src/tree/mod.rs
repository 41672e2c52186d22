//! Making a tree of files from entries that nobody vouches for.
//!
//! [`root`] finds folders below the tree and never leaves it, whatever links the tree has;
//! [`writer`] makes entries there; [`remove`] takes trees away.

mod remove;
mod root;
mod times;
mod writer;

pub use remove::remove;
pub(crate) use remove::remove_entry;
pub use root::{PathError, Root};
pub use writer::{Limits, Notes, Ownership, Policy, UnpackError, Writer};
pub(crate) use writer::{cannot, shown};

/// The parts of a path below the root: leading slashes, `.` and empty parts are dropped.
///
/// # Errors
/// A `..`, a NUL byte, a part or a whole that is longer than a kernel takes, too many parts.
pub(crate) fn parts(path: &[u8], max_depth: usize) -> Result<Vec<&[u8]>, PathError> {
    if path.len() > 4095 {
        return Err(PathError::TooLong(path.len()));
    }
    if path.contains(&0) {
        return Err(PathError::Nul);
    }
    let mut found = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return Err(PathError::Parent),
            part if part.len() > 255 => return Err(PathError::NameTooLong(part.len())),
            part => found.push(part),
        }
    }
    if found.len() > max_depth {
        Err(PathError::TooDeep { depth: found.len(), max_depth })
    } else {
        Ok(found)
    }
}
