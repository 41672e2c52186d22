//! Random runs on a simulated disk: appends, votes, truncations, purges, seals, full disks, failing
//! calls, kills and power cuts. After each recovery the log must be as it was at some moment between
//! the last acknowledgement and the crash: all that was acknowledged, nothing that never was appended,
//! no older vote. `KV_LOG_SEED=N` repeats one run.
//!
//! The fault model is that of `kv_log::disk::sim`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

mod common;

use common::{Random, folder, options};
use kv_log::disk::sim::{Fault, SimDisk};
use kv_log::{Entry, Error, Log, LogId, State, Vote};
use std::sync::{Arc, Mutex};

/// The log as it should be.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    purged: Option<LogId>,
    entries: Vec<Entry>,
    vote: Option<Vote>,
}

impl Model {
    fn first(&self) -> u64 {
        self.purged.map_or(0, |id| id.index + 1)
    }

    fn last(&self) -> Option<LogId> {
        self.entries.last().map(|entry| entry.id).or(self.purged)
    }

    fn next(&self) -> u64 {
        self.last().map_or(0, |id| id.index + 1)
    }

    fn id_at(&self, index: u64) -> LogId {
        self.entries[(index - self.first()) as usize].id
    }

    fn of(log: &Log<SimDisk>) -> Self {
        let State { purged, vote, .. } = log.state();
        Self { purged, vote, entries: log.read(0..u64::MAX).unwrap() }
    }
}

#[derive(Debug)]
enum Act {
    Truncate(Option<LogId>),
    Purge(LogId),
}

impl Act {
    /// The log after it; none when what it names is not there.
    fn on(&self, model: &Model) -> Option<Model> {
        let mut then = model.clone();
        match self {
            Self::Truncate(last) => {
                then.entries.truncate((last.map_or(0, |id| id.index + 1) - model.first()) as usize);
                (then.last() == *last).then_some(then)
            }
            Self::Purge(up_to) => {
                then.entries.retain(|entry| entry.id.index > up_to.index);
                then.purged = Some(*up_to);
                Some(then)
            }
        }
    }
}

type Told = Arc<Mutex<Option<Result<(), Error>>>>;

