//! A snapshot that Debian's `etcdctl` (package etcd-client) has saved begins a new cluster.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's failure is a panic")]

mod node;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use kv_api::Fault;
use kv_api::etcdserverpb as pb;
use node::{Node, get, put};
use tempfile::TempDir;

fn restore(file: &Path, data: &Path, words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kv"))
        .args(["snapshot", "restore"])
        .arg(file)
        .arg("--data-dir")
        .arg(data)
        .args(words)
        .output()
        .unwrap()
}

/// A snapshot of a store with three keys, one of them changed and one deleted, and a lease.
async fn saved(folder: &Path) -> u64 {
    let node = Node::start(&folder.join("old"), &[]);
    let mut kv = node.kv().await;
    let grant = pb::LeaseGrantRequest { ttl: 600, id: 7 };
    node.lease().await.lease_grant(grant).await.unwrap();
    for (key, value) in [("a", "1"), ("a", "2"), ("b", "1"), ("c", "1")] {
        kv.put(put(key, value.into())).await.unwrap();
    }
    kv.put(pb::PutRequest { lease: 7, ..put("leased", Vec::new()) }).await.unwrap();
    kv.delete_range(pb::DeleteRangeRequest { key: "c".into(), ..Default::default() }).await.unwrap();
    let output = Command::new("etcdctl")
        .env("ETCDCTL_API", "3")
        .arg(format!("--endpoints=127.0.0.1:{}", node.port))
        .args(["snapshot", "save"])
        .arg(folder.join("snapshot"))
        .output()
        .expect("etcdctl does not start; apt-get install etcd-client");
    assert!(output.status.success(), "{output:?}");
    kv.range(get("a")).await.unwrap().into_inner().header.unwrap().cluster_id
}

#[tokio::test]
async fn a_new_cluster_goes_on_from_a_snapshot() {
    let folder = TempDir::new().unwrap();
    let old_cluster = saved(folder.path()).await;
    let data = folder.path().join("new");
    let peer = "--initial-advertise-peer-urls=http://127.0.0.1:9";
    let output =
        restore(&folder.path().join("snapshot"), &data, &["--name=m", peer, "--initial-cluster-token=t2"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "restored 3 keys at revision 7\n");

    let node = Node::start(&data, &[]);
    let mut kv = node.kv().await;
    let answer = kv.range(get("a")).await.unwrap().into_inner();
    let header = answer.header.unwrap();
    assert_ne!(header.cluster_id, old_cluster, "another cluster");
    assert_eq!(header.revision, 7);
    let found = &answer.kvs[0];
    assert_eq!((found.value.as_ref(), found.version, found.create_revision), (&b"2"[..], 2, 2));
    let past = kv.range(pb::RangeRequest { revision: 2, ..get("a") }).await.unwrap().into_inner();
    assert_eq!(past.kvs[0].value.as_ref(), b"1", "the past is in it");
    let keys = pb::LeaseTimeToLiveRequest { id: 7, keys: true };
    let lease = node.lease().await.lease_time_to_live(keys).await.unwrap().into_inner();
    assert_eq!((lease.granted_ttl, lease.keys.len()), (600, 1));
    let put = kv.put(put("d", Vec::new())).await.unwrap().into_inner();
    assert_eq!(put.header.unwrap().revision, 8);
    node.kill();
    let node = Node::start(&data, &[]);
    assert_eq!(node.kv().await.range(get("d")).await.unwrap().into_inner().kvs.len(), 1);
}

#[tokio::test]
async fn revisions_are_bumped_and_the_past_compacted() {
    let folder = TempDir::new().unwrap();
    saved(folder.path()).await;
    let data = folder.path().join("new");
    let words = ["--bump-revision", "1000", "--mark-compacted"];
    let output = restore(&folder.path().join("snapshot"), &data, &words);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "restored 3 keys at revision 1007\n", "{output:?}");
    let node = Node::start(&data, &[]);
    let mut kv = node.kv().await;
    assert_eq!(kv.range(get("a")).await.unwrap().into_inner().kvs[0].mod_revision, 3);
    let refused = kv.range(pb::RangeRequest { revision: 1006, ..get("a") }).await.unwrap_err();
    assert_eq!(Fault::of(&refused), Some(Fault::Compacted));
    let put = kv.put(put("d", Vec::new())).await.unwrap().into_inner();
    assert_eq!(put.header.unwrap().revision, 1008);
}

#[tokio::test]
async fn what_is_not_whole_is_refused_and_leaves_nothing() {
    let folder = TempDir::new().unwrap();
    saved(folder.path()).await;
    let whole = fs::read(folder.path().join("snapshot")).unwrap();
    let (file, data) = (folder.path().join("damaged"), folder.path().join("new"));
    let mut flipped = whole.clone();
    flipped[100] ^= 1;
    let no_hash = &whole[..whole.len() - 32];
    for (bytes, words, reason) in [
        (&flipped[..], &[][..], "its checksum is not that of its content"),
        (&flipped[..], &["--skip-hash-check"][..], "the snapshot is damaged at byte"),
        (no_hash, &[][..], "it has no checksum at its end"),
        (b"nothing of ours", &["--skip-hash-check"][..], "not a snapshot of the store"),
    ] {
        fs::write(&file, bytes).unwrap();
        let output = restore(&file, &data, words);
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(reason), "{said}");
        assert!(!data.exists());
    }
    fs::write(&file, no_hash).unwrap();
    assert!(restore(&file, &data, &["--skip-hash-check"]).status.success());
    let again = restore(&file, &data, &["--skip-hash-check"]);
    assert!(String::from_utf8_lossy(&again.stderr).contains("is not empty"), "{again:?}");
    let names: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 4, "no half directory is left: {names:?}");
}
