//! A member is killed at any moment of a defragmentation, with puts going on: whatever was
//! acknowledged is there after each start.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's failure is a panic")]

mod node;

use std::time::Duration;

use kv_api::etcdserverpb as pb;
use node::{Node, get, put};
use tempfile::TempDir;

async fn count(node: &Node, prefix: &str) -> i64 {
    let mut end = prefix.as_bytes().to_vec();
    *end.last_mut().unwrap() += 1;
    let range = pb::RangeRequest { range_end: end.into(), count_only: true, ..get(prefix) };
    node.kv().await.range(range).await.unwrap().into_inner().count
}

/// Puts until the member is gone; returns the number of those that were acknowledged.
async fn write(mut kv: pb::kv_client::KvClient<tonic::transport::Channel>, from: usize) -> usize {
    let mut next = from;
    while kv.put(put(&format!("new-{next:08}"), vec![b'v'; 64])).await.is_ok() {
        next += 1;
    }
    next
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_in_its_midst_loses_nothing() {
    let folder = TempDir::new().unwrap();
    let mut node = Node::start(folder.path(), &[]);
    for number in 0..120 {
        node.kv().await.put(put(&format!("old-{number:03}"), vec![b'v'; 100_000])).await.unwrap();
    }
    let mut acknowledged = 0;
    // From before its first write to behind its end.
    for killed_after_ms in [0, 1, 2, 5, 10, 20, 40, 80, 160, 320] {
        let writing = tokio::spawn(write(node.kv().await, acknowledged));
        let mut maintenance = node.maintenance().await;
        let copying = tokio::spawn(async move {
            // It has ended, or the member has.
            let _ = maintenance.defragment(pb::DefragmentRequest {}).await;
        });
        tokio::time::sleep(Duration::from_millis(killed_after_ms)).await;
        node.kill();
        acknowledged = writing.await.unwrap();
        copying.await.unwrap();
        node = Node::start(folder.path(), &[]);
        assert_eq!(count(&node, "old-").await, 120, "killed after {killed_after_ms} ms");
        let found = count(&node, "new-").await;
        // The last one may be there without having been acknowledged.
        assert!(
            (acknowledged as i64..=acknowledged as i64 + 1).contains(&found),
            "killed after {killed_after_ms} ms: {found} of {acknowledged}"
        );
        assert!(!folder.path().join("db.copy").exists(), "the rest of a copy is removed");
        acknowledged = found as usize;
    }
    assert!(acknowledged > 0, "some were written meanwhile");
    node.maintenance().await.defragment(pb::DefragmentRequest {}).await.unwrap();
    assert_eq!(count(&node, "old-").await, 120);
}
