//! The face of a node, in simulated time: membership, leadership, snapshots, and what it refuses.

#![expect(clippy::unwrap_used, reason = "a test's failure is a panic")]

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use kv_raft::sim::cluster::SimNode;
use kv_raft::sim::machine::{append, place};
use kv_raft::sim::{Chance, Cluster, Settings, run};
use kv_raft::wire::{self, Answer, Ask};
use kv_raft::{ChangeError, InitializeError, Member, NodeId, ProposeError, ReadError, Role};
use prost::Message;
use tokio::time::{sleep, timeout};

/// `started` of `all` members run as one cluster, and member 1 leads it.
async fn cluster(all: u64, started: u64, settings: Settings) -> Cluster {
    let cluster = Cluster::new(&mut Chance::new(all), 1..=all, settings);
    let ids: Vec<NodeId> = (1..=started).collect();
    for id in &ids {
        cluster.start(*id).await.unwrap();
    }
    node(&cluster, 1).initialize(Cluster::members(&ids)).await.unwrap();
    lead(&cluster, 1).await;
    cluster
}

fn node(cluster: &Cluster, id: NodeId) -> SimNode {
    cluster.node(id).unwrap()
}

/// Waits until `id` leads.
async fn lead(cluster: &Cluster, id: NodeId) {
    let node = node(cluster, id);
    let mut watch = node.watch();
    let led = watch.until(|s| s.role == Role::Leader);
    timeout(Duration::from_secs(10), led).await.unwrap().unwrap();
}

