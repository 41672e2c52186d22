//! Links, addresses and routes from `.link`, `.netdev` and `.network` files: the network service,
//! `networkctl` and `networkd-wait-online`.
//!
//! [`config`] reads the files, [`plan`] says what belongs on a link, [`dhcp4`], [`dhcp6`],
//! [`router`] and [`ipv4ll`] are what servers, routers and neighbours are asked and say: all without input and output, on a
//! clock of the caller's. [`daemon`] carries out, over [`netlink`]. It changes only links that a
//! file is for, and takes off them only what it has set itself. Routers' addresses and routes
//! (SLAAC) are the kernel's work.

pub mod command;
pub mod config;
pub mod daemon;
pub mod dhcp4;
pub mod dhcp6;
pub mod ipv4ll;
pub mod names;
pub mod netlink;
pub mod plan;
pub mod router;
