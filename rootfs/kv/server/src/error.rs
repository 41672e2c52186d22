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
    /// Raft cannot start, or has stopped.
    #[error("the member cannot take part in its cluster: {0}")]
    Raft(String),
    /// The cluster that the flags name cannot be begun or joined.
    #[error("cannot begin or join the cluster: {0}")]
    Initial(String),
    /// Another member has said so.
    #[error(
        "this member was removed from its cluster: to have it back, add it anew (member add) and start it \
         with an empty data directory and --initial-cluster-state existing"
    )]
    Removed,
    /// An entry that another version has made. Passing over it would make this member's state
    /// another than that of the others.
    #[error(
        "entry {index} of the log holds a change that this version does not know: start the version that wrote it, or a later one"
    )]
    Entry {
        /// Where in the log.
        index: u64,
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
    /// The HTTP server.
    #[error("cannot serve clients")]
    Serve(#[source] tonic::transport::Error),
}
