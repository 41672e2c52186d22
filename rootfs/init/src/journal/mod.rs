//! The journal: what units and PID 1 say, one JSON object a line in files that are only appended to.
//!
//! Field names are those of journal-export and `journalctl -o json` (systemd.journal-fields(7)).
//! [`Journal`] is PID 1's end: it hands entries to a thread through a bounded queue and never
//! waits; what does not fit is counted and the count is written. [`read`] is everyone else's end.

mod entry;
mod follow;
mod read;
mod write;

pub use entry::Entry;
pub use follow::follow;
pub use read::{Filter, files, read};
pub use write::{Journal, Limits};

/// Where the appliance keeps it.
pub const FOLDER: &str = "/var/log/journal";

/// The file that is appended to; older ones are `system.1.jsonl` (the newest of them) and up.
pub(crate) const CURRENT: &str = "system.jsonl";
