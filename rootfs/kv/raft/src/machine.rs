//! What committed commands change: what is asked of it, and how openraft is served.

use std::io;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use openraft::alias::{LogIdOf, SnapshotMetaOf, StoredMembershipOf};
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine, Snapshot};
use openraft::type_config::TypeConfigExt;
use openraft::{EntryPayload, OptionalSend, StoredMembership};
use tokio::sync::Notify;

use crate::snapshot::SnapshotSource;
use crate::types::{RaftLogId, RaftStored, Types};
use crate::{LogId, Runtime, wire};

/// A committed command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Its entry.
    pub id: LogId,
    /// Its bytes as they were proposed.
    pub data: Bytes,
}

/// Makes a snapshot's bytes; run beside the machine, which goes on.
pub type SnapshotJob = Box<dyn FnOnce() -> io::Result<Arc<dyn SnapshotSource>> + Send>;

/// The state that commands change, the same way on every member: nothing but the commands and
/// their order may have an effect.
///
/// What it has applied need not be on its disk: after a crash it may say an older position, from
/// which the log is applied again. But what a snapshot holds must be, because the log is purged up to
/// there. An error stops the node.
pub trait Machine: Send + Sync + 'static {
    /// The position given with the last batch or snapshot that is in the state; empty in a new one.
    fn position(&mut self) -> io::Result<Bytes>;

    /// Applies commands in order, and keeps `position` with them, both or none of them after a
    /// crash. There may be no command: then the position alone is new. Gives a reply each.
    fn apply(&mut self, commands: &[Command], position: &Bytes) -> io::Result<Vec<Bytes>>;

    /// Freezes the state, and gives the job that makes bytes of it. When the job ends well, that
    /// state and its position are on the machine's disk too.
    fn snapshot(&mut self) -> io::Result<SnapshotJob>;

    /// Replaces the whole state, and keeps `position` with it; on its disk when it returns.
    fn install(&mut self, snapshot: &dyn SnapshotSource, position: &Bytes) -> io::Result<()>;
}

/// Commands of one batch at most: so many replies wait for each other.
const BATCH: usize = 1_024;

/// Counts bytes of commands since the last snapshot.
#[derive(Debug)]
pub(crate) struct Pressure {
    bytes: AtomicU64,
    limit: u64,
    /// Told when there are too many.
    pub(crate) full: Notify,
}

impl Pressure {
    pub(crate) fn new(limit: u64) -> Self {
        Self { bytes: AtomicU64::new(0), limit, full: Notify::new() }
    }

    fn add(&self, bytes: u64) {
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        if before < self.limit && before.saturating_add(bytes) >= self.limit {
            self.full.notify_one();
        }
    }

    fn reset(&self) {
        self.bytes.store(0, Ordering::Relaxed);
    }
}

type Current<R> = Arc<Mutex<Option<(SnapshotMetaOf<Types<R>>, Arc<dyn SnapshotSource>)>>>;

/// A [`Machine`] as openraft wants it.
pub(crate) struct Applier<R: Runtime, M> {
    machine: M,
    applied: Option<RaftLogId>,
    members: RaftStored,
    current: Current<R>,
    pressure: Arc<Pressure>,
    runtime: PhantomData<R>,
}

impl<R: Runtime, M: Machine> Applier<R, M> {
    pub(crate) fn new(mut machine: M, pressure: Arc<Pressure>) -> io::Result<Self> {
        let (applied, members) = wire::Position::from_bytes(&machine.position()?)?.parts()?;
        let current = Arc::default();
        Ok(Self { machine, applied, members, current, pressure, runtime: PhantomData })
    }

    fn meta(&self) -> SnapshotMetaOf<Types<R>> {
        SnapshotMetaOf::<Types<R>> { last_log_id: self.applied, last_membership: self.members.clone() }
    }

