//! The index of a segment: which entries have a field, and when they are.
//!
//! Entries refer to fields and sets of fields. For each record that is referred to, a *group*,
//! there is the ascending list of the entries that do (the *postings*). A *term* is an indexed
//! field; it knows its groups: itself, and the sets that it is in. *Chunks* of some hundred
//! entries know their least and greatest wall clock time.

use super::record::{u32_at, u64_at};
use crate::field;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

const HEAD: usize = 56;
const GROUP: usize = 12;
const TERM: usize = 24;
const CHUNK: usize = 24;
/// Entries of a chunk.
const CHUNK_ENTRIES: u32 = 256;

/// Some entries that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Where the first of them is.
    pub offset: u32,
    /// How many they are.
    pub count: u32,
    /// The least wall clock time, microseconds since 1970.
    pub first_us: u64,
    /// The greatest.
    pub last_us: u64,
}

/// Collects what the index needs.
#[derive(Debug, Default)]
pub struct Indexer {
    /// Indexed fields: hash of the whole, hash of the name.
    fields: HashMap<u32, (u64, u32)>,
    sets: HashMap<u32, Vec<u32>>,
    groups: HashMap<u32, Vec<u32>>,
    chunks: Vec<Chunk>,
    entries: u64,
    first_sequence: u64,
    last_sequence: u64,
}

impl Indexer {
    /// A field record.
    pub fn field(&mut self, offset: u32, payload: &[u8]) {
        let (name, value) = field::split(payload);
        if field::indexed(name, value) {
            self.fields.insert(offset, (field::hash(payload), field::hash(name) as u32));
        }
    }

    /// A set record.
    pub fn set(&mut self, offset: u32, fields: Vec<u32>) {
        self.sets.insert(offset, fields);
    }

    /// An entry record.
    pub fn entry(&mut self, offset: u32, sequence: u64, realtime_us: u64, references: &[u32]) {
        if self.entries == 0 {
            self.first_sequence = sequence;
        }
        self.last_sequence = sequence;
        self.entries += 1;
        for reference in references {
            self.groups.entry(*reference).or_default().push(offset);
        }
        match self.chunks.last_mut().filter(|chunk| chunk.count < CHUNK_ENTRIES) {
            Some(chunk) => {
                chunk.count += 1;
                chunk.first_us = chunk.first_us.min(realtime_us);
                chunk.last_us = chunk.last_us.max(realtime_us);
            }
            None => {
                self.chunks.push(Chunk { offset, count: 1, first_us: realtime_us, last_us: realtime_us });
            }
        }
    }

    /// How many entries there are.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// How many records it knows besides entries: what its memory depends on.
    pub fn records(&self) -> usize {
        self.fields.len() + self.sets.len()
    }

    /// The payloads of the postings and of the directory.
    pub fn encode(&self) -> (Vec<u8>, Vec<u8>) {
        let mut groups: Vec<_> = self.groups.iter().collect();
        groups.sort_unstable_by_key(|(offset, _)| **offset);
        let mut postings = Vec::new();
        let mut group_bytes = Vec::with_capacity(groups.len() * GROUP);
        let mut of_field: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for (number, (record, entries)) in groups.iter().enumerate() {
            let start = postings.len();
            postings.extend(entries.iter().flat_map(|entry| entry.to_le_bytes()));
            group_bytes.extend((start as u32).to_le_bytes());
            group_bytes.extend((entries.len() as u32).to_le_bytes());
            group_bytes.extend(crc32c::crc32c(&postings[start..]).to_le_bytes());
            match self.sets.get(record) {
                Some(fields) => {
                    for field in fields {
                        of_field.entry(*field).or_default().push(number as u32);
                    }
                }
                None => of_field.entry(**record).or_default().push(number as u32),
            }
        }
        let mut terms: Vec<(u64, u32, u32, Vec<u32>)> = Vec::new();
        for (field, groups) in of_field {
            if let Some((hash, name)) = self.fields.get(&field) {
                terms.push((*hash, *name, field, groups));
            }
        }
        terms.sort_unstable();
        let links: Vec<u32> = terms.iter().flat_map(|(_, _, _, groups)| groups.iter().copied()).collect();

        let mut out = Vec::new();
        let times = || self.chunks.iter();
        for number in [
            self.entries,
            self.first_sequence,
            self.last_sequence,
            times().map(|chunk| chunk.first_us).min().unwrap_or(0),
            times().map(|chunk| chunk.last_us).max().unwrap_or(0),
        ] {
            out.extend(number.to_le_bytes());
        }
        for count in [groups.len(), terms.len(), links.len(), self.chunks.len()] {
            out.extend((count as u32).to_le_bytes());
        }
        out.extend(group_bytes);
        let mut first = 0_u32;
        for (hash, name, field, groups) in &terms {
            out.extend(hash.to_le_bytes());
            for number in [*name, *field, first, groups.len() as u32] {
                out.extend(number.to_le_bytes());
            }
            first += groups.len() as u32;
        }
        out.extend(links.iter().flat_map(|link| link.to_le_bytes()));
        for chunk in &self.chunks {
            out.extend(chunk.offset.to_le_bytes());
            out.extend(chunk.count.to_le_bytes());
            out.extend(chunk.first_us.to_le_bytes());
            out.extend(chunk.last_us.to_le_bytes());
        }
        (postings, out)
    }
}

