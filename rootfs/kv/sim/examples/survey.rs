//! All faults of a range of seeds, a line each: `survey FROM TO [BUG]`, a bug by its name in
//! [`kv_sim::bug::Bug`].

use std::sync::atomic::{AtomicU64, Ordering};

use kv_sim::bug::Bug;
use kv_sim::story::story;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| words.get(at).and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
    let bug = match words.get(2).map(String::as_str) {
        None => Bug::None,
        Some(name) => match Bug::ALL.iter().find(|bug| format!("{bug:?}") == name) {
            Some(bug) => *bug,
            None => return eprintln!("error: no bug {name}; there are {:?}", Bug::ALL),
        },
    };
    let (next, faults) = (AtomicU64::new(number(0)), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= number(1) {
                        return;
                    }
                    if let Err(fault) = story(seed, bug) {
                        faults.fetch_add(1, Ordering::Relaxed);
                        println!("seed {seed}: {:.300}", fault.lines().next().unwrap_or_default());
                    }
                }
            });
        }
    });
    println!("{} of {} seeds have faults", faults.into_inner(), number(1) - number(0));
}
