//! `/metrics`, `/health` and `/version`: each number moves when the thing happens.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test a panic is the message")]
#![allow(clippy::float_cmp, reason = "counts are whole numbers")]

mod front;

use std::collections::BTreeMap;

use front::{Etcd, Kv, http};
use kv_api::etcdserverpb as pb;
use pb::kv_client::KvClient;
use pb::lease_client::LeaseClient;
use pb::maintenance_client::MaintenanceClient;
use pb::watch_client::WatchClient;
use tokio_stream::StreamExt as _;

async fn samples(url: &str) -> BTreeMap<String, f64> {
    let (status, kind, text) = http("GET", format!("{url}/metrics"), None).await;
    assert_eq!((status, kind.as_str()), (200, "text/plain; version=0.0.4; charset=utf-8"));
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap_or_else(|_| panic!("{line}")))
        })
        .collect()
}

fn put(key: &'static str, value: &'static str) -> pb::PutRequest {
    pb::PutRequest { key: key.into(), value: value.into(), ..Default::default() }
}

#[tokio::test]
async fn each_number_moves_with_what_it_counts() {
    let kv = Kv::start(&[]);
    let channel = kv.channel().await;
    let before = samples(kv.url()).await;
    let (mut keys, mut leases) = (KvClient::new(channel.clone()), LeaseClient::new(channel.clone()));
    for value in ["1", "2", "3"] {
        keys.put(put("a", value)).await.unwrap();
    }
    keys.put(put("b", "1")).await.unwrap();
    keys.put(put("", "1")).await.unwrap_err();
    keys.range(pb::RangeRequest { key: "a".into(), ..Default::default() }).await.unwrap();
    keys.delete_range(pb::DeleteRangeRequest { key: "b".into(), ..Default::default() }).await.unwrap();
    let operation = pb::RequestOp { request: Some(pb::request_op::Request::RequestPut(put("c", "1"))) };
    keys.txn(pb::TxnRequest { success: vec![operation], ..Default::default() }).await.unwrap();
    keys.compact(pb::CompactionRequest { revision: 5, physical: true }).await.unwrap();
    let lease = leases.lease_grant(pb::LeaseGrantRequest { ttl: 100, id: 7 }).await.unwrap().into_inner().id;
    let alive = tokio_stream::once(pb::LeaseKeepAliveRequest { id: lease });
    let mut alive = leases.lease_keep_alive(alive).await.unwrap().into_inner();
    while alive.message().await.unwrap().is_some() {}
    leases.lease_revoke(pb::LeaseRevokeRequest { id: lease }).await.unwrap();
    let mut snapshot =
        MaintenanceClient::new(channel.clone()).snapshot(pb::SnapshotRequest {}).await.unwrap();
    while snapshot.get_mut().message().await.unwrap().is_some() {}
    let create = pb::WatchCreateRequest { key: "w".into(), ..Default::default() };
    let union = pb::watch_request::RequestUnion::CreateRequest(create);
    let requests = tokio_stream::once(pb::WatchRequest { request_union: Some(union) });
    let requests = requests.chain(tokio_stream::pending());
    let mut watch = WatchClient::new(channel.clone()).watch(requests).await.unwrap().into_inner();
    watch.message().await.unwrap().unwrap();
    keys.put(put("w", "1")).await.unwrap();
    watch.message().await.unwrap().unwrap();

    let after = samples(kv.url()).await;
    let grown = |name: &str| after[name] - before.get(name).copied().unwrap_or(0.0);
    let debugging = |name: &str| grown(&format!("etcd_debugging_{name}"));
    for (what, count) in [("put", 6.0), ("range", 1.0), ("delete", 1.0), ("txn", 1.0)] {
        assert_eq!(grown(&format!("etcd_mvcc_{what}_total")), count, "{what}");
        assert_eq!(debugging(&format!("mvcc_{what}_total")), count, "{what}");
    }
    assert_eq!(after["etcd_debugging_mvcc_keys_total"], 3.0);
    assert_eq!(debugging("mvcc_total_put_size_in_bytes"), 12.0);
    assert_eq!(debugging("mvcc_current_revision"), 7.0);
    assert_eq!(debugging("mvcc_compact_revision"), 5.0 - before["etcd_debugging_mvcc_compact_revision"]);
    assert_eq!(debugging("mvcc_db_compaction_keys_total"), 2.0);
    assert_eq!(debugging("mvcc_db_compaction_total_duration_milliseconds_count"), 1.0);
    assert!(after["etcd_debugging_mvcc_db_compaction_last"] > 1.7e9);
    assert_eq!(debugging("mvcc_watcher_total"), 1.0);
    assert_eq!(debugging("mvcc_watch_stream_total"), 1.0);
    assert_eq!(debugging("mvcc_events_total"), 1.0);
    assert_eq!(debugging("lease_granted_total"), 1.0);
    assert_eq!(debugging("lease_renewed_total"), 1.0);
    assert_eq!(debugging("lease_revoked_total"), 1.0);
    assert_eq!(after["etcd_debugging_lease_ttl_total_bucket{le=\"128\"}"], 1.0);
    assert_eq!(after["etcd_debugging_lease_ttl_total_bucket{le=\"64\"}"], 0.0);

    assert_eq!(after["etcd_server_has_leader"], 1.0);
    assert_eq!(after["etcd_server_is_leader"], 1.0);
    assert_eq!(after["etcd_server_is_learner"], 0.0);
    assert_eq!(after["etcd_server_leader_changes_seen_total"], 1.0);
    assert_eq!(after["etcd_server_proposals_pending"], 0.0);
    assert!(grown("etcd_server_proposals_committed_total") >= 10.0);
    assert!(grown("etcd_server_proposals_applied_total") >= 10.0);
    assert!(grown("etcd_disk_wal_fsync_duration_seconds_count") >= 10.0);
    assert!(grown("etcd_disk_wal_fsync_duration_seconds_sum") > 0.0);
    assert!(grown("etcd_disk_wal_write_bytes_total") > 0.0);
    assert_eq!(grown("etcd_disk_backend_snapshot_duration_seconds_count"), 1.0);
    assert!(after["etcd_mvcc_db_total_size_in_bytes"] >= after["etcd_mvcc_db_total_size_in_use_in_bytes"]);
    assert!(grown("etcd_mvcc_db_total_size_in_use_in_bytes") > 0.0);

    let method = |what: &str, name: &str| {
        let code = if what == "handled_total" { "grpc_code=\"OK\"," } else { "" };
        let labels = format!("grpc_method=\"{name}\",grpc_service=\"etcdserverpb.KV\",grpc_type=\"unary\"");
        grown(&format!("grpc_server_{what}{{{code}{labels}}}"))
    };
    assert_eq!(method("started_total", "Put"), 6.0);
    assert_eq!(method("handled_total", "Put"), 5.0);
    assert_eq!(method("handling_seconds_count", "Put"), 6.0);
    let refused = "grpc_server_handled_total{grpc_code=\"InvalidArgument\",grpc_method=\"Put\",\
                   grpc_service=\"etcdserverpb.KV\",grpc_type=\"unary\"}";
    assert_eq!(grown(refused), 1.0);
    assert!(grown("etcd_network_client_grpc_received_bytes_total") > 50.0);
    assert!(grown("etcd_network_client_grpc_sent_bytes_total") > 50.0);
    assert!(after["process_resident_memory_bytes"] > 1e6);
    assert!(after["process_open_fds"] > 5.0 && after["process_max_fds"] >= after["process_open_fds"]);
    assert!(after["process_start_time_seconds"] > 1.7e9);
    assert!(after.contains_key("process_cpu_seconds_total"));
}

