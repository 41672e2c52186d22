//! A store in memory, and short forms of requests.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test's helper fails the test")]
#![allow(clippy::needless_pass_by_value, reason = "a command is made where it is given")]

pub mod disk;
pub mod model;

use bytes::Bytes;
use kv_core::{
    Command, DeleteRange, Error, KeyValue, Options, Position, Put, Range, RangeReply, Refusal, Reply, State,
    View,
};
use redb::backends::InMemoryBackend;

/// A state and the next place in its log.
pub struct Store {
    pub state: State,
    pub index: u64,
}

impl Store {
    pub fn new() -> Self {
        Self { state: State::open(InMemoryBackend::new(), options()).unwrap(), index: 0 }
    }

    pub fn apply(&mut self, command: Command) -> Reply {
        self.index += 1;
        let at = Position { term: 1, leader: 1, index: self.index };
        self.state.batch(|batch| batch.apply(at, &command)).unwrap()
    }

    /// Applies what must not be refused.
    #[track_caller]
    pub fn done(&mut self, command: Command) -> Reply {
        let reply = self.apply(command);
        assert!(reply.result.is_ok(), "{reply:?}");
        reply
    }

    pub fn range(&self, range: &Range) -> Result<RangeReply, Refusal> {
        self.state.view().unwrap().range(range).unwrap()
    }

    /// Carries a compaction's removals out, so many changes a step.
    pub fn sweep(&mut self, budget: usize) {
        while !self.state.compact_step(budget).unwrap().done {}
    }

    /// Everything that can be asked for, to compare two states.
    pub fn dump(&self) -> String {
        dump(&self.state.view().unwrap())
    }
}

pub fn options() -> Options {
    Options { cache_bytes: 1 << 20, verify: false }
}

/// The readable state: every revision's keys, the changes, the leases, the rest.
pub fn dump(view: &View) -> String {
    let mut lines = vec![format!("{} {}", view.revision(), view.compacted())];
    for revision in view.compacted().max(1)..=view.revision() {
        let all = Range { revision, ..range("\0", "\0") };
        lines.push(format!("{revision} {:?}", view.range(&all).unwrap().unwrap().kvs));
        lines.push(format!("{:?}", view.hash(revision).unwrap()));
    }
    let changes = view.changes_since(view.compacted(), usize::MAX, true, |_| true).unwrap();
    lines.push(format!("{changes:?} {:?}", view.alarms().unwrap()));
    for lease in view.leases().unwrap() {
        lines.push(format!("{lease:?} {:?}", view.lease_keys(lease.id).unwrap()));
    }
    lines.push(format!("{:?}", view.side_all(&[]).unwrap()));
    lines.push(format!("{:?}", view.policy().unwrap()));
    lines.push(format!("{:?}", view.hash_all().unwrap()));
    lines.join("\n")
}

pub fn snapshot(view: &View) -> Vec<u8> {
    let mut bytes = Vec::new();
    view.snapshot_to(&mut bytes).unwrap();
    bytes
}

pub fn restore(bytes: &[u8]) -> Result<State, Error> {
    let mut reader = bytes;
    State::restore(InMemoryBackend::new(), options(), &mut reader)
}

pub fn put(key: &str, value: &str) -> Command {
    let (key, value) = (Bytes::from(key.to_owned()), Bytes::from(value.to_owned()));
    Command::Put(Put { key, value, ..Put::default() })
}

pub fn delete(key: &str, end: &str) -> Command {
    let (key, range_end) = (Bytes::from(key.to_owned()), Bytes::from(end.to_owned()));
    Command::DeleteRange(DeleteRange { key, range_end, prev_kv: false })
}

pub fn range(key: &str, end: &str) -> Range {
    Range { key: key.to_owned().into(), range_end: end.to_owned().into(), ..Range::default() }
}

pub fn kv(key: &str, value: &str, create: i64, changed: i64, version: i64) -> KeyValue {
    KeyValue {
        key: key.to_owned().into(),
        create_revision: create,
        mod_revision: changed,
        version,
        value: value.to_owned().into(),
        lease: 0,
    }
}
