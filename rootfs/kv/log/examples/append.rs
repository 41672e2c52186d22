//! How many entries of 256 bytes the log takes in a second, from 1 to 256 callers that each wait for
//! their entry, beside what the same disk does of bare writes with fdatasync, one after the other.
//!
//! `cargo run --release -p kv-log --example append [FOLDER]`; the folder is /var/tmp otherwise.

use kv_log::disk::{Disk, DiskFile, RealDisk};
use kv_log::{Entry, Error, Log, LogId, Options};
use std::error::Error as Fault;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

const ENTRY: usize = 256;
const TIME: Duration = Duration::from_secs(3);

/// Bare writes of an entry's record, each with its fdatasync, a second.
fn floor(folder: &Path) -> Result<f64, Box<dyn Fault>> {
    let path = folder.join("kv-log-floor");
    let file = RealDisk.create(&path)?;
    let size = 64 << 20;
    file.preallocate(size)?;
    file.sync_data()?;
    let record = [7; ENTRY + 48];
    let begin = Instant::now();
    let mut count = 0;
    while begin.elapsed() < TIME && (count + 1) * (record.len() as u64) < size {
        file.write_all_at(&record, count * record.len() as u64)?;
        file.sync_data()?;
        count += 1;
    }
    let rate = count as f64 / begin.elapsed().as_secs_f64();
    RealDisk.remove(&path)?;
    Ok(rate)
}

/// Entries a second, and the times of half and of 99 of 100 of them in microseconds.
fn appends(folder: &Path, callers: usize) -> Result<(f64, u128, u128), Box<dyn Fault>> {
    let (log, _) = Log::open(RealDisk, folder, Options::new(1))?;
    let order = Mutex::new(());
    let call = || -> Result<Vec<u128>, Error> {
        let mut times = Vec::new();
        let begin = Instant::now();
        while begin.elapsed() < TIME {
            let start = Instant::now();
            let (tell, told) = mpsc::sync_channel(1);
            let asked = order.lock().map_err(|_| Error::Closed)?;
            let id = LogId { term: 1, node: 1, index: log.state().next() };
            let entry = Entry { id, payload: vec![7; ENTRY].into() };
            // The caller waits for it.
            log.append(vec![entry], None, move |result| drop(tell.send(result)))?;
            drop(asked);
            told.recv().map_err(|_| Error::Closed)??;
            times.push(start.elapsed().as_micros());
        }
        Ok(times)
    };
    let begin = Instant::now();
    let mut times = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..callers).map(|_| scope.spawn(call)).collect();
        let mut times = Vec::new();
        for thread in threads {
            times.extend(thread.join().map_err(|_| "a caller panicked")??);
        }
        Ok::<_, Box<dyn Fault>>(times)
    })?;
    let rate = times.len() as f64 / begin.elapsed().as_secs_f64();
    times.sort_unstable();
    Ok((rate, times[times.len() / 2], times[times.len() * 99 / 100]))
}

/// Peak memory of this process in KiB (proc(5), status).
fn peak() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.unwrap_or("?").trim().to_owned()
}

fn main() -> Result<(), Box<dyn Fault>> {
    let base: PathBuf = std::env::args_os().nth(1).unwrap_or_else(|| "/var/tmp".into()).into();
    println!("callers  appends/s  p50 us  p99 us  bare fdatasyncs/s  ratio  peak memory");
    for callers in [1, 16, 64, 256] {
        let folder = base.join(format!("kv-log-append-{}", std::process::id()));
        let bare = floor(&base)?;
        let result = appends(&folder, callers);
        std::fs::remove_dir_all(&folder)?;
        let (rate, half, most) = result?;
        println!("{callers:7}  {rate:9.0}  {half:6}  {most:6}  {bare:17.0}  {:5.2}  {}", rate / bare, peak());
    }
    let folder = base.join(format!("kv-log-reopen-{}", std::process::id()));
    let (log, _) = Log::open(RealDisk, &folder, Options::new(1))?;
    for index in 0..1_000_000 {
        let id = LogId { term: 1, node: 1, index };
        while log.queued_bytes() > 4 << 20 {
            std::thread::yield_now();
        }
        log.append(vec![Entry { id, payload: vec![7; ENTRY].into() }], None, drop)?;
    }
    drop(log);
    let begin = Instant::now();
    let (log, recovered) = Log::open(RealDisk, &folder, Options::new(1))?;
    let opened = begin.elapsed();
    let begin = Instant::now();
    let mut next = 0;
    while next < recovered.entries {
        next += log.read_up_to(next..u64::MAX, 1 << 20)?.len() as u64;
    }
    let read = begin.elapsed();
    println!("{} entries: opened in {opened:.2?}, read in {read:.2?}, peak memory {}", next, peak());
    drop(log);
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}
