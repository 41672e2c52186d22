//! Links, addresses and routes from `.link`, `.netdev` and `.network` files: the network service and `networkctl`.

pub mod config;
pub mod dhcp4;
pub mod dhcp6;
pub mod names;
pub mod netlink;
pub mod router;
