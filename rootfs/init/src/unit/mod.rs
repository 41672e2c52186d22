//! Unit files: from bytes in a search path to typed configuration.
//!
//! [`inifile`] reads text, [`directive`] gives each key its meaning, [`load`] merges a unit's file
//! with its drop-ins, [`install`] makes and removes the links of `[Install]`. Nothing here knows
//! whether a unit runs: that is [`crate::engine`].
//!
//! Deliberately absent: a unit that needs a key which PID 1 does not act on. Such a key is a
//! [`Problem`] that `systemctl verify` turns into an error.

pub mod command;
pub mod condition;
pub mod config;
mod defaults;
pub mod directive;
pub mod execution;
pub(crate) mod far;
pub mod install;
pub mod isolation;
pub mod load;
pub mod mount;
pub mod name;
pub mod path;
pub mod preset;
mod probe;
pub mod resource;
pub mod sandbox;
pub mod seccomp;
pub mod socket;
pub mod specifier;
pub mod syscall;
pub mod timer;
mod unsupported;
pub mod value;
pub mod words;

pub use config::{LoadState, Relation, Unit};
pub use name::{Kind, UnitName};
pub use specifier::Facts;

use std::path::PathBuf;

/// A fault in a unit file that does not stop the rest of it from being used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The fragment or drop-in.
    pub path: PathBuf,
    /// Line, from 1.
    pub line: u32,
    /// What is wrong there.
    pub fault: Fault,
}

/// What is wrong with one line of a unit file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The line has no meaning.
    #[error(transparent)]
    Malformed(#[from] inifile::Malformed),
    /// systemd has no such section.
    #[error("section [{0}] is not known")]
    UnknownSection(String),
    /// systemd has no such key there.
    #[error("key `{key}=` is not known in [{section}]")]
    UnknownKey {
        /// The section.
        section: String,
        /// The key.
        key: String,
    },
    /// systemd has the key, this PID 1 does not act on it.
    #[error("key `{key}=` of [{section}] is not supported")]
    Unsupported {
        /// The section.
        section: String,
        /// The key.
        key: String,
    },
    /// systemd has the key, this PID 1 cannot enforce it; the unit runs all the same.
    #[error("`{key}=` of [{section}] is not enforced: {why}")]
    NotEnforced {
        /// The section.
        section: String,
        /// The key.
        key: String,
        /// What is missing.
        why: &'static str,
    },
    /// The value is not one that the key takes.
    #[error("`{key}={value}` is not valid: {why}")]
    Invalid {
        /// The key.
        key: String,
        /// The value.
        value: String,
        /// What is expected there.
        why: String,
    },
    /// The unit as a whole cannot be started.
    #[error("{0}")]
    Unit(config::BadSetting),
}

impl Problem {
    /// Whether `systemctl verify` fails because of it; an unknown line is a warning only.
    pub fn is_error(&self) -> bool {
        matches!(self.fault, Fault::Unsupported { .. } | Fault::Invalid { .. } | Fault::Unit(_))
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}: {}", self.path.display(), self.line, self.fault)
    }
}
