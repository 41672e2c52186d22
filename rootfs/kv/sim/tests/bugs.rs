//! Bugs that are planted are found, within 1,000 seeds.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's failure is a panic")]

use kv_check::Rule;
use kv_sim::bug::Bug;
use kv_sim::seeds::first_fault;

fn found(bug: Bug, rules: &[Rule]) {
    let (seed, fault) = first_fault(0..1000, bug, |_, _| {}).expect("it is not found");
    println!("{bug:?} is found by seed {seed}: {fault}");
    assert!(rules.iter().any(|rule| fault.starts_with(&format!("{rule:?}: "))), "seed {seed}: {fault}");
}

#[test]
fn a_reply_before_the_fsync() {
    // What was acknowledged is gone, and may be anything: a write, a renewal, what a watch told.
    let lost = [Rule::OneOrder, Rule::Revisions, Rule::SameState, Rule::LeaseShort, Rule::Watch];
    found(Bug::EarlyReply, &lost);
}

#[test]
fn a_read_without_the_barrier() {
    found(Bug::StaleRead, &[Rule::OneOrder]);
}

#[test]
fn a_lease_shortened_at_an_election() {
    found(Bug::ShortLease, &[Rule::LeaseShort]);
}

#[test]
fn a_gap_in_a_watch_at_a_compaction() {
    found(Bug::WatchGap, &[Rule::Watch]);
}

#[test]
fn a_proposal_that_is_logged_twice() {
    found(Bug::TwoProposals, &[Rule::OneOrder, Rule::Revisions]);
}
