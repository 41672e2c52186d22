//! The service in namespaces of its own, against Debian's servers and scripted ones, with `ip` as
//! the judge.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test's failure is a panic")]
#![expect(clippy::print_stderr, reason = "a failure shows what the programs said")]

mod dhcp4;
mod fixed;
mod hostile;
mod ipv4ll;
mod ipv6;
mod scripted;
mod servers;
mod world;
