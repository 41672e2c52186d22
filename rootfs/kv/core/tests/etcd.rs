//! etcd's own cases, as facts: what its tests of `mvcc`, `txn` and `kv` expect.

#![allow(clippy::unwrap_used, reason = "a test's failure is a panic")]

mod common;

use common::{Store, delete, kv, put, range};
use kv_core::{
    Command, CompareResult, DeleteRange, Operation, Outcome, Put, Range, Refusal, SortOrder, SortTarget,
    Target, Txn,
};

/// `mvcc/testutil/hash.go`: the key for a number.
fn pick_key(i: i64) -> &'static str {
    if i % 142 == 30 {
        return "zenek";
    }
    if i % 71 == 30 {
        return "xavery";
    }
    ["alice", "bob", "celine", "dominik", "eve", "frederica", "gorge"][(i % 7) as usize]
}

fn put_many(store: &mut Store, from: i64, count: i64) {
    for i in from..=from + count {
        store.done(put(pick_key(i), &i.to_string()));
    }
}

/// Hashes of `TestHashByRevValue` (half way, `at` counted from the puts) or `TestHashByRevValueLastRevision`
/// (0). `sweep` says whether the compactions' removals are carried out in between.
fn hashes(half: bool, sweep: bool) -> Vec<(u32, i64, i64)> {
    let mut store = Store::new();
    let mut found = Vec::new();
    let mut hash = |store: &mut Store, from: i64, count: i64| {
        put_many(store, from, count);
        let at = if half { from + count / 2 } else { store.state.revision() };
        let hash = store.state.view().unwrap().hash(at).unwrap().unwrap();
        store.done(Command::Compact { revision: at });
        if sweep {
            store.sweep(7);
        }
        found.push((hash.hash, hash.compact_revision, hash.revision));
    };
    let mut from = 0;
    while from < 1210 {
        hash(&mut store, from, 71);
        from += 71;
    }
    hash(&mut store, from, 1210);
    found
}

#[test]
fn hashes_are_etcds() {
    let half = [
        (4_082_599_214, -1, 35),
        (2_279_933_401, 35, 106),
        (3_284_231_217, 106, 177),
        (126_286_495, 177, 248),
        (900_108_730, 248, 319),
        (2_475_485_232, 319, 390),
        (1_226_296_507, 390, 461),
        (2_503_661_030, 461, 532),
        (4_155_130_747, 532, 603),
        (106_915_399, 603, 674),
        (406_914_006, 674, 745),
        (1_882_211_381, 745, 816),
        (806_177_088, 816, 887),
        (664_311_366, 887, 958),
        (1_496_914_449, 958, 1029),
        (2_434_525_091, 1029, 1100),
        (3_988_652_253, 1100, 1171),
        (1_122_462_288, 1171, 1242),
        (724_436_716, 1242, 1883),
    ];
    let last = [
        (1_913_897_190, -1, 73),
        (224_860_069, 73, 145),
        (1_565_167_519, 145, 217),
        (1_566_261_620, 217, 289),
        (2_037_173_024, 289, 361),
        (691_659_396, 361, 433),
        (2_713_730_748, 433, 505),
        (3_919_322_507, 505, 577),
        (769_967_540, 577, 649),
        (2_909_194_793, 649, 721),
        (1_576_921_157, 721, 793),
        (4_067_701_532, 793, 865),
        (2_226_384_237, 865, 937),
        (2_923_408_134, 937, 1009),
        (2_680_329_256, 1009, 1081),
        (1_546_717_673, 1081, 1153),
        (2_713_657_846, 1153, 1225),
        (1_046_575_299, 1225, 1297),
        (2_017_735_779, 1297, 2508),
    ];
    for sweep in [false, true] {
        assert_eq!(hashes(true, sweep), half, "sweep {sweep}");
        assert_eq!(hashes(false, sweep), last, "sweep {sweep}");
    }
}

fn three() -> (Store, Vec<kv_core::KeyValue>) {
    let mut store = Store::new();
    for (key, value) in [("foo", "bar"), ("foo1", "bar1"), ("foo2", "bar2")] {
        store.done(put(key, value));
    }
    let kvs = vec![kv("foo", "bar", 2, 2, 1), kv("foo1", "bar1", 3, 3, 1), kv("foo2", "bar2", 4, 4, 1)];
    (store, kvs)
}

