//! Segments: the journal's files (docs/FORMATS.md, "Journal segments").
//!
//! A segment is a header and then records, only ever appended to. [`Segment`] reads one, whether
//! it was closed (then its index is at its end), is being written, or was left by a power cut.
//! [`Indexer`] makes the index, for the writer at the end and for readers of an open segment.

mod index;
mod read;
pub mod record;
mod scan;

pub use index::{Chunk, Directory, Indexer};
pub(crate) use read::whole;
pub use read::{Candidates, Segment};
pub use scan::{Damage, Item, Scan};

use record::{u32_at, u64_at};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// The first bytes of a segment.
const MAGIC: [u8; 8] = *b"SLIPJRN1";
/// Bytes of the header; records follow.
pub const HEADER: usize = 64;
/// Bytes of a whole end record: it is the last of a closed segment.
pub const END: usize = record::HEAD + 16;
/// The largest segment read. Offsets are 32 bits and readers hold an open segment in memory.
pub const SIZE_MAX: u64 = 128 << 20;

/// Why a segment cannot be read at all. Damage behind the header is no error: see [`Damage`].
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// The file system's.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is no segment, or its header is damaged or not written whole.
    #[error("no segment header")]
    Header,
    /// Larger than segments are made.
    #[error("{0} bytes are more than a segment may have")]
    Size(u64),
}

/// Bytes that can be read at any place.
pub trait Source {
    /// Reads as much as there is.
    ///
    /// # Errors
    /// read(2).
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Bytes there are now.
    ///
    /// # Errors
    /// stat(2).
    fn size(&self) -> io::Result<u64>;
}

impl Source for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            match FileExt::read_at(self, &mut buffer[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

impl Source for &[u8] {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.get(offset..)).unwrap_or(&[]);
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }
}

/// A segment's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Random; part of each record's checksum.
    pub id: [u8; 16],
    /// The number of its first entry.
    pub first_sequence: u64,
    /// When it was made, microseconds since 1970.
    pub created_us: u64,
}

impl Header {
    /// Its bytes.
    pub fn encode(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..24].copy_from_slice(&self.id);
        bytes[24..32].copy_from_slice(&self.first_sequence.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.created_us.to_le_bytes());
        let sum = crc32c::crc32c(&bytes[..60]);
        bytes[60..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// Reads a header.
    ///
    /// # Errors
    /// [`SegmentError::Header`].
    pub fn parse(bytes: &[u8]) -> Result<Self, SegmentError> {
        let found = bytes.get(..HEADER).and_then(|bytes| {
            (bytes[..8] == MAGIC && u32_at(bytes, 60)? == crc32c::crc32c(&bytes[..60])).then_some(())?;
            Some(Self {
                id: *bytes[8..].first_chunk()?,
                first_sequence: u64_at(bytes, 24)?,
                created_us: u64_at(bytes, 32)?,
            })
        });
        found.ok_or(SegmentError::Header)
    }
}

/// An entry record taken apart, its references not resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawEntry<'a> {
    /// Its number.
    pub sequence: u64,
    /// Wall clock, microseconds since 1970.
    pub realtime_us: u64,
    /// Microseconds since boot.
    pub monotonic_us: u64,
    /// Offsets of fields and sets.
    pub references: Vec<u32>,
    /// Fields that stand in the entry itself.
    pub own: Vec<&'a [u8]>,
}

/// The most references of one entry, and fields of one set; more is damage.
pub const REFERENCES_MAX: usize = 1024;

impl<'a> RawEntry<'a> {
    /// Reads the payload of an entry record; `None` if it is damaged.
    pub fn parse(payload: &'a [u8]) -> Option<Self> {
        let count = u32_at(payload, 24)? as usize;
        let references = (count <= REFERENCES_MAX).then(|| offsets(payload.get(28..28 + 4 * count)?))??;
        let mut rest = &payload[28 + 4 * count..];
        let mut own = Vec::new();
        while !rest.is_empty() {
            let length = u32_at(rest, 0)? as usize;
            let end = length.checked_add(4).filter(|end| *end <= rest.len())?;
            own.push(&rest[4..end]);
            rest = &rest[end..];
        }
        Some(Self {
            sequence: u64_at(payload, 0)?,
            realtime_us: u64_at(payload, 8)?,
            monotonic_us: u64_at(payload, 16)?,
            references,
            own,
        })
    }
}

/// A list of 32 bit numbers.
pub(crate) fn offsets(bytes: &[u8]) -> Option<Vec<u32>> {
    let (numbers, rest) = bytes.as_chunks::<4>();
    rest.is_empty().then(|| numbers.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect())
}
