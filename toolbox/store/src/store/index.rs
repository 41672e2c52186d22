//! Which image a file is: found by stat(2), so that a known file is not read again.

use super::image::ImageId;
use super::lock;
use crate::digest::Digest;
use serde::{Deserialize, Serialize};
use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Clocks of file systems go in steps: a file may change again without a change of its times.
const STEP: Duration = Duration::from_millis(50);
/// Of those without fractions of a second.
const COARSE_STEP: Duration = Duration::from_millis(2100);

/// The identity of a file at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    mtime: (i64, i64),
    ctime: (i64, i64),
}

impl Identity {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            mtime: (metadata.mtime(), metadata.mtime_nsec()),
            ctime: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether a change at `now` could leave the times as they are.
    pub(crate) fn is_young(&self, now: SystemTime) -> bool {
        let (seconds, nanoseconds) = self.mtime.max(self.ctime);
        let step = if nanoseconds == 0 { COARSE_STEP } else { STEP };
        let seconds = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        let changed = SystemTime::UNIX_EPOCH + seconds + Duration::from_nanos(nanoseconds.unsigned_abs());
        now.duration_since(changed).is_ok_and(|age| age < step) || changed > now
    }

    /// A name for a source: what kind, which files, what of them.
    pub(crate) fn key(kind: &str, paths: &[u8], files: &[Self], detail: &str) -> Digest {
        let text = format!("{kind}\0{detail}\0{files:?}\0");
        Digest::of(&[text.as_bytes(), paths].concat())
    }
}

#[derive(Serialize, Deserialize)]
struct Known {
    id: ImageId,
}

/// One source's place in the index, locked: whoever comes second waits for the first.
pub(crate) struct Slot {
    file: File,
}

impl Slot {
    pub(crate) fn lock(folder: &Path, key: &Digest) -> io::Result<Self> {
        lock::lock_file(&folder.join(key.hex())).map(|file| Self { file })
    }

    /// The image that it was; a torn or foreign record counts as none.
    pub(crate) fn image(&mut self) -> io::Result<Option<ImageId>> {
        read_known(&mut self.file)
    }

    pub(crate) fn set(&mut self, id: &ImageId) -> io::Result<()> {
        let text = serde_json::to_vec(&Known { id: id.clone() }).map_err(io::Error::other)?;
        self.file.rewind()?;
        self.file.set_len(0)?;
        self.file.write_all(&text)
    }
}

/// The image in an index file.
pub(crate) fn read_known(file: &mut File) -> io::Result<Option<ImageId>> {
    let mut text = Vec::new();
    file.rewind()?;
    file.take(4096).read_to_end(&mut text)?;
    Ok(serde_json::from_slice::<Known>(&text).ok().map(|known| known.id))
}
