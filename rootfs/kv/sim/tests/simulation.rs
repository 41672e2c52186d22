//! The whole store from seeds: see the crate's own words for the fault model.
//!
//! `SLIPWAY_SEED=n` repeats one seed, with `SLIPWAY_TRACE=1` message by message; `SLIPWAY_NIGHTLY=1`
//! runs 10,000.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's failure is a panic")]

use std::sync::Mutex;

use kv_sim::bug::Bug;
use kv_sim::seeds::{first_fault, seeds};
use kv_sim::story::Outcome;

#[test]
fn all_members_serve_as_one_store() {
    let total = Mutex::new(Outcome::default());
    let seeds = seeds();
    let count = seeds.end - seeds.start;
    let fault = first_fault(seeds, Bug::None, |seed, outcome| {
        if count == 1 {
            println!("seed {seed}: {outcome:?}");
        }
        total.lock().unwrap().add(outcome);
    });
    if let Some((seed, fault)) = fault {
        panic!(
            "seed {seed}: {fault}\nrepeat it: SLIPWAY_SEED={seed} cargo test --release -p kv-sim --test simulation"
        );
    }
    let total = total.into_inner().unwrap();
    println!("{count} seeds: {total:?}");
    // The stories are not empty.
    if count >= 200 {
        assert!(total.answered > 200 * count && total.revisions > 80 * count, "{total:?}");
        assert!(
            total.events > 100 * count && total.lease_ends > count / 4 && total.overtaken > count,
            "{total:?}"
        );
        assert!(total.crashes > count && total.cuts > count && total.partitions > count / 2, "{total:?}");
        assert!(
            total.added > count / 4 && total.removed > count / 10 && total.snapshots > count,
            "{total:?}"
        );
    }
}
