//! The log's face: a queue in front of the writer, and what is in memory behind it.

use crate::disk::Disk;
use crate::entry::{Entry, LogId, State, Vote};
use crate::error::Error;
use crate::format::SEGMENT;
use crate::memory::{Memory, Places};
use crate::read::io;
use crate::recover::{self, Recovered};
use crate::writer::{Request, UNFINISHED, Writer};
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// What is called once the bytes are on the disk, or are known not to be. It is called by the writer's
/// thread (or by who truncates, purges or takes a turn), so it must not wait for the log.
pub type Done = Box<dyn FnOnce(Result<(), Error>) + Send>;

/// Who writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A thread of the log's own.
    Thread,
    /// Whoever calls [`Log::turn`], and [`Log::seal`] when nothing is due: nothing happens by itself,
    /// so that a simulation has the order of all things in its hand.
    Caller,
}

/// How a log is kept.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The cluster; a log of another one is refused.
    pub cluster: u64,
    /// Whether a log is made when there is none. A member that had one must say no: without its
    /// votes it could vote twice.
    pub create: bool,
    /// Bytes of a segment.
    pub segment_bytes: u64,
    /// Bytes of recent entries to keep in memory, apart from those that are not on the disk yet.
    pub cache_bytes: usize,
    /// How long after the last write its group is sealed.
    pub seal_after: Duration,
    /// Who writes.
    pub mode: Mode,
}

impl Options {
    /// The usual ones: 64 MiB segments, 8 MiB of entries, sealed after 50 ms, written by a thread.
    pub fn new(cluster: u64) -> Self {
        Self {
            cluster,
            create: true,
            segment_bytes: 64 << 20,
            cache_bytes: 8 << 20,
            seal_after: Duration::from_millis(50),
            mode: Mode::Thread,
        }
    }
}

/// A write-ahead log. Clones are the same log; the last one to go closes it.
pub struct Log<D: Disk> {
    inner: Arc<Inner<D>>,
    closer: Arc<Closer<D>>,
}

impl<D: Disk> Clone for Log<D> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), closer: self.closer.clone() }
    }
}

struct Inner<D: Disk> {
    options: Options,
    /// Locked before `shared` by whoever needs both.
    writer: Mutex<Writer<D>>,
    shared: Mutex<Shared<D>>,
    wake: Condvar,
    _lock: D::Lock,
}

struct Shared<D: Disk> {
    memory: Memory<D::File>,
    queue: Vec<(Request, Done)>,
    queued_bytes: u64,
    failed: Option<Error>,
    /// Whether there is something to seal.
    unsealed: bool,
    closing: bool,
}

