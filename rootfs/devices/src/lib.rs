//! The device manager: what udev is elsewhere, without rules files.
//!
//! Kernel events come in (`event`), a device's facts are read from sysfs (`sysfs`) and from its
//! first blocks (`superblock`, `table`), and what follows is decided as plain data: links below
//! /dev (`links`, `path_id`), owner and mode of the node (`permissions`), modules to load
//! (`alias`), properties that `udevadm info` shows. `daemon` carries it out, `claims` says which
//! device a link that several want goes to, and `database` keeps it in /run/udev/data in udev's
//! own form, for libudev's readers and for a restart of the service.
//!
//! Deliberately absent: programs run for a device, renaming of network devices (the network
//! service's), and anything that a machine needs to boot (PID 1 does that itself).

pub mod alias;
pub mod claims;
pub mod control;
pub mod daemon;
pub mod database;
pub mod describe;
pub mod encode;
pub mod event;
mod identity;
pub mod modprobe;
mod netlink;
mod path_id;
pub mod permissions;
pub mod superblock;
pub mod sysfs;
pub mod table;
pub mod udevadm;
mod watch;

pub use describe::{Description, describe};
pub use event::Event;
pub use netlink::broadcast;
pub use superblock::{Probe, Source, probe};
