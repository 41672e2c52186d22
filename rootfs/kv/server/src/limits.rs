//! What is too much for one member.

use tonic::Status;

use crate::flags::Wrong;

/// Limits that flags set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest request, bytes (`--max-request-bytes`).
    pub request_bytes: usize,
    /// The most operations of a transaction (`--max-txn-ops`).
    pub txn_operations: usize,
    /// The most calls at once on one connection (`--max-concurrent-streams`).
    pub streams: u32,
    /// The most watchers on one client stream (`--max-watchers-per-stream`).
    pub watchers_per_stream: usize,
    /// The most leases (`--max-leases`).
    pub leases: u64,
    /// The most keys that a range answers with; 0 for any number, as etcd (`--max-range-keys`).
    pub range_keys: usize,
}

/// The largest request that can be allowed: an entry of the log can hold it, with what stands
/// around it.
const MOST_REQUEST_BYTES: u32 = 16 << 20;
/// The most bytes of an answer, as in etcd, whose gRPC counts them in 31 bits.
pub const ANSWER_BYTES: usize = i32::MAX as usize;

impl Default for Limits {
    /// What the flags have when they are not given.
    fn default() -> Self {
        Self {
            request_bytes: 3 << 19,
            txn_operations: 128,
            streams: u32::MAX,
            watchers_per_stream: 100_000,
            leases: 1_000_000,
            range_keys: 0,
        }
    }
}

impl Limits {
    /// Reads the flags' values.
    ///
    /// # Errors
    /// [`Wrong::Value`] for what is no number, or out of reach.
    pub fn read(get: impl Fn(&'static str) -> String) -> Result<Self, Wrong> {
        let number = |flag, least: u32, most: u32, why| {
            let value = get(flag);
            let parsed = value.parse().ok().filter(|number| (least..=most).contains(number));
            parsed.ok_or(Wrong::Value { flag, value, why })
        };
        let why = "it must be a number from 1 to 16777216, which is what an entry of the log can hold";
        let request_bytes = number("max-request-bytes", 1, MOST_REQUEST_BYTES, why)? as usize;
        let count = |flag| number(flag, 1, u32::MAX, "it must be a number from 1 to 4294967295");
        Ok(Self {
            request_bytes,
            txn_operations: count("max-txn-ops")? as usize,
            streams: count("max-concurrent-streams")?,
            watchers_per_stream: count("max-watchers-per-stream")? as usize,
            leases: count("max-leases")?.into(),
            range_keys: number("max-range-keys", 0, u32::MAX, "it must be a number; 0 is no limit")? as usize,
        })
    }

    /// The largest message that is read (etcd: the largest request and 512 KiB).
    pub fn message_bytes(&self) -> usize {
        self.request_bytes + (512 << 10)
    }

    /// The limit with which a range is read that asks for this many keys (0 or less: all): one more
    /// than may be answered, so that it is seen whether there are more.
    pub fn range_limit(&self, asked: i64) -> i64 {
        let most = self.range_keys as i64;
        if most != 0 && (asked <= 0 || asked > most) { most + 1 } else { asked }
    }

    /// Refuses an answer with too many keys.
    ///
    /// # Errors
    /// It says how to get them.
    pub fn check_range(&self, keys: usize) -> Result<(), Status> {
        let most = self.range_keys;
        if most == 0 || keys <= most {
            return Ok(());
        }
        Err(Status::resource_exhausted(format!(
            "kv: the range has more than {most} keys (--max-range-keys): ask for fewer at a time, with a limit, and go on behind the last"
        )))
    }

    /// Refuses a lease beyond those that there are.
    ///
    /// # Errors
    /// It says what the limit is.
    pub fn check_leases(&self, there: u64) -> Result<(), Status> {
        if there < self.leases {
            return Ok(());
        }
        let most = self.leases;
        Err(Status::resource_exhausted(format!(
            "kv: there are {there} leases, and may be {most} (--max-leases): revoke some, or let several keys share one"
        )))
    }

    /// Why a stream cannot have another watcher, if it cannot.
    pub fn full_of_watchers(&self, there: usize) -> Option<String> {
        let most = self.watchers_per_stream;
        (there >= most).then(|| {
            format!("kv: a stream may have {most} watchers (--max-watchers-per-stream): open another stream, or watch a range")
        })
    }
}
