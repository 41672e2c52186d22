//! Entries of the log into the state, and what came of them to those who wait for
//! it: the watches' hub and the leases' clock. One thread owns it.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use kv_api::kvpb;
use kv_core::{Command, Outcome, Position, Sizes, Source, State};
use prost::Message as _;
use tokio::sync::{Notify, watch};

use crate::error::Error;
use crate::hub::Hub;
use crate::lessor::Lessor;
use crate::replica::{Home, Waiting};
use crate::wire;

/// Changes that one step of a compaction looks at: some milliseconds.
const SWEEP_CHANGES: usize = 2_000;

/// Bytes of commands that may be applied without being on the disk.
const LOOSE_BYTES: u64 = 16 << 20;

/// etcd's `AlarmType` for it.
const NO_SPACE: u32 = 1;

/// Where Raft's own position is kept, in the transaction of the commands before it.
const RAFT_POSITION: &[u8] = b"raft/position";

/// What others see of the state.
#[derive(Clone, Debug)]
pub struct Shared {
    /// Where views come from.
    pub source: Source,
    /// Who watches.
    pub hub: Arc<Hub>,
    /// When leases end.
    pub lessor: Arc<Lessor>,
    /// Sizes after the newest batch.
    pub sizes: watch::Receiver<Sizes>,
    /// The revision up to which what was compacted is removed.
    pub swept: watch::Receiver<i64>,
    /// Whether an alarm says that there is no room.
    pub no_space: Arc<AtomicBool>,
    /// Told when there is something for [`Machine::chore`].
    pub chores: Arc<Notify>,
}

/// The state machine, as the log's entries reach it.
pub struct Machine {
    home: Box<dyn Home>,
    state: State,
    shared: Shared,
    sizes: watch::Sender<Sizes>,
    swept: watch::Sender<i64>,
    sweeping: bool,
    /// Bytes of commands that were applied and are not on the disk.
    loose_bytes: u64,
    waiting: Waiting,
}

impl std::fmt::Debug for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Machine").field("state", &self.state).finish_non_exhaustive()
    }
}

impl Machine {
    /// Opens the state where it is, or makes it; `waiting` are told what comes of their commands.
    ///
    /// # Errors
    /// [`Error::Core`].
    pub fn open(home: impl Home, waiting: Waiting) -> Result<Self, Error> {
        let state = home.open()?;
        let view = state.view()?;
        let lessor = Lessor::new(&view.leases()?);
        let (sizes, read_sizes) = watch::channel(state.sizes()?);
        let (swept, read_swept) = watch::channel(-1);
        let shared = Shared {
            source: state.source(),
            hub: Arc::new(Hub::new(state.revision())),
            lessor: Arc::new(lessor),
            sizes: read_sizes,
            swept: read_swept,
            no_space: Arc::new(AtomicBool::new(view.alarms()?.iter().any(|alarm| alarm.kind == NO_SPACE))),
            chores: Arc::default(),
        };
        shared.chores.notify_one();
        // A sweep that was interrupted goes on.
        Ok(Self {
            home: Box::new(home),
            state,
            shared,
            sizes,
            swept,
            sweeping: true,
            loose_bytes: 0,
            waiting,
        })
    }

    /// What others see.
    pub fn shared(&self) -> Shared {
        self.shared.clone()
    }

    /// The newest entry that was applied.
    pub fn applied(&self) -> Option<Position> {
        self.state.applied()
    }

    /// Raft's position as it was given with the newest batch; empty in a new state.
    ///
    /// # Errors
    /// [`Error::Core`].
    pub fn raft_position(&self) -> Result<Bytes, Error> {
        Ok(self.state.view()?.side(RAFT_POSITION)?.unwrap_or_default())
    }

