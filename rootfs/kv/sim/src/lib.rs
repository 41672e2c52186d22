//! The whole store under one seed: several members with their services, Raft, log and state machine,
//! over a network, disks and clocks that are simulated. Clients write down what they see, and
//! [`kv_check`] judges it.
//!
//! Everything of the store is the product's own, called without sockets: requests go through the same
//! gRPC services as from a connection. Not simulated: sockets, TLS and the program around a member:
//! see `tests/history/` of the server.
//!
//! The fault model:
//! - **Network**: messages between members are delayed, lost, doubled and overtake each other; any
//!   part of the members is cut off, one way or both. Clients give up early.
//! - **Crashes**: at any time, or at the n-th write of the log or of the database. After a power cut any
//!   sectors of what the log had not synced are there or not; of the database's writes any subset, and
//!   any one of them torn. After a kill all is there that was written. Now and then all members crash.
//! - **Clocks**: each member's is up to 8 % too fast or too slow, for elections and leases.
//! - **Members** come, and are removed, in the midst of that, dead ones too.
//!
//! Then all is healed: the store must serve within a bound, all members must come to the same state, and
//! the history must be one that [`kv_check::check`] accepts.
//!
//! Start at [`story::story`]. A [`bug::Bug`] changes a layer beneath or beside the store, so that
//! tests can show that the checker finds such a thing; the store itself has no such switches.

pub mod bug;
pub mod chaos;
pub mod cluster;
pub mod database;
pub mod peers;
pub mod seeds;
pub mod story;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// What is behind these locks is whole between any two statements.
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
