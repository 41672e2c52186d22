//! What the kernel says of this process: proc(5).

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use super::text::Text;

/// `USER_HZ`: what the kernel counts times for `/proc` in, on all machines of today.
const TICKS_PER_S: f64 = 100.0;

/// Writes what there is; what cannot be read is left out.
pub fn write(text: &mut Text) {
    if let Some((ticks, started)) = stat() {
        let name = "process_cpu_seconds_total";
        text.family(name, "counter", "Total user and system CPU time spent in seconds.");
        text.sample(name, &[], ticks as f64 / TICKS_PER_S);
        if let Some(booted) = booted() {
            let start = booted + started as f64 / TICKS_PER_S;
            let help = "Start time of the process since unix epoch in seconds.";
            text.gauge("process_start_time_seconds", help, start);
        }
    }
    if let Ok(files) = fs::read_dir("/proc/self/fd") {
        // One of them is the folder that is being read.
        let open = files.count().saturating_sub(1);
        text.gauge("process_open_fds", "Number of open file descriptors.", open);
        text.gauge("os_fd_used", "The number of used file descriptors.", open);
    }
    if let Some(limit) = limit() {
        text.gauge("process_max_fds", "Maximum number of open file descriptors.", limit);
        text.gauge("os_fd_limit", "The file descriptor limit.", limit);
    }
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    for (field, name, help) in [
        ("VmRSS:", "process_resident_memory_bytes", "Resident memory size in bytes."),
        ("VmSize:", "process_virtual_memory_bytes", "Virtual memory size in bytes."),
    ] {
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        if let Some(kib) = kib {
            text.gauge(name, help, kib * 1024);
        }
    }
}

/// Ticks on a processor, and the tick after boot at which it began.
fn stat() -> Option<(u64, u64)> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name may hold anything; field 3 follows its last parenthesis.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some((field(14)? + field(15)?, field(22)?))
}

fn booted() -> Option<f64> {
    let uptime = fs::read_to_string("/proc/uptime").ok()?;
    let up: f64 = uptime.split_whitespace().next()?.parse().ok()?;
    Some(SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs_f64() - up)
}

fn limit() -> Option<u64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}
