//! The store as one would write it without a database: each key's whole history in
//! a list, nothing ever removed, everything found by looking through all of it.

use std::collections::BTreeMap;

use bytes::Bytes;
use kv_core::{
    Command, Compare, CompareResult, DeleteRange, DeleteRangeReply, Event, EventKind, KeyValue, MAX_TTL_S,
    Operation, OperationReply, Outcome, Put, PutReply, Range, RangeReply, Refusal, Reply, SortOrder,
    SortTarget, Target, Txn, TxnReply, check_delete, check_put, check_txn,
};

type Histories = BTreeMap<Bytes, Vec<(i64, Option<KeyValue>)>>;

#[derive(Clone)]
pub struct Model {
    pub revision: i64,
    pub compacted: i64,
    histories: Histories,
    pub leases: BTreeMap<i64, i64>,
    pub events: Vec<Event>,
}

fn within(key: &[u8], start: &[u8], end: &[u8]) -> bool {
    match end {
        [] => key == start,
        [0] => key >= start,
        end => key >= start && key < end,
    }
}

impl Model {
    pub fn new() -> Self {
        Self {
            revision: 1,
            compacted: -1,
            histories: BTreeMap::new(),
            leases: BTreeMap::new(),
            events: Vec::new(),
        }
    }

    /// The keys of a range as they were at a revision.
    pub fn at(&self, start: &[u8], end: &[u8], revision: i64) -> Vec<KeyValue> {
        let newest = |history: &Vec<(i64, Option<KeyValue>)>| {
            history.iter().rev().find(|(at, _)| *at <= revision).and_then(|(_, kv)| kv.clone())
        };
        self.histories
            .iter()
            .filter(|(key, _)| within(key, start, end))
            .filter_map(|(_, history)| newest(history))
            .collect()
    }

    pub fn keys_of(&self, lease: i64) -> Vec<Bytes> {
        let all = self.at(&[], &[0], i64::MAX).into_iter();
        all.filter(|kv| kv.lease == lease).map(|kv| kv.key).collect()
    }

    pub fn range(&self, range: &Range) -> Result<RangeReply, Refusal> {
        if range.revision > self.revision {
            return Err(Refusal::FutureRevision);
        }
        let revision = if range.revision <= 0 { self.revision } else { range.revision };
        if revision < self.compacted {
            return Err(Refusal::Compacted);
        }
        let mut kvs = self.at(&range.key, &range.range_end, revision);
        let count = kvs.len() as i64;
        if range.count_only {
            return Ok(RangeReply { revision: self.revision, kvs: Vec::new(), more: false, count });
        }
        let filters = [
            range.min_mod_revision,
            range.max_mod_revision,
            range.min_create_revision,
            range.max_create_revision,
        ];
        if range.limit > 0 && range.sort_order == SortOrder::None && filters == [0; 4] {
            kvs.truncate(usize::try_from(range.limit).unwrap().saturating_add(1));
        }
        kvs.retain(|kv| {
            let [min_mod, max_mod, min_create, max_create] = filters;
            kv.mod_revision >= min_mod
                && (max_mod == 0 || kv.mod_revision <= max_mod)
                && kv.create_revision >= min_create
                && (max_create == 0 || kv.create_revision <= max_create)
        });
        let by = |target: SortTarget, kv: &KeyValue| match target {
            SortTarget::Key => (0, kv.key.clone()),
            SortTarget::Version => (kv.version, Bytes::new()),
            SortTarget::Create => (kv.create_revision, Bytes::new()),
            SortTarget::Mod => (kv.mod_revision, Bytes::new()),
            SortTarget::Value => (0, kv.value.clone()),
        };
        match range.sort_order {
            SortOrder::Descend => {
                kvs.sort_by_key(|kv| std::cmp::Reverse(by(range.sort_target, kv)));
            }
            _ => kvs.sort_by_key(|kv| by(range.sort_target, kv)),
        }
        let more = range.limit > 0 && kvs.len() as i64 > range.limit;
        if more {
            kvs.truncate(range.limit as usize);
        }
        if range.keys_only {
            for kv in &mut kvs {
                kv.value = Bytes::new();
            }
        }
        Ok(RangeReply { revision: self.revision, kvs, more, count })
    }

