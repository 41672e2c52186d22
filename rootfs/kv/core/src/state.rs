//! The store's state on a disk: opening, batches of commands, durability, sizes.

use std::fmt::{self, Debug};
use std::fs::File;
use std::io;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use redb::backends::FileBackend;
use redb::{BackendError, Builder, Database, Durability, StorageBackend, TableHandle};

use crate::batch::Batch;
use crate::error::{At, Error};
use crate::meta::{Meta, Position};
use crate::tables::{META, Tables};
use crate::view::{Source, View};

/// How a database is opened.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Memory for pages that were read or are not written yet.
    pub cache_bytes: usize,
    /// Read the whole file and check every page before anything else. Without it redb checks
    /// all only after a crash in which it was not closed and not made durable by us.
    pub verify: bool,
}

impl Default for Options {
    /// 64 MiB, no check.
    fn default() -> Self {
        Self { cache_bytes: 64 << 20, verify: false }
    }
}

/// How large the store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Bytes of the database's file. It does not shrink: a snapshot that is restored is smaller.
    pub on_disk: u64,
    /// Bytes of keys and records in it, old versions included, without the trees around them.
    pub in_use: u64,
    /// Live keys.
    pub keys: u64,
    /// Leases.
    pub leases: u64,
}

/// The state machine and its database. There is one for a database; all that reads takes a
/// [`Source`] or a [`View`] from it.
pub struct State {
    pub(crate) database: Arc<Database>,
    source: Source,
    pub(crate) meta: Meta,
    file_bytes: Arc<AtomicU64>,
}

impl Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("meta", &self.meta).finish_non_exhaustive()
    }
}

impl State {
    /// Opens the database in a backend, making it if the backend is empty.
    ///
    /// # Errors
    /// [`Error::Format`], [`Error::NotAStore`], and what the database fails with.
    pub fn open(backend: impl StorageBackend, options: Options) -> Result<Self, Error> {
        let mut state = Self::open_database(backend, options)?;
        state.load()?;
        Ok(state)
    }

    /// Opens the database in a file, making it if it is not there or empty.
    ///
    /// # Errors
    /// As [`State::open`], and [`Error::Io`].
    pub fn open_file(path: &Path, options: Options) -> Result<Self, Error> {
        Self::open(file_backend(path)?, options)
    }

    pub(crate) fn open_database(backend: impl StorageBackend, options: Options) -> Result<Self, Error> {
        let doing = "opening it";
        let file_bytes = Arc::new(AtomicU64::new(0));
        let backend = ready(backend, &file_bytes).map_err(redb::StorageError::from).at(doing)?;
        let database = Builder::new()
            .set_cache_size(options.cache_bytes)
            .set_check_integrity_on_open(options.verify)
            .create_with_backend(backend)
            .at(doing)?;
        let database = Arc::new(database);
        let source = Source::new(Arc::clone(&database));
        Ok(Self { database, source, meta: Meta::default(), file_bytes })
    }

    /// Reads the numbers, or stamps a database that is new.
    fn load(&mut self) -> Result<(), Error> {
        let doing = "opening its tables";
        let transaction = self.database.begin_write().at(doing)?;
        let names = transaction.list_tables().at(doing)?.map(|table| table.name().to_owned());
        let names: Vec<String> = names.collect();
        if !names.is_empty() && !names.iter().any(|name| name == "meta") {
            return Err(Error::NotAStore);
        }
        if names.is_empty() {
            {
                let mut tables = Tables::open(&transaction)?;
                Meta::stamp(&mut tables.meta)?;
                self.meta.save(&mut tables.meta)?;
            }
            return Self::commit_durable(transaction);
        }
        let table = transaction.open_table(META).at(doing)?;
        self.meta = Meta::load(&table)?.ok_or(Error::NotAStore)?;
        Ok(())
    }

