//! The gateway of Debian's etcd as a second opinion: it understands what we write,
//! we understand what it answers, and it takes a text and our reading of it alike.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test's failure is a panic")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use bytes::Bytes;
use kv_api::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use kv_api::etcdserverpb::request_op::Request;
use kv_api::etcdserverpb::{self as pb, response_op::Response};
use kv_api::gateway::{self, Method};
use kv_api::{Fault, authpb, json, v3electionpb, v3lockpb};
use prost::{Message, Name};
use serde_json::Value;

/// etcd with a socket of its own in a folder of its own; ended with the test.
struct Etcd {
    folder: tempfile::TempDir,
    server: Child,
}

impl Etcd {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (client, peer) = ("unix://localhost:1", "unix://localhost:2");
        let mut server = Command::new("etcd")
            .current_dir(folder.path())
            .args(["--data-dir", "data", "--initial-cluster", &format!("default={peer}")])
            .args(["--listen-client-urls", client, "--advertise-client-urls", client])
            .args(["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer])
            .stderr(Stdio::piped())
            .spawn()
            .expect("install etcd-server");
        let mut log = BufReader::new(server.stderr.take().unwrap());
        let mut said = String::new();
        while !said.contains("serving insecure client requests") {
            assert_ne!(log.read_line(&mut said).unwrap(), 0, "etcd ended: {said}");
        }
        // Goes on for as long as etcd does, so that etcd never waits for a reader.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self { folder, server }
    }

    fn connect(&self, path: &str, body: &[u8]) -> BufReader<UnixStream> {
        let socket: PathBuf = self.folder.path().join("localhost:1");
        let mut stream = UnixStream::connect(socket).unwrap();
        write!(stream, "POST {path} HTTP/1.0\r\nContent-Length: {}\r\n\r\n", body.len()).unwrap();
        stream.write_all(body).unwrap();
        BufReader::new(stream)
    }

    /// The status and the body of an answer.
    fn post(&self, path: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let mut answer = Vec::new();
        self.connect(path, body).read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        let body = answer.split_off(end);
        let head = String::from_utf8(answer).unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body)
    }

    /// A call with our JSON. What etcd answers is read, and is written again as it was.
    fn call<Q: Message + Name, A: Message + Name + Default>(&self, path: &str, request: &Q) -> A {
        let text = json::write(request).unwrap();
        let (status, body) = self.post(path, &text);
        let shown = String::from_utf8_lossy(&body).into_owned();
        assert_eq!(status, 200, "{path} {}: {shown}", String::from_utf8_lossy(&text));
        let answer: A = json::read(&body).unwrap_or_else(|error| panic!("{path}: {error}: {shown}"));
        assert_eq!(value(&json::write(&answer).unwrap()), value(&body), "{path}");
        // The same by the path alone.
        let method = Method::find(path).unwrap();
        assert_eq!(method.request(&text).unwrap(), request.encode_to_vec(), "{path}");
        assert_eq!(value(&method.answer(&answer.encode_to_vec()).unwrap()), value(&body), "{path}");
        answer
    }

    /// A call that must fail as we would say it.
    fn refused<Q: Message + Name>(&self, path: &str, request: &Q, with: Fault) {
        let (status, body) = self.post(path, &json::write(request).unwrap());
        assert_eq!(value(&body), value(&gateway::error(&with.into())), "{path}");
        assert_eq!(status, gateway::http_status(with.code()).0, "{path}");
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
    }
}

fn value(text: &[u8]) -> Value {
    serde_json::from_slice(text).unwrap()
}

fn put(key: &'static [u8], bytes: &'static [u8]) -> pb::PutRequest {
    pb::PutRequest { key: Bytes::from_static(key), value: Bytes::from_static(bytes), ..Default::default() }
}

