//! What is too much is refused with its reason, and a client that does not read costs no memory.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test a panic is the message")]

mod front;

use front::Kv;
use kv_api::etcdserverpb as pb;
use pb::kv_client::KvClient;
use pb::lease_client::LeaseClient;
use pb::watch_client::WatchClient;
use tokio::task::JoinSet;
use tokio_stream::StreamExt as _;
use tonic::Code;
use tonic::transport::Channel;

fn put(key: &str, value: Vec<u8>) -> pb::PutRequest {
    pb::PutRequest { key: key.to_owned().into(), value: value.into(), ..Default::default() }
}

fn create(key: &'static str) -> pb::WatchRequest {
    let create = pb::WatchCreateRequest { key: key.into(), ..Default::default() };
    pb::WatchRequest { request_union: Some(pb::watch_request::RequestUnion::CreateRequest(create)) }
}

async fn watch(channel: Channel, key: &'static str, count: usize) -> tonic::Streaming<pb::WatchResponse> {
    let requests = tokio_stream::iter(vec![create(key); count]).chain(tokio_stream::pending());
    WatchClient::new(channel).watch(requests).await.unwrap().into_inner()
}

#[tokio::test]
async fn limits_are_those_of_the_flags() {
    let kv = Kv::start(&[
        "--max-request-bytes",
        "1000",
        "--max-txn-ops=2",
        "--max-watchers-per-stream",
        "3",
        "--max-leases",
        "2",
        "--max-range-keys",
        "4",
    ]);
    let channel = kv.channel().await;
    let mut keys = KvClient::new(channel.clone());
    keys.put(put("a", vec![0; 900])).await.unwrap();
    let large = keys.put(put("a", vec![0; 1_000])).await.unwrap_err();
    assert_eq!((large.code(), large.message()), (Code::InvalidArgument, "etcdserver: request is too large"));
    let operation =
        |key| pb::RequestOp { request: Some(pb::request_op::Request::RequestPut(put(key, Vec::new()))) };
    let txn = pb::TxnRequest { success: ["a", "b", "c"].map(operation).into(), ..Default::default() };
    let many = keys.txn(txn).await.unwrap_err();
    assert_eq!(many.message(), "etcdserver: too many operations in txn request");

    for key in ["b", "c", "d"] {
        keys.put(put(key, vec![1])).await.unwrap();
    }
    let all = pb::RangeRequest { key: "a".into(), range_end: "\0".into(), ..Default::default() };
    assert_eq!(keys.range(all.clone()).await.unwrap().into_inner().kvs.len(), 4);
    keys.put(put("e", vec![1])).await.unwrap();
    let refused = keys.range(all.clone()).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().contains("more than 4 keys (--max-range-keys)"), "{refused}");
    let some = keys.range(pb::RangeRequest { limit: 4, ..all.clone() }).await.unwrap().into_inner();
    assert_eq!((some.kvs.len(), some.more, some.count), (4, true, 5));
    keys.range(pb::RangeRequest { limit: 5, ..all.clone() }).await.unwrap_err();
    let count = keys.range(pb::RangeRequest { count_only: true, ..all }).await.unwrap().into_inner();
    assert_eq!(count.count, 5);

    let mut leases = LeaseClient::new(channel.clone());
    for id in [1, 2] {
        leases.lease_grant(pb::LeaseGrantRequest { ttl: 100, id }).await.unwrap();
    }
    let refused = leases.lease_grant(pb::LeaseGrantRequest { ttl: 100, id: 3 }).await.unwrap_err();
    assert!(refused.message().contains("(--max-leases)"), "{refused}");
    leases.lease_revoke(pb::LeaseRevokeRequest { id: 1 }).await.unwrap();
    leases.lease_grant(pb::LeaseGrantRequest { ttl: 100, id: 3 }).await.unwrap();

    let mut answers = watch(channel, "a", 4).await;
    for _ in 0..3 {
        assert!(!answers.message().await.unwrap().unwrap().canceled);
    }
    let fourth = answers.message().await.unwrap().unwrap();
    assert!(fourth.created && fourth.canceled);
    assert!(fourth.cancel_reason.contains("--max-watchers-per-stream"), "{}", fourth.cancel_reason);
}

/// Resident memory of a process, bytes.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

const VALUE_BYTES: usize = 100_000;
const PUTS: usize = 1_000;

/// 100 MB of changes of one key.
async fn load(channel: &Channel) {
    let mut puts = JoinSet::new();
    for number in 0..PUTS {
        let mut keys = KvClient::new(channel.clone());
        if puts.len() == 16 {
            puts.join_next().await.unwrap().unwrap();
        }
        puts.spawn(
            async move { keys.put(put("w", vec![number as u8; VALUE_BYTES])).await.map(|_| ()).unwrap() },
        );
    }
    while let Some(done) = puts.join_next().await {
        done.unwrap();
    }
}

#[tokio::test]
async fn watchers_that_do_not_read_cost_no_memory() {
    let kv = Kv::start(&[]);
    let channel = kv.channel().await;
    // So that what the load alone takes (caches, the log's memory) is there before.
    load(&channel).await;
    load(&channel).await;
    let before = resident(kv.pid());
    let mut slow = Vec::new();
    for _ in 0..20 {
        // Each on a connection of its own, with ten watchers.
        let mut answers = watch(kv.channel().await, "w", 10).await;
        for _ in 0..10 {
            answers.message().await.unwrap().unwrap();
        }
        slow.push(answers);
    }
    load(&channel).await;
    let after = resident(kv.pid());
    println!("resident before {} MB, after {} MB", before >> 20, after >> 20);
    // 200 watchers, each of which was to be sent 100 MB.
    assert!(after.saturating_sub(before) < 150 << 20, "{before} {after}");

    // When they read, nothing is missing, in order.
    let mut answers = slow.pop().unwrap();
    drop(slow);
    let mut next = [None; 10];
    let mut left = 10 * PUTS;
    while left > 0 {
        let answer = answers.message().await.unwrap().unwrap();
        assert!(!answer.canceled, "{answer:?}");
        for event in answer.events {
            let revision = event.kv.unwrap().mod_revision;
            let wanted = next[answer.watch_id as usize].replace(revision + 1);
            assert!(wanted.is_none_or(|wanted| wanted == revision), "{wanted:?} {revision}");
            left -= 1;
        }
    }
    // And a range that nobody reads ends with its connection.
    let mut keys = KvClient::new(channel);
    keys.range(pb::RangeRequest { key: "w".into(), ..Default::default() }).await.unwrap();
}
