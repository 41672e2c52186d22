//! Time and the machine's identity: the NTP client, `timedatectl` and `hostnamectl`.
//!
//! The client is pure: [`packet`] (messages), [`filter`] (which samples to believe), [`client`]
//! (servers, polls, steps and slews: events in, actions out). [`timesyncd`] carries its actions
//! out. It keeps one clock right from one server at a time and serves nobody.

pub mod client;
pub mod config;
pub mod filter;
pub mod hostnamectl;
pub mod identity;
pub mod packet;
pub mod saved;
pub mod timedatectl;
pub mod timesyncd;
pub mod wait;
pub mod zone;
