//! What a client is told once.

use crate::retry::Backoff;
use crate::security::Security;
use std::time::Duration;

/// Name and password.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: String,
    /// In the clear: the server hashes it.
    pub password: String,
}

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("User").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What a client is told once.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `http://host:port`, `https://host:port`, `unix://path`, or `host:port`, which is
    /// `https` where [`Self::security`] is set.
    pub endpoints: Vec<String>,
    /// TLS; needed for `https` only.
    pub security: Option<Security>,
    /// Whether plain text may leave this machine.
    pub insecure_plaintext: bool,
    /// As whom to come. `None`: nobody, or whom the certificate names.
    pub user: Option<User>,
    /// Longest wait for a connection.
    pub dial_timeout: Duration,
    /// Longest wait for an answer, with all repetitions.
    pub request_timeout: Duration,
    /// Longest wait for one answer of a read, after which another endpoint is asked.
    pub attempt_timeout: Duration,
    /// Silence after which a connection is asked whether it lives.
    pub keep_alive_time: Duration,
    /// Longest wait for its answer.
    pub keep_alive_timeout: Duration,
    /// Whether a member without a leader is to refuse, so that another is asked.
    pub require_leader: bool,
    /// Pauses between repetitions.
    pub backoff: Backoff,
}

impl Settings {
    /// The defaults for these endpoints: etcdctl's times, no TLS, nobody in particular.
    pub fn of<I: IntoIterator<Item: Into<String>>>(endpoints: I) -> Self {
        Self {
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            security: None,
            insecure_plaintext: false,
            user: None,
            dial_timeout: Duration::from_secs(2),
            request_timeout: Duration::from_secs(10),
            attempt_timeout: Duration::from_secs(3),
            keep_alive_time: Duration::from_secs(2),
            keep_alive_timeout: Duration::from_secs(6),
            require_leader: true,
            backoff: Backoff::default(),
        }
    }
}
