//! The JSON of the gateway: what is written, what is read, what is refused.
#![expect(clippy::unwrap_used, reason = "a test's failure is a panic")]

use bytes::{Bytes, BytesMut};
use kv_api::etcdserverpb::compare::{CompareTarget, TargetUnion};
use kv_api::etcdserverpb::range_request::{SortOrder, SortTarget};
use kv_api::etcdserverpb::request_op::Request;
use kv_api::etcdserverpb::{
    AlarmMember, AlarmResponse, AlarmType, LeaseGrantRequest, Member, PutRequest, RangeRequest,
    RangeResponse, ResponseHeader, TxnRequest, WatchResponse,
};
use kv_api::gateway::{self, Method};
use kv_api::mvccpb::{Event, KeyValue, event::EventType};
use kv_api::{Fault, json};
use prost::Message as _;
use tonic::Status;

fn header() -> ResponseHeader {
    ResponseHeader { cluster_id: 12_585_971_608_760_269_493, member_id: 7, revision: 2, raft_term: 0 }
}

fn pair() -> KeyValue {
    KeyValue {
        key: Bytes::from_static(b"foo"),
        create_revision: 2,
        mod_revision: 2,
        version: 1,
        value: Bytes::from_static(b"bar"),
        lease: 0,
    }
}

fn text<M: prost::Message + prost::Name>(message: &M) -> String {
    String::from_utf8(json::write(message).unwrap()).unwrap()
}

/// What is read, or the whole of the error.
fn range(text: &str) -> Result<RangeRequest, String> {
    json::read(text.as_bytes()).map_err(|error| error.to_string())
}

