//! What the host services have in common: [`call`] lets their commands talk to them, [`caller`] says
//! who may change what, [`notify`]
//! talks to PID 1, [`activation`] takes the sockets that PID 1 listens on for them, [`config`] reads
//! their configuration files.

pub mod activation;
pub mod call;
pub mod caller;
pub mod config;
pub mod notify;
