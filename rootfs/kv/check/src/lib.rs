//! Histories of what clients of the store did and saw, and the checker of them.
//!
//! A [`History`] is written down by whoever drives clients: a simulation, or a test with real
//! processes. [`check`] says whether a store that keeps etcd's promises can have answered so:
//!
//! - **One order.** Writes, transactions, revocations and linearizable reads happened one after
//!   another, each between its begin and its end ([`order`]). It is the search of Wing and Gong, with
//!   Lowe's memory of places that led nowhere; but an answer carries its revision, so that almost all
//!   places are given, and only operations without an answer are searched for.
//! - **Revisions** grow, one for each transaction that changes something.
//! - **Serializable reads** see a state that there was, and in one session no older one later.
//! - **Watches** bring every event once, in order, whole, with what was there before; none after
//!   their end; and a watch that ends by a compaction says which one.
//! - **Compaction** hides what is before it, and nothing else.
//! - **Leases** keep their keys for their time since the last renewal that was acknowledged, by the
//!   clients' clock and within a bound of drift, and not for ever.
//!
//! [`drive`] has clients that write such a history down, over any way to a store.
//!
//! The checker knows the store's state machine in a second, smaller form ([`model`]). It knows nothing
//! of servers, Raft or disks.
//!
//! Values must be unique in a history for it to be fast; nothing else is asked of what clients do.

pub mod drive;
pub mod history;
mod lease;
mod levels;
pub mod model;
pub mod order;
mod reads;
mod report;
mod watch;

pub use history::{
    Answer, Body, Call, Compare, End, Event, Given, History, How, Item, Kv, Operation, Refusal, Span, Step,
    Test, Time, Txn, Watch,
};
pub use order::{Cause, Chronicle, Entry};
pub use report::{Rule, Violation};

/// What is allowed to the clocks.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// By how many of a thousand parts a member's clock may be faster or slower than the clients'.
    pub drift_per_mille: u64,
    /// How long after its time a lease may still be there, microseconds, while nothing fails.
    pub slack_us: u64,
}

/// Checks all rules, and gives the order in which all happened.
///
/// # Errors
/// The first rule that is broken.
pub fn check(history: &History, bounds: Bounds) -> Result<Chronicle, Violation> {
    let chronicle = order::order(history, bounds)?;
    reads::check(history)?;
    watch::check(history, &chronicle)?;
    lease::check(history, bounds)?;
    Ok(chronicle)
}
