//! The daemon and `journalctl`, for tests: `journald OPTION…`, `journald journalctl OPTION…`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    ExitCode::from(match arguments.split_first() {
        Some((first, rest)) if first == "journalctl" => journal::journalctl::main(rest),
        _ => journal::daemon::main(&arguments),
    })
}
