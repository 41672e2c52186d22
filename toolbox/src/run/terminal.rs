//! The user's terminal: raw while a box has it, as it was afterwards.

use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use rustix::termios::{tcgetwinsize, tcsetwinsize};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// The user's terminal and how it was.
#[derive(Debug)]
pub(super) struct Terminal {
    fd: OwnedFd,
    before: Termios,
}

impl Terminal {
    /// Standard input's.
    pub(super) fn of_input() -> io::Result<Self> {
        let fd = io::stdin().as_fd().try_clone_to_owned()?;
        let before = tcgetattr(&fd)?;
        Ok(Self { fd, before })
    }

    /// All that is typed goes on as it is.
    pub(super) fn make_raw(&self) -> io::Result<()> {
        let mut raw = self.before.clone();
        cfmakeraw(&mut raw);
        Ok(tcsetattr(&self.fd, SetArg::TCSADRAIN, &raw)?)
    }

    /// As it was. Fails only when it is gone.
    pub(super) fn restore(&self) {
        let _ = tcsetattr(&self.fd, SetArg::TCSADRAIN, &self.before);
    }

    /// Gives its size to another.
    pub(super) fn share_size(&self, other: &impl AsFd) {
        if let Ok(size) = tcgetwinsize(&self.fd) {
            let _ = tcsetwinsize(other, size);
        }
    }
}
