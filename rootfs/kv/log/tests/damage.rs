//! Logs that something else than this program changed: each byte, each sector, each file.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

mod common;

use common::{entries, folder, open, options};
use kv_log::disk::SECTOR;
use kv_log::disk::sim::SimDisk;
use kv_log::{Entry, Error, Log, LogId, Options, Vote};
use std::path::PathBuf;

const SEGMENT: u64 = 2048;
const VOTE: Vote = Vote { term: 3, node: 2, committed: true };

/// A log of some segments, and the paths of those.
fn log(sealed: bool) -> (SimDisk, Vec<PathBuf>, Vec<Entry>) {
    let disk = SimDisk::new(1);
    let (log, _) = open(&disk, SEGMENT).unwrap();
    log.save_vote(VOTE).unwrap();
    for from in (0..16).step_by(4) {
        log.append_and_wait(entries(3, from, 4, 170), None).unwrap();
    }
    if sealed {
        log.seal().unwrap();
    }
    let all = log.read(0..u64::MAX).unwrap();
    drop(log);
    let disk = disk.kill();
    (disk.clone(), segments(&disk), all)
}

fn segments(disk: &SimDisk) -> Vec<PathBuf> {
    let mut names = kv_log::disk::Disk::list(disk, folder()).unwrap();
    names.sort();
    names.into_iter().map(|name| folder().join(name)).collect()
}

fn used(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1
}

/// Whether all is there and says the same.
fn is_whole(disk: &SimDisk, all: &[Entry]) -> bool {
    let (log, _) = open(disk, SEGMENT).unwrap();
    log.vote() == Some(VOTE) && log.read(0..u64::MAX).unwrap() == all
}

