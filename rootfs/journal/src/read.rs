//! Reading a journal: entries over all its segments, in either direction; its boots.

use crate::entry::Entry;
use crate::field;
use crate::folder;
use crate::query::Query;
use crate::segment::{Candidates, Chunk, Segment, SegmentError};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// With fewer wanted entries in a chunk, each is read by itself.
const APART: usize = 16;

/// A span of wall clock time, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Microseconds since 1970.
    pub since_us: u64,
    /// Microseconds since 1970.
    pub until_us: u64,
}

impl Default for Span {
    fn default() -> Self {
        Self { since_us: 0, until_us: u64::MAX }
    }
}

/// The wanted entries of a journal, in the order of their numbers, or the newest first.
///
/// Segments that cannot be read and entries that are damaged are left out; see
/// [`verify`](crate::verify) for what is wrong with them. Memory does not depend on the journal.
#[derive(Debug)]
pub struct Entries {
    paths: VecDeque<PathBuf>,
    query: Query,
    span: Span,
    reverse: bool,
    current: Option<Current>,
    ready: VecDeque<Entry>,
}

#[derive(Debug)]
struct Current {
    segment: Segment<File>,
    chunks: VecDeque<(Chunk, u32)>,
    candidates: Candidates,
}

/// Reads a journal.
///
/// # Errors
/// The folder cannot be read.
pub fn read(path: &Path, query: &Query, span: Span, reverse: bool) -> io::Result<Entries> {
    let paths = folder::segments(path)?.into();
    Ok(Entries { paths, query: query.clone(), span, reverse, current: None, ready: VecDeque::new() })
}

impl Entries {
    /// Leaves out segments that have no entry with a number from `first` on.
    #[must_use]
    pub fn from_sequence(mut self, first: u64) -> Self {
        let number = |path: &PathBuf| folder::sequence_of(&path.file_name()?.to_string_lossy());
        while self.paths.get(1).and_then(number).is_some_and(|next| next <= first) {
            self.paths.pop_front();
        }
        self
    }

    fn open(&mut self) -> Option<Current> {
        loop {
            let path = if self.reverse { self.paths.pop_back() } else { self.paths.pop_front() }?;
            let Ok(segment) = folder::open(&path) else { continue };
            let (first, last) = segment.directory().times();
            let empty = segment.directory().entries() == 0;
            if empty || last < self.span.since_us || first > self.span.until_us {
                continue;
            }
            let candidates = segment.candidates(&self.query);
            let mut chunks: VecDeque<_> = segment.chunks().into();
            chunks.retain(|(chunk, _)| {
                chunk.last_us >= self.span.since_us && chunk.first_us <= self.span.until_us
            });
            return Some(Current { segment, chunks, candidates });
        }
    }

    fn wanted(&self, entry: &Entry) -> bool {
        (self.span.since_us..=self.span.until_us).contains(&entry.realtime_us) && self.query.takes(entry)
    }

    /// Fills `ready` from the next chunk; false if there is none.
    fn advance(&mut self) -> bool {
        let mut current = match self.current.take() {
            Some(current) => current,
            None => match self.open() {
                Some(current) => current,
                None => return false,
            },
        };
        let next = if self.reverse { current.chunks.pop_back() } else { current.chunks.pop_front() };
        let Some((chunk, end)) = next else { return true };
        let found = current.load(chunk, end);
        self.current = Some(current);
        let wanted = found.into_iter().filter(|entry| self.wanted(entry));
        self.ready = if self.reverse { wanted.rev().collect() } else { wanted.collect() };
        true
    }
}

impl Current {
    fn load(&mut self, chunk: Chunk, end: u32) -> Vec<Entry> {
        let within = match &self.candidates {
            Candidates::All => None,
            Candidates::Some(list) => {
                let from = list.partition_point(|offset| *offset < chunk.offset);
                let to = list.partition_point(|offset| *offset < end);
                Some(list[from..to].to_vec())
            }
        };
        match within {
            Some(few) if few.len() < APART => {
                few.iter().filter_map(|offset| self.segment.entry(*offset)).collect()
            }
            _ => self.segment.entries_of(chunk, end),
        }
    }
}

impl Iterator for Entries {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        loop {
            if let Some(entry) = self.ready.pop_front() {
                return Some(entry);
            }
            if !self.advance() {
                return None;
            }
        }
    }
}

/// The number of the newest entry; 0 if there is none.
///
/// # Errors
/// The folder cannot be read.
pub fn last_sequence(path: &Path) -> io::Result<u64> {
    for path in folder::segments(path)?.iter().rev() {
        if let Ok(segment) = folder::open(path)
            && segment.directory().entries() > 0
        {
            return Ok(segment.directory().last_sequence());
        }
    }
    Ok(0)
}

