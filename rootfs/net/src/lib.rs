//! Links, addresses and routes from `.link`, `.netdev` and `.network` files: the network service and `networkctl`.

pub mod config;
pub mod dhcp4;
pub mod names;
pub mod netlink;
