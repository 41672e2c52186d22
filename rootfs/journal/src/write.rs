//! The writing end: entries into segments, old segments away.
//!
//! [`Writer::append`] collects; [`Writer::flush`] writes what was collected with one call. A
//! segment is closed with its index when it is full and when the writer is; one that was not
//! closed is repaired by the next writer, which says what was lost ([`Recovery`]).

use crate::field;
use crate::folder::{self, Limits};
use crate::segment::record::{self, Kind};
use crate::segment::{Damage, HEADER, Header, Indexer, Item, RawEntry, Scan, SegmentError, offsets};
use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Fields and sets that a segment may have: a bound on the writer's memory.
const RECORDS_MAX: usize = 16 << 10;
/// Bytes of fields that the writer remembers of a segment.
const REMEMBERED_MAX: usize = 2 << 20;
/// Collected bytes that make [`Writer::append`] write by itself.
const COLLECTED_MAX: usize = 256 << 10;

/// Fields that many entries have in common. Stored once a segment.
#[derive(Debug)]
pub struct Shared {
    id: u64,
    fields: Vec<Vec<u8>>,
}

impl Shared {
    /// Fields, `NAME=value`.
    pub fn new(fields: Vec<Vec<u8>>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self { id: NEXT.fetch_add(1, Ordering::Relaxed), fields }
    }

    /// Its fields.
    pub fn fields(&self) -> &[Vec<u8>] {
        &self.fields
    }
}

/// When an entry was received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// Wall clock, microseconds since 1970.
    pub realtime_us: u64,
    /// Microseconds since boot.
    pub monotonic_us: u64,
}

impl Stamp {
    /// Now.
    pub fn now() -> Self {
        let micros = |clock| {
            let time = nix::time::clock_gettime(clock).unwrap_or(nix::sys::time::TimeSpec::new(0, 0));
            time.tv_sec() as u64 * 1_000_000 + time.tv_nsec() as u64 / 1000
        };
        Self {
            realtime_us: micros(nix::time::ClockId::CLOCK_REALTIME),
            monotonic_us: micros(nix::time::ClockId::CLOCK_BOOTTIME),
        }
    }
}

/// A segment that was not closed, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// The file.
    pub path: PathBuf,
    /// Entries that are there.
    pub entries: u64,
    /// Bytes at its end that were written in part and are cut away.
    pub torn_bytes: u64,
    /// Bytes amid good ones that are damaged.
    pub damaged_bytes: u64,
    /// Bytes that are there though they had not been made durable: as many may be lost after.
    pub unsynced_bytes: u64,
    /// Bytes that had been made durable and are lost all the same.
    pub missing_bytes: u64,
}

/// Files whose data is to be made durable.
#[derive(Debug)]
pub struct Sync {
    /// The files.
    pub files: Vec<File>,
    /// Whether there is a new name in the folder.
    pub folder: Option<PathBuf>,
    /// Ends of the open segment when it was asked for.
    mark: Option<([u8; 16], u32)>,
}

impl Sync {
    /// Waits until all is on the disk.
    ///
    /// # Errors
    /// fsync(2).
    pub fn run(&self) -> io::Result<()> {
        for file in &self.files {
            file.sync_data()?;
        }
        self.folder.as_deref().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    }
}

/// The open segment.
#[derive(Debug)]
struct Open {
    file: File,
    header: Header,
    /// Bytes written.
    size: u32,
    /// Bytes to be written next.
    collected: Vec<u8>,
    collected_entries: u64,
    /// Entries came since the last [`Writer::sync`].
    dirty: bool,
    indexer: Indexer,
    fields: HashMap<Box<[u8]>, u32>,
    field_bytes: usize,
    sets: HashMap<u64, u32>,
}

/// Appends to the journal of a folder. There must be only one at a time.
#[derive(Debug)]
pub struct Writer {
    folder: PathBuf,
    limits: Limits,
    open: Option<Open>,
    next_sequence: u64,
    closed: Vec<File>,
    new_name: bool,
    /// Entries that could not be written since [`Writer::take_lost`].
    lost: u64,
}

