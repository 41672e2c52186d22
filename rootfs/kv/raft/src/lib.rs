//! Consensus of the store: openraft behind a face of ours.
//!
//! Start at [`Node`]: it proposes commands, gives the barrier of linearizable reads, and changes the
//! membership. What it stands on is given to it: a [`LogStore`] (the log and the vote, on disk), a
//! [`Machine`] (what the commands change), a [`Network`] (bytes to another member and back), and a
//! [`Runtime`] (clock, tasks and chance). So a test can own all of them: see the module `sim`, which
//! runs whole clusters from one seed.
//!
//! No type of openraft is in this face, so that the library can be changed. The crate has no
//! sockets, files or formats on disk of its own, and does not retry a proposal: one whose outcome is
//! unknown is said to be so.

mod config;
mod error;
mod inbox;
pub mod log;
pub mod machine;
mod membership;
pub mod network;
mod node;
mod once;
mod position;
#[cfg(feature = "sim")]
pub mod sim;
pub mod snapshot;
mod status;
mod types;
pub mod wire;

pub use config::Config;
pub use error::{ChangeError, InitializeError, ProposeError, ReadError, StartError, WireError};
pub use log::{Entry, Flushed, LogState, LogStore};
pub use machine::{Command, Machine};
pub use network::{Network, SendError};
pub use node::{Node, Proposed};
pub use snapshot::{SnapshotSink, SnapshotSource, Spool};
pub use status::{Pulse, Role, Status, Watch};
pub use types::{LogId, Member, NodeId, Runtime, Tokio, Vote};