    fn flush(&mut self, batch: &mut Batch<R>) -> io::Result<()> {
        let Some(last) = batch.last.take() else { return Ok(()) };
        self.applied = Some(last);
        let position = wire::Position::new(self.applied, &self.members).to_bytes();
        let replies = self.machine.apply(&batch.commands, &position)?;
        if replies.len() != batch.commands.len() {
            return Err(io::Error::other(format!(
                "the machine gave {} replies to {} commands",
                replies.len(),
                batch.commands.len()
            )));
        }
        self.pressure.add(batch.commands.iter().map(|c| c.data.len() as u64).sum());
        batch.commands.clear();
        let mut replies = replies.into_iter();
        for (is_command, responder) in batch.waiting.drain(..) {
            let reply = if is_command { replies.next().unwrap_or_default() } else { Bytes::new() };
            if let Some(responder) = responder {
                responder.send(reply);
            }
        }
        Ok(())
    }
}

struct Batch<R: Runtime> {
    last: Option<RaftLogId>,
    commands: Vec<Command>,
    waiting: Vec<(bool, Option<openraft::storage::ApplyResponder<Types<R>>>)>,
}

impl<R: Runtime, M: Machine> RaftStateMachine<Types<R>> for Applier<R, M> {
    type SnapshotData = Arc<dyn SnapshotSource>;
    type SnapshotBuilder = Builder<R>;

    async fn applied_state(
        &mut self,
    ) -> io::Result<(Option<LogIdOf<Types<R>>>, StoredMembershipOf<Types<R>>)> {
        Ok((self.applied, self.members.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Types<R>>>> + Unpin + OptionalSend,
    {
        let mut batch = Batch { last: None, commands: Vec::new(), waiting: Vec::new() };
        while let Some(item) = entries.next().await {
            let (entry, responder) = item?;
            batch.last = Some(entry.log_id);
            let is_command = match entry.payload {
                EntryPayload::Blank => false,
                EntryPayload::Normal(data) => {
                    batch.commands.push(Command { id: entry.log_id.into(), data: data.0 });
                    true
                }
                EntryPayload::Membership(members) => {
                    self.members = StoredMembership::new(Some(entry.log_id), members);
                    false
                }
            };
            batch.waiting.push((is_command, responder));
            if batch.waiting.len() >= BATCH {
                self.flush(&mut batch)?;
            }
        }
        self.flush(&mut batch)
    }

    async fn get_snapshot_builder(&mut self) -> Builder<R> {
        Builder {
            job: Mutex::new(Some(self.machine.snapshot())),
            meta: self.meta(),
            current: Arc::clone(&self.current),
            pressure: Arc::clone(&self.pressure),
        }
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMetaOf<Types<R>>,
        snapshot: Arc<dyn SnapshotSource>,
    ) -> io::Result<()> {
        let position = wire::Position::new(meta.last_log_id, &meta.last_membership).to_bytes();
        self.machine.install(&*snapshot, &position)?;
        self.applied = meta.last_log_id;
        self.members = meta.last_membership.clone();
        *lock(&self.current) = Some((meta.clone(), snapshot));
        self.pressure.reset();
        Ok(())
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> io::Result<Option<openraft::alias::SnapshotOf<Types<R>, Arc<dyn SnapshotSource>>>> {
        Ok(lock(&self.current)
            .as_ref()
            .map(|(meta, data)| Snapshot { meta: meta.clone(), snapshot: Arc::clone(data) }))
    }
}

/// Makes one snapshot.
pub(crate) struct Builder<R: Runtime> {
    // A lock, because openraft wants builders that can be shared; nobody does.
    job: Mutex<Option<io::Result<SnapshotJob>>>,
    meta: SnapshotMetaOf<Types<R>>,
    current: Current<R>,
    pressure: Arc<Pressure>,
}

impl<R: Runtime> RaftSnapshotBuilder<Types<R>> for Builder<R> {
    type SnapshotData = Arc<dyn SnapshotSource>;

    async fn build_snapshot(
        &mut self,
    ) -> io::Result<openraft::alias::SnapshotOf<Types<R>, Arc<dyn SnapshotSource>>> {
        let job = lock(&self.job).take();
        let job = job.ok_or_else(|| io::Error::other("the snapshot was made already"))??;
        let data = if R::THREADS { Types::<R>::spawn_blocking(job).await?? } else { job()? };
        *lock(&self.current) = Some((self.meta.clone(), Arc::clone(&data)));
        self.pressure.reset();
        Ok(Snapshot { meta: self.meta.clone(), snapshot: data })
    }
}

/// The values behind these locks are replaced whole: a panic elsewhere leaves them right.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