impl Writer {
    /// Begins to write into a folder, which is made when it is absent. Segments that were not
    /// closed are repaired first.
    ///
    /// # Errors
    /// The folder cannot be made or read. A segment that cannot be repaired is left as it is.
    pub fn start(folder: &Path, limits: Limits) -> io::Result<(Self, Vec<Recovery>)> {
        fs::create_dir_all(folder)?;
        let mut recoveries = Vec::new();
        let mut next_sequence = 1;
        for path in folder::segments(folder)? {
            let segment = match folder::open(&path) {
                Ok(segment) => segment,
                Err(SegmentError::Header | SegmentError::Size(_)) => {
                    recoveries.extend(set_aside(&path));
                    continue;
                }
                Err(SegmentError::Io(error)) => return Err(error),
            };
            let directory = segment.directory();
            let after = if directory.entries() > 0 {
                directory.last_sequence().saturating_add(1)
            } else {
                segment.header().first_sequence
            };
            next_sequence = next_sequence.max(after);
            let closed = segment.is_closed();
            drop(segment);
            if !closed {
                recoveries.extend(repair(&path).ok());
            }
        }
        let folder = folder.to_owned();
        let closed = Vec::new();
        Ok((Self { folder, limits, open: None, next_sequence, closed, new_name: false, lost: 0 }, recoveries))
    }

    /// How much is kept.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Changes how much is kept.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Takes an entry: the fields that it shares with others, and its own, `NAME=value`.
    ///
    /// Nothing fails here: what cannot be written is counted, see [`Writer::take_lost`].
    pub fn append(&mut self, stamp: Stamp, shared: &[&Shared], own: &[&[u8]]) {
        if self.open.as_ref().is_some_and(|open| open.is_full(&self.limits)) {
            self.rotate(stamp.realtime_us);
        }
        if self.open.is_none() {
            let (folder, mut closed) = (self.folder.clone(), std::mem::take(&mut self.closed));
            let created = with_room(&folder, None, &mut closed, || self.create(stamp.realtime_us));
            self.closed = closed;
            match created {
                Ok(open) => self.open = Some(open),
                Err(_) => {
                    self.lost += 1;
                    return;
                }
            }
        }
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        let Some(open) = &mut self.open else { return };
        open.append(sequence, stamp, shared, own);
        if open.collected.len() > COLLECTED_MAX {
            self.flush();
        }
    }

    /// Writes what was collected. When the disk is full, old segments go first.
    pub fn flush(&mut self) {
        let Some(open) = &mut self.open else { return };
        if open.collected.is_empty() {
            return;
        }
        let own = Some(open.header.first_sequence);
        if with_room(&self.folder, own, &mut self.closed, || open.write()).is_err() {
            // What was written before stays readable without an index.
            self.lost += open.collected_entries;
            self.open = None;
        }
    }

    /// How many entries could not be written since the last call.
    pub fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }

    /// Writes all, closes the open segment, and removes what is too much.
    pub fn rotate(&mut self, now_us: u64) {
        self.flush();
        if let Some(mut open) = self.open.take() {
            open.close();
            // If that failed, the segment is read without its index, and repaired later.
            let own = Some(open.header.first_sequence);
            if with_room(&self.folder, own, &mut self.closed, || open.write()).is_ok() {
                self.closed.push(open.file);
            }
        }
        self.vacuum(now_us);
    }

    /// Removes the oldest closed segments as far as the limits say. Failures are left for the
    /// next time.
    pub fn vacuum(&mut self, now_us: u64) {
        let own = self.open.as_ref().map(|open| folder::name(open.header.first_sequence));
        let mut closed = Vec::new();
        for path in folder::segments(&self.folder).unwrap_or_default() {
            if path.file_name().map(|name| name.to_string_lossy().into_owned()) == own {
                continue;
            }
            let Ok(segment) = folder::open(&path) else { continue };
            let bytes = fs::metadata(&path).map_or(0, |meta| meta.len());
            closed.push((path, (bytes, segment.directory().times().1)));
        }
        let facts: Vec<_> = closed.iter().map(|(_, facts)| *facts).collect();
        let free = folder::file_system(&self.folder).map_or(u64::MAX, |(_, free)| free);
        for (path, _) in &closed[..folder::surplus(&facts, free, now_us, &self.limits)] {
            let _ = fs::remove_file(path);
        }
    }

    /// What is to be made durable now; `None` if nothing was written since the last time.
    pub fn sync(&mut self) -> Option<Sync> {
        self.flush();
        let mut files = std::mem::take(&mut self.closed);
        let mut mark = None;
        if let Some(open) = self.open.as_mut().filter(|open| open.dirty)
            && let Ok(file) = open.file.try_clone()
        {
            files.push(file);
            mark = Some((open.header.id, open.size));
            open.dirty = false;
        }
        if files.is_empty() {
            return None;
        }
        let folder = std::mem::take(&mut self.new_name).then(|| self.folder.clone());
        Some(Sync { files, folder, mark })
    }

    /// Notes that a [`Sync`] was run.
    pub fn synced(&mut self, sync: &Sync) {
        let Some((id, end)) = sync.mark else { return };
        if let Some(open) = self.open.as_mut().filter(|open| open.header.id == id) {
            open.push(Kind::Synced, |out| out.extend(end.to_le_bytes()));
        }
    }

    fn create(&mut self, now_us: u64) -> io::Result<Open> {
        fs::create_dir_all(&self.folder)?;
        let id = sys::random::bytes()?;
        for _ in 0..16 {
            let header = Header { id, first_sequence: self.next_sequence, created_us: now_us };
            let path = self.folder.join(folder::name(header.first_sequence));
            let options = OpenOptions::new().read(true).append(true).create_new(true).mode(0o640).open(&path);
            let mut file = match options {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    self.next_sequence += 1;
                    continue;
                }
                file => file?,
            };
            if let Err(error) = file.write_all(&header.encode()) {
                let _ = fs::remove_file(&path);
                return Err(error);
            }
            self.new_name = true;
            return Ok(Open::new(file, header, HEADER as u32));
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }
}

