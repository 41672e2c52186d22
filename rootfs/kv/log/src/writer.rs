//! Putting records into segments: one group at a time, each with one write and one fdatasync.
//!
//! The writer has no thread of its own and no queue; `log` gives it what is due. Of what fails, only
//! a lack of room is got over: the place is written over with zeros and synced before it is used
//! again, so that nothing of the failed group can be taken for a later one.

use crate::disk::{Disk, DiskFile};
use crate::entry::{Entry, LogId, State, Vote};
use crate::error::{Error, is_no_space};
use crate::format::{self, ALIGN, ENTRY_HEAD, HEADER, Header, Kind, Seed};
use crate::memory::Places;
use crate::read::Segment;
use crate::recover::{End, Found};
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a file is called until it is a segment.
pub const UNFINISHED: &str = ".new";
/// Bytes of the buffer that are kept from group to group.
const KEPT_BUFFER: usize = 1 << 20;

/// What one caller wants written.
pub struct Request {
    pub vote: Option<Vote>,
    pub entries: Vec<Entry>,
}

/// What became of requests.
pub struct Outcome<F> {
    /// How many of them are on the disk.
    pub done: usize,
    /// Where their entries are, and maybe some of the request that failed.
    pub landed: Vec<(Arc<Segment<F>>, u64, u32)>,
    /// The state behind the last one that is.
    pub state: State,
    /// Why the others are not.
    pub error: Option<Error>,
}

/// The last segment, and the group that is being made.
pub struct Writer<D: Disk> {
    disk: D,
    folder: PathBuf,
    cluster: u64,
    segment_bytes: u64,
    /// Sequence and path of each segment, the oldest first.
    segments: VecDeque<(u64, PathBuf)>,
    active: Arc<Segment<D::File>>,
    /// Where the synced records end.
    tail: u64,
    /// The checksum of the last synced record.
    sum: u32,
    /// What the records say, those in the buffer too.
    state: State,
    buffer: Vec<u8>,
    /// The checksum of the last record of the buffer.
    buffer_sum: u32,
    /// Entries of the buffer: index, offset.
    placed: Vec<(u64, u32)>,
    /// Up to where a write that failed may have left bytes.
    dirty: u64,
    /// Whether a state must come next: the records say more than was acknowledged, or the segment
    /// does not begin with one yet.
    restate: bool,
    /// Whether a later group, a seal or a segment shows that the last group is on the disk.
    pub sealed: bool,
    /// Why nothing more is written.
    pub failed: Option<Error>,
}

/// Why a step of a group did not happen; a failure that is final is kept in the writer too.
type Step<T> = Result<T, Error>;

impl<D: Disk> Writer<D> {
    /// Makes the first segment of a new log.
    pub fn create(disk: D, folder: &Path, cluster: u64, segment_bytes: u64) -> Step<Self> {
        let header = Header { cluster, sequence: 1, first_index: 0, previous: 0, previous_end: 0 };
        let active = make(&disk, folder, &header, segment_bytes).map_err(|failure| failure.error)?;
        let path = active.path.clone();
        let end = End { offset: HEADER, sum: 0, group: HEADER, sealed: true };
        let found = Found {
            state: State::default(),
            places: Places::new(),
            segments: vec![(1, path)],
            stale: Vec::new(),
            active: Arc::new(active),
            end,
            cut: None,
        };
        Ok(Self::new(disk, folder, cluster, segment_bytes, &found))
    }

