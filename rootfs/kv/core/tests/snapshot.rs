//! Snapshots that are damaged are refused, and what is there is never written over in part.

#![allow(clippy::unwrap_used, reason = "a test's failure is a panic")]

mod common;

use common::{Store, delete, put, restore, snapshot};
use kv_core::{Command, Error, Options, Put, State};

fn store() -> Store {
    let mut store = Store::new();
    store.done(Command::LeaseGrant { id: -7, ttl_s: 10 });
    store.done(Command::Put(Put { key: "a".into(), value: "1".into(), lease: -7, ..Put::default() }));
    store.done(put("b", "2"));
    store.done(put("b", "3"));
    store.done(delete("a", ""));
    store.done(Command::Side(vec![("member".into(), Some("x".into()))]));
    store
}

#[test]
fn a_flipped_bit_or_a_missing_end_is_found() {
    let store = store();
    let bytes = snapshot(&store.state.view().unwrap());
    assert_eq!(common::dump(&restore(&bytes).unwrap().view().unwrap()), store.dump());
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1 << bit;
            let error = restore(&bytes).unwrap_err();
            let expected = match error {
                Error::SnapshotDamaged { offset, .. } => offset <= at as u64,
                Error::SnapshotFormat { .. } => (8..12).contains(&at),
                _ => false,
            };
            assert!(expected, "byte {at}: {error}");
        }
        let error = restore(&bytes[..at]).unwrap_err();
        assert!(matches!(error, Error::SnapshotDamaged { .. }), "cut at {at}: {error}");
    }
}

#[test]
fn large_values_go_through_in_chunks() {
    let mut store = Store::new();
    for i in 0..20 {
        store.done(put(&format!("key{i}"), &"v".repeat(i * 20_000)));
    }
    let bytes = snapshot(&store.state.view().unwrap());
    assert_eq!(common::dump(&restore(&bytes).unwrap().view().unwrap()), store.dump());
}

#[test]
fn a_file_is_replaced_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let options = Options::default();
    let mut old = State::open_file(&path, options).unwrap();
    assert_eq!(old.revision(), 1);
    old.make_durable().unwrap();
    let bytes = snapshot(&store().state.view().unwrap());

    let cut = State::restore_file(&path, options, &mut &bytes[..bytes.len() - 1]).unwrap_err();
    assert!(matches!(cut, Error::SnapshotDamaged { .. }), "{cut}");
    let left: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["db"]);
    drop(old);
    assert_eq!(State::open_file(&path, options).unwrap().revision(), 1);

    let new = State::restore_file(&path, options, &mut bytes.as_slice()).unwrap();
    assert_eq!(new.revision(), 5);
    let sizes = new.sizes().unwrap();
    assert_eq!((sizes.keys, sizes.leases), (1, 1));
    assert_eq!(sizes.on_disk, std::fs::metadata(&path).unwrap().len());
    drop(new);
    let mut again = State::open_file(&path, options).unwrap();
    assert_eq!((again.revision(), again.applied().map(|at| at.index)), (5, Some(6)));
    again.begin_anew(0, false).unwrap();
    assert_eq!(again.applied(), None);
}

#[test]
fn a_store_is_not_restored_over() {
    let bytes = snapshot(&store().state.view().unwrap());
    let disk = common::disk::Disk::new();
    drop(State::open(disk.clone(), common::options()).unwrap());
    let error = State::restore(disk.closed(), common::options(), &mut bytes.as_slice()).unwrap_err();
    assert!(matches!(error, Error::NotEmpty), "{error}");
}

#[test]
fn other_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    std::fs::write(&path, "something else").unwrap();
    let error = State::open_file(&path, Options::default()).unwrap_err();
    assert!(matches!(error, Error::Storage { doing: "opening it", .. }), "{error}");

    // What begins with zeros and is no file that was being made is not emptied.
    let zeros = vec![0; 1 << 20];
    std::fs::write(&path, &zeros).unwrap();
    let error = State::open_file(&path, Options::default()).unwrap_err();
    assert!(matches!(error, Error::Storage { doing: "opening it", .. }), "{error}");
    assert!(std::fs::read(&path).unwrap() == zeros);

    std::fs::remove_file(&path).unwrap();
    let table = redb::TableDefinition::<u64, u64>::new("accounts");
    let database = redb::Database::create(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(table).unwrap().insert(1, 2).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let error = State::open_file(&path, Options::default()).unwrap_err();
    assert!(matches!(error, Error::NotAStore), "{error}");

    std::fs::remove_file(&path).unwrap();
    drop(State::open_file(&path, Options::default()).unwrap());
    let meta = redb::TableDefinition::<&str, &[u8]>::new("meta");
    let database = redb::Database::create(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(meta).unwrap().insert("format", 2_u64.to_le_bytes().as_slice()).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let error = State::open_file(&path, Options::default()).unwrap_err();
    assert!(matches!(error, Error::Format { found: 2, known: 1 }), "{error}");
}