#[test]
fn each_byte_that_changed_is_refused_or_was_never_used() {
    for sealed in [false, true] {
        let (disk, paths, all) = log(sealed);
        assert!(paths.len() >= 2, "{paths:?}");
        for path in &paths {
            let bytes = disk.bytes(path).unwrap();
            let used = used(&bytes);
            for (offset, byte) in bytes.iter().enumerate() {
                for mask in [0x01, 0x80, 0xff, (*byte).max(1)] {
                    let disk = disk.copy().unwrap();
                    disk.flip(path, offset as u64, mask).unwrap();
                    match open(&disk, SEGMENT) {
                        Err(Error::Damaged { path: named, offset: at, .. }) => {
                            assert_eq!(named, *path);
                            assert!(at <= offset as u64, "byte {offset} was found at {at}");
                        }
                        Err(other) => panic!("byte {offset} of {}: {other}", path.display()),
                        Ok((log, _)) => {
                            drop(log);
                            assert!(offset >= used, "byte {offset} of {} was let through", path.display());
                            assert!(is_whole(&disk.kill(), &all), "byte {offset}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn each_sector_that_was_lost_is_refused_but_for_the_seals_own() {
    let (disk, paths, all) = log(true);
    for path in &paths {
        let bytes = disk.bytes(path).unwrap();
        let last = path == paths.last().unwrap();
        let seal = (used(&bytes) - 1) / SECTOR as usize;
        for sector in 0..bytes.len() / SECTOR as usize {
            let disk = disk.copy().unwrap();
            let mut bytes = bytes.clone();
            bytes[sector * SECTOR as usize..][..SECTOR as usize].fill(0);
            disk.put(path, &bytes).unwrap();
            match open(&disk, SEGMENT) {
                Err(Error::Damaged { path: named, .. }) => assert_eq!(named, *path),
                Err(other) => panic!("{other}"),
                Ok(_) if sector > seal => assert!(is_whole(&disk.kill(), &all)),
                // What cannot be told from a torn end (docs/FORMATS.md).
                Ok((_, recovered)) => assert!(last && sector == seal, "{sector}: {recovered:?}"),
            }
        }
    }
}

#[test]
fn of_a_group_that_was_torn_in_any_way_the_whole_records_stay_and_nothing_is_refused() {
    let disk = SimDisk::new(1);
    let (log, _) = open(&disk, 4096).unwrap();
    log.append_and_wait(entries(1, 0, 3, 100), None).unwrap();
    let path = segments(&disk).remove(0);
    let before = disk.bytes(&path).unwrap();
    let zeros = Entry { id: LogId { term: 1, node: 1, index: 5 }, payload: vec![0; 1200].into() };
    let mut group = entries(1, 3, 2, 300);
    group.push(zeros);
    group.extend(entries(1, 6, 3, 200));
    log.append_and_wait(group, None).unwrap();
    let after = disk.bytes(&path).unwrap();
    let all = log.read(0..u64::MAX).unwrap();
    let sector = SECTOR as usize;
    let changed: Vec<usize> = (0..before.len())
        .step_by(sector)
        .filter(|at| before[*at..][..sector] != after[*at..][..sector])
        .collect();
    assert!(changed.len() >= 5, "{changed:?}");
    for kept in 0..1_u32 << changed.len() {
        let mut bytes = before.clone();
        for (_, at) in changed.iter().enumerate().filter(|(place, _)| kept >> place & 1 == 1) {
            bytes[*at..][..sector].copy_from_slice(&after[*at..][..sector]);
        }
        let disk = disk.copy().unwrap();
        disk.put(&path, &bytes).unwrap();
        let (log, recovered) = open(&disk, 4096).unwrap_or_else(|error| panic!("{kept:b}: {error}"));
        let there = log.read(0..u64::MAX).unwrap();
        assert!(there.len() >= 3 && all.starts_with(&there), "{kept:b}: {recovered:?}");
        let whole = kept == (1 << changed.len()) - 1;
        assert_eq!(there.len() == all.len(), whole, "{kept:b}");
        if whole || kept == 0 {
            assert_eq!(recovered.cut, None);
        }
        // It can be gone on with, and stays whole.
        let next = log.state().next();
        log.append_and_wait(entries(2, next, 2, 500), None).unwrap();
        drop(log);
        let (log, recovered) = open(&disk.crash(), 4096).unwrap();
        assert_eq!((log.state().next(), recovered.cut), (next + 2, None));
    }
}

#[test]
fn a_missing_segment_is_named() {
    let (disk, paths, _) = log(true);
    for (gone, path) in paths[..paths.len() - 1].iter().enumerate() {
        let disk = disk.copy().unwrap();
        kv_log::disk::Disk::remove(&disk, path).unwrap();
        let Err(Error::Missing { sequence, .. }) = open(&disk, SEGMENT) else { panic!("{}", path.display()) };
        assert_eq!(sequence, gone as u64 + 1);
        assert_eq!(segments(&disk).len(), paths.len() - 1, "nothing is removed");
    }
}

#[test]
fn another_clusters_log_one_of_the_future_and_none_are_refused_with_the_cure() {
    let (disk, paths, _) = log(true);
    let opened = |disk: &SimDisk, options: Options| match Log::open(disk.clone(), folder(), options) {
        Ok(_) => panic!("it was opened"),
        Err(error) => error,
    };
    let foreign = opened(&disk, Options { cluster: 0xbad, ..options(SEGMENT) });
    assert!(matches!(foreign, Error::Foreign { found: common::CLUSTER, wanted: 0xbad, .. }), "{foreign}");
    assert!(foreign.to_string().ends_with("give the member its own data directory"), "{foreign}");

    let future = disk.copy().unwrap();
    let mut bytes = disk.bytes(&paths[1]).unwrap();
    bytes[8] = 2;
    let sum = crc32c::crc32c(&bytes[..0x3c]);
    bytes[0x3c..0x40].copy_from_slice(&sum.to_le_bytes());
    future.put(&paths[1], &bytes).unwrap();
    let error = opened(&future, options(SEGMENT));
    assert!(matches!(error, Error::Future { found: 2, known: 1, .. }), "{error}");
    assert!(error.to_string().contains("start the version that wrote it"), "{error}");

    let none = opened(&SimDisk::new(0), Options { create: false, ..options(SEGMENT) });
    assert!(matches!(none, Error::NoLog { .. }), "{none}");

    let first = open(&disk, SEGMENT).unwrap();
    let second = opened(&disk, options(SEGMENT));
    assert!(matches!(second, Error::Locked { .. }), "{second}");
    drop(first);
}

#[test]
fn a_segment_under_anothers_name_is_refused() {
    let (disk, paths, _) = log(true);
    let copy = disk.copy().unwrap();
    copy.put(&paths[1], &disk.bytes(&paths[0]).unwrap()).unwrap();
    assert!(matches!(open(&copy, SEGMENT), Err(Error::Damaged { offset: 0, .. })));
    let copy = disk.copy().unwrap();
    copy.put(&folder().join("0000000000000002-0000000000000063.log"), b"x").unwrap();
    assert!(matches!(open(&copy, SEGMENT), Err(Error::Damaged { .. })));
}

#[test]
fn the_error_names_file_and_offset_and_says_how_to_replace_the_member() {
    let (disk, paths, _) = log(true);
    disk.flip(&paths[0], 300, 4).unwrap();
    let Err(error) = open(&disk, SEGMENT) else { panic!("it was opened") };
    let text = error.to_string();
    assert!(text.contains(paths[0].to_str().unwrap()) && text.contains("at byte "), "{text}");
    assert!(text.contains("member remove") && text.contains("member add"), "{text}");
}
