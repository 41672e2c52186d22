//! The way between members: frames over TCP ([`frame`]), one connection from each member to each
//! other one with many requests in flight, in any order.
//!
//! [`Net`] asks; [`listen::serve`] answers. How a connection is made and taken is in [`socket`],
//! nowhere else. A member that is not of the cluster is told so and heard no further, except for
//! the one question with which it learns who the members are ([`roster`]).

pub mod frame;
pub mod listen;
mod net;
pub mod roster;
pub mod socket;

pub use net::Net;
