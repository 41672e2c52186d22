//! Right histories from a perfect store, for tests to check and to spoil.

#![allow(dead_code, reason = "each test uses a part")]

use std::collections::BTreeMap;

use bytes::Bytes;
use kv_check::model::State;
use kv_check::{
    Answer, Body, Bounds, Call, Compare, End, Event, Given, History, How, Item, Kv, Operation, Refusal, Span,
    Step, Test, Txn, Watch,
};

pub const BOUNDS: Bounds = Bounds { drift_per_mille: 100, slack_us: 2_000_000 };

/// `SplitMix64`.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end.max(1)
    }
}

pub fn put(key: &str, value: &str, lease: i64) -> Call {
    Call::Step(Step::Put { key: key.to_owned().into(), value: value.to_owned().into(), lease })
}

pub fn get(key: &str) -> Call {
    Call::Step(Step::Get(Span::one(key.to_owned())))
}

pub fn delete(key: &str) -> Call {
    Call::Step(Step::Delete(Span::one(key.to_owned())))
}

/// A store without faults, and its history. Times are given; nothing is checked.
#[derive(Default)]
pub struct Perfect {
    pub state: State,
    pub past: BTreeMap<i64, State>,
    pub events: Vec<Event>,
    pub history: History,
    pub compacted: i64,
}

impl Perfect {
    /// A call that happens now; gives its place in the history.
    pub fn call(&mut self, begin: u64, end: u64, call: Call) -> usize {
        let body = match &call {
            Call::Grant { seconds, .. } => Body::Alive(*seconds),
            Call::KeepAlive(_) => Body::Alive(10),
            Call::ReadAt(span, revision) if *revision < self.compacted => {
                let _ = span;
                return self.note(begin, end, call, End::Refused(Refusal::Compacted));
            }
            Call::ReadAt(span, revision) => {
                let given = self.past.get(revision).map_or(Vec::new(), |state| state.get(span));
                Body::Steps { succeeded: true, given: vec![Given::Got(given)] }
            }
            Call::Compact(revision) => {
                self.compacted = *revision;
                Body::Done
            }
            _ => {
                let done = self.state.apply(&call);
                self.happened(done.events);
                match &call {
                    Call::Revoke(_) => Body::Done,
                    _ => Body::Steps { succeeded: done.succeeded, given: done.given },
                }
            }
        };
        let answer = Answer { revision: self.state.revision, body };
        self.note(begin, end, call, End::Answered(answer))
    }

    fn happened(&mut self, events: Vec<Event>) {
        self.events.extend(events);
        self.past.insert(self.state.revision, self.state.clone());
    }

    /// A call that happens now, and of which its client never hears.
    pub fn lost(&mut self, begin: u64, call: Call) -> usize {
        let events = self.state.apply(&call).events;
        self.happened(events);
        self.note(begin, begin + 5, call, End::Unknown)
    }

    /// A lease ends now.
    pub fn lease_ends(&mut self, lease: i64) {
        let events = self.state.drop_lease(lease);
        self.happened(events);
    }

    pub fn note(&mut self, begin: u64, end: u64, call: Call, outcome: End) -> usize {
        let operation = Operation { client: 1, session: 1, begin, end, serializable: false, call, outcome };
        self.history.operations.push(operation);
        self.history.operations.len() - 1
    }

    /// A watch that was told all from `start` on, an answer for each revision, at `time`.
    pub fn watch(&mut self, span: Span, start: i64, time: u64) -> usize {
        let mut items = vec![(time, Item::Created(self.state.revision))];
        let told = self.events.iter().filter(|event| event.kv.modified >= start && span.has(&event.kv.key));
        for event in told.cloned() {
            match items.last_mut() {
                Some((_, Item::Events(_, events))) if events[0].kv.modified == event.kv.modified => {
                    events.push(event);
                }
                _ => items.push((time, Item::Events(event.kv.modified, vec![event]))),
            }
        }
        self.history.watches.push(Watch { client: 1, span, start, begin: 0, items, settled: true });
        self.history.watches.len() - 1
    }

    pub fn answer(&mut self, at: usize) -> &mut Answer {
        match &mut self.history.operations[at].outcome {
            End::Answered(answer) => answer,
            other => panic!("{other:?}"),
        }
    }

    pub fn given(&mut self, at: usize) -> &mut Vec<Given> {
        match &mut self.answer(at).body {
            Body::Steps { given, .. } => given,
            other => panic!("{other:?}"),
        }
    }
}

/// What clients do in a run of some size: five of them, all kinds of calls, some answers lost.
pub fn run(seed: u64, calls: u64) -> Perfect {
    let mut random = Random(seed);
    let mut store = Perfect::default();
    let mut lease = 0;
    for number in 0..calls {
        let time = 100 * (number + 1);
        let (begin, end) = (time - random.below(300).min(time), time + random.below(300));
        let key = format!("k{}", random.below(8));
        let value = format!("v{number}");
        let held = if lease > 0 && random.below(4) == 0 { lease } else { 0 };
        let lost = random.below(20) == 0;
        let call = match random.below(20) {
            0..=6 => put(&key, &value, held),
            11 => Call::Step(Step::Get(Span::all())),
            12 => delete(&key),
            13 | 14 => {
                let version = store.state.keys.get(key.as_bytes()).map_or(0, |kv| kv.version);
                let put = |key: &str| Step::Put {
                    key: key.to_owned().into(),
                    value: value.clone().into(),
                    lease: held,
                };
                Call::Txn(Txn {
                    compare: vec![Compare {
                        key: Bytes::from(key.clone()),
                        how: How::Equal,
                        test: Test::Version(version + random.below(3) as i64 / 2),
                    }],
                    then: vec![put("a"), put("b"), Step::Get(Span::all())],
                    otherwise: vec![Step::Get(Span::one(key))],
                })
            }
            15 if store.state.revision > store.compacted + 1 => Call::Compact(store.state.revision - 1),
            16 if store.state.revision > 1 => Call::ReadAt(
                Span::all(),
                store.state.revision - random.below(5).min(store.state.revision as u64 - 2) as i64,
            ),
            17 => {
                lease += 1;
                Call::Grant { lease, seconds: 10 }
            }
            18 if lease > 1 => Call::Revoke(lease - 1),
            _ => get(&key),
        };
        match call {
            Call::Grant { .. } | Call::Compact(_) | Call::ReadAt(..) => drop(store.call(begin, end, call)),
            call if lost => drop(store.lost(begin, call)),
            call => drop(store.call(begin, end, call)),
        }
    }
    store.watch(Span::all(), 2, 100 * (calls + 10));
    store.watch(Span::one("k1"), 2, 100 * (calls + 10));
    store
}

pub fn kv(key: &str) -> Kv {
    Kv { key: key.to_owned().into(), ..Kv::default() }
}
