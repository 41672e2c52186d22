//! Reading segments: through a window, so that neighbours cost one read of the disk.

use crate::disk::DiskFile;
use crate::entry::Entry;
use crate::error::Error;
use crate::format::{HEAD, Head, Kind, Seed, parse_entry};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes that one read of the disk takes at least.
const WINDOW: u64 = 256 << 10;

/// An open segment.
pub struct Segment<F> {
    pub file: F,
    pub path: PathBuf,
    pub sequence: u64,
    pub seed: Seed,
    pub size: u64,
}

impl<F> Segment<F> {
    /// The error for bytes of it that are not what was written.
    pub fn damaged(&self, offset: u64, why: impl Into<String>) -> Error {
        Error::Damaged { path: self.path.clone(), offset, why: why.into() }
    }
}

/// An I/O error of reading.
pub fn io(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    move |source| Error::Io { what, path: path.to_owned(), source: Arc::new(source) }
}

/// A part of a segment in memory.
pub struct Window<'a, F> {
    segment: &'a Segment<F>,
    start: u64,
    buffer: Vec<u8>,
}

impl<'a, F: DiskFile> Window<'a, F> {
    pub fn new(segment: &'a Segment<F>) -> Self {
        Self { segment, start: 0, buffer: Vec::new() }
    }

    /// Bytes at an offset: as many as asked for, or up to the segment's end.
    pub fn get(&mut self, offset: u64, length: u64) -> Result<&[u8], Error> {
        let end = offset.saturating_add(length).min(self.segment.size).max(offset);
        if offset < self.start || end > self.start + self.buffer.len() as u64 {
            let until = end.max(offset.saturating_add(WINDOW)).min(self.segment.size).max(offset);
            self.buffer.resize((until - offset) as usize, 0);
            let read = self.segment.file.read_exact_at(&mut self.buffer, offset);
            self.start = offset;
            if read.is_err() {
                self.buffer.clear();
            }
            read.map_err(io("read", &self.segment.path))?;
        }
        let from = (offset - self.start) as usize;
        Ok(&self.buffer[from..from + (end - offset) as usize])
    }

    /// The entry whose record is at an offset, checked.
    pub fn entry(&mut self, offset: u64, index: u64) -> Result<Entry, Error> {
        let segment = self.segment;
        let lost = || segment.damaged(offset, format!("entry {index} is not what was written"));
        let head = Head::parse(self.get(offset, HEAD)?, segment.seed, offset).ok_or_else(lost)?;
        let record = self.get(offset, head.span())?;
        if head.kind != Kind::Entry || !head.holds(record, segment.seed, offset) {
            return Err(lost());
        }
        let payload = &record[HEAD as usize..][..head.length as usize];
        parse_entry(payload).filter(|entry| entry.id.index == index).ok_or_else(lost)
    }
}
