//! A network in memory: requests and answers take time, get lost, come twice, overtake each other.

use std::collections::{BTreeMap, BTreeSet};
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::{Chance, Trace, spawn};
use crate::machine::lock;
use crate::network::{Network, SendError};
use crate::wire::{self, Ask};
use crate::{Member, NodeId};

/// How badly the network behaves. Rates are per mille of the messages.
#[derive(Clone, Copy, Debug)]
pub struct Faults {
    /// The least time on the way.
    pub least: Duration,
    /// The most, for all but the slow ones.
    pub most: Duration,
    /// How many are slow: ten times as long at most. So they overtake each other.
    pub slow: u64,
    /// How many are lost.
    pub drop: u64,
    /// How many requests come twice.
    pub duplicate: u64,
}

impl Faults {
    /// A good network.
    pub const NONE: Self = Self {
        least: Duration::from_micros(200),
        most: Duration::from_millis(2),
        slow: 0,
        drop: 0,
        duplicate: 0,
    };
    /// A bad one.
    pub const BAD: Self = Self {
        least: Duration::from_micros(200),
        most: Duration::from_millis(15),
        slow: 50,
        drop: 30,
        duplicate: 30,
    };
}

type Handler = Arc<dyn Fn(Bytes) -> Pin<Box<dyn Future<Output = Bytes> + Send>> + Send + Sync>;

struct State {
    chance: Chance,
    faults: Faults,
    /// From whom to whom nothing comes through.
    cut: BTreeSet<(NodeId, NodeId)>,
    members: BTreeMap<NodeId, (u64, Handler)>,
    lives: u64,
    /// Who sent entries or heartbeats as the leader of which term.
    leaders: BTreeMap<u64, BTreeSet<NodeId>>,
}

/// The network. Its clones are the same network.
#[derive(Clone)]
pub struct Net {
    state: Arc<Mutex<State>>,
    trace: Trace,
}

impl Net {
    /// A good network, whose chance is `chance`.
    pub fn new(chance: Chance, trace: Trace) -> Self {
        let state = State {
            chance,
            faults: Faults::NONE,
            cut: BTreeSet::new(),
            members: BTreeMap::new(),
            lives: 0,
            leaders: BTreeMap::new(),
        };
        Self { state: Arc::new(Mutex::new(state)), trace }
    }

    /// A new life of member `id`: what it sends is sent through the link. What it answers is set by
    /// [`Link::serve`].
    pub fn link(&self, id: NodeId) -> Link {
        let mut state = lock(&self.state);
        state.lives += 1;
        Link { net: self.clone(), id, life: state.lives }
    }

    /// Ends the life of member `id`: nothing that it sent is answered, nothing reaches it.
    pub fn detach(&self, id: NodeId) {
        lock(&self.state).members.remove(&id);
    }

    /// From now on the network behaves so.
    pub fn faults(&self, faults: Faults) {
        lock(&self.state).faults = faults;
    }

    /// Cuts the way from `from` to `to`; the other way is another.
    pub fn cut(&self, from: NodeId, to: NodeId) {
        lock(&self.state).cut.insert((from, to));
    }

    /// Heals all cuts.
    pub fn heal(&self) {
        lock(&self.state).cut.clear();
    }

    /// Who led which term, by what was sent.
    pub fn leaders(&self) -> BTreeMap<u64, BTreeSet<NodeId>> {
        lock(&self.state).leaders.clone()
    }

    /// The time that a message takes; `None` where it does not arrive.
    fn way(&self, from: NodeId, to: NodeId) -> Option<Duration> {
        let state = &mut *lock(&self.state);
        let faults = state.faults;
        let lost = state.chance.often(faults.drop);
        let most = if state.chance.often(faults.slow) { faults.most * 10 } else { faults.most };
        let delay = state.chance.time(faults.least, most);
        (!lost && !state.cut.contains(&(from, to))).then_some(delay)
    }

    fn alive(&self, id: NodeId, life: u64) -> bool {
        lock(&self.state).members.get(&id).is_some_and(|(l, _)| *l == life)
    }

    /// Carries one copy of a request, and its answer.
    async fn carry(
        self,
        from: NodeId,
        to: NodeId,
        request: Bytes,
        twice: bool,
        answer: oneshot::Sender<Result<Bytes, SendError>>,
    ) {
        let Some(delay) = self.way(from, to) else { return pending().await };
        sleep(delay).await;
        let target = lock(&self.state).members.get(&to).cloned();
        let Some((life, handler)) = target else {
            // Nothing is known where another copy may have arrived.
            let text = "nobody listens there".to_owned();
            let error = if twice { SendError::Broken(text) } else { SendError::Unreachable(text) };
            drop(answer.send(Err(error)));
            return;
        };
        self.trace.line(format_args!("{from}>{to} {:08x} arrives", crc32c::crc32c(&request)));
        let reply = handler(request).await;
        let delay = self.way(to, from);
        if !self.alive(to, life) {
            return pending().await;
        }
        let Some(delay) = delay else { return pending().await };
        sleep(delay).await;
        self.trace.line(format_args!("{from}<{to} {:08x} answered", crc32c::crc32c(&reply)));
        // Who asked may not wait any more.
        drop(answer.send(Ok(reply)));
    }
}

/// One life of a member on the network.
#[derive(Clone)]
pub struct Link {
    net: Net,
    id: NodeId,
    life: u64,
}

impl Link {
    /// From now on `handler` answers what reaches this member.
    pub fn serve<F>(&self, handler: impl Fn(Bytes) -> F + Send + Sync + 'static)
    where
        F: Future<Output = Bytes> + Send + 'static,
    {
        let handler: Handler = Arc::new(move |request| Box::pin(handler(request)));
        lock(&self.net.state).members.insert(self.id, (self.life, handler));
    }
}

impl Network for Link {
    async fn send(&self, target: NodeId, _member: &Member, request: Bytes) -> Result<Bytes, SendError> {
        if !self.net.alive(self.id, self.life) {
            return Err(SendError::Unreachable("the sender has crashed".to_owned()));
        }
        let twice = {
            let state = &mut *lock(&self.net.state);
            if let Ok(wire::Request { ask: Some(Ask::Append(append)), .. }) =
                wire::Request::decode(request.clone())
                && let Some(vote) = append.vote
            {
                state.leaders.entry(vote.term).or_default().insert(self.id);
            }
            let rate = state.faults.duplicate;
            state.chance.often(rate)
        };
        self.net.trace.line(format_args!(
            "{}>{target} {:08x} {} bytes",
            self.id,
            crc32c::crc32c(&request),
            request.len()
        ));
        let (sender, receiver) = oneshot::channel();
        if twice {
            let (nobody, _) = oneshot::channel();
            spawn(self.net.clone().carry(self.id, target, request.clone(), true, nobody));
        }
        spawn(self.net.clone().carry(self.id, target, request, twice, sender));
        match receiver.await {
            Ok(answer) if self.net.alive(self.id, self.life) => answer,
            _ => pending().await,
        }
    }
}