/// A boot of which there are entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boot {
    /// Its id, 32 hexadecimal digits.
    pub id: String,
    /// Wall clock of its first entry, microseconds since 1970.
    pub first_us: u64,
    /// Wall clock of its last entry.
    pub last_us: u64,
    /// Number of its first entry.
    first_sequence: u64,
}

/// The boots, oldest first.
///
/// # Errors
/// The folder cannot be read.
pub fn boots(path: &Path) -> io::Result<Vec<Boot>> {
    let mut found: HashMap<String, Boot> = HashMap::new();
    for path in folder::segments(path)? {
        let Ok(mut segment) = folder::open(&path) else { continue };
        for value in segment.values("_BOOT_ID") {
            let Ok(id) = String::from_utf8(value) else { continue };
            let Candidates::Some(list) = segment.candidates(&Query::field("_BOOT_ID", &id)) else { continue };
            let ends = [list.first(), list.last()].map(|offset| segment.entry(*offset?));
            let [Some(first), Some(last)] = ends else { continue };
            let boot = found.entry(id.clone()).or_insert(Boot {
                id,
                first_us: first.realtime_us,
                last_us: last.realtime_us,
                first_sequence: first.sequence,
            });
            boot.last_us = last.realtime_us;
        }
    }
    let mut boots: Vec<Boot> = found.into_values().collect();
    boots.sort_by_key(|boot| boot.first_sequence);
    Ok(boots)
}

/// All values of a field, sorted. One that the index does not know is looked for in every entry.
///
/// # Errors
/// The folder cannot be read.
pub fn values(path: &Path, name: &str) -> io::Result<BTreeSet<Vec<u8>>> {
    let mut found = BTreeSet::new();
    if field::indexed(name.as_bytes(), b"") {
        for path in folder::segments(path)? {
            if let Ok(mut segment) = folder::open(&path) {
                found.extend(segment.values(name));
            }
        }
        return Ok(found);
    }
    for entry in read(path, &Query::All, Span::default(), false)? {
        found.extend(entry.values(name).map(<[u8]>::to_vec));
    }
    Ok(found)
}

/// The names of all fields, sorted. Looks at every entry.
///
/// # Errors
/// The folder cannot be read.
pub fn names(path: &Path) -> io::Result<BTreeSet<Vec<u8>>> {
    let mut found: BTreeSet<Vec<u8>> = BTreeSet::new();
    for entry in read(path, &Query::All, Span::default(), false)? {
        for (name, _) in entry.fields.iter().map(|field| field::split(field)) {
            if !found.contains(name) {
                found.insert(name.to_vec());
            }
        }
    }
    Ok(found)
}

/// Reads on from the newest entries, as they come. Begins behind entry number `after`.
#[derive(Debug)]
pub struct Follower {
    folder: PathBuf,
    current: Option<(PathBuf, Segment<File>, u32)>,
    after: u64,
}

impl Follower {
    /// Begins.
    pub fn new(folder: &Path, after: u64) -> Self {
        Self { folder: folder.to_owned(), current: None, after }
    }

    /// The entries that came since the last call.
    ///
    /// # Errors
    /// The folder or a segment cannot be read.
    pub fn next_entries(&mut self) -> io::Result<Vec<Entry>> {
        let mut found = Vec::new();
        loop {
            // Listed before the open one is read: once there is a newer one, nothing more comes
            // into it.
            let newer = self.newer()?;
            if let Some((_, segment, at)) = &mut self.current {
                let (entries, end) = segment.tail(*at)?;
                *at = end;
                found.extend(entries.into_iter().filter(|entry| entry.sequence > self.after));
            }
            let Some(path) = newer else { break };
            match folder::open(&path) {
                Ok(segment) => self.current = Some((path, segment, crate::segment::HEADER as u32)),
                Err(SegmentError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {}
                Err(SegmentError::Io(error)) => return Err(error),
                // It may be a moment old and have no header yet: look again later.
                Err(_) => break,
            }
        }
        if let Some(last) = found.last() {
            self.after = last.sequence;
        }
        Ok(found)
    }

    /// The segment to read after the current one.
    fn newer(&self) -> io::Result<Option<PathBuf>> {
        let mut paths = folder::segments(&self.folder)?;
        Ok(match &self.current {
            Some((current, ..)) => paths.into_iter().find(|path| path > current),
            None => {
                // The one that has the entry behind `after`.
                let begins = folder::name(self.after.saturating_add(1));
                let behind =
                    |path: &PathBuf| path.file_name().is_some_and(|name| *name.to_string_lossy() > *begins);
                let first = paths.iter().position(behind).unwrap_or(paths.len());
                let index = first.saturating_sub(1);
                (index < paths.len()).then(|| paths.swap_remove(index))
            }
        })
    }
}
