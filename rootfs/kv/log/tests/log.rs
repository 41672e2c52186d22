//! The log as its callers see it, on the machine's own disk.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

mod common;

use common::{CLUSTER, entries, entry};
use kv_log::disk::RealDisk;
use kv_log::{Error, Log, LogId, Mode, Options, State, Vote};
use std::path::Path;
use std::sync::{Barrier, mpsc};
use std::time::Duration;

fn options() -> Options {
    Options { segment_bytes: 64 << 10, cache_bytes: 4096, ..Options::new(CLUSTER) }
}

fn open(folder: &Path) -> Log<RealDisk> {
    Log::open(RealDisk, folder, options()).unwrap().0
}

fn id(term: u64, index: u64) -> LogId {
    LogId { term, node: 1, index }
}

#[test]
fn entries_votes_and_marks_come_back() {
    let folder = tempfile::tempdir_in("/var/tmp").unwrap();
    let vote = Vote { term: 2, node: 7, committed: true };
    let log = open(folder.path());
    assert_eq!((log.state(), log.state().first()), (State::default(), None));
    log.append_and_wait(entries(1, 0, 500, 300), Some(vote)).unwrap();
    log.save_committed(id(1, 400));
    log.save_committed(id(1, 300));
    log.purge(id(1, 99)).unwrap();
    log.truncate(Some(id(1, 449))).unwrap();
    log.append_and_wait(entries(2, 450, 10, 50), None).unwrap();
    let wanted = State {
        vote: Some(vote),
        committed: Some(id(1, 400)),
        purged: Some(id(1, 99)),
        last: Some(id(2, 459)),
    };
    assert_eq!(log.state(), wanted);
    let all = log.read(0..u64::MAX).unwrap();
    drop(log);
    let (log, recovered) = Log::open(RealDisk, folder.path(), options()).unwrap();
    assert_eq!((recovered.state, recovered.entries, recovered.cut), (wanted, 360, None));
    assert_eq!(log.state().first(), Some(100));
    assert_eq!(log.read(0..u64::MAX).unwrap(), all);
    assert_eq!(all[349], entry(1, 449, 300));
    assert_eq!(all[350], entry(2, 450, 50));
    // From the disk, from the cache, across both and segments, cut to size.
    assert_eq!(log.read(120..130).unwrap(), entries(1, 120, 10, 300));
    assert_eq!(log.read_up_to(120..200, 1000).unwrap(), entries(1, 120, 3, 300));
    assert_eq!(log.read_up_to(120..200, 1).unwrap(), entries(1, 120, 1, 300));
    assert_eq!(log.read(460..500).unwrap(), []);
}

#[test]
fn what_is_appended_can_be_read_before_it_is_on_the_disk() {
    let folder = tempfile::tempdir_in("/var/tmp").unwrap();
    let options = Options { mode: Mode::Caller, ..options() };
    let (log, _) = Log::open(RealDisk, folder.path(), options).unwrap();
    let (tell, told) = mpsc::channel();
    for index in 0..40 {
        let tell = tell.clone();
        log.append(entries(1, index, 1, 300), None, move |result| {
            tell.send((index, result.is_ok())).unwrap();
        })
        .unwrap();
    }
    // More than the cache holds, and none of it can go.
    assert_eq!(log.read(0..40).unwrap(), entries(1, 0, 40, 300));
    assert_eq!((log.durable_state(), log.queued_bytes()), (State::default(), 40 * 300));
    assert!(told.try_recv().is_err());
    assert!(log.turn() && !log.turn());
    assert_eq!(told.try_iter().collect::<Vec<_>>(), (0..40).map(|index| (index, true)).collect::<Vec<_>>());
    assert_eq!((log.durable_state(), log.queued_bytes()), (log.state(), 0));
    assert_eq!(log.read(0..40).unwrap(), entries(1, 0, 40, 300));
}

