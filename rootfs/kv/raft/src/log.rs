//! The log that a node keeps, and its vote: what is asked of the disk, and how openraft is served.

use std::fmt::Debug;
use std::io;
use std::marker::PhantomData;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::Stream;
use futures_util::stream;
use openraft::alias::{EntryOf, LogIdOf, VoteOf};
use openraft::storage::{IOFlushed, RaftLogReader, RaftLogStorage};
use openraft::{EntryPayload, OptionalSend};
use prost::Message;
use tokio::sync::oneshot;

use crate::error::WireError;
use crate::types::{Payload, RaftEntry, Types};
use crate::{LogId, Runtime, Vote, membership, wire};

/// Called once, when what it was given for is on disk, or is known never to be. May be called from
/// any thread, and before the call that it was given to returns.
pub type Flushed = Box<dyn FnOnce(io::Result<()>) + Send>;

/// One entry as it lies in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place.
    pub id: LogId,
    /// Its body, which the log does not look into. Never empty.
    pub body: Bytes,
}

/// What a log holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogState {
    /// The last entry that was purged: the first one kept comes after it.
    pub purged: Option<LogId>,
    /// The last entry; `purged` where none is kept.
    pub last: Option<LogId>,
    /// The vote.
    pub vote: Option<Vote>,
    /// The last entry known to be committed, as it was saved.
    pub committed: Option<LogId>,
}

/// A log with a vote, on a disk. Calls are made one after another, and take effect on the disk in
/// that order: what one call wrote is never there without what the calls before it wrote. None
/// waits for the disk.
///
/// After an error of a `Flushed` the node stops: it does not know any more what is on its disk.
pub trait LogStore: Send + Sync + 'static {
    /// What it holds.
    fn state(&self) -> io::Result<LogState>;
    /// Appends entries, whose indexes go on from the last one. They can be read when this returns.
    fn append(&mut self, entries: Vec<Entry>, done: Flushed);
    /// Replaces the vote.
    fn save_vote(&mut self, vote: Vote, done: Flushed);
    /// Keeps what is committed, for a quicker start: it need not be flushed.
    fn save_committed(&mut self, committed: LogId);
    /// Removes all entries after `last`, or all. They cannot be read when this returns.
    fn truncate_after(&mut self, last: Option<LogId>, done: Flushed);
    /// Removes all entries up to `upto`. That may be after the last one: then the log is empty and
    /// goes on after it.
    fn purge(&mut self, upto: LogId, done: Flushed);
    /// For other tasks: entries of `from..to`, in order, from `from` on. Ends early once it has
    /// `bytes` of bodies, but has one at least where one is there. May read the disk.
    fn reader(&self) -> Arc<dyn LogRead>;
}

/// Reads a log while it is written to.
pub trait LogRead: Send + Sync + 'static {
    /// Entries of `from..to`, in order, the first one being `from`. Ends once their bodies have
    /// `bytes` bytes, but never before the first one.
    fn read(&self, from: u64, to: u64, bytes: u64) -> io::Result<Vec<Entry>>;
    /// The vote as it was last saved, flushed or not.
    fn vote(&self) -> io::Result<Option<Vote>>;
}

const BLANK: u8 = 0;
const COMMAND: u8 = 1;
const MEMBERSHIP: u8 = 2;

/// The body of an entry: a byte of kind, then a command as it was proposed, or the membership.
pub(crate) fn body(payload: &EntryPayload<Payload, u64, crate::Member>) -> Bytes {
    match payload {
        EntryPayload::Blank => Bytes::from_static(&[BLANK]),
        EntryPayload::Normal(Payload(data)) => {
            let mut body = BytesMut::with_capacity(data.len() + 1);
            body.put_u8(COMMAND);
            body.extend_from_slice(data);
            body.freeze()
        }
        EntryPayload::Membership(m) => {
            let mut body = vec![MEMBERSHIP];
            body.extend_from_slice(&membership::to_wire(m).encode_to_vec());
            body.into()
        }
    }
}

/// The other way round; a command's bytes are not copied.
pub(crate) fn payload(
    id: LogId,
    body: &Bytes,
) -> Result<EntryPayload<Payload, u64, crate::Member>, WireError> {
    match body.first() {
        Some(&BLANK) => Ok(EntryPayload::Blank),
        Some(&COMMAND) => Ok(EntryPayload::Normal(Payload(body.slice(1..)))),
        Some(&MEMBERSHIP) => {
            Ok(EntryPayload::Membership(membership::from_wire(&wire::Membership::decode(body.slice(1..))?)?))
        }
        Some(&kind) => Err(WireError::Kind { id, kind }),
        None => Err(WireError::Missing { field: "an entry's body" }),
    }
}

pub(crate) fn from_raft(entry: &RaftEntry) -> Entry {
    Entry { id: entry.log_id.into(), body: body(&entry.payload) }
}

pub(crate) fn to_raft(entry: &Entry) -> Result<RaftEntry, WireError> {
    Ok(RaftEntry { log_id: entry.id.into(), payload: payload(entry.id, &entry.body)? })
}

/// A [`LogStore`] as openraft wants it.
pub(crate) struct Store<R, L> {
    log: L,
    append_bytes: u64,
    runtime: PhantomData<R>,
}