    /// Runs commands in one write transaction. They are seen by the views taken after this
    /// returns, and by no other before; on an error none of them has happened. Nothing waits for the
    /// disk: after a crash the store is as [`State::make_durable`] left it last.
    ///
    /// # Errors
    /// The closure's, and what the database fails with.
    pub fn batch<T, E: From<Error>>(
        &mut self,
        run: impl FnOnce(&mut Batch<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let doing = "committing";
        let mut transaction = self.database.begin_write().at(doing)?;
        transaction.set_durability(Durability::None).at(doing)?;
        let (meta, result) = {
            let tables = Tables::open(&transaction)?;
            let mut batch = Batch { tables, meta: self.meta, events: Vec::new(), buffer: Vec::new() };
            let result = run(&mut batch)?;
            batch.meta.save(&mut batch.tables.meta)?;
            (batch.meta, result)
        };
        transaction.commit().at(doing)?;
        self.meta = meta;
        Ok(result)
    }

    /// Writes all that was applied to the disk, together with the place in the log up to which
    /// that is; returns when it is there.
    ///
    /// # Errors
    /// What the database fails with.
    pub fn make_durable(&mut self) -> Result<(), Error> {
        let transaction = self.database.begin_write().at("making it durable")?;
        Self::commit_durable(transaction)
    }

    /// Commits so that opening after a crash needs no walk through the whole file.
    pub(crate) fn commit_durable(mut transaction: redb::WriteTransaction) -> Result<(), Error> {
        let doing = "making it durable";
        transaction.set_durability(Durability::Immediate).at(doing)?;
        transaction.set_quick_repair(true);
        transaction.commit().at(doing)
    }

    /// Forgets the place in the log, for a snapshot that begins a new cluster with a new log.
    ///
    /// # Errors
    /// What the database fails with.
    pub fn reset_log(&mut self) -> Result<(), Error> {
        self.batch(|batch| {
            batch.meta.applied = None;
            Ok::<_, Error>(())
        })?;
        self.make_durable()
    }

    /// The newest place in the log that was applied.
    pub fn applied(&self) -> Option<Position> {
        self.meta.applied
    }

    /// The newest revision; 1 for an empty store.
    pub fn revision(&self) -> i64 {
        self.meta.revision
    }

    /// The oldest revision that can be read; -1 before the first compaction.
    pub fn compacted(&self) -> i64 {
        self.meta.compacted
    }

    /// The state as of the newest batch.
    ///
    /// # Errors
    /// What the database fails with.
    pub fn view(&self) -> Result<View, Error> {
        self.source().view()
    }

    /// Where other threads get their views from.
    pub fn source(&self) -> Source {
        self.source.clone()
    }

    /// Takes the place of another state: who has a [`Source`] of that one gets views of this one.
    /// Views that were taken stay as they are.
    #[must_use]
    pub fn in_place_of(self, old: &Self) -> Self {
        old.source.turn_to(Arc::clone(&self.database));
        Self { source: old.source.clone(), ..self }
    }

    /// How large the store is; costs nothing.
    ///
    /// # Errors
    /// What the database fails with.
    pub fn sizes(&self) -> Result<Sizes, Error> {
        let view = self.view()?;
        let (keys, leases) = view.counts()?;
        Ok(Sizes {
            on_disk: self.file_bytes.load(Ordering::Relaxed),
            in_use: self.meta.stored_bytes,
            keys,
            leases,
        })
    }
}

/// A file that redb locks while it is open.
pub(crate) fn file_backend(path: &Path) -> Result<FileBackend, Error> {
    let file = File::options().read(true).write(true).create(true).truncate(false).open(path);
    let file =
        file.map_err(|source| Error::Io { doing: format!("cannot open {}", path.display()), source })?;
    FileBackend::new(file).at("opening its file")
}

/// A backend whose length can be read beside the database.
#[derive(Debug)]
struct Measured<B> {
    inner: B,
    bytes: Arc<AtomicU64>,
}

/// The first bytes of redb's files; it writes them once the rest of a new file is on the disk.
const MAGIC: [u8; 9] = *b"redb\x1a\x0a\xa9\x0d\x0a";

/// A new file of redb's is no longer (72 KiB), so that nothing larger is ever taken for one.
const NEW_BYTES: u64 = 128 << 10;

/// Measures a backend, and empties one that was being made when the power went: it is
/// small and its first bytes are a beginning of the magic with zeros behind, where redb would refuse to go on.
fn ready<B: StorageBackend>(backend: B, bytes: &Arc<AtomicU64>) -> io::Result<Measured<B>> {
    let mut length = backend.len()?;
    if (1..=NEW_BYTES).contains(&length) {
        let mut head = [0; MAGIC.len()];
        let there = head.len().min(length as usize);
        backend.read(0, &mut head[..there])?;
        let same = head.iter().zip(MAGIC).take_while(|(found, magic)| **found == *magic).count();
        if same < MAGIC.len() && head[same..].iter().all(|byte| *byte == 0) {
            backend.set_len(0)?;
            length = 0;
        }
    }
    bytes.store(length, Ordering::Relaxed);
    Ok(Measured { inner: backend, bytes: Arc::clone(bytes) })
}

impl<B: StorageBackend> StorageBackend for Measured<B> {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.inner.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)?;
        self.bytes.store(len, Ordering::Relaxed);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.inner.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.inner.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.inner.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.query_lock_range(start, end)
    }
}
