//! A member under Raft: what the services ask of it, at this member or by way of the leader.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use kv_api::Fault;
use kv_api::kvpb::{Command, Header, command::Change};
use kv_core::{Caller, Reply};
use kv_raft::{
    Config, InitializeError, LogId, LogStore, Network, Node, NodeId, ProposeError, ReadError, Runtime,
    SendError,
};
use prost::Message as _;
use tokio::time::Instant;

use super::ask::{self, Answer, Ask, Refusal};
use super::barrier::Barrier;
use super::{Applying, Waiting};
use crate::consensus::{Consensus, Pending, Place, Status};
use crate::error::Error;
use crate::machine::Shared;

/// Bytes of commands that may be under way; what comes then is told to come later.
const QUEUE_BYTES: u64 = 64 << 20;

/// The way to the other members: Raft's own messages ([`Network::send`], answered by
/// [`Replica::handle`]), and questions to the leader, answered by [`Replica::answer`].
pub trait Peers: Network {
    /// Sends a question, and brings its answer. As [`Network::send`].
    fn ask(
        &self,
        target: NodeId,
        member: &kv_raft::Member,
        request: Bytes,
    ) -> impl Future<Output = Result<Bytes, SendError>> + Send;

    /// Who the members are now, and who was removed and is not to be heard any more.
    fn told(&self, _members: &BTreeMap<NodeId, kv_raft::Member>, _removed: &BTreeSet<NodeId>) {}
}

/// What a member says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Me {
    /// Its name.
    pub name: String,
    /// Where clients reach it.
    pub client_urls: Vec<String>,
}

/// A member. Its clones are the same one.
pub struct Replica<R: Runtime, N: Peers> {
    pub(super) inner: Arc<Inner<R, N>>,
}

impl<R: Runtime, N: Peers> Clone for Replica<R, N> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<R: Runtime, N: Peers> std::fmt::Debug for Replica<R, N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replica").field("id", &self.inner.node.id()).finish_non_exhaustive()
    }
}

pub(super) struct Inner<R: Runtime, N: Peers> {
    pub(super) node: Node<R, Applying, N>,
    pub(super) shared: Shared,
    pub(super) peers: N,
    pub(super) me: Me,
    /// How long a request may take (etcd: 5 s and two elections).
    pub(super) request: Duration,
    pub(super) election: Duration,
    applying: Applying,
    waiting: Waiting,
    /// For reads, at any member.
    reads: Barrier,
    /// For what only the leader knows: that this member leads still.
    leads: Barrier,
    under_way: AtomicU64,
}

impl<R: Runtime, N: Peers> Replica<R, N> {
    /// Starts a member on its log and its state, where it left off. `initial` are the members of a
    /// cluster that begins, the same at each of them; they count only while the log is empty.
    /// `waiting` is that of the machine in `applying`.
    ///
    /// # Errors
    /// [`Error::Raft`].
    pub async fn start<L: LogStore>(
        config: Config,
        log: L,
        applying: Applying,
        waiting: Waiting,
        peers: N,
        me: Me,
        initial: Option<BTreeMap<NodeId, kv_raft::Member>>,
    ) -> Result<Self, Error> {
        let raft = |error: &dyn std::fmt::Display| Error::Raft(error.to_string());
        let (request, election) = (config.request, config.election);
        let shared = applying.lock().shared();
        let node = Node::start(config, log, applying.clone(), peers.clone()).await.map_err(|e| raft(&e))?;
        if let Some(initial) = initial {
            match node.initialize(initial).await {
                Ok(()) | Err(InitializeError::Already(_)) => {}
                Err(error) => return Err(raft(&error)),
            }
        }
        let reads = Barrier::new::<R, _>(request, {
            let node = node.clone();
            move || {
                let node = node.clone();
                async move {
                    let until = Instant::now() + request;
                    loop {
                        match node.read_index().await {
                            Ok(_) => return Ok(()),
                            Err(ReadError::NotLeader { .. }) if Instant::now() < until => {}
                            Err(error) => return Err(read_fault(&error)),
                        }
                    }
                }
            }
        });
        let leads = Barrier::new::<R, _>(request, {
            let node = node.clone();
            move || {
                let node = node.clone();
                async move {
                    match node.read_index_here().await {
                        // One that has just begun may not have applied what the one before did.
                        Ok(wanted) => until_applied(&node, wanted, request).await,
                        Err(ReadError::NotLeader { .. }) => Err(Fault::NotLeader),
                        Err(error) => Err(read_fault(&error)),
                    }
                }
            }
        });
        let inner = Inner {
            node,
            shared,
            peers,
            me,
            request,
            election,
            applying,
            waiting,
            reads,
            leads,
            under_way: AtomicU64::new(0),
        };
        let replica = Self { inner: Arc::new(inner) };
        R::spawn(replica.clone().steer());
        R::spawn(replica.clone().publish());
        Ok(replica)
    }

