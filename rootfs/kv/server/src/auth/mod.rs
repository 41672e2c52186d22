//! Who asks: tokens, passwords, certificates. What somebody may do is the state machine's
//! ([`kv_core::Policy`]); here is what a member keeps beside it.
//!
//! A token is given out through the log, so that every member knows it ([`Tokens`]). Whoever
//! asks is found out from the request ([`Credentials`]) and written into the command's header;
//! reads are checked by the member itself ([`gate`]).

mod credentials;
pub mod gate;
mod password;
mod tokens;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use kv_core::{AuthChange, Outcome, Policy, Refusal};
use tokio::sync::{Semaphore, watch};

pub use credentials::{CommonName, Credentials};
pub use tokens::{Known, Tokens};

/// What a member is told by its flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long a token is good without being used (`--auth-token-ttl`).
    pub token_ttl: Duration,
    /// How costly a hash is, as a power of two (`--bcrypt-cost`).
    pub bcrypt_cost: u32,
}

impl Default for Settings {
    /// etcd's.
    fn default() -> Self {
        Self { token_ttl: Duration::from_mins(5), bcrypt_cost: 10 }
    }
}

/// What a member knows of users.
#[derive(Debug)]
pub struct Auth {
    policy: watch::Sender<Arc<Policy>>,
    tokens: Tokens,
    settings: OnceLock<Settings>,
    /// Passwords are hashed on no more threads than there are cores.
    hashing: Semaphore,
}

impl Auth {
    /// Begins with the state's policy, and without tokens.
    pub fn new(policy: Arc<Policy>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            policy: watch::Sender::new(policy),
            tokens: Tokens::default(),
            settings: OnceLock::new(),
            hashing: Semaphore::new(cores),
        }
    }

    /// Sets what the flags say; before anything is served.
    pub fn set(&self, settings: Settings) {
        // The first counts: nothing is served by other settings than those it began with.
        let _ = self.settings.set(settings);
    }

    fn settings(&self) -> Settings {
        *self.settings.get_or_init(Settings::default)
    }

    /// The policy after what was applied last.
    pub fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.policy.borrow())
    }

    /// Tells when the policy is another.
    pub fn changes(&self) -> watch::Receiver<Arc<Policy>> {
        self.policy.subscribe()
    }

    /// A change was applied: what it means for tokens.
    pub fn follow(&self, change: &AuthChange, result: &Result<Outcome, Refusal>) {
        match (change, result) {
            (AuthChange::Authenticate { user, .. }, Ok(Outcome::Authenticated { token })) => {
                self.tokens.assign(token.clone(), user.clone(), self.settings().token_ttl);
            }
            (AuthChange::Disable, Ok(_)) => self.tokens.clear(),
            (AuthChange::UserDelete { name } | AuthChange::UserChangePassword { name, .. }, Ok(_)) => {
                self.tokens.forget(name);
            }
            _ => {}
        }
    }

    /// The policy is this one from now on. To be told before what was changed under it can be
    /// seen; also when the state is another, from a snapshot.
    pub fn publish(&self, policy: &Arc<Policy>) {
        self.policy.send_if_modified(|known| {
            let other = !Arc::ptr_eq(known, policy);
            if other {
                *known = Arc::clone(policy);
            }
            other
        });
    }

    /// Entries were applied up to and with `index`, and [`Auth::follow`] was told of all of them.
    pub fn applied(&self, index: u64) {
        self.tokens.applied(index);
    }
}
