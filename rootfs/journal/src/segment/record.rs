//! Records: what a segment is made of (docs/FORMATS.md, "Journal segments").
//!
//! Each begins at a multiple of 4 with 12 bytes: mark, kind, length, checksum. The checksum
//! covers kind, length, the record's own offset, the segment's id and the payload, so that
//! neither a damaged nor a misplaced record passes.

/// Bytes before the payload.
pub const HEAD: usize = 12;
/// The first two bytes of each record.
pub const MARK: [u8; 2] = *b"Sj";
/// The largest payload; what is longer is damage.
pub const PAYLOAD_MAX: usize = 16 << 20;
/// Where records begin.
pub const ALIGN: usize = 4;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// `NAME=value`.
    Field = 1,
    /// Offsets of fields that occur together.
    Set = 2,
    /// An entry.
    Entry = 3,
    /// How far the segment was on the disk for certain.
    Synced = 4,
    /// Lists of entries, for the index.
    Postings = 5,
    /// The index.
    Directory = 6,
    /// The end of a segment that was closed.
    End = 7,
}

impl Kind {
    fn from(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Field,
            2 => Self::Set,
            3 => Self::Entry,
            4 => Self::Synced,
            5 => Self::Postings,
            6 => Self::Directory,
            7 => Self::End,
            _ => return None,
        })
    }
}

/// The head of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// What it is.
    pub kind: Kind,
    /// Bytes of payload.
    pub length: usize,
    sum: u32,
}

impl Head {
    /// Reads a head; `None` if there is none.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..HEAD)?;
        let kind = Kind::from(bytes[2]).filter(|_| bytes[..2] == MARK && bytes[3] == 0)?;
        let length = u32_at(bytes, 4)? as usize;
        (length <= PAYLOAD_MAX).then_some(())?;
        Some(Self { kind, length, sum: u32_at(bytes, 8)? })
    }

    /// Bytes from this record's beginning to the next one's.
    pub fn span(&self) -> usize {
        (HEAD + self.length).next_multiple_of(ALIGN)
    }

    /// Whether the payload is the one that was written at this place of this segment.
    pub fn proves(&self, segment: &[u8; 16], offset: u32, payload: &[u8]) -> bool {
        payload.len() == self.length && self.sum == sum(segment, offset, self.kind, payload)
    }
}

fn sum(segment: &[u8; 16], offset: u32, kind: Kind, payload: &[u8]) -> u32 {
    let mut own = [0; 25];
    own[..16].copy_from_slice(segment);
    own[16..20].copy_from_slice(&offset.to_le_bytes());
    own[20] = kind as u8;
    own[21..].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c(&own), payload)
}

/// Appends a record to `out`, whose first byte will be at `base` of the segment; gives the
/// record's offset in the segment.
pub fn append(
    out: &mut Vec<u8>,
    base: u32,
    segment: &[u8; 16],
    kind: Kind,
    fill: impl FnOnce(&mut Vec<u8>),
) -> u32 {
    let start = out.len();
    let offset = base + start as u32;
    out.extend([0; HEAD]);
    fill(out);
    let length = out.len() - start - HEAD;
    let sum = sum(segment, offset, kind, &out[start + HEAD..]);
    let head = &mut out[start..start + HEAD];
    head[..2].copy_from_slice(&MARK);
    head[2] = kind as u8;
    head[4..8].copy_from_slice(&(length as u32).to_le_bytes());
    head[8..].copy_from_slice(&sum.to_le_bytes());
    out.resize(start + (HEAD + length).next_multiple_of(ALIGN), 0);
    offset
}

/// The number at `at`, little-endian.
pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_le_bytes)
}

/// The number at `at`, little-endian.
pub fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().copied().map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_good_at_its_own_place_only() {
        let mut out = Vec::new();
        let id = [7; 16];
        append(&mut out, 64, &id, Kind::Field, |out| out.extend(b"A=1"));
        let offset = append(&mut out, 64, &id, Kind::Field, |out| out.extend(b"B=22"));
        assert_eq!((offset, out.len()), (80, 32));
        let head = Head::parse(&out[16..]).unwrap();
        assert_eq!((head.kind, head.length, head.span()), (Kind::Field, 4, 16));
        assert!(head.proves(&id, 80, b"B=22"));
        assert!(!head.proves(&id, 84, b"B=22") && !head.proves(&[8; 16], 80, b"B=22"));
        assert!(!head.proves(&id, 80, b"B=23"));
        for bad in [&out[..11], &b"Sj\x09\0\0\0\0\0\0\0\0\0"[..], b"Sj\x01\0\xff\xff\xff\xff\0\0\0\0"] {
            assert_eq!(Head::parse(bad), None);
        }
    }
}