/// A list in the postings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// Where it begins, in bytes.
    pub start: u32,
    /// How many entries it has.
    pub count: u32,
    /// CRC-32C of its bytes.
    pub sum: u32,
}

/// The index, as it is read.
#[derive(Clone, Debug)]
pub struct Directory {
    bytes: Vec<u8>,
    groups: Range<usize>,
    terms: Range<usize>,
    links: Range<usize>,
    chunks: Range<usize>,
}

impl Directory {
    /// Takes the payload of a directory record; `None` if its lengths do not fit.
    pub fn parse(bytes: Vec<u8>) -> Option<Self> {
        let mut at = HEAD;
        let mut part = |place: usize, size: usize| {
            let start = at;
            at = (u32_at(&bytes, place)? as usize).checked_mul(size)?.checked_add(at)?;
            Some(start..at)
        };
        let groups = part(40, GROUP)?;
        let terms = part(44, TERM)?;
        let links = part(48, 4)?;
        let chunks = part(52, CHUNK)?;
        (at == bytes.len()).then_some(Self { bytes, groups, terms, links, chunks })
    }

    /// How many entries there are.
    pub fn entries(&self) -> u64 {
        u64_at(&self.bytes, 0).unwrap_or(0)
    }

    /// Number of the last entry; meaningless when there is none.
    pub fn last_sequence(&self) -> u64 {
        u64_at(&self.bytes, 16).unwrap_or(0)
    }

    /// Least and greatest wall clock time, microseconds since 1970.
    pub fn times(&self) -> (u64, u64) {
        (u64_at(&self.bytes, 24).unwrap_or(0), u64_at(&self.bytes, 32).unwrap_or(0))
    }

    fn terms(&self) -> &[[u8; TERM]] {
        self.bytes[self.terms.clone()].as_chunks().0
    }

    /// The lists whose union are the entries with this field.
    pub fn groups_of(&self, field: &[u8]) -> Vec<Group> {
        let hash = field::hash(field);
        let own = |term: &[u8; TERM]| u64_at(term, 0).unwrap_or(0);
        let first = self.terms().partition_point(|term| own(term) < hash);
        let same = self.terms()[first..].iter().take_while(|term| own(term) == hash);
        same.flat_map(|term| self.links(term)).filter_map(|link| self.group(link)).collect()
    }

    fn links(&self, term: &[u8; TERM]) -> Vec<u32> {
        let number = |at| u32_at(term, at).unwrap_or(0) as usize;
        let links = self.bytes[self.links.clone()].as_chunks::<4>().0;
        let found = number(16).checked_add(number(20)).and_then(|end| links.get(number(16)..end));
        found.unwrap_or(&[]).iter().map(|bytes| u32::from_le_bytes(*bytes)).collect()
    }

    fn group(&self, number: u32) -> Option<Group> {
        let group = self.bytes[self.groups.clone()].as_chunks::<GROUP>().0.get(number as usize)?;
        Some(Group { start: u32_at(group, 0)?, count: u32_at(group, 4)?, sum: u32_at(group, 8)? })
    }

    /// Offsets of the field records that have this name.
    pub fn fields_named(&self, name: &str) -> Vec<u32> {
        let hash = field::hash(name.as_bytes()) as u32;
        let terms = self.terms().iter().filter(|term| u32_at(*term, 8) == Some(hash));
        terms.filter_map(|term| u32_at(term, 12)).collect()
    }

    /// All chunks, in order.
    pub fn chunks(&self) -> impl DoubleEndedIterator<Item = Chunk> + ExactSizeIterator + '_ {
        self.bytes[self.chunks.clone()].as_chunks::<CHUNK>().0.iter().map(|chunk| Chunk {
            offset: u32_at(chunk, 0).unwrap_or(0),
            count: u32_at(chunk, 4).unwrap_or(0),
            first_us: u64_at(chunk, 8).unwrap_or(0),
            last_us: u64_at(chunk, 16).unwrap_or(0),
        })
    }
}
