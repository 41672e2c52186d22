//! `timesyncd`, the service: carries out what the [`Client`] decides.

use crate::client::{Action, Client, Event, Moment, Report};
use crate::config::{Config, LINKS, of_links};
use crate::wait::{MARK, drain};
use crate::{packet, saved};
use nix::sys::socket::sockopt::ReceiveTimestampns;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::fs;
use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _, UdpSocket};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// The service's socket.
pub const SOCKET: &str = "/run/systemd/timesync/control";
/// NTP's port.
const PORT: u16 = 123;

/// A question to the service.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// What it knows; the answer is a [`Report`].
    Status,
}

/// Whether the service answers, that is, whether it keeps the clock.
pub(crate) fn runs() -> bool {
    service::call::ask::<Report>(Path::new(SOCKET), &Request::Status).is_ok()
}

/// The service; `arguments` must be empty. Exit code: 1 failed, 2 usage.
pub fn main(arguments: &[String]) -> u8 {
    if !arguments.is_empty() {
        eprintln!(
            "error: timesyncd takes no arguments\nhint: it is configured by /etc/systemd/timesyncd.conf"
        );
        return 2;
    }
    match run() {
        Ok(never) => match never {},
        Err(error) => {
            eprintln!("error: {error}");
            1
        }
    }
}

fn run() -> io::Result<std::convert::Infallible> {
    let (entries, mut problems) = service::config::load(Path::new("/"), "timesyncd.conf");
    let (config, more) = Config::of(&entries);
    problems.extend(more);
    for problem in &problems {
        eprintln!("{problem}");
    }
    let now = SystemTime::now();
    let known = [saved::time_of(Path::new(saved::PATH)), saved::time_of(Path::new("/proc/self/exe"))];
    if let Some(time) = saved::at_start(now, &known) {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        match sys::clock::set(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)) {
            Ok(()) => eprintln!("the clock was behind what was saved, and is set to that"),
            Err(error) => eprintln!("the saved clock cannot be set: {error}"),
        }
    }
    // Of a predecessor: the clock has been right since this boot.
    let synchronized = Path::new(MARK).exists();
    let report = Arc::new(Mutex::new(Report::default()));
    let listener = service::call::listen(Path::new(SOCKET), 0o666)?;
    let shared = Arc::clone(&report);
    std::thread::Builder::new().name("control".to_owned()).spawn(move || {
        let answer = |_, Request::Status| shared.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Err(error) = service::call::serve(&listener, answer) {
            eprintln!("{SOCKET}: {error}");
        }
    })?;
    fs::create_dir_all(LINKS)?;
    let links = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    inotify::add_watch(&links, LINKS, WatchFlags::CLOSE_WRITE | WatchFlags::MOVED_TO | WatchFlags::DELETE)?;
    service::notify::notify("READY=1\nSTATUS=No server has answered yet")?;
    let client = Client::new(config.limits);
    Daemon { client, config, report, socket: None, to: None, synchronized }.serve(&links)
}

struct Daemon {
    client: Client,
    config: Config,
    report: Arc<Mutex<Report>>,
    /// Of the question that waits for its answer: a fresh port each time.
    socket: Option<UdpSocket>,
    to: Option<SocketAddr>,
    synchronized: bool,
}

impl Daemon {
    fn serve(mut self, links: &OwnedFd) -> io::Result<std::convert::Infallible> {
        let mut save_at = monotonic() + self.config.save;
        let mut events = VecDeque::from([Event::Servers(self.config.servers(&of_links(Path::new(LINKS))))]);
        loop {
            while let Some(event) = events.pop_front() {
                events.extend(self.take(event, None));
            }
            let due = self.client.wake().map_or(save_at, |wake| wake.min(save_at));
            let (answered, changed) = self.wait(links, due.saturating_sub(monotonic()))?;
            if changed {
                drain(links);
                events.push_back(Event::Servers(self.config.servers(&of_links(Path::new(LINKS)))));
            }
            if answered && let (Some(socket), Some(from)) = (&self.socket, self.to) {
                // Longer packets are cut off; their extensions are of no interest.
                let mut packet = [0; packet::SIZE];
                // An error is an unreachable server: as good as silent.
                if let Ok((length, wall_ns)) = receive(socket, &mut packet) {
                    let more = self.take(Event::Packet { from, bytes: &packet[..length] }, Some(wall_ns));
                    events.extend(more);
                }
            }
            let now = monotonic();
            if now >= save_at {
                save_at = now + self.config.save;
                save();
            }
            if self.client.wake().is_some_and(|wake| wake <= now) {
                events.push_back(Event::Timer);
            }
        }
    }