#[test]
fn ranges_by_key() {
    let (store, kvs) = three();
    let cases = [
        ("doo", "foo", 0..0),
        ("foo", "foo", 0..0),
        ("doo", "", 0..0),
        ("foo", "foo3", 0..3),
        ("foo", "foo1", 0..1),
        ("foo", "", 0..1),
        ("\0", "\0", 0..3),
        ("foo1", "\0", 1..3),
    ];
    for (key, end, expected) in cases {
        let reply = store.range(&range(key, end)).unwrap();
        assert_eq!(reply.kvs, kvs[expected.clone()], "{key:?} to {end:?}");
        assert_eq!((reply.revision, reply.count, reply.more), (4, expected.len() as i64, false));
    }
}

#[test]
fn ranges_by_revision_and_limit() {
    let (mut store, kvs) = three();
    for (revision, expected) in [(-1, 3), (0, 3), (2, 1), (3, 2), (4, 3)] {
        let reply = store.range(&Range { revision, ..range("foo", "foo3") }).unwrap();
        assert_eq!((reply.kvs.as_slice(), reply.revision), (&kvs[..expected], 4), "at {revision}");
    }
    for (limit, expected) in [(-1, 3), (0, 3), (1, 1), (2, 2), (3, 3), (100, 3), (i64::MAX, 3)] {
        let reply = store.range(&Range { limit, ..range("foo", "foo3") }).unwrap();
        assert_eq!(reply.kvs, kvs[..expected], "limit {limit}");
        assert_eq!((reply.count, reply.more), (3, expected < 3), "limit {limit}");
    }
    store.done(Command::Compact { revision: 4 });
    for (revision, expected) in [
        (-1, None),
        (0, None),
        (1, Some(Refusal::Compacted)),
        (2, Some(Refusal::Compacted)),
        (4, None),
        (5, Some(Refusal::FutureRevision)),
        (100, Some(Refusal::FutureRevision)),
    ] {
        let reply = store.range(&Range { revision, ..range("foo", "foo3") });
        assert_eq!(reply.err(), expected, "at {revision}");
    }
}

#[test]
fn a_key_put_many_times_moves_from_lease_to_lease() {
    let mut store = Store::new();
    for base in 1..=10 {
        store.done(Command::LeaseGrant { id: base, ttl_s: 100 });
        let lease = Put { lease: base, ..Put { key: "foo".into(), value: "bar".into(), ..Put::default() } };
        assert_eq!(store.done(Command::Put(lease)).revision, base + 1);
        let mut expected = kv("foo", "bar", 2, base + 1, base);
        expected.lease = base;
        assert_eq!(store.range(&range("foo", "")).unwrap().kvs, [expected]);
        let view = store.state.view().unwrap();
        for id in 1..=base {
            assert_eq!(view.lease_keys(id).unwrap().len(), usize::from(id == base), "lease {id}");
        }
    }
}

#[test]
fn deletions_count_and_cost_one_revision() {
    let cases = [
        ("foo", "", 5, 1),
        ("foo", "foo1", 5, 1),
        ("foo", "foo2", 5, 2),
        ("foo", "foo3", 5, 3),
        ("foo3", "foo8", 4, 0),
    ];
    for (key, end, revision, deleted) in cases {
        let (mut store, kvs) = three();
        let request =
            Command::DeleteRange(DeleteRange { key: key.into(), range_end: end.into(), prev_kv: true });
        let reply = store.done(request);
        let Ok(Outcome::DeleteRange(answer)) = reply.result else { panic!("{reply:?}") };
        assert_eq!((answer.revision, answer.deleted), (revision, deleted), "{key} to {end}");
        assert_eq!(answer.prev_kvs, kvs[..deleted as usize]);
        assert_eq!(store.state.revision(), revision);
    }
}

#[test]
fn one_key_put_and_deleted_in_turn() {
    let mut store = Store::new();
    for i in 0..10 {
        let base = i * 2 + 1;
        assert_eq!(store.done(put("foo", "bar")).revision, base + 1);
        let reply = store.range(&Range { revision: base + 1, ..range("foo", "") }).unwrap();
        assert_eq!(reply.kvs, [kv("foo", "bar", base + 1, base + 1, 1)]);
        assert_eq!(store.done(delete("foo", "")).revision, base + 2);
        let reply = store.range(&Range { revision: base + 2, ..range("foo", "") }).unwrap();
        assert_eq!((reply.kvs.len(), reply.count), (0, 0));
    }
}

