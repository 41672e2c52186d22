//! Walking over the records of a segment, past damage.

use super::record::{ALIGN, HEAD, Head, Kind};
use std::ops::Range;

/// What a scan meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// A good record.
    Record {
        /// Its place in the segment.
        offset: u32,
        /// What it is.
        kind: Kind,
        /// Its payload.
        payload: &'a [u8],
    },
    /// Bytes that are no record.
    Damage(Damage),
}

/// Bytes of a segment that are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Where they begin.
    pub offset: u32,
    /// How many they are.
    pub bytes: u32,
    /// Nothing good comes after them: what a power cut leaves, or what is being written now.
    pub at_end: bool,
}

/// The records in `bytes`, which stand at `base` in the segment.
///
/// Behind damage, the next good record is looked for. Lengths in damaged bytes may make that
/// slow, so it ends once eight times the bytes were summed.
#[derive(Debug)]
pub struct Scan<'a> {
    bytes: &'a [u8],
    base: u32,
    segment: [u8; 16],
    at: usize,
    budget: usize,
}

impl<'a> Scan<'a> {
    /// Begins at the first byte.
    pub fn new(bytes: &'a [u8], base: u32, segment: [u8; 16]) -> Self {
        Self { bytes, base, segment, at: 0, budget: bytes.len().saturating_mul(8) }
    }

    /// The record at a place of the bytes.
    fn record(&mut self, at: usize) -> Option<(Kind, Range<usize>, usize)> {
        let head = Head::parse(self.bytes.get(at..)?)?;
        let range = at + HEAD..at + HEAD + head.length;
        let payload = self.bytes.get(range.clone())?;
        self.budget = self.budget.checked_sub(head.length)?;
        let good = head.proves(&self.segment, self.base + at as u32, payload);
        good.then(|| (head.kind, range, at + head.span()))
    }
}

impl<'a> Iterator for Scan<'a> {
    type Item = Item<'a>;

    fn next(&mut self) -> Option<Item<'a>> {
        if self.at >= self.bytes.len() {
            return None;
        }
        let offset = self.base + self.at as u32;
        if let Some((kind, payload, next)) = self.record(self.at) {
            self.at = next;
            return Some(Item::Record { offset, kind, payload: &self.bytes[payload] });
        }
        let start = self.at;
        let mut next = start + ALIGN;
        while next < self.bytes.len() && self.record(next).is_none() {
            next += ALIGN;
        }
        self.at = next.min(self.bytes.len());
        let bytes = (self.at - start) as u32;
        Some(Item::Damage(Damage { offset, bytes, at_end: self.at >= self.bytes.len() }))
    }
}
