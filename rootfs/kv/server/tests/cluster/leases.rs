//! Leases in a cluster: one clock, the leader's.

use kv_api::etcdserverpb as pb;
use tokio_stream::StreamExt as _;

use crate::member::{Member, found, leader, until};

async fn left(member: &Member, id: i64) -> i64 {
    let request = pb::LeaseTimeToLiveRequest { id, keys: false };
    let ask = async || member.leases().await.lease_time_to_live(request).await.ok();
    until("the leader answers", ask).await.into_inner().ttl
}

async fn keep_alive(member: &Member, id: i64) -> i64 {
    let requests = tokio_stream::iter([pb::LeaseKeepAliveRequest { id }]);
    let mut answers = member.leases().await.lease_keep_alive(requests).await.unwrap().into_inner();
    answers.next().await.unwrap().unwrap().ttl
}

#[tokio::test]
async fn every_member_serves_leases_and_a_new_leader_shortens_none() {
    let folder = tempfile::tempdir().unwrap();
    let mut all = found(folder.path(), &["a", "b", "c"], &[]).await;
    let old = leader(&all, &all[0]).await;
    let follower = (old + 1) % 3;
    let grant = pb::LeaseGrantRequest { id: 7, ttl: 3_600 };
    let granted = all[follower].leases().await.lease_grant(grant).await.unwrap().into_inner();
    assert_eq!((granted.id, granted.ttl), (7, 3_600));
    let put = pb::PutRequest { key: "k".into(), value: "v".into(), lease: 7, ..pb::PutRequest::default() };
    let channel = all[follower].channel().await.unwrap();
    pb::kv_client::KvClient::new(channel).put(put).await.unwrap();
    assert_eq!(keep_alive(&all[follower], 7).await, 3_600);
    assert_eq!(keep_alive(&all[follower], 8).await, 0, "there is no such lease");
    // Time goes by for it.
    until("some of it is over", async || (left(&all[follower], 7).await < 3_599).then_some(())).await;
    let old_id = all[old].id().await;
    all[old].kill();
    until("another one leads", async || {
        let leader = all[follower].status().await.ok()?.leader;
        (leader != 0 && leader != old_id).then_some(())
    })
    .await;
    let again = left(&all[follower], 7).await;
    assert!((3_590..3_600).contains(&again), "{again}: the whole time again, but for what has passed since");
    assert_eq!(all[follower].get("k", false).await.unwrap().as_deref(), Some("v"));
}

#[tokio::test]
async fn a_lease_ends_at_all_members() {
    let folder = tempfile::tempdir().unwrap();
    let all = found(folder.path(), &["a", "b", "c"], &[]).await;
    let grant = pb::LeaseGrantRequest { id: 9, ttl: 1 };
    let granted = all[0].leases().await.lease_grant(grant).await.unwrap().into_inner();
    assert_eq!(granted.ttl, 2, "the shortest");
    let put = pb::PutRequest { key: "k".into(), value: "v".into(), lease: 9, ..pb::PutRequest::default() };
    pb::kv_client::KvClient::new(all[1].channel().await.unwrap()).put(put).await.unwrap();
    for member in &all {
        let gone = async || member.get("k", true).await.unwrap().is_none().then_some(());
        until("the key is gone", gone).await;
    }
    assert_eq!(left(&all[2], 9).await, -1);
}