#[test]
fn etcd_understands_us_and_we_it() {
    let etcd = Etcd::start();
    // Keys and values of any bytes.
    for key in [&b"a"[..], b"\x00\xff\xfe", b"b"] {
        etcd.call::<_, pb::PutResponse>("/v3/kv/put", &put(key, b"\xfb\xff"));
    }
    let again: pb::PutResponse =
        etcd.call("/v3/kv/put", &pb::PutRequest { prev_kv: true, ..put(b"a", b"2") });
    assert_eq!(again.prev_kv.unwrap().value, &b"\xfb\xff"[..]);
    let all = pb::RangeRequest {
        key: Bytes::from_static(b"\0"),
        range_end: Bytes::from_static(b"\0"),
        limit: 2,
        ..Default::default()
    };
    let range: pb::RangeResponse = etcd.call("/v3/kv/range", &all);
    assert!(range.more && range.count == 3 && range.kvs[0].key == b"\x00\xff\xfe"[..]);

    let txn = pb::TxnRequest {
        compare: vec![pb::Compare {
            key: Bytes::from_static(b"a"),
            result: CompareResult::Greater.into(),
            target: CompareTarget::Version.into(),
            target_union: Some(TargetUnion::Version(1)),
            ..Default::default()
        }],
        success: [
            Request::RequestPut(put(b"c", b"")),
            Request::RequestRange(all.clone()),
            Request::RequestTxn(pb::TxnRequest {
                failure: vec![pb::RequestOp { request: Some(Request::RequestRange(all.clone())) }],
                ..Default::default()
            }),
            Request::RequestDeleteRange(pb::DeleteRangeRequest {
                key: Bytes::from_static(b"b"),
                prev_kv: true,
                ..Default::default()
            }),
        ]
        .map(|request| pb::RequestOp { request: Some(request) })
        .into(),
        failure: vec![],
    };
    let done: pb::TxnResponse = etcd.call("/v3/kv/txn", &txn);
    assert!(done.succeeded && done.responses.len() == 4);
    let Some(Response::ResponseDeleteRange(deleted)) = &done.responses[3].response else {
        panic!("{done:?}")
    };
    assert_eq!((deleted.deleted, deleted.prev_kvs.len()), (1, 1));
    let compact = pb::CompactionRequest { revision: 2, physical: true };
    etcd.call::<_, pb::CompactionResponse>("/v3/kv/compaction", &compact);

    let lease: pb::LeaseGrantResponse =
        etcd.call("/v3/lease/grant", &pb::LeaseGrantRequest { ttl: 600, id: 77 });
    assert_eq!((lease.id, lease.ttl), (77, 600));
    etcd.call::<_, pb::PutResponse>("/v3/kv/put", &pb::PutRequest { lease: 77, ..put(b"l", b"1") });
    let left = pb::LeaseTimeToLiveRequest { id: 77, keys: true };
    let left: pb::LeaseTimeToLiveResponse = etcd.call("/v3/kv/lease/timetolive", &left);
    assert_eq!((left.granted_ttl, left.keys), (600, vec![Bytes::from_static(b"l")]));
    let leases: pb::LeaseLeasesResponse = etcd.call("/v3/lease/leases", &pb::LeaseLeasesRequest {});
    assert_eq!(leases.leases, [pb::LeaseStatus { id: 77 }]);

    let held = v3lockpb::LockRequest { name: Bytes::from_static(b"lock"), lease: 77 };
    let held: v3lockpb::LockResponse = etcd.call("/v3/lock/lock", &held);
    etcd.call::<_, v3lockpb::UnlockResponse>("/v3/lock/unlock", &v3lockpb::UnlockRequest { key: held.key });
    let stand = v3electionpb::CampaignRequest {
        name: Bytes::from_static(b"chair"),
        lease: 77,
        value: Bytes::from_static(b"me"),
    };
    let won: v3electionpb::CampaignResponse = etcd.call("/v3/election/campaign", &stand);
    let ask = v3electionpb::LeaderRequest { name: Bytes::from_static(b"chair") };
    let leader: v3electionpb::LeaderResponse = etcd.call("/v3/election/leader", &ask);
    assert_eq!(leader.kv.unwrap().key, won.leader.as_ref().unwrap().key);
    let resign = v3electionpb::ResignRequest { leader: won.leader };
    etcd.call::<_, v3electionpb::ResignResponse>("/v3/election/resign", &resign);
    etcd.call::<_, pb::LeaseRevokeResponse>("/v3/lease/revoke", &pb::LeaseRevokeRequest { id: 77 });

    let members: pb::MemberListResponse =
        etcd.call("/v3/cluster/member/list", &pb::MemberListRequest { linearizable: false });
    assert_eq!(members.members[0].peer_ur_ls, ["unix://localhost:2"]);
    let status: pb::StatusResponse = etcd.call("/v3/maintenance/status", &pb::StatusRequest {});
    assert!(status.db_size > 0 && status.raft_index > 0 && status.leader == members.members[0].id);
    let hash: pb::HashResponse = etcd.call("/v3/maintenance/hash", &pb::HashRequest {});
    assert_ne!(hash.hash, 0);
    let alarm = pb::AlarmRequest {
        action: 1,
        member_id: members.members[0].id,
        alarm: pb::AlarmType::Corrupt.into(),
    };
    let alarm: pb::AlarmResponse = etcd.call("/v3/maintenance/alarm", &alarm);
    assert_eq!(alarm.alarms[0].alarm, i32::from(pb::AlarmType::Corrupt));
}

