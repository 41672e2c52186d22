//! Blessing: the booted version is good, so its boot entry gets its full count of tries back.
//!
//! Boot counting is the Boot Loader Specification's (UAPI.1): `NAME+LEFT-DONE.efi`. Unlike its
//! automatic boot assessment, the counter is never dropped: every entry stays armed.

mod counter;

pub use counter::{BootCounter, EntryName};

/// What [`run`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The machine was not started by a boot entry with a counter (a direct kernel boot).
    NotCounted,
    /// The entry has its full count already.
    Unchanged {
        /// File name of the entry.
        name: String,
    },
    /// The entry was renamed.
    Restored {
        /// Its name when the machine was started.
        from: String,
        /// Its name now.
        to: String,
    },
}

/// Why a boot was not blessed.
#[derive(Debug, thiserror::Error)]
pub enum BlessError {
    /// Not written yet.
    #[error("blessing is not built yet")]
    NotBuilt,
}

/// Gives the booted entry its full count of tries back.
///
/// # Errors
/// See [`BlessError`]; the entry then has its old name.
pub fn run() -> Result<Outcome, BlessError> {
    Err(BlessError::NotBuilt)
}
