//! Reading one segment.

use super::index::Group;
use super::record::{HEAD, Head, Kind, u32_at};
use super::{
    Chunk, Damage, Directory, END, HEADER, Header, Indexer, Item, RawEntry, SIZE_MAX, Scan, SegmentError,
    Source, offsets,
};
use crate::entry::Entry;
use crate::query::Query;
use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;

/// What is read at once where entries are apart.
const WINDOW: u64 = 16 << 10;

/// Fields that a reference stands for; `None` if it is damaged.
type Resolved = Option<Rc<Vec<Rc<[u8]>>>>;

/// Which entries may be wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Candidates {
    /// The index does not know: any.
    All,
    /// These, ascending.
    Some(Vec<u32>),
}

/// A segment that is read.
#[derive(Debug)]
pub struct Segment<S> {
    source: S,
    header: Header,
    directory: Directory,
    /// Where the postings are in the source, or they themselves.
    postings: Result<Range<u64>, Vec<u8>>,
    /// Where its entries end.
    end: u32,
    closed: bool,
    window: (u64, Vec<u8>),
    resolved: HashMap<u32, Resolved>,
}

impl<S: Source> Segment<S> {
    /// Opens a segment. One that is not closed, or whose index is damaged, is read as a whole.
    ///
    /// # Errors
    /// See [`SegmentError`].
    pub fn open(source: S) -> Result<Self, SegmentError> {
        let mut head = [0; HEADER];
        let count = source.read_at(&mut head, 0)?;
        let header = Header::parse(&head[..count])?;
        if let Some((directory, postings)) = closed(&source, &header)? {
            let end = postings.start as u32 - HEAD as u32;
            return Ok(Self::new(source, header, directory, Ok(postings), end, true));
        }
        let bytes = whole(&source)?;
        let mut indexer = Indexer::default();
        let mut end = bytes.len() as u32;
        for item in Scan::new(&bytes[HEADER..], HEADER as u32, header.id) {
            match item {
                Item::Record { offset, kind: Kind::Field, payload } => indexer.field(offset, payload),
                Item::Record { offset, kind: Kind::Set, payload } => {
                    indexer.set(offset, offsets(payload).unwrap_or_default());
                }
                Item::Record { offset, kind: Kind::Entry, payload } => {
                    if let Some(entry) = RawEntry::parse(payload) {
                        indexer.entry(offset, entry.sequence, entry.realtime_us, &entry.references);
                    }
                }
                Item::Record { offset, kind: Kind::Postings, .. }
                | Item::Damage(Damage { offset, at_end: true, .. }) => end = end.min(offset),
                Item::Record { .. } | Item::Damage(_) => {}
            }
        }
        let (postings, directory) = indexer.encode();
        let directory = Directory::parse(directory).ok_or(SegmentError::Header)?;
        Ok(Self::new(source, header, directory, Err(postings), end, false))
    }

    fn new(
        source: S,
        header: Header,
        directory: Directory,
        postings: Result<Range<u64>, Vec<u8>>,
        end: u32,
        closed: bool,
    ) -> Self {
        let (window, resolved) = ((0, Vec::new()), HashMap::new());
        Self { source, header, directory, postings, end, closed, window, resolved }
    }

    /// Its header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Its index.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Whether it was closed in order.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Where its entries end.
    pub fn end(&self) -> u32 {
        self.end
    }

    /// The entries that may be wanted, as the index knows.
    pub fn candidates(&self, query: &Query) -> Candidates {
        match query {
            Query::All => Candidates::All,
            Query::Field(field) => {
                let (name, value) = crate::field::split(field);
                if !crate::field::indexed(name, value) {
                    return Candidates::All;
                }
                let mut found = Vec::new();
                for group in self.directory.groups_of(field) {
                    match self.postings(group) {
                        Some(postings) => found.extend(postings),
                        None => return Candidates::All, // damaged: read everything instead
                    }
                }
                found.sort_unstable();
                found.dedup();
                Candidates::Some(found)
            }
            Query::Any(parts) => {
                let mut found = Vec::new();
                for part in parts {
                    match self.candidates(part) {
                        Candidates::All => return Candidates::All,
                        Candidates::Some(more) => found.extend(more),
                    }
                }
                found.sort_unstable();
                found.dedup();
                Candidates::Some(found)
            }
            Query::Every(parts) => {
                let mut rated: Vec<_> =
                    parts.iter().filter_map(|part| Some((self.estimate(part)?, part))).collect();
                rated.sort_by_key(|(count, _)| *count);
                let mut found: Option<Vec<u32>> = None;
                for (count, part) in rated {
                    // What is left is compared entry by entry in the end; that costs less.
                    if found.as_ref().is_some_and(|found| count > 16 * found.len() as u64) {
                        break;
                    }
                    let Candidates::Some(list) = self.candidates(part) else { continue };
                    found = Some(match found {
                        None => list,
                        Some(found) => {
                            found.into_iter().filter(|entry| list.binary_search(entry).is_ok()).collect()
                        }
                    });
                }
                found.map_or(Candidates::All, Candidates::Some)
            }
        }
    }