#[test]
fn a_compaction_keeps_what_is_newest() {
    for sweep in [false, true] {
        let mut store = Store::new();
        store.done(put("foo", "bar0"));
        store.done(put("foo", "bar1"));
        store.done(delete("foo", ""));
        store.done(put("foo", "bar2"));
        let after = [
            (1, vec![kv("foo", "bar0", 2, 2, 1)]),
            (2, vec![kv("foo", "bar1", 2, 3, 2)]),
            (3, vec![]),
            (4, vec![kv("foo", "bar2", 5, 5, 1)]),
        ];
        for (revision, expected) in after {
            store.done(Command::Compact { revision });
            if sweep {
                store.sweep(1);
            }
            let reply = store.range(&Range { revision: revision + 1, ..range("foo", "") }).unwrap();
            assert_eq!(reply.kvs, expected, "after compaction at {revision}");
        }
    }
}

#[test]
fn compactions_that_are_refused() {
    let mut store = Store::new();
    for value in ["bar0", "bar1", "bar2"] {
        store.done(put("foo", value));
    }
    for (revision, expected) in [
        (0, None),
        (1, None),
        (1, Some(Refusal::Compacted)),
        (4, None),
        (5, Some(Refusal::FutureRevision)),
        (100, Some(Refusal::FutureRevision)),
    ] {
        assert_eq!(store.apply(Command::Compact { revision }).result.err(), expected, "at {revision}");
    }
}

#[test]
fn a_watch_may_begin_at_the_compacted_revision() {
    let mut store = Store::new();
    for i in 1..=5 {
        store.done(put(&format!("foo{i}"), "bar"));
    }
    store.done(delete("foo1", ""));
    store.done(Command::Compact { revision: 7 });
    store.sweep(2);
    let view = store.state.view().unwrap();
    assert_eq!(view.changes_since(6, 100, true, |_| true).unwrap(), Err(Refusal::Compacted));
    let changes = view.changes_since(7, 100, true, |_| true).unwrap().unwrap();
    assert_eq!(changes.events.len(), 1);
    assert_eq!(changes.events[0].kv.key, "foo1");
    assert_eq!(changes.events[0].prev_kv, None, "what was there before is compacted");
    assert_eq!(changes.next, 8);
}

/// `tests/common/kv_test.go`, `TestKVGet`: six keys, the third put three times.
#[test]
fn sorted_and_filtered() {
    let mut store = Store::new();
    for (key, value) in [
        ("a", "123"),
        ("b", "022"),
        ("c", "x"),
        ("c", "y"),
        ("c", "345"),
        ("foo", "bar"),
        ("foo/abc", "0"),
        ("fop", "buzz"),
    ] {
        store.done(put(key, value));
    }
    let all = Range { sort_target: SortTarget::Key, ..range("\0", "\0") };
    let sorted = |target, order| Range { sort_target: target, sort_order: order, ..all.clone() };
    let (none, up, down) = (SortOrder::None, SortOrder::Ascend, SortOrder::Descend);
    let forward = ["a", "b", "c", "foo", "foo/abc", "fop"];
    let backward = ["fop", "foo/abc", "foo", "c", "b", "a"];
    let by_version = ["a", "b", "foo", "foo/abc", "fop", "c"];
    let by_value = ["foo/abc", "b", "a", "c", "foo", "fop"];
    let mut by_value_down = by_value;
    by_value_down.reverse();
    let cases: Vec<(Range, &[&str])> = vec![
        (sorted(SortTarget::Mod, up), &forward),
        (sorted(SortTarget::Version, up), &by_version),
        (Range { limit: 2, ..sorted(SortTarget::Key, up) }, &forward[..2]),
        (Range { limit: 2, ..sorted(SortTarget::Key, down) }, &backward[..2]),
        (sorted(SortTarget::Create, none), &forward),
        (sorted(SortTarget::Create, down), &backward),
        (sorted(SortTarget::Value, none), &by_value),
        (sorted(SortTarget::Value, up), &by_value),
        (sorted(SortTarget::Value, down), &by_value_down),
        // Without an order the limit comes before the sorting: three are fetched, by key.
        (Range { limit: 2, ..sorted(SortTarget::Value, none) }, &["b", "a"]),
        (Range { limit: 2, ..sorted(SortTarget::Value, up) }, &by_value[..2]),
        (Range { min_mod_revision: 5, ..sorted(SortTarget::Mod, none) }, &forward[2..]),
        (Range { max_mod_revision: 6, ..sorted(SortTarget::Key, down) }, &backward[3..]),
        (Range { min_create_revision: 4, ..sorted(SortTarget::Version, down) }, &forward[2..]),
        (Range { max_create_revision: 7, ..sorted(SortTarget::Value, down) }, &["foo", "c", "a", "b"]),
        (Range { limit: 1, min_create_revision: 4, ..all.clone() }, &["c"]),
    ];
    for (request, expected) in cases {
        for keys_only in [false, true] {
            let request = Range { keys_only, ..request.clone() };
            let reply = store.range(&request).unwrap();
            let keys: Vec<_> = reply.kvs.iter().map(|kv| kv.key.as_ref()).collect();
            let expected: Vec<_> = expected.iter().map(|key| key.as_bytes()).collect();
            assert_eq!(keys, expected, "{request:?}");
            assert_eq!(reply.count, 6, "whatever limit and filter");
            assert!(reply.kvs.iter().all(|kv| kv.value.is_empty() == keys_only));
        }
    }
    let count = Range { count_only: true, ..range("foo", "fop") };
    let reply = store.range(&count).unwrap();
    assert_eq!((reply.count, reply.kvs.len(), reply.more), (2, 0, false));
    for (revision, value) in [(4, "x"), (5, "y"), (6, "345")] {
        let reply = store.range(&Range { revision, ..range("c", "") }).unwrap();
        assert_eq!(reply.kvs[0].value, value);
    }
}

