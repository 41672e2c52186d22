//! What clients do: all kinds of calls, on few keys, so that they meet.

use std::ops::RangeInclusive;

use bytes::Bytes;

use crate::history::{Answer, Body, Call, Compare, End, How, Span, Step, Test, Txn};

/// For how long leases are granted.
pub type Seconds = RangeInclusive<i64>;

/// Keys that are written.
const KEYS: u64 = 8;
/// Leases that are used at a time.
const LEASES: usize = 5;
/// Revisions that a compaction leaves, at most.
const KEPT: u64 = 12;

/// What the clients together know, to choose what they do next.
#[derive(Debug)]
pub struct Work {
    seconds: Seconds,
    /// Values that were written so far: each is another one.
    values: u64,
    granted: i64,
    leases: Vec<i64>,
    newest: i64,
    compacted: i64,
}

impl Default for Work {
    fn default() -> Self {
        Self::new(2..=5)
    }
}

impl Work {
    /// Nothing is known.
    pub fn new(seconds: Seconds) -> Self {
        Self { seconds, values: 0, granted: 0, leases: Vec::new(), newest: 1, compacted: 0 }
    }

    /// The newest revision that anybody was told.
    pub fn newest(&self) -> i64 {
        self.newest
    }

    /// A revision was seen.
    pub fn see(&mut self, revision: i64) {
        self.newest = self.newest.max(revision);
    }

    /// Learns from what came of a call.
    pub fn learn(&mut self, call: &Call, outcome: &End) {
        let End::Answered(Answer { revision, body }) = outcome else { return };
        self.see(*revision);
        match (call, body) {
            (Call::Grant { lease, .. }, _) => {
                self.leases.push(*lease);
                if self.leases.len() > LEASES {
                    self.leases.remove(0);
                }
            }
            (Call::Revoke(gone), _) | (Call::KeepAlive(gone), Body::Alive(0)) => {
                self.leases.retain(|lease| lease != gone);
            }
            (Call::Compact(revision), _) => self.compacted = self.compacted.max(*revision),
            _ => {}
        }
    }

    /// Something to do, and whether it need not be of the newest state.
    pub fn draw(&mut self, random: &mut impl FnMut(u64) -> u64) -> (Call, bool) {
        let key = |random: &mut dyn FnMut(u64) -> u64| Bytes::from(format!("key-{}", random(KEYS)));
        let one = key(random);
        let lease =
            if self.leases.is_empty() { 0 } else { self.leases[random(self.leases.len() as u64) as usize] };
        let held = if random(6) == 0 { lease } else { 0 };
        let call = match random(100) {
            0..=29 => Call::Step(self.put(one, held)),
            // From 30 to 49, and where there is no lease: a read of one key.
            50..=54 => Call::Step(Step::Get(Span::all())),
            55..=59 => Call::Step(Step::Delete(Span::one(one))),
            60..=61 => Call::Step(Step::Delete(Span { key: one, end: "key-4".into() })),
            62..=74 => Call::Txn(self.txn(one, key(random), held, random)),
            75..=80 => Call::ReadAt(Span::all(), (self.newest - random(2 * KEPT) as i64).max(1)),
            81..=83 => Call::Compact((self.newest - random(KEPT) as i64).max(self.compacted + 1)),
            84..=86 => {
                self.granted += 1;
                let (least, most) = (*self.seconds.start(), *self.seconds.end());
                Call::Grant { lease: self.granted, seconds: least + random((most - least + 1) as u64) as i64 }
            }
            87..=95 if lease != 0 => Call::KeepAlive(lease),
            96..=97 if lease != 0 => Call::Revoke(lease),
            _ => Call::Step(Step::Get(Span::one(one))),
        };
        let may_lag = matches!(call, Call::Step(Step::Get(_)) | Call::ReadAt(..));
        let serializable = may_lag && random(3) == 0;
        (call, serializable)
    }

    fn put(&mut self, key: Bytes, lease: i64) -> Step {
        self.values += 1;
        Step::Put { key, value: format!("v{}", self.values).into(), lease }
    }

    fn txn(&mut self, one: Bytes, other: Bytes, lease: i64, random: &mut impl FnMut(u64) -> u64) -> Txn {
        let test = match random(4) {
            0 => Test::Version(random(3) as i64),
            1 => Test::Modified((self.newest - random(20) as i64).max(0)),
            2 => Test::Create(0),
            _ => Test::Value(format!("v{}", self.values.saturating_sub(random(10))).into()),
        };
        let how = [How::Equal, How::Unequal, How::Greater, How::Less][random(4) as usize];
        let mut then = vec![self.put(one.clone(), lease)];
        if other != one {
            let step = match random(2) {
                0 => self.put(other.clone(), 0),
                _ => Step::Delete(Span::one(other.clone())),
            };
            then.push(step);
        }
        then.push(Step::Get(Span::all()));
        let otherwise = match random(3) {
            0 => vec![self.put(other, 0)],
            _ => vec![Step::Get(Span::one(one.clone()))],
        };
        Txn { compare: vec![Compare { key: one, how, test }], then, otherwise }
    }
}
