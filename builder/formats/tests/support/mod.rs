//! What the tests of several formats share: running a second opinion, and test data.
#![allow(dead_code, reason = "each test program uses its part of this")]

use std::process::{Command, Output};

/// Runs a public tool and gives its output.
///
/// # Panics
/// The tool is absent (says which package has it).
pub(crate) fn run(tool: &str, package: &str, arguments: &[&str]) -> Output {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    Command::new(tool)
        .args(arguments)
        .env("PATH", path)
        .env("LC_ALL", "C")
        .env("TZ", "UTC")
        .output()
        .unwrap_or_else(|error| panic!("cannot run {tool}: {error}; apt-get install {package}"))
}

/// Runs a public tool that must succeed and gives its stdout.
///
/// # Panics
/// The tool is absent or fails.
pub(crate) fn succeed(tool: &str, package: &str, arguments: &[&str]) -> String {
    let output = run(tool, package, arguments);
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{tool} {arguments:?}: {}\n{stdout}{stderr}", output.status);
    stdout
}

/// Bytes without a pattern, the same for the same seed (`SplitMix64`).
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let words = std::iter::repeat_with(|| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let word = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    });
    words.flat_map(u64::to_le_bytes).take(length).collect()
}
