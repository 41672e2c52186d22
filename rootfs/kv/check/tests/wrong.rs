//! Each of these histories breaks one rule, and is found by it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's failure is a panic")]

mod common;

use common::{BOUNDS, Perfect, delete, get, kv, put, run};
use kv_check::{
    Answer, Body, Call, Compare, End, Given, How, Item, Refusal, Rule, Span, Step, Test, Txn, check,
};

#[track_caller]
fn broken(store: &Perfect, rule: Rule, word: &str) {
    let violation = check(&store.history, BOUNDS).expect_err("it is accepted");
    let told = store.history.tell(&violation);
    assert_eq!(violation.rule, rule, "{told}");
    assert!(violation.text.contains(word), "no {word:?} in: {told}");
    assert!(told.lines().count() < 60, "{told}");
}

fn two_puts() -> Perfect {
    let mut store = Perfect::default();
    store.call(0, 10, put("a", "1", 0));
    store.call(20, 30, put("a", "2", 0));
    store
}

#[test]
fn a_stale_read() {
    let mut store = two_puts();
    let at = store.call(40, 50, get("a"));
    *store.answer(at) = Answer {
        revision: 2,
        body: Body::Steps { succeeded: true, given: vec![Given::Got(store.past[&2].get(&Span::one("a")))] },
    };
    broken(&store, Rule::OneOrder, "revision 3 was seen at 30 already");
    // While the second put is under way, it may be read so.
    store.history.operations[at].begin = 25;
    assert!(check(&store.history, BOUNDS).is_ok());
}

#[test]
fn a_read_of_what_was_not_there() {
    let mut store = two_puts();
    let at = store.call(40, 50, get("a"));
    let Given::Got(got) = &mut store.given(at)[0] else { panic!() };
    got[0].version = 1;
    broken(&store, Rule::OneOrder, "should have been");
    store.given(at)[0] = Given::Got(Vec::new());
    broken(&store, Rule::OneOrder, "should have been");
    let Given::Got(got) = &mut store.given(at)[0] else { panic!() };
    got.push(kv_check::Kv { value: "3".into(), modified: 3, ..kv("a") });
    broken(&store, Rule::OneOrder, "nobody wrote");
}

#[test]
fn a_lost_write() {
    let mut store = two_puts();
    // The store forgot the second put, and gives its revision to a third.
    store.state = store.past[&2].clone();
    store.call(40, 50, put("a", "3", 0));
    broken(&store, Rule::Revisions, "two transactions");
    // Or goes on as if nothing had been.
    let mut store = two_puts();
    store.state = store.past[&2].clone();
    store.state.revision = 3;
    store.call(40, 50, get("a"));
    broken(&store, Rule::OneOrder, "should have been");
}

#[test]
fn a_write_that_was_refused_and_is_there() {
    let mut store = two_puts();
    let at = store.call(40, 50, put("a", "3", 0));
    store.call(60, 70, get("a"));
    store.history.operations[at].outcome = End::Refused(Refusal::Other);
    broken(&store, Rule::OneOrder, "was refused");
    store.history.operations[at].outcome = End::Unknown;
    assert!(check(&store.history, BOUNDS).is_ok());
}

#[test]
fn a_write_that_is_there_twice() {
    let mut store = two_puts();
    store.lost(40, put("a", "3", 0));
    store.call(50, 60, put("b", "4", 0));
    // The lost one comes again.
    store.state.apply(&put("a", "3", 0));
    store.call(70, 80, get("a"));
    let violation = check(&store.history, BOUNDS).expect_err("it is accepted");
    assert!(matches!(violation.rule, Rule::OneOrder | Rule::Revisions), "{}", store.history.tell(&violation));
}

#[test]
fn a_revision_that_nothing_explains() {
    let mut store = two_puts();
    store.state.revision = 4;
    store.call(40, 50, put("a", "3", 0));
    broken(&store, Rule::OneOrder, "nothing can have made it");
    let mut store = two_puts();
    store.state.revision = 90;
    store.call(40, 50, get("a"));
    broken(&store, Rule::Revisions, "cannot be");
}

#[test]
fn revisions_that_go_back() {
    let mut store = two_puts();
    store.answer(0).revision = 3;
    store.answer(1).revision = 2;
    broken(&store, Rule::OneOrder, "began at");
}

#[test]
fn a_transaction_that_took_the_wrong_branch() {
    let mut store = two_puts();
    let at = store.call(
        40,
        50,
        Call::Txn(Txn {
            compare: vec![Compare { key: "a".into(), how: How::Equal, test: Test::Version(1) }],
            then: vec![Step::Put { key: "b".into(), value: "3".into(), lease: 0 }],
            otherwise: vec![Step::Get(Span::one("a"))],
        }),
    );
    assert!(check(&store.history, BOUNDS).is_ok());
    *store.answer(at) =
        Answer { revision: 4, body: Body::Steps { succeeded: true, given: vec![Given::Put(None)] } };
    broken(&store, Rule::OneOrder, "");
}