    /// Whether an answer and a change of the links came.
    fn wait(&self, links: &OwnedFd, most: Duration) -> io::Result<(bool, bool)> {
        let most = Timespec { tv_sec: most.as_secs().cast_signed(), tv_nsec: most.subsec_nanos().into() };
        let mut ready = vec![PollFd::new(links, PollFlags::IN)];
        ready.extend(self.socket.as_ref().map(|socket| PollFd::new(socket, PollFlags::IN)));
        match poll(&mut ready, Some(&most)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let is_ready = |index: usize| ready.get(index).is_some_and(|fd| !fd.revents().is_empty());
        Ok((is_ready(1), is_ready(0)))
    }

    /// Gives the client an event and does what it wants; events that follow from that.
    fn take(&mut self, event: Event, wall_ns: Option<i64>) -> Vec<Event<'static>> {
        let now = Moment { mono: monotonic(), wall_ns: wall_ns.unwrap_or_else(wall) };
        let random = sys::random::bytes().map_or(0, u64::from_ne_bytes);
        let mut events = Vec::new();
        for action in self.client.handle(now, event, random) {
            match action {
                Action::Log(text) => eprintln!("{text}"),
                Action::Resolve(name) => {
                    // One that cannot be resolved has no address.
                    let found = (name.as_str(), PORT).to_socket_addrs();
                    events.push(Event::Resolved(found.map(Iterator::collect).unwrap_or_default()));
                }
                Action::Send { to, bytes } => {
                    self.to = Some(to);
                    // What cannot be sent gets no answer, which the client minds.
                    self.socket = send(to, &bytes).ok();
                }
                Action::Adjust { adjustment, leap, error_us } => {
                    match sys::clock::adjust(adjustment, leap, error_us) {
                        Ok(_) => self.mark_synchronized(),
                        Err(error) => eprintln!("the clock cannot be adjusted: {error}"),
                    }
                }
            }
        }
        self.report.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&self.client.report);
        events
    }

    fn mark_synchronized(&mut self) {
        if self.synchronized {
            return;
        }
        self.synchronized = true;
        save();
        let name = self.client.report.server.clone().unwrap_or_default();
        let told = fs::write(MARK, "")
            .and_then(|()| service::notify::notify(&format!("STATUS=Synchronized with {name}")));
        if let Err(error) = told {
            eprintln!("{MARK}: {error}");
        }
    }
}

fn save() {
    if let Err(error) = saved::save(Path::new(saved::PATH)) {
        eprintln!("the clock cannot be saved: {}: {error}", saved::PATH);
    }
}

fn monotonic() -> Duration {
    // It counts the time asleep too, so that a machine that wakes up sees its wall clock in order.
    let time = clock_gettime(ClockId::Boottime);
    Duration::new(time.tv_sec.cast_unsigned(), time.tv_nsec as u32)
}

fn wall() -> i64 {
    let time = clock_gettime(ClockId::Realtime);
    time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec)
}

/// Sends a question from a port of its own.
fn send(to: SocketAddr, bytes: &[u8]) -> io::Result<UdpSocket> {
    let any: SocketAddr = match to {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    socket.set_nonblocking(true)?;
    setsockopt(&socket, ReceiveTimestampns, &true)?;
    socket.connect(to)?;
    socket.send(bytes)?;
    Ok(socket)
}

/// Receives a packet, and when the kernel had it: we may have been late.
fn receive(socket: &UdpSocket, packet: &mut [u8]) -> io::Result<(usize, i64)> {
    let mut control = nix::cmsg_space!(nix::sys::time::TimeSpec);
    let mut parts = [IoSliceMut::new(packet)];
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::empty())?;
    let stamp = message.cmsgs()?.find_map(|control| match control {
        ControlMessageOwned::ScmTimestampns(time) => Some(time.tv_sec() * 1_000_000_000 + time.tv_nsec()),
        _ => None,
    });
    Ok((message.bytes, stamp.unwrap_or_else(wall)))
}
