//! The way to the journal, which is a process of its own (crate `journal`).
//!
//! PID 1 makes the journal's sockets before any unit, holds them for good and passes them to
//! systemd-journald.service: what is said before that runs, and while it is started again, waits
//! in the kernel. For each process PID 1 connects stdout and stderr; its own entries go by
//! the native protocol, through a bounded queue. Nothing here ever waits.

use super::Manager;
use super::poll::Source;
use crate::unit::UnitName;
use crate::unit::config::LoadState;
use journal::native;
use journal::sockets::{self, Purpose};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use std::collections::VecDeque;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};

pub(super) use journal::daemon::stream::Header;

/// The unit that takes what is said.
pub(super) const DAEMON: &str = "systemd-journald.service";

/// Bytes of own entries that may wait while the daemon does not take any.
const QUEUE_BYTES: usize = 512 << 10;

pub(super) struct Log {
    folder: PathBuf,
    sockets: Vec<(Purpose, OwnedFd)>,
    own: UnixDatagram,
    token: u64,
    queue: VecDeque<Vec<u8>>,
    queue_bytes: usize,
    dropped: u64,
}

impl Log {
    /// Makes the sockets in `folder`.
    pub(super) fn start(folder: &Path, poll: &mut super::Poll) -> io::Result<Self> {
        let sockets = sockets::make(folder)?;
        sockets::link_dev_log(folder);
        let own = UnixDatagram::unbound()?;
        own.set_nonblocking(true)?;
        own.connect(folder.join("socket"))?;
        let token = poll.add(&own, Source::Log)?;
        let queue = VecDeque::new();
        Ok(Self { folder: folder.to_owned(), sockets, own, token, queue, queue_bytes: 0, dropped: 0 })
    }

    /// The descriptors for the daemon, each with its name.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = (String, &OwnedFd)> {
        self.sockets.iter().map(|(_, fd)| ("systemd-journald.socket".to_owned(), fd))
    }

    /// A connection for a process to write to.
    pub(super) fn stream(&self, header: &Header) -> io::Result<OwnedFd> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
        connect(fd.as_raw_fd(), &UnixAddr::new(&self.folder.join("stdout"))?)?;
        let stream = UnixStream::from(fd);
        stream.shutdown(Shutdown::Read)?;
        // A fresh socket has room for it.
        io::Write::write_all(&mut &stream, &header.encode())?;
        // The service is to wait when the journal does not keep up.
        fcntl(&stream, FcntlArg::F_SETFL(OFlag::empty()))?;
        Ok(stream.into())
    }

    fn push(&mut self, fields: &[(&str, &[u8])]) {
        let mut bytes = Vec::with_capacity(256);
        for (name, value) in fields {
            native::encode(&mut bytes, name, value);
        }
        if self.queue_bytes + bytes.len() > QUEUE_BYTES {
            self.dropped += 1;
            return;
        }
        self.queue_bytes += bytes.len();
        self.queue.push_back(bytes);
    }

    /// Sends what waits, as far as it goes.
    fn drain(&mut self) {
        while let Some(bytes) = self.queue.front() {
            match self.own.send(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // Anything else is this message's fault, such as its length.
                Err(_) => self.dropped += 1,
                Ok(_) => {}
            }
            self.queue_bytes -= bytes.len();
            self.queue.pop_front();
        }
    }
}

impl Manager {
    /// Whether there is a daemon on this machine; without one, nobody would read a stream.
    pub(super) fn has_journal(&self) -> bool {
        let daemon = UnitName::parse(DAEMON).ok().and_then(|name| self.engine.find(&name));
        daemon.is_some_and(|id| self.engine.unit(id).load_state == LoadState::Loaded)
    }

    /// An entry of PID 1's own.
    pub(super) fn record(&mut self, priority: u8, message: &str, more: &[(&str, &str)]) {
        let level = [b'0' + priority.min(7)];
        let mut fields: Vec<(&str, &[u8])> = vec![
            ("MESSAGE", message.as_bytes()),
            ("PRIORITY", &level),
            ("SYSLOG_FACILITY", b"3"),
            ("SYSLOG_IDENTIFIER", b"systemd"),
        ];
        fields.extend(more.iter().map(|(name, value)| (*name, value.as_bytes())));
        if self.log.dropped > 0 && self.log.queue_bytes < QUEUE_BYTES / 2 {
            let text = format!("{} entries were dropped: the journal does not take them", self.log.dropped);
            self.log.dropped = 0;
            self.log.push(&[
                ("MESSAGE", text.as_bytes()),
                ("PRIORITY", b"4"),
                ("SYSLOG_IDENTIFIER", b"systemd"),
            ]);
        }
        self.log.push(&fields);
        self.log_ready();
    }

    /// There may be room for more.
    pub(super) fn log_ready(&mut self) {
        self.log.drain();
        self.poll.want_write(&self.log.own, self.log.token, !self.log.queue.is_empty());
    }
}