    /// Answers a Raft message of another member.
    pub async fn handle(&self, request: Bytes) -> Bytes {
        self.inner.node.handle(request).await
    }

    /// Answers another member's question to the leader.
    pub async fn answer(&self, request: Bytes) -> Bytes {
        let outcome = match ask::Request::decode(request) {
            Ok(ask::Request { ask: Some(ask) }) => self.answer_here(&ask).await,
            Ok(_) | Err(_) => Err(Refusal::Fault(Fault::NotCapable)),
        };
        Answer::of(outcome).encode_to_vec().into()
    }

    /// The state machine.
    pub fn applying(&self) -> &Applying {
        &self.inner.applying
    }

    /// The way to the other members.
    pub fn peers(&self) -> &N {
        &self.inner.peers
    }

    /// Raft's own face.
    pub fn raft(&self) -> &Node<R, Applying, N> {
        &self.inner.node
    }

    /// Returns when the member can go on no more, with the reason.
    pub async fn ended(&self) -> String {
        let mut watch = self.inner.node.watch();
        let stopped = watch.until(|status| status.stopped.is_some()).await;
        stopped.and_then(|status| status.stopped).unwrap_or_else(|| "raft was shut down".to_owned())
    }

    /// Stops Raft. The state can be made durable after that.
    pub async fn shutdown(&self) {
        self.inner.node.shutdown().await;
    }

    /// Proposes whatever part this member has.
    pub(super) async fn change(&self, mut command: Command) -> Result<Reply, Fault> {
        let inner = &*self.inner;
        let mut ticket = inner.waiting.ticket();
        command.request_id = ticket.id();
        let payload = command.encode_to_vec();
        let bytes = payload.len() as u64;
        if inner.under_way.load(Ordering::Relaxed) + bytes > QUEUE_BYTES {
            return Err(Fault::RequestTooManyRequests);
        }
        inner.under_way.fetch_add(bytes, Ordering::Relaxed);
        let _less = Less(&inner.under_way, bytes);
        let until = Instant::now() + inner.request;
        let payload = Bytes::from(payload);
        loop {
            let proposed = inner.node.propose(payload.clone());
            let done = tokio::select! {
                biased;
                // Applied here is committed anyway.
                reply = ticket.reply() => return reply.ok_or(Fault::Stopped),
                done = proposed => done,
            };
            match done {
                Ok(_) => break,
                // Nothing was logged, so it may be tried again.
                Err(ProposeError::NotLeader { .. }) if Instant::now() < until => {}
                Err(error) => return Err(propose_fault(&error)),
            }
        }
        // The leader has applied it, and so will this member.
        match tokio::time::timeout(inner.request, ticket.reply()).await {
            Ok(reply) => reply.ok_or(Fault::Stopped),
            Err(_) => Err(Fault::TimeoutWaitAppliedIndex),
        }
    }

    /// The barrier of what only the leader knows.
    pub(super) async fn check_lead(&self) -> Result<(), Refusal> {
        self.inner.leads.pass().await.map_err(|fault| match fault {
            Fault::NotLeader => Refusal::NotLeader,
            fault => Refusal::Fault(fault),
        })
    }

    /// Asks the leader, whichever member that is, and waits for one if there is none.
    async fn ask(&self, ask: Ask) -> Result<Answer, Fault> {
        let inner = &*self.inner;
        let until = Instant::now() + inner.request;
        loop {
            let outcome = match inner.node.pulse().leader {
                Some(leader) if leader == inner.node.id() => self.answer_here(&ask).await,
                Some(leader) => self.ask_other(leader, &ask).await,
                None => Err(Refusal::NotLeader),
            };
            match outcome {
                Ok(answer) => return Ok(answer),
                Err(Refusal::Fault(fault)) => return Err(fault),
                Err(Refusal::NotLeader) if Instant::now() < until => {
                    tokio::time::sleep(inner.election / 100).await;
                }
                Err(Refusal::NotLeader) => return Err(Fault::Timeout),
            }
        }
    }

