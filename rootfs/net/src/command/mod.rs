//! The programs: the service itself, `networkctl`, `networkd-wait-online`. The only part that prints.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the face of programs")]

mod networkctl;
mod wait_online;

pub use networkctl::main as networkctl;
pub use wait_online::main as wait_online;

use crate::daemon;
use std::path::Path;

/// `networkd`: the service. Exit code 0 after SIGTERM, 1 when it cannot run, 2 for usage.
pub fn networkd(arguments: &[String]) -> u8 {
    if let Some(argument) = arguments.first() {
        return usage(argument, "networkd takes no arguments");
    }
    match daemon::run(Path::new("/")) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("error: {error}");
            1
        }
    }
}

fn usage(argument: &str, hint: &str) -> u8 {
    eprintln!("error: `{argument}` is not understood\nhint: {hint}");
    2
}
