//! What the services need of whoever orders the commands: [`crate::replica::Replica`], for clusters
//! of every size. No service knows of Raft.

use std::future::Future;
use std::pin::Pin;

use kv_api::Fault;
use kv_api::kvpb::Command;
use kv_core::Reply;

use crate::replica::ask::{Answer, Ask};

/// The largest command (etcd: `--max-request-bytes`), bytes.
pub const REQUEST_BYTES: usize = 3 << 19;

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

    /// How things stand; costs nothing.
    fn status(&self) -> Status;

    /// The members, as this one knows them.
    fn places(&self) -> Vec<Place>;

    /// Asks whichever member leads for what only that one knows or may do.
    ///
    /// # Errors
    /// The leader's refusal; [`Fault::Timeout`] when there is none.
    fn ask_leader(&self, ask: Ask) -> Pending<'_, Answer>;

    /// Gives the lead to another member. At the leader.
    ///
    /// # Errors
    /// [`Fault::NotLeader`], [`Fault::BadLeaderTransferee`] for one without a vote,
    /// [`Fault::Timeout`] when it does not take it.
    fn move_leader(&self, to: u64) -> Pending<'_, ()>;

    /// Revokes a lease that is over by the clock of this member, as the leader of `term`.
    ///
    /// # Errors
    /// It does not lead in that term any more, among others; nobody waits for this.
    fn expire(&self, term: u64, lease: i64) -> Pending<'_, ()>;
}

/// A member's place in the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its id.
    pub id: u64,
    /// Where other members reach it.
    pub peer_urls: Vec<String>,
    /// Whether it has a vote.
    pub has_vote: bool,
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
