//! DHCP for IPv6: RFC 8415, addresses (`IA_NA`) and, where a router says so, only the rest.
//! [`client`] is the state machine, [`message`] the bytes.

pub mod client;
pub mod message;

pub use client::{Action, Client, Mode};
pub use message::{Lease, Message};
