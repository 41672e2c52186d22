//! The client of the store for the machine's own services; it speaks etcd's v3 API, so any
//! etcd serves it as well.
//!
//! It has several endpoints and goes on at the next when one fails or has lost its leader,
//! repeats what is safe to repeat, keeps a watch going over broken connections, and keeps
//! leases alive. It does not cache, and balances nothing: one endpoint is used until it fails.
//! Start with [`Client::new`]; what has no method of its own goes through [`Client::call`].

mod call;
mod client;
mod connect;
mod election;
mod endpoint;
mod error;
mod keys;
mod lease;
mod lock;
mod retry;
mod security;
mod session;
mod settings;
mod token;
mod wait;
mod watch;

pub use call::{MESSAGE_MAX, Repeat};
pub use client::Client;
pub use election::{Leadership, Observer};
pub use endpoint::Endpoint;
pub use error::Error;
pub use keys::{Keys, prefix_end};
pub use kv_api as api;
pub use lease::{KeepAlive, Life};
pub use lock::Lock;
pub use retry::Backoff;
pub use security::{Authorities, Security};
pub use session::Session;
pub use settings::{Settings, User};
pub use watch::{Batch, Watch, Watcher};