impl<D: Disk> Log<D> {
    /// Opens the log in a folder, or makes it.
    ///
    /// # Errors
    /// The log is damaged, another's, of a later version, in use, or not there though it must be;
    /// the disk fails. Nothing is removed then.
    pub fn open(disk: D, folder: &Path, options: Options) -> Result<(Self, Recovered), Error> {
        if !SEGMENT.contains(&options.segment_bytes) {
            let (least, most) = SEGMENT.into_inner();
            return Err(Error::SegmentSize { bytes: options.segment_bytes, least, most });
        }
        if options.create {
            disk.create_folder(folder).map_err(io("create", folder))?;
        }
        let lock = disk.lock(folder).map_err(io("lock", folder))?;
        let lock = lock.ok_or_else(|| Error::Locked { folder: folder.to_owned() })?;
        let found = recover::find(&disk, folder, options.cluster)?;
        if found.is_none() && !options.create {
            return Err(Error::NoLog { folder: folder.to_owned() });
        }
        for name in disk.list(folder).map_err(io("list", folder))? {
            if name.strip_suffix(UNFINISHED).is_some_and(|name| crate::format::parse_name(name).is_some()) {
                let path = folder.join(name);
                disk.remove(&path).map_err(io("remove", &path))?;
            }
        }
        let (cluster, size) = (options.cluster, options.segment_bytes);
        let (mut writer, state, places, cut) = match found {
            None => (Writer::create(disk, folder, cluster, size)?, State::default(), Places::new(), None),
            Some(found) => {
                let writer = Writer::go_on(disk, folder, cluster, size, &found)?;
                (writer, found.state, found.places, found.cut)
            }
        };
        if !writer.sealed {
            match writer.seal(None) {
                Ok(()) | Err(Error::NoSpace { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let recovered = Recovered {
            state,
            entries: state.next() - state.after_purged(),
            segments: writer.segment_count(),
            cut,
        };
        let shared = Shared {
            memory: Memory::new(state, places, options.cache_bytes),
            queue: Vec::new(),
            queued_bytes: 0,
            failed: None,
            unsealed: false,
            closing: false,
        };
        let inner = Arc::new(Inner {
            options,
            writer: Mutex::new(writer),
            shared: Mutex::new(shared),
            wake: Condvar::new(),
            _lock: lock,
        });
        let thread = match options.mode {
            Mode::Caller => None,
            Mode::Thread => {
                let inner = inner.clone();
                let named = thread::Builder::new().name("kv-log".to_owned());
                Some(named.spawn(move || inner.serve()).map_err(io("start the thread of", folder))?)
            }
        };
        let closer = Arc::new(Closer { inner: inner.clone(), thread: Mutex::new(thread) });
        Ok((Self { inner, closer }, recovered))
    }

    /// Appends entries and saves a vote, if one is given. They can be read when this returns; `done`
    /// is called once they are on the disk. What comes while `done` is due is written after it.
    ///
    /// # Errors
    /// The entries do not follow the last one, one is too large, the vote is old, or the log failed
    /// before. Nothing is taken then, and `done` is not called.
    pub fn append(
        &self,
        entries: Vec<Entry>,
        vote: Option<Vote>,
        done: impl FnOnce(Result<(), Error>) + Send + 'static,
    ) -> Result<(), Error> {
        self.inner.enqueue(Request { vote, entries }, Box::new(done))
    }

    /// Appends entries and saves a vote, and returns once they are on the disk.
    ///
    /// # Errors
    /// As [`Log::append`], and if they could not be written.
    pub fn append_and_wait(&self, entries: Vec<Entry>, vote: Option<Vote>) -> Result<(), Error> {
        let (tell, told) = mpsc::sync_channel(1);
        self.append(entries, vote, move |result| {
            // The one who asked waits.
            let _ = tell.send(result);
        })?;
        if self.inner.options.mode == Mode::Caller {
            self.turn();
        }
        told.recv().unwrap_or(Err(Error::Closed))
    }

    /// Saves a vote, and returns once it is on the disk.
    ///
    /// # Errors
    /// The vote is older than the saved one, or could not be written.
    pub fn save_vote(&self, vote: Vote) -> Result<(), Error> {
        self.append_and_wait(Vec::new(), Some(vote))
    }

    /// Returns once all that was appended before is on the disk.
    ///
    /// # Errors
    /// Some of what was still on its way could not be written.
    pub fn sync(&self) -> Result<(), Error> {
        self.append_and_wait(Vec::new(), None)
    }

    /// Notes what is committed. It costs no write of its own: it goes with the next group, or with
    /// the seal. A lower mark than the last one changes nothing.
    pub fn save_committed(&self, committed: LogId) {
        let mut shared = self.inner.shared();
        let view = &mut shared.memory.view;
        if view.committed.is_none_or(|saved| saved.index < committed.index) {
            view.committed = Some(committed);
            if !shared.unsealed {
                shared.unsealed = true;
                self.inner.wake.notify_all();
            }
        }
    }

    /// Removes all entries behind one, or all when none is named, and returns once that is on the disk.
    ///
    /// # Errors
    /// The entry is not in the log, or committed ones are behind it; the disk has no room or failed.
    /// The log is as it was then.
    pub fn truncate(&self, after: Option<LogId>) -> Result<(), Error> {
        self.inner.alone(|writer, shared| {
            let view = shared.memory.view;
            let next = after.map_or(0, |id| id.index + 1);
            let there = match after {
                after if after == view.last => return Ok(()),
                after if next == view.after_purged() => after == view.purged,
                Some(id) if next < view.next() => shared.memory.id_of(id.index)? == Some(id),
                _ => false,
            };
            if !there || view.committed.is_some_and(|committed| committed.index >= next) {
                return Err(Error::NotThere {
                    after: after.map(|id| id.index),
                    first: view.after_purged(),
                    last: view.last.map(|id| id.index),
                    committed: view.committed.map(|id| id.index),
                });
            }
            shared.become_state(writer, State { last: after, ..view })
        })
    }

    /// Forgets all entries up to one, and removes the segments that hold nothing else; returns once
    /// that is on the disk. An entry behind the last one (a snapshot's) leaves the log empty.
    ///
    /// # Errors
    /// The disk has no room or failed; the entries are still there then, unless it is a file that
    /// could not be removed: that is tried again with the next purge.
    pub fn purge(&self, up_to: LogId) -> Result<(), Error> {
        self.inner.alone(|writer, shared| {
            let view = shared.memory.view;
            if up_to.index < view.after_purged() {
                return Ok(());
            }
            let last = view.last.filter(|last| last.index > up_to.index).or(Some(up_to));
            shared.become_state(writer, State { purged: Some(up_to), last, ..view })?;
            writer.remove_before(shared.memory.places.first_sequence())
        })
    }

    /// The entries of a range of indexes that are there, in order and without holes.
    ///
    /// # Errors
    /// The disk fails, or its bytes are not what was written.
    pub fn read(&self, range: Range<u64>) -> Result<Vec<Entry>, Error> {
        self.read_up_to(range, u64::MAX)
    }

    /// The first entries of a range, up to a number of bytes of payload; at least one if one is there.
    ///
    /// # Errors
    /// As [`Log::read`].
    pub fn read_up_to(&self, range: Range<u64>, max_bytes: u64) -> Result<Vec<Entry>, Error> {
        let plan = self.inner.shared().memory.plan(range);
        plan.read(max_bytes)
    }

    /// The state, with all that is still on its way to the disk.
    pub fn state(&self) -> State {
        self.inner.shared().memory.view
    }

    /// The state as it is on the disk.
    pub fn durable_state(&self) -> State {
        self.inner.shared().memory.durable
    }

    /// The vote that was saved last.
    pub fn vote(&self) -> Option<Vote> {
        self.state().vote
    }

    /// Bytes of payload that are on their way to the disk and not being written yet: for whoever
    /// appends to hold back by.
    pub fn queued_bytes(&self) -> u64 {
        self.inner.shared().queued_bytes
    }

    /// Writes all that is due, as one group, and calls who waits for it; false when nothing was due.
    /// In [`Mode::Thread`] the log does that itself.
    pub fn turn(&self) -> bool {
        self.inner.turn()
    }

    /// Shows on the disk that the last group is there, if nothing does yet. In [`Mode::Thread`] the
    /// log does that itself.
    ///
    /// # Errors
    /// The disk failed. A lack of room is no error: the next group does as well.
    pub fn seal(&self) -> Result<(), Error> {
        self.inner.seal()
    }
}

impl<D: Disk> Shared<D> {
    fn become_state(&mut self, writer: &mut Writer<D>, state: State) -> Result<(), Error> {
        writer.become_state(state).inspect_err(|_| self.failed.clone_from(&writer.failed))?;
        self.unsealed = true;
        self.memory.restate(state);
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whatever panicked did so in a caller's `done`, with no lock held.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<D: Disk> Inner<D> {
    fn shared(&self) -> MutexGuard<'_, Shared<D>> {
        lock(&self.shared)
    }

    fn enqueue(&self, request: Request, done: Done) -> Result<(), Error> {
        let most = Writer::<D>::payload_max(self.options.segment_bytes);
        let mut shared = self.shared();
        if let Some(error) = &shared.failed {
            return Err(error.clone());
        }
        let view = shared.memory.view;
        for (entry, next) in request.entries.iter().zip(view.next()..) {
            let index = entry.id.index;
            if index != next || index == u64::MAX {
                return Err(Error::NotNext { index, next });
            }
            let bytes = entry.payload.len() as u64;
            if bytes > most {
                return Err(Error::TooLarge { index, bytes, most });
            }
        }
        if let (Some(vote), Some(saved)) = (request.vote, view.vote)
            && vote.term < saved.term
        {
            return Err(Error::OldVote { term: vote.term, saved: saved.term });
        }
        shared.memory.view.vote = request.vote.or(view.vote);
        for entry in &request.entries {
            shared.queued_bytes += entry.payload.len() as u64;
            shared.memory.push(entry.clone());
        }
        shared.queue.push((request, done));
        if shared.queue.len() == 1 {
            self.wake.notify_all();
        }
        Ok(())
    }

    fn turn(&self) -> bool {
        let mut told = Vec::new();
        self.flush(&mut lock(&self.writer), &mut told);
        let any = !told.is_empty();
        tell(told);
        any
    }

    /// Writes what is queued; what is to be told to whom goes into `told`.
    fn flush(&self, writer: &mut Writer<D>, told: &mut Vec<(Done, Result<(), Error>)>) {
        let (queue, committed) = {
            let mut shared = self.shared();
            shared.queued_bytes = 0;
            (std::mem::take(&mut shared.queue), shared.memory.view.committed)
        };
        if queue.is_empty() {
            return;
        }
        let outcome = writer.run(queue.iter().map(|(request, _)| request), committed);
        let mut shared = self.shared();
        shared.memory.publish(&outcome.landed, outcome.state);
        shared.unsealed |= !writer.sealed;
        let mut late = Vec::new();
        if outcome.error.is_some() {
            // What came meanwhile follows what failed.
            late = std::mem::take(&mut shared.queue);
            shared.queued_bytes = 0;
            shared.memory.roll_back();
            shared.failed.clone_from(&writer.failed);
        }
        drop(shared);
        for (place, (_, done)) in queue.into_iter().chain(late).enumerate() {
            let result = match &outcome.error {
                Some(error) if place >= outcome.done => Err(error.clone()),
                _ => Ok(()),
            };
            told.push((done, result));
        }
    }

    /// Does something with nothing queued and nothing being written, and nobody else about.
    fn alone<T>(
        &self,
        act: impl FnOnce(&mut Writer<D>, &mut Shared<D>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut told = Vec::new();
        let mut writer = lock(&self.writer);
        let result = loop {
            self.flush(&mut writer, &mut told);
            let mut shared = self.shared();
            if shared.queue.is_empty() {
                break match &shared.failed {
                    Some(error) => Err(error.clone()),
                    None => act(&mut writer, &mut shared),
                };
            }
        };
        drop(writer);
        tell(told);
        self.wake.notify_all();
        result
    }

    fn seal(&self) -> Result<(), Error> {
        let mut writer = lock(&self.writer);
        let committed = {
            let mut shared = self.shared();
            shared.unsealed = false;
            let pending = shared.memory.view.committed;
            // What is on its way still may not be told as committed.
            pending.filter(|id| id.index < shared.memory.durable.next())
        };
        let behind = committed.is_some() && committed != self.shared().memory.durable.committed;
        if writer.failed.is_some() || (writer.sealed && !behind) {
            return Ok(());
        }
        let sealed = writer.seal(committed);
        let mut shared = self.shared();
        match sealed {
            Ok(()) => shared.memory.durable.committed = committed.or(shared.memory.durable.committed),
            Err(Error::NoSpace { .. }) => {}
            Err(error) => {
                shared.failed.clone_from(&writer.failed);
                return Err(error);
            }
        }
        Ok(())
    }

    /// The writer's thread.
    fn serve(&self) {
        let mut shared = self.shared();
        loop {
            if !shared.queue.is_empty() {
                drop(shared);
                self.turn();
            } else if shared.closing {
                drop(shared);
                // Those who come next see what failed in the log's state.
                let _ = self.seal();
                return;
            } else if shared.unsealed {
                let waited = self.wake.wait_timeout_while(shared, self.options.seal_after, |shared| {
                    shared.queue.is_empty() && !shared.closing
                });
                let (after, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
                drop(after);
                if timeout.timed_out() {
                    // As above.
                    let _ = self.seal();
                }
            } else {
                drop(self.wake.wait(shared).unwrap_or_else(PoisonError::into_inner));
            }
            shared = self.shared();
        }
    }
}

fn tell(told: Vec<(Done, Result<(), Error>)>) {
    for (done, result) in told {
        done(result);
    }
}

/// Closes the log when the last of its clones goes.
struct Closer<D: Disk> {
    inner: Arc<Inner<D>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl<D: Disk> Drop for Closer<D> {
    fn drop(&mut self) {
        self.inner.shared().closing = true;
        self.inner.wake.notify_all();
        let thread = lock(&self.thread).take();
        // The last clone can go in a call of the writer's thread, which does not wait for itself.
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != thread::current().id()) {
            // A panic there was a caller's, and was told.
            let _ = thread.join();
        }
    }
}
