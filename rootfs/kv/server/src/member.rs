//! What all services of a member share.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use kv_api::Fault;
use kv_api::etcdserverpb::alarm_request::AlarmAction;
use kv_api::etcdserverpb::{AlarmRequest, AlarmType, ResponseHeader};
use kv_api::kvpb::{Command, Header, command::Change};
use kv_core::{Caller, Outcome, View};
use prost::Message as _;
use tonic::Status;

use crate::consensus::Consensus;
use crate::identity::Identity;
use crate::limits::Limits;
use crate::machine::Shared;
use crate::metrics;
use crate::quota::Quota;
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
    /// How large the store may be.
    pub quota: Arc<Quota>,
    /// Which pages in browsers may read it.
    pub origins: Arc<[String]>,
    /// What is too much for it.
    pub limits: Limits,
}

impl std::fmt::Debug for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Member").field("identity", &self.identity).finish_non_exhaustive()
    }
}

impl Member {
    /// The header of an answer as of a revision.
    pub fn header(&self, revision: i64) -> ResponseHeader {
        let status = self.consensus.status();
        metrics::leader_seen(status.leader);
        ResponseHeader {
            cluster_id: self.identity.cluster,
            member_id: self.identity.member,
            revision,
            raft_term: status.term,
        }
    }

    /// The header of an answer about nothing in particular.
    pub fn header_now(&self) -> ResponseHeader {
        self.header(self.shared.hub.revision())
    }

    /// Makes a change that nobody in particular asks for. While authentication is on, changes of keys,
    /// leases that have some, users and roles are refused then: see [`Member::change_as`].
    pub async fn change(&self, change: Change) -> Result<(i64, Outcome), Status> {
        self.change_as(Caller::default(), change).await
    }

    /// Makes a change, if the caller may; returns the store's revision after it, and what came of it.
    pub async fn change_as(&self, caller: Caller, change: Change) -> Result<(i64, Outcome), Status> {
        let nobody = caller == Caller::default();
        let header = Header { user: caller.user, auth_revision: caller.revision };
        let header = Some(header).filter(|_| !nobody);
        let command = Command { header, change: Some(change), ..Command::default() };
        if command.encoded_len() > self.limits.request_bytes {
            return Err(Fault::RequestTooLarge.into());
        }
        metrics::PROPOSALS_BEGUN.add(1);
        let counted = Counted;
        let reply = self.consensus.propose(command).await;
        drop(counted);
        let reply = reply.inspect_err(|_| metrics::PROPOSALS_FAILED.add(1))?;
        match reply.result {
            Ok(outcome) => Ok((reply.revision, outcome)),
            Err(refusal) => Err(wire::fault(refusal).into()),
        }
    }

    /// Refuses what would make the store larger by so many bytes while the alarm for that is raised, or
    /// if it is over the quota then: that raises the alarm.
    pub async fn check_room(&self, bytes: u64) -> Result<(), Status> {
        if self.shared.no_space.load(Ordering::Relaxed) {
            return Err(Fault::NoSpace.into());
        }
        let in_use = self.shared.sizes.borrow().in_use;
        if self.quota.has_room(&self.shared.source, in_use, bytes) {
            return Ok(());
        }
        let alarm = AlarmRequest {
            action: AlarmAction::Activate.into(),
            member_id: self.identity.member,
            alarm: AlarmType::Nospace.into(),
        };
        self.change(Change::Alarm(alarm)).await?;
        Err(Fault::NoSpace.into())
    }

    /// The state, with all that was acknowledged before the call, or, serializable, as this member has it.
    pub async fn view(&self, serializable: bool) -> Result<View, Status> {
        if !serializable {
            self.consensus.read_barrier().await.inspect_err(|_| metrics::READS_FAILED.add(1))?;
        }
        self.shared.source.view().map_err(broken)
    }
}

/// A command that is counted as ended when this is dropped.
struct Counted;

impl Drop for Counted {
    fn drop(&mut self) {
        metrics::PROPOSALS_ENDED.add(1);
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
