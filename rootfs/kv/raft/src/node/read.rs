//! The barrier before a linearizable read.

use openraft::errors::{LinearizableReadError, RaftError};
use openraft::raft::ReadPolicy;
use openraft::type_config::TypeConfigExt;

use super::Node;
use crate::error::ReadError;
use crate::network::Failure;
use crate::types::Types;
use crate::wire::{self, Answer, Ask};
use crate::{LogId, Machine, Network, NodeId, Runtime};

impl<R: Runtime, M: Machine, N: Network> Node<R, M, N> {
    /// Waits until this member's machine has all that was acknowledged anywhere before the call,
    /// and gives the entry up to which it has: a read of the machine is linearizable then.
    ///
    /// A member that does not lead asks the leader for the entry; the leader hears from a majority
    /// before it answers (`ReadIndex`, Raft dissertation 6.4), and relies on no clock.
    ///
    /// While nobody leads, it waits as long as an election may take.
    pub async fn read_index(&self) -> Result<LogId, ReadError> {
        let until = Types::<R>::now() + self.election * 2;
        let wanted = loop {
            match self.read_index_anywhere().await {
                Err(ReadError::NotLeader { .. }) if Types::<R>::now() < until => {
                    Types::<R>::sleep(self.election / 100).await;
                }
                wanted => break wanted?,
            }
        };
        let mut watch = self.watch();
        let applied = watch.until(|s| s.applied.is_some_and(|id| id.index >= wanted.index));
        match Types::<R>::timeout(self.request, applied).await {
            Ok(Some(_)) => Ok(wanted),
            Ok(None) => Err(ReadError::Stopped("it was shut down".to_owned())),
            Err(_) => Err(ReadError::Timeout),
        }
    }

    async fn read_index_anywhere(&self) -> Result<LogId, ReadError> {
        match self.read_index_here().await {
            Err(ReadError::NotLeader { leader: Some(leader) }) if leader != self.id() => {
                self.ask_read_index(leader).await
            }
            wanted => wanted,
        }
    }

    /// At the leader: the entry that a read of now must have. So this member led after the call.
    pub async fn read_index_here(&self) -> Result<LogId, ReadError> {
        let asked = self.raft().get_read_linearizer(ReadPolicy::ReadIndex);
        match Types::<R>::timeout(self.request, asked).await {
            Err(_) => Err(ReadError::Timeout),
            Ok(Ok(found)) => Ok((*found.read_log_id().log_id()).into()),
            Ok(Err(RaftError::Fatal(error))) => Err(ReadError::Stopped(error.to_string())),
            Ok(Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(to)))) => {
                Err(ReadError::NotLeader { leader: to.leader_id })
            }
            Ok(Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_)))) => {
                Err(ReadError::Timeout)
            }
        }
    }

    async fn ask_read_index(&self, leader: NodeId) -> Result<LogId, ReadError> {
        let Some(way) = self.way(leader) else {
            return Err(ReadError::NotLeader { leader: Some(leader) });
        };
        match way.ask::<R>(Ask::ReadIndex(wire::Empty {}), self.request).await {
            Ok(Answer::ReadIndex(id)) => Ok(id.into()),
            Ok(Answer::NotLeader(to)) => Err(ReadError::NotLeader { leader: to.leader }),
            Err(Failure::Unreachable(_)) => Err(ReadError::NotLeader { leader: Some(leader) }),
            Ok(_) | Err(Failure::Other(_)) => Err(ReadError::Timeout),
        }
    }
}
