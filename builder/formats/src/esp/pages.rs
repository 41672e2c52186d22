//! A device in memory that keeps only the pages that are not zero.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom, Write};

use crate::read_at::ReadAt;
use crate::stream::{ImageSink, sought};

pub(super) const PAGE_SIZE: usize = 4096;
const PAGE: u64 = PAGE_SIZE as u64;

/// Pages by their number. The device's size is a multiple of theirs.
pub(super) struct Pages {
    by_number: BTreeMap<u64, Box<[u8; PAGE_SIZE]>>,
    size: u64,
    position: u64,
}

impl Pages {
    pub(super) fn new(size: u64) -> Self {
        Self { by_number: BTreeMap::new(), size, position: 0 }
    }

    /// Reads and writes from the first byte on again.
    pub(super) fn rewind(&mut self) {
        self.position = 0;
    }

    /// Overwrites bytes that lie within one page.
    pub(super) fn put(&mut self, offset: u64, bytes: &[u8]) {
        let at = (offset % PAGE) as usize;
        let zero = bytes.iter().all(|byte| *byte == 0);
        if zero && !self.by_number.contains_key(&(offset / PAGE)) {
            return;
        }
        let page = self.by_number.entry(offset / PAGE).or_insert_with(|| Box::new([0; PAGE_SIZE]));
        page[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// Streams the bytes from `start` to `end`.
    pub(super) fn write(&self, start: u64, end: u64, sink: &mut dyn ImageSink) -> io::Result<()> {
        let mut position = start;
        for (number, page) in self.by_number.range(start / PAGE..end.div_ceil(PAGE)) {
            let (from, to) = (start.max(number * PAGE), end.min((number + 1) * PAGE));
            if from > position {
                sink.zeros(from - position)?;
            }
            sink.write(&page[(from - number * PAGE) as usize..(to - number * PAGE) as usize])?;
            position = to;
        }
        if end > position { sink.zeros(end - position) } else { Ok(()) }
    }

    /// How much of `wanted` bytes at `offset` lies in one page of the device.
    fn within_page(&self, offset: u64, wanted: usize) -> usize {
        let left = self.size.saturating_sub(offset).min(PAGE - offset % PAGE);
        left.min(wanted as u64) as usize
    }
}

impl ReadAt for Pages {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let (mut buffer, mut offset) = (buffer, offset);
        while !buffer.is_empty() {
            let length = self.within_page(offset, buffer.len());
            if length == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let (now, rest) = buffer.split_at_mut(length);
            let at = (offset % PAGE) as usize;
            match self.by_number.get(&(offset / PAGE)) {
                Some(page) => now.copy_from_slice(&page[at..at + length]),
                None => now.fill(0),
            }
            buffer = rest;
            offset += length as u64;
        }
        Ok(())
    }

    fn size(&self) -> u64 {
        self.size
    }
}

impl Read for Pages {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.within_page(self.position, buffer.len());
        self.read_exact_at(&mut buffer[..length], self.position)?;
        self.position += length as u64;
        Ok(length)
    }
}

impl Write for Pages {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.within_page(self.position, bytes.len());
        self.put(self.position, &bytes[..length]);
        self.position += length as u64;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Pages {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.position = sought(to, self.position, self.size)?;
        Ok(self.position)
    }
}