    /// Goes on with a log that was found: cuts what was torn, and makes the last group durable.
    pub fn go_on(
        disk: D,
        folder: &Path,
        cluster: u64,
        segment_bytes: u64,
        found: &Found<D::File>,
    ) -> Step<Self> {
        let Found { stale, active, end, cut, .. } = found;
        let path = &active.path;
        let io =
            |what| move |source: io::Error| Error::Io { what, path: path.clone(), source: Arc::new(source) };
        for path in stale {
            let gone = |source| Error::Io { what: "remove", path: path.clone(), source: Arc::new(source) };
            disk.remove(path).map_err(gone)?;
        }
        if let Some(cut) = cut {
            zero(&active.file, end.offset, cut.offset + cut.bytes).map_err(io("cut the torn end of"))?;
        }
        // What was read can be in memory only: killed before its fsync, or after one that failed, when
        // the kernel takes the bytes for written. Written again, they are synced for certain.
        let mut group = vec![0; (end.offset - end.group) as usize];
        active.file.read_exact_at(&mut group, end.group).map_err(io("read"))?;
        active.file.write_all_at(&group, end.group).map_err(io("write"))?;
        active.file.sync_data().map_err(io("sync"))?;
        disk.sync_folder(folder).map_err(io("sync the folder of"))?;
        Ok(Self::new(disk, folder, cluster, segment_bytes, found))
    }

    fn new(disk: D, folder: &Path, cluster: u64, segment_bytes: u64, found: &Found<D::File>) -> Self {
        let end = found.end;
        Self {
            disk,
            folder: folder.to_owned(),
            cluster,
            segment_bytes,
            segments: found.segments.clone().into(),
            active: found.active.clone(),
            tail: end.offset,
            sum: end.sum,
            state: found.state,
            buffer: Vec::new(),
            buffer_sum: end.sum,
            placed: Vec::new(),
            dirty: 0,
            // A crash left a segment without its first record.
            restate: end.offset == HEADER && found.active.sequence > 1,
            sealed: end.sealed,
            failed: None,
        }
    }

    /// The largest payload of an entry.
    pub fn payload_max(segment_bytes: u64) -> u64 {
        segment_bytes - HEADER - format::span(format::STATE) - format::span(ENTRY_HEAD) - ALIGN
    }

    /// How many segments there are.
    pub fn segment_count(&self) -> usize {
        self.segments.len()
    }

