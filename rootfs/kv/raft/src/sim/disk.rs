//! A disk in memory that holds one member's log, and keeps what is synced and what is not apart.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::sleep;

use super::{Chance, spawn};
use crate::log::{Entry, Flushed, LogRead, LogState, LogStore};
use crate::machine::lock;
use crate::{LogId, Vote};

/// What is on it.
#[derive(Clone, Debug, Default)]
struct Image {
    purged: Option<LogId>,
    entries: BTreeMap<u64, Entry>,
    vote: Option<Vote>,
    committed: Option<LogId>,
}

enum Write {
    Append(Vec<Entry>),
    Vote(Vote),
    Committed(LogId),
    Truncate(Option<LogId>),
    Purge(LogId),
}

impl Image {
    fn apply(&mut self, write: &Write) {
        match write {
            Write::Append(entries) => {
                self.entries.extend(entries.iter().map(|e| (e.id.index, e.clone())));
            }
            Write::Vote(vote) => self.vote = Some(*vote),
            Write::Committed(id) => self.committed = Some(*id),
            Write::Truncate(last) => {
                self.entries.split_off(&last.map_or(0, |id| id.index + 1));
            }
            Write::Purge(upto) => {
                self.entries = self.entries.split_off(&(upto.index + 1));
                self.purged = self.purged.max(Some(*upto));
            }
        }
    }

    fn last(&self) -> Option<LogId> {
        self.entries.last_key_value().map(|(_, e)| e.id).or(self.purged)
    }
}

struct State {
    chance: Chance,
    life: u64,
    synced: Image,
    now: Image,
    unsynced: VecDeque<(Write, Option<Flushed>)>,
    syncing: bool,
    sync: (Duration, Duration),
    /// The planted bug.
    lies: bool,
}

/// The disk of one member. Its clones are the same disk.
#[derive(Clone)]
pub struct Disk(Arc<Mutex<State>>);

impl Disk {
    /// An empty one. A sync takes a time between the two.
    pub fn new(chance: Chance, sync: (Duration, Duration)) -> Self {
        Self(Arc::new(Mutex::new(State {
            chance,
            life: 0,
            synced: Image::default(),
            now: Image::default(),
            unsynced: VecDeque::new(),
            syncing: false,
            sync,
            lies: false,
        })))
    }

    /// Plants a bug, to see whether a checker finds it: writes are acknowledged before they are
    /// synced.
    pub fn acknowledge_early(&self) {
        lock(&self.0).lies = true;
    }

    /// The log, as a member that starts finds it.
    pub fn open(&self) -> DiskLog {
        DiskLog { disk: self.clone(), life: lock(&self.0).life }
    }

    /// The power fails: of what was not synced, only a part from the start is there, by chance.
    pub fn crash(&self) {
        let state = &mut *lock(&self.0);
        state.life += 1;
        state.syncing = false;
        let kept = state.chance.below(state.unsynced.len() as u64 + 1) as usize;
        for (write, _) in state.unsynced.drain(..).take(kept) {
            state.synced.apply(&write);
        }
        state.now = state.synced.clone();
    }

    /// All entries that are on it.
    pub fn entries(&self) -> BTreeMap<u64, Entry> {
        lock(&self.0).now.entries.clone()
    }

    fn write(&self, life: u64, write: Write, done: Option<Flushed>) {
        let mut state = lock(&self.0);
        if state.life != life {
            return; // A member that has crashed. Nobody hears of this.
        }
        state.now.apply(&write);
        let mut done = done;
        let early = if state.lies { done.take() } else { None };
        state.unsynced.push_back((write, done));
        let start = !state.syncing;
        state.syncing = true;
        drop(state);
        if let Some(done) = early {
            done(Ok(()));
        }
        if start {
            spawn(self.clone().sync(life));
        }
    }

    /// Syncs until nothing is left to sync: what comes during one goes with the next.
    async fn sync(self, life: u64) {
        loop {
            let (count, time) = {
                let state = &mut *lock(&self.0);
                if state.life != life {
                    return;
                }
                if state.unsynced.is_empty() {
                    state.syncing = false;
                    return;
                }
                (state.unsynced.len(), state.chance.time(state.sync.0, state.sync.1))
            };
            sleep(time).await;
            let mut done = Vec::new();
            {
                let state = &mut *lock(&self.0);
                if state.life != life {
                    return;
                }
                for (write, flushed) in state.unsynced.drain(..count) {
                    state.synced.apply(&write);
                    done.extend(flushed);
                }
            }
            for flushed in done {
                flushed(Ok(()));
            }
        }
    }
}

/// The log on a [`Disk`], for one life of its member.
#[derive(Clone)]
pub struct DiskLog {
    disk: Disk,
    life: u64,
}

impl LogStore for DiskLog {
    fn state(&self) -> io::Result<LogState> {
        let state = lock(&self.disk.0);
        let now = &state.now;
        Ok(LogState { purged: now.purged, last: now.last(), vote: now.vote, committed: now.committed })
    }

    fn append(&mut self, entries: Vec<Entry>, done: Flushed) {
        self.disk.write(self.life, Write::Append(entries), Some(done));
    }

    fn save_vote(&mut self, vote: Vote, done: Flushed) {
        self.disk.write(self.life, Write::Vote(vote), Some(done));
    }

    fn save_committed(&mut self, committed: LogId) {
        self.disk.write(self.life, Write::Committed(committed), None);
    }

    fn truncate_after(&mut self, last: Option<LogId>, done: Flushed) {
        self.disk.write(self.life, Write::Truncate(last), Some(done));
    }

    fn purge(&mut self, upto: LogId, done: Flushed) {
        self.disk.write(self.life, Write::Purge(upto), Some(done));
    }

    fn reader(&self) -> Arc<dyn LogRead> {
        Arc::new(self.clone())
    }
}

impl LogRead for DiskLog {
    fn read(&self, from: u64, to: u64, bytes: u64) -> io::Result<Vec<Entry>> {
        let state = lock(&self.disk.0);
        let mut size = 0;
        let mut found = Vec::new();
        for (next, entry) in (from..to).zip(state.now.entries.range(from..to)) {
            if *entry.0 != next {
                return Err(io::Error::other(format!("entry {next} is not in the log")));
            }
            size += entry.1.body.len() as u64;
            if size > bytes && !found.is_empty() {
                break;
            }
            found.push(entry.1.clone());
        }
        Ok(found)
    }

    fn vote(&self) -> io::Result<Option<Vote>> {
        Ok(lock(&self.disk.0).now.vote)
    }
}
