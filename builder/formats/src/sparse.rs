//! Which parts of a file have bytes at all.

use std::fs::File;
use std::io;
use std::ops::Range;

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

/// The ranges of a file that its file system has bytes for, ascending; all else is zero.
/// How fine they are is the file system's affair: use them to read less, never to decide
/// what an output looks like. Moves the file's cursor.
///
/// # Errors
/// The file cannot be sought.
pub fn data_ranges(file: &File) -> io::Result<Vec<Range<u64>>> {
    let size = file.metadata()?.len();
    let mut ranges = Vec::new();
    let mut position = 0;
    while position < size {
        let start = match seek(file, SeekFrom::Data(position)) {
            Ok(start) => start,
            // No data up to the end.
            Err(Errno::NXIO) => break,
            Err(error) => return Err(error.into()),
        };
        position = seek(file, SeekFrom::Hole(start))?;
        ranges.push(start..position.min(size));
    }
    Ok(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    #[test]
    fn ranges_cover_all_that_is_not_zero() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(data_ranges(&file).unwrap(), []);
        file.set_len(10 << 20).unwrap();
        for at in [3 << 20, (7 << 20) + 5] {
            file.write_all_at(&[1; 10], at).unwrap();
        }
        let ranges = data_ranges(&file).unwrap();
        for at in [3 << 20, (7 << 20) + 5] {
            assert!(ranges.iter().any(|range| range.contains(&at) && range.end >= at + 10), "{ranges:?}");
        }
        assert!(ranges.windows(2).all(|pair| pair[0].end <= pair[1].start));
    }
}
