//! Members fail: killed, stopped, left behind; and somebody sends nonsense.

use std::sync::Arc;

use kv_api::Fault;
use kv_api::etcdserverpb as pb;
use pb::kv_client::KvClient;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::member::{Member, found, leader, until};

#[tokio::test]
async fn the_leader_is_killed_and_writes_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut all = found(folder.path(), &["a", "b", "c"], &[]).await;
    for (number, member) in all.iter().enumerate() {
        member.put(&format!("k{number}"), "before").await.unwrap();
    }
    for round in 0..3 {
        let old = leader(&all, &all[0]).await;
        all[old].kill();
        let next = (old + 1) % 3;
        let value = format!("round {round}");
        until("a write is acknowledged", async || all[next].put("k", &value).await.ok()).await;
        all[old].start(&[]).await;
        until("the killed one has it", async || {
            (all[old].get("k", false).await.ok()?? == value).then_some(())
        })
        .await;
        for number in 0..3 {
            let got = all[old].get(&format!("k{number}"), true).await.unwrap();
            assert_eq!(got.as_deref(), Some("before"), "acknowledged, so it stays");
        }
    }
}

#[tokio::test]
async fn all_are_killed_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let mut all = found(folder.path(), &["a", "b", "c"], &[]).await;
    for number in 0..50 {
        all[number % 3].put(&format!("k{number}"), "v").await.unwrap();
    }
    for member in &mut all {
        member.kill();
    }
    for member in &mut all {
        member.start(&[]).await;
    }
    for number in 0..50 {
        let key = format!("k{number}");
        let got = until("it is answered", async || all[(number + 1) % 3].get(&key, false).await.ok()).await;
        assert_eq!(got.as_deref(), Some("v"), "{key}");
    }
}

#[tokio::test]
async fn a_minority_refuses_what_it_cannot_know() {
    let folder = tempfile::tempdir().unwrap();
    let all = found(folder.path(), &["a", "b", "c"], &[]).await;
    all[0].put("k", "v").await.unwrap();
    let left = leader(&all, &all[0]).await;
    let others = [(left + 1) % 3, (left + 2) % 3];
    for other in others {
        until("it is known there", async || (all[other].get("k", true).await.ok()?? == "v").then_some(()))
            .await;
        all[other].signal("STOP");
    }
    let (read, write) = tokio::join!(all[left].get("k", false), all[left].put("k", "w"));
    assert_eq!(Fault::of(&read.unwrap_err()), Some(Fault::Timeout));
    let write = write.unwrap_err();
    let timeouts = [Fault::Timeout, Fault::TimeoutDueToLeaderFail];
    assert!(Fault::of(&write).is_some_and(|fault| timeouts.contains(&fault)), "{write}");
    assert_eq!(all[left].get("k", true).await.unwrap().as_deref(), Some("v"));
    for other in others {
        all[other].signal("CONT");
    }
    until("it serves again", async || all[left].get("k", false).await.ok()).await;
    until("it takes writes", async || all[others[0]].put("k", "x").await.ok()).await;
    assert_eq!(all[left].get("k", false).await.unwrap().as_deref(), Some("x"));
}