struct Run {
    random: Random,
    segment_bytes: u64,
    disk: SimDisk,
    log: Option<Log<SimDisk>>,
    /// The log with all that was asked for and did not fail.
    now: Model,
    /// The moments that a crash can lead back to, with their numbers. The first is the last
    /// acknowledged one, if nothing failed since.
    moments: Vec<(u64, Model)>,
    number: u64,
    /// Requests that are on their way, and the moment behind each.
    waiting: Vec<(Told, u64, Model)>,
    acknowledged: Model,
    committed: Option<LogId>,
    term: u64,
    serial: u64,
    counts: [u64; 4],
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let segment_bytes = [1024, 2048, 4096][random.below(3) as usize];
        let disk = SimDisk::new(seed);
        let mut run = Self {
            random,
            segment_bytes,
            disk,
            log: None,
            now: Model::default(),
            moments: vec![(1, Model::default())],
            number: 1,
            waiting: Vec::new(),
            acknowledged: Model::default(),
            committed: None,
            term: 1,
            serial: 0,
            counts: [0; 4],
        };
        run.reopen().unwrap();
        run
    }

    fn log(&self) -> &Log<SimDisk> {
        self.log.as_ref().unwrap()
    }

    fn moment(&mut self) {
        self.number += 1;
        self.moments.push((self.number, self.now.clone()));
    }

    fn acknowledge(&mut self, number: u64, model: Model) {
        self.moments.retain(|(moment, _)| *moment >= number);
        self.acknowledged = model;
        self.counts[0] += 1;
    }

    /// Opens the log after a crash and compares.
    fn reopen(&mut self) -> Result<(), String> {
        self.log = None;
        self.waiting.clear();
        let opened = Log::open(self.disk.clone(), folder(), options(self.segment_bytes));
        let (log, recovered) = opened.map_err(|error| format!("refused after a crash: {error}"))?;
        let found = Model::of(&log);
        if recovered.entries != found.entries.len() as u64 || recovered.state != log.state() {
            return Err(format!("{recovered:?} does not fit {found:?}"));
        }
        if !self.moments.iter().any(|(_, model)| *model == found) {
            return Err(format!(
                "found {found:?}\nwhich it never was since {:?}\nstate {:?}",
                self.acknowledged,
                log.state()
            ));
        }
        let committed = recovered.state.committed.map(|id| id.index);
        if committed > self.committed.map(|id| id.index) {
            return Err(format!("{committed:?} is committed, and never was"));
        }
        self.counts[1] += u64::from(recovered.cut.is_some());
        self.counts[2] += 1;
        self.term = self.term.max(found.vote.map_or(0, |vote| vote.term)) + 1;
        self.committed = recovered.state.committed;
        self.now = found;
        self.moments.clear();
        self.moment();
        self.acknowledged = self.now.clone();
        self.log = Some(log);
        Ok(())
    }

    fn crash(&mut self) -> Result<(), String> {
        self.disk = if self.random.one_in(4) { self.disk.kill() } else { self.disk.crash() };
        // Crashes can come while the log is being opened.
        while self.random.one_in(3) {
            let fault = if self.random.one_in(3) { Fault::Io } else { Fault::Stop };
            self.disk.fail_at(1 + self.random.below(8), fault).unwrap();
            if Log::open(self.disk.clone(), folder(), options(self.segment_bytes)).is_ok() {
                break;
            }
            self.disk = self.disk.crash();
        }
        self.disk = self.disk.crash();
        self.reopen()
    }

    /// Asks for something; false when the log has failed.
    fn append(&mut self) -> Result<bool, String> {
        let moments = self.moments.len();
        let mut entries = Vec::new();
        let vote = self.random.one_in(5).then(|| {
            self.term += self.random.below(2);
            Vote { term: self.term, node: self.random.below(3), committed: self.random.one_in(2) }
        });
        if let Some(vote) = vote {
            self.now.vote = Some(vote);
            self.moment();
        }
        for _ in 0..self.random.below(5) {
            let bytes = match self.random.below(10) {
                0 => self.segment_bytes - 24 - 24 - 64 - 120 - 8 - 24,
                1..6 => self.random.below(700),
                _ => self.random.below(90),
            };
            self.serial += 1;
            let mut payload = self.serial.to_le_bytes().to_vec();
            payload.resize(bytes as usize, if self.random.one_in(3) { 0 } else { self.serial as u8 });
            let id = LogId { term: self.term, node: 1, index: self.now.next() };
            let entry = Entry { id, payload: payload.into() };
            entries.push(entry.clone());
            self.now.entries.push(entry);
            self.moment();
        }
        let told = Told::default();
        let tell = told.clone();
        let asked = self.log().append(entries, vote, move |result| *tell.lock().unwrap() = Some(result));
        match asked {
            Ok(()) => {
                // An empty request acknowledges no moment of its own: number 0.
                let number = if self.moments.len() > moments { self.number } else { 0 };
                self.waiting.push((told, number, self.now.clone()));
                Ok(true)
            }
            // The last turn failed behind its last request, so there was nobody to tell.
            Err(Error::Failed { .. }) => {
                self.moments.truncate(moments);
                Ok(false)
            }
            Err(error) => Err(format!("an append was refused: {error}")),
        }
    }

    /// Looks at what was told; false when the log has failed for good.
    fn look(&mut self) -> Result<bool, String> {
        let mut failed = None;
        for (told, number, model) in std::mem::take(&mut self.waiting) {
            match (told.lock().unwrap().take(), &failed) {
                (Some(Ok(())), None) if number == 0 => {}
                (Some(Ok(())), None) => self.acknowledge(number, model),
                (Some(Ok(())), Some(_)) => return Err("acknowledged behind one that failed".to_owned()),
                (Some(Err(error)), _) => failed = Some(error),
                (None, _) => return Err("a request was forgotten".to_owned()),
            }
        }
        Ok(failed.is_none_or(|error| self.fail(&error)))
    }

    /// After a failure: goes back to what was acknowledged; false when it is for good.
    fn fail(&mut self, error: &Error) -> bool {
        self.now = self.acknowledged.clone();
        self.counts[3] += 1;
        matches!(error, Error::NoSpace { .. })
    }

    /// After a truncation or purge that may have had to write what waited first.
    fn alone(&mut self, act: &Act, result: Result<(), Error>) -> Result<bool, String> {
        if !self.look()? {
            return Ok(false);
        }
        let Some(then) = act.on(&self.now) else {
            // The entry that was named went with what failed.
            return match result {
                Err(Error::NotThere { .. }) => Ok(true),
                other => Err(format!("{act:?} of what had failed: {other:?}")),
            };
        };
        if then == self.now && result.is_ok() {
            // Nothing was written.
            return Ok(true);
        }
        self.now = then;
        self.moment();
        match result {
            Ok(()) => {
                self.acknowledge(self.number, self.now.clone());
                Ok(true)
            }
            Err(error @ (Error::NoSpace { .. } | Error::Failed { .. })) => Ok(self.fail(&error)),
            Err(error) => Err(format!("refused: {error}")),
        }
    }

    fn step(&mut self) -> Result<(), String> {
        let alive = match self.random.below(100) {
            0..45 => self.append()?,
            45..70 => {
                self.log().turn();
                self.look()?
            }
            70..76 => {
                let least = self.committed.map_or(0, |id| id.index + 1).max(self.now.first());
                if least > self.now.next() {
                    return Ok(());
                }
                let next = least + self.random.below(self.now.next() - least + 1);
                let mut then = self.now.clone();
                then.entries.truncate((next - then.first()) as usize);
                let result = self.log().truncate(then.last());
                self.alone(&Act::Truncate(then.last()), result)?
            }
            76..82 => {
                // What is purged is on a majority, so it was acknowledged here or came as a snapshot.
                self.log().turn();
                if !self.look()? {
                    return self.crash();
                }
                let up_to = match self.random.below(8) {
                    0 => LogId { term: self.term, node: 2, index: self.now.next() + self.random.below(5) },
                    _ if self.now.entries.is_empty() => return Ok(()),
                    _ => {
                        let index = self.now.first() + self.random.below(self.now.entries.len() as u64);
                        self.now.id_at(index)
                    }
                };
                let act = Act::Purge(up_to);
                match self.log().purge(up_to) {
                    // The purge holds, though a file is still there.
                    Err(Error::Io { .. }) => {
                        self.alone(&act, Ok(()))?;
                        return self.crash();
                    }
                    result => self.alone(&act, result)?,
                }
            }
            82..86 => {
                if let Some(id) = self.acknowledged.last() {
                    self.log().save_committed(id);
                    if self.committed.is_none_or(|committed| committed.index < id.index) {
                        self.committed = Some(id);
                    }
                }
                true
            }
            86..89 => self.log().seal().is_ok(),
            89..92 => {
                self.disk.fail_at(1 + self.random.below(6), Fault::NoSpace).unwrap();
                true
            }
            92..96 => {
                let fault = if self.random.one_in(3) { Fault::Io } else { Fault::Stop };
                self.disk.fail_at(1 + self.random.below(5), fault).unwrap();
                true
            }
            _ => return self.crash(),
        };
        if !alive {
            return self.crash();
        }
        let there = Model::of(self.log());
        if there != self.now {
            return Err(format!("reads {there:?}\ninstead of {:?}", self.now));
        }
        Ok(())
    }
}