    pub fn apply(&mut self, command: &Command) -> Reply {
        let result = self.outcome(command);
        Reply { revision: self.revision, result }
    }

    fn outcome(&mut self, command: &Command) -> Result<Outcome, Refusal> {
        match command {
            Command::Nothing | Command::Side(_) => Ok(Outcome::Done),
            Command::Put(put) => {
                check_put(put)?;
                self.can_put(put)?;
                Ok(Outcome::Put(self.write(|model, next| model.put(put, next))))
            }
            Command::DeleteRange(delete) => {
                check_delete(delete)?;
                Ok(Outcome::DeleteRange(self.write(|model, next| model.delete(delete, next))))
            }
            Command::Txn(txn) => {
                check_txn(txn, usize::MAX)?;
                let before = self.clone();
                before.can_do(txn)?;
                let mut reply = self.write(|model, next| model.txn(&before, txn, next));
                reply.revision = self.revision;
                Ok(Outcome::Txn(reply))
            }
            Command::Compact { revision } => {
                if *revision <= self.compacted {
                    return Err(Refusal::Compacted);
                }
                if *revision > self.revision {
                    return Err(Refusal::FutureRevision);
                }
                self.compacted = *revision;
                Ok(Outcome::Done)
            }
            Command::LeaseGrant { id, ttl_s } => {
                if *id == 0 {
                    return Err(Refusal::LeaseNotFound);
                }
                if *ttl_s > MAX_TTL_S {
                    return Err(Refusal::LeaseTtlTooLarge);
                }
                if self.leases.contains_key(id) {
                    return Err(Refusal::LeaseExists);
                }
                self.leases.insert(*id, *ttl_s);
                Ok(Outcome::LeaseGrant { id: *id, ttl_s: *ttl_s })
            }
            Command::LeaseRevoke { id } => {
                self.leases.remove(id).ok_or(Refusal::LeaseNotFound)?;
                let keys = self.keys_of(*id);
                self.write(|model, next| {
                    for key in &keys {
                        model.remove(key, next);
                    }
                });
                Ok(Outcome::Done)
            }
            Command::LeaseCheckpoint(_) | Command::Alarm { .. } | Command::Auth(_) => {
                unreachable!("have tests of their own")
            }
        }
    }

    /// Runs changes at the next revision, which becomes the newest if there were any.
    fn write<T>(&mut self, change: impl FnOnce(&mut Self, i64) -> T) -> T {
        let (next, before) = (self.revision + 1, self.events.len());
        let result = change(self, next);
        if self.events.len() > before {
            self.revision = next;
        }
        result
    }

    fn one(&self, key: &[u8]) -> Option<KeyValue> {
        self.at(key, &[], i64::MAX).pop()
    }

    fn can_put(&self, put: &Put) -> Result<(), Refusal> {
        if put.lease != 0 && !self.leases.contains_key(&put.lease) {
            return Err(Refusal::LeaseNotFound);
        }
        if (put.ignore_value || put.ignore_lease) && self.one(&put.key).is_none() {
            return Err(Refusal::KeyNotFound);
        }
        Ok(())
    }

    fn put(&mut self, put: &Put, next: i64) -> PutReply {
        let old = self.one(&put.key);
        let keep = old.clone().unwrap_or_default();
        let kv = KeyValue {
            key: put.key.clone(),
            create_revision: old.as_ref().map_or(next, |old| old.create_revision),
            mod_revision: next,
            version: keep.version + 1,
            value: if put.ignore_value { keep.value } else { put.value.clone() },
            lease: if put.ignore_lease { keep.lease } else { put.lease },
        };
        self.record(EventKind::Put, &put.key, Some(kv), next);
        PutReply { revision: next, prev_kv: old.filter(|_| put.prev_kv) }
    }

