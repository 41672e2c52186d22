//! A disk in memory that loses power.
//!
//! What it promises is what a disk does: after `sync_data` has returned, everything
//! before it is there. Of the writes since then any subset may be, in any order, and
//! one that is may be torn at any byte. From the failing call on every call fails, as for a
//! program whose machine is gone.

use std::io;
use std::sync::{Arc, Mutex};

use redb::StorageBackend;

#[derive(Clone, Debug)]
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
    calls: u64,
    fails_at: Option<u64>,
}

/// The disk; clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct Disk(Arc<Mutex<Inner>>);

impl Disk {
    pub fn new() -> Self {
        Self::default()
    }

    fn of(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new(Inner { now: bytes.clone(), synced: bytes, ..Inner::default() })))
    }

    /// Lets the n-th changing call from now on fail, and all after it.
    pub fn fail_after(&self, calls: u64) {
        let mut inner = self.0.lock().unwrap();
        inner.fails_at = Some(inner.calls + calls);
    }

    /// What is on it after the power is back.
    pub fn crash(&self, random: &mut Random) -> Self {
        let inner = self.0.lock().unwrap();
        let mut bytes = inner.synced.clone();
        let mut left: Vec<_> = inner.since.iter().collect();
        // Mostly all or most of the writes are there, as on a disk.
        let kept = [0, 50, 90, 99, 100][random.below(5) as usize];
        if random.below(2) == 0 {
            for at in (1..left.len()).rev() {
                left.swap(at, random.below(at as u64 + 1) as usize);
            }
        }
        for change in left {
            if random.below(100) >= kept {
                continue;
            }
            let torn = random.below(10) == 0;
            change.apply(&mut bytes, if torn { random.below(4096) as usize } else { usize::MAX });
        }
        Self::of(bytes)
    }

    /// A disk with the same bytes, for a program that was closed in order.
    pub fn closed(&self) -> Self {
        Self::of(self.0.lock().unwrap().now.clone())
    }

    pub fn calls(&self) -> u64 {
        self.0.lock().unwrap().calls
    }

    fn change(&self, change: Option<Change>) -> io::Result<()> {
        let mut inner = self.0.lock().unwrap();
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
        Ok(self.0.lock().unwrap().now.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let inner = self.0.lock().unwrap();
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

/// A small generator (splitmix64), so that a seed is all that a run needs.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}
