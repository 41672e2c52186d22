//! One member of a cluster.

mod change;
mod propose;
mod read;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use openraft::Raft;
use openraft::errors::{Fatal, InitializeError as RaftInitialize, RaftError};
use openraft::type_config::TypeConfigExt;
use openraft_rt::AsyncRuntime;
use openraft_rt::watch::WatchReceiver;
use prost::Message;
use rand_core::Rng;

pub use self::propose::Proposed;
use crate::error::{ChangeError, InitializeError, ProposeError, ReadError, StartError, WireError};
use crate::inbox::{Inbox, encode};
use crate::log::Store;
use crate::machine::{Applier, Pressure, lock};
use crate::network::{Shared, Way, Ways};
use crate::once::Once;
use crate::status::{Pulse, Status, Watch};
use crate::types::Types;
use crate::wire::{self, Answer, Ask};
use crate::{Config, LogStore, Machine, Member, Network, NodeId, Runtime};

/// One member. Its clones are the same member.
pub struct Node<R: Runtime, M: Machine, N: Network> {
    inbox: Arc<Inbox<R, M>>,
    shared: Arc<Shared<N>>,
    request: Duration,
    election: Duration,
    pressure: Arc<Pressure>,
    once: Arc<Mutex<Once>>,
    /// The term of the vote that it started with: what it said in terms up to there, it forgot.
    first_term: u64,
}

impl<R: Runtime, M: Machine, N: Network> Clone for Node<R, M, N> {
    fn clone(&self) -> Self {
        Self {
            inbox: Arc::clone(&self.inbox),
            shared: Arc::clone(&self.shared),
            request: self.request,
            election: self.election,
            pressure: Arc::clone(&self.pressure),
            once: Arc::clone(&self.once),
            first_term: self.first_term,
        }
    }
}

impl<R: Runtime, M: Machine, N: Network> Node<R, M, N> {
    /// Starts a member on its log and machine, where it left off. A new one waits for
    /// [`Node::initialize`], or for a leader that has added it.
    pub async fn start<L: LogStore>(
        config: Config,
        log: L,
        machine: M,
        network: N,
    ) -> Result<Self, StartError> {
        let raft_config = Arc::new(config.raft()?);
        let shared = Arc::new(Shared {
            id: config.id,
            cluster: config.cluster,
            network,
            append: config.heartbeat.saturating_mul(5),
            chunk: config.chunk,
            chunk_bytes: config.chunk_bytes,
            life: R::Async::thread_rng().next_u64(),
            numbers: AtomicU64::new(0),
        });
        let first_term = log.state().map_err(|e| StartError::Storage(e.to_string()))?;
        let first_term = first_term.vote.map_or(0, |vote| vote.term);
        let pressure = Arc::new(Pressure::new(config.snapshot_bytes));
        let applier = Applier::<R, M>::new(machine, Arc::clone(&pressure))
            .map_err(|e| StartError::Storage(e.to_string()))?;
        let store = Store::<R, L>::new(log, config.append_bytes);
        let raft = Raft::new(config.id, raft_config, Ways(Arc::clone(&shared)), store, applier)
            .await
            .map_err(|e| StartError::Storage(e.to_string()))?;
        let inbox = Arc::new(Inbox::new(raft, config.spool));
        let node = Self {
            inbox,
            shared,
            request: config.request,
            election: config.election,
            pressure,
            once: Arc::default(),
            first_term,
        };
        node.clone().snapshot_when_full();
        Ok(node)
    }

    /// Makes a snapshot whenever the commands since the last one have too many bytes.
    fn snapshot_when_full(self) {
        drop(Types::<R>::spawn(async move {
            let mut watch = self.watch();
            loop {
                let full = std::pin::pin!(self.pressure.full.notified());
                let stopped = std::pin::pin!(watch.until(|_| false));
                match futures_util::future::select(full, stopped).await {
                    futures_util::future::Either::Left(_) => {
                        if self.snapshot().await.is_err() {
                            return;
                        }
                    }
                    futures_util::future::Either::Right(_) => return,
                }
            }
        }));
    }

    fn raft(&self) -> &Raft<Types<R>, Applier<R, M>> {
        &self.inbox.raft
    }

    /// This member's number.
    pub fn id(&self) -> NodeId {
        self.shared.id
    }

