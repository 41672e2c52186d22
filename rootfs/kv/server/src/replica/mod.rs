//! The member's part in the cluster: the log, the state machine and the network, put together under
//! Raft.
//!
//! [`Replica`] is the one [`crate::consensus::Consensus`], for clusters of every size. What it
//! stands on is given to it: [`WriteAhead`] over any disk, [`Applying`] over any database's
//! [`Home`], [`Peers`] for the way to other members, and Raft's runtime. So a simulation of the whole
//! store can own the clock, the network and the disks. There are no sockets, files or threads here.

mod applying;
pub mod ask;
mod barrier;
mod home;
mod leader;
mod log;
mod members;
mod node;
mod steer;
mod waiting;

pub use applying::Applying;
pub use home::{FileHome, Home};
pub use log::WriteAhead;
pub use members::{Known, known};
pub(crate) use members::{intend, publish};
pub use node::{Me, Peers, Replica};
pub use waiting::{Ticket, Waiting};
