//! A path of the store's JSON gateway (the first byte chooses) and a body for it, which is also taken as
//! an encoded answer and as a stream of bodies. Never a panic or a hang; what is read as a transaction is
//! written and read again as it was, and what is written is JSON.
#![no_main]

use kv_api::etcdserverpb::TxnRequest;
use kv_api::gateway::{Method, ROUTES};
use kv_api::json;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((choice, body)) = input.split_first() else { return };
    let (path, _) = ROUTES[usize::from(*choice) % ROUTES.len()];
    let method = Method::find(path).expect("every path leads to a method");
    let _ = method.request(body);
    if let Ok(text) = method.answer(body) {
        json::next(&mut text.as_slice().into()).expect("what is written is JSON");
    }
    if let Ok(txn) = json::read::<TxnRequest>(body) {
        let text = json::write(&txn).expect("what was read can be written");
        assert_eq!(json::read::<TxnRequest>(&text).expect("and read again"), txn);
    }
    let mut arrived = body.into();
    while let Ok(Some(value)) = json::next(&mut arrived) {
        assert!(!value.is_empty());
    }
});
