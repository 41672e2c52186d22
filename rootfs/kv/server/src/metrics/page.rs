//! The page `/metrics`.

use super::text::Text;
use super::{
    BACKEND_COMMIT, CLIENT_RECEIVED, CLIENT_SENT, COMPACTION_KEYS, COMPACTION_LAST, COMPACTION_PAUSE,
    COMPACTION_TOTAL, DELETES, EVENTS, HEALTH_BAD, HEALTH_GOOD, LEADER_CHANGES, LEASE_TTL, LEASES_EXPIRED,
    LEASES_GRANTED, LEASES_RENEWED, LEASES_REVOKED, PROPOSALS_BEGUN, PROPOSALS_ENDED, PROPOSALS_FAILED,
    PUT_BYTES, PUTS, RANGES, READS_FAILED, SNAPSHOT, TLS_RELOADS_FAILED, TXNS, WAL_BYTES, WAL_FSYNC,
    WAL_WRITE, grpc, leader_seen, peers, process,
};
use crate::member::{API_VERSION, Member, broken};

/// All that is known now.
///
/// # Errors
/// The database has failed.
pub fn page(member: &Member) -> Result<String, tonic::Status> {
    let mut text = Text::default();
    server(&mut text, member);
    store(&mut text, member)?;
    disk(&mut text);
    leases(&mut text);
    let help = "The total number of bytes received from grpc clients.";
    text.counter("etcd_network_client_grpc_received_bytes_total", help, CLIENT_RECEIVED.get());
    let help = "The total number of bytes sent to grpc clients.";
    text.counter("etcd_network_client_grpc_sent_bytes_total", help, CLIENT_SENT.get());
    let help = "Times that changed files of TLS could not be used, so that the old ones serve on.";
    text.counter("kv_tls_reloads_failed_total", help, TLS_RELOADS_FAILED.get());
    peers::write(&mut text);
    grpc::write(&mut text);
    process::write(&mut text);
    Ok(text.finish())
}

fn server(text: &mut Text, member: &Member) {
    let status = member.consensus.status();
    leader_seen(status.leader);
    let flag = u8::from;
    let help = "Whether or not a leader exists. 1 is existence, 0 is not.";
    text.gauge("etcd_server_has_leader", help, flag(status.leader != 0));
    let help = "Whether or not this member is a leader. 1 if is, 0 otherwise.";
    text.gauge("etcd_server_is_leader", help, flag(status.leader == member.identity.member));
    let help = "Whether or not this member is a learner. 1 if is, 0 otherwise.";
    text.gauge("etcd_server_is_learner", help, flag(status.is_learner));
    let help = "The number of leader changes seen.";
    text.counter("etcd_server_leader_changes_seen_total", help, LEADER_CHANGES.get());
    let help = "The total number of consensus proposals committed.";
    text.gauge("etcd_server_proposals_committed_total", help, status.index);
    let help = "The total number of consensus proposals applied.";
    text.gauge("etcd_server_proposals_applied_total", help, status.applied);
    let ended = PROPOSALS_ENDED.get();
    let pending = PROPOSALS_BEGUN.get().saturating_sub(ended);
    text.gauge(
        "etcd_server_proposals_pending",
        "The current number of pending proposals to commit.",
        pending,
    );
    let help = "The total number of failed proposals seen.";
    text.counter("etcd_server_proposals_failed_total", help, PROPOSALS_FAILED.get());
    let help = "The total number of failed read indexes seen.";
    text.counter("etcd_server_read_indexes_failed_total", help, READS_FAILED.get());
    let help = "The total number of successful health checks";
    text.counter("etcd_server_health_success", help, HEALTH_GOOD.get());
    text.counter("etcd_server_health_failures", "The total number of failed health checks", HEALTH_BAD.get());
    let name = "etcd_server_version";
    text.family(
        name,
        "gauge",
        "Which version is running. 1 for 'server_version' label with current version.",
    );
    text.sample(name, &[("server_version", API_VERSION)], 1);
    // The API's version is that of all members: no other can join.
    let name = "etcd_cluster_version";
    text.family(
        name,
        "gauge",
        "Which version is running. 1 for 'cluster_version' label with current cluster version",
    );
    let short = API_VERSION.rsplit_once('.').map_or(API_VERSION, |(short, _)| short);
    text.sample(name, &[("cluster_version", short)], 1);
    let name = "etcd_server_id";
    text.family(
        name,
        "gauge",
        "Server or member ID in hexadecimal format. 1 for 'server_id' label with current ID.",
    );
    text.sample(name, &[("server_id", &format!("{:x}", member.identity.member))], 1);
}

