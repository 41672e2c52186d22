//! The console: written to without ever waiting; what it cannot take is lost.

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use std::os::fd::OwnedFd;
use std::path::Path;

pub(super) struct Console(Option<OwnedFd>);

impl Console {
    /// A console that cannot be opened is one that shows nothing.
    pub(super) fn open(path: &Path) -> Self {
        let flags =
            OFlag::O_WRONLY | OFlag::O_NOCTTY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_APPEND;
        Self(open(path, flags, Mode::empty()).ok())
    }

    /// Writes a line, control characters of units replaced.
    pub(super) fn line(&self, text: &str) {
        let Some(fd) = &self.0 else { return };
        let mut bytes: Vec<u8> = Vec::with_capacity(text.len() + 2);
        for line in text.lines() {
            bytes.extend(
                line.chars()
                    .map(|c| if c.is_control() && c != '\t' { '?' } else { c })
                    .collect::<String>()
                    .bytes(),
            );
            bytes.extend_from_slice(b"\r\n");
        }
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            match nix::unistd::write(fd, rest) {
                Ok(count) if count > 0 => rest = &rest[count..],
                _ => return,
            }
        }
    }
}
