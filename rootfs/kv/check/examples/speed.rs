//! How fast the checker is: `cargo run --release -p kv-check --example speed`.

#[path = "../tests/common/mod.rs"]
mod common;

use std::time::Instant;

fn main() {
    for calls in [10_000, 100_000] {
        let store = common::run(1, calls);
        let began = Instant::now();
        let result = kv_check::check(&store.history, common::BOUNDS).map(|found| found.entries.len());
        let took = began.elapsed();
        let speed = calls as f64 / took.as_secs_f64();
        println!("{calls} operations in {took:?}: {speed:.0} a second; revisions: {result:?}");
    }
}
