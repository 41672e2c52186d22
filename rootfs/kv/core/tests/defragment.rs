//! A database is copied into a smaller file while it is read and written.

#![allow(clippy::unwrap_used, reason = "a test's failure is a panic")]

mod common;

use std::fs;
use std::thread;

use common::{Store, delete, dump, options, put};
use kv_core::{Command, Error, Position, State};

fn at(index: u64) -> Position {
    Position { term: 1, leader: 1, index }
}

/// Applies commands behind those that are applied.
fn apply(state: &mut State, commands: &[Command]) {
    let first = state.applied().map_or(1, |at| at.index + 1);
    state
        .batch(|batch| {
            for (number, command) in commands.iter().enumerate() {
                batch.apply(at(first + number as u64), command)?.result.unwrap();
            }
            Ok::<_, Error>(())
        })
        .unwrap();
}

/// Most of it is deleted and compacted again.
fn filled(state: &mut State) {
    apply(state, &[Command::LeaseGrant { id: 7, ttl_s: 60 }]);
    let puts: Vec<_> = (0..20_000).map(|number| put(&format!("key-{number:05}"), &"v".repeat(256))).collect();
    apply(state, &puts);
    apply(state, &[delete("key-00100", "key-19900"), put("last", "1")]);
    let revision = state.revision();
    apply(state, &[Command::Compact { revision }]);
    while !state.compact_step(5_000).unwrap().done {}
    state.make_durable().unwrap();
}

#[test]
fn a_file_shrinks_and_says_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let mut state = State::open_file(&path, options()).unwrap();
    filled(&mut state);
    let (old, dumped) = (state.view().unwrap(), dump(&state.view().unwrap()));
    let hash = old.hash(0).unwrap();

    let done = state.source().defragment().unwrap();
    assert!(done.after * 10 < done.before, "{done:?}");
    assert_eq!(fs::metadata(&path).unwrap().len(), done.after);
    assert_eq!(state.sizes().unwrap().on_disk, done.after);
    assert_eq!(dump(&state.view().unwrap()), dumped);
    assert_eq!(state.view().unwrap().hash(0).unwrap(), hash);
    assert_eq!(dump(&old), dumped, "a view that was taken before stays good");
    drop(old);

    apply(&mut state, &[put("after", "1")]);
    let (dumped, applied) = (dump(&state.view().unwrap()), state.applied());
    state.make_durable().unwrap();
    drop(state);
    let state = State::open_file(&path, options()).unwrap();
    assert_eq!((dump(&state.view().unwrap()), state.applied()), (dumped, applied));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn what_was_not_durable_is_in_the_new_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let mut state = State::open_file(&path, options()).unwrap();
    filled(&mut state);
    apply(&mut state, &[put("only in memory", "1")]);
    state.source().defragment().unwrap();
    let (dumped, applied) = (dump(&state.view().unwrap()), state.applied());
    // As a crash would find it: the file as it is, the state never closed.
    let found = folder.path().join("found");
    fs::copy(&path, &found).unwrap();
    let state = State::open_file(&found, options()).unwrap();
    assert_eq!((dump(&state.view().unwrap()), state.applied()), (dumped, applied));
}

#[test]
fn an_unfinished_copy_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let mut state = State::open_file(&path, options()).unwrap();
    filled(&mut state);
    let dumped = dump(&state.view().unwrap());
    drop(state);
    let whole = fs::read(&path).unwrap();
    for length in [0, 1, 5_000, whole.len() / 2, whole.len()] {
        let unfinished = ["db.new", "db.copy"].map(|name| folder.path().join(name));
        for path in &unfinished {
            fs::write(path, &whole[..length]).unwrap();
        }
        let state = State::open_file(&path, options()).unwrap();
        assert_eq!(dump(&state.view().unwrap()), dumped);
        assert!(!unfinished.iter().any(|path| path.exists()));
    }
}

#[test]
fn nothing_is_lost_that_is_written_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let mut state = State::open_file(&folder.path().join("db"), options()).unwrap();
    filled(&mut state);
    let source = state.source();
    let copies = thread::spawn(move || {
        for _ in 0..5 {
            source.defragment().unwrap();
        }
    });
    let mut written = 0;
    while !copies.is_finished() || written < 100 {
        apply(&mut state, &[put(&format!("during-{written:08}"), "1")]);
        written += 1;
    }
    copies.join().unwrap();
    let view = state.view().unwrap();
    let range = kv_core::Range {
        key: "during-".into(),
        range_end: "during.".into(),
        count_only: true,
        ..kv_core::Range::default()
    };
    assert_eq!(view.range(&range).unwrap().unwrap().count, written);
}

#[test]
fn a_restored_state_takes_the_place_for_all_who_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let mut state = State::open_file(&path, options()).unwrap();
    apply(&mut state, &[put("a", "1"), put("a", "2")]);
    let (snapshot, dumped) = (common::snapshot(&state.view().unwrap()), dump(&state.view().unwrap()));
    apply(&mut state, &[put("b", "1")]);
    let source = state.source();
    let restore = || State::restore_file(&path, options(), &mut snapshot.as_slice());
    state = state.replaced_by(restore).unwrap();
    assert_eq!(dump(&source.view().unwrap()), dumped);
    apply(&mut state, &[put("c", "1")]);
    source.defragment().unwrap();
    let dumped = dump(&source.view().unwrap());
    drop((state, source));
    assert_eq!(dump(&State::open_file(&path, options()).unwrap().view().unwrap()), dumped);
}

#[test]
fn a_database_in_no_file_says_so() {
    let store = Store::new();
    assert!(matches!(store.state.source().defragment(), Err(Error::NoFile)));
}
