//! A real process that is killed with SIGKILL while it appends to a real disk: all that it said was
//! acknowledged is there afterwards. The test starts itself again as that process.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

mod common;

use common::{CLUSTER, entry};
use kv_log::disk::RealDisk;
use kv_log::{Log, Options, Vote};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

/// Says to the process that it is the one to be killed, and where its log is.
const FOLDER: &str = "KV_LOG_KILLED_FOLDER";
const TEST: &str = "what_a_killed_process_acknowledged_is_there";

fn options() -> Options {
    Options { segment_bytes: 256 << 10, ..Options::new(CLUSTER) }
}

/// Appends until it is killed, and says which entries and votes are on the disk.
fn be_killed(folder: &Path) {
    let (log, _) = Log::open(RealDisk, folder, options()).unwrap();
    let term = log.vote().map_or(0, |vote| vote.term) + 1;
    log.save_vote(Vote { term, node: 1, committed: true }).unwrap();
    // The line that the test's name may be on ends here.
    println!("\nvote {term}");
    for index in log.state().next().. {
        let acknowledged = move |result: Result<(), kv_log::Error>| {
            result.unwrap();
            println!("entry {index}");
        };
        log.append(vec![entry(term, index, (index % 700) as usize)], None, acknowledged).unwrap();
        // Now and then the queue runs dry; otherwise groups are large.
        if index % 64 == 0 {
            log.sync().unwrap();
        }
    }
}

#[test]
fn what_a_killed_process_acknowledged_is_there() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return be_killed(Path::new(&folder));
    }
    let folder = tempfile::tempdir_in("/var/tmp").unwrap();
    let mut next = 0;
    for round in 1..=25 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", TEST, "--nocapture"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let (mut vote, mut last) = (0, None);
        let mut take = |line: &str| {
            let number = |name: &str| line.strip_prefix(name).and_then(|text| text.parse::<u64>().ok());
            vote = number("vote ").unwrap_or(vote);
            last = number("entry ").or(last);
        };
        lines.by_ref().take(round * 97).for_each(|line| take(&line));
        child.kill().unwrap();
        lines.for_each(|line| take(&line));
        assert!(!child.wait().unwrap().success());

        let (log, recovered) = Log::open(RealDisk, folder.path(), options()).unwrap();
        assert_eq!(log.vote().map(|vote| vote.term), Some(vote), "{recovered:?}");
        assert_eq!(vote, round as u64);
        let last = last.expect("it acknowledged something");
        let state = log.state();
        assert!(state.last.unwrap().index >= last && last >= next, "{state:?} after {last}");
        next = state.next();
        for found in log.read(0..u64::MAX).unwrap() {
            let wanted = entry(found.id.term, found.id.index, (found.id.index % 700) as usize);
            assert_eq!(found, wanted);
        }
    }
    assert!(next > 1000, "{next}");
}
