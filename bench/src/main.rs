//! Measures what docs/SPECIFICATION.md promises, each beside the public tools or the bare kernel on
//! the same input in the same run, and prints medians and ratios.
//!
//! `scripts/bench` builds and starts it. A figure that misses its target is marked and makes the
//! exit code 1; on a machine with other work, CPU seconds are the figures to look at.

mod boot;
mod build;
mod image;
mod journal;
mod measure;
mod toolbox;
mod tree;
mod units;
mod unpack;

use std::path::PathBuf;
use std::process::ExitCode;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// What every benchmark works with.
struct Bench {
    /// The `slipway` program.
    slipway: PathBuf,
    /// Where inputs and images are made.
    folder: PathBuf,
    /// A folder on a disk.
    disk: PathBuf,
    /// Runs of each measurement.
    runs: usize,
    /// Whether all figures met their targets.
    good: bool,
}

impl Bench {
    /// Notes whether a target was met; gives the word for it.
    fn verdict(&mut self, met: bool) -> &'static str {
        self.good &= met;
        if met { "ok" } else { "MISSED" }
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(1)
        }
    }
}

fn run() -> Result<bool> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(slipway), Some(folder), Some(disk), Some(runs)) =
        (arguments.next(), arguments.next(), arguments.next(), arguments.next())
    else {
        return Err(
            "usage: bench SLIPWAY FOLDER DISK RUNS [image] [build] [boot] [journal] [units] [toolbox]".into(),
        );
    };
    let runs = runs.to_str().and_then(|text| text.parse().ok()).filter(|runs| *runs > 0);
    let chosen: Vec<_> = arguments.map(|argument| argument.to_string_lossy().into_owned()).collect();
    let wanted = |name: &str| chosen.is_empty() || chosen.iter().any(|chosen| chosen == name);
    let folder = tempfile::Builder::new().prefix("slipway-bench-").tempdir_in(folder)?;
    let runs = runs.ok_or("RUNS is a number above 0")?;
    let folder_path = folder.path().to_owned();
    let mut bench =
        Bench { slipway: slipway.into(), folder: folder_path, disk: disk.into(), runs, good: true };
    println!("{runs} runs each, medians; load before: {}", measure::load());
    if wanted("image") {
        image::run(&mut bench)?;
    }
    if wanted("build") {
        build::run(&mut bench)?;
    }
    if wanted("boot") {
        boot::run(&mut bench)?;
    }
    if wanted("journal") {
        journal::run(&mut bench)?;
    }
    if wanted("units") {
        units::run(&mut bench)?;
    }
    if wanted("toolbox") {
        toolbox::run(&mut bench)?;
        unpack::run(&mut bench)?;
    }
    println!("\nload after: {}", measure::load());
    Ok(bench.good)
}
