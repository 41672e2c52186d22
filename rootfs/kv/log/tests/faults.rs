//! Disks that fill up or fail, at each call in turn.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

mod common;

use common::{entries, folder, open, options};
use kv_log::disk::sim::{Fault, SimDisk};
use kv_log::{Entry, Error, Log, LogId, Vote};

const SEGMENT: u64 = 1024;

fn all(log: &Log<SimDisk>) -> Vec<Entry> {
    log.read(0..u64::MAX).unwrap()
}

#[test]
fn a_full_disk_fails_the_append_and_loses_nothing_and_with_room_it_goes_on() {
    let disk = SimDisk::new(3);
    let (log, _) = open(&disk, SEGMENT).unwrap();
    disk.set_room(Some(3 * SEGMENT)).unwrap();
    let mut next = 0;
    let error = loop {
        match log.append_and_wait(entries(1, next, 2, 200), None) {
            Ok(()) => next += 2,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::NoSpace { .. }), "{error}");
    assert!(next >= 6, "{next}");
    // What was acknowledged can be read, now and after a crash; asking again fails the same way.
    let before = all(&log);
    assert_eq!(before.len() as u64, next);
    for _ in 0..3 {
        assert!(matches!(log.append_and_wait(entries(1, next, 2, 200), None), Err(Error::NoSpace { .. })));
        assert_eq!(all(&log), before);
    }
    // A purge makes room by itself, where its own record fits or a segment can be had.
    disk.set_room(None).unwrap();
    log.append_and_wait(entries(2, next, 2, 200), Some(Vote { term: 2, node: 1, committed: true })).unwrap();
    drop(log);
    let (log, recovered) = open(&disk.crash(), SEGMENT).unwrap();
    assert_eq!((recovered.entries, recovered.cut), (next + 2, None));
    assert_eq!(log.read(0..next).unwrap(), before);
    assert_eq!(log.read(next..next + 2).unwrap(), entries(2, next, 2, 200));
}

#[test]
fn an_io_error_at_any_call_is_final_and_is_not_written_over() {
    let (mut failed, mut n) = (0, 0);
    loop {
        n += 1;
        let disk = SimDisk::new(n);
        let (log, _) = open(&disk, SEGMENT).unwrap();
        log.append_and_wait(entries(1, 0, 2, 100), None).unwrap();
        disk.fail_at(n, Fault::Io).unwrap();
        let mut next = 2;
        let error = loop {
            match log.append_and_wait(entries(1, next, 1, 300), None) {
                Ok(()) if next == 8 => break None,
                Ok(()) => next += 1,
                Err(error) => break Some(error),
            }
        };
        let Some(error) = error else { break };
        assert!(matches!(error, Error::Failed { .. }), "{error}");
        failed += 1;
        // Nothing more is taken, though the disk would do it; what was acknowledged can be read.
        let calls = || log.append_and_wait(entries(1, next, 1, 10), None).unwrap_err();
        assert!(matches!(calls(), Error::Failed { .. }));
        assert!(matches!(log.truncate(None), Err(Error::Failed { .. })));
        assert!(matches!(log.purge(LogId { term: 1, node: 1, index: 0 }), Err(Error::Failed { .. })));
        assert_eq!(all(&log).len() as u64, next);
        drop(log);
        // Started again without a power cut: what is there may have been in memory only, and must be
        // on the disk from the opening on.
        let disk = disk.kill();
        let (log, _) = open(&disk, SEGMENT).unwrap();
        let there = all(&log);
        assert!(there.len() as u64 >= next, "{n}");
        drop(log);
        let (log, _) = open(&disk.crash(), SEGMENT).unwrap();
        assert_eq!(all(&log), there, "call {n}");
    }
    assert!(failed > 15, "{failed}");
}

#[test]
fn a_purge_removes_whole_segments_and_any_crash_in_it_leaves_a_good_log() {
    for n in 1.. {
        let disk = SimDisk::new(n);
        let (log, _) = open(&disk, SEGMENT).unwrap();
        for next in 0..12 {
            log.append_and_wait(entries(1, next, 1, 300), None).unwrap();
        }
        let up_to = LogId { term: 1, node: 1, index: 9 };
        disk.fail_at(n, Fault::Stop).unwrap();
        let result = log.purge(up_to);
        drop(log);
        let disk = disk.crash();
        let (log, recovered) = open(&disk, SEGMENT).unwrap();
        let purged = recovered.state.purged == Some(up_to);
        assert_eq!(log.read(10..12).unwrap(), entries(1, 10, 2, 300));
        assert_eq!(all(&log).len(), if purged { 2 } else { 12 });
        log.purge(up_to).unwrap();
        if result.is_ok() {
            assert!(recovered.segments <= 2 && purged, "{recovered:?}");
            return;
        }
    }
}

#[test]
fn a_crash_at_any_call_of_the_making_leaves_what_can_be_made_again() {
    for n in 1.. {
        let disk = SimDisk::new(n);
        disk.fail_at(n, Fault::Stop).unwrap();
        let made = Log::open(disk.clone(), folder(), options(SEGMENT));
        let done = made.is_ok();
        drop(made);
        let (_, recovered) = open(&disk.crash(), SEGMENT).unwrap();
        assert_eq!((recovered.entries, recovered.segments), (0, 1));
        if done {
            return;
        }
    }
}