impl<R, L> Store<R, L> {
    pub(crate) fn new(log: L, append_bytes: u64) -> Self {
        Self { log, append_bytes, runtime: PhantomData }
    }
}

/// A [`LogRead`] as openraft wants it.
pub(crate) struct Reader<R> {
    log: Arc<dyn LogRead>,
    append_bytes: u64,
    runtime: PhantomData<R>,
}

fn waiting() -> (Flushed, oneshot::Receiver<io::Result<()>>) {
    let (sender, receiver) = oneshot::channel();
    // The receiver is gone where the node was stopped meanwhile.
    (Box::new(move |result| drop(sender.send(result))), receiver)
}

async fn flushed(receiver: oneshot::Receiver<io::Result<()>>) -> io::Result<()> {
    receiver.await.unwrap_or_else(|_| Err(io::Error::other("the log was closed before it flushed")))
}

impl<R: Runtime, L: LogStore> RaftLogStorage<Types<R>> for Store<R, L> {
    type LogReader = Reader<R>;

    async fn get_log_state(&mut self) -> io::Result<openraft::storage::LogState<Types<R>>> {
        let state = self.log.state()?;
        Ok(openraft::storage::LogState {
            last_purged_log_id: state.purged.map(Into::into),
            last_log_id: state.last.map(Into::into),
        })
    }

    async fn get_log_reader(&mut self) -> Reader<R> {
        Reader { log: self.log.reader(), append_bytes: self.append_bytes, runtime: PhantomData }
    }

    async fn save_vote(&mut self, vote: &VoteOf<Types<R>>) -> io::Result<()> {
        let (done, receiver) = waiting();
        self.log.save_vote((*vote).into(), done);
        flushed(receiver).await
    }

    async fn save_committed(&mut self, committed: Option<LogIdOf<Types<R>>>) -> io::Result<()> {
        if let Some(committed) = committed {
            self.log.save_committed(committed.into());
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogIdOf<Types<R>>>> {
        let state = self.log.state()?;
        let Some(committed) = state.committed.filter(|id| Some(*id) > state.purged) else {
            return Ok(None);
        };
        // It is saved without a flush: after a crash it may name an entry that is not there any more.
        if Some(committed) > state.last {
            return Ok(None);
        }
        let found = self.log.reader().read(committed.index, committed.index + 1, 1)?;
        Ok((found.first().map(|entry| entry.id) == Some(committed)).then(|| committed.into()))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types<R>>) -> io::Result<()>
    where
        I: IntoIterator<Item = EntryOf<Types<R>>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries = entries.into_iter().map(|entry| from_raft(&entry)).collect();
        self.log.append(entries, Box::new(move |result| callback.io_completed(result)));
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogIdOf<Types<R>>>) -> io::Result<()> {
        let (done, receiver) = waiting();
        self.log.truncate_after(last.map(Into::into), done);
        flushed(receiver).await
    }

    async fn purge(&mut self, upto: LogIdOf<Types<R>>) -> io::Result<()> {
        let (done, receiver) = waiting();
        self.log.purge(upto.into(), done);
        flushed(receiver).await
    }
}

fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let from = match range.start_bound() {
        Bound::Included(from) => *from,
        Bound::Excluded(before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let to = match range.end_bound() {
        Bound::Included(last) => last.saturating_add(1),
        Bound::Excluded(to) => *to,
        Bound::Unbounded => u64::MAX,
    };
    (from, to)
}

impl<R: Runtime> Reader<R> {
    fn read(&self, from: u64, to: u64, bytes: u64) -> io::Result<Vec<RaftEntry>> {
        if from >= to {
            return Ok(Vec::new());
        }
        self.log.read(from, to, bytes)?.iter().map(|e| to_raft(e).map_err(Into::into)).collect()
    }
}

impl<R: Runtime> RaftLogReader<Types<R>> for Reader<R> {
    async fn try_get_log_entries<B>(&mut self, range: B) -> io::Result<Vec<EntryOf<Types<R>>>>
    where
        B: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (from, to) = bounds(&range);
        self.read(from, to, u64::MAX)
    }

    async fn limited_get_log_entries(&mut self, from: u64, to: u64) -> io::Result<Vec<EntryOf<Types<R>>>> {
        self.read(from, to, self.append_bytes)
    }

    /// For applying: as many may be waiting as a whole log has, so they are read page by page.
    async fn entries_stream<B>(
        &mut self,
        range: B,
    ) -> impl Stream<Item = io::Result<EntryOf<Types<R>>>> + OptionalSend
    where
        B: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (from, to) = bounds(&range);
        let state = (&*self, from, to, Vec::new().into_iter());
        stream::unfold(state, |(reader, from, to, mut page)| async move {
            if let Some(entry) = page.next() {
                return Some((Ok(entry), (reader, from, to, page)));
            }
            match reader.read(from, to, reader.append_bytes) {
                Err(error) => Some((Err(error), (reader, to, to, page))),
                Ok(entries) => {
                    let from = from + entries.len() as u64;
                    page = entries.into_iter();
                    page.next().map(|entry| (Ok(entry), (reader, from, to, page)))
                }
            }
        })
    }

    async fn read_vote(&mut self) -> io::Result<Option<VoteOf<Types<R>>>> {
        Ok(self.log.vote()?.map(Into::into))
    }
}