    /// Begins a new cluster of `members`, this one among them. May be called on each of them with
    /// the same members, and again after a restart: it is not flushed when this returns.
    pub async fn initialize(&self, members: BTreeMap<NodeId, Member>) -> Result<(), InitializeError> {
        if members.is_empty() {
            return Err(InitializeError::Members("there is no member".to_owned()));
        }
        self.raft().initialize(members).await.map_err(|error| match error {
            RaftError::APIError(RaftInitialize::NotAllowed(_)) => InitializeError::Already(self.id()),
            RaftError::APIError(RaftInitialize::NotInMembers(_)) => InitializeError::NotMember(self.id()),
            RaftError::Fatal(error) => InitializeError::Stopped(error.to_string()),
        })
    }

    fn way(&self, target: NodeId) -> Option<Way<N>> {
        let member = self.status().members.get(&target)?.clone();
        Some(Way { shared: Arc::clone(&self.shared), target, member })
    }

    /// Answers a request of another member.
    pub async fn handle(&self, request: Bytes) -> Bytes {
        encode(match self.handled(request).await {
            Ok(answer) => answer,
            Err(error) => Answer::Failed(error),
        })
    }

    async fn handled(&self, request: Bytes) -> Result<Answer, String> {
        let request = wire::Request::decode(request).map_err(|e| WireError::from(e).to_string())?;
        if request.cluster != self.shared.cluster {
            return Err(format!(
                "this is a member of cluster {:x}, not of {:x}: an old address of a peer?",
                self.shared.cluster, request.cluster
            ));
        }
        if request.to != self.id() {
            return Err(format!(
                "this is member {:x}, not {:x}: its address has changed",
                self.id(),
                request.to
            ));
        }
        let not_leader = |leader, unknown| Answer::NotLeader(wire::NotLeader { leader, unknown });
        match request.ask {
            None => Err("a request that this version does not know".to_owned()),
            Some(Ask::ReadIndex(_)) => match self.read_index_here().await {
                Ok(id) => Ok(Answer::ReadIndex(id.into())),
                Err(ReadError::NotLeader { leader }) => Ok(not_leader(leader, false)),
                Err(error) => Err(error.to_string()),
            },
            Some(Ask::Propose(wire::Propose { term, life, number, command })) => {
                if !lock(&self.once).first(term, request.from, life, number) {
                    return Err("this proposal came before".to_owned());
                }
                match self.propose_once(Some(term), command).await {
                    Ok(Proposed { id, reply }) => {
                        Ok(Answer::Proposed(wire::Proposed { id: Some(id.into()), reply }))
                    }
                    // Another copy of the request may have come before a restart.
                    Err(ProposeError::NotLeader { leader }) => {
                        Ok(not_leader(leader, term <= self.first_term))
                    }
                    Err(ProposeError::Unknown { leader }) => Ok(not_leader(leader, true)),
                    Err(error) => Err(error.to_string()),
                }
            }
            Some(ask) => Ok(self.inbox.answer(request.from, ask).await),
        }
    }

    /// The leader that this member follows, or is.
    pub fn leader(&self) -> Option<NodeId> {
        self.pulse().leader
    }

    /// This member's term.
    pub fn term(&self) -> u64 {
        self.pulse().term
    }

    /// What it knows now.
    pub fn status(&self) -> Status {
        self.watch().status()
    }

    /// The part of what it knows now that costs nothing to tell.
    pub fn pulse(&self) -> Pulse {
        Pulse::of::<R>(&self.raft().metrics().borrow_watched())
    }

    /// Follows what it knows.
    pub fn watch(&self) -> Watch<R> {
        Watch { metrics: self.raft().metrics() }
    }

    /// Begins a snapshot now; [`Status::snapshot`] tells when it is made.
    pub async fn snapshot(&self) -> Result<(), ChangeError> {
        self.raft().trigger().snapshot().await.map_err(|e| stopped::<R>(&e))
    }

    /// Stops all its tasks. What is not flushed yet may be or not.
    pub async fn shutdown(&self) {
        // An error says that a task had panicked, which stopped the node before.
        drop(self.raft().shutdown().await);
    }
}

fn stopped<R: Runtime>(error: &Fatal<Types<R>>) -> ChangeError {
    ChangeError::Stopped(error.to_string())
}
