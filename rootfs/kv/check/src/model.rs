//! The store's state machine as the checker knows it.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use bytes::Bytes;

use crate::history::{Call, Compare, Event, Given, How, Kv, Span, Step, Test, Txn};

/// All keys, after some revision.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// The newest revision.
    pub revision: i64,
    /// What is there.
    pub keys: BTreeMap<Bytes, Kv>,
}

impl Default for State {
    /// Empty, at revision 1, as etcd begins.
    fn default() -> Self {
        Self { revision: 1, keys: BTreeMap::new() }
    }
}

/// What came of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// Which branch was taken.
    pub succeeded: bool,
    /// What its steps gave.
    pub given: Vec<Given>,
    /// What has changed.
    pub events: Vec<Event>,
}

impl State {
    /// Does what a call does to keys. If that changes something, the revision is the next one.
    pub fn apply(&mut self, call: &Call) -> Done {
        let mut done = Done { succeeded: true, given: Vec::new(), events: Vec::new() };
        let steps = match call {
            Call::Step(step) => std::slice::from_ref(step),
            Call::Txn(Txn { compare, then, otherwise }) => {
                done.succeeded = compare.iter().all(|compare| self.holds(compare));
                if done.succeeded { then } else { otherwise }
            }
            Call::Revoke(lease) => {
                done.events = self.drop_lease(*lease);
                return done;
            }
            Call::ReadAt(..) | Call::Compact(_) | Call::Grant { .. } | Call::KeepAlive(_) => return done,
        };
        let revision = self.revision + 1;
        for step in steps {
            let given = self.step(step, revision, &mut done.events);
            done.given.push(given);
        }
        if !done.events.is_empty() {
            self.revision = revision;
        }
        done
    }

    /// Deletes all keys of a lease.
    pub fn drop_lease(&mut self, lease: i64) -> Vec<Event> {
        let revision = self.revision + 1;
        let keys = self.keys.values().filter(|kv| lease != 0 && kv.lease == lease);
        let keys: Vec<Bytes> = keys.map(|kv| kv.key.clone()).collect();
        let events: Vec<_> = keys.iter().filter_map(|key| self.remove(key, revision)).collect();
        if !events.is_empty() {
            self.revision = revision;
        }
        events
    }

    /// The keys of a range.
    pub fn get(&self, span: &Span) -> Vec<Kv> {
        if span.end.is_empty() {
            return self.keys.get(&span.key).cloned().into_iter().collect();
        }
        let from = self
            .keys
            .range::<[u8], _>((std::ops::Bound::Included(span.key.as_ref()), std::ops::Bound::Unbounded));
        from.map(|(_, kv)| kv).take_while(|kv| span.has(&kv.key)).cloned().collect()
    }

    fn remove(&mut self, key: &Bytes, revision: i64) -> Option<Event> {
        let prev = self.keys.remove(key)?;
        let kv = Kv { key: key.clone(), modified: revision, ..Kv::default() };
        Some(Event { deleted: true, kv, prev: Some(prev) })
    }

    fn step(&mut self, step: &Step, revision: i64, events: &mut Vec<Event>) -> Given {
        match step {
            Step::Get(span) => Given::Got(self.get(span)),
            Step::Put { key, value, lease } => {
                let prev = self.keys.get(key).cloned();
                let kv = Kv {
                    key: key.clone(),
                    value: value.clone(),
                    create: prev.as_ref().map_or(revision, |kv| kv.create),
                    modified: revision,
                    version: prev.as_ref().map_or(0, |kv| kv.version) + 1,
                    lease: *lease,
                };
                self.keys.insert(key.clone(), kv.clone());
                events.push(Event { deleted: false, kv, prev: prev.clone() });
                Given::Put(prev)
            }
            Step::Delete(span) => {
                let gone = self.get(span);
                events.extend(gone.iter().filter_map(|kv| self.remove(&kv.key, revision)));
                Given::Deleted(gone)
            }
        }
    }

    fn holds(&self, compare: &Compare) -> bool {
        let kv = self.keys.get(&compare.key);
        let number = |of: fn(&Kv) -> i64, with: &i64| kv.map_or(0, of).cmp(with);
        let found = match &compare.test {
            Test::Version(with) => number(|kv| kv.version, with),
            Test::Create(with) => number(|kv| kv.create, with),
            Test::Modified(with) => number(|kv| kv.modified, with),
            Test::Lease(with) => number(|kv| kv.lease, with),
            Test::Value(with) => match kv {
                Some(kv) => kv.value.cmp(with),
                None => return false,
            },
        };
        match compare.how {
            How::Equal => found == Ordering::Equal,
            How::Unequal => found != Ordering::Equal,
            How::Greater => found == Ordering::Greater,
            How::Less => found == Ordering::Less,
        }
    }
}
