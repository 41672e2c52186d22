//! The overlaps that etcd refuses, and those that it takes.

use super::*;
use crate::command::{Compare, CompareResult, Target};

fn put(key: &'static str) -> Operation {
    Operation::Put(Put { key: key.into(), ..Put::default() })
}

fn delete(key: &'static str, end: &'static str) -> Operation {
    Operation::DeleteRange(DeleteRange { key: key.into(), range_end: end.into(), prev_kv: false })
}

fn nested(success: Vec<Operation>, failure: Vec<Operation>) -> Operation {
    Operation::Txn(Txn { compare: Vec::new(), success, failure })
}

fn verdict(success: Vec<Operation>) -> Result<(), Refusal> {
    check_txn(&Txn { success, ..Txn::default() }, 128)
}

#[test]
fn a_key_is_changed_once_on_each_path() {
    let refused = Err(Refusal::DuplicateKey);
    let cases = [
        (vec![put("a"), put("b")], Ok(())),
        (vec![put("a"), put("a")], refused),
        (vec![put("a"), delete("a", "")], refused),
        (vec![delete("a", "c"), put("b")], refused),
        (vec![delete("a", "c"), put("c")], Ok(())),
        (vec![delete("a", "c"), delete("b", "d")], Ok(())),
        (vec![delete("a", "c"), delete("b", "d"), put("c")], refused),
        (vec![delete("c", "d"), delete("a", "b"), delete("b", "c"), put("bb")], refused),
        (vec![put("a"), nested(vec![put("a")], vec![])], refused),
        (vec![put("a"), nested(vec![], vec![put("a")])], refused),
        (vec![nested(vec![put("a")], vec![put("a")])], Ok(())),
        (vec![nested(vec![put("a")], vec![delete("a", "")])], Ok(())),
        (vec![nested(vec![put("a")], vec![]), nested(vec![put("a")], vec![])], refused),
        (vec![nested(vec![delete("a", "")], vec![]), nested(vec![put("a")], vec![])], refused),
        // The earlier sibling's puts are not looked at again.
        (vec![nested(vec![put("a")], vec![]), nested(vec![delete("a", "")], vec![])], Ok(())),
        (vec![nested(vec![], vec![delete("a", "")]), put("a")], refused),
        // etcd takes the end of "from key" for a key, so that it overlaps nothing.
        (vec![delete("a", "\0"), put("b")], Ok(())),
    ];
    for (operations, expected) in cases {
        assert_eq!(verdict(operations.clone()), expected, "{operations:?}");
    }
}

#[test]
fn a_put_that_needs_what_an_open_range_deletes_is_refused() {
    let keep = Operation::Put(Put { key: "b".into(), ignore_value: true, ..Put::default() });
    assert_eq!(verdict(vec![delete("a", "\0"), keep.clone()]), Err(Refusal::DuplicateKey));
    assert_eq!(verdict(vec![delete("c", "\0"), keep]), Ok(()));
}

#[test]
fn fields_are_checked_at_every_depth() {
    let empty = Operation::Range(Range::default());
    let value =
        Operation::Put(Put { key: "a".into(), value: "v".into(), ignore_value: true, ..Put::default() });
    let lease = Operation::Put(Put { key: "a".into(), lease: 1, ignore_lease: true, ..Put::default() });
    for (operation, expected) in [
        (empty, Refusal::EmptyKey),
        (put(""), Refusal::EmptyKey),
        (delete("", "b"), Refusal::EmptyKey),
        (value, Refusal::ValueProvided),
        (lease, Refusal::LeaseProvided),
    ] {
        assert_eq!(verdict(vec![operation.clone()]), Err(expected), "{operation:?}");
        assert_eq!(verdict(vec![nested(vec![], vec![operation.clone()])]), Err(expected), "{operation:?}");
    }
    let compare = Compare {
        key: Bytes::new(),
        range_end: Bytes::new(),
        result: CompareResult::Equal,
        target: Target::Mod(0),
    };
    let txn = Txn { compare: vec![compare], ..Txn::default() };
    assert_eq!(check_txn(&txn, 128), Err(Refusal::EmptyKey));
}

#[test]
fn operations_count_with_those_nested_in_them() {
    let two = vec![put("a"), put("b")];
    let over = vec![put("x"), nested(two.clone(), vec![])];
    let txn = Txn { success: over, ..Txn::default() };
    assert_eq!(check_txn(&txn, 4), Ok(()));
    assert_eq!(check_txn(&txn, 3), Err(Refusal::TooManyOps));
    assert_eq!(check_txn(&Txn { failure: two, ..Txn::default() }, 1), Err(Refusal::TooManyOps));
}
