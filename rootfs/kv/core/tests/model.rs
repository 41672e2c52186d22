//! Random commands on the store and on the model beside it: every reply and event,
//! every range at every revision, and the changes, while compactions are carried out in steps, the
//! database is closed and opened, and snapshots are restored.

#![allow(clippy::unwrap_used, reason = "a test's failure is a panic")]

mod common;

use bytes::Bytes;
use common::disk::Disk;
use common::model::Model;
use common::{options, range, restore, snapshot};
use kv_core::{
    Command, Compare, CompareResult, DeleteRange, Error, Event, Operation, Position, Put, Range, Refusal,
    SortOrder, SortTarget, State, Target, Txn,
};
use proptest::collection::vec;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    /// Commands in one batch.
    Batch(Vec<Command>),
    Read(Range),
    /// Compacts this many revisions before the newest.
    Compact(i64),
    Sweep(usize),
    Reopen,
    Snapshot,
}

fn key() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        20 => prop::sample::select(vec!["a", "a\0", "ab", "b", "c", "d"]).prop_map(Bytes::from),
        1 => Just(Bytes::from_static(b"\xff\xff")),
        1 => Just(Bytes::from_static(b"\0")),
    ]
}

fn end() -> impl Strategy<Value = Bytes> {
    prop_oneof![4 => Just(Bytes::new()), 1 => Just(Bytes::from_static(b"\0")), 3 => key()]
}

fn value() -> impl Strategy<Value = Bytes> {
    prop::sample::select(vec!["", "1", "2", "33"]).prop_map(Bytes::from)
}

/// Revisions about as far as a run gets, few of them in the future.
fn revision() -> impl Strategy<Value = i64> {
    prop_oneof![3 => Just(0), 1 => Just(-1), 4 => 1..30_i64, 1 => 30..90_i64]
}

fn put() -> impl Strategy<Value = Put> {
    let flags = (any::<bool>(), prop::bool::weighted(0.1), prop::bool::weighted(0.1));
    (key(), value(), 0..3_i64, flags).prop_map(
        |(key, value, lease, (prev_kv, ignore_value, ignore_lease))| Put {
            key,
            value: if ignore_value { Bytes::new() } else { value },
            lease: if ignore_lease { 0 } else { lease },
            prev_kv,
            ignore_value,
            ignore_lease,
        },
    )
}

fn delete() -> impl Strategy<Value = DeleteRange> {
    (key(), end(), any::<bool>()).prop_map(|(key, range_end, prev_kv)| DeleteRange {
        key,
        range_end,
        prev_kv,
    })
}

fn read() -> impl Strategy<Value = Range> {
    let order = prop::sample::select(vec![SortOrder::None, SortOrder::Ascend, SortOrder::Descend]);
    let target = prop::sample::select(vec![
        SortTarget::Key,
        SortTarget::Version,
        SortTarget::Create,
        SortTarget::Mod,
        SortTarget::Value,
    ]);
    let filter = || prop_oneof![6 => Just(0), 1 => 1..20_i64];
    let filters = (filter(), filter(), filter(), filter());
    let flags = (prop::bool::weighted(0.2), prop::bool::weighted(0.1));
    (key(), end(), 0..5_i64, revision(), order, target, flags, filters).prop_map(
        |(key, range_end, limit, revision, sort_order, sort_target, (keys_only, count_only), filters)| {
            Range {
                key,
                range_end,
                limit,
                revision,
                sort_order,
                sort_target,
                keys_only,
                count_only,
                min_mod_revision: filters.0,
                max_mod_revision: filters.1,
                min_create_revision: filters.2,
                max_create_revision: filters.3,
            }
        },
    )
}

fn compare() -> impl Strategy<Value = Compare> {
    let result = prop::sample::select(vec![
        CompareResult::Equal,
        CompareResult::NotEqual,
        CompareResult::Greater,
        CompareResult::Less,
    ]);
    let target = prop_oneof![
        (0..4_i64).prop_map(Target::Version),
        (0..20_i64).prop_map(Target::Create),
        (0..20_i64).prop_map(Target::Mod),
        (0..3_i64).prop_map(Target::Lease),
        value().prop_map(Target::Value),
    ];
    (key(), end(), result, target).prop_map(|(key, range_end, result, target)| Compare {
        key,
        range_end,
        result,
        target,
    })
}

fn txn() -> impl Strategy<Value = Txn> {
    let leaf = prop_oneof![
        3 => put().prop_map(Operation::Put),
        1 => delete().prop_map(Operation::DeleteRange),
        2 => read().prop_map(Operation::Range),
    ];
    let list = leaf.prop_recursive(2, 12, 3, |inner| {
        (vec(compare(), 0..2), vec(inner.clone(), 0..3), vec(inner, 0..3))
            .prop_map(|(compare, success, failure)| Operation::Txn(Txn { compare, success, failure }))
    });
    (vec(compare(), 0..2), vec(list.clone(), 0..4), vec(list, 0..3))
        .prop_map(|(compare, success, failure)| Txn { compare, success, failure })
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        6 => put().prop_map(Command::Put),
        3 => delete().prop_map(Command::DeleteRange),
        6 => txn().prop_map(Command::Txn),
        2 => (0..3_i64).prop_map(|id| Command::LeaseGrant { id, ttl_s: 10 }),
        1 => (1..3_i64).prop_map(|id| Command::LeaseRevoke { id }),
        1 => Just(Command::Nothing),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => vec(command(), 1..6).prop_map(Step::Batch),
        6 => read().prop_map(Step::Read),
        2 => (-1..12_i64).prop_map(Step::Compact),
        3 => (1..6_usize).prop_map(Step::Sweep),
        1 => Just(Step::Reopen),
        1 => Just(Step::Snapshot),
    ]
}