#[test]
fn serializable_reads_that_go_back_or_see_what_never_was() {
    let mut store = two_puts();
    let newest = store.call(40, 50, get("a"));
    let older = store.call(60, 70, get("a"));
    let given = vec![Given::Got(store.past[&2].get(&Span::one("a")))];
    *store.answer(older) = Answer { revision: 2, body: Body::Steps { succeeded: true, given } };
    for at in [newest, older] {
        store.history.operations[at].serializable = true;
    }
    store.history.operations[0].session = 9;
    store.history.operations[1].session = 9;
    broken(&store, Rule::Serializable, "after revision 3");
    store.history.operations[older].session = 2;
    assert!(check(&store.history, BOUNDS).is_ok(), "another member may lag");
    store.answer(older).revision = 3;
    broken(&store, Rule::Serializable, "should have been");
}

#[test]
fn compaction_that_hides_the_wrong_revisions() {
    let mut store = two_puts();
    store.call(40, 50, put("a", "3", 0));
    let read = store.call(60, 70, Call::ReadAt(Span::all(), 2));
    store.history.operations[read].outcome = End::Refused(Refusal::Compacted);
    broken(&store, Rule::Compaction, "and is not");
    let mut store = two_puts();
    store.call(40, 50, Call::Compact(3));
    let read = store.call(60, 70, Call::ReadAt(Span::one("a"), 2));
    assert!(check(&store.history, BOUNDS).is_ok());
    let given = vec![Given::Got(store.past[&2].get(&Span::one("a")))];
    let answer = Answer { revision: 3, body: Body::Steps { succeeded: true, given } };
    store.history.operations[read].outcome = End::Answered(answer);
    broken(&store, Rule::Compaction, "was read after");
    let mut store = two_puts();
    store.call(40, 50, Call::Compact(3));
    store.call(60, 70, Call::Compact(2));
    broken(&store, Rule::Compaction, "twice");
    let mut store = two_puts();
    let at = store.call(40, 50, Call::Compact(3));
    store.history.operations[at].outcome = End::Refused(Refusal::Future);
    broken(&store, Rule::Compaction, "yet to come");
}

#[test]
fn leases_that_end_early() {
    let mut store = Perfect::default();
    store.call(0, 10, Call::Grant { lease: 7, seconds: 10 });
    store.call(20, 30, put("a", "1", 7));
    store.call(5_000_000, 5_000_010, Call::KeepAlive(7));
    store.lease_ends(7);
    let read = store.call(13_900_000, 13_900_010, get("a"));
    broken(&store, Rule::LeaseShort, "was renewed until 14000000");
    store.history.operations[read].begin = 14_100_000;
    store.history.operations[read].end = 14_100_010;
    assert!(check(&store.history, BOUNDS).is_ok());
    // A renewal that nobody acknowledged promises nothing.
    store.history.operations[read].begin = 9_100_000;
    store.history.operations[read].end = 9_100_010;
    store.history.operations[2].outcome = End::Unknown;
    assert!(check(&store.history, BOUNDS).is_ok());
    // Nor has a revoked one any time.
    store.history.operations[2] = store.history.operations[0].clone();
    store.call(9_000_000, 9_000_010, Call::Revoke(7));
    store.history.operations.last_mut().unwrap().outcome = End::Unknown;
    assert!(check(&store.history, BOUNDS).is_ok());
}

#[test]
fn a_renewal_that_is_refused_early() {
    let mut store = Perfect::default();
    store.call(0, 10, Call::Grant { lease: 7, seconds: 10 });
    let at = store.call(5_000_000, 5_000_010, Call::KeepAlive(7));
    store.answer(at).body = Body::Alive(0);
    broken(&store, Rule::LeaseShort, "was gone at");
    store.history.operations[at].end = 9_100_000;
    assert!(check(&store.history, BOUNDS).is_ok());
}

#[test]
fn leases_that_never_end() {
    let mut store = Perfect::default();
    store.call(0, 10, Call::Grant { lease: 7, seconds: 10 });
    store.call(20, 30, put("a", "1", 7));
    store.history.calm = Some(1_000_000);
    let at = store.call(13_900_000, 13_900_010, get("a"));
    assert!(check(&store.history, BOUNDS).is_ok());
    store.history.operations[at].begin = 14_100_000;
    store.history.operations[at].end = 14_100_010;
    broken(&store, Rule::LeaseLong, "last renewed at 1000000");
}

fn watched() -> Perfect {
    let mut store = two_puts();
    store.call(40, 50, put("b", "3", 0));
    store.call(60, 70, delete("a"));
    store.call(80, 90, put("a", "4", 0));
    store.watch(Span::all(), 2, 200);
    assert!(check(&store.history, BOUNDS).is_ok());
    store
}

