//! Histories of a store without faults are accepted, whatever was lost of their answers.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's failure is a panic")]

mod common;

use common::{BOUNDS, Perfect, delete, get, put, run};
use kv_check::{Call, Cause, Span, check};

#[test]
fn all_kinds_of_calls_with_answers_lost() {
    for seed in 0..200 {
        let store = run(seed, 200);
        let chronicle = check(&store.history, BOUNDS);
        let chronicle = chronicle.unwrap_or_else(|v| panic!("seed {seed}: {}", store.history.tell(&v)));
        assert_eq!(chronicle.state, store.state, "seed {seed}");
    }
}

#[test]
fn without_watches_too() {
    for seed in 0..200 {
        let mut store = run(seed, 60);
        store.history.watches.clear();
        check(&store.history, BOUNDS).unwrap_or_else(|v| panic!("seed {seed}: {}", store.history.tell(&v)));
    }
}

#[test]
fn the_end_of_a_lease_is_found_between_answers() {
    let mut store = Perfect::default();
    store.call(0, 10, Call::Grant { lease: 7, seconds: 10 });
    store.call(20, 30, put("a", "1", 7));
    store.call(20, 30, put("b", "2", 7));
    store.lease_ends(7);
    store.call(20_000_000, 20_000_010, get("a"));
    let chronicle = check(&store.history, BOUNDS).unwrap();
    assert_eq!(chronicle.entries.last().unwrap().cause, Cause::LeaseEnd(7));
    assert_eq!(chronicle.entries.last().unwrap().events.len(), 2);
}

/// Which of two lost operations came first shows only later: the search goes back.
#[test]
fn a_choice_that_does_not_fit_is_taken_back() {
    for order in [["a", "b"], ["b", "a"]] {
        let mut store = Perfect::default();
        store.call(0, 1, put("a", "1", 0));
        store.call(0, 1, put("b", "2", 0));
        for key in order {
            store.lost(5, delete(key));
        }
        store.call(1000, 1010, put("c", "3", 0));
        // The state between the two.
        let span = Span::all();
        let state = store.past[&4].clone();
        let given = vec![kv_check::Given::Got(state.get(&span))];
        let body = kv_check::Body::Steps { succeeded: true, given };
        let answer = kv_check::Answer { revision: 6, body };
        store.note(1020, 1030, Call::ReadAt(span, 4), kv_check::End::Answered(answer));
        let chronicle = check(&store.history, BOUNDS).unwrap();
        let events = &chronicle.entries[2].events;
        assert_eq!(events[0].kv.key, order[0]);
    }
}