#[tokio::test]
async fn names_are_those_of_etcd() {
    let (kv, etcd) = (Kv::start(&[]), Etcd::start());
    let (ours, theirs) = (samples(kv.url()).await, samples_of_etcd(&etcd.url).await);
    let name = |sample: &String| sample.split(['{', ' ']).next().unwrap_or_default().to_owned();
    let theirs: std::collections::BTreeSet<String> = theirs.iter().map(name).collect();
    // Of later etcds, or of interceptors that this one does not have switched on.
    let later = [
        "etcd_mvcc_range_total",
        "etcd_mvcc_put_total",
        "etcd_mvcc_delete_total",
        "etcd_mvcc_txn_total",
        "etcd_debugging_mvcc_db_compaction_last",
        "etcd_disk_wal_write_duration_seconds",
        "etcd_disk_wal_write_bytes_total",
        "etcd_server_is_learner",
        "kv_tls_reloads_failed_total",
        // etcd has it from a moment after its start on.
        "etcd_cluster_version",
        "grpc_server_handling_seconds",
    ];
    for sample in ours.keys().map(name) {
        if !later.iter().any(|later| sample.starts_with(later)) {
            assert!(theirs.contains(&sample), "etcd has no {sample}");
        }
    }
}

async fn samples_of_etcd(url: &str) -> Vec<String> {
    let (status, _, text) = http("GET", format!("{url}/metrics"), None).await;
    assert_eq!(status, 200);
    text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

#[tokio::test]
async fn health_is_told_as_etcd_tells_it() {
    let kv = Kv::start(&[]);
    let page = |path: &str| http("GET", format!("{}{path}", kv.url()), None);
    let (status, kind, text) = page("/health").await;
    assert_eq!((status, kind.as_str()), (200, "text/plain; charset=utf-8"));
    assert_eq!(text, "{\"health\":\"true\",\"reason\":\"\"}");
    let (status, _, text) = page("/version").await;
    assert_eq!(status, 200);
    assert!(text.starts_with("{\"etcdserver\":\"3.") && text.contains("\"etcdcluster\":\"3."), "{text}");
    assert_eq!(http("POST", format!("{}/health", kv.url()), Some("x")).await.0, 405);

    let mut maintenance = MaintenanceClient::new(kv.channel().await);
    let alarm = pb::AlarmRequest { action: 1, member_id: 5, alarm: 1 };
    maintenance.alarm(alarm).await.unwrap();
    let bad = "{\"health\":\"false\",\"reason\":\"ALARM NOSPACE\"}\n";
    for path in ["/health", "/health?serializable=true", "/health?exclude=CORRUPT"] {
        let (status, _, text) = page(path).await;
        assert_eq!((status, text.as_str()), (503, bad), "{path}");
    }
    assert_eq!(page("/health?serializable=true&exclude=NOSPACE").await.0, 200);
    let numbers = samples(kv.url()).await;
    assert_eq!((numbers["etcd_server_health_success"], numbers["etcd_server_health_failures"]), (2.0, 3.0));
}

#[tokio::test]
async fn pages_alone_are_on_addresses_of_their_own() {
    let kv = Kv::start(&["--listen-metrics-urls", "http://127.0.0.1:0"]);
    let [clients, pages] = &kv.urls[..] else { panic!("{:?}", kv.urls) };
    assert_ne!(clients, pages);
    assert_eq!(samples(pages).await["etcd_server_has_leader"], 1.0);
    assert_eq!(http("GET", format!("{pages}/health"), None).await.0, 200);
    assert_eq!(http("POST", format!("{pages}/v3/kv/range"), Some("{}")).await.0, 404);
    assert_eq!(http("POST", format!("{clients}/v3/cluster/member/list"), Some("{}")).await.0, 200);
}