fn txn(compare: Vec<kv_core::Compare>, success: Vec<Operation>, failure: Vec<Operation>) -> Command {
    Command::Txn(Txn { compare, success, failure })
}

fn compare(key: &str, result: CompareResult, target: Target) -> kv_core::Compare {
    kv_core::Compare { key: key.to_owned().into(), range_end: bytes::Bytes::new(), result, target }
}

/// `txn/txn_test.go`: what stops a transaction before its first change.
#[test]
fn transactions_are_checked_before_they_begin() {
    let future = Operation::Range(Range { revision: 1000, ..range("a", "") });
    let past = Operation::Range(Range { revision: 9, ..range("a", "") });
    let lease = Operation::Put(Put { key: "k".into(), lease: 123, ..Put::default() });
    let keep_value = Operation::Put(Put { key: "none".into(), ignore_value: true, ..Put::default() });
    let keep_lease = Operation::Put(Put { key: "none".into(), ignore_lease: true, ..Put::default() });
    let first = Operation::Put(Put { key: "first".into(), ..Put::default() });
    for (operation, expected) in [
        (future.clone(), Refusal::FutureRevision),
        (past, Refusal::Compacted),
        (lease, Refusal::LeaseNotFound),
        (keep_value, Refusal::KeyNotFound),
        (keep_lease, Refusal::KeyNotFound),
    ] {
        let mut store = Store::new();
        for _ in 0..10 {
            store.done(put("a", "b"));
        }
        store.done(Command::Compact { revision: 10 });
        let nested = Operation::Txn(Txn { success: vec![operation.clone()], ..Txn::default() });
        for operation in [operation.clone(), nested] {
            let before = store.dump();
            let reply = store.apply(txn(vec![], vec![first.clone(), operation.clone()], vec![]));
            assert_eq!(reply.result.err(), Some(expected), "{operation:?}");
            assert_eq!(store.dump(), before, "nothing has changed");
            // The list that is not done does not matter.
            let reply = store.apply(txn(vec![], vec![], vec![operation]));
            assert!(reply.result.is_ok());
        }
    }
}

