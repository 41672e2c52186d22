//! What can wake the loop.

use crate::engine::UnitId;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// Who woke it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Signals,
    Notify,
    Listener,
    Cgroups,
    Client(u64),
    /// The way of a child to execve.
    Outcome(i32),
    /// The end of a process that another one may be the parent of.
    Adopted(i32),
    /// Listening sockets of a socket unit.
    Socket(UnitId),
    /// A descriptor that is kept for a service.
    Stored(UnitId),
    /// What a path unit waits for.
    Paths(UnitId),
    /// Device nodes, and the time zone's link.
    Nodes,
    /// The kernel's table of mounts.
    Mounts,
    /// The wall clock was set.
    Clock,
    /// What was asked of file systems is answered.
    Workers,
    /// The journal takes entries again.
    Log,
    /// The journal has shown what came before.
    Barrier,
}

pub(super) struct Poll {
    epoll: Epoll,
    sources: HashMap<u64, Source>,
    next: u64,
}

impl Poll {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?, sources: HashMap::new(), next: 0 })
    }

    /// Watches a descriptor for reading; gives the token that forgets it.
    pub(super) fn add(&mut self, fd: &impl AsFd, source: Source) -> io::Result<u64> {
        self.add_flags(fd, EpollFlags::EPOLLIN, source)
    }

    /// Watches a descriptor for some events; errors and hang-ups are always told.
    pub(super) fn add_flags(&mut self, fd: &impl AsFd, flags: EpollFlags, source: Source) -> io::Result<u64> {
        self.next += 1;
        self.epoll.add(fd, EpollEvent::new(flags, self.next))?;
        self.sources.insert(self.next, source);
        Ok(self.next)
    }

    /// Watches for writing too, or no longer.
    pub(super) fn want_write(&self, fd: &impl AsFd, token: u64, write: bool) {
        let flags = if write { EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT } else { EpollFlags::EPOLLIN };
        // It is registered; modifying that cannot fail but for lack of kernel memory, and then
        // the client's time-out is the remedy.
        let _ = self.epoll.modify(fd, &mut EpollEvent::new(flags, token));
    }

    /// Forgets a descriptor that is about to be closed.
    pub(super) fn remove(&mut self, fd: &impl AsFd, token: u64) {
        self.sources.remove(&token);
        let _ = self.epoll.delete(fd);
    }

    /// Waits for events, at most for `patience`.
    pub(super) fn wait(&mut self, patience: Option<Duration>) -> Vec<Source> {
        let timeout = match patience {
            None => EpollTimeout::NONE,
            // Rounded up, or the last millisecond would be a busy loop.
            Some(patience) => {
                let ms = patience.as_micros().div_ceil(1000).min(3_600_000);
                EpollTimeout::try_from(ms as i32).unwrap_or(EpollTimeout::NONE)
            }
        };
        let mut events = [EpollEvent::empty(); 64];
        let count = self.epoll.wait(&mut events, timeout).unwrap_or(0);
        events[..count].iter().filter_map(|event| self.sources.get(&event.data()).copied()).collect()
    }
}

/// The signals that PID 1 takes, as a descriptor.
pub(super) struct Signals(SignalFd);

impl Signals {
    /// Blocks them in this thread and in those that it makes from now on.
    pub(super) fn block() -> io::Result<Self> {
        let mut set = SigSet::empty();
        for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGPWR, Signal::SIGHUP] {
            set.add(signal);
        }
        set.thread_block()?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        Ok(Self(SignalFd::with_flags(&set, flags)?))
    }

    /// The next signal that came.
    pub(super) fn next(&self) -> Option<Signal> {
        let info = self.0.read_signal().ok().flatten()?;
        Signal::try_from(info.ssi_signo as i32).ok()
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
