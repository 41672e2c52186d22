//! Which blocks of a file hold anything but zeros.
//!
//! Holes are found by content, so that the same bytes give the same image whatever the
//! host's file system; where the host knows of holes, they are stepped over unread.

use super::{BLOCK, BLOCK_SIZE};
use crate::tree::{Content, ContentReader};
use rustix::fs::SeekFrom;
use rustix::io::Errno;
use std::io;

/// Files below this size are stored whole: looking would cost more than a hole saves.
pub(super) const SCANNED_FROM: u64 = 64 << 10;

/// Neighbouring blocks of data in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    pub first: u32,
    pub blocks: u32,
}

/// Appends the runs of blocks of `content` that are not all zero to `runs`. `buffer` is
/// scratch space of whole blocks. Content must have less than 2^32 blocks.
pub(super) fn find(content: &Content, runs: &mut Vec<Run>, buffer: &mut [u8]) -> io::Result<()> {
    let start = runs.len();
    let reader = content.open()?;
    let length = content.len();
    check_length(&reader)?;
    let mut position = 0;
    while let Some(data) = next_data(&reader, position, length)? {
        position = data / BLOCK_SIZE * BLOCK_SIZE;
        let count = (length - position).min(buffer.len() as u64) as usize;
        let bytes = &mut buffer[..count];
        reader.read_exact_at(bytes, position)?;
        for (block, bytes) in bytes.chunks(BLOCK).enumerate() {
            if is_zero(bytes) {
                continue;
            }
            let block = (position / BLOCK_SIZE) as u32 + block as u32;
            match runs[start..].last_mut() {
                Some(run) if run.first + run.blocks == block => run.blocks += 1,
                _ => runs.push(Run { first: block, blocks: 1 }),
            }
        }
        position += count as u64;
    }
    Ok(())
}

/// A file that ends within its slice would otherwise look as if it ended in a hole.
fn check_length(reader: &ContentReader<'_>) -> io::Result<()> {
    let ContentReader::Slice { file, offset, length } = reader else { return Ok(()) };
    let metadata = file.metadata()?;
    let whole = offset.checked_add(*length).is_some_and(|end| end <= metadata.len());
    if metadata.is_file() && !whole { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}

/// The first position from `position` on that the host does not call a hole; `None` at the end.
fn next_data(reader: &ContentReader<'_>, position: u64, length: u64) -> io::Result<Option<u64>> {
    if position >= length {
        return Ok(None);
    }
    let ContentReader::Slice { file, offset, .. } = reader else { return Ok(Some(position)) };
    match rustix::fs::seek(file, SeekFrom::Data(offset + position)) {
        Ok(data) => Ok(Some(data.saturating_sub(*offset)).filter(|&data| data < length)),
        // No data from here to the end of the file.
        Err(Errno::NXIO) => Ok(None),
        // The host's file system, or a pipe-like file, cannot say.
        Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::SPIPE) => Ok(Some(position)),
        Err(error) => Err(error.into()),
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    // Most blocks differ in their first bytes; the rest is compared in words.
    let (words, rest) = bytes.as_chunks::<16>();
    words.iter().all(|word| u128::from_ne_bytes(*word) == 0) && rest.iter().all(|&byte| byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::fs::FileExt;
    use std::sync::Arc;

    fn runs(content: &Content) -> Vec<(u32, u32)> {
        let mut runs = Vec::new();
        find(content, &mut runs, &mut vec![0; 8 * BLOCK]).unwrap();
        runs.into_iter().map(|run| (run.first, run.blocks)).collect()
    }

    #[test]
    fn holes_are_the_same_in_memory_written_and_sought_over() {
        let mut bytes = vec![0; 40 * BLOCK + 7];
        for (block, value) in [(0, 1), (1, 1), (9, 2), (31, 3), (40, 4)] {
            bytes[block * BLOCK + 5] = value;
        }
        let written = tempfile::NamedTempFile::new().unwrap();
        written.as_file().write_all(&[&[9; 100][..], &bytes].concat()).unwrap();
        let sparse = tempfile::NamedTempFile::new().unwrap();
        sparse.as_file().set_len(bytes.len() as u64).unwrap();
        for block in [0, 1, 9, 31, 40] {
            let end = bytes.len().min((block + 1) * BLOCK);
            sparse.as_file().write_all_at(&bytes[block * BLOCK..end], (block * BLOCK) as u64).unwrap();
        }
        let length = bytes.len() as u64;
        let slice = |path: &std::path::Path, offset| Content::Slice { path: Arc::from(path), offset, length };
        let expected = [(0, 2), (9, 1), (31, 1), (40, 1)];
        assert_eq!(runs(&slice(written.path(), 100)), expected);
        assert_eq!(runs(&slice(sparse.path(), 0)), expected);
        assert_eq!(runs(&Content::bytes(bytes)), expected);
    }

    #[test]
    fn a_file_of_holes_alone_has_no_run() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(4 << 30).unwrap();
        let length = 4 << 30;
        assert_eq!(runs(&Content::Slice { path: Arc::from(file.path()), offset: 0, length }), []);
        let beyond = Content::Slice { path: Arc::from(file.path()), offset: 1, length };
        let error = find(&beyond, &mut Vec::new(), &mut [0; BLOCK]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
