//! Carries a plan out.
//!
//! ```text
//! front ──fork──► monitor ──clone──► init ──vfork──► command
//!   │  control (pipe)  │                │
//!   ├─────────────────►│ signals        │
//!   │◄─────────────────┴────────────────┘ events (socket): terminal, failure, end
//! ```
//! The monitor is in a session of its own and holds what is to be undone. When the front is gone, however it
//! went, the control pipe is at its end and the monitor ends the box. When the monitor is gone, init is killed
//! by the kernel, and the front cleans up instead. When both are gone, the kernel does it.
//!
//! A kept box belongs to a *keeper* instead, and each session of it has a monitor that joins the box:
//!
//! ```text
//! front ──fork──► monitor ──fork──► session in the box ──vfork──► command
//!   │ the first one                        ╎ setns(2)
//!   └───fork, fork──► keeper ──clone──► init of the box
//! ```

mod cgroup;
mod forbidden;
mod front;
mod init;
mod join;
mod keeper;
mod kept;
pub mod mapped;
mod monitor;
mod remains;
mod report;
mod root;
mod seccomp;
mod session;
mod terminal;
mod wire;

pub use front::run;
pub use kept::enter;
pub use seccomp::ProfileError;

use std::io;

/// Exit codes of toolbox's own: containers' convention, as of podman-run(1).
pub mod code {
    /// Toolbox itself failed.
    pub const FAILED: u8 = 125;
    /// The command cannot be executed.
    pub const NOT_EXECUTABLE: u8 = 126;
    /// There is no such command.
    pub const NOT_FOUND: u8 = 127;
    /// Added to the number of the signal that ended the command.
    pub const SIGNAL: u8 = 128;
}

/// Why a box was not.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A step of this process failed.
    #[error("{doing}: {cause}")]
    Front {
        /// What was done.
        doing: &'static str,
        /// Why not.
        cause: io::Error,
    },
    /// The filter's file.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// A step of the box failed.
    #[error("{0}")]
    Inside(String),
    /// The command cannot be executed.
    #[error("{0}")]
    NotExecutable(String),
    /// There is no such command.
    #[error("{0}")]
    NotFound(String),
    /// The box was killed from outside.
    #[error("the box was killed")]
    Killed,
}

impl RunError {
    /// The exit code that says so.
    pub fn code(&self) -> u8 {
        match self {
            Self::NotExecutable(_) => code::NOT_EXECUTABLE,
            Self::NotFound(_) => code::NOT_FOUND,
            Self::Killed => code::SIGNAL + nix::libc::SIGKILL as u8,
            _ => code::FAILED,
        }
    }
}

/// Names what failed.
trait Doing<T> {
    fn doing(self, doing: &'static str) -> Result<T, RunError>;
}

impl<T, E: Into<io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, doing: &'static str) -> Result<T, RunError> {
        self.map_err(|cause| RunError::Front { doing, cause: cause.into() })
    }
}

/// Ends one of the processes that are not the front.
fn leave(code: u8) -> ! {
    sys::fork::end(code)
}