#[test]
fn users_roles_and_refusals() {
    let etcd = Etcd::start();
    let role = || "r".to_owned();
    etcd.call::<_, pb::AuthRoleAddResponse>("/v3/auth/role/add", &pb::AuthRoleAddRequest { name: role() });
    let perm = authpb::Permission {
        perm_type: authpb::permission::Type::Readwrite.into(),
        key: Bytes::from_static(b"k"),
        range_end: Bytes::from_static(b"l"),
    };
    let grant = pb::AuthRoleGrantPermissionRequest { name: role(), perm: Some(perm.clone()) };
    etcd.call::<_, pb::AuthRoleGrantPermissionResponse>("/v3/auth/role/grant", &grant);
    let shown: pb::AuthRoleGetResponse =
        etcd.call("/v3/auth/role/get", &pb::AuthRoleGetRequest { role: role() });
    assert_eq!(shown.perm, [perm]);
    let user = pb::AuthUserAddRequest {
        name: "u".into(),
        options: Some(authpb::UserAddOptions { no_password: true }),
        ..Default::default()
    };
    etcd.call::<_, pb::AuthUserAddResponse>("/v3/auth/user/add", &user);
    let given = pb::AuthUserGrantRoleRequest { user: "u".into(), role: role() };
    etcd.call::<_, pb::AuthUserGrantRoleResponse>("/v3/auth/user/grant", &given);
    let shown: pb::AuthUserGetResponse =
        etcd.call("/v3/auth/user/get", &pb::AuthUserGetRequest { name: "u".into() });
    assert_eq!(shown.roles, [role()]);

    let range = |key: &'static [u8], revision| pb::RangeRequest {
        key: Bytes::from_static(key),
        revision,
        ..Default::default()
    };
    etcd.refused("/v3/kv/range", &range(b"", 0), Fault::EmptyKey);
    etcd.refused("/v3/kv/range", &range(b"a", 99), Fault::FutureRev);
    let lost = pb::PutRequest { lease: 5, ..put(b"a", b"1") };
    etcd.refused("/v3/kv/put", &lost, Fault::LeaseNotFound);
    let valued = pb::PutRequest { ignore_value: true, ..put(b"a", b"1") };
    etcd.refused("/v3/kv/put", &valued, Fault::ValueProvided);
    etcd.refused("/v3/kv/put", &pb::PutRequest { ignore_value: true, ..put(b"a", b"") }, Fault::KeyNotFound);
    let twice = [put(b"a", b"1"), put(b"a", b"2")];
    let twice = pb::TxnRequest {
        success: twice.map(|put| pb::RequestOp { request: Some(Request::RequestPut(put)) }).into(),
        ..Default::default()
    };
    etcd.refused("/v3/kv/txn", &twice, Fault::DuplicateKey);
    etcd.refused("/v3/lease/revoke", &pb::LeaseRevokeRequest { id: 5 }, Fault::LeaseNotFound);
    etcd.refused("/v3/cluster/member/remove", &pb::MemberRemoveRequest { id: 5 }, Fault::MemberNotFound);
    let wrong = pb::AuthUserAddRequest::default();
    etcd.refused("/v3/auth/user/add", &wrong, Fault::UserEmpty);
}

