//! What can go wrong for a client.

use kv_api::Fault;
use std::path::PathBuf;
use tonic::Status;

/// What can go wrong for a client.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The settings name no endpoint.
    #[error("no endpoint is given")]
    NoEndpoint,
    /// One that cannot be understood.
    #[error("endpoint {endpoint}: {why}; give http://host:port, https://host:port or unix://path")]
    BadEndpoint {
        /// As it was given.
        endpoint: String,
        /// What is wrong with it.
        why: String,
    },
    /// Plain text would leave this machine.
    #[error("endpoint {0} is not on this machine and has no TLS; use https, or allow plain text by name")]
    Plaintext(String),
    /// A file of the TLS settings.
    #[error("{}: {why}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// TLS settings that cannot be used.
    #[error("TLS: {0}")]
    Tls(String),
    /// The server's refusal: nothing was done.
    #[error("{0}")]
    Refused(Fault),
    /// A refusal that is none of etcd's: nothing was done.
    #[error("{}: {}", .0.code(), .0.message())]
    Status(Box<Status>),
    /// No endpoint served in time; nothing was done.
    #[error("no endpoint serves: {0}")]
    Unavailable(String),
    /// It may have been done, or be done yet: read before it is done again.
    #[error("the outcome is unknown: {0}")]
    Unknown(String),
    /// Revisions from here on are there, but not the one asked for.
    #[error("revisions below {0} are compacted")]
    Compacted(i64),
    /// The server ended a watch.
    #[error("the watch was cancelled by the server: {0}")]
    WatchCancelled(String),
    /// A lease is gone, and what hung on it.
    #[error("lease {0:016x} has expired or was revoked")]
    LeaseLost(i64),
    /// Somebody else leads.
    #[error("election: not leader")]
    NotLeader,
    /// An answer without what it must have.
    #[error("the server's answer lacks {0}")]
    Answer(&'static str),
}

impl Error {
    /// The server's refusal, where it is one of etcd's.
    pub fn fault(&self) -> Option<Fault> {
        match self {
            Self::Refused(fault) => Some(*fault),
            _ => None,
        }
    }

    /// Whether the request certainly changed nothing.
    pub fn certainly_not_applied(&self) -> bool {
        !matches!(self, Self::Unknown(_) | Self::Answer(_))
    }

    pub(crate) fn refused(status: Status) -> Self {
        match Fault::of(&status) {
            Some(fault) => Self::Refused(fault),
            None => Self::Status(Box::new(status)),
        }
    }
}

/// A status and its causes in one line.
pub(crate) fn line(status: &Status) -> String {
    let mut text = status.message().to_owned();
    let mut next = std::error::Error::source(status);
    while let Some(error) = next {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        next = error.source();
    }
    text
}
