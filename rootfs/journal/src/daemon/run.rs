//! The loop.

use super::config::Config;
use super::console::Console;
use super::control::{self, Answer, Question, Request};
use super::input::Stream;
use super::output::Output;
use super::process::{Credentials, Processes};
use super::rate::Rate;
use super::unit::Units;
use super::{Options, sort_passed};
use crate::field::join;
use crate::sockets::{self, Purpose};
use crate::write::{Shared, Stamp};
use nix::fcntl::{OFlag, open};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::stat::Mode;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::rc::Rc;
use std::sync::mpsc::Receiver;
use std::time::Duration;
use sys::receive::Receiver as Messages;

const LISTENER: u64 = 0;
const NATIVE: u64 = 1;
const SYSLOG: u64 = 2;
const KMSG: u64 = 3;
const SIGNALS: u64 = 4;
const WAKE: u64 = 5;
const CONSOLE: u64 = 6;
const UNITS: u64 = 7;
const FIRST_STREAM: u64 = 16;

/// The largest datagram taken.
const BUFFER_BYTES: usize = 256 << 10;
/// How long what was sent before the end, or before a question, is still taken.
const DRAIN: Duration = Duration::from_secs(2);

/// The daemon.
pub(super) struct Daemon {
    pub(super) options: Options,
    pub(super) config: Config,
    epoll: Epoll,
    next_token: u64,
    pub(super) listener: UnixListener,
    pub(super) native: OwnedFd,
    pub(super) syslog: OwnedFd,
    pub(super) kmsg: Option<File>,
    /// Number of the next kernel message.
    pub(super) kmsg_next: u64,
    kmsg_noted: u64,
    signals: SignalFd,
    wake: UnixStream,
    questions: Receiver<Question>,
    pub(super) streams: HashMap<u64, Stream>,
    /// Streams that PID 1 is to keep.
    pub(super) to_store: Vec<u64>,
    /// Whether there is somebody to keep them.
    pub(super) keeps: bool,
    /// Bytes of lines that are not whole.
    pub(super) waiting: usize,
    pub(super) console: Console,
    console_watched: bool,
    pub(super) processes: Processes,
    pub(super) own: Credentials,
    pub(super) rate: Rate,
    /// What units say of their entries.
    pub(super) units: Units,
    hostname: String,
    /// `_BOOT_ID`, `_MACHINE_ID`, `_HOSTNAME`.
    pub(super) host: Rc<Shared>,
    pub(super) journal: Rc<Shared>,
    pub(super) syslog_transport: Rc<Shared>,
    pub(super) driver: Rc<Shared>,
    pub(super) output: Output,
    pub(super) receiver: Messages,
    pub(super) buffer: Vec<u8>,
    pub(super) message: Vec<u8>,
    /// Of this turn.
    pub(super) stamp: Stamp,
    /// Of this turn: time since boot.
    pub(super) now: Duration,
    /// Closed when all that was said before them is taken.
    pub(super) barriers: Vec<OwnedFd>,
    ended: bool,
}

impl Daemon {
    pub(super) fn start(options: Options, passed: Vec<OwnedFd>) -> io::Result<Self> {
        let mut set = SigSet::empty();
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR2] {
            set.add(signal);
        }
        // Before any thread is made.
        set.thread_block()?;
        let signals = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        fs::create_dir_all(options.runtime.join("streams"))?;
        let (mut sockets, stored) = sort_passed(passed);
        let mut take = |purpose| match sockets.iter().position(|(known, _)| *known == purpose) {
            Some(at) => Ok(sockets.swap_remove(at).1),
            None => sockets::make_one(&options.runtime.join(sockets::name_of(purpose)), purpose),
        };
        let listener = UnixListener::from(take(Purpose::Stdout)?);
        listener.set_nonblocking(true)?;
        let (native, syslog) = (take(Purpose::Native)?, take(Purpose::Syslog)?);
        sockets::link_dev_log(&options.runtime);

