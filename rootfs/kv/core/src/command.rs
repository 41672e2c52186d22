//! What may be asked of the store, in plain data; the server maps the wire to it.

use bytes::Bytes;

use crate::auth::AuthChange;

/// One entry of the log: a change that all members make in the same order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// An entry without effect on the key space; only the place in the log moves on.
    Nothing,
    /// Sets one key.
    Put(Put),
    /// Deletes a key or a range of keys.
    DeleteRange(DeleteRange),
    /// Compares, then does one of two lists of operations, all at one revision.
    Txn(Txn),
    /// Forgets what was superseded at or before this revision.
    Compact {
        /// The oldest revision that can still be read afterwards.
        revision: i64,
    },
    /// Grants a lease. The server has chosen the id (not 0) and has raised the time to its least.
    LeaseGrant {
        /// The lease's id.
        id: i64,
        /// Seconds that it lives without being kept alive.
        ttl_s: i64,
    },
    /// Ends a lease and deletes its keys, all at one revision.
    LeaseRevoke {
        /// The lease's id.
        id: i64,
    },
    /// Writes down how long leases still have, so that a new leader goes on from there.
    LeaseCheckpoint(Vec<LeaseRemaining>),
    /// Reads, raises or lowers alarms.
    Alarm {
        /// What to do.
        action: AlarmAction,
        /// Which alarm; `Get` lists those of all members, and with a kind of 0 those of all kinds.
        alarm: Alarm,
    },
    /// Changes users, roles, and whether they count.
    Auth(AuthChange),
    /// Sets (`Some`) or removes (`None`) entries of the server's own, such as members. They are in the same transaction and snapshot as the keys, and have no revision.
    Side(Vec<(Bytes, Option<Bytes>)>),
}

/// A lease and the seconds that it still has.
pub type LeaseRemaining = (i64, i64);

/// etcd v3 API: `PutRequest`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Put {
    /// The key; not empty.
    pub key: Bytes,
    /// Its value; empty with `ignore_value`.
    pub value: Bytes,
    /// The lease that the key then hangs on; 0 for none.
    pub lease: i64,
    /// Whether the reply has what was there before.
    pub prev_kv: bool,
    /// Keep the value; the key must exist.
    pub ignore_value: bool,
    /// Keep the lease; the key must exist.
    pub ignore_lease: bool,
}

/// etcd v3 API: `DeleteRangeRequest`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteRange {
    /// The key, or the first of the range; not empty.
    pub key: Bytes,
    /// Empty for the key alone, `\0` for all keys from `key` on, else the first key behind the range.
    pub range_end: Bytes,
    /// Whether the reply has what was deleted.
    pub prev_kv: bool,
}

/// The order of a range's reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SortOrder {
    /// By key; with a target other than the key, as `Ascend`, but after the limit was taken.
    #[default]
    None,
    /// Smallest first.
    Ascend,
    /// Largest first.
    Descend,
}

/// What a range's reply is sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SortTarget {
    /// The key.
    #[default]
    Key,
    /// The number of changes since the key was made.
    Version,
    /// The revision at which the key was made.
    Create,
    /// The revision of the last change.
    Mod,
    /// The value.
    Value,
}

/// etcd v3 API: `RangeRequest`. Whether it is serializable is the server's matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// The key, or the first of the range; not empty.
    pub key: Bytes,
    /// As in [`DeleteRange`].
    pub range_end: Bytes,
    /// The most keys in the reply; 0 or less for all.
    pub limit: i64,
    /// The revision to read at; 0 or less for the newest.
    pub revision: i64,
    /// The reply's order.
    pub sort_order: SortOrder,
    /// What it is sorted by.
    pub sort_target: SortTarget,
    /// Leave the values out.
    pub keys_only: bool,
    /// Only count.
    pub count_only: bool,
    /// Leave out keys changed last before this revision; 0 for none.
    pub min_mod_revision: i64,
    /// Leave out keys changed last after this revision; 0 for none.
    pub max_mod_revision: i64,
    /// Leave out keys made before this revision; 0 for none.
    pub min_create_revision: i64,
    /// Leave out keys made after this revision; 0 for none.
    pub max_create_revision: i64,
}

/// How a key's side of a comparison must stand to the given one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CompareResult {
    /// The same.
    #[default]
    Equal,
    /// Greater.
    Greater,
    /// Less.
    Less,
    /// Another.
    NotEqual,
}

/// What of a key is compared, and with what. A key that is not there has 0 in all
/// of them, and fails each comparison of its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The number of changes since the key was made.
    Version(i64),
    /// The revision at which the key was made.
    Create(i64),
    /// The revision of the last change.
    Mod(i64),
    /// The value.
    Value(Bytes),
    /// The lease.
    Lease(i64),
}

/// etcd v3 API: `Compare`; with a range, all of its keys must pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compare {
    /// The key, or the first of the range; not empty.
    pub key: Bytes,
    /// As in [`DeleteRange`].
    pub range_end: Bytes,
    /// How the key's side must stand to the given one.
    pub result: CompareResult,
    /// What is compared.
    pub target: Target,
}

/// One operation of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Reads.
    Range(Range),
    /// Sets a key.
    Put(Put),
    /// Deletes keys.
    DeleteRange(DeleteRange),
    /// Compares again, on the state before the whole transaction.
    Txn(Txn),
}

/// etcd v3 API: `TxnRequest`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    /// All must hold for `success` to be done, else `failure` is.
    pub compare: Vec<Compare>,
    /// What is done when all comparisons hold.
    pub success: Vec<Operation>,
    /// What is done when one does not.
    pub failure: Vec<Operation>,
}

impl Txn {
    /// Whether a put is in it, whichever way it goes.
    pub fn puts(&self) -> bool {
        self.success.iter().chain(&self.failure).any(|operation| match operation {
            Operation::Put(_) => true,
            Operation::Txn(txn) => txn.puts(),
            Operation::Range(_) | Operation::DeleteRange(_) => false,
        })
    }
}

/// What to do with an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlarmAction {
    /// List it.
    Get,
    /// Raise it.
    Activate,
    /// Lower it.
    Deactivate,
}

/// An alarm of a member. The kinds are etcd's (`AlarmType`): 1 no space, 2 corrupt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Alarm {
    /// The member's id.
    pub member: u64,
    /// Which alarm.
    pub kind: u32,
}
