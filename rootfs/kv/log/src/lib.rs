//! The store's write-ahead log: Raft's entries, votes and marks, on disk.
//!
//! An entry counts once it is fsynced here. [`Log::open`] recovers what is there and starts the
//! writer; [`Log::append`] returns at once and tells by a call when the bytes are on the disk. All
//! that comes while one write is under way goes into the next one, with one fdatasync for all of it.
//!
//! - [`format`] is the layout of segments and records (docs/FORMATS.md, "The store's log");
//! - [`disk`] is what the log needs of a disk: the machine's own, and [`disk::sim`], a simulated one
//!   that loses, tears, fills up, fails and flips bits by a seed;
//! - `recover` reads a log at its opening, `writer` puts records into segments, `log` is the face.
//!
//! It knows nothing of Raft's rules beyond these: indexes have no holes, a vote's term never goes
//! back, what is committed is not truncated. Payloads are bytes to it.

pub mod disk;
mod entry;
mod error;
pub mod format;
mod log;
mod memory;
mod read;
mod recover;
mod writer;

pub use entry::{Entry, LogId, State, Vote};
pub use error::Error;
pub use log::{Done, Log, Mode, Options};
pub use recover::{Cut, Recovered};
