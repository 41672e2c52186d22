//! The only crate with `unsafe`: kernel interfaces that no safe crate covers, behind safe faces.
//!
//! Each module is one kernel interface. Nothing here decides anything: which slot, which
//! partition, which module to load is for the crates above. Start with [`mount`], [`dm`] and
//! [`modules`], in the order in which a boot needs them.

pub mod block;
pub mod child;
pub mod clock;
pub mod dm;
pub mod efivar;
pub mod fork;
pub mod isolation;
pub mod message;
pub mod modules;
pub mod mount;
pub mod packet;
pub mod peer;
pub mod power;
pub mod process;
pub mod random;
pub mod receive;
pub mod seccomp;
pub mod tun;
pub mod uevent;
pub mod virtualization;
pub mod watchdog;