        let (config, wrong) = Config::load(&options.config);
        let (wake, waker) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        waker.set_nonblocking(true)?;
        let output = Output::start(waker.try_clone()?)?;
        let questions = control::listen(&options.runtime, waker)?;
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let kmsg = (options.kmsg && config.read_kmsg)
            .then(|| open("/dev/kmsg", flags, Mode::empty()).ok().map(File::from))
            .flatten();
        let kmsg_next = fs::read_to_string(options.runtime.join("kernel-seqnum"));
        let kmsg_next = kmsg_next.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        let console = Console::open(&options.console);
        let rate = Rate::new(config.rate_interval, config.rate_burst);
        let units = Units::start(options.runtime.with_file_name("units"))?;
        let hostname = hostname();
        let transport = |name: &str, more: &[(&str, &str)]| {
            let more = more.iter().map(|(name, value)| join(name, value));
            Rc::new(Shared::new([join("_TRANSPORT", name)].into_iter().chain(more).collect()))
        };
        let mut daemon = Self {
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            next_token: FIRST_STREAM,
            listener,
            native,
            syslog,
            kmsg,
            kmsg_next,
            kmsg_noted: kmsg_next,
            signals,
            wake,
            questions,
            streams: HashMap::new(),
            to_store: Vec::new(),
            keeps: std::env::var_os("NOTIFY_SOCKET").is_some(),
            waiting: 0,
            console,
            console_watched: false,
            processes: Processes::default(),
            own: Credentials {
                pid: std::process::id().cast_signed(),
                uid: nix::unistd::getuid().as_raw(),
                gid: nix::unistd::getgid().as_raw(),
            },
            rate,
            units,
            host: Rc::new(host(&hostname)),
            hostname,
            journal: transport("journal", &[]),
            syslog_transport: transport("syslog", &[]),
            driver: transport("driver", &[("SYSLOG_IDENTIFIER", "systemd-journald")]),
            output,
            receiver: Messages::default(),
            buffer: vec![0; BUFFER_BYTES],
            message: Vec::new(),
            stamp: Stamp::now(),
            now: Duration::ZERO,
            barriers: Vec::new(),
            ended: false,
            options,
            config,
        };
        daemon.clock();
        daemon.watch_all()?;
        for fd in stored {
            daemon.take_stored(fd);
        }
        // Whoever waits for this may speak already: the kernel keeps it until it is read.
        service::notify::notify("READY=1")?;
        daemon.open_writer();
        for why in wrong {
            daemon.say(4, &[("MESSAGE", &why)]);
        }
        Ok(daemon)
    }

    /// Runs until it is told to end.
    pub(super) fn run(mut self) -> io::Result<()> {
        while !self.ended {
            let due = [self.output.deadline(self.config.sync_interval), self.rate.deadline()];
            let due = due.into_iter().flatten().min();
            self.turn(due.map(|due| due.saturating_sub(self.now)))?;
        }
        self.drain()?;
        self.end_output();
        Ok(())
    }

    /// Waits for something, and handles it and all that is due. False if nothing came.
    fn turn(&mut self, patience: Option<Duration>) -> io::Result<bool> {
        let timeout = patience.map_or(EpollTimeout::NONE, |patience| {
            let ms = patience.as_micros().div_ceil(1000).min(3_600_000) as i32;
            EpollTimeout::try_from(ms).unwrap_or(EpollTimeout::NONE)
        });
        let ready = self.ready(timeout)?;
        for token in &ready {
            match *token {
                LISTENER | UNITS => {}
                NATIVE => self.native_came(),
                SYSLOG => self.syslog_came(),
                KMSG => self.kmsg_came(),
                SIGNALS => self.signals_came(),
                WAKE => _ = self.wake.read(&mut [0; 64]),
                CONSOLE => self.console.drain(),
                stream => self.stream_ready(stream),
            }
        }
        for (service, dropped) in self.rate.due(self.now) {
            self.tell_dropped(&service, dropped);
        }
        self.settle_output();
        self.store_streams();
        self.watch_console();
        self.note_kmsg();
        if !self.barriers.is_empty() {
            let barriers = std::mem::take(&mut self.barriers);
            self.turn_quietly()?;
            drop(barriers);
        }
        self.answer()?;
        Ok(!ready.is_empty())
    }

    /// Waits, takes new connections, and says what is to be read in which order: streams first, the
    /// older ones before the newer. So what one process of a unit said comes before what its next
    /// one says, and both before the news of their end, which is PID 1's and comes by a socket.
    fn ready(&mut self, timeout: EpollTimeout) -> io::Result<Vec<u64>> {
        let mut tokens = self.wait(timeout)?;
        self.clock();
        if tokens.contains(&LISTENER) {
            self.connections_came();
            // What was said before they connected can be read by now.
            tokens.extend(self.wait(EpollTimeout::ZERO)?);
        }
        if tokens.contains(&UNITS) {
            // Said before the unit was started, so it holds for all that is read now.
            self.units.changed();
        }
        tokens.sort_unstable_by_key(|token| (*token < FIRST_STREAM, *token));
        tokens.dedup();
        Ok(tokens)
    }

    fn wait(&self, timeout: EpollTimeout) -> io::Result<Vec<u64>> {
        let mut events = [EpollEvent::empty(); 256];
        let count = match self.epoll.wait(&mut events, timeout) {
            Err(nix::errno::Errno::EINTR) => 0,
            count => count?,
        };
        Ok(events[..count].iter().map(EpollEvent::data).collect())
    }

    fn clock(&mut self) {
        self.stamp = Stamp::now();
        self.now = Duration::from_micros(self.stamp.monotonic_us);
        let hostname = hostname();
        if hostname != self.hostname {
            self.host = Rc::new(host(&hostname));
            self.hostname = hostname;
        }
    }

    /// Takes what was sent until now.
    fn drain(&mut self) -> io::Result<()> {
        let end = self.now + DRAIN;
        while self.now < end && self.turn_quietly()? {}
        Ok(())
    }

    /// A turn that answers nobody: an answer comes after a drain.
    fn turn_quietly(&mut self) -> io::Result<bool> {
        let mut took = false;
        for token in self.ready(EpollTimeout::ZERO)? {
            took |= !matches!(token, SIGNALS | WAKE | CONSOLE | UNITS);
            match token {
                NATIVE => self.native_came(),
                SYSLOG => self.syslog_came(),
                KMSG => self.kmsg_came(),
                LISTENER | SIGNALS | WAKE | UNITS => {}
                CONSOLE => self.console.drain(),
                stream => self.stream_ready(stream),
            }
        }
        self.settle_output();
        Ok(took)
    }

    fn signals_came(&mut self) {
        while let Ok(Some(signal)) = self.signals.read_signal() {
            match Signal::try_from(signal.ssi_signo as i32) {
                Ok(Signal::SIGHUP) => self.reload(),
                Ok(Signal::SIGUSR2) => {
                    if let Some(writer) = &mut self.output.writer {
                        writer.rotate(self.stamp.realtime_us);
                    }
                }
                _ => self.ended = true,
            }
        }
    }

    fn reload(&mut self) {
        let (config, wrong) = Config::load(&self.options.config);
        if (config.rate_interval, config.rate_burst) != (self.config.rate_interval, self.config.rate_burst) {
            self.rate = Rate::new(config.rate_interval, config.rate_burst);
        }
        self.config = config;
        if let (Some(writer), Some((size, _))) =
            (&mut self.output.writer, crate::folder::file_system(&self.options.folder))
        {
            writer.set_limits(self.config.limits(size));
        }
        for why in wrong {
            self.say(4, &[("MESSAGE", &why)]);
        }
    }

    fn answer(&mut self) -> io::Result<()> {
        while let Ok((request, answer)) = self.questions.try_recv() {
            let result = self.obey(request)?;
            // Whoever asked may have gone.
            let _ = answer.try_send(result);
        }
        Ok(())
    }

    fn obey(&mut self, request: Request) -> io::Result<Answer> {
        self.drain()?;
        if request == Request::Sync {
            return Ok(self.sync_now());
        }
        let now_us = self.stamp.realtime_us;
        let Some(writer) = &mut self.output.writer else {
            return Ok(Err("the journal cannot be written to".into()));
        };
        match request {
            Request::Sync => {}
            Request::Rotate => writer.rotate(now_us),
            Request::Vacuum { bytes, age_us, segments } => {
                let kept = writer.limits();
                let limits = crate::folder::Limits {
                    // What is open counts as full; it cannot be removed and is none of this.
                    use_bytes: bytes.map_or(u64::MAX, |bytes| bytes.saturating_add(kept.segment_bytes)),
                    keep_free_bytes: 0,
                    segment_bytes: kept.segment_bytes,
                    segments: segments.map_or(usize::MAX, |segments| segments.saturating_add(1)),
                    retention: age_us.map(Duration::from_micros),
                };
                writer.set_limits(limits);
                writer.vacuum(now_us);
                writer.set_limits(kept);
            }
        }
        Ok(Ok(()))
    }

    fn watch_all(&mut self) -> io::Result<()> {
        let add =
            |fd: &dyn AsFd, token| self.epoll.add(fd.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, token));
        add(&self.listener, LISTENER)?;
        add(&self.native, NATIVE)?;
        add(&self.syslog, SYSLOG)?;
        add(&self.signals, SIGNALS)?;
        add(&self.wake, WAKE)?;
        add(self.units.watch(), UNITS)?;
        if let Some(kmsg) = &self.kmsg {
            add(kmsg, KMSG)?;
        }
        Ok(())
    }

    /// Watches a stream; gives its token.
    pub(super) fn watch(&mut self, stream: &UnixStream) -> Option<u64> {
        let token = self.next_token;
        self.epoll.add(stream, EpollEvent::new(EpollFlags::EPOLLIN, token)).ok()?;
        self.next_token += 1;
        Some(token)
    }

    pub(super) fn forget(&self, stream: &UnixStream) {
        let _ = self.epoll.delete(stream);
    }

    /// Hears new connections, or not for now.
    pub(super) fn listen(&self, on: bool) {
        let flags = if on { EpollFlags::EPOLLIN } else { EpollFlags::empty() };
        let _ = self.epoll.modify(&self.listener, &mut EpollEvent::new(flags, LISTENER));
    }

    fn watch_console(&mut self) {
        let wanted = self.console.wants_write();
        if wanted.is_some() == self.console_watched {
            return;
        }
        self.console_watched = match wanted {
            Some(fd) => self.epoll.add(fd, EpollEvent::new(EpollFlags::EPOLLOUT, CONSOLE)).is_ok(),
            None => self.console.descriptor().is_some_and(|fd| self.epoll.delete(fd).is_err()),
        };
    }

    /// A daemon that is started again does not write the kernel's messages again.
    fn note_kmsg(&mut self) {
        if self.kmsg_next != self.kmsg_noted {
            self.kmsg_noted = self.kmsg_next;
            let _ = fs::write(self.options.runtime.join("kernel-seqnum"), self.kmsg_next.to_string());
        }
    }
}

fn hostname() -> String {
    nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn host(hostname: &str) -> Shared {
    let line = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let boot = line("/proc/sys/kernel/random/boot_id").replace('-', "");
    let facts =
        [("_BOOT_ID", boot), ("_MACHINE_ID", line("/etc/machine-id")), ("_HOSTNAME", hostname.to_owned())];
    let known = facts.iter().filter(|(_, value)| !value.is_empty());
    Shared::new(known.map(|(name, value)| join(name, value)).collect())
}
