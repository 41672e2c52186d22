//! One run of a program: wall time, CPU time and peak memory, as GNU time has them from wait4(2).

use crate::Result;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// What a run took; with children, their CPU time is in it, and the peak is the largest process's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    pub wall_s: f64,
    pub cpu_s: f64,
    pub peak_mib: f64,
}

/// Runs a program that must succeed, `words` in `folder`.
pub(crate) fn run(folder: &Path, words: &[&str]) -> Result<Run> {
    told(folder, words).map(|(run, _)| run)
}

/// As [`run`], with what the program said on stderr.
pub(crate) fn told(folder: &Path, words: &[&str]) -> Result<(Run, String)> {
    let figures = tempfile::NamedTempFile::new()?;
    let output = Command::new("/usr/bin/time")
        .args(["--format=%e %U %S %M", "--output"])
        .arg(figures.path())
        .args(words)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("/usr/bin/time: {error}; apt-get install time"))?;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        return Err(format!("{words:?}: {}\n{stderr}", output.status).into());
    }
    let text = fs::read_to_string(figures.path())?;
    let numbers: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [wall_s, user, system, peak_kib] = numbers[..] else {
        return Err(format!("/usr/bin/time said {text:?}").into());
    };
    Ok((Run { wall_s, cpu_s: user + system, peak_mib: peak_kib / 1024.0 }, stderr))
}

/// The median of some figures.
pub(crate) fn median(figures: impl IntoIterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.into_iter().collect();
    figures.sort_by(f64::total_cmp);
    match figures.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => figures[odd / 2],
        even => f64::midpoint(figures[even / 2 - 1], figures[even / 2]),
    }
}

/// Median wall and CPU time, and the largest peak.
pub(crate) fn summary(runs: &[Run]) -> Run {
    Run {
        wall_s: median(runs.iter().map(|run| run.wall_s)),
        cpu_s: median(runs.iter().map(|run| run.cpu_s)),
        peak_mib: runs.iter().map(|run| run.peak_mib).fold(0.0, f64::max),
    }
}

/// The machine's load, so that a reader can judge the wall times.
pub(crate) fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}
