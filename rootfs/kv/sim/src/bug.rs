//! Bugs that are planted beneath or beside the store, to show that they are found.

use std::io;
use std::sync::Arc;

use kv::consensus::{Consensus, Pending, Place, Status};
use kv::replica::WriteAhead;
use kv::replica::ask::{Answer, Ask};
use kv_api::kvpb::Command;
use kv_check::{History, Item, Watch};
use kv_core::{Caller, Reply};
use kv_log::disk::sim::SimDisk;
use kv_raft::log::{Flushed, LogRead};
use kv_raft::{Entry, LogId, LogState, LogStore, Vote};

/// A bug to plant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// None.
    None,
    /// The log says that entries are on the disk before they are: replies come before the fsync.
    EarlyReply,
    /// Reads do not ask whether this member is up to date.
    StaleRead,
    /// Who begins to lead gives each lease a part of its time, as if it had run on: what the one before
    /// knew of renewals is lost.
    ShortLease,
    /// A watch whose next events are compacted goes on behind them, and does not say so.
    WatchGap,
    /// A proposal is put into the log twice.
    TwoProposals,
}

impl Bug {
    /// All of them.
    pub const ALL: &[Self] =
        &[Self::EarlyReply, Self::StaleRead, Self::ShortLease, Self::WatchGap, Self::TwoProposals];

    /// What clients would have seen with a bug that is beside the store.
    pub fn spoil(self, mut history: History) -> History {
        if self == Self::WatchGap {
            join_over_compactions(&mut history);
        }
        history
    }
}

/// Makes one watch of two where the second went on behind a compaction that had ended the first.
fn join_over_compactions(history: &mut History) {
    let mut joined: Vec<Watch> = Vec::new();
    for mut watch in std::mem::take(&mut history.watches) {
        let before = joined.iter_mut().rev().find(|before| before.client == watch.client);
        let overtaken = before.filter(|before| matches!(before.items.last(), Some((_, Item::Canceled(1..)))));
        match overtaken {
            Some(before) => {
                before.items.pop();
                before
                    .items
                    .extend(watch.items.drain(..).filter(|(_, item)| !matches!(item, Item::Created(_))));
                before.settled = watch.settled;
            }
            None => joined.push(watch),
        }
    }
    history.watches = joined;
}

/// A consensus with a bug.
pub struct Buggy {
    /// The right one.
    pub inner: Arc<dyn Consensus>,
    /// The bug.
    pub bug: Bug,
}

impl Consensus for Buggy {
    fn propose(&self, command: Command) -> Pending<'_, Reply> {
        if self.bug != Bug::TwoProposals {
            return self.inner.propose(command);
        }
        Box::pin(async move {
            let _ = self.inner.propose(command.clone()).await;
            self.inner.propose(command).await
        })
    }

    fn read_barrier(&self) -> Pending<'_, ()> {
        if self.bug == Bug::StaleRead {
            return Box::pin(async { Ok(()) });
        }
        self.inner.read_barrier()
    }

    fn status(&self) -> Status {
        self.inner.status()
    }

    fn places(&self) -> Vec<Place> {
        self.inner.places()
    }

    fn ask_leader(&self, ask: Ask) -> Pending<'_, Answer> {
        self.inner.ask_leader(ask)
    }

    fn move_leader(&self, to: u64) -> Pending<'_, ()> {
        self.inner.move_leader(to)
    }

    fn expire(&self, term: u64, lease: i64, caller: Caller) -> Pending<'_, ()> {
        self.inner.expire(term, lease, caller)
    }
}

/// The log, with [`Bug::EarlyReply`] or without it.
pub struct Hasty {
    /// The right one.
    pub log: WriteAhead<SimDisk>,
    /// Whether it tells before the disk has synced.
    pub early: bool,
}

impl LogStore for Hasty {
    fn state(&self) -> io::Result<LogState> {
        self.log.state()
    }

    fn append(&mut self, entries: Vec<Entry>, done: Flushed) {
        let (later, early) =
            if self.early { (Box::new(|_| {}) as Flushed, Some(done)) } else { (done, None) };
        self.log.append(entries, later);
        if let Some(done) = early {
            done(Ok(()));
        }
    }

    fn save_vote(&mut self, vote: Vote, done: Flushed) {
        // An early vote would do harm as well; this bug is of entries alone.
        self.log.save_vote(vote, done);
    }

    fn save_committed(&mut self, committed: LogId) {
        self.log.save_committed(committed);
    }

    fn truncate_after(&mut self, last: Option<LogId>, done: Flushed) {
        self.log.truncate_after(last, done);
    }

    fn purge(&mut self, upto: LogId, done: Flushed) {
        self.log.purge(upto, done);
    }

    fn reader(&self) -> Arc<dyn LogRead> {
        self.log.reader()
    }
}
