//! Single files of a slot, for what must know an image's content.

use super::error::{EntryProblem, InspectError};
use super::image::OpenImage;
use super::volume::Volume;

/// Longest file that is read, in bytes.
const FILE_MAX: u64 = 16 << 20;

/// The files of an image's first slot that is not empty.
pub struct Files(Volume);

impl Files {
    /// Opens the slot.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub fn open(image: &OpenImage) -> Result<Self, InspectError> {
        Ok(Self(Volume::open(image, image.choose(None)?)?))
    }

    /// A file's bytes, links followed; `None` when there is no such file.
    ///
    /// # Errors
    /// It cannot be read, or is larger than 16 MiB.
    pub fn read(&self, path: &str) -> Result<Option<Vec<u8>>, InspectError> {
        let node = match self.0.resolve(path.as_bytes(), true) {
            Err(InspectError::Entry { problem: EntryProblem::NotFound, .. }) => return Ok(None),
            other => other?,
        };
        if node.size > FILE_MAX {
            let problem = EntryProblem::ContentTooLarge { bytes: node.size, limit: FILE_MAX };
            return Err(self.0.problem(&node.path, problem));
        }
        let mut bytes = Vec::new();
        let mut content = self.0.open_file(&node)?;
        let mut chunk = vec![0; 64 << 10];
        loop {
            match content.read(&mut chunk)? {
                0 => return Ok(Some(bytes)),
                count => bytes.extend(&chunk[..count]),
            }
        }
    }

    /// Whether there is a file that may be executed.
    pub fn is_program(&self, path: &str) -> bool {
        self.0.resolve(path.as_bytes(), true).is_ok_and(|node| {
            let mode = node.unix.map_or(0, |unix| unix.mode);
            node.kind == super::volume::Kind::File && mode & 0o111 != 0
        })
    }
}
