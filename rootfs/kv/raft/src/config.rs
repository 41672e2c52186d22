//! A node's settings.

use std::sync::Arc;
use std::time::Duration;

use crate::NodeId;
use crate::error::StartError;
use crate::snapshot::{MemorySpool, Spool};

/// A node's settings. The defaults are etcd's where it has them.
#[derive(Clone)]
pub struct Config {
    /// This member's number.
    pub id: NodeId,
    /// The cluster's number: messages of another cluster are refused.
    pub cluster: u64,
    /// How often a leader says that it leads (etcd: `--heartbeat-interval`, 100 ms).
    pub heartbeat: Duration,
    /// After how long without a leader an election starts at the latest (etcd: `--election-timeout`,
    /// 1000 ms; there it is the earliest, and twice as long the latest). It starts after three quarters
    /// of it at the earliest, by chance; for half of it nobody votes for another leader.
    pub election: Duration,
    /// How long a proposal, a read or a change of members waits before its outcome is unknown.
    pub request: Duration,
    /// After how many entries a snapshot is made (etcd: `--snapshot-count`).
    pub snapshot_entries: u64,
    /// After how many bytes of commands a snapshot is made, whatever their number.
    pub snapshot_bytes: u64,
    /// How many entries before a snapshot are kept for members that lag a little (etcd:
    /// `--experimental-snapshot-catchup-entries`).
    pub keep_entries: u64,
    /// How many bytes of entries go into one message at most; one larger entry goes alone.
    pub append_bytes: u64,
    /// How many entries go into one message at most.
    pub append_entries: u64,
    /// The size of a snapshot's pieces, in bytes.
    pub chunk_bytes: u64,
    /// How long one piece of a snapshot may take.
    pub chunk: Duration,
    /// Where snapshots that arrive are kept.
    pub spool: Arc<dyn Spool>,
    /// openraft's `enable_leader_restore`, for the test that shows why it is off.
    #[cfg(feature = "sim")]
    pub lead_on: bool,
}

impl Config {
    /// The defaults, for one member of one cluster.
    pub fn new(id: NodeId, cluster: u64) -> Self {
        Self {
            id,
            cluster,
            heartbeat: Duration::from_millis(100),
            election: Duration::from_secs(1),
            request: Duration::from_secs(7),
            snapshot_entries: 10_000,
            snapshot_bytes: 256 << 20,
            keep_entries: 5_000,
            append_bytes: 1 << 20,
            append_entries: 4_096,
            chunk_bytes: 1 << 20,
            chunk: Duration::from_secs(5),
            spool: Arc::new(MemorySpool),
            #[cfg(feature = "sim")]
            lead_on: false,
        }
    }

    pub(crate) fn raft(&self) -> Result<openraft::Config, StartError> {
        let millis = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
        for (name, value) in [
            ("snapshot_entries", self.snapshot_entries),
            ("snapshot_bytes", self.snapshot_bytes),
            ("append_bytes", self.append_bytes),
            ("append_entries", self.append_entries),
            ("chunk_bytes", self.chunk_bytes),
            ("heartbeat in ms", millis(self.heartbeat)),
        ] {
            if value == 0 {
                return Err(StartError::Config(format!("{name} is 0")));
            }
        }
        #[cfg(feature = "sim")]
        let lead_on = self.lead_on;
        #[cfg(not(feature = "sim"))]
        let lead_on = false;
        openraft::Config {
            cluster_name: format!("{:016x}", self.cluster),
            heartbeat_interval: millis(self.heartbeat),
            // openraft waits for the greater one, in which nobody votes, and then for one between both.
            election_timeout_min: millis(self.election) / 4,
            election_timeout_max: millis(self.election) / 2,
            max_payload_entries: self.append_entries,
            // A member that is in reach of the log takes the log: a snapshot is for one that is not.
            replication_lag_threshold: u64::MAX,
            snapshot_policy: openraft::SnapshotPolicy::LogsSinceLast(self.snapshot_entries),
            max_in_snapshot_log_to_keep: self.keep_entries,
            install_snapshot_timeout: millis(self.chunk),
            enable_pre_vote: Some(true),
            // Its default is to lead on after a restart, in the same term. But the followers may have
            // entries of that term which this member had not flushed, and it would give their indexes
            // to others: acknowledged writes are lost, as a test shows.
            enable_leader_restore: Some(lead_on),
            ..openraft::Config::default()
        }
        .validate()
        .map_err(|e| StartError::Config(e.to_string()))
    }
}