    /// How many candidates there are at most; `None` if the index does not know.
    fn estimate(&self, query: &Query) -> Option<u64> {
        match query {
            Query::All => None,
            Query::Field(field) => {
                let (name, value) = crate::field::split(field);
                let known = crate::field::indexed(name, value);
                known
                    .then(|| self.directory.groups_of(field).iter().map(|group| u64::from(group.count)).sum())
            }
            Query::Any(parts) => parts.iter().map(|part| self.estimate(part)).sum(),
            Query::Every(parts) => parts.iter().filter_map(|part| self.estimate(part)).min(),
        }
    }

    fn postings(&self, group: Group) -> Option<Vec<u32>> {
        let length = group.count as usize * 4;
        let bytes = match &self.postings {
            Err(bytes) => bytes.get(group.start as usize..)?.get(..length)?.to_vec(),
            Ok(range) => {
                let start = range.start + u64::from(group.start);
                (start.checked_add(length as u64)? <= range.end).then_some(())?;
                read(&self.source, start, length)?
            }
        };
        (crc32c::crc32c(&bytes) == group.sum).then(|| offsets(&bytes))?
    }

    /// The entry at an offset; `None` if it is damaged.
    pub fn entry(&mut self, offset: u32) -> Option<Entry> {
        let (kind, payload) = self.record(offset)?;
        let raw = (kind == Kind::Entry).then(|| RawEntry::parse(&payload))??;
        self.resolve(&raw, offset)
    }

    /// The entries of a chunk, which ends at `end`. What is damaged is left out.
    pub fn entries_of(&mut self, chunk: Chunk, end: u32) -> Vec<Entry> {
        let end = end.min(self.end);
        let length = end.saturating_sub(chunk.offset) as usize;
        let Some(bytes) = read(&self.source, u64::from(chunk.offset), length) else { return Vec::new() };
        self.entries_in(&bytes, chunk.offset)
    }

    /// The entries in bytes that stand at `base`.
    pub fn entries_in(&mut self, bytes: &[u8], base: u32) -> Vec<Entry> {
        let mut found = Vec::new();
        for item in Scan::new(bytes, base, self.header.id) {
            let Item::Record { offset, kind: Kind::Entry, payload } = item else { continue };
            let entry = RawEntry::parse(payload).and_then(|raw| self.resolve(&raw, offset));
            found.extend(entry);
        }
        found
    }

    /// The entries from an offset to what is written now, and where to go on later.
    ///
    /// # Errors
    /// The file system's.
    pub fn tail(&mut self, from: u32) -> std::io::Result<(Vec<Entry>, u32)> {
        let size = self.source.size()?.min(SIZE_MAX);
        let mut bytes = vec![0; size.saturating_sub(u64::from(from)) as usize];
        let count = self.source.read_at(&mut bytes, u64::from(from))?;
        bytes.truncate(count);
        let mut end = from + count as u32;
        for item in Scan::new(&bytes, from, self.header.id) {
            if let Item::Damage(Damage { offset, at_end: true, .. }) = item {
                end = offset;
            }
        }
        bytes.truncate((end - from) as usize);
        // The window may end within what has grown since.
        self.window = (0, Vec::new());
        Ok((self.entries_in(&bytes, from), end))
    }

    /// All chunks with their ends, in order.
    pub fn chunks(&self) -> Vec<(Chunk, u32)> {
        let chunks: Vec<Chunk> = self.directory.chunks().collect();
        let ends = chunks.iter().skip(1).map(|chunk| chunk.offset).chain([self.end]);
        chunks.iter().copied().zip(ends).collect()
    }

    /// All values of an indexed field that occur.
    pub fn values(&mut self, name: &str) -> Vec<Vec<u8>> {
        let mut values: Vec<Vec<u8>> = Vec::new();
        for offset in self.directory.fields_named(name) {
            let Some((Kind::Field, payload)) = self.record(offset) else { continue };
            let (own, value) = crate::field::split(&payload);
            if own == name.as_bytes() {
                values.push(value.to_vec());
            }
        }
        values
    }