struct Run {
    disk: Disk,
    state: Option<State>,
    model: Model,
    index: u64,
}

impl Run {
    fn new() -> Self {
        let disk = Disk::new();
        let state = Some(State::open(disk.clone(), options()).unwrap());
        Self { disk, state, model: Model::new(), index: 0 }
    }

    fn state(&mut self) -> &mut State {
        self.state.as_mut().unwrap()
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Batch(commands) => self.batch(&commands),
            Step::Read(range) => {
                let found = self.state().view().unwrap().range(&range).unwrap();
                assert_eq!(found, self.model.range(&range), "{range:?}");
            }
            Step::Compact(back) => {
                let revision = self.model.revision - back;
                self.batch(&[Command::Compact { revision }]);
            }
            Step::Sweep(budget) => {
                self.state().compact_step(budget).unwrap();
            }
            Step::Reopen => {
                drop(self.state.take());
                self.disk = self.disk.closed();
                self.state = Some(State::open(self.disk.clone(), options()).unwrap());
                assert_eq!(self.state().applied().map_or(0, |at| at.index), self.index);
                self.compare_all();
            }
            Step::Snapshot => {
                let bytes = snapshot(&self.state().view().unwrap());
                let disk = Disk::new();
                let state = State::restore(disk.clone(), options(), &mut bytes.as_slice()).unwrap();
                assert_eq!(state.applied(), self.state().applied());
                assert_eq!(snapshot(&state.view().unwrap()), bytes);
                (self.disk, self.state) = (disk, Some(state));
                self.compare_all();
            }
        }
    }

    fn batch(&mut self, commands: &[Command]) {
        let first = self.index + 1;
        self.index += commands.len() as u64;
        let model = &mut self.model;
        let told = model.events.len();
        let events = self.state.as_mut().unwrap().batch(|batch| {
            for (index, command) in (first..).zip(commands) {
                let reply = batch.apply(Position { term: 1, leader: 1, index }, command)?;
                assert_eq!(reply, model.apply(command), "{command:?}");
            }
            Ok::<_, Error>(batch.take_events())
        });
        assert_eq!(events.unwrap(), model.events[told..], "{commands:?}");
    }

    fn compare_all(&mut self) {
        let model = self.model.clone();
        let view = self.state().view().unwrap();
        assert_eq!((view.revision(), view.compacted()), (model.revision, model.compacted));
        for revision in model.compacted.max(1)..=model.revision {
            for (key, end) in [("\0", "\0"), ("a", "b"), ("a", ""), ("ab", "\0"), ("a\0", "c"), ("b", "")] {
                let range = Range { revision, ..range(key, end) };
                assert_eq!(view.range(&range).unwrap(), model.range(&range), "{range:?}");
            }
        }
        let below = model.compacted - 1;
        assert_eq!(view.changes_since(below, 1, true, |_| true).unwrap(), Err(Refusal::Compacted));
        for from in model.compacted..=model.revision + 1 {
            let mut next = from;
            let mut events = Vec::new();
            while next <= model.revision {
                let changes = view.changes_since(next, 3, true, |key| key != b"c").unwrap().unwrap();
                assert!(changes.next > next);
                next = changes.next;
                events.extend(changes.events);
            }
            assert_eq!(events, expected_changes(&model, from), "from {from}");
        }
        let leases: Vec<_> = view.leases().unwrap().iter().map(|lease| (lease.id, lease.ttl_s)).collect();
        assert_eq!(leases, model.leases.clone().into_iter().collect::<Vec<_>>());
        for id in model.leases.keys() {
            assert_eq!(view.lease_keys(*id).unwrap(), model.keys_of(*id));
        }
    }
}

fn expected_changes(model: &Model, from: i64) -> Vec<Event> {
    let wanted = |event: &&Event| event.kv.mod_revision >= from && event.kv.key != "c";
    let mut events: Vec<_> = model.events.iter().filter(wanted).cloned().collect();
    for event in &mut events {
        if event.kv.mod_revision <= model.compacted {
            event.prev_kv = None;
        }
    }
    events
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn the_store_does_as_the_model(steps in vec(step(), 1..60)) {
        let mut run = Run::new();
        for step in steps {
            run.step(step);
        }
        run.compare_all();
        // What is left of the compactions changes nothing that can be seen.
        let hashes = |run: &mut Run| {
            let view = run.state().view().unwrap();
            let revisions = view.compacted().max(1)..=view.revision();
            revisions.map(|revision| view.hash(revision).unwrap()).collect::<Vec<_>>()
        };
        let before = hashes(&mut run);
        while !run.state().compact_step(3).unwrap().done {}
        run.compare_all();
        prop_assert_eq!(before, hashes(&mut run));
        let again = restore(&snapshot(&run.state().view().unwrap())).unwrap();
        prop_assert_eq!(common::dump(&again.view().unwrap()), common::dump(&run.state().view().unwrap()));
    }
}