#[test]
fn comparisons() {
    use CompareResult::{Equal, Greater, Less, NotEqual};

    let mut store = Store::new();
    store.done(Command::LeaseGrant { id: 7, ttl_s: 60 });
    store.done(put("a", "1"));
    store.done(Command::Put(Put { key: "a".into(), value: "2".into(), lease: 7, ..Put::default() }));
    store.done(put("b", "2"));
    let cases = [
        ("a", "", Equal, Target::Value("2".into()), true),
        ("a", "", Equal, Target::Value("1".into()), false),
        ("a", "", Greater, Target::Value("1".into()), true),
        ("a", "", Less, Target::Value("3".into()), true),
        ("a", "", NotEqual, Target::Value("2".into()), false),
        ("a", "", Equal, Target::Create(2), true),
        ("a", "", Equal, Target::Mod(3), true),
        ("a", "", Equal, Target::Version(2), true),
        ("a", "", Equal, Target::Lease(7), true),
        ("b", "", Equal, Target::Lease(0), true),
        // A key that is not there has zeros, but no value.
        ("x", "", Equal, Target::Version(0), true),
        ("x", "", Less, Target::Create(1), true),
        ("x", "", Equal, Target::Value("".into()), false),
        ("x", "", NotEqual, Target::Value("v".into()), false),
        // All keys of a range must pass.
        ("a", "c", Equal, Target::Value("2".into()), true),
        ("a", "c", Greater, Target::Version(1), false),
        ("\0", "\0", Greater, Target::Mod(2), true),
        ("x", "z", Equal, Target::Mod(0), true),
        ("x", "z", Greater, Target::Mod(0), false),
    ];
    for (key, end, result, target, expected) in cases {
        let compare = kv_core::Compare { range_end: end.into(), ..compare(key, result, target.clone()) };
        let reply = store.apply(txn(vec![compare], vec![], vec![]));
        let Ok(Outcome::Txn(reply)) = reply.result else { panic!("{reply:?}") };
        assert_eq!(reply.succeeded, expected, "{key:?} to {end:?} {result:?} {target:?}");
    }
}

#[test]
fn reads_in_a_transaction_see_its_writes_and_comparisons_do_not() {
    use kv_core::OperationReply as Reply;
    let mut store = Store::new();
    store.done(put("a", "old"));
    let set =
        |key: &'static str| Operation::Put(Put { key: key.into(), value: "new".into(), ..Put::default() });
    let missing = compare("b", CompareResult::Equal, Target::Version(0));
    let nested = Txn { compare: vec![missing], success: vec![set("c")], failure: vec![] };
    let reply = store.apply(txn(
        vec![],
        vec![
            Operation::Range(range("a", "")),
            set("a"),
            Operation::Range(range("a", "")),
            Operation::Range(Range { revision: 2, ..range("a", "") }),
            set("b"),
            Operation::Txn(nested),
            Operation::DeleteRange(DeleteRange { key: "x".into(), ..DeleteRange::default() }),
        ],
        vec![],
    ));
    let Ok(Outcome::Txn(reply)) = reply.result else { panic!("{reply:?}") };
    let read = |at: usize| match &reply.responses[at] {
        Reply::Range(range) => (range.revision, range.kvs[0].value.clone()),
        other => panic!("{other:?}"),
    };
    assert_eq!(read(0), (2, "old".into()));
    assert_eq!(read(2), (3, "new".into()));
    assert_eq!(read(3), (3, "old".into()));
    assert!(matches!(&reply.responses[5], Reply::Txn(nested) if nested.succeeded && nested.revision == 0));
    assert!(
        matches!(&reply.responses[6], Reply::DeleteRange(none) if none.deleted == 0 && none.revision == 3)
    );
    assert_eq!((reply.revision, store.state.revision()), (3, 3));
    let changes = store.state.view().unwrap().changes_since(3, 1, true, |_| true).unwrap().unwrap();
    let keys: Vec<_> = changes.events.iter().map(|event| event.kv.key.clone()).collect();
    assert_eq!(keys, ["a", "b", "c"], "a revision is told whole, in order");
}

#[test]
fn leases() {
    let mut store = Store::new();
    let grant = |id, ttl_s| Command::LeaseGrant { id, ttl_s };
    assert_eq!(store.apply(grant(0, 10)).result, Err(Refusal::LeaseNotFound));
    assert_eq!(store.apply(grant(1, kv_core::MAX_TTL_S + 1)).result, Err(Refusal::LeaseTtlTooLarge));
    store.done(grant(1, 10));
    assert_eq!(store.apply(grant(1, 10)).result, Err(Refusal::LeaseExists));
    assert_eq!(store.apply(Command::LeaseRevoke { id: 2 }).result, Err(Refusal::LeaseNotFound));
    for key in ["c", "a", "b"] {
        store.done(Command::Put(Put { key: key.into(), lease: 1, ..Put::default() }));
    }
    store.done(Command::Put(Put {
        key: "a".into(),
        ignore_lease: true,
        value: "v".into(),
        ..Put::default()
    }));
    store.done(put("b", "free"));
    store.done(Command::LeaseCheckpoint(vec![(9, 3), (1, 4)]));
    let lease = store.state.view().unwrap().lease(1).unwrap().unwrap();
    assert_eq!((lease.ttl_s, lease.remaining_s), (10, 4));
    let before = store.state.revision();
    assert_eq!(store.done(Command::LeaseRevoke { id: 1 }).revision, before + 1);
    let view = store.state.view().unwrap();
    let events = view.changes_since(before + 1, 10, true, |_| true).unwrap().unwrap().events;
    let keys: Vec<_> = events.iter().map(|event| event.kv.key.clone()).collect();
    assert_eq!(keys, ["a", "c"], "by key, at one revision");
    assert_eq!(store.range(&range("\0", "\0")).unwrap().kvs.len(), 1);
    assert_eq!(view.leases().unwrap(), []);
    assert_eq!(store.apply(grant(1, 10)).revision, before + 1, "a lease is no revision");
}