#[test]
fn what_does_not_fit_the_log_is_refused_and_changes_nothing() {
    let folder = tempfile::tempdir_in("/var/tmp").unwrap();
    let log = open(folder.path());
    log.append_and_wait(entries(2, 0, 5, 10), Some(Vote { term: 2, node: 1, committed: true })).unwrap();
    log.save_committed(id(2, 2));
    let before = log.state();
    let gap = log.append_and_wait(entries(2, 6, 1, 10), None);
    assert!(matches!(gap, Err(Error::NotNext { index: 6, next: 5 })));
    let large = log.append_and_wait(entries(2, 5, 1, 64 << 10), None);
    assert!(matches!(large, Err(Error::TooLarge { index: 5, bytes: 65_536, .. })));
    let old = log.save_vote(Vote { term: 1, node: 1, committed: true });
    assert!(matches!(old, Err(Error::OldVote { term: 1, saved: 2 })));
    for after in [Some(id(1, 3)), Some(id(2, 5)), Some(id(2, 1)), None] {
        assert!(matches!(log.truncate(after), Err(Error::NotThere { .. })), "{after:?}");
    }
    assert_eq!(log.state(), before);
    log.truncate(Some(id(2, 2))).unwrap();
    assert_eq!(log.state().next(), 3);
    let small = Options { segment_bytes: 100, ..options() };
    assert!(matches!(Log::open(RealDisk, folder.path(), small), Err(Error::SegmentSize { .. })));
    assert!(matches!(Log::open(RealDisk, folder.path(), options()), Err(Error::Locked { .. })));
}

#[test]
fn a_purge_frees_the_disk_and_a_snapshot_can_be_ahead_of_the_log() {
    let folder = tempfile::tempdir_in("/var/tmp").unwrap();
    let files = || std::fs::read_dir(folder.path()).unwrap().count() - 1;
    let log = open(folder.path());
    for index in 0..1000 {
        log.append(entries(1, index, 1, 400), None, drop).unwrap();
    }
    log.sync().unwrap();
    assert!(files() >= 7, "{}", files());
    log.purge(id(1, 990)).unwrap();
    assert_eq!(files(), 1);
    log.purge(id(3, 5000)).unwrap();
    assert_eq!((log.state().first(), log.state().last), (None, Some(id(3, 5000))));
    log.append_and_wait(entries(3, 5001, 1, 10), None).unwrap();
    drop(log);
    let log = open(folder.path());
    assert_eq!(log.read(0..u64::MAX).unwrap(), entries(3, 5001, 1, 10));
}

#[test]
fn many_callers_share_syncs_and_each_is_told_in_order() {
    let folder = tempfile::tempdir_in("/var/tmp").unwrap();
    let log = open(folder.path());
    let barrier = Barrier::new(16);
    let order = std::sync::Mutex::new(());
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                barrier.wait();
                for _ in 0..50 {
                    let (tell, told) = mpsc::channel();
                    {
                        let _turn = order.lock().unwrap();
                        let index = log.state().next();
                        let durable = log.clone();
                        log.append(entries(1, index, 1, 200), None, move |result| {
                            // On the disk, by the time that it is said.
                            let said = result.map(|()| durable.durable_state().next() > index);
                            // Before anybody can think that the log is nobody's any more.
                            drop(durable);
                            tell.send(said).unwrap();
                        })
                        .unwrap();
                    }
                    assert!(told.recv().unwrap().unwrap());
                }
            });
        }
    });
    assert_eq!(log.state().next(), 800);
    drop(log);
    assert_eq!(open(folder.path()).read(0..u64::MAX).unwrap(), entries(1, 0, 800, 200));
}

#[test]
fn an_idle_log_seals_its_last_group_and_then_writes_no_more() {
    let folder = tempfile::tempdir_in("/var/tmp").unwrap();
    let log = open(folder.path());
    log.append_and_wait(entries(1, 0, 1, 100), None).unwrap();
    let file = || {
        let mut files: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().path()).collect();
        files.retain(|path| path.extension().is_some_and(|name| name == "log"));
        std::fs::read(&files[0]).unwrap()
    };
    let used = |bytes: &[u8]| bytes.iter().rposition(|byte| *byte != 0).unwrap();
    let before = used(&file());
    log.save_committed(id(1, 0));
    while log.durable_state().committed.is_none() {
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(log);
    let sealed = file();
    assert!(used(&sealed) > before);
    drop(open(folder.path()));
    assert_eq!(file(), sealed);
}
