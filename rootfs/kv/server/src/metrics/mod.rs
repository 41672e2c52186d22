//! What Prometheus is told, under etcd's names, so that dashboards and alerts made for
//! etcd work. Each number is fed where the thing happens, or is read when asked
//! for; what this member does not have (Go's own, bbolt's inside) is left out.
//!
//! The numbers are of the process, as etcd's: one process is one member. The
//! text format is a page of code ([`text`]), so no crate makes it: those that there
//! are bring registries with locks for numbers that here are atomics, or protobuf.
//!
//! [`number`] has counters and histograms, [`grpc`] looks at each call, [`disk`] at the
//! log's disk, [`process`] at `/proc/self`; [`page`] writes all of it.

pub mod disk;
pub mod grpc;
pub mod number;
mod page;
pub mod peers;
mod process;
mod state;
mod text;

pub use page::page;
pub use state::{Sweep, applied};

use number::{Counter, Histogram, exponential};

static FROM_1_MS: [f64; 14] = exponential(0.001);
static FROM_10_MS: [f64; 17] = exponential(0.01);
static MS_FROM_1: [f64; 13] = exponential(1.0);
static MS_FROM_100: [f64; 14] = exponential(100.0);
static S_FROM_1: [f64; 24] = exponential(1.0);

/// An fdatasync of the log took this many seconds.
pub static WAL_FSYNC: Histogram = Histogram::new(&FROM_1_MS);
/// A write to the log took this many seconds.
pub static WAL_WRITE: Histogram = Histogram::new(&FROM_1_MS);
/// Bytes written to the log.
pub static WAL_BYTES: Counter = Counter::new();
/// Making the database durable took this many seconds.
pub static BACKEND_COMMIT: Histogram = Histogram::new(&FROM_1_MS);
/// Sending a snapshot took this many seconds.
pub static SNAPSHOT: Histogram = Histogram::new(&FROM_10_MS);
/// One step of a compaction took this many milliseconds.
pub static COMPACTION_PAUSE: Histogram = Histogram::new(&MS_FROM_1);
/// A compaction took this many milliseconds, from its first step to its last.
pub static COMPACTION_TOTAL: Histogram = Histogram::new(&MS_FROM_100);
/// Versions of keys that compactions have removed.
pub static COMPACTION_KEYS: Counter = Counter::new();
/// When the last compaction ended, seconds since 1970.
pub static COMPACTION_LAST: Counter = Counter::new();
/// Ranges that were asked for.
pub static RANGES: Counter = Counter::new();
/// Keys put.
pub static PUTS: Counter = Counter::new();
/// Bytes of keys and values put.
pub static PUT_BYTES: Counter = Counter::new();
/// Deletions.
pub static DELETES: Counter = Counter::new();
/// Transactions that have changed something.
pub static TXNS: Counter = Counter::new();
/// Changes that watchers were told of, once for each of them.
pub static EVENTS: Counter = Counter::new();
/// Leases granted.
pub static LEASES_GRANTED: Counter = Counter::new();
/// Leases revoked, by whomever.
pub static LEASES_REVOKED: Counter = Counter::new();
/// Leases kept alive.
pub static LEASES_RENEWED: Counter = Counter::new();
/// Leases that were over.
pub static LEASES_EXPIRED: Counter = Counter::new();
/// For how many seconds leases were granted.
pub static LEASE_TTL: Histogram = Histogram::new(&S_FROM_1);
/// Commands under way.
pub static PROPOSALS_BEGUN: Counter = Counter::new();
/// Commands that came to an end.
pub static PROPOSALS_ENDED: Counter = Counter::new();
/// Commands that were not taken, or of which nobody knows.
pub static PROPOSALS_FAILED: Counter = Counter::new();
/// Reads that waited in vain to be linearizable.
pub static READS_FAILED: Counter = Counter::new();
/// Times that `/health` said yes.
pub static HEALTH_GOOD: Counter = Counter::new();
/// Times that `/health` said no.
pub static HEALTH_BAD: Counter = Counter::new();
/// Bytes that gRPC clients have sent.
pub static CLIENT_RECEIVED: Counter = Counter::new();
/// Bytes that gRPC clients were sent.
pub static CLIENT_SENT: Counter = Counter::new();

/// Times that changed files of TLS could not be used.
pub static TLS_RELOADS_FAILED: Counter = Counter::new();

/// The leader that was seen last, and how often it was another than before.
static LEADER: Counter = Counter::new();
static LEADER_CHANGES: Counter = Counter::new();

/// Says who leads now; 0 for nobody. Cheap enough for each answer.
pub fn leader_seen(leader: u64) {
    if LEADER.get() != leader && LEADER.replace(leader) != leader && leader != 0 {
        LEADER_CHANGES.add(1);
    }
}
