//! Power lost at any write of the database, with the fault model of `common::disk`:
//! once it is opened again and the log is replayed from the place that the database
//! names, the state is that of a store that never failed.

#![allow(clippy::unwrap_used, reason = "a test's failure is a panic")]

mod common;

use common::disk::{Disk, Random};
use common::{Store, delete, dump, options, put};
use kv_core::{Command, Error, Operation, Position, Put, State, Txn};

/// Little memory, so that pages are written while they are not durable.
fn small() -> kv_core::Options {
    kv_core::Options { cache_bytes: 16 << 10, ..options() }
}

/// The log of a run: values of up to two pages, leases, transactions, compactions.
fn log(random: &mut Random) -> Vec<Command> {
    let mut revision = 1;
    let mut compacted = 0;
    let mut commands = Vec::new();
    for id in 1..=3 {
        commands.push(Command::LeaseGrant { id, ttl_s: 60 });
    }
    for _ in 0..60 + random.below(60) {
        let key = format!("key-{}", random.below(25));
        let most = if random.below(10) == 0 { 9000 } else { 300 };
        let value = "v".repeat(random.below(most) as usize);
        let kind = random.below(20);
        commands.push(match kind {
            0 => delete("key-1", "key-2"),
            1 if revision > compacted + 5 => {
                compacted = revision - 3;
                Command::Compact { revision: compacted }
            }
            2 => Command::LeaseRevoke { id: 1 + random.below(3) as i64 },
            3..=6 => Command::Txn(Txn {
                success: ["a", "b", "c"]
                    .map(|key| {
                        Operation::Put(Put { key: key.into(), value: value.clone().into(), ..Put::default() })
                    })
                    .into(),
                ..Txn::default()
            }),
            7 => Command::Side(vec![(key.into(), Some(value.into()))]),
            _ => {
                revision += 1;
                put(&key, &value)
            }
        });
    }
    commands
}

fn at(index: usize) -> Position {
    Position { term: 1, leader: 1, index: index as u64 + 1 }
}

/// Applies the rest of the log in batches, with removals and durable commits in between.
/// Says up to which entry it was made durable before an error.
fn run(state: &mut State, log: &[Command], random: &mut Random, durable: &mut u64) -> Result<(), Error> {
    let mut next = state.applied().map_or(0, |at| at.index as usize);
    while next < log.len() {
        let end = log.len().min(next + 1 + random.below(8) as usize);
        state.batch(|batch| {
            for (index, command) in log[..end].iter().enumerate().skip(next) {
                let reply = batch.apply(at(index), command)?;
                let _ = reply.result;
            }
            Ok::<_, Error>(())
        })?;
        next = end;
        match random.below(6) {
            0 => {
                state.make_durable()?;
                *durable = next as u64;
            }
            1 | 2 => {
                state.compact_step(4)?;
            }
            _ => {}
        }
    }
    state.make_durable()?;
    *durable = next as u64;
    Ok(())
}

/// One run: the power fails up to four times, then it is left alone. Says how often it failed.
fn one(seed: u64) -> u64 {
    let mut random = Random(seed);
    let log = log(&mut random);
    let mut whole = Store::new();
    for command in log.clone() {
        whole.apply(command);
    }
    let mut disk = Disk::new();
    let mut state = State::open(disk.clone(), small()).unwrap();
    let mut durable = 0;
    let mut crashes = 0;
    loop {
        if crashes < 4 {
            disk.fail_after(1 + random.below(150));
        }
        let ended = run(&mut state, &log, &mut random, &mut durable);
        if ended.is_ok() {
            break;
        }
        crashes += 1;
        disk = disk.crash(&mut random);
        // Opening writes too, and may be cut off as well.
        if random.below(4) == 0 {
            disk.fail_after(1 + random.below(5));
        }
        state = match State::open(disk.clone(), small()) {
            Ok(state) => state,
            Err(_) => {
                disk = disk.crash(&mut random);
                State::open(disk.clone(), small()).unwrap_or_else(|error| panic!("seed {seed}: {error:?}"))
            }
        };
        let applied = state.applied().map_or(0, |at| at.index);
        assert!(applied >= durable, "seed {seed}: durable up to {durable}, found {applied}");
        durable = applied;
    }
    drop(state);
    let verified = kv_core::Options { verify: true, ..small() };
    let mut state = State::open(disk.closed(), verified).unwrap();
    assert!(dump(&state.view().unwrap()) == whole.dump(), "seed {seed}: the states differ");
    while !state.compact_step(50).unwrap().done {}
    assert!(dump(&state.view().unwrap()) == whole.dump(), "seed {seed}: the states differ when compacted");
    crashes
}

#[test]
fn the_state_is_the_same_after_any_crash() {
    let crashes: u64 = (0..200).map(one).sum();
    assert!(crashes > 300, "the runs are long enough to be cut: {crashes}");
}

/// The first start is cut at every write: the next one makes the store or finds it whole.
#[test]
fn making_a_store_may_be_cut_anywhere() {
    let disk = Disk::new();
    drop(State::open(disk.clone(), small()).unwrap());
    let calls = disk.calls();
    assert!(calls > 5, "{calls}");
    for call in 1..=calls {
        for seed in 0..20 {
            let mut random = Random(call << 8 | seed);
            let disk = Disk::new();
            disk.fail_after(call);
            drop(State::open(disk.clone(), small()));
            let state = State::open(disk.crash(&mut random), small());
            let state = state.unwrap_or_else(|error| panic!("cut at call {call}, seed {seed}: {error:?}"));
            assert_eq!(state.revision(), 1);
        }
    }
}

#[test]
fn a_failed_batch_leaves_nothing() {
    let mut store = Store::new();
    store.done(put("a", "1"));
    let before = store.dump();
    let failed = store.state.batch(|batch| {
        batch.apply(at(5), &put("a", "2"))?;
        batch.apply(at(5), &put("a", "3"))
    });
    assert!(matches!(failed, Err(Error::Replayed { index: 6, applied: 6 })), "{failed:?}");
    assert_eq!(store.dump(), before);
    assert_eq!(store.state.applied(), Some(at(0)));
}
