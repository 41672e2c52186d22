//! Entries of the log into the state, and what came of them to those who wait for
//! it: the watches' hub and the leases' clock. One thread owns it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use kv_api::kvpb;
use kv_core::{Caller, Command, Options, Outcome, Position, Refusal, Reply, Sizes, Source, State};
use prost::Message as _;
use tokio::sync::watch;

use crate::auth::Auth;
use crate::error::Error;
use crate::hub::Hub;
use crate::lessor::Lessor;
use crate::wire;

/// Changes that one step of a compaction looks at: some milliseconds.
const SWEEP_CHANGES: usize = 2_000;

/// etcd's `AlarmType` for it.
const NO_SPACE: u32 = 1;

/// What others see of the state.
#[derive(Clone, Debug)]
pub struct Shared {
    /// Where views come from.
    pub source: Source,
    /// Who watches.
    pub hub: Arc<Hub>,
    /// When leases end.
    pub lessor: Arc<Lessor>,
    /// Who may do what, and who has shown who they are.
    pub auth: Arc<Auth>,
    /// Sizes after the newest batch.
    pub sizes: watch::Receiver<Sizes>,
    /// The revision up to which what was compacted is removed.
    pub swept: watch::Receiver<i64>,
    /// Whether an alarm says that there is no room.
    pub no_space: Arc<AtomicBool>,
}

/// The state machine, as the log's entries reach it.
#[derive(Debug)]
pub struct Machine {
    state: State,
    shared: Shared,
    sizes: watch::Sender<Sizes>,
    swept: watch::Sender<i64>,
    sweeping: bool,
}

impl Machine {
    /// Opens the state in a file, or makes it.
    ///
    /// # Errors
    /// [`Error::Core`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        let state = State::open_file(path, Options::default())?;
        let view = state.view()?;
        let lessor = Lessor::new(&view.leases()?);
        let (sizes, read_sizes) = watch::channel(state.sizes()?);
        let (swept, read_swept) = watch::channel(-1);
        let shared = Shared {
            source: state.source(),
            hub: Arc::new(Hub::new(state.revision())),
            lessor: Arc::new(lessor),
            auth: Arc::new(Auth::new(state.policy())),
            sizes: read_sizes,
            swept: read_swept,
            no_space: Arc::new(AtomicBool::new(view.alarms()?.iter().any(|alarm| alarm.kind == NO_SPACE))),
        };
        // A sweep that was interrupted goes on.
        Ok(Self { state, shared, sizes, swept, sweeping: true })
    }

    /// What others see.
    pub fn shared(&self) -> Shared {
        self.shared.clone()
    }

    /// The newest entry that was applied.
    pub fn applied(&self) -> Option<Position> {
        self.state.applied()
    }

    /// Applies entries in their order, all in one transaction, and tells what has changed.
    ///
    /// # Errors
    /// [`Error::Entry`] and [`Error::Core`]; the member must stop then.
    pub fn apply(&mut self, entries: &[(Position, Bytes)]) -> Result<Vec<Reply>, Error> {
        let mut commands = Vec::with_capacity(entries.len());
        for (at, payload) in entries {
            let (caller, command) = decode(at.index, payload)?;
            commands.push((*at, caller, command));
        }
        let (replies, events) = self.state.batch(|batch| {
            let mut replies = Vec::with_capacity(commands.len());
            for (at, caller, command) in &commands {
                replies.push(batch.apply_as(*at, caller, command)?);
            }
            // Before anything can be read or is told that comes after it.
            self.shared.auth.publish(batch.policy());
            Ok::<_, Error>((replies, batch.take_events()))
        })?;
        for ((_, _, command), reply) in commands.iter().zip(&replies) {
            match (command, &reply.result) {
                (Command::Auth(change), result) => self.shared.auth.follow(change, result),
                (Command::LeaseRevoke { id }, Ok(_) | Err(Refusal::LeaseNotFound)) => {
                    self.shared.lessor.revoked(*id);
                }
                (_, Ok(Outcome::LeaseGrant { id, ttl_s })) => self.shared.lessor.granted(*id, *ttl_s),
                (Command::Alarm { .. }, Ok(_)) => {
                    let alarms = self.state.view()?.alarms()?;
                    let no_space = alarms.iter().any(|alarm| alarm.kind == NO_SPACE);
                    self.shared.no_space.store(no_space, Ordering::Relaxed);
                }
                (Command::Compact { .. }, Ok(_)) => self.sweeping = true,
                _ => {}
            }
        }
        if let Some((at, _, _)) = commands.last() {
            self.shared.auth.applied(at.index);
        }
        self.shared.hub.publish(self.state.revision(), &events);
        // Nobody may be looking.
        let _ = self.sizes.send(self.state.sizes()?);
        Ok(replies)
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
        Ok(self.state.make_durable()?)
    }
}

/// An entry without payload is the log's own.
fn decode(index: u64, payload: &Bytes) -> Result<(Caller, Command), Error> {
    if payload.is_empty() {
        return Ok((Caller::default(), Command::Nothing));
    }
    let unknown = || Error::Entry { index };
    let command = kvpb::Command::decode(payload.clone()).map_err(|_| unknown())?;
    let change = command.change.ok_or_else(unknown)?;
    let caller = command.header.map(|header| Caller { user: header.user, revision: header.auth_revision });
    let command = wire::command(change).map_err(|_| unknown())?.ok_or_else(unknown)?;
    Ok((caller.unwrap_or_default(), command))
}
