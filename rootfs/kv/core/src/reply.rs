//! What the store answers, and what its watchers are told.

use bytes::Bytes;

use crate::command::Alarm;
use crate::error::Refusal;

/// etcd v3 API: `KeyValue`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyValue {
    /// The key.
    pub key: Bytes,
    /// The revision at which the key was made.
    pub create_revision: i64,
    /// The revision of the last change.
    pub mod_revision: i64,
    /// The number of changes since the key was made, which was the first.
    pub version: i64,
    /// The value.
    pub value: Bytes,
    /// The lease that the key hangs on; 0 for none.
    pub lease: i64,
}

/// The answer to one command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The store's revision after the command; for the header.
    pub revision: i64,
    /// What came of it. A refusal has changed nothing.
    pub result: Result<Outcome, Refusal>,
}

/// What came of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Of [`crate::Command::Nothing`], `Auth`, `Side`, `LeaseCheckpoint`, `LeaseRevoke` and `Compact`.
    Done,
    /// Of a put.
    Put(PutReply),
    /// Of a deletion.
    DeleteRange(DeleteRangeReply),
    /// Of a transaction.
    Txn(TxnReply),
    /// Of a grant.
    LeaseGrant {
        /// The lease's id.
        id: i64,
        /// Seconds that it lives without being kept alive.
        ttl_s: i64,
    },
    /// Who was let in by [`crate::AuthChange::Authenticate`].
    Authenticated {
        /// The token.
        token: String,
    },
    /// The alarms that were listed, raised or lowered.
    Alarms(Vec<Alarm>),
}

/// etcd v3 API: `PutResponse`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PutReply {
    /// The revision of the put.
    pub revision: i64,
    /// What was there before, if it was asked for and there was something.
    pub prev_kv: Option<KeyValue>,
}

/// etcd v3 API: `DeleteRangeResponse`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteRangeReply {
    /// The revision of the deletion, or the newest if nothing was deleted.
    pub revision: i64,
    /// How many keys were deleted.
    pub deleted: i64,
    /// Those keys, if asked for, by key.
    pub prev_kvs: Vec<KeyValue>,
}

/// etcd v3 API: `RangeResponse`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeReply {
    /// The newest revision at the time of reading, whichever was read.
    pub revision: i64,
    /// The keys.
    pub kvs: Vec<KeyValue>,
    /// Whether the limit left some out.
    pub more: bool,
    /// How many keys lie in the range, whatever limit and filters.
    pub count: i64,
}

/// One operation's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OperationReply {
    /// Of a range.
    Range(RangeReply),
    /// Of a put.
    Put(PutReply),
    /// Of a deletion.
    DeleteRange(DeleteRangeReply),
    /// Of a transaction.
    Txn(TxnReply),
}

/// etcd v3 API: `TxnResponse`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TxnReply {
    /// The store's revision after the whole transaction; 0 in a nested one, as etcd leaves it out there.
    pub revision: i64,
    /// Whether all comparisons held.
    pub succeeded: bool,
    /// An answer for each operation that was done.
    pub responses: Vec<OperationReply>,
}

/// What happened to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// It was set.
    Put,
    /// It was deleted.
    Delete,
}

/// One change of one key; etcd v3 API: `Event`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// The key as it is now; of a deletion only the key and the revision.
    pub kv: KeyValue,
    /// The key as it was at the revision before, if it was there and is not compacted.
    pub prev_kv: Option<KeyValue>,
}