    fn resolve(&mut self, raw: &RawEntry<'_>, offset: u32) -> Option<Entry> {
        let mut fields = Vec::with_capacity(raw.own.len() + 16);
        for reference in &raw.references {
            // Only backwards, so that no circle can be made.
            let resolved = (*reference < offset).then(|| self.reference(*reference, true))??;
            fields.extend(resolved.iter().map(|field| field.to_vec()));
        }
        fields.extend(raw.own.iter().map(|field| field.to_vec()));
        let RawEntry { sequence, realtime_us, monotonic_us, .. } = *raw;
        Some(Entry { sequence, realtime_us, monotonic_us, fields })
    }

    fn reference(&mut self, offset: u32, sets: bool) -> Resolved {
        if let Some(known) = self.resolved.get(&offset) {
            return known.clone();
        }
        let found = match self.record(offset) {
            Some((Kind::Field, payload)) => Some(Rc::new(vec![Rc::from(payload)])),
            Some((Kind::Set, payload)) if sets => {
                let fields = offsets(&payload).filter(|fields| fields.len() <= super::REFERENCES_MAX);
                let fields = fields.unwrap_or_default().into_iter().map(|field| {
                    let own = (field < offset).then(|| self.reference(field, false))??;
                    own.first().cloned()
                });
                fields.collect::<Option<Vec<_>>>().map(Rc::new)
            }
            _ => None,
        };
        // A segment that is being written may have it the next time.
        if found.is_some() {
            self.resolved.insert(offset, found.clone());
        }
        found
    }

    /// The record at an offset.
    fn record(&mut self, offset: u32) -> Option<(Kind, Vec<u8>)> {
        let place = u64::from(offset);
        let have = |window: &(u64, Vec<u8>), length: usize| {
            place >= window.0 && place + length as u64 <= window.0 + window.1.len() as u64
        };
        if !have(&self.window, HEAD) {
            self.slide(place);
        }
        let start = place.checked_sub(self.window.0)? as usize;
        let head = Head::parse(self.window.1.get(start..)?)?;
        let payload = if have(&self.window, HEAD + head.length) {
            self.window.1[start + HEAD..start + HEAD + head.length].to_vec()
        } else {
            read(&self.source, place + HEAD as u64, head.length)?
        };
        head.proves(&self.header.id, offset, &payload).then_some((head.kind, payload))
    }

    fn slide(&mut self, place: u64) {
        let start = place / 4096 * 4096;
        let mut bytes = vec![0; WINDOW as usize];
        let count = self.source.read_at(&mut bytes, start).unwrap_or(0);
        bytes.truncate(count);
        self.window = (start, bytes);
    }
}

/// All bytes of a segment.
pub(crate) fn whole(source: &impl Source) -> Result<Vec<u8>, SegmentError> {
    let size = source.size()?;
    if size > SIZE_MAX {
        return Err(SegmentError::Size(size));
    }
    let mut bytes = vec![0; size as usize];
    let count = source.read_at(&mut bytes, 0)?;
    bytes.truncate(count);
    Ok(bytes)
}

fn read(source: &impl Source, offset: u64, length: usize) -> Option<Vec<u8>> {
    // Not more memory than the file has bytes, whatever a length in it says.
    let end = offset.checked_add(length as u64)?;
    if length as u64 > WINDOW && end > source.size().ok()? {
        return None;
    }
    let mut bytes = vec![0; length];
    (source.read_at(&mut bytes, offset).ok()? == length).then_some(bytes)
}

/// The index of a segment that was closed, and where its postings are.
fn closed<S: Source>(source: &S, header: &Header) -> Result<Option<(Directory, Range<u64>)>, SegmentError> {
    let size = source.size()?;
    if size > SIZE_MAX {
        return Err(SegmentError::Size(size));
    }
    let Some(at) = size.checked_sub(END as u64).filter(|at| *at >= HEADER as u64) else { return Ok(None) };
    let found = || {
        let payload = checked(source, header, at as u32, Kind::End)?;
        let number = |place| u32_at(&payload, place);
        let (postings, length, directory) = (number(0)?, number(4)?, number(8)?);
        let start = u64::from(postings) + HEAD as u64;
        let range = start..start + u64::from(length);
        (postings as usize >= HEADER && range.end <= size).then_some(())?;
        let directory = checked(source, header, directory, Kind::Directory)?;
        Some((Directory::parse(directory)?, range))
    };
    Ok(found())
}

fn checked(source: &impl Source, header: &Header, offset: u32, kind: Kind) -> Option<Vec<u8>> {
    let head = Head::parse(&read(source, u64::from(offset), HEAD)?)?;
    let payload = read(source, u64::from(offset) + HEAD as u64, head.length)?;
    (head.kind == kind && head.proves(&header.id, offset, &payload)).then_some(payload)
}
