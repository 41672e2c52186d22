//! The folder of the journal: names of segments, and how much of them is kept.

use crate::segment::{Segment, SegmentError};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the appliance keeps it.
pub const FOLDER: &str = "/var/log/journal";

const SUFFIX: &str = ".seg";

/// The name of a segment: the number of its first entry.
pub(crate) fn name(first_sequence: u64) -> String {
    format!("{first_sequence:016x}{SUFFIX}")
}

/// The segments of a journal, oldest first; none if there is no such folder. A file is a
/// journal of one segment.
///
/// # Errors
/// The folder cannot be read.
pub fn segments(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let listed = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(vec![folder.to_owned()]),
        listed => listed?,
    };
    let mut found = Vec::new();
    for entry in listed {
        let entry = entry?;
        let number = entry.file_name().into_string().ok().and_then(|name| sequence_of(&name));
        found.extend(number.map(|number| (number, entry.path())));
    }
    found.sort_unstable();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

pub(crate) fn sequence_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX).filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok()
}

/// Opens a segment of a folder.
///
/// # Errors
/// See [`SegmentError`].
pub fn open(path: &Path) -> Result<Segment<File>, SegmentError> {
    Segment::open(File::open(path)?)
}

/// Bytes that the segments take.
///
/// # Errors
/// The folder cannot be read.
pub fn disk_usage(folder: &Path) -> io::Result<u64> {
    Ok(segments(folder)?.iter().filter_map(|path| fs::metadata(path).ok()).map(|meta| meta.len()).sum())
}

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all segments together, the open one counted as full.
    pub use_bytes: u64,
    /// Bytes of the file system that stay free.
    pub keep_free_bytes: u64,
    /// A segment that reaches this size is closed.
    pub segment_bytes: u64,
    /// Segments kept.
    pub segments: usize,
    /// Segments whose newest entry is older are removed.
    pub retention: Option<Duration>,
}

impl Limits {
    /// For a file system of this size: a tenth of it, at most 1 GiB, in segments of an eighth of
    /// that, at most 8 MiB; a twentieth stays free, at most 1 GiB.
    pub fn of(file_system_bytes: u64) -> Self {
        let use_bytes = (file_system_bytes / 10).clamp(2 << 20, 1 << 30);
        Self {
            use_bytes,
            keep_free_bytes: (file_system_bytes / 20).min(1 << 30),
            segment_bytes: (use_bytes / 8).clamp(256 << 10, 8 << 20),
            segments: 256,
            retention: None,
        }
    }
}

/// Size and free bytes of the file system of a folder.
pub(crate) fn file_system(folder: &Path) -> Option<(u64, u64)> {
    let found = nix::sys::statvfs::statvfs(folder).ok()?;
    let unit = found.fragment_size();
    Some((found.blocks().saturating_mul(unit), found.blocks_available().saturating_mul(unit)))
}

/// What the removal of old segments decides on: of each closed segment, oldest first, its bytes
/// and the time of its newest entry.
pub(crate) fn surplus(closed: &[(u64, u64)], free: u64, now_us: u64, limits: &Limits) -> usize {
    let mut used: u64 = closed.iter().map(|(bytes, _)| bytes).sum::<u64>() + limits.segment_bytes;
    let mut free = free;
    let mut removed = 0;
    for (bytes, newest_us) in closed {
        let old = limits
            .retention
            .is_some_and(|most| Duration::from_micros(now_us.saturating_sub(*newest_us)) > most);
        let many = closed.len() - removed + 1 > limits.segments;
        if !(old || many || used > limits.use_bytes || free < limits.keep_free_bytes) {
            break;
        }
        used -= bytes;
        free += bytes;
        removed += 1;
    }
    removed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_surplus() {
        assert_eq!(sequence_of(&name(255)), Some(255));
        assert_eq!((sequence_of("ff.seg"), sequence_of("00000000000000ff.seg.bad")), (None, None));
        let limits = Limits {
            use_bytes: 100,
            keep_free_bytes: 20,
            segment_bytes: 10,
            segments: 5,
            retention: Some(Duration::from_mins(1)),
        };
        let now = 100_000_000;
        let of = |closed: &[(u64, u64)], free| surplus(closed, free, now, &limits);
        assert_eq!(of(&[(40, now), (40, now)], 20), 0);
        assert_eq!(of(&[(40, now), (51, now)], 20), 1, "bytes");
        assert_eq!(of(&[(10, now), (10, now)], 5), 2, "free");
        assert_eq!(of(&[(1, now); 5], 20), 1, "number");
        assert_eq!(of(&[(1, 1), (1, 2), (1, now)], 20), 2, "age");
        assert_eq!(of(&[], 0), 0);
    }
}
