//! The state machine's figures, without log and network: puts a second in batches,
//! ranges, loading many keys, opening, compaction and snapshot of them.
//!
//! `cargo run --release -p kv-core --example figures -- FOLDER [KEYS [CACHE_MIB]]`; the folder should be on the
//! disk that counts. 8-byte keys, 256-byte values.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kv_core::{Command, Error as StoreError, Options, Position, Put, Range, State};

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("usage: figures FOLDER [KEYS [CACHE_MIB]]")?;
    let keys: u64 = arguments.next().as_deref().unwrap_or("1000000").parse()?;
    let mut options = Options::default();
    if let Some(mib) = arguments.next() {
        options.cache_bytes = mib.parse::<usize>()? << 20;
    }
    let path = Path::new(&folder).join("figures.redb");
    if path.exists() {
        fs::remove_file(&path)?;
    }
    let mut run = Run { state: State::open_file(&path, options)?, index: 0 };
    for size in [1, 16, 64] {
        run.puts(size)?;
    }
    run.ranges()?;
    drop(run);
    fs::remove_file(&path)?;
    load(&path, keys, options)?;
    fs::remove_file(&path)?;
    Ok(())
}

struct Run {
    state: State,
    index: u64,
}

impl Run {
    fn batch(&mut self, keys: impl Iterator<Item = u64>, value: &Bytes) -> Outcome<()> {
        let index = &mut self.index;
        self.state.batch(|batch| {
            for key in keys {
                *index += 1;
                let at = Position { term: 1, leader: 1, index: *index };
                let key = Bytes::copy_from_slice(&key.to_be_bytes());
                batch.apply(at, &Command::Put(Put { key, value: value.clone(), ..Put::default() }))?;
            }
            batch.take_events();
            Ok::<_, StoreError>(())
        })?;
        Ok(())
    }

    /// New keys and old ones in turn for two seconds, durable every half second.
    fn puts(&mut self, size: u64) -> Outcome<()> {
        let value = Bytes::from(vec![b'v'; 256]);
        let begin = Instant::now();
        let mut durable = Instant::now();
        let mut done = 0;
        let mut slowest = Duration::ZERO;
        while begin.elapsed() < Duration::from_secs(2) {
            let at = Instant::now();
            // An odd multiplier goes through all keys of a power of two, in no order.
            self.batch((done..done + size).map(|n| n.wrapping_mul(0x9e37_79b9) % 65_536), &value)?;
            if durable.elapsed() > Duration::from_millis(500) {
                self.state.make_durable()?;
                durable = Instant::now();
            }
            slowest = slowest.max(at.elapsed());
            done += size;
        }
        let rate = done as f64 / begin.elapsed().as_secs_f64();
        println!("puts in batches of {size:>2}: {rate:>9.0}/s, slowest batch {slowest:.1?}");
        Ok(())
    }

    fn ranges(&mut self) -> Outcome<()> {
        let key = |n: u64| Bytes::copy_from_slice(&n.to_be_bytes());
        let thousand = Range { key: key(1000), range_end: key(2000), ..Range::default() };
        let one = Range { key: key(1000), ..Range::default() };
        let old = Range { revision: self.state.revision() - 10, ..thousand.clone() };
        let count = Range { key: key(0), range_end: key(65_536), count_only: true, ..Range::default() };
        for (name, range) in [
            ("one key", one),
            ("1,000 keys", thousand),
            ("1,000 keys, ten revisions ago", old),
            ("counting 65,536", count),
        ] {
            let view = self.state.view()?;
            let begin = Instant::now();
            let mut done = 0;
            while begin.elapsed() < Duration::from_secs(1) {
                view.range(&range)??;
                done += 1;
            }
            println!("range, {name}: {:.1?}", begin.elapsed() / done);
        }
        let begin = Instant::now();
        for _ in 0..10_000 {
            self.state.view()?;
        }
        println!("taking a view: {:.2?}", begin.elapsed() / 10_000);
        Ok(())
    }
}

fn load(path: &Path, keys: u64, options: Options) -> Outcome<()> {
    let mut run = Run { state: State::open_file(path, options)?, index: 0 };
    let value = Bytes::from(vec![b'v'; 256]);
    let begin = Instant::now();
    let mut next = 0;
    while next < keys {
        let end = keys.min(next + 64);
        run.batch((next..end).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15)), &value)?;
        if next / 100_000 != end / 100_000 {
            run.state.make_durable()?;
        }
        next = end;
    }
    let applied = begin.elapsed();
    run.state.make_durable()?;
    let sizes = run.state.sizes()?;
    println!(
        "{keys} keys in no order, batches of 64, durable every 100,000: {applied:.2?}, with the last sync {:.2?}",
        begin.elapsed()
    );
    println!("  file {} MiB, in use {} MiB, {}", sizes.on_disk >> 20, sizes.in_use >> 20, memory()?);
    let timed = |name: &str, begin: Instant| println!("  {name}: {:.2?}", begin.elapsed());

    let begin = Instant::now();
    let mut snapshot = Vec::new();
    run.state.view()?.snapshot_to(&mut snapshot)?;
    timed(&format!("snapshot of {} MiB", snapshot.len() >> 20), begin);
    drop(snapshot);
    let begin = Instant::now();
    run.state.view()?.hash(0)??;
    timed("hash", begin);

    let begin = Instant::now();
    run.batch((0..keys.min(100_000)).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15)), &value)?;
    timed("100,000 keys put again in one batch", begin);
    let revision = run.state.revision();
    let compact = Command::Compact { revision };
    run.index += 1;
    let at = Position { term: 1, leader: 1, index: run.index };
    run.state.batch(|batch| batch.apply(at, &compact))?;
    let begin = Instant::now();
    let mut slowest = Duration::ZERO;
    loop {
        let step = Instant::now();
        let swept = run.state.compact_step(1000)?;
        slowest = slowest.max(step.elapsed());
        if swept.done {
            break;
        }
    }
    timed(&format!("compaction, in steps of 1,000 of at most {slowest:.1?}"), begin);
    run.state.make_durable()?;

    // As after a kill: the lock is the old process's, so the file is copied.
    let copy = path.with_extension("copy");
    fs::copy(path, &copy)?;
    drop(run);
    let begin = Instant::now();
    let state = State::open_file(&copy, options)?;
    timed("opening after a crash", begin);
    drop(state);
    fs::remove_file(&copy)?;
    println!("  {}", memory()?);
    Ok(())
}

fn memory() -> Outcome<String> {
    let status = fs::read_to_string("/proc/self/status")?;
    let lines = status.lines().filter(|line| line.starts_with("VmHWM") || line.starts_with("VmRSS"));
    Ok(lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>().join(", "))
}
