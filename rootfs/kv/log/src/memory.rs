//! What of the log is in memory: its state, the recent entries, and where the others are.

use crate::disk::DiskFile;
use crate::entry::{Entry, LogId, State};
use crate::error::Error;
use crate::read::{Segment, Window};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

/// Entries of one segment, in the order of their indexes, without holes.
pub struct Run<F> {
    pub segment: Arc<Segment<F>>,
    pub first: u64,
    pub offsets: Vec<u32>,
}

impl<F> Run<F> {
    fn end(&self) -> u64 {
        self.first + self.offsets.len() as u64
    }
}

/// Where the entries on the disk are.
pub struct Places<F>(VecDeque<Run<F>>);

impl<F: DiskFile> Places<F> {
    pub fn new() -> Self {
        Self(VecDeque::new())
    }

    /// Adds the entry behind the last one.
    pub fn push(&mut self, segment: &Arc<Segment<F>>, index: u64, offset: u32) {
        match self.0.back_mut().filter(|run| Arc::ptr_eq(&run.segment, segment) && run.end() == index) {
            Some(run) => run.offsets.push(offset),
            None => self.0.push_back(Run { segment: segment.clone(), first: index, offsets: vec![offset] }),
        }
    }

    /// Forgets all from an index on.
    pub fn cut(&mut self, next: u64) {
        while let Some(run) = self.0.back_mut().filter(|run| run.end() > next) {
            run.offsets.truncate(next.saturating_sub(run.first) as usize);
            if run.offsets.is_empty() {
                self.0.pop_back();
            }
        }
    }

    /// Forgets the runs that end before an index.
    pub fn forget_before(&mut self, first: u64) {
        while self.0.front().is_some_and(|run| run.end() <= first) {
            self.0.pop_front();
        }
    }

    /// The oldest segment that an entry is in.
    pub fn first_sequence(&self) -> Option<u64> {
        self.0.front().map(|run| run.segment.sequence)
    }

    /// The lowest index.
    pub fn first(&self) -> Option<u64> {
        self.0.front().map(|run| run.first)
    }

    /// The places of a range: segment, first index, offsets.
    fn find(&self, range: &Range<u64>) -> Vec<Run<F>> {
        if range.is_empty() {
            return Vec::new();
        }
        let from = self.0.partition_point(|run| run.end() <= range.start);
        let part = |run: &Run<F>| {
            let first = run.first.max(range.start);
            let offsets = &run.offsets[(first - run.first) as usize..];
            let count = offsets.len().min((range.end - first) as usize);
            Run { segment: run.segment.clone(), first, offsets: offsets[..count].to_vec() }
        };
        self.0.range(from..).take_while(|run| run.first < range.end).map(part).collect()
    }
}

/// The log in memory.
pub struct Memory<F> {
    /// As callers see it: with all that is still on its way to the disk.
    pub view: State,
    /// As it is on the disk, up to what was acknowledged.
    pub durable: State,
    pub places: Places<F>,
    cache: VecDeque<Entry>,
    cached_bytes: usize,
    cache_limit: usize,
}

/// What it costs to keep an entry in the cache, in bytes.
fn cost(entry: &Entry) -> usize {
    entry.payload.len() + size_of::<Entry>()
}

impl<F: DiskFile> Memory<F> {
    pub fn new(state: State, places: Places<F>, cache_limit: usize) -> Self {
        Self { view: state, durable: state, places, cache: VecDeque::new(), cached_bytes: 0, cache_limit }
    }

    /// Takes an entry that is on its way to the disk.
    pub fn push(&mut self, entry: Entry) {
        self.view.last = Some(entry.id);
        self.cached_bytes += cost(&entry);
        self.cache.push_back(entry);
    }

    /// Takes what has reached the disk.
    pub fn publish(&mut self, landed: &[(Arc<Segment<F>>, u64, u32)], durable: State) {
        for (segment, index, offset) in landed.iter().filter(|(_, index, _)| *index < durable.next()) {
            self.places.push(segment, *index, *offset);
        }
        self.durable = durable;
        // What is not on the disk can be read from here only.
        while self.cached_bytes > self.cache_limit
            && self.cache.front().is_some_and(|entry| entry.id.index < durable.next())
        {
            self.pop_oldest();
        }
    }

    /// Goes back to what was acknowledged.
    pub fn roll_back(&mut self) {
        self.cut_cache(self.durable.next());
        self.view = State { committed: self.view.committed, ..self.durable };
    }

    /// Takes the state after a truncation or purge that is on the disk.
    pub fn restate(&mut self, state: State) {
        self.cut_cache(state.next());
        self.places.cut(state.next());
        let first = state.after_purged();
        self.places.forget_before(first);
        while self.cache.front().is_some_and(|entry| entry.id.index < first) {
            self.pop_oldest();
        }
        self.view = state;
        self.durable = state;
    }

    fn pop_oldest(&mut self) {
        self.cached_bytes -= self.cache.pop_front().as_ref().map_or(0, cost);
    }

    fn cut_cache(&mut self, next: u64) {
        while let Some(entry) = self.cache.pop_back_if(|entry| entry.id.index >= next) {
            self.cached_bytes -= cost(&entry);
        }
    }

    /// What a range needs, to be read without the lock: places on the disk, then entries at hand.
    pub fn plan(&self, range: Range<u64>) -> Plan<F> {
        let range = range.start.max(self.view.after_purged())..range.end.min(self.view.next());
        if range.is_empty() {
            return Plan { places: Vec::new(), cached: Vec::new() };
        }
        let cached_from = self.cache.front().map_or(self.view.next(), |entry| entry.id.index);
        let places = self.places.find(&(range.start..range.end.min(cached_from)));
        let skip = range.start.saturating_sub(cached_from) as usize;
        let count = range.end.saturating_sub(range.start.max(cached_from)) as usize;
        Plan { places, cached: self.cache.iter().skip(skip).take(count).cloned().collect() }
    }

    /// The id of an entry that is there.
    pub fn id_of(&self, index: u64) -> Result<Option<LogId>, Error> {
        let found = self.plan(index..index.saturating_add(1)).read(u64::MAX)?;
        Ok(found.first().map(|entry| entry.id))
    }
}

/// A range to be read.
pub struct Plan<F> {
    places: Vec<Run<F>>,
    cached: Vec<Entry>,
}

impl<F: DiskFile> Plan<F> {
    /// Reads it, up to a number of bytes of payload, and one entry at least.
    pub fn read(self, max_bytes: u64) -> Result<Vec<Entry>, Error> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut bytes = 0;
        let mut fits = |entry: &Entry| {
            bytes += entry.payload.len() as u64;
            bytes <= max_bytes
        };
        for run in &self.places {
            let mut window = Window::new(&run.segment);
            for (index, offset) in (run.first..).zip(&run.offsets) {
                let entry = window.entry(u64::from(*offset), index)?;
                if !fits(&entry) && !entries.is_empty() {
                    return Ok(entries);
                }
                entries.push(entry);
            }
        }
        for entry in self.cached {
            if !fits(&entry) && !entries.is_empty() {
                break;
            }
            entries.push(entry);
        }
        Ok(entries)
    }
}
