//! Changes of the members and of the leader.

use std::collections::{BTreeMap, BTreeSet};

use openraft::ChangeMembers;
use openraft::errors::{ChangeMembershipError, ClientWriteError, RaftError};
use openraft::type_config::TypeConfigExt;

use super::{Node, stopped};
use crate::error::ChangeError;
use crate::status::Role;
use crate::types::Types;
use crate::{Machine, Member, Network, NodeId, Runtime};

impl<R: Runtime, M: Machine, N: Network> Node<R, M, N> {
    /// Adds a member without a vote. Returns when the entry about it is committed: the member may
    /// have everything to learn still (see [`Status::matching`]). At the leader.
    pub async fn add_learner(&self, id: NodeId, member: Member) -> Result<(), ChangeError> {
        if self.status().members.contains_key(&id) {
            return Err(ChangeError::Refused(format!("member {id:x} exists already")));
        }
        self.change(ChangeMembers::AddNodes(BTreeMap::from([(id, member)]))).await
    }

    /// Gives a learner a vote. Returns when the change is committed. At the leader.
    pub async fn promote(&self, id: NodeId) -> Result<(), ChangeError> {
        let status = self.status();
        if status.voters.contains(&id) {
            return Err(ChangeError::Refused(format!("member {id:x} has a vote already")));
        }
        if !status.members.contains_key(&id) {
            return Err(ChangeError::Refused(format!("there is no member {id:x}")));
        }
        self.change(ChangeMembers::AddVoterIds(BTreeSet::from([id]))).await
    }

    /// Removes a member, also a dead one. A leader that removes itself gives its place away first
    /// or soon after. At the leader.
    pub async fn remove(&self, id: NodeId) -> Result<(), ChangeError> {
        let status = self.status();
        if !status.members.contains_key(&id) {
            return Err(ChangeError::Refused(format!("there is no member {id:x}")));
        }
        if status.voters.len() == 1 && status.voters.contains(&id) {
            return Err(ChangeError::Refused(format!("member {id:x} is the last one with a vote")));
        }
        let one = BTreeSet::from([id]);
        self.change(if status.voters.contains(&id) {
            ChangeMembers::RemoveVoters(one)
        } else {
            ChangeMembers::RemoveNodes(one)
        })
        .await
    }

    /// Gives a member other addresses. At the leader.
    pub async fn update(&self, id: NodeId, member: Member) -> Result<(), ChangeError> {
        if !self.status().members.contains_key(&id) {
            return Err(ChangeError::Refused(format!("there is no member {id:x}")));
        }
        self.change(ChangeMembers::SetNodes(BTreeMap::from([(id, member)]))).await
    }

    async fn change(&self, change: ChangeMembers<NodeId, Member>) -> Result<(), ChangeError> {
        // `false`: a voter that is removed does not stay as a learner.
        match Types::<R>::timeout(self.request, self.raft().change_membership(change, false)).await {
            Err(_) => Err(ChangeError::Timeout),
            Ok(Ok(_)) => Ok(()),
            Ok(Err(RaftError::Fatal(error))) => Err(ChangeError::Stopped(error.to_string())),
            Ok(Err(RaftError::APIError(error))) => Err(change_error::<R>(error)),
        }
    }

    /// Gives the lead to `to`, a voter, and waits until this member follows it. At the leader.
    pub async fn transfer_leader(&self, to: NodeId) -> Result<(), ChangeError> {
        let status = self.status();
        if status.leader == Some(to) {
            return Ok(());
        }
        if status.role != Role::Leader {
            return Err(ChangeError::NotLeader { leader: status.leader });
        }
        if !status.voters.contains(&to) {
            return Err(ChangeError::Refused(format!("member {to:x} has no vote")));
        }
        self.raft().trigger().transfer_leader(to).await.map_err(|e| stopped::<R>(&e))?;
        let mut watch = self.watch();
        let led = watch.until(|s| s.leader == Some(to));
        match Types::<R>::timeout(self.request, led).await {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(ChangeError::Stopped("it was shut down".to_owned())),
            Err(_) => Err(ChangeError::Timeout),
        }
    }
}

fn change_error<R: Runtime>(error: ClientWriteError<Types<R>>) -> ChangeError {
    match error {
        ClientWriteError::ForwardToLeader(to) => ChangeError::NotLeader { leader: to.leader_id },
        ClientWriteError::LogEntryDiscarded(_) => ChangeError::Unknown,
        ClientWriteError::ChangeMembershipError(ChangeMembershipError::InProgress(other)) => {
            match other.membership_log_id {
                Some(at) => ChangeError::InProgress { at: at.into() },
                None => ChangeError::Refused(other.to_string()),
            }
        }
        error => ChangeError::Refused(error.to_string()),
    }
}
