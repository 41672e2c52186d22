//! Lines for the console, for units with `journal+console`. What it cannot take at once waits,
//! up to a bound; nobody waits for it.

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Bytes that may wait.
const WAITING_MAX: usize = 64 << 10;

/// The console.
#[derive(Debug)]
pub struct Console {
    fd: Option<OwnedFd>,
    waiting: Vec<u8>,
}

impl Console {
    /// A console that cannot be opened shows nothing.
    pub fn open(path: &Path) -> Self {
        let flags =
            OFlag::O_WRONLY | OFlag::O_NOCTTY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_APPEND;
        Self { fd: open(path, flags, Mode::empty()).ok(), waiting: Vec::new() }
    }

    /// The descriptor to watch for writing, while something waits.
    pub fn wants_write(&self) -> Option<BorrowedFd<'_>> {
        self.fd.as_ref().filter(|_| !self.waiting.is_empty()).map(AsFd::as_fd)
    }

    /// The descriptor, if there is one.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.fd.as_ref().map(AsFd::as_fd)
    }

    /// Writes a line, control characters of units replaced.
    pub fn line(&mut self, identifier: &str, pid: i32, message: &[u8]) {
        if self.fd.is_none() || self.waiting.len() > WAITING_MAX {
            return;
        }
        let text = format!("{identifier}[{pid}]: {}", String::from_utf8_lossy(message));
        let clean: String = text.chars().map(|c| if c.is_control() && c != '\t' { '?' } else { c }).collect();
        self.waiting.extend_from_slice(clean.as_bytes());
        self.waiting.extend_from_slice(b"\r\n");
        self.drain();
    }

    /// Writes what waits, as far as it goes.
    pub fn drain(&mut self) {
        let Some(fd) = &self.fd else { return };
        while !self.waiting.is_empty() {
            match nix::unistd::write(fd, &self.waiting) {
                Ok(count) => _ = self.waiting.drain(..count),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return,
                Err(_) => {
                    self.waiting.clear();
                    return;
                }
            }
        }
    }
}
