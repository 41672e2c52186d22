//! The write-ahead log as Raft wants it.

use std::io;
use std::sync::Arc;

use kv_log::disk::Disk;
use kv_log::{Log, LogId};
use kv_raft::log::{Flushed, LogRead};
use kv_raft::{Entry, LogState, LogStore, Vote};

/// A [`kv_log::Log`] that a node keeps. The node is the only one that writes to it.
///
/// Appends and votes are queued and tell when they are on the disk. To truncate and to purge waits
/// for the disk: both are rare, and the node waits for them anyway.
pub struct WriteAhead<D: Disk> {
    log: Log<D>,
}

impl<D: Disk> std::fmt::Debug for WriteAhead<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WriteAhead").finish_non_exhaustive()
    }
}

impl<D: Disk> WriteAhead<D> {
    /// The node's side of an open log.
    pub fn new(log: Log<D>) -> Self {
        Self { log }
    }

    fn queue(&self, entries: Vec<kv_log::Entry>, vote: Option<kv_log::Vote>, done: Flushed) {
        let done = Once::new(done);
        let later = done.clone();
        let queued = self.log.append(entries, vote, move |result| later.tell(result));
        if let Err(error) = queued {
            done.tell(Err(error));
        }
    }
}

/// The log drops what it was to call when it refuses a call, but the node must be told either way.
#[derive(Clone)]
struct Once(Arc<std::sync::Mutex<Option<Flushed>>>);

impl Once {
    fn new(done: Flushed) -> Self {
        Self(Arc::new(std::sync::Mutex::new(Some(done))))
    }

    fn tell(&self, result: Result<(), kv_log::Error>) {
        let done = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some(done) = done {
            done(result.map_err(io::Error::other));
        }
    }
}

fn ours(id: kv_raft::LogId) -> LogId {
    // With the standard kind of leadership the term says it all.
    LogId { term: id.term, node: 0, index: id.index }
}

fn theirs(id: LogId) -> kv_raft::LogId {
    kv_raft::LogId { term: id.term, index: id.index }
}

fn vote(vote: kv_log::Vote) -> Vote {
    Vote { term: vote.term, node: vote.node, committed: vote.committed }
}

impl<D: Disk> LogStore for WriteAhead<D> {
    fn state(&self) -> io::Result<LogState> {
        let state = self.log.state();
        Ok(LogState {
            purged: state.purged.map(theirs),
            last: state.last.map(theirs),
            vote: state.vote.map(vote),
            committed: state.committed.map(theirs),
        })
    }

    fn append(&mut self, entries: Vec<Entry>, done: Flushed) {
        let entries =
            entries.into_iter().map(|entry| kv_log::Entry { id: ours(entry.id), payload: entry.body });
        self.queue(entries.collect(), None, done);
    }

    fn save_vote(&mut self, vote: Vote, done: Flushed) {
        let vote = kv_log::Vote { term: vote.term, node: vote.node, committed: vote.committed };
        self.queue(Vec::new(), Some(vote), done);
    }

    fn save_committed(&mut self, committed: kv_raft::LogId) {
        // The mark may run ahead of what has come here; the log's may not.
        if committed.index < self.log.state().next() {
            self.log.save_committed(ours(committed));
        }
    }

    fn truncate_after(&mut self, last: Option<kv_raft::LogId>, done: Flushed) {
        done(self.log.truncate(last.map(ours)).map_err(io::Error::other));
    }

    fn purge(&mut self, upto: kv_raft::LogId, done: Flushed) {
        match self.log.purge(ours(upto)) {
            // It goes on without: the next purge removes more.
            Ok(()) | Err(kv_log::Error::NoSpace { .. }) => done(Ok(())),
            Err(error) => done(Err(io::Error::other(error))),
        }
    }

    fn reader(&self) -> Arc<dyn LogRead> {
        Arc::new(Reader(self.log.clone()))
    }
}

struct Reader<D: Disk>(Log<D>);

impl<D: Disk> LogRead for Reader<D> {
    fn read(&self, from: u64, to: u64, bytes: u64) -> io::Result<Vec<Entry>> {
        let entries = self.0.read_up_to(from..to, bytes).map_err(io::Error::other)?;
        // What is purged meanwhile leaves a gap, which is as good as nothing.
        let entries = entries.into_iter().zip(from..).take_while(|(entry, index)| entry.id.index == *index);
        Ok(entries.map(|(entry, _)| Entry { id: theirs(entry.id), body: entry.payload }).collect())
    }

    fn vote(&self) -> io::Result<Option<Vote>> {
        Ok(self.0.vote().map(vote))
    }
}
