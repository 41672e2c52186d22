//! A test owns clock, network and chance: a run is the same, message by message, for the same seed.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test's failure is a panic")]

use std::time::Duration;

use kv_raft::Role;
use kv_raft::sim::machine::append;
use kv_raft::sim::{Chance, Cluster, Faults, Settings, run, spawn};
use tokio::time::{Instant, sleep, sleep_until};

/// 60 simulated seconds: writes from three clients, a bad network, a crash, a partition.
fn story(seed: u64) -> String {
    run(seed, async move {
        let mut chance = Chance::new(seed);
        let end = Instant::now() + Duration::from_mins(1);
        let settings = Settings { text: true, ..Settings::default() };
        let cluster = Cluster::new(&mut chance, 1..=3, settings);
        for id in 1..=3 {
            cluster.start(id).await.unwrap();
        }
        cluster.node(1).unwrap().initialize(Cluster::members(&[1, 2, 3])).await.unwrap();
        cluster.net.faults(Faults::BAD);
        for client in 1..=3_u64 {
            let (cluster, mut chance) = (cluster.clone(), chance.fork());
            spawn(async move {
                for count in 0.. {
                    let target = chance.pick(&cluster.running()).and_then(|id| cluster.node(id));
                    if let Some(node) = target {
                        let done = node.propose(append(client << 32 | count)).await;
                        cluster.trace.line(format_args!("client {client} {done:?}"));
                    }
                    sleep(chance.time(Duration::from_millis(1), Duration::from_millis(100))).await;
                }
            });
        }
        sleep(Duration::from_secs(10)).await;
        let leader = cluster
            .running()
            .into_iter()
            .find(|id| cluster.node(*id).is_some_and(|n| n.status().role == Role::Leader));
        let leader = leader.expect("after 10 s a member leads");
        cluster.crash(leader);
        sleep(Duration::from_secs(10)).await;
        cluster.start(leader).await.unwrap();
        sleep(Duration::from_secs(10)).await;
        for other in cluster.ids().into_iter().filter(|id| *id != 2) {
            cluster.net.cut(2, other);
            cluster.net.cut(other, 2);
        }
        sleep(Duration::from_secs(10)).await;
        cluster.net.heal();
        sleep_until(end).await;
        cluster.trace.text()
    })
    .unwrap()
}

/// Where two traces part, with the lines before.
fn compare(one: &str, two: &str) {
    let mut before = Vec::new();
    for (number, (a, b)) in one.lines().zip(two.lines()).enumerate() {
        before.push(a);
        assert!(a == b, "line {number}:\n{}\nthe other: {b}", before[number.saturating_sub(20)..].join("\n"));
    }
    assert_eq!(one.len(), two.len(), "one trace goes on after the other");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 1..=5 {
        let trace = story(seed);
        compare(&trace, &story(seed));
        // It is a story in which something happens.
        for word in ["applies", "crashes", "snapshot", "answered", "Proposed", "Err("] {
            assert!(trace.contains(word), "seed {seed}: no line says {word:?}");
        }
        println!("seed {seed}: {} lines, the same twice", trace.lines().count());
    }
}

#[test]
fn another_seed_gives_another_trace() {
    assert_ne!(story(1), story(2));
}

/// Threads do not matter: two runs at the same time are as two runs after each other.
#[test]
fn runs_side_by_side_do_not_touch_each_other() {
    let alone = story(7);
    let runs: Vec<_> = (0..4).map(|_| std::thread::spawn(|| story(7))).collect();
    for other in runs {
        compare(&alone, &other.join().unwrap());
    }
}
