//! The SSH server and its sessions.
//!
//! Start with [`server`]. What it decides is pure and stands in modules of its own: who comes in
//! ([`door`]), which keys open ([`authorized`], [`pattern`]), what is set ([`config`]) and what runs
//! ([`start`]). A session is a record ([`registry`]) and a cgroup ([`cgroup`]). In sessions run
//! [`sftp`], [`scp`] and, where no shell is, [`shell`]. [`applets`] is the face of all of it.
//!
//! Deliberately absent: passwords, RSA and SHA-1, X11 forwarding, certificates,
//! compression, and privilege separation: the server is memory-safe, and its children drop root.

pub mod account;
pub mod applets;
pub mod authorized;
pub mod cgroup;
pub mod config;
pub mod door;
pub mod edit;
mod fd;
pub mod hostkey;
mod listen;
pub mod loginctl;
pub mod pattern;
pub mod registry;
pub mod scp;
mod screen;
pub mod server;
pub mod sftp;
pub mod shell;
pub mod start;
mod stream;
pub mod words;
