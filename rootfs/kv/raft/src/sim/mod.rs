//! A world of one seed: clock, tasks, network, disks and chance belong to the test.
//!
//! [`run`] starts tokio on one thread with a clock that stands still until all tasks wait, and then
//! jumps to the next timer. openraft draws its chance (election timeouts) from the runtime, which is
//! [`Seeded`] here; the rest is drawn from [`Chance`]. Nothing in openraft's own paths depends on the
//! order of a hash map, on a thread or on the system's clock, so two runs of one seed are the same,
//! message by message; `tests/determinism.rs` compares them.
//!
//! What is simulated: delay, loss, duplication and reordering of messages, one-way and two-way
//! partitions ([`net`]); crashes that lose what was not synced ([`disk`], [`machine`]). What is not:
//! clocks of different speed, torn and damaged bytes within an entry (those are the log's own tests).

pub mod chance;
pub mod cluster;
pub mod disk;
pub mod machine;
pub mod net;
pub mod runtime;
pub mod trace;

use std::future::Future;
use std::io;

use openraft_rt::AsyncRuntime;

use crate::Runtime;

pub use chance::Chance;
pub use cluster::{Cluster, Settings};
pub use disk::Disk;
pub use net::{Faults, Net};
pub use runtime::Seeded;
pub use trace::Trace;

/// Runs `future` in simulated time, which starts at 0 and passes only while all tasks wait.
pub fn run<F: Future>(seed: u64, future: F) -> io::Result<F::Output> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    Ok(runtime.block_on(<Seeded as Runtime>::Async::scope(seed, future)))
}

/// Starts a task of the world, with chance of its own.
pub fn spawn(future: impl Future<Output = ()> + Send + 'static) {
    drop(<Seeded as Runtime>::Async::spawn(future));
}
