//! Members come, go and move.

use kv_api::Fault;
use kv_api::etcdserverpb as pb;
use tonic::Status;

use crate::member::{Member, found, free, leader, until};

fn fault(status: &Status) -> Option<Fault> {
    Fault::of(status)
}

/// Starts a member that was added, by the address of another one.
async fn join(member: &mut Member, other: &Member) {
    let cluster = format!("{},{}", other.place(), member.place());
    member.start(&["--initial-cluster", &cluster, "--initial-cluster-state", "existing"]).await;
}

#[tokio::test]
async fn a_dead_member_is_replaced_learner_first() {
    let folder = tempfile::tempdir().unwrap();
    let mut all = found(folder.path(), &["a", "b", "c"], &[]).await;
    all[0].put("k", "1").await.unwrap();
    let dead = all[2].id().await;
    all[2].kill();
    let members = until("the dead one is removed", async || all[0].remove(dead).await.ok()).await;
    assert_eq!(members.len(), 2, "{members:?}");
    assert_eq!(fault(&all[1].remove(dead).await.unwrap_err()), Some(Fault::MemberNotFound));

    let mut new = Member::new("d", folder.path());
    let id = all[1].add(&new.peer, true).await.unwrap();
    assert_eq!(fault(&all[1].add(&new.peer, true).await.unwrap_err()), Some(Fault::PeerUrlExist));
    assert_eq!(fault(&all[1].add(&free(), true).await.unwrap_err()), Some(Fault::TooManyLearners));
    assert_eq!(fault(&all[1].add("nonsense", true).await.unwrap_err()), Some(Fault::MemberBadUrls));
    assert_eq!(fault(&all[1].promote(id).await.unwrap_err()), Some(Fault::LearnerNotReady));
    join(&mut new, &all[0]).await;
    assert_eq!(new.id().await, id);
    let status = new.status().await.unwrap();
    assert!(status.is_learner);
    assert_eq!(fault(&new.put("k", "2").await.unwrap_err()), Some(Fault::NotSupportedForLearner));
    until("the learner has caught up", async || all[1].promote(id).await.ok()).await;
    assert_eq!(fault(&all[1].promote(id).await.unwrap_err()), Some(Fault::MemberNotLearner));
    until("it serves as the others", async || new.put("k", "2").await.ok()).await;
    let members = all[0].members().await.unwrap();
    assert!(members.iter().any(|member| member.id == id && member.name == "d" && !member.is_learner));

    // The dead one comes back with its old data, and is told.
    all[2].spawn(&[]);
    assert!(!all[2].ended(), "a member that was removed does not go on");
    // One of three may fail now.
    all[1].kill();
    until("the others go on", async || all[0].put("k", "3").await.ok()).await;
    until("the new one has it", async || (new.get("k", false).await.ok()?? == "3").then_some(())).await;
}

#[tokio::test]
async fn from_one_to_three_to_five_and_back_to_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut all = found(folder.path(), &["m0"], &[]).await;
    all[0].put("k", "0").await.unwrap();
    for number in 1..5 {
        let mut new = Member::new(&format!("m{number}"), folder.path());
        let asked = &all[number / 2];
        let id = until("it can be added", async || asked.add(&new.peer, false).await.ok()).await;
        join(&mut new, asked).await;
        until("it has a vote", async || {
            let status = new.status().await.ok()?;
            (!status.is_learner && status.leader != 0).then_some(())
        })
        .await;
        assert_eq!(new.id().await, id);
        new.put("k", &number.to_string()).await.unwrap();
        all.push(new);
    }
    let members = all[0].members().await.unwrap();
    assert_eq!(members.len(), 5);
    assert!(members.iter().all(|member| !member.is_learner && !member.name.is_empty()), "{members:?}");
    // Two of five may fail.
    all[1].kill();
    all[2].kill();
    until("three of five go on", async || all[3].put("k", "5").await.ok()).await;
    all[1].start(&[]).await;
    all[2].start(&[]).await;
    // The leader goes first, as the hardest.
    while all.len() > 1 {
        let gone = leader(&all, &all[0]).await;
        let id = all[gone].id().await;
        let mut gone = all.remove(gone);
        until("it is removed", async || {
            // By its own hand; the answer can be cut off by its end.
            let _ = gone.remove(id).await;
            let members = all[0].members().await.ok()?;
            members.iter().all(|member| member.id != id).then_some(())
        })
        .await;
        let left = all.len().to_string();
        until("the others go on", async || all[0].put("k", &left).await.ok()).await;
        gone.kill();
    }
    assert_eq!(all[0].get("k", false).await.unwrap().unwrap(), "1");
    let id = all[0].id().await;
    assert_eq!(fault(&all[0].remove(id).await.unwrap_err()), Some(Fault::MemberNotEnoughStarted));
    all[0].stop();
    all[0].start(&[]).await;
    assert_eq!(all[0].get("k", false).await.unwrap().unwrap(), "1");
}

