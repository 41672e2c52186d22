//! Segments and records (docs/FORMATS.md, "The store's log"). All numbers are little-endian.

use crate::entry::{Entry, LogId, State, Vote};
use bytes::Bytes;

/// The first bytes of each segment.
pub const MAGIC: [u8; 8] = *b"SLIPKVL1";
/// The format that this version writes, and the latest that it reads.
pub const VERSION: u32 = 1;
/// Bytes of a segment's header.
pub const HEADER: u64 = 64;
/// Bytes of a record before its payload.
pub const HEAD: u64 = 24;
/// Where records begin, and what their length is a multiple of.
pub const ALIGN: u64 = 8;
/// Bytes of an entry's payload before what the caller gave.
pub const ENTRY_HEAD: u64 = 24;
/// Bytes of a `State` record's payload.
pub const STATE: u64 = 96;
/// The smallest and the largest segment.
pub const SEGMENT: std::ops::RangeInclusive<u64> = 1024..=1 << 30;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// An entry.
    Entry = 1,
    /// Vote, marks and last entry, all as they are from here on.
    State = 2,
    /// The last entry that is committed.
    Committed = 3,
    /// Nothing: it shows that all before it is on the disk.
    Seal = 4,
}

/// A segment's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The cluster whose log it is.
    pub cluster: u64,
    /// The segment's place in the row, from 1.
    pub sequence: u64,
    /// The index that was due when it was made.
    pub first_index: u64,
    /// The checksum of the last record of the segment before; zero in the first.
    pub previous: u32,
    /// Where the records of the segment before end; zero in the first.
    pub previous_end: u32,
}

/// What a header is when it is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadHeader {
    /// Other bytes.
    Damaged,
    /// A later format.
    Future(u32),
}

impl Header {
    /// The header's bytes.
    pub fn encode(&self) -> [u8; HEADER as usize] {
        let mut bytes = [0; HEADER as usize];
        bytes[..0x08].copy_from_slice(&MAGIC);
        bytes[0x08..0x0c].copy_from_slice(&VERSION.to_le_bytes());
        bytes[0x10..0x18].copy_from_slice(&self.cluster.to_le_bytes());
        bytes[0x18..0x20].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[0x20..0x28].copy_from_slice(&self.first_index.to_le_bytes());
        bytes[0x28..0x2c].copy_from_slice(&self.previous.to_le_bytes());
        bytes[0x2c..0x30].copy_from_slice(&self.previous_end.to_le_bytes());
        let sum = crc32c::crc32c(&bytes[..0x3c]);
        bytes[0x3c..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// Reads a header.
    ///
    /// # Errors
    /// The bytes are no header, or one of a later format.
    pub fn parse(bytes: &[u8; HEADER as usize]) -> Result<Self, BadHeader> {
        if bytes[..0x08] != MAGIC || crc32c::crc32c(&bytes[..0x3c]) != u32_at(bytes, 0x3c) {
            return Err(BadHeader::Damaged);
        }
        match u32_at(bytes, 0x08) {
            VERSION => {}
            0 => return Err(BadHeader::Damaged),
            later => return Err(BadHeader::Future(later)),
        }
        Ok(Self {
            cluster: u64_at(bytes, 0x10),
            sequence: u64_at(bytes, 0x18),
            first_index: u64_at(bytes, 0x20),
            previous: u32_at(bytes, 0x28),
            previous_end: u32_at(bytes, 0x2c),
        })
    }

    /// The name of the segment's file.
    pub fn name(&self) -> String {
        format!("{:016x}-{:016x}.log", self.sequence, self.first_index)
    }
}

/// Sequence and first index of a segment's name; none when it is another file's.
pub fn parse_name(name: &str) -> Option<(u64, u64)> {
    let (sequence, index) = name.strip_suffix(".log")?.split_once('-')?;
    let number = |text: &str| {
        let plain =
            text.len() == 16 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        plain.then(|| u64::from_str_radix(text, 16).ok()).flatten()
    };
    Some((number(sequence)?, number(index)?))
}

/// What the checksums of a segment's records begin with, so that none passes in another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(u32);

impl Seed {
    /// The seed of a segment of a cluster.
    pub fn new(cluster: u64, sequence: u64) -> Self {
        Self(crc32c::crc32c_append(crc32c::crc32c(&cluster.to_le_bytes()), &sequence.to_le_bytes()))
    }

    fn at(self, offset: u64) -> u32 {
        crc32c::crc32c_append(self.0, &offset.to_le_bytes())
    }
}

/// The head of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// What it is.
    pub kind: Kind,
    /// Bytes of payload, without the padding.
    pub length: u32,
    /// The checksum of the record before.
    pub previous: u32,
    /// Where the record's group begins: all before that was on the disk when this was written.
    pub group: u32,
    /// The record's own checksum.
    pub sum: u32,
}

impl Head {
    /// Reads the head at an offset of a segment; none when the bytes are no head of that place.
    pub fn parse(bytes: &[u8], seed: Seed, offset: u64) -> Option<Self> {
        let bytes = bytes.get(..HEAD as usize)?;
        let kind = match bytes[0x04] {
            1 => Kind::Entry,
            2 => Kind::State,
            3 => Kind::Committed,
            4 => Kind::Seal,
            _ => return None,
        };
        let fits = crc32c::crc32c_append(seed.at(offset), &bytes[..0x10]) == u32_at(bytes, 0x10);
        let group = u32_at(bytes, 0x0c);
        (fits && bytes[0x05..0x08] == [0; 3] && u64::from(group) >= HEADER && u64::from(group) <= offset)
            .then(|| Self {
                kind,
                length: u32_at(bytes, 0x00),
                previous: u32_at(bytes, 0x08),
                group,
                sum: u32_at(bytes, 0x14),
            })
    }