    fn delete(&mut self, delete: &DeleteRange, next: i64) -> DeleteRangeReply {
        let before = self.at(&delete.key, &delete.range_end, i64::MAX);
        for kv in &before {
            self.remove(&kv.key, next);
        }
        let changed = self.events.last().is_some_and(|event| event.kv.mod_revision == next);
        DeleteRangeReply {
            revision: if changed { next } else { next - 1 },
            deleted: before.len() as i64,
            prev_kvs: if delete.prev_kv { before } else { Vec::new() },
        }
    }

    fn remove(&mut self, key: &Bytes, next: i64) {
        self.record(EventKind::Delete, key, None, next);
    }

    fn record(&mut self, kind: EventKind, key: &Bytes, kv: Option<KeyValue>, next: i64) {
        let prev_kv = self.at(key, &[], next - 1).pop();
        let made = kv.as_ref().is_some_and(|kv| kv.create_revision == next);
        let told = kv.clone().unwrap_or_else(|| KeyValue {
            key: key.clone(),
            mod_revision: next,
            ..KeyValue::default()
        });
        self.events.push(Event { kind, kv: told, prev_kv: prev_kv.filter(|_| !made) });
        self.histories.entry(key.clone()).or_default().push((next, kv));
    }

    fn holds(&self, compare: &Compare) -> bool {
        let kvs = self.at(&compare.key, &compare.range_end, i64::MAX);
        if kvs.is_empty() {
            let value = matches!(compare.target, Target::Value(_));
            return !value && stands(compare, &KeyValue::default());
        }
        kvs.iter().all(|kv| stands(compare, kv))
    }

    fn chosen<'t>(&self, txn: &'t Txn) -> (bool, &'t [Operation]) {
        let succeeded = txn.compare.iter().all(|compare| self.holds(compare));
        (succeeded, if succeeded { &txn.success } else { &txn.failure })
    }

    fn can_do(&self, txn: &Txn) -> Result<(), Refusal> {
        let mut verdict = Ok(());
        self.visit(txn, &mut |operation| {
            if let Operation::Range(range) = operation
                && range.revision != 0
                && verdict.is_ok()
            {
                if range.revision > self.revision {
                    verdict = Err(Refusal::FutureRevision);
                } else if range.revision < self.compacted {
                    verdict = Err(Refusal::Compacted);
                }
            }
        });
        verdict?;
        self.visit(txn, &mut |operation| {
            if let Operation::Put(put) = operation
                && verdict.is_ok()
            {
                verdict = self.can_put(put);
            }
        });
        verdict
    }

    fn visit(&self, txn: &Txn, see: &mut dyn FnMut(&Operation)) {
        for operation in self.chosen(txn).1 {
            see(operation);
            if let Operation::Txn(txn) = operation {
                self.visit(txn, see);
            }
        }
    }

    fn txn(&mut self, before: &Self, txn: &Txn, next: i64) -> TxnReply {
        let (succeeded, operations) = before.chosen(txn);
        let responses = operations
            .iter()
            .map(|operation| match operation {
                Operation::Range(range) => {
                    let changed = self.events.last().is_some_and(|event| event.kv.mod_revision == next);
                    let seen = Self { revision: if changed { next } else { next - 1 }, ..self.clone() };
                    OperationReply::Range(seen.range(range).unwrap())
                }
                Operation::Put(put) => OperationReply::Put(self.put(put, next)),
                Operation::DeleteRange(delete) => OperationReply::DeleteRange(self.delete(delete, next)),
                Operation::Txn(txn) => OperationReply::Txn(self.txn(before, txn, next)),
            })
            .collect();
        TxnReply { revision: 0, succeeded, responses }
    }
}

fn stands(compare: &Compare, kv: &KeyValue) -> bool {
    let order = match &compare.target {
        Target::Value(value) => kv.value.cmp(value),
        Target::Version(version) => kv.version.cmp(version),
        Target::Create(revision) => kv.create_revision.cmp(revision),
        Target::Mod(revision) => kv.mod_revision.cmp(revision),
        Target::Lease(lease) => kv.lease.cmp(lease),
    };
    match compare.result {
        CompareResult::Equal => order.is_eq(),
        CompareResult::NotEqual => order.is_ne(),
        CompareResult::Greater => order.is_gt(),
        CompareResult::Less => order.is_lt(),
    }
}
