//! Leases end by themselves whoever has them, and are revoked by who may write their keys.

use kv_api::Fault;
use kv_api::etcdserverpb as pb;
use pb::watch_request::RequestUnion;

use crate::clients::{Member, put, range, text};

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_ends_by_itself_while_authentication_is_on() {
    let member = Member::guarded().await;
    let mut user = member.log_in("u", "up").await;
    let create = pb::WatchCreateRequest { key: "a".into(), ..Default::default() };
    let request = pb::WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
    let mut root = member.log_in("root", "rp").await;
    // The stream of requests must stay open.
    let requests = tokio_stream::StreamExt::chain(tokio_stream::iter([request]), tokio_stream::pending());
    let mut answers = root.watch.watch(requests).await.unwrap().into_inner();
    assert!(answers.message().await.unwrap().unwrap().created);
    user.lease.lease_grant(pb::LeaseGrantRequest { id: 5, ttl: 1 }).await.unwrap();
    user.kv.put(pb::PutRequest { lease: 5, ..put("a", "1") }).await.unwrap();
    let kinds = [kv_api::mvccpb::event::EventType::Put, kv_api::mvccpb::event::EventType::Delete];
    for kind in kinds {
        assert_eq!(answers.message().await.unwrap().unwrap().events[0].r#type(), kind);
    }
    assert_eq!(user.kv.range(range("a", "")).await.unwrap().into_inner().count, 0);
    member.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_is_revoked_by_who_may_write_its_keys() {
    let member = Member::guarded().await;
    let mut user = member.log_in("u", "up").await;
    let mut root = member.log_in("root", "rp").await;
    let revoke = |id| pb::LeaseRevokeRequest { id };
    assert_eq!(text(user.lease.lease_revoke(revoke(7)).await), Fault::PermissionDenied.text());
    assert_eq!(text(user.lease.lease_revoke(revoke(8)).await), Fault::LeaseNotFound.text());
    user.lease.lease_grant(pb::LeaseGrantRequest { id: 5, ttl: 60 }).await.unwrap();
    user.kv.put(pb::PutRequest { lease: 5, ..put("a", "1") }).await.unwrap();
    let keys = pb::LeaseTimeToLiveRequest { id: 5, keys: true };
    let left = user.lease.lease_time_to_live(keys).await.unwrap().into_inner();
    assert_eq!(left.keys, ["a"]);
    root.kv.put(pb::PutRequest { lease: 5, ..put("z", "1") }).await.unwrap();
    assert_eq!(text(user.lease.lease_revoke(revoke(5)).await), Fault::PermissionDenied.text());
    assert_eq!(text(root.lease.lease_revoke(revoke(5)).await), "ok");
    assert_eq!(root.kv.range(range("a", "\0")).await.unwrap().into_inner().count, 0);
    member.end().await;
}
