//! A cluster of one member: the log alone decides. Commands go to the log's queue as
//! they come, which writes all that are there with one fsync; then a thread of ours
//! applies all that have landed meanwhile in one transaction, while the next ones
//! are being written.
//!
//! The database does not wait for the disk. It is made durable when [`KEEP_BYTES`] of
//! entries were applied, and when the member stops; the log is purged up to there,
//! and after a crash it is replayed from there.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use kv_api::Fault;
use kv_api::kvpb::Command;
use kv_core::{Position, Reply};
use kv_log::disk::RealDisk;
use kv_log::{Entry, Log, LogId, Vote};
use prost::Message as _;
use tokio::sync::{oneshot, watch};

use crate::consensus::{Consensus, Pending, Status};
use crate::error::Error;
use crate::machine::{Machine, Shared};
use crate::metrics::disk::Timed;

/// Entries that are applied at once at most, so that the first of them does not wait for long.
const BATCH: usize = 1_024;
/// Bytes of entries after which the database is made durable, and the log is purged.
const KEEP_BYTES: u64 = 64 << 20;
/// Bytes that may wait for the log; what comes then is told to come later.
const QUEUE_BYTES: u64 = 64 << 20;

/// A cluster of one.
pub struct Solo {
    log: Log<Timed<RealDisk>>,
    /// Held from the choice of an index until the entry is queued.
    order: Mutex<()>,
    landed: Mutex<Option<Sender<Landed>>>,
    id: LogId,
    applied: Arc<AtomicU64>,
    ended: watch::Receiver<Option<Result<(), Arc<Error>>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl std::fmt::Debug for Solo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Solo").field("id", &self.id).finish_non_exhaustive()
    }
}

/// An entry that is on the disk, or is known not to be.
struct Landed {
    entry: Result<(Position, Bytes), kv_log::Error>,
    tell: oneshot::Sender<Result<Reply, Fault>>,
}

impl Solo {
    /// Opens the log and the database of a data directory, replays what the database does not
    /// have, and starts a term.
    ///
    /// # Errors
    /// The log's, the database's, and those of entries that cannot be applied.
    pub fn open(folder: &Path, cluster: u64, member: u64) -> Result<(Self, Shared), Error> {
        let mut machine = Machine::open(&folder.join("db"))?;
        let (log, recovered) =
            Log::open(Timed(RealDisk), &folder.join("log"), kv_log::Options::new(cluster))?;
        replay(&mut machine, &log)?;
        let term = recovered.state.vote.map_or(0, |vote| vote.term) + 1;
        log.save_vote(Vote { term, node: member, committed: true })?;
        let shared = machine.shared();
        let (landed, lands) = channel();
        let (end, ended) = watch::channel(None);
        let applied = Arc::new(AtomicU64::new(count(&machine)));
        let worker = Worker { machine, log: log.clone(), lands, applied: applied.clone(), kept_bytes: 0 };
        let thread = thread::Builder::new().name("kv-apply".to_owned()).spawn(move || {
            end.send_replace(Some(worker.run().map_err(Arc::new)));
        });
        let thread = thread.map_err(|source| Error::Io { doing: "start a thread".to_owned(), source })?;
        let solo = Self {
            log,
            order: Mutex::new(()),
            landed: Mutex::new(Some(landed)),
            id: LogId { term, node: member, index: 0 },
            applied,
            ended,
            thread: Mutex::new(Some(thread)),
        };
        Ok((solo, shared))
    }

    /// Returns when the member can take no more commands: with the reason, or after [`Solo::close`].
    pub async fn ended(&self) -> Option<Arc<Error>> {
        let mut ended = self.ended.clone();
        // Without the sender there is no thread any more, and what it said last stays.
        let result = ended.wait_for(Option::is_some).await;
        result.ok().and_then(|result| result.clone()?.err())
    }

    /// Takes no more commands, waits for those that are under way, and writes the database to
    /// the disk. It blocks.
    ///
    /// # Errors
    /// What the member has ended with.
    pub fn close(&self) -> Result<(), Arc<Error>> {
        drop(lock(&self.landed).take());
        if let Some(thread) = lock(&self.thread).take() {
            // Panics are defects; the result below says what there is to say.
            let _ = thread.join();
        }
        self.ended.borrow().clone().unwrap_or(Ok(()))
    }

    fn enqueue(&self, payload: Bytes) -> Result<oneshot::Receiver<Result<Reply, Fault>>, Fault> {
        if self.log.queued_bytes() > QUEUE_BYTES {
            return Err(Fault::RequestTooManyRequests);
        }
        let (tell, told) = oneshot::channel();
        let landed = lock(&self.landed).clone().ok_or(Fault::Stopped)?;
        let _order = lock(&self.order);
        let id = LogId { index: self.log.state().next(), ..self.id };
        let at = Position { term: id.term, leader: id.node, index: id.index };
        let kept = payload.clone();
        let appended = self.log.append(vec![Entry { id, payload }], None, move |result| {
            // If the receiver is gone, so is who would answer: the caller sees its end closed.
            let _ = landed.send(Landed { entry: result.map(|()| (at, kept)), tell });
        });
        appended.map_err(|error| fault(&error))?;
        Ok(told)
    }
}

