//! When to ask again, and after which pause.

use crate::connect::NotConnected;
use kv_api::Fault;
use rand::RngExt;
use std::error::Error as _;
use std::time::Duration;
use tonic::{Code, Status};

/// Pauses that double from `first` up to `most`, each shortened by chance by up to half, so
/// that clients that lost the same member do not come back together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// Before the first repetition.
    pub first: Duration,
    /// The longest.
    pub most: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_millis(50), most: Duration::from_secs(2) }
    }
}

impl Backoff {
    /// The pause before repetition `attempt`, counted from 0.
    pub fn pause(&self, attempt: u32) -> Duration {
        let whole =
            self.first.saturating_mul(1_u32.checked_shl(attempt.min(16)).unwrap_or(u32::MAX)).min(self.most);
        whole.mul_f64(rand::rng().random_range(0.5..=1.0))
    }
}

/// What a failed request left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The server answered: nothing was done, and nothing will be.
    Refused,
    /// Nothing was done; another time or place may serve.
    NotApplied,
    /// It may have been done, or be done yet.
    Unknown,
    /// Refused for the token, which is to be made anew.
    Token,
}

impl Outcome {
    pub(crate) fn of(status: &Status) -> Self {
        if never_sent(status) {
            return Self::NotApplied;
        }
        if let Some(fault) = Fault::of(status) {
            return match fault {
                Fault::InvalidAuthToken | Fault::AuthOldRevision => Self::Token,
                // Refused before it is proposed (etcd `v3_server.go`, `interceptor.go`).
                Fault::NoLeader | Fault::NotLeader | Fault::RequestTooManyRequests => Self::NotApplied,
                Fault::LeaderChanged
                | Fault::Stopped
                | Fault::Timeout
                | Fault::TimeoutDueToLeaderFail
                | Fault::TimeoutDueToConnectionLost
                | Fault::TimeoutWaitAppliedIndex
                | Fault::Unhealthy
                | Fault::Canceled
                | Fault::DeadlineExceeded => Self::Unknown,
                _ => Self::Refused,
            };
        }
        match status.code() {
            // Of these some come from the connection rather than from the server, which
            // cannot be told apart for certain.
            Code::Unavailable | Code::Unknown | Code::Internal | Code::Cancelled | Code::DeadlineExceeded => {
                Self::Unknown
            }
            _ => Self::Refused,
        }
    }
}

/// Whether there was no connection to send it on.
fn never_sent(status: &Status) -> bool {
    let mut next = status.source();
    while let Some(error) = next {
        if error.is::<NotConnected>() {
            return true;
        }
        next = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_to_their_bound_and_differ() {
        let backoff = Backoff { first: Duration::from_millis(100), most: Duration::from_secs(1) };
        let mut all = Vec::new();
        for (attempt, whole) in [(0, 100), (1, 200), (3, 800), (4, 1000), (40, 1000)] {
            for _ in 0..20 {
                let pause = backoff.pause(attempt);
                assert!(pause <= Duration::from_millis(whole) && pause >= Duration::from_millis(whole / 2));
                all.push(pause);
            }
        }
        all.sort();
        all.dedup();
        assert!(all.len() > 50, "{}", all.len());
    }

    #[test]
    fn only_what_was_not_proposed_counts_as_not_applied() {
        let of = |fault: Fault| Outcome::of(&Status::from(fault));
        assert_eq!(of(Fault::NoLeader), Outcome::NotApplied);
        assert_eq!(of(Fault::LeaderChanged), Outcome::Unknown);
        assert_eq!(of(Fault::Timeout), Outcome::Unknown);
        assert_eq!(of(Fault::LeaseNotFound), Outcome::Refused);
        assert_eq!(of(Fault::InvalidAuthToken), Outcome::Token);
        assert_eq!(Outcome::of(&Status::unavailable("connection reset")), Outcome::Unknown);
        assert_eq!(
            Outcome::of(&Status::from_error(Box::new(NotConnected("refused".into())))),
            Outcome::NotApplied
        );
    }
}
