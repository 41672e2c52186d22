//! The store's server: one member, which speaks etcd's v3 API over gRPC.
//!
//! A change goes from a service ([`service`]) as a command to [`consensus::Consensus`],
//! which brings it into the log's order and onto the disk; [`machine`] applies it to the
//! state and tells the watches ([`hub`]) and the leases' clock ([`lessor`]). A read waits
//! for the consensus to say that this member is up to date, and then takes a view of
//! the state. Start at [`server::Server`].
//!
//! The services know the trait only. [`replica::Replica`] is the member under Raft; TLS,
//! authentication and the JSON gateway are not here yet.
//! The library prints nothing and ends nothing: the program does.

mod answer;
pub mod consensus;
pub mod error;
pub mod flags;
pub mod hub;
pub mod identity;
pub mod lessor;
pub mod machine;
pub mod member;
pub mod peer;
pub mod replica;
pub mod server;
pub mod service;
mod wire;
