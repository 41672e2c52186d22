//! One seed, one run: message by message, answer by answer.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's failure is a panic")]

use kv_sim::bug::Bug;
use kv_sim::story::story_in_full;

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 1..=8 {
        let (one, first, _) = story_in_full(seed, Bug::None).unwrap();
        // Beside others: threads do not matter.
        let runs: Vec<_> =
            (0..2).map(|_| std::thread::spawn(move || story_in_full(seed, Bug::None).unwrap())).collect();
        for run in runs {
            let (other, second, _) = run.join().unwrap();
            let differs = first.operations.iter().zip(&second.operations).find(|(a, b)| a != b);
            assert_eq!(differs, None, "seed {seed}");
            assert_eq!(first.watches, second.watches, "seed {seed}");
            assert_eq!(one, other, "seed {seed}");
        }
        assert!(one.trace.0 > 1000, "{one:?}");
    }
}

#[test]
fn another_seed_gives_another_run() {
    let hash = |seed| story_in_full(seed, Bug::None).unwrap().0.trace;
    assert_ne!(hash(1), hash(2));
}
