//! What the services need of whoever orders the commands. [`crate::solo::Solo`] is a
//! cluster of one; nothing outside of it knows that there is no other member.

use std::future::Future;
use std::pin::Pin;

use kv_api::Fault;
use kv_api::kvpb::Command;
use kv_core::Reply;

/// An answer that is under way.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T, Fault>> + Send + 'a>>;

/// Orders commands, and knows when what was read was the newest.
pub trait Consensus: Send + Sync + 'static {
    /// Puts a command into the log and applies it. The answer comes when it is on the disk (of a
    /// majority) and is seen by views that are taken from then on.
    ///
    /// # Errors
    /// The command was not taken, or nobody knows whether it was ([`Fault::Stopped`],
    /// [`Fault::Timeout`]). What the state machine refuses is in the reply.
    fn propose(&self, command: Command) -> Pending<'_, Reply>;

    /// Returns once a view taken from now on holds all that was acknowledged, by whichever
    /// member, before the call.
    ///
    /// # Errors
    /// That cannot be known now: no leader, or the member is stopping.
    fn read_barrier(&self) -> Pending<'_, ()>;

    /// How things stand.
    fn status(&self) -> Status;
}

/// How a member stands in its cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Raft's term.
    pub term: u64,
    /// The leader's member id; 0 if there is none.
    pub leader: u64,
    /// The last entry of the log that is committed, counted from 1.
    pub index: u64,
    /// The last entry that is applied, counted from 1.
    pub applied: u64,
    /// Whether this member has no vote.
    pub is_learner: bool,
}
