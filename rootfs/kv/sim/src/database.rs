//! The disk of a member's database, in memory, which loses power.
//!
//! What a sync returned for is there. Of the writes since then any subset may be, in any order, and
//! any one of them torn at any byte. Who opened it before a crash gets errors.

use std::io::{self, Read};
use std::sync::{Arc, Mutex};

use kv::replica::Home;
use kv_core::{Error, Options, State};
use kv_raft::sim::Chance;
use redb::StorageBackend;

use crate::lock;

/// Little, so that pages are written before they are synced.
const OPTIONS: Options = Options { cache_bytes: 256 << 10, verify: false };

#[derive(Debug)]
enum Change {
    Write(u64, Vec<u8>),
    Length(u64),
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>, part: usize) {
        match self {
            Self::Length(length) => bytes.resize(*length as usize, 0),
            Self::Write(offset, data) => {
                let data = &data[..part.min(data.len())];
                let end = *offset as usize + data.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[*offset as usize..end].copy_from_slice(data);
            }
        }
    }
}

#[derive(Debug, Default)]
struct Inner {
    now: Vec<u8>,
    synced: Vec<u8>,
    since: Vec<Change>,
    life: u64,
    calls: u64,
    /// The call from which on all fail.
    fails_at: Option<u64>,
    chance: u64,
}

/// A database's disk. Clones are the same disk, as long as it lives.
#[derive(Clone, Debug)]
pub struct Disk {
    inner: Arc<Mutex<Inner>>,
    life: u64,
}

fn gone() -> io::Error {
    io::Error::other("this disk's process is gone")
}

impl Disk {
    /// An empty one.
    pub fn new(chance: &mut Chance) -> Self {
        let inner = Inner { chance: chance.number(), ..Inner::default() };
        Self { inner: Arc::new(Mutex::new(inner)), life: 0 }
    }

    /// Lets the n-th changing call from now on fail, and all after it.
    pub fn fail_after(&self, calls: u64) {
        let mut inner = lock(&self.inner);
        inner.fails_at = Some(inner.calls + calls);
    }

    /// The process ends, and so may the power; gives the disk as it is then.
    #[must_use]
    pub fn crash(&self, cut: bool) -> Self {
        let inner = &mut *lock(&self.inner);
        inner.life += 1;
        inner.fails_at = None;
        if cut {
            let mut chance = Chance::new(inner.chance);
            let kept = [0, 500, 900, 990, 1000][chance.below(5) as usize];
            let mut left = std::mem::take(&mut inner.since);
            if chance.often(500) {
                for at in (1..left.len()).rev() {
                    left.swap(at, chance.below(at as u64 + 1) as usize);
                }
            }
            for change in left {
                if chance.often(kept) {
                    let torn = chance.often(100);
                    let part = if torn { chance.below(4096) as usize } else { usize::MAX };
                    change.apply(&mut inner.synced, part);
                }
            }
            inner.now.clone_from(&inner.synced);
            inner.chance = chance.number();
        }
        Self { inner: Arc::clone(&self.inner), life: inner.life }
    }

    /// Puts another disk's bytes in the place of this one's, all at once.
    fn become_like(&self, other: &Self) -> io::Result<Self> {
        let now = lock(&other.inner).now.clone();
        let inner = &mut *lock(&self.inner);
        if inner.life != self.life {
            return Err(gone());
        }
        inner.synced.clone_from(&now);
        inner.now = now;
        inner.since.clear();
        // Who has the old one open has its own copy of what it needs; it writes no more here.
        inner.life += 1;
        Ok(Self { inner: Arc::clone(&self.inner), life: inner.life })
    }

    fn change(&self, change: Option<Change>) -> io::Result<()> {
        let inner = &mut *lock(&self.inner);
        if inner.life != self.life {
            return Err(gone());
        }
        inner.calls += 1;
        let failing = inner.fails_at.is_some_and(|at| inner.calls >= at);
        // The failing write is under way and may be there in part; later ones are not.
        let under_way = !failing || inner.fails_at == Some(inner.calls);
        match change {
            Some(change) if under_way => {
                change.apply(&mut inner.now, usize::MAX);
                inner.since.push(change);
            }
            None if !failing => {
                for change in std::mem::take(&mut inner.since) {
                    change.apply(&mut inner.synced, usize::MAX);
                }
            }
            Some(_) | None => {}
        }
        if failing { Err(io::Error::other("the power is gone")) } else { Ok(()) }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(lock(&self.inner).now.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let inner = lock(&self.inner);
        if inner.life != self.life {
            return Err(gone());
        }
        let bytes = inner.now.get(offset as usize..offset as usize + out.len());
        out.copy_from_slice(bytes.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(Some(Change::Length(len)))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.change(None)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.change(Some(Change::Write(offset, data.to_vec())))
    }
}

/// The place of a member's database for one life of the member.
#[derive(Debug)]
pub struct SimHome {
    slot: Arc<Mutex<Disk>>,
    /// This life's.
    own: Mutex<Disk>,
}

impl SimHome {
    /// On a disk; a snapshot that is installed takes that one's place in `slot`.
    pub fn new(slot: Arc<Mutex<Disk>>) -> Self {
        let own = Mutex::new(lock(&slot).clone());
        Self { slot, own }
    }
}

impl Home for SimHome {
    fn open(&self) -> Result<State, Error> {
        State::open(lock(&self.own).clone(), OPTIONS)
    }

    fn restore(&self, mut snapshot: &mut dyn Read) -> Result<State, Error> {
        let failed = |source| Error::Io { doing: "cannot put a snapshot in place".to_owned(), source };
        let beside = Disk { inner: Arc::default(), life: 0 };
        let state = State::restore(beside.clone(), OPTIONS, &mut snapshot)?;
        drop(state);
        let mut own = lock(&self.own);
        let new = own.become_like(&beside).map_err(failed)?;
        *own = new.clone();
        *lock(&self.slot) = new.clone();
        drop(own);
        State::open(new, OPTIONS)
    }
}