/// Many puts, some at a time.
async fn fill(member: &Member, count: usize) {
    let client = KvClient::new(member.channel().await.unwrap());
    let room = Arc::new(tokio::sync::Semaphore::new(64));
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..count {
        let place = Arc::clone(&room).acquire_owned().await.unwrap();
        let mut client = client.clone();
        tasks.spawn(async move {
            let key = format!("fill{}", number % 500).into();
            let request = pb::PutRequest { key, value: vec![b'x'; 100].into(), ..pb::PutRequest::default() };
            client.put(request).await.unwrap();
            drop(place);
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

#[tokio::test]
async fn a_member_that_lags_far_behind_gets_a_snapshot() {
    let folder = tempfile::tempdir().unwrap();
    let mut all = found(folder.path(), &["a", "b", "c"], &["--snapshot-count", "200"]).await;
    let lead = leader(&all, &all[0]).await;
    let behind = (lead + 1) % 3;
    all[behind].put("first", "1").await.unwrap();
    let before = all[behind].status().await.unwrap().raft_applied_index;
    all[behind].kill();
    fill(&all[lead], 2_000).await;
    all[lead].put("last", "1").await.unwrap();
    all[behind].start(&[]).await;
    until("it has the newest", async || (all[behind].get("last", false).await.ok()?? == "1").then_some(()))
        .await;
    assert!(all[behind].status().await.unwrap().raft_applied_index >= before + 2_000);
    for key in ["first", "fill0", "fill499"] {
        let (here, there) =
            (all[behind].get(key, true).await.unwrap(), all[lead].get(key, false).await.unwrap());
        assert_eq!(here, there, "{key}");
        assert!(here.is_some());
    }
    // What it got is on its disk.
    all[behind].kill();
    all[behind].start(&[]).await;
    assert_eq!(all[behind].get("first", true).await.unwrap().as_deref(), Some("1"));
    let mut hashes = Vec::new();
    for member in &all {
        let mut client = pb::maintenance_client::MaintenanceClient::new(member.channel().await.unwrap());
        member.get("last", false).await.unwrap();
        let hash = client.hash_kv(pb::HashKvRequest { revision: 0 }).await.unwrap().into_inner();
        hashes.push((hash.hash_revision, hash.hash));
    }
    assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{hashes:?}");
}

#[tokio::test]
async fn nonsense_from_a_peer_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let all = found(folder.path(), &["a", "b", "c"], &[]).await;
    all[0].put("k", "v").await.unwrap();
    let address = all[0].peer.strip_prefix("http://").unwrap();
    let hello = |cluster: u64, from: u64, to: u64| {
        [b"kvpeer1\n".as_slice(), &cluster.to_be_bytes(), &from.to_be_bytes(), &to.to_be_bytes()].concat()
    };
    let status = all[0].status().await.unwrap().header.unwrap();
    let huge = [&[0xff; 4], [1_u8; 30].as_slice()].concat();
    let member = hello(status.cluster_id, 99, status.member_id);
    let cases: [(&str, Vec<u8>, &[u8]); 6] = [
        ("HTTP", b"GET / HTTP/1.1\r\nHost: peer\r\n\r\n and more than a greeting".to_vec(), b""),
        ("another cluster", hello(1, 2, status.member_id), &[1]),
        ("another member", hello(status.cluster_id, 99, 7), &[2]),
        ("a frame without end", [member.clone(), huge].concat(), &[0]),
        ("a stranger with a message of Raft", [hello(0, 0, 0), framed(1)].concat(), &[0]),
        ("an unknown kind", [member, framed(9)].concat(), &[0]),
    ];
    for (what, bytes, answer) in cases {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        let mut got = Vec::new();
        // It hangs up; a reset says so as well, once more was sent than was read.
        let _ = stream.read_to_end(&mut got).await;
        assert_eq!(got, answer, "{what}");
    }
    assert_eq!(all[0].get("k", false).await.unwrap().as_deref(), Some("v"));
    all[1].put("k", "w").await.unwrap();
}

/// An empty frame of a kind, as docs/FORMATS.md has it.
fn framed(kind: u8) -> Vec<u8> {
    let mut head = [&[0; 4], [kind].as_slice(), &[0; 8]].concat();
    let crc = crc32c::crc32c(&head);
    head.extend(crc.to_be_bytes());
    head
}

/// The way to each other member is in `/metrics`, with what went over it.
#[tokio::test]
async fn the_ways_to_peers_are_measured() {
    let folder = tempfile::tempdir().unwrap();
    let all = found(folder.path(), &["a", "b", "c"], &[]).await;
    let leading = &all[leader(&all, &all[0]).await];
    leading.put("k", &"v".repeat(10_000)).await.unwrap();
    let mut others = Vec::new();
    for member in &all {
        others.push(member.id().await);
    }
    let own = leading.id().await;
    others.retain(|id| *id != own);
    // A majority had it before the answer; the last one may still be on its way.
    until("all is in the page", async || {
        let address = leading.client.trim_start_matches("http://");
        let mut stream = tokio::net::TcpStream::connect(address).await.ok()?;
        let request = b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await.ok()?;
        let mut page = String::new();
        stream.read_to_string(&mut page).await.ok()?;
        let number = |name: &str, label: &str, id: u64| -> Option<f64> {
            let begin = format!("{name}{{{label}=\"{id:x}\"}} ");
            page.lines().find_map(|line| line.strip_prefix(&begin))?.parse().ok()
        };
        let is_told = |id: &u64| {
            let sent = number("etcd_network_peer_sent_bytes_total", "To", *id)?;
            let received = number("etcd_network_peer_received_bytes_total", "From", *id)?;
            let answered = number("etcd_network_peer_round_trip_time_seconds_count", "To", *id)?;
            (sent > 10_000.0 && received > 0.0 && answered >= 1.0).then_some(())
        };
        others.iter().try_for_each(is_told)
    })
    .await;
}
