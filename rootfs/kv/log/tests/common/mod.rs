//! What the tests share.
#![allow(dead_code, reason = "each test uses a part")]

use kv_log::disk::sim::SimDisk;
use kv_log::{Entry, Error, Log, LogId, Mode, Options, Recovered};
use std::path::Path;

pub const CLUSTER: u64 = 0xc1;

pub fn folder() -> &'static Path {
    Path::new("/log")
}

/// Small segments, and nothing that happens by itself.
pub fn options(segment_bytes: u64) -> Options {
    Options { segment_bytes, cache_bytes: 600, mode: Mode::Caller, ..Options::new(CLUSTER) }
}

pub fn open(disk: &SimDisk, segment_bytes: u64) -> Result<(Log<SimDisk>, Recovered), Error> {
    Log::open(disk.clone(), folder(), options(segment_bytes))
}

/// An entry that is like no other, without a byte of zero in its payload.
pub fn entry(term: u64, index: u64, bytes: usize) -> Entry {
    let text = format!("{term}/{index}/");
    let payload: Vec<u8> = text.bytes().cycle().take(bytes).collect();
    Entry { id: LogId { term, node: 1, index }, payload: payload.into() }
}

pub fn entries(term: u64, from: u64, count: u64, bytes: usize) -> Vec<Entry> {
    (from..from + count).map(|index| entry(term, index, bytes)).collect()
}

/// A generator of numbers: splitmix64.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}
