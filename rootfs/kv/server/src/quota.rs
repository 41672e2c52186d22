//! How large the database may become (etcd: `--quota-backend-bytes`), and how much of the disk
//! stays free: what would go beyond raises the alarm NOSPACE, and then what grows is refused
//! until somebody has made room and lowers it. The estimates of what a request needs are etcd's.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use kv_api::etcdserverpb as pb;
use kv_core::Source;
use pb::request_op::Request;

/// The quota if none is given, bytes (etcd has the same).
const DEFAULT_BYTES: u64 = 2 << 30;
/// What a lease is counted as, bytes.
pub const LEASE_BYTES: u64 = 64;
/// What a key is counted as beside its name and value, bytes.
const KEY_BYTES: u64 = 256;
/// Bytes of the disk that stay free, so that what is in memory, the log's next segment,
/// deletions and a lowered alarm can still be written.
const RESERVE_BYTES: u64 = 160 << 20;

/// For so long an answer of the system is taken for true; what was let in since is added.
const FRESH: Duration = Duration::from_millis(100);

/// The bounds of a member.
#[derive(Debug)]
pub struct Quota {
    bytes: Option<u64>,
    folder: PathBuf,
    seen: Mutex<Option<Seen>>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    at: Instant,
    /// What the database takes.
    allocated: u64,
    /// What is free on the disk.
    free: u64,
    /// What was let in since.
    more: u64,
}

/// Reads the flag's value: `Some(None)` for no quota, `None` if it is no number.
pub fn bytes(text: &str) -> Option<Option<u64>> {
    match text.parse::<i64>().ok()? {
        0 => Some(Some(DEFAULT_BYTES)),
        bytes => Some(u64::try_from(bytes).ok()),
    }
}

impl Quota {
    /// A quota in bytes, and the data directory whose disk is looked at.
    pub fn new(bytes: Option<u64>, folder: &Path) -> Self {
        Self { bytes, folder: folder.to_owned(), seen: Mutex::default() }
    }

    /// Whether a store with so many bytes of keys and records may become larger by so many.
    pub fn has_room(&self, source: &Source, in_use: u64, more: u64) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = match &mut *seen {
            Some(seen) if seen.at.elapsed() < FRESH => seen,
            old => old.insert(self.look(source)),
        };
        let size = seen.allocated.saturating_add(seen.more).max(in_use);
        let has_room = self.bytes.is_none_or(|bytes| size.saturating_add(more) <= bytes)
            && seen.free >= RESERVE_BYTES.saturating_add(seen.more).saturating_add(more);
        if has_room {
            seen.more += more;
        }
        has_room
    }

    fn look(&self, source: &Source) -> Seen {
        // Without an answer the disk itself will say that it is full.
        let free = rustix::fs::statvfs(&self.folder)
            .map_or(u64::MAX, |disk| disk.f_bavail.saturating_mul(disk.f_frsize));
        Seen { at: Instant::now(), allocated: source.allocated_bytes(), free, more: 0 }
    }
}

/// What a put may need.
pub fn put_bytes(put: &pb::PutRequest) -> u64 {
    KEY_BYTES + (put.key.len() + put.value.len()) as u64
}

/// What a transaction may need: the longer of its two ways. 0 if it puts nothing.
pub fn txn_bytes(txn: &pb::TxnRequest) -> u64 {
    let way = |operations: &[pb::RequestOp]| {
        let bytes = operations.iter().map(|operation| match &operation.request {
            Some(Request::RequestPut(put)) => put_bytes(put),
            Some(Request::RequestTxn(txn)) => txn_bytes(txn),
            _ => 0,
        });
        bytes.sum::<u64>()
    };
    way(&txn.success).max(way(&txn.failure))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_is_read_as_etcd_reads_it() {
        assert_eq!(bytes("0"), Some(Some(2 << 30)));
        assert_eq!(bytes("-1"), Some(None));
        assert_eq!(bytes("1048576"), Some(Some(1 << 20)));
        assert_eq!(bytes("1M"), None);
    }

    #[test]
    fn a_transaction_needs_its_longer_way() {
        let put = |length: usize| pb::RequestOp {
            request: Some(Request::RequestPut(pb::PutRequest {
                key: vec![b'k'; length].into(),
                ..pb::PutRequest::default()
            })),
        };
        let inner = pb::TxnRequest { success: vec![put(1), put(2)], ..pb::TxnRequest::default() };
        assert_eq!(txn_bytes(&inner), 2 * 256 + 3);
        let nested = pb::RequestOp { request: Some(Request::RequestTxn(inner)) };
        let outer =
            pb::TxnRequest { success: vec![put(9)], failure: vec![nested], ..pb::TxnRequest::default() };
        assert_eq!(txn_bytes(&outer), 2 * 256 + 3);
        assert_eq!(txn_bytes(&pb::TxnRequest::default()), 0);
    }
}
