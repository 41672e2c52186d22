//! The way to the journal, which is a process of its own (crate `journal`).
//!
//! PID 1 makes the journal's sockets before any unit, holds them for good and passes them to
//! systemd-journald.service: what is said before that runs, and while it is started again, waits
//! in the kernel. For each process PID 1 connects stdout and stderr; its own entries go by
//! the native protocol, through a bounded queue. Nothing here ever waits.

use super::poll::Source;
use super::{Manager, now};
use crate::engine::ActiveState;
use crate::unit::UnitName;
use crate::unit::config::LoadState;
use journal::native;
use journal::sockets::{self, Purpose};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, connect, sendmsg, socket,
};
use std::cell::Cell;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(super) use journal::daemon::stream::Header;

/// The unit that takes what is said.
pub(super) const DAEMON: &str = "systemd-journald.service";

/// Bytes of own entries that may wait while the daemon does not take any.
const QUEUE_BYTES: usize = 512 << 10;

/// How long a line for the console waits for those that units said before.
const HOLD: Duration = Duration::from_secs(1);

/// A line for the console that comes behind what units said.
struct Held {
    text: String,
    /// Closed by the daemon once it has come so far.
    barrier: OwnedFd,
    token: u64,
    due: Duration,
}

pub(super) struct Log {
    folder: PathBuf,
    sockets: Vec<(Purpose, OwnedFd)>,
    own: UnixDatagram,
    token: u64,
    /// With the descriptor that goes along.
    queue: VecDeque<(Vec<u8>, Option<OwnedFd>)>,
    queue_bytes: usize,
    dropped: u64,
    held: Option<Held>,
    /// Whether anything that was said may be on its way to the console.
    to_console: Cell<bool>,
}

impl Log {
    /// Makes the sockets in `folder`.
    pub(super) fn start(folder: &Path, poll: &mut super::Poll) -> io::Result<Self> {
        // A socket has the length of the time when it was made. What cannot be set is no reason to stop.
        let _ = sockets::lengthen_queues(folder);
        let sockets = sockets::make(folder)?;
        sockets::link_dev_log(folder);
        let own = UnixDatagram::unbound()?;
        own.set_nonblocking(true)?;
        own.connect(folder.join("socket"))?;
        let token = poll.add(&own, Source::Log)?;
        let queue = VecDeque::new();
        Ok(Self {
            folder: folder.to_owned(),
            sockets,
            own,
            token,
            queue,
            queue_bytes: 0,
            dropped: 0,
            held: None,
            to_console: Cell::new(false),
        })
    }

    /// The descriptors for the daemon, each with its name.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = (String, &OwnedFd)> {
        self.sockets.iter().map(|(_, fd)| ("systemd-journald.socket".to_owned(), fd))
    }

    /// A connection for a process to write to.
    pub(super) fn stream(&self, header: &Header) -> io::Result<OwnedFd> {
        self.to_console.set(self.to_console.get() || header.console);
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
        self.queue.push_back((bytes, None));
    }

    /// Sends what waits, as far as it goes.
    fn drain(&mut self) {
        while let Some((bytes, descriptor)) = self.queue.front() {
            let raw: Vec<i32> = descriptor.iter().map(AsRawFd::as_raw_fd).collect();
            let control = [ControlMessage::ScmRights(&raw)];
            let control = if raw.is_empty() { &control[..0] } else { &control[..] };
            let parts = [IoSlice::new(bytes)];
            match sendmsg::<()>(self.own.as_raw_fd(), &parts, control, MsgFlags::MSG_NOSIGNAL, None) {
                Err(Errno::EAGAIN) => return,
                Err(Errno::EINTR) => continue,
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

    /// A line for the console, behind what units with `journal+console` have said until now: the
    /// journal is given a descriptor, which it closes when all that is shown. It is not waited
    /// for, and not for long; and not at all when nobody speaks to the console.
    pub(super) fn line_in_order(&mut self, text: String) {
        let daemon = UnitName::parse(DAEMON).ok().and_then(|name| self.engine.find(&name));
        let runs = daemon.is_some_and(|id| {
            matches!(self.engine.active(id), ActiveState::Active | ActiveState::Activating)
        });
        if !runs || self.log.held.is_some() || !self.log.to_console.get() {
            return self.console.line(&text);
        }
        let Ok((barrier, sent)) = nix::unistd::pipe2(OFlag::O_CLOEXEC) else {
            return self.console.line(&text);
        };
        let Ok(token) = self.poll.add(&barrier, Source::Barrier) else { return self.console.line(&text) };
        self.log.held = Some(Held { text, barrier, token, due: now() + HOLD });
        self.log.queue_bytes += 1;
        self.log.queue.push_back((b"\n".to_vec(), Some(sent)));
        self.log_ready();
    }

    /// When a held line is shown at last.
    pub(super) fn held_deadline(&self) -> Option<Duration> {
        self.log.held.as_ref().map(|held| held.due)
    }

    /// Shows the line that was held; at its deadline, or at once.
    pub(super) fn show_held(&mut self, at_once: bool) {
        if let Some(held) = self.log.held.take_if(|held| at_once || held.due <= now()) {
            self.poll.remove(&held.barrier, held.token);
            self.console.line(&held.text);
        }
    }

    /// There may be room for more.
    pub(super) fn log_ready(&mut self) {
        self.log.drain();
        self.poll.want_write(&self.log.own, self.log.token, !self.log.queue.is_empty());
    }
}
