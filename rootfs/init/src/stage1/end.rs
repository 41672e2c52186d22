//! Every way to fail in stage 1, and what comes of it: a message and a reboot.
//!
//! The exception: when every boot entry is out of tries there is nothing to fall back to, and
//! the machine stays up with its message instead of rebooting in circles.

use super::CommandLine;
use crate::bless::EntryName;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;
use sys::power::{Power, end};

static DOING: Mutex<&str> = Mutex::new("mounting the kernel's file systems");

/// The deadline of stage 1.
pub(super) struct Armed(Sender<()>);

/// From now on, a panic and the end of `deadline` are failures as well.
pub(super) fn arm(deadline: Duration) -> Armed {
    std::panic::set_hook(Box::new(|panic| fail(&format!("panic: {panic}"))));
    let (disarm, disarmed) = channel();
    thread::spawn(move || {
        if disarmed.recv_timeout(deadline) == Err(RecvTimeoutError::Timeout) {
            let doing = *DOING.lock().unwrap_or_else(PoisonError::into_inner);
            fail(&format!("still {doing} after {} s", deadline.as_secs()));
        }
    });
    Armed(disarm)
}

impl Armed {
    /// Stage 1 is over: what fails from now on is for others to handle.
    pub(super) fn disarm(self) {
        drop(self.0);
        let _ = std::panic::take_hook();
    }
}

/// Notes what is going on, for the message at the deadline.
pub(super) fn doing(what: &'static str) {
    *DOING.lock().unwrap_or_else(PoisonError::into_inner) = what;
}

/// One line on the console.
#[expect(clippy::print_stderr, reason = "the console is all there is in stage 1")]
pub(super) fn say(line: &str) {
    eprintln!("stage1: {line}");
}

/// Says why there is no root, and ends the machine.
pub(super) fn fail(reason: &str) -> ! {
    say(reason);
    if let Some(entry) = exhausted_entry() {
        say(&format!("every boot entry is out of tries (this is {entry}): staying up"));
        loop {
            thread::park();
        }
    }
    say("rebooting");
    let Err(error) = end(Power::Reboot);
    say(&format!("cannot reboot: {error}"));
    // The kernel panics when its first process ends, and panic= on its command line reboots.
    std::process::abort()
}

/// The boot entry, when it and thereby all others have no tries left.
fn exhausted_entry() -> Option<EntryName> {
    let tries = CommandLine::parse(&std::fs::read_to_string("/proc/cmdline").ok()?).tries;
    let path = sys::efivar::read_loader("LoaderBootCountPath").ok()??;
    EntryName::parse(&path).filter(|entry| entry.is_exhausted(tries))
}
