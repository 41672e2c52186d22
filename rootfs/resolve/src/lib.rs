//! Name resolution: the caching stub on 127.0.0.53, LLMNR, and `resolvectl`.
//!
//! A forwarder of its own over hickory's messages: what is asked goes to the servers of the scopes
//! (the machine's, or a link's) that the name routes to, over UDP and TCP. It does not resolve from
//! the root servers and does not validate DNSSEC; answers never carry the AD bit.
//!
//! Pure: [`config`], [`links`], [`scope`] (which servers for which name), [`local`] (what is
//! answered without a server), [`hosts`], [`cache`], [`pool`] (which server next), [`wire`]
//! (messages checked and built), [`llmnr`]. I/O: [`exchange`], [`resolver`], [`stub`],
//! [`multicast`], [`machine`], and [`daemon`], where to start.

pub mod cache;
pub mod config;
pub mod control;
pub mod daemon;
pub mod exchange;
pub mod files;
pub mod hosts;
pub mod links;
pub mod llmnr;
pub mod local;
pub mod machine;
pub mod multicast;
pub mod pool;
pub mod resolvectl;
pub mod resolver;
pub mod scope;
pub mod secure;
pub mod stub;
pub mod wire;
