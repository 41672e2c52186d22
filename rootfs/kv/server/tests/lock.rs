//! The service Lock, by its clients' side.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test a panic is the message")]

mod front;

use front::{Kv, keys, wait_for_keys};
use kv_api::etcdserverpb as pb;
use kv_api::v3lockpb::lock_client::LockClient;
use kv_api::v3lockpb::{LockRequest, UnlockRequest};
use pb::lease_client::LeaseClient;

fn request(name: &'static str, lease: i64) -> LockRequest {
    LockRequest { name: name.into(), lease }
}

async fn grant(leases: &mut LeaseClient<tonic::transport::Channel>) -> i64 {
    leases.lease_grant(pb::LeaseGrantRequest { ttl: 1_000, id: 0 }).await.unwrap().into_inner().id
}

#[tokio::test]
async fn the_oldest_holds_it_and_the_next_gets_it() {
    let kv = Kv::start(&[]);
    let channel = kv.channel().await;
    let (mut locks, mut leases) = (LockClient::new(channel.clone()), LeaseClient::new(channel.clone()));
    let (one, two) = (grant(&mut leases).await, grant(&mut leases).await);
    let held = locks.lock(request("l", one)).await.unwrap().into_inner();
    assert_eq!(held.key, format!("l/{one:x}"));
    let again = locks.lock(request("l", one)).await.unwrap().into_inner();
    assert_eq!(again.key, held.key, "one lease is one holder");
    let waiting = tokio::spawn({
        let mut locks = locks.clone();
        async move { locks.lock(request("l", two)).await }
    });
    wait_for_keys(&channel, "l/", 2).await;
    assert!(!waiting.is_finished());
    locks.unlock(UnlockRequest { key: held.key }).await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap().into_inner().key, format!("l/{two:x}"));
    leases.lease_revoke(pb::LeaseRevokeRequest { id: two }).await.unwrap();
    assert!(keys(&channel, "l/").await.is_empty());
}

#[tokio::test]
async fn who_gives_up_leaves_no_key() {
    let kv = Kv::start(&[]);
    let channel = kv.channel().await;
    let mut locks = LockClient::new(channel.clone());
    let held = locks.lock(request("l", 0)).await.unwrap().into_inner();
    for _ in 0..20 {
        let waiting = tokio::spawn({
            let mut locks = locks.clone();
            async move { locks.lock(request("l", 0)).await }
        });
        wait_for_keys(&channel, "l/", 2).await;
        waiting.abort();
        wait_for_keys(&channel, "l/", 1).await;
    }
    // Given up before there is a key, after it, or with the lock.
    locks.unlock(UnlockRequest { key: held.key }).await.unwrap();
    for turns in 0..40 {
        let waiting = tokio::spawn({
            let mut locks = locks.clone();
            async move { locks.lock(request("l", 0)).await }
        });
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
        waiting.abort();
        if let Ok(Ok(held)) = waiting.await {
            locks.unlock(UnlockRequest { key: held.into_inner().key }).await.unwrap();
        }
    }
    let last = locks.lock(request("l", 0)).await.unwrap().into_inner();
    wait_for_keys(&channel, "l/", 1).await;
    assert_eq!(keys(&channel, "l/").await, [String::from_utf8(last.key.to_vec()).unwrap()]);
}

#[tokio::test]
async fn leases_are_those_of_the_caller_or_of_a_minute() {
    let kv = Kv::start(&[]);
    let channel = kv.channel().await;
    let (mut locks, mut leases) = (LockClient::new(channel.clone()), LeaseClient::new(channel.clone()));
    let held = locks.lock(request("l", 0)).await.unwrap().into_inner();
    let key = String::from_utf8(held.key.to_vec()).unwrap();
    let id = i64::from_str_radix(key.strip_prefix("l/").unwrap(), 16).unwrap();
    let left = leases.lease_time_to_live(pb::LeaseTimeToLiveRequest { id, keys: true }).await.unwrap();
    assert_eq!((left.get_ref().granted_ttl, &left.get_ref().keys), (60, &vec![held.key.clone()]));

    let unknown = locks.lock(request("m", 12_345)).await.unwrap_err();
    assert_eq!(unknown.message(), "etcdserver: requested lease not found");

    // A waiter whose lease ends is told so when it would have been its turn.
    let one = grant(&mut leases).await;
    let waiting = tokio::spawn({
        let mut locks = locks.clone();
        async move { locks.lock(request("l", one)).await }
    });
    wait_for_keys(&channel, "l/", 2).await;
    leases.lease_revoke(pb::LeaseRevokeRequest { id: one }).await.unwrap();
    locks.unlock(UnlockRequest { key: held.key }).await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap_err().message(), "mutex: session is expired");
}

/// A server that was busy finds calls that were made and given up in the meantime.
#[tokio::test]
async fn calls_given_up_before_they_are_read_cost_no_connection() {
    let kv = Kv::start(&[]);
    let channel = kv.channel().await;
    let pid = rustix::process::Pid::from_raw(i32::try_from(kv.pid()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    for _ in 0..1_000 {
        let mut locks = LockClient::new(channel.clone());
        let mut call = std::pin::pin!(locks.lock(request("l", 0)));
        // Once for the connection's task to take it, once for its bytes to go.
        for _ in 0..3 {
            tokio::select! {
                biased;
                answer = &mut call => panic!("{answer:?}"),
                () = tokio::task::yield_now() => {}
            }
        }
    }
    rustix::process::kill_process(pid, rustix::process::Signal::CONT).unwrap();
    wait_for_keys(&channel, "l/", 0).await;
}
