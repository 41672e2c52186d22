//! `journald`: takes what units, programs and the kernel say, and writes it down.
//!
//! One thread waits for everything with epoll; two helpers wait for the disk's fsync and for
//! questions of `journalctl`. Nothing that a client does makes it wait, and nothing that a client
//! sends makes it grow without bound. [`stream`], [`syslog`], [`kmsg`], [`rate`] and [`config`]
//! decide without I/O.

pub mod config;
mod console;
pub mod control;
mod input;
pub mod kmsg;
mod output;
mod process;
pub mod rate;
mod run;
pub mod stream;
pub mod syslog;
mod unit;

use crate::sockets::{Purpose, RUNTIME, default_folder};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

const USAGE: &str =
    "journald [--runtime FOLDER] [--folder FOLDER] [--config FILE] [--console PATH] [--no-kmsg]";

/// Where the daemon finds and leaves things.
#[derive(Clone, Debug)]
pub struct Options {
    /// Of its sockets.
    pub runtime: PathBuf,
    /// Of the journal.
    pub folder: PathBuf,
    /// Its configuration.
    pub config: PathBuf,
    /// The console.
    pub console: PathBuf,
    /// Whether the kernel's messages are read.
    pub kmsg: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            runtime: RUNTIME.into(),
            folder: default_folder().into(),
            config: "/etc/systemd/journald.conf".into(),
            console: "/dev/console".into(),
            kmsg: true,
        }
    }
}

impl Options {
    /// Reads the command line.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut options = Self::default();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let mut path = || {
                let path = rest.next().map(PathBuf::from);
                path.ok_or_else(|| format!("{argument} wants a path"))
            };
            match argument.as_str() {
                "--runtime" => options.runtime = path()?,
                "--folder" => options.folder = path()?,
                "--config" => options.config = path()?,
                "--console" => options.console = path()?,
                "--no-kmsg" => options.kmsg = false,
                other => return Err(format!("`{other}` is not supported")),
            }
        }
        Ok(options)
    }
}

/// Runs the daemon; gives the exit code. Its own messages are entries, except for those of a
/// start that fails.
pub fn main(arguments: &[String]) -> u8 {
    let options = match Options::parse(arguments) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("error: {error}\nhint: {USAGE}");
            return 2;
        }
    };
    let passed = service::activation::descriptors().into_iter().map(|(_, fd)| fd).collect();
    match run(options, passed) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("error: {error}");
            1
        }
    }
}

/// Runs until SIGTERM or SIGINT. Sockets that are not among `passed` are made.
///
/// # Errors
/// A socket or something else that it cannot be without cannot be made.
pub fn run(options: Options, passed: Vec<OwnedFd>) -> io::Result<()> {
    run::Daemon::start(options, passed)?.run()
}

/// The socket that answers `journalctl`, in the runtime folder.
pub(crate) fn control_socket(runtime: &Path) -> PathBuf {
    runtime.join("control")
}

/// Sorts what was passed into the three sockets and stored connections.
fn sort_passed(passed: Vec<OwnedFd>) -> (Vec<(Purpose, OwnedFd)>, Vec<OwnedFd>) {
    let (mut sockets, mut stored) = (Vec::new(), Vec::new());
    for fd in passed {
        match crate::sockets::purpose_of(&fd) {
            Some(purpose) => sockets.push((purpose, fd)),
            None => stored.push(fd),
        }
    }
    (sockets, stored)
}