#[test]
fn etcd_takes_a_text_and_our_reading_of_it_alike() {
    let etcd = Etcd::start();
    for key in [b"a", b"b", b"c"] {
        etcd.call::<_, pb::PutResponse>("/v3/kv/put", &put(key, b"1"));
    }
    for text in [
        r#"{"key":"YQ==","range_end":"AA==","sort_order":"DESCEND","sort_target":"KEY"}"#,
        r#"{"key":"YQ==","rangeEnd":"AA==","sortOrder":2,"sortTarget":3,"limit":2}"#,
        r#"{"key":"YQ==","range_end":"ZA==","count_only":true,"limit":"1","nobody":[1,{"knows":null}]}"#,
        r#"{"key":"YQ==","revision":"2","keysOnly":true,"range_end":null}"#,
        r#" {"key":"YQ==","rangeEnd":"AA==","minModRevision":3,"max_create_revision":"3"} "#,
        r#"{"key":"YQ==","key":"Yg=="}"#,
    ] {
        let read: pb::RangeRequest = json::read(text.as_bytes()).unwrap();
        let ours = etcd.post("/v3/kv/range", &json::write(&read).unwrap());
        let theirs = etcd.post("/v3/kv/range", text.as_bytes());
        assert_eq!((theirs.0, value(&theirs.1)), (200, value(&ours.1)), "{text}");
    }
    for bad in [r#"{"key":"!!"}"#, r#"{"limit":"x"}"#, "[]", r#"{"key":"YQ==""#, r#"{"serializable":"true"}"#]
    {
        assert!(json::read::<pb::RangeRequest>(bad.as_bytes()).is_err(), "{bad}");
        assert_ne!(etcd.post("/v3/kv/range", bad.as_bytes()).0, 200, "{bad}");
    }
}

#[test]
fn where_we_differ_from_debians_etcd() {
    let etcd = Etcd::start();
    let taken = |text: &str| etcd.post("/v3/kv/txn", text.as_bytes()).0 == 200;
    let read = |text: &str| json::read::<pb::TxnRequest>(text.as_bytes()).is_ok();
    // As etcd 3.6 has it: an enum's name that is not known is passed over.
    let sideways = r#"{"success":[{"request_range":{"key":"YQ==","sort_order":"SIDEWAYS"}}]}"#;
    assert!(!taken(sideways) && read(sideways));
    // Stricter than both: what the gateway would throw away is said instead.
    let trailing = r#"{"success":[]} and more"#;
    assert!(taken(trailing) && !read(trailing));
    // Stricter than 3.4, as 3.6: one of the two would be lost.
    let both = r#"{"success":[{"request_range":{"key":"YQ=="},"request_put":{"key":"YQ=="}}]}"#;
    assert!(taken(both) && !read(both));
}

#[test]
fn lines_of_a_watch() {
    let etcd = Etcd::start();
    let made: pb::PutResponse = etcd.call("/v3/kv/put", &put(b"a", b"1"));
    let create = pb::WatchCreateRequest {
        key: Bytes::from_static(b"a"),
        start_revision: made.header.unwrap().revision,
        ..Default::default()
    };
    let create =
        pb::WatchRequest { request_union: Some(pb::watch_request::RequestUnion::CreateRequest(create)) };
    let mut lines = etcd.connect("/v3/watch", &json::write(&create).unwrap()).lines();
    let method = Method::find("/v3/watch").unwrap();
    let mut next = || -> pb::WatchResponse {
        let line = lines.find(|line| line.as_ref().is_ok_and(|line| line.starts_with('{'))).unwrap().unwrap();
        let message = &value(line.as_bytes())["result"];
        let message: pb::WatchResponse = json::read(message.to_string().as_bytes()).unwrap();
        let ours = method.answer(&message.encode_to_vec()).unwrap();
        assert_eq!(value(&ours), value(line.as_bytes()));
        message
    };
    assert!(next().created);
    assert_eq!(next().events[0].kv.as_ref().unwrap().value, "1");
}
