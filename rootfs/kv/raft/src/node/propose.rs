//! Commands: from a proposal to its reply.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use openraft::errors::{ClientWriteError, Fatal};
use openraft::impls::{ProgressResponder, leader_id_std};
use openraft::type_config::TypeConfigExt;
use openraft::vote::RaftLeaderId;

use super::Node;
use crate::error::ProposeError;
use crate::network::Failure;
use crate::types::{Payload, Types};
use crate::wire::{self, Answer, Ask};
use crate::{LogId, Machine, Network, Runtime};

/// An acknowledged command: its entry is on the disks of a majority, and applied here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposed {
    /// Its entry.
    pub id: LogId,
    /// What the machine replied.
    pub reply: Bytes,
}

impl<R: Runtime, M: Machine, N: Network> Node<R, M, N> {
    /// Proposes a command at this member, which must lead, and have heard from a majority in the time
    /// of an election: otherwise it is refused as by one that does not lead. Commands that are proposed at the same
    /// time go to the disk together.
    ///
    /// It is proposed once: after `Unknown`, `Timeout` and `Stopped` it may be applied, or may be
    /// later, but never twice.
    pub async fn propose_here(&self, command: Bytes) -> Result<Proposed, ProposeError> {
        self.propose_once(None, command).await
    }

    /// Proposes at this member as the leader of `term`: if it leads another one by then, the command
    /// is refused. As [`Node::propose_here`] otherwise.
    pub async fn propose_in(&self, term: u64, command: Bytes) -> Result<Proposed, ProposeError> {
        self.propose_once(Some(term), command).await
    }

    /// Proposes as the leader, of that term alone where one is given.
    ///
    /// openraft refuses while a majority has not answered the leader for an election's time, also at
    /// the start of its lead: a lead that is new is confirmed a moment later.
    pub(super) async fn propose_once(
        &self,
        term: Option<u64>,
        command: Bytes,
    ) -> Result<Proposed, ProposeError> {
        let (responder, done) = ProgressResponder::complete_only();
        let mut write = self.raft().write(Payload(command)).responder(responder);
        if let Some(term) = term {
            write = write.with_leader(leader_id_std::LeaderId::new(term, 0).to_committed());
        }
        let stopped = |error: Fatal<Types<R>>| ProposeError::Stopped(error.to_string());
        let written = async {
            write.await.map_err(stopped)?;
            // The sender is gone where Raft has stopped.
            done.await.map_err(|_| ProposeError::Stopped("it was shut down".to_owned()))
        };
        match Types::<R>::timeout(self.request, written).await {
            Err(_) => Err(ProposeError::Timeout),
            Ok(Err(error)) => Err(error),
            Ok(Ok(Ok(done))) => Ok(Proposed { id: done.log_id.into(), reply: done.data }),
            Ok(Ok(Err(ClientWriteError::ForwardToLeader(to)))) => {
                Err(ProposeError::NotLeader { leader: to.leader_id })
            }
            Ok(Ok(Err(ClientWriteError::LogEntryDiscarded(to)))) => {
                Err(ProposeError::Unknown { leader: to.leader_id })
            }
            // A command without conditions that is no change of members has no other.
            Ok(Ok(Err(error))) => Err(ProposeError::Stopped(error.to_string())),
        }
    }

    /// Proposes a command, by way of the leader where this member is not it. While nobody leads, it
    /// waits as long as an election may take. As [`Node::propose_here`] otherwise.
    pub async fn propose(&self, command: Bytes) -> Result<Proposed, ProposeError> {
        let until = Types::<R>::now() + self.election * 2;
        loop {
            match self.propose_anywhere(command.clone()).await {
                // Nothing was logged, so it may be tried again.
                Err(ProposeError::NotLeader { .. }) if Types::<R>::now() < until => {
                    Types::<R>::sleep(self.election / 100).await;
                }
                done => return done,
            }
        }
    }

    async fn propose_anywhere(&self, command: Bytes) -> Result<Proposed, ProposeError> {
        let leader = match self.propose_once(None, command.clone()).await {
            Err(ProposeError::NotLeader { leader: Some(leader) }) if leader != self.id() => leader,
            done => return done,
        };
        let Some(way) = self.way(leader) else {
            return Err(ProposeError::NotLeader { leader: Some(leader) });
        };
        let ask = Ask::Propose(wire::Propose {
            term: self.term(),
            life: self.shared.life,
            number: self.shared.numbers.fetch_add(1, Ordering::Relaxed),
            command,
        });
        match way.ask::<R>(ask, self.request).await {
            Ok(Answer::Proposed(wire::Proposed { id: Some(id), reply })) => {
                Ok(Proposed { id: id.into(), reply })
            }
            Ok(Answer::NotLeader(wire::NotLeader { leader, unknown: false })) => {
                Err(ProposeError::NotLeader { leader })
            }
            Ok(Answer::NotLeader(wire::NotLeader { leader, .. })) => Err(ProposeError::Unknown { leader }),
            Err(Failure::Unreachable(_)) => Err(ProposeError::NotLeader { leader: Some(leader) }),
            Ok(_) | Err(Failure::Other(_)) => Err(ProposeError::Unknown { leader: Some(leader) }),
        }
    }
}
