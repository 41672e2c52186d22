//! Rules of single reads: sessions that do not go back, and what compaction hides.

use std::collections::HashMap;

use crate::history::{Call, End, History, Operation, Refusal, Time};
use crate::report::{Rule, Violation};

/// Checks them.
pub fn check(history: &History) -> Result<(), Violation> {
    sessions(history)?;
    compactions(history)
}

/// Whatever was answered in a session before a read began, the read is not older.
fn sessions(history: &History) -> Result<(), Violation> {
    let mut events: Vec<(Time, bool, usize)> = Vec::new();
    for (at, operation) in history.operations.iter().enumerate() {
        if operation.answer().is_some() && (operation.serializable || operation.is_placed()) {
            events.push((operation.begin, true, at));
            events.push((operation.end, false, at));
        }
    }
    // Begins before ends at the same time: those overlap.
    events.sort_unstable_by_key(|(time, begins, at)| (*time, !begins, *at));
    let mut newest = HashMap::<u64, (i64, usize)>::new();
    let mut floors = HashMap::new();
    for (_, begins, at) in events {
        let operation = &history.operations[at];
        let Some(answer) = operation.answer() else { continue };
        if begins {
            if let Some(floor) = newest.get(&operation.session) {
                floors.insert(at, *floor);
            }
            continue;
        }
        if let Some((floor, by)) = floors.get(&at)
            && answer.revision < *floor
        {
            let text = format!(
                "a read saw revision {}, after revision {floor} was seen at the same member",
                answer.revision
            );
            return Err(Violation::new(Rule::Serializable, text).at(answer.revision).by([*by, at]));
        }
        let entry = newest.entry(operation.session).or_insert((0, at));
        *entry = (*entry).max((answer.revision, at));
    }
    Ok(())
}

struct Compaction<'h> {
    at: usize,
    revision: i64,
    operation: &'h Operation,
}

/// All compactions that may have happened.
fn attempts(history: &History) -> Vec<Compaction<'_>> {
    let all = history.operations.iter().enumerate();
    let all = all.filter_map(|(at, operation)| match (&operation.call, &operation.outcome) {
        (Call::Compact(revision), End::Answered(_) | End::Unknown) => {
            Some(Compaction { at, revision: *revision, operation })
        }
        _ => None,
    });
    all.collect()
}

/// Whether a compaction of more than `revision`, or exactly `exact`, may have happened by `time`.
pub fn may_be_compacted(history: &History, time: Time, wanted: impl Fn(i64) -> bool) -> bool {
    attempts(history).iter().any(|c| c.operation.begin <= time && wanted(c.revision))
}

fn compactions(history: &History) -> Result<(), Violation> {
    let attempts = attempts(history);
    let broken = |text: String, at: usize, revision: i64| {
        Err(Violation::new(Rule::Compaction, text).at(revision).by([at]))
    };
    for (at, operation) in history.operations.iter().enumerate() {
        // Was something else hidden before this began?
        let hidden = |revision: i64| {
            let mut done = attempts.iter().filter(|c| c.operation.answer().is_some() && c.at != at);
            done.find(|c| c.operation.end < operation.begin && c.revision >= revision)
        };
        let possible = |revision: i64| {
            let mut begun = attempts.iter().filter(|c| c.at != at && c.operation.begin <= operation.end);
            begun.any(|c| c.revision >= revision)
        };
        match (&operation.call, &operation.outcome) {
            (Call::ReadAt(_, revision), End::Refused(Refusal::Compacted)) if !possible(revision + 1) => {
                return broken(
                    format!("revision {revision} is said to be compacted, and is not"),
                    at,
                    *revision,
                );
            }
            (Call::ReadAt(_, revision), End::Answered(_)) if !operation.serializable => {
                if let Some(by) = hidden(revision + 1) {
                    let text = format!("revision {revision} was read after {} was compacted", by.revision);
                    return Err(Violation::new(Rule::Compaction, text).at(*revision).by([by.at, at]));
                }
            }
            (Call::Compact(revision), End::Answered(answer)) => {
                if *revision > answer.revision {
                    return broken(
                        format!("revision {revision} was compacted before it was there"),
                        at,
                        *revision,
                    );
                }
                if let Some(by) = hidden(*revision) {
                    let text = format!("revision {revision} was compacted twice");
                    return Err(Violation::new(Rule::Compaction, text).at(*revision).by([by.at, at]));
                }
            }
            (Call::Compact(revision), End::Refused(Refusal::Compacted)) if !possible(*revision) => {
                return broken(
                    format!("revision {revision} is said to be compacted, and is not"),
                    at,
                    *revision,
                );
            }
            (Call::ReadAt(_, revision) | Call::Compact(revision), End::Refused(Refusal::Future))
                if !operation.serializable =>
            {
                let mut before = history.operations.iter().enumerate();
                let seen = before.find(|(_, other)| {
                    other.end < operation.begin && other.answer().is_some_and(|a| a.revision >= *revision)
                });
                if let Some((by, _)) = seen {
                    let text = format!("revision {revision} is said to be yet to come, and was seen before");
                    return Err(Violation::new(Rule::Compaction, text).at(*revision).by([by, at]));
                }
            }
            _ => {}
        }
    }
    Ok(())
}