impl Consensus for Solo {
    fn propose(&self, command: Command) -> Pending<'_, Reply> {
        Box::pin(async move {
            let payload = command.encode_to_vec();
            let told = self.enqueue(payload.into())?;
            told.await.unwrap_or(Err(Fault::Stopped))
        })
    }

    /// Nobody else acknowledges anything, and an answer goes out only when it can be seen.
    fn read_barrier(&self) -> Pending<'_, ()> {
        let ended = self.ended.borrow().is_some();
        Box::pin(std::future::ready(if ended { Err(Fault::Stopped) } else { Ok(()) }))
    }

    fn status(&self) -> Status {
        Status {
            term: self.id.term,
            leader: self.id.node,
            index: self.log.durable_state().next(),
            applied: self.applied.load(Ordering::Relaxed),
            is_learner: false,
        }
    }
}

fn replay(machine: &mut Machine, log: &Log<Timed<RealDisk>>) -> Result<(), Error> {
    let state = log.state();
    let mut next = count(machine);
    if next > state.next() || state.first().is_some_and(|first| first > next) {
        let last = state.last.map_or_else(|| "none".to_owned(), |last| last.index.to_string());
        return Err(Error::LogBehind { last, applied: next.saturating_sub(1) });
    }
    while next < state.next() {
        let entries = log.read_up_to(next..state.next().min(next + BATCH as u64), 8 << 20)?;
        let entries: Vec<_> = entries.into_iter().map(|entry| (position(entry.id), entry.payload)).collect();
        machine.apply(&entries)?;
        let after = count(machine);
        if after == next {
            break;
        }
        next = after;
    }
    Ok(())
}

/// How many entries are applied, which is the index of the next.
fn count(machine: &Machine) -> u64 {
    machine.applied().map_or(0, |at| at.index + 1)
}

fn position(id: LogId) -> Position {
    Position { term: id.term, leader: id.node, index: id.index }
}

/// What a client is told when the log does not take its command.
fn fault(error: &kv_log::Error) -> Fault {
    match error {
        kv_log::Error::NoSpace { .. } => Fault::NoSpace,
        kv_log::Error::TooLarge { .. } => Fault::RequestTooLarge,
        // Behind one that could not be written.
        kv_log::Error::NotNext { .. } => Fault::Unhealthy,
        _ => Fault::Stopped,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The thread that applies.
struct Worker {
    machine: Machine,
    log: Log<Timed<RealDisk>>,
    lands: Receiver<Landed>,
    applied: Arc<AtomicU64>,
    kept_bytes: u64,
}

impl Worker {
    fn run(mut self) -> Result<(), Error> {
        loop {
            let more = self.machine.sweep()?;
            let first = if more {
                match self.lands.try_recv() {
                    Ok(landed) => landed,
                    Err(TryRecvError::Empty) => continue,
                    Err(TryRecvError::Disconnected) => break,
                }
            } else {
                let Ok(landed) = self.lands.recv() else { break };
                landed
            };
            self.apply(first)?;
            if self.kept_bytes >= KEEP_BYTES {
                self.keep()?;
            }
        }
        self.keep()
    }

    fn apply(&mut self, first: Landed) -> Result<(), Error> {
        let mut entries = Vec::new();
        let mut tells = Vec::new();
        let mut failed = None;
        let mut next = Some(first);
        while let Some(landed) = next {
            match landed.entry {
                Ok(entry) => {
                    self.kept_bytes += entry.1.len() as u64;
                    entries.push(entry);
                    tells.push(landed.tell);
                }
                Err(error) => {
                    // The client may have gone.
                    let _ = landed.tell.send(Err(fault(&error)));
                    if matches!(error, kv_log::Error::Failed { .. }) {
                        failed = Some(error);
                    }
                }
            }
            next = if entries.len() < BATCH { self.lands.try_recv().ok() } else { None };
        }
        if !entries.is_empty() {
            let replies = self.machine.apply(&entries)?;
            self.applied.store(count(&self.machine), Ordering::Relaxed);
            for (tell, reply) in tells.into_iter().zip(replies) {
                let _ = tell.send(Ok(reply));
            }
        }
        failed.map_or(Ok(()), |error| Err(error.into()))
    }

    /// Makes the database durable, and purges what it then does not need.
    fn keep(&mut self) -> Result<(), Error> {
        self.machine.make_durable()?;
        self.kept_bytes = 0;
        if let Some(at) = self.machine.applied() {
            let id = LogId { term: at.term, node: at.leader, index: at.index };
            self.log.save_committed(id);
            match self.log.purge(id) {
                // It goes on without: the next purge removes more.
                Ok(()) | Err(kv_log::Error::NoSpace { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
