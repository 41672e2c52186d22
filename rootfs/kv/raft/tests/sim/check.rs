//! What must be true of a run.
//!
//! The machine is a list, and an append's reply is its place: so the one order of all commands is
//! seen, and linearizability is no search. An operation that began after another had ended must
//! have its place after it: for an append its place in the list, for a read the length it saw.

use std::collections::BTreeMap;

use kv_raft::Entry;

/// How an append ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Acknowledged, at this place.
    At(u64),
    /// Nothing is known.
    Unknown,
    /// It was refused: it must never be seen.
    Refused,
}

/// One operation. Times are numbers that grow with each event of the run.
#[derive(Clone, Copy, Debug)]
pub enum Operation {
    Append { item: u64, began: u64, ended: u64, end: End },
    Read { began: u64, ended: u64, length: u64, last: Option<u64> },
}

/// Checks all operations against the list that is there at the end.
pub fn operations(operations: &[Operation], list: &[u64]) -> Result<(), String> {
    let mut places = BTreeMap::new();
    for (place, item) in list.iter().enumerate() {
        if let Some(other) = places.insert(*item, place as u64) {
            return Err(format!("item {item:x} is in the list twice, at {other} and {place}"));
        }
    }
    // Events in order: what must have been seen by an operation that begins now.
    let mut events: Vec<(u64, bool, &Operation)> = Vec::new();
    for operation in operations {
        let (Operation::Append { began, ended, .. } | Operation::Read { began, ended, .. }) = operation;
        events.extend([(*began, false, operation), (*ended, true, operation)]);
    }
    events.sort_by_key(|(time, ..)| *time);
    let mut floor = 0;
    let mut floors = BTreeMap::new();
    for (_, ends, operation) in events {
        match (operation, ends) {
            (Operation::Append { began, .. } | Operation::Read { began, .. }, false) => {
                floors.insert(*began, floor);
            }
            (Operation::Append { item, began, end, .. }, true) => {
                let found = places.get(item).copied();
                match (*end, found) {
                    (End::At(place), Some(found)) if place == found => {}
                    (End::At(place), found) => {
                        return Err(format!(
                            "item {item:x} was acknowledged at {place} and is lost: it is at {found:?}"
                        ));
                    }
                    (End::Refused, Some(found)) => {
                        return Err(format!("item {item:x} was refused and is in the list at {found}"));
                    }
                    _ => {}
                }
                if let Some(found) = found
                    && found < floors[began]
                {
                    return Err(format!(
                        "item {item:x} is at {found}, but began after {} others were seen",
                        floors[began]
                    ));
                }
                if let End::At(place) = *end {
                    floor = floor.max(place + 1);
                }
            }
            (Operation::Read { began, length, last, .. }, true) => {
                if *length < floors[began] {
                    return Err(format!(
                        "a read went back: it saw {length} items, after {} were acknowledged or read",
                        floors[began]
                    ));
                }
                let expected = length.checked_sub(1).map(|i| list.get(i as usize).copied());
                if expected.unwrap_or(None) != *last || expected == Some(None) {
                    return Err(format!(
                        "a read saw {last:x?} as item {length}, which is {expected:x?} in the end"
                    ));
                }
                floor = floor.max(*length);
            }
        }
    }
    Ok(())
}

/// Two members' logs have the same entries where both have them.
pub fn logs(one: &BTreeMap<u64, Entry>, two: &BTreeMap<u64, Entry>) -> Result<(), String> {
    for (index, entry) in one {
        if let Some(other) = two.get(index)
            && other != entry
        {
            return Err(format!("logs differ at {index}: {entry:?} and {other:?}"));
        }
    }
    Ok(())
}

/// The checker itself: each of these histories breaks one rule.
#[test]
fn broken_histories_are_refused() {
    let append = |item, began, ended, end| Operation::Append { item, began, ended, end };
    let read = |began, ended, length, last| Operation::Read { began, ended, length, last };
    let good = [
        append(7, 1, 4, End::At(0)),
        append(8, 2, 6, End::At(1)),
        read(5, 7, 1, Some(7)),
        append(9, 8, 9, End::Refused),
        append(10, 10, 11, End::Unknown),
    ];
    assert_eq!(operations(&good, &[7, 8]), Ok(()));
    assert_eq!(operations(&good, &[7, 8, 10]), Ok(()));
    for (list, history, word) in [
        (vec![7, 7], vec![], "twice"),
        (vec![8], vec![append(7, 1, 2, End::At(0))], "lost"),
        (vec![], vec![append(7, 1, 2, End::At(0))], "lost"),
        (vec![7], vec![append(7, 1, 2, End::Refused)], "refused"),
        (vec![7], vec![append(7, 1, 2, End::At(0)), read(3, 4, 0, None)], "went back"),
        (vec![7], vec![read(1, 2, 1, Some(7)), read(3, 4, 0, None)], "went back"),
        (vec![7, 8], vec![append(8, 1, 2, End::At(1)), append(7, 3, 4, End::At(0))], "began after"),
        (vec![7, 8], vec![append(8, 1, 2, End::At(1)), append(7, 3, 4, End::Unknown)], "began after"),
        (vec![7], vec![read(1, 2, 1, Some(8))], "in the end"),
        (vec![7], vec![read(1, 2, 2, Some(7))], "in the end"),
    ] {
        let fault = operations(&history, &list).unwrap_err();
        assert!(fault.contains(word), "{history:?}: {fault}");
    }
}