fn store(text: &mut Text, member: &Member) -> Result<(), tonic::Status> {
    let sizes = *member.shared.sizes.borrow();
    let help = "Total size of the underlying database physically allocated in bytes.";
    text.gauge("etcd_mvcc_db_total_size_in_bytes", help, sizes.on_disk);
    let help = "Total size of the underlying database logically in use in bytes.";
    text.gauge("etcd_mvcc_db_total_size_in_use_in_bytes", help, sizes.in_use);
    text.gauge("etcd_debugging_mvcc_keys_total", "Total number of keys.", sizes.keys);
    let view = member.shared.source.view().map_err(broken)?;
    let help = "The current revision of store.";
    text.gauge("etcd_debugging_mvcc_current_revision", help, view.revision());
    let help = "The revision of the last compaction in store.";
    text.gauge("etcd_debugging_mvcc_compact_revision", help, view.compacted());
    // Under both names, as etcd since 3.4.
    for (what, counter) in [("range", &RANGES), ("put", &PUTS), ("delete", &DELETES), ("txn", &TXNS)] {
        let help = format!("Total number of {what}s seen by this member.");
        text.counter(&format!("etcd_mvcc_{what}_total"), &help, counter.get());
        text.counter(&format!("etcd_debugging_mvcc_{what}_total"), &help, counter.get());
    }
    let help = "The total size of put kv pairs seen by this member.";
    text.gauge("etcd_debugging_mvcc_total_put_size_in_bytes", help, PUT_BYTES.get());
    let load = member.shared.hub.load();
    text.gauge("etcd_debugging_mvcc_watcher_total", "Total number of watchers.", load.watchers);
    let help = "Total number of unsynced slow watchers.";
    text.gauge("etcd_debugging_mvcc_slow_watcher_total", help, load.slow);
    let help = "Total number of watch streams that have watchers.";
    text.gauge("etcd_debugging_mvcc_watch_stream_total", help, load.streams);
    let help = "Total number of pending events to be sent.";
    text.gauge("etcd_debugging_mvcc_pending_events_total", help, load.waiting);
    let help = "Total number of events sent by this member.";
    text.counter("etcd_debugging_mvcc_events_total", help, EVENTS.get());
    let help = "Bucketed histogram of db compaction pause duration.";
    text.histogram("etcd_debugging_mvcc_db_compaction_pause_duration_milliseconds", help, &COMPACTION_PAUSE);
    let help = "Bucketed histogram of db compaction total duration.";
    text.histogram("etcd_debugging_mvcc_db_compaction_total_duration_milliseconds", help, &COMPACTION_TOTAL);
    let help = "Total number of db keys compacted.";
    text.counter("etcd_debugging_mvcc_db_compaction_keys_total", help, COMPACTION_KEYS.get());
    let help = "The unix time of the last db compaction. Resets to 0 on start.";
    text.gauge("etcd_debugging_mvcc_db_compaction_last", help, COMPACTION_LAST.get());
    Ok(())
}

fn disk(text: &mut Text) {
    let help = "The latency distributions of fsync called by WAL.";
    text.histogram("etcd_disk_wal_fsync_duration_seconds", help, &WAL_FSYNC);
    let help = "The latency distributions of write called by WAL.";
    text.histogram("etcd_disk_wal_write_duration_seconds", help, &WAL_WRITE);
    text.gauge("etcd_disk_wal_write_bytes_total", "Total number of bytes written in WAL.", WAL_BYTES.get());
    let help = "The latency distributions of commit called by backend.";
    text.histogram("etcd_disk_backend_commit_duration_seconds", help, &BACKEND_COMMIT);
    let help = "The latency distribution of backend snapshots.";
    text.histogram("etcd_disk_backend_snapshot_duration_seconds", help, &SNAPSHOT);
}

fn leases(text: &mut Text) {
    text.counter(
        "etcd_debugging_lease_granted_total",
        "The total number of granted leases.",
        LEASES_GRANTED.get(),
    );
    text.counter(
        "etcd_debugging_lease_revoked_total",
        "The total number of revoked leases.",
        LEASES_REVOKED.get(),
    );
    let help = "The number of renewed leases seen by the leader.";
    text.counter("etcd_debugging_lease_renewed_total", help, LEASES_RENEWED.get());
    text.histogram("etcd_debugging_lease_ttl_total", "Bucketed histogram of lease TTLs.", &LEASE_TTL);
    let help = "The total number of expired leases.";
    text.counter("etcd_debugging_server_lease_expired_total", help, LEASES_EXPIRED.get());
}