fn run(seed: u64, lying: bool) -> Result<[u64; 4], String> {
    let mut run = Run::new(seed);
    if lying {
        run.disk.lie().unwrap();
    }
    for step in 0..120 {
        run.step()
            .map_err(|why| format!("seed {seed}, step {step}: {why}\nrepeat it with KV_LOG_SEED={seed}"))?;
    }
    run.crash().map_err(|why| format!("seed {seed}, at the end: {why}"))?;
    Ok(run.counts)
}

#[test]
fn after_any_crash_all_that_was_acknowledged_is_there_and_nothing_else() {
    let one = std::env::var("KV_LOG_SEED").ok().map(|seed| seed.parse().unwrap());
    let seeds = one.map_or(0..3000, |seed: u64| seed..seed + 1);
    let mut sums = [0; 4];
    for seed in seeds {
        let counts = run(seed, false).unwrap_or_else(|why| panic!("{why}"));
        sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    }
    let [acknowledged, cut, crashes, failures] = sums;
    println!("{acknowledged} acknowledged, {crashes} crashes of which {cut} tore, {failures} failures");
    if one.is_none() {
        assert!(acknowledged > 50_000 && crashes > 20_000 && cut > 100 && failures > 5000, "{sums:?}");
    }
}

#[test]
fn a_disk_that_only_says_that_it_synced_is_found_out() {
    let found = (0..50).filter(|seed| run(*seed, true).is_err()).count();
    assert!(found > 25, "{found} of 50");
}
