//! Ways in which the log can fail.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// Why the log cannot do what was asked. It can be cloned, because one failed write fails all that
/// shared it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The disk refused something while the log was opened or read; nothing has changed.
    #[error("cannot {what} {path}: {source}", path = path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// The disk's words.
        source: Arc<io::Error>,
    },
    /// There is no room for what was appended. It is not in the log (though a crash before the next
    /// write can bring some of it back); all that was acknowledged is, and the log takes appends again
    /// once there is room.
    #[error("no room on the disk of {path}: {source}; make room there and try again", path = path.display())]
    NoSpace {
        /// The file that could not grow.
        path: PathBuf,
        /// The disk's words.
        source: Arc<io::Error>,
    },
    /// A write or fsync failed, so nobody knows what of it is on the disk. The log takes nothing more.
    #[error("cannot {what} {path}: {source}; the log takes no more writes, as what reached the disk is unknown: check the disk, then start the member again", path = path.display())]
    Failed {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// The disk's words.
        source: Arc<io::Error>,
    },
    /// Bytes that were on the disk are not what was written.
    #[error("{path} is damaged at byte {offset}: {why}; {REPLACE}", path = path.display())]
    Damaged {
        /// The segment.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong there.
        why: String,
    },
    /// A segment of the row is not there.
    #[error("segment {sequence} of the log in {folder} is missing: {why}; bring the file back, or {REPLACE}", folder = folder.display())]
    Missing {
        /// The log's folder.
        folder: PathBuf,
        /// The segment's number.
        sequence: u64,
        /// How that shows.
        why: String,
    },
    /// There is no log where there must be one.
    #[error("there is no log in {folder}, though this member has one; bring the folder back, or {REPLACE}", folder = folder.display())]
    NoLog {
        /// The log's folder.
        folder: PathBuf,
    },
    /// The log is another cluster's.
    #[error("{path} belongs to cluster {found:x}, and this member to cluster {wanted:x}; give the member its own data directory", path = path.display())]
    Foreign {
        /// The segment.
        path: PathBuf,
        /// The cluster that it names.
        found: u64,
        /// The cluster that was expected.
        wanted: u64,
    },
    /// A later version wrote the log.
    #[error("{path} has format {found}, and this version knows up to {known}; start the version that wrote it, or a later one", path = path.display())]
    Future {
        /// The segment.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The latest that is known here.
        known: u32,
    },
    /// Another process has the log open.
    #[error("the log in {folder} is in use by another process; stop that one first", folder = folder.display())]
    Locked {
        /// The log's folder.
        folder: PathBuf,
    },
    /// Segments of that size cannot be.
    #[error("segments of {bytes} bytes are not possible; take {least} to {most}")]
    SegmentSize {
        /// What was asked for.
        bytes: u64,
        /// The smallest.
        least: u64,
        /// The largest.
        most: u64,
    },
    /// An entry that does not follow the last one.
    #[error("entry {index} cannot be appended, as the next is {next}")]
    NotNext {
        /// The entry's index.
        index: u64,
        /// The index that is due.
        next: u64,
    },
    /// An entry that no segment can hold.
    #[error("entry {index} has {bytes} bytes, and a segment holds at most {most}")]
    TooLarge {
        /// The entry's index.
        index: u64,
        /// Bytes of its payload.
        bytes: u64,
        /// The most that is possible.
        most: u64,
    },
    /// A vote that is older than the saved one.
    #[error("a vote of term {term} cannot be saved after one of term {saved}")]
    OldVote {
        /// The vote's term.
        term: u64,
        /// The saved one's.
        saved: u64,
    },
    /// A truncation to a place that is not in the log, or behind what is committed.
    #[error(
        "the log cannot be truncated after {after:?}: it holds {first} to {last:?}, of which {committed:?} is committed"
    )]
    NotThere {
        /// The entry that was to be the last.
        after: Option<u64>,
        /// The first index that is not purged.
        first: u64,
        /// The last one.
        last: Option<u64>,
        /// The last one that is committed.
        committed: Option<u64>,
    },
    /// The log was closed.
    #[error("the log is closed")]
    Closed,
}

const REPLACE: &str = "replace this member: remove it from the cluster (member remove), empty its data directory and add it again (member add); a cluster of one is restored from a snapshot (snapshot restore)";

/// Whether an error means that there is no room, and nothing worse.
pub(crate) fn is_no_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
