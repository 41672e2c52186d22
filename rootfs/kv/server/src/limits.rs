//! What is too much for one member.

/// Limits that flags set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest request, bytes.
    pub request_bytes: usize,
    /// The most operations of a transaction.
    pub txn_operations: usize,
    /// The most calls at once on one connection.
    pub streams: u32,
    /// The most watchers on one client stream.
    pub watchers_per_stream: usize,
    /// The most leases.
    pub leases: u64,
}
