//! The database's tables (docs/FORMATS.md, "The store's database"), opened for a
//! transaction that writes or for one that reads.

use redb::{ReadOnlyTable, ReadTransaction, ReadableTable, Table, TableDefinition, WriteTransaction};

use crate::error::{At, Error};

/// Key, revision, sub-revision.
pub(crate) type PastKey = (&'static [u8], u64, u64);
/// Revision, sub-revision.
pub(crate) type ChangeKey = (u64, u64);
type LeaseKey = (i64, &'static [u8]);
pub(crate) type Bytes = &'static [u8];

/// What a table's definition needs to be read, whoever opened it.
pub(crate) trait Now: ReadableTable<Bytes, Bytes> {}
impl<T: ReadableTable<Bytes, Bytes>> Now for T {}
/// The same for `past`.
pub(crate) trait Past: ReadableTable<PastKey, Bytes> {}
impl<T: ReadableTable<PastKey, Bytes>> Past for T {}

pub(crate) const NOW: TableDefinition<Bytes, Bytes> = TableDefinition::new("now");
pub(crate) const PAST: TableDefinition<PastKey, Bytes> = TableDefinition::new("past");
pub(crate) const CHANGES: TableDefinition<ChangeKey, Bytes> = TableDefinition::new("changes");
pub(crate) const LEASES: TableDefinition<i64, (i64, i64)> = TableDefinition::new("leases");
pub(crate) const LEASE_KEYS: TableDefinition<LeaseKey, ()> = TableDefinition::new("lease_keys");
pub(crate) const ALARMS: TableDefinition<(u64, u32), ()> = TableDefinition::new("alarms");
pub(crate) const SIDE: TableDefinition<Bytes, Bytes> = TableDefinition::new("side");
pub(crate) const META: TableDefinition<&'static str, Bytes> = TableDefinition::new("meta");

/// First byte of a change's value: what happened to the key that follows.
pub(crate) const CHANGE_PUT: u8 = 0;
pub(crate) const CHANGE_DELETE: u8 = 1;

/// Opened to write.
pub(crate) struct Tables<'t> {
    pub now: Table<'t, Bytes, Bytes>,
    pub past: Table<'t, PastKey, Bytes>,
    pub changes: Table<'t, ChangeKey, Bytes>,
    pub leases: Table<'t, i64, (i64, i64)>,
    pub lease_keys: Table<'t, LeaseKey, ()>,
    pub alarms: Table<'t, (u64, u32), ()>,
    pub side: Table<'t, Bytes, Bytes>,
    pub meta: Table<'t, &'static str, Bytes>,
}

impl<'t> Tables<'t> {
    pub fn open(transaction: &'t WriteTransaction) -> Result<Self, Error> {
        let doing = "opening its tables";
        Ok(Self {
            now: transaction.open_table(NOW).at(doing)?,
            past: transaction.open_table(PAST).at(doing)?,
            changes: transaction.open_table(CHANGES).at(doing)?,
            leases: transaction.open_table(LEASES).at(doing)?,
            lease_keys: transaction.open_table(LEASE_KEYS).at(doing)?,
            alarms: transaction.open_table(ALARMS).at(doing)?,
            side: transaction.open_table(SIDE).at(doing)?,
            meta: transaction.open_table(META).at(doing)?,
        })
    }
}

/// Opened to read, all as of one commit.
pub(crate) struct ReadTables {
    pub now: ReadOnlyTable<Bytes, Bytes>,
    pub past: ReadOnlyTable<PastKey, Bytes>,
    pub changes: ReadOnlyTable<ChangeKey, Bytes>,
    pub leases: ReadOnlyTable<i64, (i64, i64)>,
    pub lease_keys: ReadOnlyTable<LeaseKey, ()>,
    pub alarms: ReadOnlyTable<(u64, u32), ()>,
    pub side: ReadOnlyTable<Bytes, Bytes>,
    pub meta: ReadOnlyTable<&'static str, Bytes>,
}

impl ReadTables {
    pub fn open(transaction: &ReadTransaction) -> Result<Self, Error> {
        let doing = "opening its tables to read";
        Ok(Self {
            now: transaction.open_table(NOW).at(doing)?,
            past: transaction.open_table(PAST).at(doing)?,
            changes: transaction.open_table(CHANGES).at(doing)?,
            leases: transaction.open_table(LEASES).at(doing)?,
            lease_keys: transaction.open_table(LEASE_KEYS).at(doing)?,
            alarms: transaction.open_table(ALARMS).at(doing)?,
            side: transaction.open_table(SIDE).at(doing)?,
            meta: transaction.open_table(META).at(doing)?,
        })
    }
}