#[tokio::test]
async fn the_lead_is_moved_by_the_leader_alone() {
    let folder = tempfile::tempdir().unwrap();
    let all = found(folder.path(), &["a", "b", "c"], &[]).await;
    let old = leader(&all, &all[0]).await;
    let (to, third) = ((old + 1) % 3, (old + 2) % 3);
    let id = all[to].id().await;
    assert_eq!(fault(&all[third].move_leader(id).await.unwrap_err()), Some(Fault::NotLeader));
    assert_eq!(fault(&all[old].move_leader(7).await.unwrap_err()), Some(Fault::BadLeaderTransferee));
    until("the lead is moved", async || match all[old].move_leader(id).await {
        Ok(()) => Some(()),
        Err(status) => (fault(&status) == Some(Fault::NotLeader)).then_some(()),
    })
    .await;
    let status = all[to].status().await.unwrap();
    assert_eq!(status.leader, id);
    all[old].put("k", "v").await.unwrap();
    assert_eq!(all[third].get("k", false).await.unwrap().unwrap(), "v");
}

#[tokio::test]
async fn a_member_moves_to_another_address() {
    let folder = tempfile::tempdir().unwrap();
    let mut all = found(folder.path(), &["a", "b", "c"], &[]).await;
    let id = all[2].id().await;
    all[2].stop();
    let old = std::mem::replace(&mut all[2].peer, free());
    let update = pb::MemberUpdateRequest { id, peer_ur_ls: vec![all[2].peer.clone()] };
    until("the address is changed", async || all[0].cluster().await.member_update(update.clone()).await.ok())
        .await;
    let taken = pb::MemberUpdateRequest { id, peer_ur_ls: vec![all[0].peer.clone()] };
    let refused = all[0].cluster().await.member_update(taken).await.unwrap_err();
    assert_eq!(fault(&refused), Some(Fault::PeerUrlExist));
    all[0].put("k", "1").await.unwrap();
    // The flags of its first start name the old one still.
    all[2].start(&[]).await;
    until("it has what was written meanwhile", async || {
        (all[2].get("k", false).await.ok()?? == "1").then_some(())
    })
    .await;
    let urls: Vec<_> =
        all[2].members().await.unwrap().into_iter().flat_map(|member| member.peer_ur_ls).collect();
    assert!(urls.contains(&all[2].peer) && !urls.contains(&old), "{urls:?}");
    all[0].kill();
    until("it counts", async || all[2].put("k", "2").await.ok()).await;
}

#[tokio::test]
async fn who_cannot_join_is_told_why() {
    let folder = tempfile::tempdir().unwrap();
    let all = found(folder.path(), &["a"], &[]).await;
    let stranger = Member::new("b", folder.path());
    let run = |extra: &[&str]| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_kv"))
            .args(["--name", "b", "--data-dir"])
            .arg(&stranger.folder)
            .args(["--listen-client-urls", &stranger.client, "--listen-peer-urls", &stranger.peer])
            .args(["--initial-advertise-peer-urls", &stranger.peer])
            .args(extra)
            .env_clear()
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    let both = format!("{},{}", all[0].place(), stranger.place());
    let said = run(&["--initial-cluster-state", "existing", "--initial-cluster", &both]);
    assert!(said.contains("add it first (member add)"), "{said}");
    let said = run(&["--initial-cluster", &all[0].place()]);
    assert!(said.contains("no member named b"), "{said}");
    let other = format!("{},b=http://127.0.0.1:1", all[0].place());
    let said = run(&["--initial-cluster", &other]);
    assert!(said.contains("other addresses than --initial-advertise-peer-urls"), "{said}");
    assert!(!stranger.folder.join("member").exists(), "nothing was begun");
}
