//! Reading, on any thread: a view is the state after one batch, and stays that while
//! others are applied. It keeps the pages that it sees from being used again, so it
//! is not for keeping.

use std::fmt::{self, Debug};
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use redb::{Database, ReadOnlyTable, ReadableDatabase, ReadableTableMetadata};

use crate::batch;
use crate::command::{Alarm, Range, Txn};
use crate::error::{Answer, At, Error};
use crate::lease::Lease;
use crate::meta::{Meta, Position};
use crate::range::Reader;
use crate::reply::{RangeReply, TxnReply};
use crate::tables::{Bytes as Raw, PastKey, ReadTables};

/// Where views come from; cheap to clone.
#[derive(Clone)]
pub struct Source {
    /// Another one once a snapshot has taken the place of the state.
    database: Arc<RwLock<Arc<Database>>>,
}

impl Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").finish_non_exhaustive()
    }
}

impl Source {
    pub(crate) fn new(database: Arc<Database>) -> Self {
        Self { database: Arc::new(RwLock::new(database)) }
    }

    /// From now on views are of another database.
    pub(crate) fn turn_to(&self, database: Arc<Database>) {
        *self.database.write().unwrap_or_else(PoisonError::into_inner) = database;
    }

    /// The state as of the newest batch.
    ///
    /// # Errors
    /// What the database fails with.
    pub fn view(&self) -> Result<View, Error> {
        let database = Arc::clone(&self.database.read().unwrap_or_else(PoisonError::into_inner));
        let transaction = database.begin_read().at("beginning to read")?;
        let tables = ReadTables::open(&transaction)?;
        let meta = Meta::load(&tables.meta)?.ok_or(Error::NotAStore)?;
        Ok(View { inner: Arc::new(Inner { tables, meta }) })
    }
}

/// The state after one batch; cheap to clone.
#[derive(Clone)]
pub struct View {
    inner: Arc<Inner>,
}

struct Inner {
    tables: ReadTables,
    meta: Meta,
}

impl Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").field("meta", &self.inner.meta).finish_non_exhaustive()
    }
}

impl View {
    pub(crate) fn tables(&self) -> &ReadTables {
        &self.inner.tables
    }

    pub(crate) fn meta(&self) -> &Meta {
        &self.inner.meta
    }

    pub(crate) fn reader(&self) -> Reader<'_, ReadOnlyTable<Raw, Raw>, ReadOnlyTable<PastKey, Raw>> {
        let tables = self.tables();
        let meta = self.meta();
        Reader { now: &tables.now, past: &tables.past, revision: meta.revision, compacted: meta.compacted }
    }

    /// The newest place in the log that this view has seen.
    pub fn applied(&self) -> Option<Position> {
        self.meta().applied
    }

    /// The newest revision.
    pub fn revision(&self) -> i64 {
        self.meta().revision
    }

    /// The oldest revision that can be read; -1 before the first compaction.
    pub fn compacted(&self) -> i64 {
        self.meta().compacted
    }

    /// Answers a range (etcd v3 API: `Range`) whose fields were checked.
    ///
    /// # Errors
    /// What the database fails with; inside, the refusals `Compacted` and `FutureRevision`.
    pub fn range(&self, range: &Range) -> Answer<RangeReply> {
        self.reader().range(range)
    }

    /// Does a transaction of ranges alone, whose fields were checked; `None` if it has
    /// anything else in it and must go through the log.
    ///
    /// # Errors
    /// As [`View::range`].
    pub fn read_txn(&self, txn: &Txn) -> Answer<Option<TxnReply>> {
        self.reader().read_txn(txn)
    }

    /// All leases, by id.
    ///
    /// # Errors
    /// What the database fails with.
    pub fn leases(&self) -> Result<Vec<Lease>, Error> {
        let doing = "reading leases";
        let mut leases = Vec::new();
        for entry in self.tables().leases.range::<i64>(..).at(doing)? {
            let (id, lease) = entry.at(doing)?;
            let (ttl_s, remaining_s) = lease.value();
            leases.push(Lease { id: id.value(), ttl_s, remaining_s });
        }
        Ok(leases)
    }

    /// One lease.
    ///
    /// # Errors
    /// What the database fails with.
    pub fn lease(&self, id: i64) -> Result<Option<Lease>, Error> {
        let lease = self.tables().leases.get(id).at("reading a lease")?;
        Ok(lease.map(|lease| {
            let (ttl_s, remaining_s) = lease.value();
            Lease { id, ttl_s, remaining_s }
        }))
    }

    /// The keys that hang on a lease, by key.
    ///
    /// # Errors
    /// What the database fails with.
    pub fn lease_keys(&self, id: i64) -> Result<Vec<Bytes>, Error> {
        let doing = "reading a lease's keys";
        let mut keys = Vec::new();
        for entry in self.tables().lease_keys.range((id, [].as_slice())..).at(doing)? {
            let entry = entry.at(doing)?;
            let (lease, key) = entry.0.value();
            if lease != id {
                break;
            }
            keys.push(Bytes::copy_from_slice(key));
        }
        Ok(keys)
    }

    /// The alarms that are raised, by member.
    ///
    /// # Errors
    /// What the database fails with.
    pub fn alarms(&self) -> Result<Vec<Alarm>, Error> {
        batch::list(&self.tables().alarms, 0)
    }

    /// An entry that [`crate::Command::Side`] has set.
    ///
    /// # Errors
    /// What the database fails with.
    pub fn side(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        let entry = self.tables().side.get(key).at("reading an entry of the server's")?;
        Ok(entry.map(|value| Bytes::copy_from_slice(value.value())))
    }

    /// The entries of [`crate::Command::Side`] whose keys begin with `prefix`, by key.
    ///
    /// # Errors
    /// What the database fails with.
    pub fn side_all(&self, prefix: &[u8]) -> Result<Vec<(Bytes, Bytes)>, Error> {
        let doing = "reading entries of the server's";
        let mut entries = Vec::new();
        for entry in self.tables().side.range::<&[u8]>(prefix..).at(doing)? {
            let (key, value) = entry.at(doing)?;
            if !key.value().starts_with(prefix) {
                break;
            }
            entries.push((Bytes::copy_from_slice(key.value()), Bytes::copy_from_slice(value.value())));
        }
        Ok(entries)
    }

    /// Live keys and leases.
    pub(crate) fn counts(&self) -> Result<(u64, u64), Error> {
        let doing = "counting";
        Ok((self.tables().now.len().at(doing)?, self.tables().leases.len().at(doing)?))
    }
}
