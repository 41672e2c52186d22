//! The user-data document: parse and validate as a whole.

/// What a document wants done with a unit at boot: the verbs of systemctl(1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnitCommand {
    /// `start`
    Start,
    /// `stop`
    Stop,
    /// `restart`
    Restart,
    /// `reload`
    Reload,
    /// `try-restart`
    TryRestart,
    /// `reload-or-restart`
    ReloadOrRestart,
    /// `reload-or-try-restart`
    ReloadOrTryRestart,
}
