//! What commands ask the service: one question, one answer (crate `service`).

use serde::{Deserialize, Serialize};
use std::path::Path;

/// Where the service listens, below `/run/udev`.
pub const SOCKET: &str = "control";

/// A question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Question {
    /// To be answered when every event that the kernel has sent so far is dealt with.
    Settle,
}

/// An answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// It is done; so many devices are known.
    Done {
        /// Devices.
        devices: usize,
    },
}

/// Waits until the service has dealt with all that the kernel has said.
///
/// # Errors
/// The service does not answer.
pub fn settle(run: &Path) -> Result<Answer, service::call::CallError> {
    service::call::ask(&run.join(SOCKET), &Question::Settle)
}
