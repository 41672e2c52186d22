//! Measures `kv` against Debian's etcd (package etcd-server) in one run: the same clients, the same
//! disk, each row in turn at one and at the other, medians. A ratio that misses its bound is marked
//! and makes the exit code 1. `scripts/bench kv` builds and starts it.

mod load;
mod server;

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use load::{Figures, Work};
use server::Cluster;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Keys of the large store.
const MANY_KEYS: u64 = 1_000_000;

const MIB: f64 = 1_048_576.0;

/// A row: what is done, by how many clients, and what the ratios of throughput and p99 must be.
struct Row(Work, &'static str, usize, Option<f64>, Option<f64>);

const ROWS: &[Row] = &[
    Row(Work::Put, "put", 1, Some(1.0), Some(0.7)),
    Row(Work::Put, "put", 16, Some(1.5), Some(0.7)),
    Row(Work::Put, "put", 64, Some(1.5), Some(0.7)),
    Row(Work::Put, "put", 256, Some(1.5), Some(0.7)),
    Row(Work::Get, "get, linearizable", 1, Some(1.0), Some(0.7)),
    Row(Work::Get, "get, linearizable", 16, Some(1.5), Some(0.7)),
    Row(Work::Get, "get, linearizable", 64, Some(1.5), Some(0.7)),
    Row(Work::SerializableGet, "get, serializable", 16, Some(1.5), Some(0.7)),
    Row(Work::SerializableGet, "get, serializable", 64, Some(1.5), Some(0.7)),
    Row(Work::Mix, "90 % get, 10 % put", 16, Some(1.5), Some(0.7)),
    Row(Work::Mix, "90 % get, 10 % put", 64, Some(1.5), Some(0.7)),
    Row(Work::Range, "range of 1,000 keys", 16, Some(1.5), Some(0.7)),
];

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let result = runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(run()));
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(1)
        }
    }
}

struct Bench {
    good: bool,
    runs: usize,
    time: Duration,
}

impl Bench {
    /// `ok`, or `MISSED`, for a ratio that has to be at least or at most so much.
    fn verdict(&mut self, met: bool) -> &'static str {
        self.good &= met;
        if met { "ok" } else { "MISSED" }
    }

    fn row(&mut self, name: &str, pairs: &[(Figures, Figures)], rate: Option<f64>, p99: Option<f64>) {
        let of = |figure: fn(&(Figures, Figures)) -> f64| median(pairs.iter().map(figure));
        let ratio = of(|(etcd, kv)| kv.rate / etcd.rate);
        let late = of(|(etcd, kv)| kv.p99_us / etcd.p99_us);
        let mut words = Vec::new();
        if let Some(bound) = rate {
            words.push(format!("{} (at least {bound})", self.verdict(ratio >= bound)));
        }
        if let Some(bound) = p99 {
            words.push(format!("p99 {} (at most {bound})", self.verdict(late <= bound)));
        }
        println!(
            "| {name} | {:.0} | {:.0} | {ratio:.2} | {:.0} | {:.0} | {:.0} | {:.0} | {late:.2} | {} |",
            of(|(etcd, _)| etcd.rate),
            of(|(_, kv)| kv.rate),
            of(|(etcd, _)| etcd.p50_us),
            of(|(_, kv)| kv.p50_us),
            of(|(etcd, _)| etcd.p99_us),
            of(|(_, kv)| kv.p99_us),
            words.join(", ")
        );
    }

    /// A row of one figure of each, of which less is better.
    fn less(&mut self, name: &str, unit: &str, etcd: f64, kv: f64, bound: Option<f64>) {
        let ratio = kv / etcd;
        let word = bound
            .map_or(String::new(), |bound| format!("{} (at most {bound})", self.verdict(ratio <= bound)));
        println!("| {name} | {etcd:.2} {unit} | {kv:.2} {unit} | {ratio:.2} | {word} |");
    }
}

async fn run() -> Result<bool> {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let [kv, disk, runs, rest @ ..] = words.as_slice() else {
        return Err("usage: kv-bench KV DISK RUNS [NODES] [SECONDS] [ROWS-THAT-CONTAIN]".into());
    };
    let number = |at: usize, default: usize| rest.get(at).map_or(Ok(default), |text| text.parse());
    let (nodes, seconds) = (number(0, 1)?, number(1, 3)?);
    let wanted = rest.get(2).map_or("", String::as_str);
    let mut bench = Bench { good: true, runs: runs.parse()?, time: Duration::from_secs(seconds as u64) };
    let kv = Path::new(kv);
    let folder = tempfile::Builder::new().prefix("slipway-kv-bench-").tempdir_in(disk)?;
    println!(
        "## Store, {nodes} member(s), {} runs of {seconds} s each, medians\n\n\
         8-byte keys, 256-byte values; clients on the same cores, each with one request at a time.\n\n\
         | operation, clients | etcd/s | kv/s | ratio | etcd p50 µs | kv p50 µs | etcd p99 µs | kv p99 µs | ratio | bounds |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        bench.runs
    );
    steady(&mut bench, kv, folder.path(), nodes, wanted).await?;
    if "large".contains(wanted) {
        large(&mut bench, kv, folder.path(), nodes).await?;
    }
    Ok(bench.good)
}

