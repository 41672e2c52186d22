//! The types that openraft is built with, and ours beside them.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;

use bytes::Bytes;
use openraft::RaftTypeConfig;
use openraft::impls::{BoxedErrorSource, InlineBatch, ProgressResponder, leader_id_std};
use openraft::vote::RaftLeaderId;
use openraft_rt::AsyncRuntime;
use openraft_rt_tokio::TokioRuntime;

/// A member's number, unique in its cluster for all time.
pub type NodeId = u64;

/// Where a member is reached. What the addresses mean is the [`Network`](crate::Network)'s.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// Its peer addresses, in the order of preference.
    pub urls: Vec<String>,
}

/// An entry's place in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogId {
    /// The term of the leader that made the entry.
    pub term: u64,
    /// Its index; the first entry has index 0.
    pub index: u64,
}

/// Whom this member voted for. Votes are ordered by term, then granted before committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vote {
    /// The term that the vote is for.
    pub term: u64,
    /// The candidate.
    pub node: NodeId,
    /// Whether a majority is known to have granted it, so that the candidate leads the term.
    pub committed: bool,
}

/// Clock, tasks and chance of a node: [`Tokio`] in production, `sim::Seeded` under a simulation.
pub trait Runtime: Copy + fmt::Debug + Default + Ord + Send + Sync + Unpin + 'static {
    /// openraft's view of it.
    type Async: AsyncRuntime;
    /// Whether work that blocks may go to threads of its own. A simulation runs it in place,
    /// because a thread's end has no simulated time.
    const THREADS: bool;

    /// Starts a task of this runtime.
    fn spawn(task: impl Future<Output = ()> + Send + 'static) {
        drop(Self::Async::spawn(task));
    }
}

/// The ordinary tokio runtime.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tokio;

impl Runtime for Tokio {
    type Async = TokioRuntime;
    const THREADS: bool = true;
}

/// openraft's type configuration over a runtime.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Types<R>(PhantomData<R>);

impl<R: Runtime> RaftTypeConfig for Types<R> {
    type D = Payload;
    type R = Bytes;
    type NodeId = NodeId;
    type Node = Member;
    type Term = u64;
    // The standard kind: one leader a term, and an entry's place is its term and index alone.
    type LeaderId = leader_id_std::LeaderId<u64, NodeId>;
    type Vote = openraft::impls::Vote<Self::LeaderId>;
    type Payload = openraft::EntryPayload<Payload, NodeId, Member>;
    type Entry = openraft::Entry<<Self::LeaderId as RaftLeaderId>::Committed, Self::Payload>;
    type AsyncRuntime = R::Async;
    type Responder<T>
        = ProgressResponder<Self, T>
    where
        T: openraft::OptionalSend + 'static;
    type Batch<T>
        = InlineBatch<T>
    where
        T: openraft::OptionalSend + 'static;
    type ErrorSource = BoxedErrorSource;
}

pub(crate) type RaftLogId = openraft::alias::LogIdOf<Types<Tokio>>;
pub(crate) type RaftVote = openraft::alias::VoteOf<Types<Tokio>>;
pub(crate) type RaftEntry = openraft::alias::EntryOf<Types<Tokio>>;
pub(crate) type RaftMembership = openraft::Membership<NodeId, Member>;
pub(crate) type RaftStored = openraft::alias::StoredMembershipOf<Types<Tokio>>;

/// A command's bytes as openraft carries them.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload(pub Bytes);

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl From<RaftLogId> for LogId {
    fn from(id: RaftLogId) -> Self {
        Self { term: *id.leader_id, index: id.index }
    }
}

impl From<LogId> for RaftLogId {
    fn from(id: LogId) -> Self {
        Self { leader_id: leader_id_std::LeaderId::new(id.term, 0).to_committed(), index: id.index }
    }
}

impl From<RaftVote> for Vote {
    fn from(vote: RaftVote) -> Self {
        Self { term: vote.leader_id.term, node: vote.leader_id.voted_for, committed: vote.committed }
    }
}

impl From<Vote> for RaftVote {
    fn from(vote: Vote) -> Self {
        Self { leader_id: leader_id_std::LeaderId::new(vote.term, vote.node), committed: vote.committed }
    }
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.term, self.index)
    }
}