impl Drop for Writer {
    /// Closes the open segment.
    fn drop(&mut self) {
        self.flush();
        if let Some(open) = &mut self.open {
            open.close();
            if open.write().is_ok() {
                let _ = open.file.sync_data();
            }
        }
    }
}

impl Open {
    fn new(file: File, header: Header, size: u32) -> Self {
        Self {
            file,
            header,
            size,
            collected: Vec::new(),
            collected_entries: 0,
            dirty: false,
            indexer: Indexer::default(),
            fields: HashMap::new(),
            field_bytes: 0,
            sets: HashMap::new(),
        }
    }

    fn is_full(&self, limits: &Limits) -> bool {
        u64::from(self.size) + self.collected.len() as u64 >= limits.segment_bytes
            || self.indexer.records() >= RECORDS_MAX
            || self.field_bytes >= REMEMBERED_MAX
    }

    fn push(&mut self, kind: Kind, fill: impl FnOnce(&mut Vec<u8>)) -> u32 {
        record::append(&mut self.collected, self.size, &self.header.id, kind, fill)
    }

    fn append(&mut self, sequence: u64, stamp: Stamp, shared: &[&Shared], own: &[&[u8]]) {
        let mut references = Vec::with_capacity(shared.len() + 4);
        for one in shared {
            references.push(match self.sets.get(&one.id) {
                Some(offset) => *offset,
                None => self.set(one),
            });
        }
        let mut literal = Vec::with_capacity(own.len());
        for field in own {
            let (name, value) = field::split(field);
            if field::indexed(name, value) {
                references.push(self.field(field));
            } else {
                literal.push(*field);
            }
        }
        let offset = self.push(Kind::Entry, |out| {
            for number in [sequence, stamp.realtime_us, stamp.monotonic_us] {
                out.extend(number.to_le_bytes());
            }
            out.extend((references.len() as u32).to_le_bytes());
            out.extend(references.iter().flat_map(|reference| reference.to_le_bytes()));
            for field in literal {
                out.extend((field.len() as u32).to_le_bytes());
                out.extend(field);
            }
        });
        self.indexer.entry(offset, sequence, stamp.realtime_us, &references);
        self.collected_entries += 1;
        self.dirty = true;
    }

    fn set(&mut self, shared: &Shared) -> u32 {
        let fields: Vec<u32> = shared.fields.iter().map(|field| self.field(field)).collect();
        let offset =
            self.push(Kind::Set, |out| out.extend(fields.iter().flat_map(|field| field.to_le_bytes())));
        self.indexer.set(offset, fields);
        self.sets.insert(shared.id, offset);
        offset
    }

    fn field(&mut self, field: &[u8]) -> u32 {
        if let Some(offset) = self.fields.get(field) {
            return *offset;
        }
        let offset = self.push(Kind::Field, |out| out.extend(field));
        self.indexer.field(offset, field);
        self.fields.insert(field.into(), offset);
        self.field_bytes += field.len();
        offset
    }

    /// Adds the index and the end.
    fn close(&mut self) {
        let (postings, directory) = self.indexer.encode();
        let place = self.push(Kind::Postings, |out| out.extend(&postings));
        let index = self.push(Kind::Directory, |out| out.extend(&directory));
        self.push(Kind::End, |out| {
            for number in [place, postings.len() as u32, index, directory.len() as u32] {
                out.extend(number.to_le_bytes());
            }
        });
    }

