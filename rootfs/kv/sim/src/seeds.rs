//! Many seeds on all processors.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::bug::Bug;
use crate::lock;
use crate::story::{Outcome, story};

/// The seeds of a run: `SLIPWAY_SEED` for one, `SLIPWAY_NIGHTLY=1` for 10,000, else 200.
pub fn seeds() -> Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|text: String| text.parse::<u64>().ok());
    match number("SLIPWAY_SEED") {
        Some(seed) => seed..seed + 1,
        None if number("SLIPWAY_NIGHTLY") == Some(1) => 0..10_000,
        None => 0..200,
    }
}

/// Runs seeds until one has a fault; gives the least one that is known to have one, and the fault. All
/// seeds before it have none.
pub fn first_fault(
    seeds: Range<u64>,
    bug: Bug,
    each: impl Fn(u64, &Outcome) + Sync,
) -> Option<(u64, String)> {
    let (next, found) = (AtomicU64::new(seeds.start), Mutex::new(None::<(u64, String)>));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end || lock(&found).is_some() {
                return;
            }
            match story(seed, bug) {
                Ok(outcome) => each(seed, &outcome),
                Err(fault) => {
                    let mut found = lock(&found);
                    if found.as_ref().is_none_or(|(other, _)| *other > seed) {
                        *found = Some((seed, fault));
                    }
                }
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    found.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}