    async fn ask_other(&self, leader: NodeId, ask: &Ask) -> Result<Answer, Refusal> {
        let inner = &*self.inner;
        let status = inner.node.status();
        let Some(member) = status.members.get(&leader) else { return Err(Refusal::NotLeader) };
        let request = ask::Request { ask: Some(ask.clone()) }.encode_to_vec();
        let asked = inner.peers.ask(leader, member, request.into());
        match tokio::time::timeout(inner.request, asked).await {
            Ok(Ok(bytes)) => {
                ask::Response::decode(bytes).map_err(|_| Refusal::Fault(Fault::Unhealthy))?.outcome()
            }
            Ok(Err(SendError::Unreachable(_))) => Err(Refusal::NotLeader),
            // To keep alive twice is as good as once.
            Ok(Err(SendError::Broken(_))) if matches!(ask, Ask::KeepAlive(_) | Ask::Left(_)) => {
                Err(Refusal::NotLeader)
            }
            Ok(Err(SendError::Broken(_))) => Err(Fault::TimeoutDueToConnectionLost.into()),
            Err(_) => Err(Fault::Timeout.into()),
        }
    }

    fn is_learner(&self) -> bool {
        self.inner.node.pulse().is_learner
    }
}

/// Waits until a member's state has an entry.
async fn until_applied<R: Runtime, N: Peers>(
    node: &Node<R, Applying, N>,
    wanted: LogId,
    limit: Duration,
) -> Result<(), Fault> {
    if node.pulse().applied >= Some(wanted) {
        return Ok(());
    }
    let mut watch = node.watch();
    let applied = watch.until(|status| status.applied >= Some(wanted));
    match tokio::time::timeout(limit, applied).await {
        Ok(Some(_)) => Ok(()),
        Ok(None) => Err(Fault::Stopped),
        Err(_) => Err(Fault::TimeoutWaitAppliedIndex),
    }
}

/// Takes bytes off again, also when a client has gone.
struct Less<'c>(&'c AtomicU64, u64);

impl Drop for Less<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(self.1, Ordering::Relaxed);
    }
}

impl<R: Runtime, N: Peers> Consensus for Replica<R, N> {
    fn propose(&self, command: Command) -> Pending<'_, Reply> {
        Box::pin(async move {
            if self.is_learner() {
                return Err(Fault::NotSupportedForLearner);
            }
            self.change(command).await
        })
    }

    fn read_barrier(&self) -> Pending<'_, ()> {
        Box::pin(async move {
            if self.is_learner() {
                return Err(Fault::NotSupportedForLearner);
            }
            self.inner.reads.pass().await
        })
    }

    fn status(&self) -> Status {
        let pulse = self.inner.node.pulse();
        let count = |id: Option<LogId>| id.map_or(0, |id| id.index + 1);
        Status {
            term: pulse.term,
            leader: pulse.leader.unwrap_or(0),
            index: count(pulse.committed),
            applied: count(pulse.applied),
            is_learner: pulse.is_learner,
        }
    }

    fn places(&self) -> Vec<Place> {
        let status = self.inner.node.status();
        let place = |(id, member): (&NodeId, &kv_raft::Member)| Place {
            id: *id,
            peer_urls: member.urls.clone(),
            has_vote: status.voters.contains(id),
        };
        status.members.iter().map(place).collect()
    }

    fn ask_leader(&self, ask: Ask) -> Pending<'_, Answer> {
        Box::pin(self.ask(ask))
    }

    fn move_leader(&self, to: u64) -> Pending<'_, ()> {
        Box::pin(self.give_lead(to))
    }

    fn expire(&self, term: u64, lease: i64, caller: Caller) -> Pending<'_, ()> {
        let change = Change::LeaseRevoke(kv_api::etcdserverpb::LeaseRevokeRequest { id: lease });
        let header = Header { user: caller.user, auth_revision: caller.revision };
        let command = Command { header: Some(header), change: Some(change), ..Command::default() };
        Box::pin(async move {
            // Not by way of another leader, which has given the lease its whole time again.
            let proposed = self.inner.node.propose_in(term, command.encode_to_vec().into()).await;
            proposed.map(|_| ()).map_err(|error| propose_fault(&error))
        })
    }
}

/// What a client is told. A leader that is not found in time is a time that is over, as in etcd.
fn propose_fault(error: &ProposeError) -> Fault {
    match error {
        ProposeError::NotLeader { .. } | ProposeError::Timeout => Fault::Timeout,
        ProposeError::Unknown { .. } => Fault::TimeoutDueToLeaderFail,
        ProposeError::Stopped(_) => Fault::Stopped,
    }
}

fn read_fault(error: &ReadError) -> Fault {
    match error {
        ReadError::NotLeader { .. } | ReadError::Timeout => Fault::Timeout,
        ReadError::Stopped(_) => Fault::Stopped,
    }
}
