//! Why a member cannot start, or cannot go on.

use std::io;
use std::path::PathBuf;

/// What ends a member. A request that is refused is no such error: see [`kv_api::Fault`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The state machine.
    #[error(transparent)]
    Core(#[from] kv_core::Error),
    /// The log.
    #[error(transparent)]
    Log(#[from] kv_log::Error),
    /// An entry that another version has made. Passing over it would make this member's state
    /// another than that of the others.
    #[error(
        "entry {index} of the log holds a change that this version does not know: start the version that wrote it, or a later one"
    )]
    Entry {
        /// Where in the log.
        index: u64,
    },
    /// The log ends before what the database has applied.
    #[error(
        "the log goes up to entry {last}, but the database holds entry {applied}: bring the log's files back, or restore a snapshot into an empty data directory"
    )]
    LogBehind {
        /// The log's last entry.
        last: String,
        /// The database's.
        applied: u64,
    },
    /// A file or a socket.
    #[error("cannot {doing}")]
    Io {
        /// What was tried.
        doing: String,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The data directory is not of this version or of this cluster.
    #[error("{path} is damaged ({what}): bring the file back, or empty the data directory and restore a snapshot", path = path.display())]
    Identity {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A file that is no whole snapshot.
    #[error("{path} cannot be restored: {what}", path = path.display())]
    Snapshot {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        what: &'static str,
    },
    /// There is something where a snapshot is to be restored.
    #[error("{path} is not empty: name another --data-dir, or move it away", path = path.display())]
    NotEmpty {
        /// The data directory.
        path: PathBuf,
    },
    /// The HTTP server.
    #[error("cannot serve clients")]
    Serve(#[source] tonic::transport::Error),
}
