//! The journal: its files, the daemon that writes them, and `journalctl`.
//!
//! [`segment`] is the format, [`Writer`] writes it, [`read()`] reads it; [`Query`] says what is
//! wanted. The daemon is in [`daemon`], the command in [`journalctl`]. There is no remote
//! protocol and no seal: `journalctl -o export` is what others take.

pub mod daemon;
mod entry;
pub mod field;
mod folder;
pub mod journalctl;
pub mod native;
mod query;
mod read;
pub mod segment;
pub mod show;
pub mod sockets;
pub mod time;
mod verify;
pub mod words;
mod write;

pub use entry::Entry;
pub use folder::{FOLDER, Limits, disk_usage, segments};
pub use query::Query;
pub use read::{Boot, Entries, Follower, Span, boots, last_sequence, names, read, values};
pub use verify::{Fault, Verdict, verify};
pub use write::{Recovery, Shared, Stamp, Sync, Writer};
