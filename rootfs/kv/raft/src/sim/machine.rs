//! A machine whose whole history can be seen: a list that commands append to.

use std::io;
use std::sync::{Arc, Mutex};

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{Chance, Trace};
use crate::NodeId;
use crate::machine::{Command, Machine, SnapshotJob, lock};
use crate::snapshot::SnapshotSource;

#[derive(Clone, Debug, Default)]
struct List {
    items: Vec<u64>,
    position: Bytes,
}

#[derive(Debug)]
struct State {
    chance: Chance,
    life: u64,
    /// On its disk.
    durable: List,
    now: List,
}

/// The list of one member, with its disk. Its clones are the same list.
#[derive(Clone, Debug)]
pub struct ListDisk {
    state: Arc<Mutex<State>>,
    id: NodeId,
    trace: Trace,
}

impl ListDisk {
    /// An empty list of member `id`.
    pub fn new(id: NodeId, chance: Chance, trace: Trace) -> Self {
        let state = State { chance, life: 0, durable: List::default(), now: List::default() };
        Self { state: Arc::new(Mutex::new(state)), id, trace }
    }

    /// The machine, as a member that starts finds it.
    pub fn open(&self) -> ListMachine {
        ListMachine { disk: self.clone(), life: lock(&self.state).life }
    }

    /// The power fails.
    pub fn crash(&self) {
        let state = &mut *lock(&self.state);
        state.life += 1;
        state.now = state.durable.clone();
    }

    /// What is in the list now.
    pub fn items(&self) -> Vec<u64> {
        lock(&self.state).now.items.clone()
    }

    /// Which life it is in: it grows with each crash.
    pub fn life(&self) -> u64 {
        lock(&self.state).life
    }

    /// The list's length and its last item.
    pub fn end(&self) -> (u64, Option<u64>) {
        let state = lock(&self.state);
        (state.now.items.len() as u64, state.now.items.last().copied())
    }
}

/// The machine of one life of a member. A command is an item (8 bytes, little end first); the reply
/// is its place in the list.
#[derive(Debug)]
pub struct ListMachine {
    disk: ListDisk,
    life: u64,
}

/// The command that appends `item`.
pub fn append(item: u64) -> Bytes {
    Bytes::copy_from_slice(&item.to_le_bytes())
}

/// The place in an append's reply.
pub fn place(mut reply: Bytes) -> Option<u64> {
    (reply.len() == 8).then(|| reply.get_u64_le())
}

fn crashed() -> io::Error {
    io::Error::other("the member has crashed")
}

impl Machine for ListMachine {
    fn position(&mut self) -> io::Result<Bytes> {
        Ok(lock(&self.disk.state).now.position.clone())
    }

    fn apply(&mut self, commands: &[Command], position: &Bytes) -> io::Result<Vec<Bytes>> {
        let state = &mut *lock(&self.disk.state);
        if state.life != self.life {
            return Err(crashed());
        }
        let mut replies = Vec::with_capacity(commands.len());
        for command in commands {
            let item = (command.data.len() == 8).then(|| command.data.clone().get_u64_le());
            let item = item.ok_or_else(|| io::Error::other("a command that is no item"))?;
            self.disk.trace.line(format_args!("{} applies {} {item:x}", self.disk.id, command.id));
            replies.push(Bytes::copy_from_slice(&(state.now.items.len() as u64).to_le_bytes()));
            state.now.items.push(item);
        }
        state.now.position = position.clone();
        if state.chance.often(50) {
            state.durable = state.now.clone();
        }
        Ok(replies)
    }

    fn snapshot(&mut self) -> io::Result<SnapshotJob> {
        let frozen = lock(&self.disk.state).now.clone();
        let (disk, life) = (self.disk.clone(), self.life);
        Ok(Box::new(move || {
            let state = &mut *lock(&disk.state);
            if state.life != life {
                return Err(crashed());
            }
            let mut bytes = BytesMut::new();
            frozen.items.iter().for_each(|item| bytes.put_u64_le(*item));
            disk.trace.line(format_args!("{} snapshot of {}", disk.id, frozen.items.len()));
            // A later state may be durable already.
            if state.durable.items.len() <= frozen.items.len() {
                state.durable = frozen;
            }
            let source: Arc<dyn SnapshotSource> = Arc::new(bytes.freeze());
            Ok(source)
        }))
    }

    fn install(&mut self, snapshot: &dyn SnapshotSource, position: &Bytes) -> io::Result<()> {
        let length = usize::try_from(snapshot.length()).map_err(io::Error::other)?;
        let mut bytes = snapshot.read_at(0, length)?;
        let state = &mut *lock(&self.disk.state);
        if state.life != self.life {
            return Err(crashed());
        }
        let mut items = Vec::with_capacity(length / 8);
        while bytes.len() >= 8 {
            items.push(bytes.get_u64_le());
        }
        self.disk.trace.line(format_args!("{} installs {}", self.disk.id, items.len()));
        state.now = List { items, position: position.clone() };
        state.durable = state.now.clone();
        Ok(())
    }
}
