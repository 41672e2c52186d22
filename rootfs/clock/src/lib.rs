//! Time and the machine's identity: the NTP client, `timedatectl` and `hostnamectl`.
//!
//! The client is pure: [`packet`] (messages), [`filter`] (which samples to believe), [`client`]
//! (servers, polls, steps and slews: events in, actions out). [`timesyncd`] carries its actions
//! out. It keeps one clock right from one server at a time and serves nobody. What the commands set
//! is set by [`hostnamed`] and [`timedated`], small services on demand.

pub mod client;
pub mod config;
mod demand;
pub mod filter;
pub mod hostnamectl;
pub mod hostnamed;
pub mod identity;
pub mod packet;
pub mod saved;
pub mod timedatectl;
pub mod timedated;
pub mod timesyncd;
pub mod wait;
pub mod zone;
