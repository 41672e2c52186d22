//! The state as Raft wants it: batches of committed commands, each in one transaction of the
//! database, together with Raft's own position.
//!
//! A snapshot costs nothing until a member needs it: to make one is to make the database durable,
//! and its bytes are those of the state at the time when they are sent, which may have applied more
//! than the snapshot's position says. What a member then gets a second time it passes over.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use kv_core::{Position, Source};
use kv_raft::machine::SnapshotJob;
use kv_raft::{Command, SnapshotSource, Spool};

use crate::error::Error;
use crate::machine::Machine;

/// A [`Machine`] that a node applies to. Its clones are the same one.
#[derive(Clone)]
pub struct Applying {
    machine: Arc<Mutex<Machine>>,
    spool: Arc<dyn Spool>,
}

impl std::fmt::Debug for Applying {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Applying").finish_non_exhaustive()
    }
}

impl Applying {
    /// The node's side of a machine. Snapshots are written to `spool` for as long as they are sent.
    pub fn new(machine: Machine, spool: Arc<dyn Spool>) -> Self {
        Self { machine: Arc::new(Mutex::new(machine)), spool }
    }

    /// The machine, which applies nothing while this is held.
    pub fn lock(&self) -> MutexGuard<'_, Machine> {
        // A batch that panicked has committed nothing.
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes all that was applied to the disk.
    ///
    /// # Errors
    /// [`Error::Core`].
    pub fn make_durable(&self) -> Result<(), Error> {
        self.lock().make_durable()
    }
}

impl kv_raft::Machine for Applying {
    fn position(&mut self) -> io::Result<Bytes> {
        self.lock().raft_position().map_err(io::Error::other)
    }

    fn apply(&mut self, commands: &[Command], position: &Bytes) -> io::Result<Vec<Bytes>> {
        let entries = commands.iter().map(|command| {
            let at = Position { term: command.id.term, leader: 0, index: command.id.index };
            (at, command.data.clone())
        });
        let entries: Vec<_> = entries.collect();
        self.lock().apply(&entries, position).map_err(io::Error::other)?;
        // Who asked was told by the machine: the reply that Raft carries has nothing to say.
        Ok(vec![Bytes::new(); commands.len()])
    }

    fn snapshot(&mut self) -> io::Result<SnapshotJob> {
        let this = self.clone();
        Ok(Box::new(move || {
            this.make_durable().map_err(io::Error::other)?;
            let source = this.lock().shared().source;
            Ok(Arc::new(Later { source, spool: Arc::clone(&this.spool) }) as Arc<dyn SnapshotSource>)
        }))
    }

    fn install(&mut self, snapshot: &dyn SnapshotSource, position: &Bytes) -> io::Result<()> {
        let mut reader = Reading { snapshot, offset: 0 };
        self.lock().install(&mut reader, position).map_err(io::Error::other)
    }
}

/// A snapshot whose bytes are made when they are sent.
struct Later {
    source: Source,
    spool: Arc<dyn Spool>,
}

fn unfrozen() -> io::Error {
    io::Error::other("a snapshot was read before it was written down")
}

impl SnapshotSource for Later {
    fn length(&self) -> u64 {
        0
    }

    fn read_at(&self, _: u64, _: usize) -> io::Result<Bytes> {
        Err(unfrozen())
    }

    fn freeze(&self) -> io::Result<Option<Arc<dyn SnapshotSource>>> {
        let view = self.source.view().map_err(io::Error::other)?;
        let mut sink = Writing(self.spool.sink()?);
        view.snapshot_to(&mut sink).map_err(io::Error::other)?;
        Ok(Some(sink.0.finish()?))
    }
}

struct Writing(Box<dyn kv_raft::SnapshotSink>);

impl io::Write for Writing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Reading<'s> {
    snapshot: &'s dyn SnapshotSource,
    offset: u64,
}

impl io::Read for Reading<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = self.snapshot.length() - self.offset;
        let length = into.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let bytes = self.snapshot.read_at(self.offset, length)?;
        into[..length].copy_from_slice(&bytes);
        self.offset += length as u64;
        Ok(length)
    }
}