    /// Applies entries in their order, all in one transaction with Raft's position, and tells what
    /// has changed. Entries that the state has already are passed over: see [`Machine::install`].
    ///
    /// # Errors
    /// [`Error::Entry`] and [`Error::Core`]; the member must stop then.
    pub fn apply(&mut self, entries: &[(Position, Bytes)], position: &Bytes) -> Result<(), Error> {
        let mut commands = Vec::with_capacity(entries.len());
        let mut requests = Vec::with_capacity(entries.len());
        let applied = self.state.applied();
        for (at, payload) in entries {
            if applied.is_some_and(|applied| at.index <= applied.index) {
                continue;
            }
            let (request, command) = decode(at.index, payload)?;
            requests.push(request);
            commands.push((*at, command));
        }
        let (replies, events) = self.state.batch(|batch| {
            let mut replies = Vec::with_capacity(commands.len());
            for (at, command) in &commands {
                replies.push(batch.apply(*at, command)?);
            }
            batch.set_side(RAFT_POSITION, Some(position))?;
            Ok::<_, Error>((replies, batch.take_events()))
        })?;
        for ((_, command), reply) in commands.iter().zip(&replies) {
            match (command, &reply.result) {
                (Command::LeaseRevoke { id }, _) => self.shared.lessor.revoked(*id),
                (_, Ok(Outcome::LeaseGrant { id, ttl_s })) => self.shared.lessor.granted(*id, *ttl_s),
                (Command::Alarm { .. }, Ok(_)) => {
                    let alarms = self.state.view()?.alarms()?;
                    let no_space = alarms.iter().any(|alarm| alarm.kind == NO_SPACE);
                    self.shared.no_space.store(no_space, Ordering::Relaxed);
                }
                (Command::Compact { .. }, Ok(_)) => {
                    self.sweeping = true;
                    self.shared.chores.notify_one();
                }
                _ => {}
            }
        }
        self.loose_bytes += entries.iter().map(|(_, payload)| payload.len() as u64).sum::<u64>();
        if self.loose_bytes >= LOOSE_BYTES {
            self.shared.chores.notify_one();
        }
        self.shared.hub.publish(self.state.revision(), &events);
        // Nobody may be looking.
        let _ = self.sizes.send(self.state.sizes()?);
        self.waiting.tell(requests.into_iter().zip(replies));
        Ok(())
    }

    /// Puts a snapshot in the place of the state. It may hold more than `position` says; what is
    /// applied then and is in it already is passed over.
    ///
    /// # Errors
    /// [`Error::Core`]; the old state is still there then.
    pub fn install(&mut self, snapshot: &mut dyn Read, position: &Bytes) -> Result<(), Error> {
        let mut state = self.home.restore(snapshot)?;
        state.batch(|batch| batch.set_side(RAFT_POSITION, Some(position)))?;
        state.make_durable()?;
        self.state = state.in_place_of(&self.state);
        let view = self.state.view()?;
        self.shared.lessor.replace(&view.leases()?);
        let no_space = view.alarms()?.iter().any(|alarm| alarm.kind == NO_SPACE);
        self.shared.no_space.store(no_space, Ordering::Relaxed);
        self.shared.hub.jump(self.state.revision());
        self.sizes.send_replace(self.state.sizes()?);
        self.sweeping = true;
        self.loose_bytes = 0;
        self.shared.chores.notify_one();
        Ok(())
    }

    /// Takes out of a state what was of the cluster that it came from: for one that begins a new one.
    ///
    /// # Errors
    /// [`Error::Core`].
    pub fn leave_cluster(state: &mut State) -> Result<(), Error> {
        let of_members = state.view()?.side_all(b"member/")?;
        state.batch(|batch| {
            batch.set_side(RAFT_POSITION, None)?;
            of_members.iter().try_for_each(|(key, _)| batch.set_side(key, None))
        })?;
        Ok(state.reset_log()?)
    }

    /// Removes some of what was compacted; returns whether there is more.
    ///
    /// # Errors
    /// [`Error::Core`].
    pub fn sweep(&mut self) -> Result<bool, Error> {
        if self.sweeping && self.state.compact_step(SWEEP_CHANGES)?.done {
            self.sweeping = false;
            self.swept.send_replace(self.state.compacted());
            self.sizes.send_replace(self.state.sizes()?);
        }
        Ok(self.sweeping)
    }

    /// Writes all that was applied to the disk.
    ///
    /// # Errors
    /// [`Error::Core`].
    pub fn make_durable(&mut self) -> Result<(), Error> {
        self.state.make_durable()?;
        self.loose_bytes = 0;
        Ok(())
    }

    /// Does a piece of what can wait: what was compacted is removed, and what has gathered goes to the
    /// disk, so that a snapshot or a restart finds little to do. Returns whether there is more.
    ///
    /// # Errors
    /// [`Error::Core`].
    pub fn chore(&mut self) -> Result<bool, Error> {
        if self.loose_bytes >= LOOSE_BYTES {
            self.make_durable()?;
        }
        self.sweep()
    }
}

/// Whose request it was, and what it asks for.
fn decode(index: u64, payload: &Bytes) -> Result<(Bytes, Command), Error> {
    let unknown = || Error::Entry { index };
    let command = kvpb::Command::decode(payload.clone()).map_err(|_| unknown())?;
    let change = command.change.ok_or_else(unknown)?;
    let change = wire::command(change).map_err(|_| unknown())?.ok_or_else(unknown)?;
    Ok((command.request_id, change))
}
