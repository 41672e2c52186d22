//! The store's log: any bytes as its segments, and the same with checksums that fit, so that what is
//! behind them is reached too. Never a panic; a log that was opened can be gone on with.
#![no_main]

use kv_log::disk::sim::SimDisk;
use kv_log::format::{self, HEAD, HEADER, Head, Header, Seed};
use kv_log::{Entry, Log, LogId, Mode, Options};
use libfuzzer_sys::fuzz_target;
use std::path::Path;

const CLUSTER: u64 = 1;
const SEGMENT: usize = 4096;

fn read(segments: &[Vec<u8>], first_indexes: &[u64]) {
    let disk = SimDisk::new(0);
    let folder = Path::new("/log");
    for (place, bytes) in segments.iter().enumerate() {
        let header = header(place, first_indexes);
        disk.put(&folder.join(header.name()), bytes).expect("a disk without faults");
    }
    let options = || Options { mode: Mode::Caller, segment_bytes: SEGMENT as u64, ..Options::new(CLUSTER) };
    let Ok((log, recovered)) = Log::open(disk.clone(), folder, options()) else { return };
    log.read(0..u64::MAX).expect("what was recovered can be read");
    let id = LogId { term: 1, node: 1, index: recovered.state.next() };
    if id.index == u64::MAX {
        return;
    }
    log.append_and_wait(vec![Entry { id, payload: vec![1; 100].into() }], None).expect("the next entry");
    drop(log);
    let (log, again) = Log::open(disk.crash(), folder, options()).expect("the log that was written");
    assert_eq!((again.state.last, again.cut), (Some(id), None));
    assert_eq!(again.state, log.state());
}

fn header(place: usize, first_indexes: &[u64]) -> Header {
    let first_index = first_indexes.get(place).copied().unwrap_or(0);
    Header { cluster: CLUSTER, sequence: place as u64 + 1, first_index, previous: 0, previous_end: 0 }
}

/// Makes header and chain right, for as many records as have a kind and fit.
fn mended(segments: &[Vec<u8>], first_indexes: &[u64]) -> Vec<Vec<u8>> {
    let (mut sum, mut end) = (0, 0);
    let mut all = Vec::new();
    for (place, bytes) in segments.iter().enumerate() {
        let header = Header { previous: sum, previous_end: end, ..header(place, first_indexes) };
        let seed = Seed::new(CLUSTER, header.sequence);
        let mut good = header.encode().to_vec();
        let mut group = HEADER as u32;
        while let Some(head) = bytes.get(good.len()..).and_then(|rest| rest.get(..HEAD as usize)) {
            let kind = match head[4] & 7 {
                1 => format::Kind::Entry,
                2 => format::Kind::State,
                3 => format::Kind::Committed,
                4 => format::Kind::Seal,
                _ => break,
            };
            let length = usize::from(u16::from_le_bytes([head[0], head[1]]) % 600);
            let start = good.len() + HEAD as usize;
            let Some(payload) = bytes.get(start..start + length) else { break };
            let offset = good.len() as u64;
            if head[5] & 1 == 1 {
                group = offset as u32;
            }
            sum = format::append(&mut good, seed, offset, kind, sum, group, [payload, &[]]);
            let made =
                Head::parse(&good[offset as usize..], seed, offset).expect("a head that was just made");
            assert!(made.holds(&good[offset as usize..], seed, offset));
        }
        end = good.len() as u32;
        let rest = bytes.get(good.len()..).unwrap_or_default();
        good.extend(rest);
        good.resize(SEGMENT.max(good.len()), 0);
        all.push(good);
    }
    all
}

fuzz_target!(|input: &[u8]| {
    // How many segments, and the index that each begins with; then their bytes.
    let Some((&[count, second, third], rest)) = input.split_first_chunk::<3>() else { return };
    let indexes = [0, u64::from(second), u64::from(third)];
    let count = usize::from(count % 3) + 1;
    let segments: Vec<Vec<u8>> = rest.chunks(rest.len().div_ceil(count).max(1)).map(<[u8]>::to_vec).collect();
    read(&segments, &indexes);
    read(&mended(&segments, &indexes), &indexes);
});
