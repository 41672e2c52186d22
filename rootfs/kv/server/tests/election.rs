//! The service Election, by its clients' side.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test a panic is the message")]

mod front;

use front::{Kv, keys, wait_for_keys};
use kv_api::v3electionpb as pb;
use pb::election_client::ElectionClient;

fn campaign(value: &'static str) -> pb::CampaignRequest {
    pb::CampaignRequest { name: "e".into(), lease: 0, value: value.into() }
}

fn name() -> pb::LeaderRequest {
    pb::LeaderRequest { name: "e".into() }
}

#[tokio::test]
async fn leaders_follow_each_other_and_are_observed() {
    let kv = Kv::start(&[]);
    let channel = kv.channel().await;
    let mut elections = ElectionClient::new(channel.clone());
    assert_eq!(elections.leader(name()).await.unwrap_err().message(), "election: no leader");
    let mut seen = elections.observe(name()).await.unwrap().into_inner();

    let first = elections.campaign(campaign("a")).await.unwrap().into_inner().leader.unwrap();
    assert_eq!(first.key, format!("e/{:x}", first.lease));
    let leader = elections.leader(name()).await.unwrap().into_inner().kv.unwrap();
    assert_eq!((&leader.value[..], leader.create_revision), (&b"a"[..], first.rev));
    let second = tokio::spawn({
        let mut elections = elections.clone();
        async move { elections.campaign(campaign("b")).await }
    });
    wait_for_keys(&channel, "e/", 2).await;
    for value in ["a2", "a3"] {
        let proclaim = pb::ProclaimRequest { leader: Some(first.clone()), value: value.into() };
        elections.proclaim(proclaim).await.unwrap();
    }
    elections.resign(pb::ResignRequest { leader: Some(first.clone()) }).await.unwrap();
    let second = second.await.unwrap().unwrap().into_inner().leader.unwrap();
    let stale = pb::ProclaimRequest { leader: Some(first), value: "x".into() };
    assert_eq!(elections.proclaim(stale).await.unwrap_err().message(), "election: not leader");
    let proclaim = pb::ProclaimRequest { leader: Some(second), value: "b2".into() };
    elections.proclaim(proclaim).await.unwrap();

    let mut values = Vec::new();
    while values.last().map(String::as_str) != Some("b2") {
        let kv = seen.message().await.unwrap().unwrap().kv.unwrap();
        values.push(String::from_utf8(kv.value.to_vec()).unwrap());
    }
    // The second leader is read when the first has gone, so its first words may be passed over.
    values.retain(|value| value != "b");
    assert_eq!(values, ["a", "a2", "a3", "b2"]);

    let missing = elections.resign(pb::ResignRequest { leader: None }).await.unwrap_err();
    assert_eq!(missing.message(), "\"leader\" field must be provided");
}

#[tokio::test]
async fn a_candidate_who_gives_up_leaves_no_key() {
    let kv = Kv::start(&[]);
    let channel = kv.channel().await;
    let mut elections = ElectionClient::new(channel.clone());
    let leader = elections.campaign(campaign("a")).await.unwrap().into_inner().leader.unwrap();
    let waiting = tokio::spawn({
        let mut elections = elections.clone();
        async move { elections.campaign(campaign("b")).await }
    });
    wait_for_keys(&channel, "e/", 2).await;
    waiting.abort();
    wait_for_keys(&channel, "e/", 1).await;
    // The same lease once more is the same candidate, with a new value.
    let again = pb::CampaignRequest { name: "e".into(), lease: leader.lease, value: "c".into() };
    let again = elections.campaign(again).await.unwrap().into_inner().leader.unwrap();
    assert_eq!(again, leader);
    let kv = elections.leader(name()).await.unwrap().into_inner().kv.unwrap();
    assert_eq!(&kv.value[..], b"c");
    assert_eq!(keys(&channel, "e/").await.len(), 1);
}