    /// Writes what was collected, or nothing of it.
    fn write(&mut self) -> io::Result<()> {
        let mut done = 0;
        while done < self.collected.len() {
            let written = match self.file.write(&self.collected[done..]) {
                Ok(0) => Err(io::ErrorKind::WriteZero.into()),
                written => written,
            };
            match written {
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.file.set_len(u64::from(self.size))?;
                    return Err(error);
                }
            }
        }
        self.size += self.collected.len() as u32;
        self.collected.clear();
        self.collected_entries = 0;
        Ok(())
    }
}

/// Does something that takes space; on a full disk the oldest segments but `own` make room.
fn with_room<T>(
    folder: &Path,
    own: Option<u64>,
    closed: &mut Vec<File>,
    mut act: impl FnMut() -> io::Result<T>,
) -> io::Result<T> {
    loop {
        match act() {
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                // The space of a removed file is free once nobody has it open.
                closed.clear();
                let own = own.map(|own| folder.join(folder::name(own)));
                let paths = folder::segments(folder).unwrap_or_default();
                let oldest = paths.into_iter().find(|path| Some(path) != own.as_ref());
                if oldest.is_none_or(|path| fs::remove_file(path).is_err()) {
                    return Err(error);
                }
            }
            result => return result,
        }
    }
}

/// Takes a file without a header out of the way: one that was just made is removed.
fn set_aside(path: &Path) -> Option<Recovery> {
    let bytes = fs::metadata(path).ok()?.len();
    if bytes <= HEADER as u64 {
        fs::remove_file(path).ok()?;
    } else {
        fs::rename(path, path.with_extension("damaged")).ok()?;
    }
    Some(Recovery {
        path: path.to_owned(),
        entries: 0,
        torn_bytes: 0,
        damaged_bytes: bytes,
        unsynced_bytes: 0,
        missing_bytes: 0,
    })
}

/// Closes a segment that was left open.
fn repair(path: &Path) -> Result<Recovery, SegmentError> {
    let file = OpenOptions::new().read(true).append(true).open(path)?;
    let bytes = crate::segment::whole(&file)?;
    let header = Header::parse(&bytes)?;
    let mut recovery = Recovery {
        path: path.to_owned(),
        entries: 0,
        torn_bytes: 0,
        damaged_bytes: 0,
        unsynced_bytes: 0,
        missing_bytes: 0,
    };
    let mut indexer = Indexer::default();
    let (mut end, mut synced) = (HEADER, HEADER);
    for item in Scan::new(&bytes[HEADER..], HEADER as u32, header.id) {
        match item {
            Item::Record { offset, kind, payload } => {
                match kind {
                    Kind::Field => indexer.field(offset, payload),
                    Kind::Set => indexer.set(offset, offsets(payload).unwrap_or_default()),
                    Kind::Entry => {
                        if let Some(entry) = RawEntry::parse(payload) {
                            indexer.entry(offset, entry.sequence, entry.realtime_us, &entry.references);
                        }
                    }
                    Kind::Synced => {
                        synced = synced.max(record::u32_at(payload, 0).unwrap_or(0) as usize);
                        continue; // it says nothing that could be lost
                    }
                    // An index that was not finished is made anew.
                    Kind::Postings | Kind::Directory | Kind::End => continue,
                }
                end = offset as usize + (record::HEAD + payload.len()).next_multiple_of(record::ALIGN);
            }
            Item::Damage(Damage { bytes, at_end: true, .. }) => recovery.torn_bytes = u64::from(bytes),
            Item::Damage(Damage { bytes, .. }) => recovery.damaged_bytes += u64::from(bytes),
        }
    }
    // A record's padding may be missing at the very end.
    let end = end.min(bytes.len());
    recovery.entries = indexer.entries();
    recovery.unsynced_bytes = end.saturating_sub(synced) as u64;
    recovery.missing_bytes = synced.saturating_sub(end) as u64;
    file.set_len(end as u64)?;
    let start = end.next_multiple_of(record::ALIGN);
    file.write_all_at(&[0; record::ALIGN][..start - end], end as u64)?;
    let mut open = Open { indexer, ..Open::new(file, header, start as u32) };
    open.close();
    open.write()?;
    open.file.sync_data()?;
    Ok(recovery)
}
