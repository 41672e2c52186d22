//! The store's state machine: what etcd's v3 API calls the key space, its
//! revisions, transactions, leases, alarms and compaction, on a redb database.
//!
//! It is deterministic: commands go in, in the log's order and with their place
//! in it, replies and events come out, and every member that was given the same
//! commands answers the same and has the same [`View::hash`]. It has no clock (a
//! lease ends when a command says so), no network, no thread and no randomness.
//! It knows neither Raft nor gRPC: the server maps the wire to [`Command`]. Who may do what
//! ([`Policy`]) is decided here when a command is applied, by whom the server says has asked.
//!
//! An entry counts once the log has it on disk, so [`State::batch`] commits
//! without waiting for the disk; [`State::make_durable`] writes all of it down
//! together with the place in the log, from which a restart goes on.
//!
//! Start at [`State`], then [`Batch`] (how a command changes the tables) and
//! [`View`] (how they are read). The tables are described in docs/FORMATS.md, "The
//! store's database".

mod auth;
mod batch;
mod changes;
mod check;
mod command;
mod compaction;
mod defragment;
mod error;
mod hash;
mod lease;
mod meta;
mod place;
mod range;
mod record;
mod reply;
mod snapshot;
mod span;
mod state;
mod tables;
mod txn;
mod view;
mod write;

pub use auth::{AuthChange, Caller, Denial, Permission, PermissionKind, Policy, ROOT, Role, User};
pub use batch::Batch;
pub use changes::Changes;
pub use check::{check_delete, check_put, check_range, check_txn};
pub use command::{
    Alarm, AlarmAction, Command, Compare, CompareResult, DeleteRange, Operation, Put, Range, SortOrder,
    SortTarget, Target, Txn,
};
pub use compaction::Swept;
pub use defragment::Defragmented;
pub use error::{Error, Refusal};
pub use hash::KeyValueHash;
pub use lease::{Lease, MAX_TTL_S};
pub use meta::Position;
pub use reply::{
    DeleteRangeReply, Event, EventKind, KeyValue, OperationReply, Outcome, PutReply, RangeReply, Reply,
    TxnReply,
};
pub use state::{Options, Sizes, State};
pub use view::{Source, View};

/// Where the database's bytes lie: redb's own trait, so that a test can give a
/// disk of its own to [`State::open`].
pub use redb::StorageBackend;
