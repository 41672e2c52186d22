//! The two ways to fail: a command that is refused (all members refuse it, and
//! nothing has changed), and a database that cannot go on.

use std::io;

use crate::auth::Denial;

/// Why a command or a read was refused. The texts are etcd's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A key is empty.
    #[error("key is not provided")]
    EmptyKey,
    /// A key that must exist does not.
    #[error("key not found")]
    KeyNotFound,
    /// A value was given together with `ignore_value`.
    #[error("value is provided")]
    ValueProvided,
    /// A lease was given together with `ignore_lease`.
    #[error("lease is provided")]
    LeaseProvided,
    /// More operations in a transaction than the server takes.
    #[error("too many operations in txn request")]
    TooManyOps,
    /// A transaction changes one key twice.
    #[error("duplicate key given in txn request")]
    DuplicateKey,
    /// The revision is below the compacted one.
    #[error("mvcc: required revision has been compacted")]
    Compacted,
    /// The revision is not there yet.
    #[error("mvcc: required revision is a future revision")]
    FutureRevision,
    /// No such lease.
    #[error("requested lease not found")]
    LeaseNotFound,
    /// The id is taken.
    #[error("lease already exists")]
    LeaseExists,
    /// More than [`crate::MAX_TTL_S`].
    #[error("too large lease TTL")]
    LeaseTtlTooLarge,
    /// An alarm says that there is no room.
    #[error("database space exceeded")]
    NoSpace,
    /// An alarm says that members do not agree.
    #[error("corrupt cluster")]
    Corrupt,
    /// Users, roles and permissions.
    #[error(transparent)]
    Auth(#[from] Denial),
}

/// Why the database cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// redb failed. After an error of the disk the database refuses all until it is opened anew;
    /// what was made durable is still there.
    #[error("the store's database failed at {doing}; open it anew, and replace the member if that fails too")]
    Storage {
        /// What was being done.
        doing: &'static str,
        /// redb's reason.
        #[source]
        source: Box<redb::Error>,
    },
    /// The disk failed beside the database.
    #[error("{doing}")]
    Io {
        /// What was being done.
        doing: String,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The format is newer than this program.
    #[error(
        "the store's database has format {found}, this program knows format {known}: \
         start the newer version, or replace the member"
    )]
    Format {
        /// What the file says.
        found: u32,
        /// What this program knows.
        known: u32,
    },
    /// A redb file without the store's stamp.
    #[error("the file is a redb database, but not a store's: check the data folder")]
    NotAStore,
    /// Bytes in a table that this program cannot have written.
    #[error("table {table} of the store's database is damaged at key {key:?}: replace the member")]
    Damaged {
        /// Which table.
        table: &'static str,
        /// Which key, as text where it is.
        key: String,
    },
    /// A command that was applied already.
    #[error("log entry {index} is not behind entry {applied}, which is applied already")]
    Replayed {
        /// The entry's index.
        index: u64,
        /// The newest applied index.
        applied: u64,
    },
    /// A snapshot that does not read as one.
    #[error("the snapshot is damaged at byte {offset} ({what}): take or fetch it again")]
    SnapshotDamaged {
        /// Where.
        offset: u64,
        /// What is wrong there.
        what: &'static str,
    },
    /// A snapshot of a newer format.
    #[error(
        "the snapshot has format {found}, this program knows format {known}: restore it with the newer version"
    )]
    SnapshotFormat {
        /// What the snapshot says.
        found: u32,
        /// What this program knows.
        known: u32,
    },
    /// The place for a snapshot holds a store already.
    #[error(
        "a snapshot is restored into an empty database, and this one is not: choose an empty data folder"
    )]
    NotEmpty,
    /// The database is in no file that another could take the place of.
    #[error("the database was not opened from a file: it cannot be defragmented in place")]
    NoFile,
    /// A new file was put in place and the disk then failed.
    #[error(
        "the folder of the store's database could not be synced: nothing is written any more; start anew, and replace the member if that fails too"
    )]
    Unsure,
}

/// Says what was being done when redb failed.
pub(crate) trait At<T> {
    fn at(self, doing: &'static str) -> Result<T, Error>;
}

impl<T, E: Into<redb::Error>> At<T> for Result<T, E> {
    fn at(self, doing: &'static str) -> Result<T, Error> {
        self.map_err(|error| Error::Storage { doing, source: Box::new(error.into()) })
    }
}

/// A read's two ways to fail in one.
pub(crate) type Answer<T> = Result<Result<T, Refusal>, Error>;