    /// Bytes of the whole record, with head and padding.
    pub fn span(&self) -> u64 {
        HEAD + u64::from(self.length).next_multiple_of(ALIGN)
    }

    /// Whether the whole record, head to padding, has the checksum that the head names.
    pub fn holds(&self, record: &[u8], seed: Seed, offset: u64) -> bool {
        record.len() as u64 == self.span() && sum_of(record, seed, offset) == self.sum
    }
}

/// The checksum of a record: its place, its head without the checksum, payload and padding.
fn sum_of(record: &[u8], seed: Seed, offset: u64) -> u32 {
    let (head, rest) = record.split_at(0x14);
    crc32c::crc32c_append(crc32c::crc32c_append(seed.at(offset), head), &rest[4..])
}

/// Adds a record to a buffer, and gives its checksum. `offset` is its place in the segment.
pub fn append(
    buffer: &mut Vec<u8>,
    seed: Seed,
    offset: u64,
    kind: Kind,
    previous: u32,
    group: u32,
    payload: [&[u8]; 2],
) -> u32 {
    let start = buffer.len();
    let length = payload[0].len() + payload[1].len();
    buffer.extend((length as u32).to_le_bytes());
    buffer.extend([kind as u8, 0, 0, 0]);
    buffer.extend(previous.to_le_bytes());
    buffer.extend(group.to_le_bytes());
    let head_sum = crc32c::crc32c_append(seed.at(offset), &buffer[start..]);
    buffer.extend(head_sum.to_le_bytes());
    buffer.extend([0; 4]);
    buffer.extend(payload[0]);
    buffer.extend(payload[1]);
    buffer.resize(start + HEAD as usize + length.next_multiple_of(ALIGN as usize), 0);
    let sum = sum_of(&buffer[start..], seed, offset);
    buffer[start + 0x14..start + 0x18].copy_from_slice(&sum.to_le_bytes());
    sum
}

/// Bytes that a record with such a payload takes.
pub fn span(payload: u64) -> u64 {
    HEAD + payload.next_multiple_of(ALIGN)
}

/// A log id's bytes: term, node, index.
pub fn encode_id(id: LogId) -> [u8; 24] {
    let mut bytes = [0; 24];
    bytes[..8].copy_from_slice(&id.term.to_le_bytes());
    bytes[8..16].copy_from_slice(&id.node.to_le_bytes());
    bytes[16..].copy_from_slice(&id.index.to_le_bytes());
    bytes
}

/// Reads a log id; none when it is cut short, or its index is the highest, behind which none fits.
pub fn parse_id(bytes: &[u8]) -> Option<LogId> {
    let bytes = bytes.get(..24)?;
    let id = LogId { term: u64_at(bytes, 0), node: u64_at(bytes, 8), index: u64_at(bytes, 16) };
    (id.index < u64::MAX).then_some(id)
}

/// Reads an entry's payload.
pub fn parse_entry(payload: &[u8]) -> Option<Entry> {
    let id = parse_id(payload)?;
    Some(Entry { id, payload: Bytes::copy_from_slice(payload.get(ENTRY_HEAD as usize..)?) })
}

/// A `State` record's payload.
pub fn encode_state(state: &State) -> [u8; STATE as usize] {
    let mut bytes = [0; STATE as usize];
    let mut flags = 0_u32;
    if let Some(vote) = state.vote {
        flags |= 1 | (u32::from(vote.committed) << 1);
        bytes[0x08..0x10].copy_from_slice(&vote.term.to_le_bytes());
        bytes[0x10..0x18].copy_from_slice(&vote.node.to_le_bytes());
    }
    for (place, id) in [state.committed, state.purged, state.last].into_iter().enumerate() {
        if let Some(id) = id {
            flags |= 4 << place;
            bytes[0x18 + 24 * place..][..24].copy_from_slice(&encode_id(id));
        }
    }
    bytes[..4].copy_from_slice(&flags.to_le_bytes());
    bytes
}

/// Reads a `State` record's payload.
pub fn parse_state(payload: &[u8]) -> Option<State> {
    let bytes: &[u8; STATE as usize] = payload.try_into().ok()?;
    let flags = u32_at(bytes, 0);
    let id = |place: usize| match flags & (4 << place) {
        0 => Some(None),
        _ => parse_id(&bytes[0x18 + 24 * place..]).map(Some),
    };
    let vote = Vote { term: u64_at(bytes, 0x08), node: u64_at(bytes, 0x10), committed: flags & 2 != 0 };
    let state =
        State { vote: (flags & 1 != 0).then_some(vote), committed: id(0)?, purged: id(1)?, last: id(2)? };
    (flags < 32 && state.after_purged() <= state.next()).then_some(state)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}
