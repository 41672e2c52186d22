//! What all services of a member share.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use kv_api::Fault;
use kv_api::etcdserverpb::ResponseHeader;
use kv_api::kvpb::{Command, command::Change};
use kv_core::{Outcome, View};
use tonic::Status;

use crate::consensus::Consensus;
use crate::identity::Identity;
use crate::machine::Shared;
use crate::wire;

/// The version of etcd whose API this is, for clients that choose by it.
pub const API_VERSION: &str = "3.6.0";

/// A member as its services see it; cheap to clone.
#[derive(Clone)]
pub struct Member {
    /// Who orders the commands.
    pub consensus: Arc<dyn Consensus>,
    /// The state's reading side.
    pub shared: Shared,
    /// Who this member is.
    pub identity: Arc<Identity>,
}

impl std::fmt::Debug for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Member").field("identity", &self.identity).finish_non_exhaustive()
    }
}

impl Member {
    /// The header of an answer as of a revision.
    pub fn header(&self, revision: i64) -> ResponseHeader {
        ResponseHeader {
            cluster_id: self.identity.cluster,
            member_id: self.identity.member,
            revision,
            raft_term: self.consensus.status().term,
        }
    }

    /// The header of an answer about nothing in particular.
    pub fn header_now(&self) -> ResponseHeader {
        self.header(self.shared.hub.revision())
    }

    /// Makes a change; returns the store's revision after it, and what came of it.
    pub async fn change(&self, change: Change) -> Result<(i64, Outcome), Status> {
        let command = Command { change: Some(change), ..Command::default() };
        let reply = self.consensus.propose(command).await?;
        match reply.result {
            Ok(outcome) => Ok((reply.revision, outcome)),
            Err(refusal) => Err(wire::fault(refusal).into()),
        }
    }

    /// Refuses what would make the store larger while the alarm for that is raised.
    pub fn check_room(&self) -> Result<(), Status> {
        if self.shared.no_space.load(Ordering::Relaxed) { Err(Fault::NoSpace.into()) } else { Ok(()) }
    }

    /// The state, with all that was acknowledged before the call, or, serializable, as this member has it.
    pub async fn view(&self, serializable: bool) -> Result<View, Status> {
        if !serializable {
            self.consensus.read_barrier().await?;
        }
        self.shared.source.view().map_err(broken)
    }
}

/// Reads on a thread that may wait for the disk. A runtime of one thread, as in a simulation, has no
/// other one: a thread's end has no place in simulated time.
pub async fn blocking<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, kv_core::Error> + Send + 'static,
) -> Result<T, Status> {
    if tokio::runtime::Handle::current().runtime_flavor() == tokio::runtime::RuntimeFlavor::CurrentThread {
        return read().map_err(broken);
    }
    let result = tokio::task::spawn_blocking(read).await;
    result.map_err(|_| Status::internal("the reader has ended: see the log of the member"))?.map_err(broken)
}

/// The database has failed.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
pub fn broken(error: kv_core::Error) -> Status {
    Status::data_loss(chain(&error))
}

/// The answer of a kind that the question was not of: a defect.
pub fn mixed_up() -> Status {
    Status::internal("the state machine has answered something else than was asked")
}

/// An error and its reasons on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text.push_str(": ");
        text.push_str(&error.to_string());
        next = error.source();
    }
    text
}