#[test]
fn put_keeps_what_it_is_told_to() {
    let mut store = Store::new();
    store.done(Command::LeaseGrant { id: 5, ttl_s: 10 });
    store.done(Command::Put(Put { key: "a".into(), value: "v".into(), lease: 5, ..Put::default() }));
    let keep = Put { key: "a".into(), ignore_value: true, prev_kv: true, ..Put::default() };
    let reply = store.done(Command::Put(keep));
    let Ok(Outcome::Put(reply)) = reply.result else { panic!("{reply:?}") };
    assert_eq!(reply.prev_kv.map(|kv| (kv.value, kv.lease, kv.version)), Some(("v".into(), 5, 1)));
    let now = &store.range(&range("a", "")).unwrap().kvs[0];
    assert_eq!((now.value.as_ref(), now.lease, now.version), (b"v".as_slice(), 0, 2));
    assert_eq!(store.apply(Command::Put(Put::default())).result, Err(Refusal::EmptyKey));
}

#[test]
fn alarms_and_the_servers_entries() {
    use kv_core::{Alarm, AlarmAction};
    let mut store = Store::new();
    let space = Alarm { member: 3, kind: 1 };
    let corrupt = Alarm { member: 2, kind: 2 };
    let alarm = |action, alarm| Command::Alarm { action, alarm };
    let mut ask = |action, which| match store.apply(alarm(action, which)).result {
        Ok(Outcome::Alarms(alarms)) => alarms,
        other => panic!("{other:?}"),
    };
    assert_eq!(ask(AlarmAction::Activate, space), [space]);
    assert_eq!(ask(AlarmAction::Activate, space), [space], "again");
    assert_eq!(ask(AlarmAction::Activate, Alarm { member: 1, kind: 0 }), []);
    assert_eq!(ask(AlarmAction::Activate, corrupt), [corrupt]);
    assert_eq!(ask(AlarmAction::Get, Alarm::default()), [corrupt, space]);
    assert_eq!(ask(AlarmAction::Get, Alarm { member: 9, kind: 1 }), [space], "of all members");
    assert_eq!(ask(AlarmAction::Deactivate, corrupt), [corrupt]);
    assert_eq!(ask(AlarmAction::Deactivate, corrupt), []);
    let side = |key: &'static str, value: Option<&'static str>| {
        Command::Side(vec![(key.into(), value.map(bytes::Bytes::from))])
    };
    store.done(side("user/a", Some("1")));
    store.done(side("user/b", Some("2")));
    store.done(side("role/a", Some("3")));
    store.done(side("user/a", None));
    let view = store.state.view().unwrap();
    assert_eq!(view.side_all(b"user/").unwrap(), [("user/b".into(), "2".into())]);
    assert_eq!(view.side(b"role/a").unwrap(), Some("3".into()));
    assert_eq!(store.state.revision(), 1);
}

#[test]
fn a_compaction_leaves_nothing_behind() {
    let mut one = Store::new();
    one.done(put("b", "1"));
    let mut store = Store::new();
    for key in ["a", "b", "c"] {
        store.done(put(key, "1"));
        store.done(put(key, "2"));
    }
    store.done(delete("a", "c"));
    store.done(Command::Compact { revision: store.state.revision() });
    store.sweep(2);
    store.done(delete("c", ""));
    store.done(put("b", "1"));
    store.done(Command::Compact { revision: store.state.revision() });
    store.sweep(2);
    let (expected, found) = (one.state.sizes().unwrap(), store.state.sizes().unwrap());
    assert_eq!((found.keys, found.in_use), (expected.keys, expected.in_use));
}