/// The rows of requests.
async fn steady(bench: &mut Bench, kv: &Path, disk: &Path, nodes: usize, wanted: &str) -> Result<()> {
    let folder = tempfile::tempdir_in(disk)?;
    // Before anybody else writes to the disk.
    let sync = fdatasync(folder.path(), bench.time)?;
    let etcd = Cluster::start(Path::new("etcd"), folder.path(), nodes)?;
    let kv = Cluster::start(kv, folder.path(), nodes)?;
    let (to_etcd, to_kv) = (etcd.connect(64).await?, kv.connect(64).await?);
    for channels in [&to_etcd, &to_kv] {
        load::fill(channels, load::KEYS).await?;
    }
    println!(
        "| a bare write of 300 bytes and fdatasync, 1 | {:.0} | | | {:.0} | | {:.0} | | | |",
        sync.rate, sync.p50_us, sync.p99_us
    );
    for Row(work, name, clients, rate, p99) in ROWS {
        let name = format!("{name}, {clients}");
        if !name.contains(wanted) {
            continue;
        }
        let mut pairs = Vec::new();
        for _ in 0..bench.runs {
            let theirs = load::run(&to_etcd, *work, *clients, bench.time).await?;
            pairs.push((theirs, load::run(&to_kv, *work, *clients, bench.time).await?));
        }
        bench.row(&name, &pairs, *rate, *p99);
    }
    if "watch".contains(wanted) {
        let mut pairs = Vec::new();
        for _ in 0..bench.runs {
            let theirs = load::watch(&to_etcd, 1_000, bench.time).await?;
            pairs.push((theirs, load::watch(&to_kv, 1_000, bench.time).await?));
        }
        bench.row("events at 1,000 watchers of a key, put by 1", &pairs, Some(1.5), Some(0.7));
    }
    if "lease".contains(wanted) {
        let mut pairs = Vec::new();
        for _ in 0..bench.runs {
            let theirs = load::leases(&to_etcd, 10_000, bench.time).await?;
            pairs.push((theirs, load::leases(&to_kv, 10_000, bench.time).await?));
        }
        bench.row("keep-alives of 10,000 leases, 16 streams", &pairs, Some(1.5), Some(0.7));
    }
    Ok(())
}

/// Memory, restart and idling.
async fn large(bench: &mut Bench, kv: &Path, disk: &Path, nodes: usize) -> Result<()> {
    println!("\n| figure | etcd | kv | ratio | bounds |\n| --- | --- | --- | --- | --- |");
    let mut figures = Vec::new();
    for program in [Path::new("etcd"), kv] {
        let folder = tempfile::tempdir_in(disk)?;
        let mut cluster = Cluster::start(program, folder.path(), nodes)?;
        let idle = idle(&cluster).await?;
        let fresh = cluster.memory()?;
        let filled = load::fill(&cluster.connect(16).await?, MANY_KEYS).await?.as_secs_f64();
        let full = cluster.memory()?;
        let restarted = cluster.restart()?.as_secs_f64();
        figures.push([idle * 100.0, fresh / MIB, filled, full / MIB, restarted, cluster.memory()? / MIB]);
    }
    let (etcd, kv) = (figures[0], figures[1]);
    bench.less("idle, part of a core", "%", etcd[0], kv[0], None);
    bench.less("memory, fresh", "MiB", etcd[1], kv[1], None);
    bench.less("1,000,000 keys put, 100 a transaction, 16 clients", "s", etcd[2], kv[2], Some(1.0));
    bench.less("memory then", "MiB", etcd[3], kv[3], Some(0.5));
    bench.less("killed and started until it serves", "s", etcd[4], kv[4], Some(0.5));
    bench.less("memory then", "MiB", etcd[5], kv[5], Some(0.5));
    let word = bench.verdict(kv[0] < 0.5 && kv[1] < 24.0);
    println!(
        "| an idle kv under 0.5 % of a core and 24 MiB | | {:.2} %, {:.1} MiB | | {word} |",
        kv[0], kv[1]
    );
    Ok(())
}

/// The part of a core that an idle member takes.
async fn idle(cluster: &Cluster) -> Result<f64> {
    let time = Duration::from_secs(10);
    let before = cluster.cpu()?;
    tokio::time::sleep(time).await;
    Ok((cluster.cpu()? - before) / time.as_secs_f64())
}

/// The disk's own bound.
fn fdatasync(folder: &Path, time: Duration) -> Result<Figures> {
    let mut file = File::create(folder.join("bare"))?;
    // Room first, so that only data is synced, as in a log that is preallocated.
    file.write_all(&vec![0; 16 << 20])?;
    file.sync_all()?;
    let mut file = File::options().write(true).open(folder.join("bare"))?;
    let mut times = Vec::new();
    let begun = Instant::now();
    while begun.elapsed() < time {
        let start = Instant::now();
        file.write_all(&[1; 300])?;
        file.sync_data()?;
        times.push(start.elapsed());
    }
    Ok(Figures::of(times, begun.elapsed(), 1))
}

fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}