#[test]
fn an_answer_is_written_as_etcd_writes_it() {
    let answer = RangeResponse { header: Some(header()), kvs: vec![pair()], more: false, count: 1 };
    assert_eq!(
        text(&answer),
        concat!(
            r#"{"header":{"cluster_id":"12585971608760269493","member_id":"7","revision":"2"},"#,
            r#""kvs":[{"key":"Zm9v","create_revision":"2","mod_revision":"2","version":"1","value":"YmFy"}],"#,
            r#""count":"1"}"#
        )
    );
    let alarm = AlarmMember { member_id: 1, alarm: AlarmType::Nospace.into() };
    assert_eq!(
        text(&AlarmResponse { header: None, alarms: vec![alarm] }),
        r#"{"alarms":[{"memberID":"1","alarm":"NOSPACE"}]}"#
    );
    let member =
        Member { id: 3, peer_ur_ls: vec!["http://a:2380".into()], is_learner: true, ..Member::default() };
    assert_eq!(text(&member), r#"{"ID":"3","peerURLs":["http://a:2380"],"isLearner":true}"#);
    assert_eq!(text(&LeaseGrantRequest { ttl: -1, id: 0 }), r#"{"TTL":"-1"}"#);
}

#[test]
fn what_is_written_is_read_as_it_was() {
    let watch = WatchResponse {
        header: Some(header()),
        watch_id: i64::MIN,
        canceled: true,
        cancel_reason: "\u{1f98a} \"quoted\"\n".into(),
        events: vec![
            Event { r#type: EventType::Put.into(), kv: Some(pair()), prev_kv: None },
            Event { r#type: EventType::Delete.into(), kv: Some(pair()), prev_kv: Some(KeyValue::default()) },
        ],
        ..WatchResponse::default()
    };
    let written = text(&watch);
    assert!(written.contains(r#""type":"DELETE""#) && !written.contains("PUT"), "{written}");
    assert_eq!(json::read::<WatchResponse>(written.as_bytes()).unwrap(), watch);
}

#[test]
fn every_spelling_of_a_request_is_read() {
    let expected = RangeRequest {
        key: Bytes::from_static(&[0xfb, 0xff]),
        range_end: Bytes::from_static(b"\0"),
        limit: 5,
        sort_order: SortOrder::Descend.into(),
        sort_target: SortTarget::Mod.into(),
        serializable: true,
        ..RangeRequest::default()
    };
    for spelling in [
        r#"{"key":"+/8=","range_end":"AA==","limit":"5","sort_order":"DESCEND","sort_target":"MOD","serializable":true}"#,
        r#"{"key":"+/8","rangeEnd":"AA","limit":5,"sortOrder":2,"sortTarget":3,"serializable":true}"#,
        r#"{"key":"-_8=","rangeEnd":"AA","limit":5.0,"sort_order":2,"sortTarget":"MOD","serializable":true}"#,
        r#" {"revision":null,"keys_only":null,"key":"-_8","range_end":"AA==","limit":5,"sortOrder":"DESCEND",
            "sortTarget":"MOD","serializable":true,"unheard_of":{"key":[1,{}]}} "#,
    ] {
        assert_eq!(range(spelling).as_ref(), Ok(&expected), "{spelling}");
    }
    for nothing in ["", " \n", "{}"] {
        assert_eq!(range(nothing), Ok(RangeRequest::default()));
    }
}

#[test]
fn a_transaction_is_read() {
    let txn: TxnRequest = json::read(
        br#"{"compare":[{"key":"Zm9v","target":"CREATE","createRevision":"2","result":"NOT_EQUAL"},
                        {"key":"Zm9v","target":"VALUE","value":""}],
             "success":[{"requestPut":{"key":"Zm9v","value":"YmFy","prevKv":true}},
                        {"request_txn":{"failure":[{"request_range":{}}]}}]}"#,
    )
    .unwrap();
    assert_eq!(txn.compare[0].target, i32::from(CompareTarget::Create));
    assert_eq!(txn.compare[0].target_union, Some(TargetUnion::CreateRevision(2)));
    assert_eq!(txn.compare[1].target_union, Some(TargetUnion::Value(Bytes::new())));
    let Some(Request::RequestPut(put)) = &txn.success[0].request else { panic!("{txn:?}") };
    assert!(put.prev_kv && put.value == "bar");
    let Some(Request::RequestTxn(inner)) = &txn.success[1].request else { panic!("{txn:?}") };
    assert!(matches!(inner.failure[0].request, Some(Request::RequestRange(_))));
}

#[test]
fn what_does_not_fit_is_refused_with_its_place() {
    for (bad, says) in [
        (r#"{"key":"!!"}"#, "invalid base64"),
        (r#"{"key":"Zm9v"} more"#, "trailing characters at line 1 column 16"),
        (r#"{"limit":"5x"}"#, "invalid digit"),
        (r#"{"limit":"9223372036854775808"}"#, "too large"),
        (r#"{"limit":1.5}"#, "expected integer"),
        (r#"{"key":7}"#, "expected a base64-encoded string"),
        (r#"{"serializable":"true"}"#, "expected a boolean"),
        ("[]", "expected a map"),
        (r#"{"key":"Zm9v""#, "EOF while parsing"),
        ("{\n \"limit\": }", "line 2 column 11"),
    ] {
        let error = range(bad).unwrap_err();
        assert!(error.contains(says), "{bad}: {error}");
    }
    let both = json::read::<TxnRequest>(br#"{"success":[{"request_put":{},"request_range":{}}]}"#);
    assert!(both.unwrap_err().to_string().contains("oneof 'request'"));
    let deep = format!("{}{}", r#"{"success":[{"request_txn":"#.repeat(200), "}]}".repeat(200));
    let deep = json::read::<TxnRequest>(deep.as_bytes());
    assert!(deep.unwrap_err().to_string().contains("recursion limit"));
}

#[test]
fn a_stream_of_requests_is_cut_where_its_messages_end() {
    let whole = "{\"key\":\"}{\"}\n {\"limit\":2}[]7 ";
    // However it arrives, also byte by byte, the same messages come out.
    for piece in [1, 3, whole.len()] {
        let (mut arrived, mut found) = (BytesMut::new(), Vec::new());
        for bytes in whole.as_bytes().chunks(piece) {
            arrived.extend_from_slice(bytes);
            while let Some(message) = json::next(&mut arrived).unwrap() {
                found.push(String::from_utf8(message.to_vec()).unwrap());
            }
        }
        assert_eq!(found, [r#"{"key":"}{"}"#, r#"{"limit":2}"#, "[]", "7"], "pieces of {piece}");
        assert!(arrived.is_empty());
    }
    assert!(json::next(&mut BytesMut::from("{]")).is_err());
}

#[test]
fn a_path_turns_json_into_the_call_and_back() {
    let range = Method::find("/v3/kv/range").unwrap();
    assert!(!range.streams_requests() && !range.streams_answers());
    let call = range.request(br#"{"key":"Zm9v","limit":3}"#).unwrap();
    let call = RangeRequest::decode(call).unwrap();
    assert_eq!((call.key, call.limit), (Bytes::from_static(b"foo"), 3));
    let answer = RangeResponse { count: 2, ..RangeResponse::default() }.encode_to_vec();
    assert_eq!(range.answer(&answer).unwrap(), br#"{"count":"2"}"#);
    assert!(range.answer(b"\xff").is_err());

    let watch = Method::find("/v3/watch").unwrap();
    assert!(watch.streams_requests() && watch.streams_answers());
    let created = WatchResponse { created: true, ..WatchResponse::default() }.encode_to_vec();
    assert_eq!(watch.answer(&created).unwrap(), b"{\"result\":{\"created\":true}}\n");
    // A message of nothing but defaults is still a message.
    assert_eq!(watch.answer(b"").unwrap(), b"{\"result\":{}}\n");
}

#[test]
fn errors_have_the_fields_of_every_etcd() {
    let status = Status::from(Fault::Compacted);
    assert_eq!(
        serde_json::from_slice::<serde_json::Value>(&gateway::error(&status)).unwrap(),
        serde_json::json!({"error": Fault::Compacted.text(), "message": Fault::Compacted.text(), "code": 11})
    );
    let line = gateway::streamed_error(&status);
    assert_eq!(line.iter().position(|byte| *byte == b'\n'), Some(line.len() - 1));
    let line: serde_json::Value = serde_json::from_slice(&line).unwrap();
    assert_eq!(line["error"]["code"], 11);
    assert_eq!(line["error"]["http_code"], 400);
    assert_eq!(line["error"]["http_status"], "Bad Request");
}

#[test]
fn a_value_that_is_set_twice_is_the_last() {
    // As in etcd 3.4; 3.6 refuses it.
    let put: PutRequest = json::read(br#"{"lease":1,"lease":"2"}"#).unwrap();
    assert_eq!(put.lease, 2);
}