    /// Writes requests as one group, or one for each segment that they reach.
    pub fn run<'a>(
        &mut self,
        requests: impl Iterator<Item = &'a Request>,
        committed: Option<LogId>,
    ) -> Outcome<D::File> {
        let mut run = Run { landed: Vec::new(), done: 0, ready: 0, kept: self.state, state: self.state };
        let result = self.write(requests, committed, &mut run);
        if result.is_err() {
            self.take_back(run.kept);
        }
        Outcome { done: run.done, landed: run.landed, state: run.kept, error: result.err() }
    }

    fn write<'a>(
        &mut self,
        requests: impl Iterator<Item = &'a Request>,
        committed: Option<LogId>,
        run: &mut Run<D::File>,
    ) -> Step<()> {
        self.get_ready()?;
        for request in requests {
            if let Some(vote) = request.vote {
                self.state.vote = Some(vote);
                self.put_state(run)?;
            }
            for entry in &request.entries {
                self.make_room(ENTRY_HEAD + entry.payload.len() as u64, run)?;
                let offset = self.put(Kind::Entry, [&format::encode_id(entry.id), &entry.payload]);
                self.placed.push((entry.id.index, offset as u32));
                self.state.last = Some(entry.id);
            }
            run.ready += 1;
            run.state = self.state;
        }
        if let Some(id) = committed.filter(|id| self.state.committed != Some(*id)) {
            self.make_room(ENTRY_HEAD, run)?;
            self.put(Kind::Committed, [&format::encode_id(id), &[]]);
            self.state.committed = Some(id);
            run.state.committed = Some(id);
        }
        self.commit(run)
    }

    /// Makes a state the log's: for truncations and purges.
    pub fn become_state(&mut self, state: State) -> Step<()> {
        let kept = self.state;
        let mut run = Run { landed: Vec::new(), done: 0, ready: 0, kept, state };
        let result = self.get_ready().and_then(|()| {
            self.state = state;
            self.put_state(&mut run)?;
            self.commit(&mut run)
        });
        if result.is_err() {
            self.take_back(kept);
        }
        result
    }

    /// Shows on the disk that the last group is there. What is committed can be told along with it.
    pub fn seal(&mut self, committed: Option<LogId>) -> Step<()> {
        let mut run = Run { landed: Vec::new(), done: 0, ready: 0, kept: self.state, state: self.state };
        let kept = self.state;
        let result = self.get_ready().and_then(|()| {
            if let Some(id) = committed.filter(|id| self.state.committed != Some(*id)) {
                self.make_room(ENTRY_HEAD, &mut run)?;
                self.put(Kind::Committed, [&format::encode_id(id), &[]]);
                self.state.committed = Some(id);
                self.commit(&mut run)?;
            }
            self.make_room(0, &mut run)?;
            self.put(Kind::Seal, [&[], &[]]);
            self.commit(&mut run)
        });
        if result.is_err() {
            self.take_back(kept);
        }
        // Where there is no room now, the next group does as well.
        self.sealed = true;
        result
    }

    /// Removes the segments before one; all of them but the last when there is none to keep.
    pub fn remove_before(&mut self, sequence: Option<u64>) -> Step<()> {
        let keep = sequence.unwrap_or(self.active.sequence).min(self.active.sequence);
        let mut removed = false;
        while let Some((_, path)) = self.segments.front().filter(|(sequence, _)| *sequence < keep) {
            let gone = |source| Error::Io { what: "remove", path: path.clone(), source: Arc::new(source) };
            self.disk.remove(path).map_err(gone)?;
            self.segments.pop_front();
            removed = true;
        }
        if removed {
            let folder = &self.folder;
            let io = |source| Error::Io { what: "sync", path: folder.clone(), source: Arc::new(source) };
            self.disk.sync_folder(folder).map_err(io)?;
        }
        Ok(())
    }

    /// Before a group: what an earlier failure left is put right.
    fn get_ready(&mut self) -> Step<()> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        if self.dirty > self.tail {
            let zeroed = zero(&self.active.file, self.tail, self.dirty);
            self.check("write", zeroed)?;
            let synced = self.active.file.sync_data();
            self.check_final("sync", synced)?;
        }
        self.dirty = 0;
        if self.restate {
            let mut run = Run { landed: Vec::new(), done: 0, ready: 0, kept: self.state, state: self.state };
            self.put_state(&mut run)?;
            self.commit(&mut run)?;
            self.restate = false;
        }
        Ok(())
    }

    fn put_state(&mut self, run: &mut Run<D::File>) -> Step<()> {
        self.make_room(format::STATE, run)?;
        self.put(Kind::State, [&format::encode_state(&self.state), &[]]);
        Ok(())
    }

    /// Goes to a new segment when a record does not fit into this one.
    fn make_room(&mut self, payload: u64, run: &mut Run<D::File>) -> Step<()> {
        if self.tail + self.buffer.len() as u64 + format::span(payload) <= self.active.size {
            return Ok(());
        }
        self.commit(run)?;
        let header = Header {
            cluster: self.cluster,
            sequence: self.active.sequence + 1,
            first_index: self.state.next(),
            previous: self.sum,
            previous_end: self.tail as u32,
        };
        let segment = match make(&self.disk, &self.folder, &header, self.segment_bytes) {
            Ok(segment) => segment,
            Err(failure) => {
                if failure.last {
                    self.failed = Some(failure.error.clone());
                }
                return Err(failure.error);
            }
        };
        self.segments.push_back((segment.sequence, segment.path.clone()));
        self.active = Arc::new(segment);
        self.tail = HEADER;
        // The older segments can go once this one has a state.
        self.put(Kind::State, [&format::encode_state(&self.state), &[]]);
        Ok(())
    }

    /// Adds a record to the group; gives its offset.
    fn put(&mut self, kind: Kind, payload: [&[u8]; 2]) -> u64 {
        let offset = self.tail + self.buffer.len() as u64;
        let (seed, group) = (self.active.seed, self.tail as u32);
        self.buffer_sum =
            format::append(&mut self.buffer, seed, offset, kind, self.buffer_sum, group, payload);
        offset
    }

    /// Writes the group and syncs it.
    fn commit(&mut self, run: &mut Run<D::File>) -> Step<()> {
        if !self.buffer.is_empty() {
            let end = self.tail + self.buffer.len() as u64;
            let written = self.active.file.write_all_at(&self.buffer, self.tail);
            if written.is_err() {
                self.dirty = self.dirty.max(end);
            }
            self.check("write", written)?;
            let synced = self.active.file.sync_data();
            self.check_final("sync", synced)?;
            self.tail = end;
            self.sum = self.buffer_sum;
            self.sealed = false;
            self.buffer.clear();
            self.buffer.shrink_to(KEPT_BUFFER);
        }
        for (index, offset) in self.placed.drain(..) {
            run.landed.push((self.active.clone(), index, offset));
        }
        run.done = run.ready;
        run.kept = run.state;
        Ok(())
    }

    /// After a failure: what was not acknowledged is taken back.
    fn take_back(&mut self, kept: State) {
        self.buffer.clear();
        self.placed.clear();
        self.buffer_sum = self.sum;
        self.state = kept;
        self.restate = true;
    }

    fn check<T>(&mut self, what: &'static str, result: io::Result<T>) -> Step<T> {
        match result {
            Err(source) if is_no_space(&source) => {
                Err(Error::NoSpace { path: self.active.path.clone(), source: Arc::new(source) })
            }
            other => self.check_final(what, other),
        }
    }

    fn check_final<T>(&mut self, what: &'static str, result: io::Result<T>) -> Step<T> {
        result.map_err(|source| {
            let error = Error::Failed { what, path: self.active.path.clone(), source: Arc::new(source) };
            self.failed = Some(error.clone());
            error
        })
    }
}

