//! Reading a sparse file from start to end without asking the kernel for its holes' zeros.

use formats::sparse::data_ranges;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

/// Reads a whole file by position; its holes are filled with zeros here.
#[derive(Debug)]
pub struct SparseReader<'a> {
    file: &'a File,
    /// Ranges with data that are not wholly read yet, the next one last.
    ranges: Vec<Range<u64>>,
    position: u64,
    length: u64,
}

impl<'a> SparseReader<'a> {
    /// A reader over an open file.
    ///
    /// # Errors
    /// The file cannot be asked for its holes.
    pub fn new(file: &'a File) -> io::Result<Self> {
        let mut ranges = data_ranges(file)?;
        ranges.reverse();
        Ok(Self { file, ranges, position: 0, length: file.metadata()?.len() })
    }
}

impl Read for SparseReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.ranges.last().is_some_and(|range| range.end <= self.position) {
            self.ranges.pop();
        }
        let next = self.ranges.last().cloned().unwrap_or(self.length..self.length);
        let (data, end) = if next.start <= self.position { (true, next.end) } else { (false, next.start) };
        let count = usize::try_from(end - self.position).unwrap_or(usize::MAX).min(buffer.len());
        let buffer = &mut buffer[..count];
        if data {
            self.file.read_exact_at(buffer, self.position)?;
        } else {
            buffer.fill(0);
        }
        self.position += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_read_as_zeros() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(3 << 20).unwrap();
        file.write_all_at(b"middle", 1 << 20).unwrap();
        file.write_all_at(b"end", (3 << 20) - 3).unwrap();
        let mut plain = vec![0; 3 << 20];
        file.read_exact_at(&mut plain, 0).unwrap();
        let mut read = Vec::new();
        SparseReader::new(&file).unwrap().read_to_end(&mut read).unwrap();
        assert!(read == plain);
        let empty = tempfile::tempfile().unwrap();
        assert_eq!(SparseReader::new(&empty).unwrap().read(&mut [0; 8]).unwrap(), 0);
    }
}