/// Waits until some other than `not` leads among those that run, and gives it.
async fn leader_but(cluster: &Cluster, not: NodeId) -> SimNode {
    let found = async {
        loop {
            for id in cluster.running().into_iter().filter(|id| *id != not) {
                if node(cluster, id).status().role == Role::Leader {
                    return node(cluster, id);
                }
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(10), found).await.unwrap()
}

/// Appends, and gives the place.
async fn put(node: &SimNode, item: u64) -> u64 {
    place(node.propose(append(item)).await.unwrap().reply).unwrap()
}

fn member(text: &str) -> Member {
    Member { urls: vec![text.to_owned()] }
}

#[test]
fn from_one_member_to_three_and_back() {
    run(1, async {
        let cluster = cluster(3, 1, Settings::default()).await;
        let one = node(&cluster, 1);
        assert_eq!(put(&one, 10).await, 0);
        for id in 2..=3 {
            cluster.start(id).await.unwrap();
            one.add_learner(id, member("sim://")).await.unwrap();
            assert_eq!(one.status().voters.len(), id as usize - 1);
            let refused = one.add_learner(id, member("sim://")).await.unwrap_err();
            assert_eq!(refused, ChangeError::Refused(format!("member {id} exists already")));
            one.promote(id).await.unwrap();
            assert!(matches!(one.promote(id).await, Err(ChangeError::Refused(_))));
        }
        assert_eq!(one.status().voters, BTreeSet::from([1, 2, 3]));
        // One of three may fail now.
        cluster.crash(3);
        assert_eq!(put(&one, 11).await, 1);
        cluster.start(3).await.unwrap();
        let three = node(&cluster, 3);
        three.read_index().await.unwrap();
        assert_eq!(cluster.list(3).unwrap().items(), [10, 11]);
        // Back to one; the leader goes, too.
        one.remove(1).await.unwrap();
        let leader = leader_but(&cluster, 1).await;
        assert_eq!(put(&leader, 12).await, 2);
        let last = leader.id();
        leader.remove(5 - last).await.unwrap();
        assert_eq!(leader.status().voters, BTreeSet::from([last]));
        assert_eq!(leader.status().members.len(), 1);
        cluster.crash(5 - last);
        assert_eq!(put(&leader, 13).await, 3);
        let refused = leader.remove(last).await.unwrap_err();
        assert_eq!(refused.to_string(), format!("member {last} is the last one with a vote"));
        assert!(matches!(leader.remove(9).await, Err(ChangeError::Refused(_))));
        assert!(matches!(leader.promote(9).await, Err(ChangeError::Refused(_))));
    })
    .unwrap();
}

#[test]
fn a_dead_member_is_replaced_and_the_new_one_takes_a_snapshot() {
    run(2, async {
        let cluster = cluster(4, 3, Settings::default()).await;
        let one = node(&cluster, 1);
        cluster.crash(3);
        for item in 0..300 {
            put(&one, item).await;
        }
        assert!(one.status().purged.is_some(), "the log's start is purged");
        one.remove(3).await.unwrap();
        cluster.start(4).await.unwrap();
        one.add_learner(4, member("sim://4")).await.unwrap();
        one.promote(4).await.unwrap();
        assert_eq!(one.status().members[&4], member("sim://4"));
        cluster.crash(2);
        assert_eq!(put(&one, 300).await, 300);
        let four = node(&cluster, 4);
        four.read_index().await.unwrap();
        assert_eq!(cluster.list(4).unwrap().items(), (0..=300).collect::<Vec<_>>());
        assert!(four.status().snapshot.is_some(), "it came by a snapshot");
        one.update(2, member("sim://elsewhere")).await.unwrap();
        assert_eq!(one.status().members[&2], member("sim://elsewhere"));
    })
    .unwrap();
}

#[test]
fn the_lead_is_given_away_and_followers_forward() {
    run(3, async {
        let cluster = cluster(3, 3, Settings::default()).await;
        let (one, two) = (node(&cluster, 1), node(&cluster, 2));
        assert_eq!(put(&two, 7).await, 0);
        let refused = two.propose_here(append(8)).await.unwrap_err();
        assert_eq!(refused, ProposeError::NotLeader { leader: Some(1) });
        assert_eq!(refused.to_string(), "not the leader: member 1 is");
        let refused = two.transfer_leader(2).await.unwrap_err();
        assert_eq!(refused, ChangeError::NotLeader { leader: Some(1) });
        assert!(matches!(one.transfer_leader(9).await, Err(ChangeError::Refused(_))));
        let term = one.term();
        one.transfer_leader(2).await.unwrap();
        lead(&cluster, 2).await;
        assert_eq!((two.term(), two.leader()), (term + 1, Some(2)));
        assert_eq!(put(&one, 8).await, 1);
        two.transfer_leader(2).await.unwrap();
    })
    .unwrap();
}

#[test]
fn a_minority_serves_neither_writes_nor_linearizable_reads() {
    run(4, async {
        let cluster = cluster(3, 3, Settings::default()).await;
        let one = node(&cluster, 1);
        put(&one, 1).await;
        for other in [2, 3] {
            cluster.net.cut(1, other);
            cluster.net.cut(other, 1);
        }
        let write = one.propose(append(2)).await.unwrap_err();
        assert!(matches!(write, ProposeError::Timeout | ProposeError::NotLeader { .. }), "{write}");
        let read = one.read_index().await.unwrap_err();
        assert!(matches!(read, ReadError::Timeout | ReadError::NotLeader { .. }), "{read}");
        let leader = leader_but(&cluster, 1).await;
        assert_eq!(put(&leader, 3).await, 1);
        let term = leader.term();
        // Pre-vote: one that was cut off does not disturb the others when it comes back.
        sleep(Duration::from_secs(20)).await;
        cluster.net.heal();
        sleep(Duration::from_secs(3)).await;
        assert_eq!((leader.term(), leader.status().role), (term, Role::Leader));
        one.read_index().await.unwrap();
        assert_eq!(cluster.list(1).unwrap().items(), [1, 3], "what had no majority is gone");
    })
    .unwrap();
}

#[test]
fn snapshots_are_made_by_count_by_size_and_on_demand() {
    let waits = async |node: &SimNode| {
        let mut watch = node.watch();
        let made = watch.until(|s| s.snapshot.is_some());
        timeout(Duration::from_secs(5), made).await.is_ok_and(|s| s.is_some())
    };
    run(5, async {
        let few = Settings { snapshot_entries: 1_000_000, ..Settings::default() };
        let cluster1 = cluster(1, 1, few).await;
        let one = node(&cluster1, 1);
        put(&one, 1).await;
        assert!(!waits(&one).await);
        one.snapshot().await.unwrap();
        assert!(waits(&one).await);

        let small = Settings { snapshot_bytes: 80, ..few };
        let cluster2 = cluster(1, 1, small).await;
        let one = node(&cluster2, 1);
        for item in 0..9 {
            put(&one, item).await;
        }
        assert!(!waits(&one).await);
        put(&one, 10).await;
        assert!(waits(&one).await);
        // And what is in it is not needed from the log.
        cluster2.crash(1);
        cluster2.start(1).await.unwrap();
        lead(&cluster2, 1).await;
        assert_eq!(put(&node(&cluster2, 1), 11).await, 10);
    })
    .unwrap();
}

#[test]
fn a_cluster_is_initialized_once_and_with_itself() {
    run(6, async {
        let cluster = Cluster::new(&mut Chance::new(1), 1..=2, Settings::default());
        cluster.start(1).await.unwrap();
        let one = node(&cluster, 1);
        assert_eq!(one.leader(), None);
        let none = one.initialize(Cluster::members(&[])).await;
        assert!(matches!(none, Err(InitializeError::Members(_))));
        let others = one.initialize(Cluster::members(&[2])).await;
        assert!(matches!(others, Err(InitializeError::NotMember(1))));
        one.initialize(Cluster::members(&[1])).await.unwrap();
        let again = one.initialize(Cluster::members(&[1])).await;
        assert!(matches!(again, Err(InitializeError::Already(1))));
        one.shutdown().await;
        assert!(matches!(one.propose(append(1)).await, Err(ProposeError::Stopped(_))));
        assert!(matches!(one.read_index().await, Err(ReadError::Stopped(_))));
        assert!(matches!(one.snapshot().await, Err(ChangeError::Stopped(_))));
    })
    .unwrap();
}

async fn ask(node: &SimNode, cluster: u64, to: NodeId, ask: Option<Ask>) -> Answer {
    let request = wire::Request { cluster, to, from: 2, ask };
    let answer = node.handle(request.encode_to_vec().into()).await;
    wire::Response::decode(answer).unwrap().answer.unwrap()
}

#[test]
fn messages_that_are_not_for_it_or_damaged_are_refused() {
    const CLUSTER: u64 = 0x51;
    run(7, async {
        let cluster = cluster(1, 1, Settings::default()).await;
        let one = node(&cluster, 1);
        let failed = |answer| match answer {
            Answer::Failed(text) => text,
            other => panic!("{other:?}"),
        };
        let read = Some(Ask::ReadIndex(wire::Empty {}));
        assert!(matches!(ask(&one, CLUSTER, 1, read.clone()).await, Answer::ReadIndex(_)));
        let text = failed(ask(&one, 7, 1, read.clone()).await);
        assert_eq!(text, "this is a member of cluster 51, not of 7: an old address of a peer?");
        let text = failed(ask(&one, CLUSTER, 2, read).await);
        assert_eq!(text, "this is member 1, not 2: its address has changed");
        let text = failed(ask(&one, CLUSTER, 1, None).await);
        assert_eq!(text, "a request that this version does not know");
        let answer = one.handle(Bytes::from_static(b"\xff\xff\xff")).await;
        assert!(failed(wire::Response::decode(answer).unwrap().answer.unwrap()).starts_with("message: "));

        let vote = Some(wire::Vote { term: 9, node: 2, committed: true });
        let entry = |index, body: &'static [u8]| wire::Entry {
            id: Some(wire::Id { term: 9, index }),
            body: Bytes::from_static(body),
        };
        for (entries, text) in [
            (vec![entry(5, b"\x01a"), entry(7, b"\x01b")], "an entry between two others"),
            (vec![entry(5, b"\x09a")], "kind 9 is not known"),
            (vec![entry(5, b"")], "an entry's body is missing"),
            (vec![entry(5, b"\x02\xff")], "message: "),
            (vec![wire::Entry::default()], "an entry's place is missing"),
        ] {
            let append = wire::Append { vote, entries, ..wire::Append::default() };
            let said = failed(ask(&one, CLUSTER, 1, Some(Ask::Append(append))).await);
            assert!(said.contains(text), "{said}");
        }
        let append = wire::Append::default();
        assert!(failed(ask(&one, CLUSTER, 1, Some(Ask::Append(append))).await).contains("a vote"));

        // Pieces of a snapshot: damaged, twice, out of order, of another transfer, damaged as a whole.
        let chunk = |transfer, offset: u64, data: &'static [u8]| wire::Chunk {
            vote,
            position: Some(wire::Position::default()),
            length: 4,
            offset,
            data: Bytes::from_static(data),
            crc32c: crc32c::crc32c(data),
            whole_crc32c: (offset + data.len() as u64 == 4).then_some(1),
            transfer,
        };
        let next = async |chunk| match ask(&one, CLUSTER, 1, Some(Ask::Chunk(chunk))).await {
            Answer::Chunk(answer) => Ok(answer.next),
            Answer::Failed(text) => Err(text),
            other => panic!("{other:?}"),
        };
        let damaged = wire::Chunk { crc32c: 1, ..chunk(1, 0, b"ab") };
        assert_eq!(next(damaged).await, Err("a snapshot's piece at 0 arrived damaged".to_owned()));
        assert_eq!(next(chunk(2, 0, b"ab")).await, Ok(2));
        assert_eq!(next(chunk(2, 0, b"ab")).await, Ok(2));
        assert_eq!(next(chunk(1, 0, b"xx")).await, Ok(0), "of an older transfer");
        assert_eq!(next(chunk(2, 3, b"d")).await, Ok(2), "it is not at 3 yet");
        let text = next(chunk(2, 2, b"cd")).await.unwrap_err();
        assert_eq!(text, "a snapshot arrived damaged, and is asked for again");
        assert_eq!(next(chunk(3, 2, b"cd")).await, Ok(0), "it must begin at 0");
        assert_eq!(one.term(), 1, "none of these was listened to");
    })
    .unwrap();
}
