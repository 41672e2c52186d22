//! What a node knows of itself and its cluster.

use std::collections::{BTreeMap, BTreeSet};

use openraft::alias::WatchReceiverOf;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::{RaftMetrics, ServerState};

use crate::types::Types;
use crate::{LogId, Member, NodeId, Runtime};

/// A member's part now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Has no vote.
    Learner,
    /// Votes and follows.
    Follower,
    /// Asks for votes.
    Candidate,
    /// Leads, as far as it knows.
    Leader,
    /// Has stopped.
    Stopped,
}

/// A node's view at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The member.
    pub id: NodeId,
    /// Its part.
    pub role: Role,
    /// Its term.
    pub term: u64,
    /// The leader that it follows.
    pub leader: Option<NodeId>,
    /// The index of its last entry.
    pub last: Option<u64>,
    /// The last entry that it knows to be committed.
    pub committed: Option<LogId>,
    /// The last entry that its machine has applied.
    pub applied: Option<LogId>,
    /// The last entry in its newest snapshot.
    pub snapshot: Option<LogId>,
    /// The last entry purged from its log.
    pub purged: Option<LogId>,
    /// All members, by the newest entry about them, committed or not.
    pub members: BTreeMap<NodeId, Member>,
    /// Those with a vote.
    pub voters: BTreeSet<NodeId>,
    /// At the leader: up to where each other member's log is known to be the same.
    pub matching: BTreeMap<NodeId, Option<LogId>>,
    /// Why it has stopped, where it has.
    pub stopped: Option<String>,
}

/// The numbers of a [`Status`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pulse {
    /// Its part.
    pub role: Role,
    /// Whether it is a member without a vote. A new one that knows of no members yet is none.
    pub is_learner: bool,
    /// Its term.
    pub term: u64,
    /// The leader that it follows.
    pub leader: Option<NodeId>,
    /// The last entry that it knows to be committed.
    pub committed: Option<LogId>,
    /// The last entry that its machine has applied.
    pub applied: Option<LogId>,
}

impl Pulse {
    pub(crate) fn of<R: Runtime>(metrics: &RaftMetrics<Types<R>>) -> Self {
        let members = &metrics.membership_config;
        let has_no_vote = || {
            members.nodes().any(|(id, _)| *id == metrics.id) && members.voter_ids().all(|id| id != metrics.id)
        };
        Self {
            role: role(metrics.state),
            is_learner: metrics.state == ServerState::Learner && has_no_vote(),
            term: metrics.current_term,
            leader: metrics.current_leader,
            committed: metrics.local_committed.map(Into::into),
            applied: metrics.last_applied.map(Into::into),
        }
    }
}

fn role(state: ServerState) -> Role {
    match state {
        ServerState::Learner => Role::Learner,
        ServerState::Follower => Role::Follower,
        ServerState::Candidate => Role::Candidate,
        ServerState::Leader => Role::Leader,
        ServerState::Shutdown => Role::Stopped,
    }
}

impl Status {
    pub(crate) fn of<R: Runtime>(metrics: &RaftMetrics<Types<R>>) -> Self {
        Self {
            id: metrics.id,
            role: role(metrics.state),
            term: metrics.current_term,
            leader: metrics.current_leader,
            last: metrics.last_log_index,
            committed: metrics.local_committed.map(Into::into),
            applied: metrics.last_applied.map(Into::into),
            snapshot: metrics.snapshot.map(Into::into),
            purged: metrics.purged.map(Into::into),
            members: metrics.membership_config.nodes().map(|(id, m)| (*id, m.clone())).collect(),
            voters: metrics.membership_config.voter_ids().collect(),
            matching: metrics
                .replication
                .iter()
                .flatten()
                .map(|(id, matching)| (*id, matching.map(Into::into)))
                .collect(),
            stopped: metrics.running_state.as_ref().err().map(ToString::to_string),
        }
    }
}

/// Follows a node's status.
pub struct Watch<R: Runtime> {
    pub(crate) metrics: WatchReceiverOf<Types<R>, RaftMetrics<Types<R>>>,
}

impl<R: Runtime> Watch<R> {
    /// The status now.
    pub fn status(&mut self) -> Status {
        Status::of(&*self.metrics.borrow_and_update())
    }

    /// Waits until it is another one than `status` gave last; `false` once the node has stopped.
    pub async fn changed(&mut self) -> bool {
        self.metrics.changed().await.is_ok()
    }

    /// Waits until `wanted` is true of it; `None` once the node has stopped.
    pub async fn until(&mut self, mut wanted: impl FnMut(&Status) -> bool + Send) -> Option<Status> {
        loop {
            let status = self.status();
            if wanted(&status) {
                return Some(status);
            }
            if status.stopped.is_some() || !self.changed().await {
                return None;
            }
        }
    }
}
