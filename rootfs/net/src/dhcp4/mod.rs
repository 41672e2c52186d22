//! DHCP for IPv4: RFC 2131. [`client`] is the state machine (times and messages in, actions out),
//! [`message`] the bytes, [`lease`] what is got, [`frame`] the packets around it.

pub mod client;
pub mod frame;
pub mod lease;
pub mod message;

pub use client::{Action, Client, Settings};
pub use lease::Lease;
pub use message::Message;
