//! What can be said of a request without looking at the store, as etcd's
//! `checkTxnRequest` and `checkIntervals` say it. The server asks before a command
//! goes into the log; the state machine asks again, with no limit on operations, so
//! that what it carries out never has to stop in the middle.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::command::{DeleteRange, Operation, Put, Range, Txn};
use crate::error::Refusal;

/// Checks a range.
///
/// # Errors
/// [`Refusal::EmptyKey`].
pub fn check_range(range: &Range) -> Result<(), Refusal> {
    key(&range.key)
}

/// Checks a put.
///
/// # Errors
/// [`Refusal::EmptyKey`], [`Refusal::ValueProvided`], [`Refusal::LeaseProvided`].
pub fn check_put(put: &Put) -> Result<(), Refusal> {
    key(&put.key)?;
    if put.ignore_value && !put.value.is_empty() {
        return Err(Refusal::ValueProvided);
    }
    if put.ignore_lease && put.lease != 0 {
        return Err(Refusal::LeaseProvided);
    }
    Ok(())
}

/// Checks a deletion.
///
/// # Errors
/// [`Refusal::EmptyKey`].
pub fn check_delete(delete: &DeleteRange) -> Result<(), Refusal> {
    key(&delete.key)
}

/// Checks a transaction with all that is nested in it. `max_ops` is the most that one
/// level's longest list and those nested in it may have together.
///
/// # Errors
/// Those of its operations; [`Refusal::TooManyOps`]; [`Refusal::DuplicateKey`] where a key is
/// put twice, or put and deleted, on one path.
pub fn check_txn(txn: &Txn, max_ops: usize) -> Result<(), Refusal> {
    level(txn, i64::try_from(max_ops).unwrap_or(i64::MAX))?;
    changes(&txn.success)?;
    changes(&txn.failure)?;
    Ok(())
}

fn key(key: &Bytes) -> Result<(), Refusal> {
    if key.is_empty() { Err(Refusal::EmptyKey) } else { Ok(()) }
}

fn level(txn: &Txn, max_ops: i64) -> Result<(), Refusal> {
    let longest = txn.compare.len().max(txn.success.len()).max(txn.failure.len()) as i64;
    if longest > max_ops {
        return Err(Refusal::TooManyOps);
    }
    for compare in &txn.compare {
        key(&compare.key)?;
    }
    for operation in txn.success.iter().chain(&txn.failure) {
        match operation {
            Operation::Range(range) => check_range(range)?,
            Operation::Put(put) => check_put(put)?,
            Operation::DeleteRange(delete) => check_delete(delete)?,
            Operation::Txn(txn) => level(txn, max_ops - longest)?,
        }
    }
    Ok(())
}

/// What a list of operations puts and deletes.
#[derive(Default)]
struct Changes {
    puts: BTreeSet<Bytes>,
    deletes: Spans,
}

fn changes(operations: &[Operation]) -> Result<Changes, Refusal> {
    let mut all = Changes::default();
    for operation in operations {
        if let Operation::DeleteRange(delete) = operation {
            all.deletes.add(&delete.key, &delete.range_end);
        }
    }
    for operation in operations {
        let Operation::Txn(txn) = operation else { continue };
        let success = changes(&txn.success)?;
        let failure = changes(&txn.failure)?;
        for key in &success.puts {
            all.put(key, true)?;
        }
        for key in &failure.puts {
            // Only one of the two lists is done.
            if success.puts.contains(key) {
                continue;
            }
            all.put(key, true)?;
        }
        all.deletes.join(success.deletes);
        all.deletes.join(failure.deletes);
    }
    for operation in operations {
        if let Operation::Put(put) = operation {
            all.put(&put.key, !(put.ignore_value || put.ignore_lease))?;
        }
    }
    Ok(all)
}

impl Changes {
    fn put(&mut self, key: &Bytes, needs_nothing: bool) -> Result<(), Refusal> {
        let deleted = self.deletes.contains(key) || (!needs_nothing && self.deletes.open_contains(key));
        if deleted || !self.puts.insert(key.clone()) {
            return Err(Refusal::DuplicateKey);
        }
        Ok(())
    }
}

/// Ranges of keys, joined where they overlap: first key -> first key behind.
#[derive(Default)]
struct Spans {
    ranges: BTreeMap<Bytes, Bytes>,
    /// The smallest start of those without an end. etcd takes their end `\0` for a
    /// key, so that they overlap nothing, and so it is here; but a put that needs
    /// what such a range deleted would stop a transaction in its middle.
    open: Option<Bytes>,
}

impl Spans {
    fn add(&mut self, key: &Bytes, range_end: &Bytes) {
        match range_end.as_ref() {
            [] => self.insert(key.clone(), [key.as_ref(), &[0]].concat().into()),
            [0] => self.insert_open(key.clone()),
            _ => self.insert(key.clone(), range_end.clone()),
        }
    }

    fn insert_open(&mut self, start: Bytes) {
        match &self.open {
            Some(open) if *open <= start => {}
            _ => self.open = Some(start),
        }
    }

    fn insert(&mut self, mut start: Bytes, mut end: Bytes) {
        if end <= start {
            return;
        }
        // Every range that begins at or before the new end and reaches the new start is taken in.
        while let Some((first, last)) = self.ranges.range(..=end.clone()).next_back() {
            if *last < start {
                break;
            }
            let first = first.clone();
            if let Some(last) = self.ranges.remove(&first) {
                start = start.min(first);
                end = end.max(last);
            }
        }
        self.ranges.insert(start, end);
    }

    fn join(&mut self, other: Self) {
        for (start, end) in other.ranges {
            self.insert(start, end);
        }
        if let Some(open) = other.open {
            self.insert_open(open);
        }
    }

    fn contains(&self, key: &Bytes) -> bool {
        self.ranges.range(..=key.clone()).next_back().is_some_and(|(_, end)| key < end)
    }

    fn open_contains(&self, key: &Bytes) -> bool {
        self.open.as_ref().is_some_and(|open| open <= key)
    }
}

#[cfg(test)]
#[path = "check_test.rs"]
mod tests;
