//! Clusters of real processes on loopback, which are killed, stopped, replaced, added and removed.

#![expect(clippy::unwrap_used, reason = "a test's failure is a panic")]

mod faults;
mod leases;
mod member;
mod membership;
