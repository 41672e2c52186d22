//! What the log holds.

use bytes::Bytes;

/// Which entry: an index, and the leadership under which it was proposed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct LogId {
    /// Raft's term.
    pub term: u64,
    /// The leader of that term.
    pub node: u64,
    /// The place in the log.
    pub index: u64,
}

/// An entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Which one.
    pub id: LogId,
    /// What it says; the log does not look into it.
    pub payload: Bytes,
}

/// A vote: for whom, in which term, and whether a majority has granted it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vote {
    /// Raft's term.
    pub term: u64,
    /// The candidate, or the leader.
    pub node: u64,
    /// Whether it is a leader by now.
    pub committed: bool,
}

/// What the log is, apart from its entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The last vote that was saved.
    pub vote: Option<Vote>,
    /// The last entry known to be committed. It is written along with other things, so after a
    /// crash it can be an earlier one.
    pub committed: Option<LogId>,
    /// The last entry that was purged.
    pub purged: Option<LogId>,
    /// The last entry, or what was purged when there is none behind that.
    pub last: Option<LogId>,
}

impl State {
    /// The index of the first entry that is there, if any is.
    pub fn first(&self) -> Option<u64> {
        let first = self.after_purged();
        (first < self.next()).then_some(first)
    }

    /// The index that the next entry must have.
    pub fn next(&self) -> u64 {
        self.last.map_or(0, |last| last.index + 1)
    }

    /// The lowest index that is not purged.
    pub(crate) fn after_purged(&self) -> u64 {
        self.purged.map_or(0, |purged| purged.index + 1)
    }
}