fn items(store: &mut Perfect) -> &mut Vec<(u64, Item)> {
    &mut store.history.watches[0].items
}

#[test]
fn watches_with_gaps_repetitions_and_inventions() {
    let mut store = watched();
    items(&mut store).remove(3);
    broken(&store, Rule::Watch, "4 was missed, 5 came instead");
    let mut store = watched();
    let twice = items(&mut store)[3].clone();
    items(&mut store).insert(4, twice);
    broken(&store, Rule::Watch, "revision 4 came though 5 was to come");
    let mut store = watched();
    items(&mut store).pop();
    broken(&store, Rule::Watch, "revision 6 never came");
    store.history.watches[0].settled = false;
    assert!(check(&store.history, BOUNDS).is_ok());
    let mut store = watched();
    items(&mut store).swap(2, 3);
    broken(&store, Rule::Watch, "missed");
    let mut store = watched();
    let Item::Events(_, events) = &mut items(&mut store)[2].1 else { panic!() };
    events[0].kv.version = 7;
    broken(&store, Rule::Watch, "came instead of");
    let mut store = watched();
    let Item::Events(header, _) = &mut items(&mut store)[2].1 else { panic!() };
    *header = 2;
    broken(&store, Rule::Watch, "under the header");
    let mut store = watched();
    items(&mut store).insert(3, (200, Item::Progress(5)));
    broken(&store, Rule::Watch, "4 has not");
    let mut store = watched();
    items(&mut store).push((200, Item::Created(6)));
    broken(&store, Rule::Watch, "");
}

#[test]
fn previous_values_are_the_true_ones() {
    let mut store = watched();
    let Item::Events(_, events) = &mut items(&mut store)[2].1 else { panic!() };
    events[0].prev = None;
    broken(&store, Rule::Watch, "is said to have been there before");
    // What is compacted need not be told.
    store.call(100, 110, Call::Compact(5));
    assert!(check(&store.history, BOUNDS).is_ok());
    let Item::Events(_, events) = &mut items(&mut store)[2].1 else { panic!() };
    events[0].prev = Some(kv("a"));
    let violation = check(&store.history, BOUNDS).expect_err("it is accepted");
    assert!(matches!(violation.rule, Rule::Watch | Rule::OneOrder));
}

#[test]
fn watches_that_go_on_after_their_end_or_end_wrongly() {
    let mut store = watched();
    items(&mut store).insert(3, (200, Item::Canceled(0)));
    broken(&store, Rule::Watch, "after the watch had ended");
    let mut store = watched();
    items(&mut store).truncate(2);
    items(&mut store).push((200, Item::Canceled(5)));
    broken(&store, Rule::Compaction, "nobody asked for");
    store.call(100, 110, Call::Compact(5));
    assert!(check(&store.history, BOUNDS).is_ok());
    let mut store = watched();
    store.call(100, 110, Call::Compact(3));
    items(&mut store).truncate(3);
    items(&mut store).push((200, Item::Canceled(3)));
    broken(&store, Rule::Compaction, "go on from 4");
}

/// A transaction's events come together.
#[test]
fn a_transaction_in_parts() {
    let mut store = Perfect::default();
    let put = |key: &'static str| Step::Put { key: key.into(), value: "1".into(), lease: 0 };
    store.call(0, 10, Call::Txn(Txn { then: vec![put("a"), put("b")], ..Txn::default() }));
    store.watch(Span::all(), 2, 200);
    assert!(check(&store.history, BOUNDS).is_ok());
    let Item::Events(_, events) = &mut items(&mut store)[1].1 else { panic!() };
    let second = events.split_off(1);
    items(&mut store).push((200, Item::Events(2, second)));
    broken(&store, Rule::Watch, "in parts");
}

/// Whatever answer of a run is spoiled, it is found.
#[test]
fn any_answer_that_is_spoiled_is_found() {
    let mut spoiled = 0;
    for seed in 0..100 {
        let mut store = run(seed, 120);
        let reads: Vec<usize> = (0..store.history.operations.len())
            .filter(|at| {
                let answer = store.history.operations[*at].answer();
                answer.is_some_and(|answer| match &answer.body {
                    Body::Steps { given, .. } => {
                        given.iter().any(|g| matches!(g, Given::Got(kvs) if !kvs.is_empty()))
                    }
                    _ => false,
                })
            })
            .collect();
        let at = reads[seed as usize % reads.len()];
        for given in store.given(at) {
            if let Given::Got(kvs) = given {
                kvs.pop();
            }
        }
        assert!(check(&store.history, BOUNDS).is_err(), "seed {seed}, operation {at}");
        spoiled += 1;
    }
    assert_eq!(spoiled, 100);
}
