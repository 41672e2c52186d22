//! The journal: lines a second into the daemon, and a query by unit over a million entries.

use crate::{Bench, Result, measure};
use journal::daemon::control::{Request, ask};
use journal::daemon::stream::Header;
use journal::{Limits, Shared, Stamp, Writer};
use std::fs;
use std::io::Write;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// Lines of one run into the daemon.
const LINES: usize = 1_000_000;
/// Entries and units of the journal that is asked.
const ENTRIES: u64 = 1_000_000;
const UNITS: u64 = 1000;

/// Ended with its owner.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn run(bench: &mut Bench) -> Result<()> {
    let host = bench.slipway.with_file_name("host");
    println!("\n## Journal\n\n| figure | bound | measured | |\n| --- | --- | --- | --- |");
    let mut rates = Vec::new();
    let mut peaks = Vec::new();
    for _ in 0..bench.runs {
        let folder = tempfile::tempdir_in(&bench.folder)?;
        let (rate, peak_kib) = ingest(&host, folder.path())?;
        rates.push(rate);
        peaks.push(peak_kib);
    }
    let rate = measure::median(rates);
    let word = bench.verdict(rate >= 100_000.0);
    println!(
        "| lines a second from one service, until they are on the disk | 100,000 | {rate:.0} | {word} |"
    );
    let peak = measure::median(peaks) / 1024.0;
    println!("| peak memory of the daemon meanwhile | | {peak:.1} MiB | |");

    let folder = tempfile::tempdir_in(&bench.folder)?;
    let bytes = fill(folder.path())?;
    let mut times = Vec::new();
    for run in 0..bench.runs {
        let unit = format!("unit-{}.service", 7 + 31 * run as u64 % UNITS);
        let start = Instant::now();
        let output = Command::new(&host)
            .args(["journalctl", "-q", "-o", "cat", "-u", &unit, "-D"])
            .arg(folder.path())
            .output()?;
        times.push(start.elapsed().as_secs_f64() * 1000.0);
        let lines = String::from_utf8_lossy(&output.stdout).lines().count() as u64;
        if lines != ENTRIES / UNITS {
            return Err(format!("{unit}: {lines} lines of {}", ENTRIES / UNITS).into());
        }
    }
    let time = measure::median(times);
    let word = bench.verdict(time < 50.0);
    println!("| `journalctl -u` of a unit's 1,000 entries among 1,000,000 | 50 ms | {time:.1} ms | {word} |");
    println!("| bytes of an entry on the disk | | {} | |", bytes / ENTRIES);
    Ok(())
}

/// Lines a second, and the daemon's peak memory in KiB.
fn ingest(host: &Path, folder: &Path) -> Result<(f64, f64)> {
    let ready = UnixDatagram::bind(folder.join("notify"))?;
    fs::write(folder.join("conf"), "[Journal]\nRateLimitBurst=0\n")?;
    let runtime = folder.join("run");
    let child = Command::new(host)
        .args(["journald", "--no-kmsg", "--console", "/dev/null", "--runtime"])
        .arg(&runtime)
        .arg("--folder")
        .arg(folder.join("log"))
        .arg("--config")
        .arg(folder.join("conf"))
        .env("NOTIFY_SOCKET", folder.join("notify"))
        .stdin(Stdio::null())
        .spawn()?;
    let daemon = Daemon(child);
    ready.recv(&mut [0; 64])?;
    let mut text = Vec::new();
    for number in 0..LINES {
        writeln!(text, "{number:07} GET /index.html 200 of client 192.0.2.17 took 12 ms, as every time")?;
    }
    let mut stream = UnixStream::connect(runtime.join("stdout"))?;
    let unit = "bench.service".to_owned();
    let header = Header { identifier: "bench".into(), unit, priority: 6, level_prefix: true, console: false };
    stream.write_all(&header.encode())?;
    let start = Instant::now();
    stream.write_all(&text)?;
    drop(stream);
    ask(&runtime, Request::Sync)?;
    let took = start.elapsed().as_secs_f64();
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.0.id()))?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.and_then(|text| text.split_whitespace().next()?.parse().ok()).unwrap_or(f64::NAN);
    let found = journal::last_sequence(&folder.join("log"))?;
    if (found as usize) < LINES {
        return Err(format!("{found} entries of {LINES} lines").into());
    }
    Ok((LINES as f64 / took, peak))
}

/// A journal whose units speak in turn; gives its bytes.
fn fill(folder: &Path) -> Result<u64> {
    let limits =
        Limits { use_bytes: 1 << 40, keep_free_bytes: 0, segments: usize::MAX, ..Limits::of(1 << 40) };
    let (mut writer, _) = Writer::start(folder, limits)?;
    let host = Shared::new(vec![
        format!("_BOOT_ID={:032x}", 1).into_bytes(),
        format!("_MACHINE_ID={:032x}", 2).into_bytes(),
        b"_HOSTNAME=bench".to_vec(),
    ]);
    let units: Vec<Shared> = (0..UNITS)
        .map(|unit| {
            Shared::new(
                [
                    format!("_SYSTEMD_UNIT=unit-{unit}.service"),
                    format!("_SYSTEMD_CGROUP=/system.slice/unit-{unit}.service"),
                    format!("_PID={}", 1000 + unit),
                    format!("SYSLOG_IDENTIFIER=program-{unit}"),
                    "_EXE=/usr/bin/program".into(),
                    format!("_CMDLINE=/usr/bin/program --number {unit}"),
                    "_TRANSPORT=stdout".into(),
                    "_UID=0".into(),
                ]
                .map(String::into_bytes)
                .into(),
            )
        })
        .collect();
    for number in 0..ENTRIES {
        let message = format!("MESSAGE={number:07} GET /index.html 200 of client 192.0.2.17 took 12 ms");
        let stamp = Stamp { realtime_us: 1_790_000_000_000_000 + number * 1000, monotonic_us: number * 1000 };
        let unit = &units[(number % UNITS) as usize];
        writer.append(stamp, &[&host, unit], &[message.as_bytes(), b"PRIORITY=6"]);
    }
    drop(writer);
    Ok(journal::disk_usage(folder)?)
}