/// Requests on their way.
struct Run<F> {
    landed: Vec<(Arc<Segment<F>>, u64, u32)>,
    /// Requests that are on the disk.
    done: usize,
    /// Requests whose records are all in the buffer, or on the disk.
    ready: usize,
    /// The state behind `done` requests.
    kept: State,
    /// The state behind `ready` requests.
    state: State,
}

/// Why a segment was not made, and whether nothing can be written from now on.
struct NotMade {
    error: Error,
    last: bool,
}

/// Makes a segment. It has its name only once its header is on the disk.
fn make<D: Disk>(disk: &D, folder: &Path, header: &Header, size: u64) -> Result<Segment<D::File>, NotMade> {
    let path = folder.join(header.name());
    let unfinished = folder.join(format!("{}{UNFINISHED}", header.name()));
    let failed = |what: &'static str| {
        let path = path.clone();
        move |source: io::Error| {
            let no_space = is_no_space(&source) && what != "sync";
            let source = Arc::new(source);
            let error =
                if no_space { Error::NoSpace { path, source } } else { Error::Failed { what, path, source } };
            NotMade { error, last: !no_space }
        }
    };
    let file = disk.create(&unfinished).map_err(failed("create"))?;
    let made = (|| {
        file.preallocate(size).map_err(failed("allocate"))?;
        file.write_all_at(&header.encode(), 0).map_err(failed("write"))?;
        file.sync_data().map_err(failed("sync"))?;
        disk.rename(&unfinished, &path).map_err(failed("rename"))
    })();
    if let Err(failure) = made {
        // It would keep the room that is missing; whatever stays is removed at the next start.
        drop(file);
        let _ = disk.remove(&unfinished);
        return Err(failure);
    }
    disk.sync_folder(folder).map_err(failed("sync"))?;
    let seed = Seed::new(header.cluster, header.sequence);
    Ok(Segment { file, path, sequence: header.sequence, seed, size })
}

/// Writes zeros over a part of a file.
fn zero<F: DiskFile>(file: &F, from: u64, to: u64) -> io::Result<()> {
    static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
    let mut at = from;
    while at < to {
        let count = (to - at).min(ZEROS.len() as u64);
        file.write_all_at(&ZEROS[..count as usize], at)?;
        at += count;
    }
    Ok(())
}
