//! The service: waits for the kernel, for servers, for routers and for `networkctl`, and sets up
//! links. One thread does all; a second one only reads questions.

mod apply;
pub mod control;
mod facts;
mod files;
mod link;
pub mod report;

use crate::config::Set;
use crate::netlink::message::{Address, IFA_F_DADFAILED, Link};
use crate::netlink::{Handle, Monitor, News};
use control::{Answer, Question, Questions};
use files::Files;
use link::{Source, State};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::time::{ClockId, clock_gettime};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why the service cannot run.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// A socket or a descriptor cannot be had.
    #[error("{what}: {error}")]
    Setup {
        /// Which.
        what: &'static str,
        /// Why.
        error: io::Error,
    },
}

impl DaemonError {
    fn at(what: &'static str) -> impl Fn(io::Error) -> Self {
        move |error| Self::Setup { what, error }
    }
}

/// A line for the journal.
#[expect(clippy::print_stderr, reason = "a service's standard error is its log")]
fn log(line: &str) {
    eprintln!("{line}");
}

/// The time since boot, sleep included.
fn now() -> Duration {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default()
}

struct Daemon {
    root: PathBuf,
    files: Files,
    kernel: Handle,
    set: Set,
    links: BTreeMap<u32, State>,
    /// What the files say.
    told: BTreeMap<u32, report::Report>,
    seed: u64,
}

/// What a turn of the loop waits for.
enum Ready {
    News,
    Signal,
    Question,
    Link(u32, Source),
}

/// Runs until SIGTERM; the files below `root` are the machine's. What is set on links stays.
///
/// # Errors
/// See [`DaemonError`].
pub fn run(root: &Path) -> Result<(), DaemonError> {
    let mut mask = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        mask.add(signal);
    }
    // Before any thread, which takes it over.
    mask.thread_block().map_err(|error| DaemonError::Setup { what: "signals", error: error.into() })?;
    let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
        .map_err(|error| DaemonError::Setup { what: "signals", error: error.into() })?;
    let passed = service::activation::descriptors().into_iter().next();
    let listener = match passed {
        Some((_, socket)) => socket.into(),
        None => service::call::listen(&control::socket(root), 0o666)
            .map_err(DaemonError::at("networkctl's socket"))?,
    };
    let questions = Questions::listen(listener).map_err(DaemonError::at("networkctl's socket"))?;
    // The monitor first, so that nothing falls between it and the first look.
    let monitor = Monitor::open().map_err(DaemonError::at("rtnetlink"))?;
    let kernel = Handle::open().map_err(DaemonError::at("rtnetlink"))?;
    let seed = sys::random::bytes().map(u64::from_ne_bytes).map_err(DaemonError::at("getrandom"))?;
    let files = Files::new(root);
    let mut daemon = Daemon {
        root: root.to_owned(),
        files,
        kernel,
        set: Set::default(),
        links: BTreeMap::new(),
        told: BTreeMap::new(),
        seed,
    };
    daemon.load();
    daemon.make_netdevs();
    daemon.look();
    let there: Vec<u32> = daemon.links.keys().copied().collect();
    daemon.files.forget_all_but(&there);
    daemon.settle();
    if let Err(error) = service::notify::notify("READY=1") {
        log(&format!("warning: PID 1 cannot be told that the service is ready: {error}"));
    }
    loop {
        for ready in daemon.wait(&monitor, &signals, &questions) {
            match ready {
                Ready::News => {
                    let news = monitor.receive();
                    for one in news {
                        daemon.news(one);
                    }
                }
                Ready::Question => {
                    for (question, reply) in questions.take() {
                        let answer = daemon.answer(&question);
                        // Who asked may have gone.
                        let _ = reply.send(answer);
                    }
                }
                Ready::Signal => match signals.read_signal() {
                    Ok(Some(signal)) if signal.ssi_signo == Signal::SIGHUP as u32 => daemon.reload(),
                    Ok(Some(_)) => return Ok(()),
                    _ => {}
                },
                Ready::Link(index, source) => {
                    if let Some(state) = daemon.links.get_mut(&index) {
                        state.receive(now(), source, &daemon.root, &daemon.files);
                    }
                }
            }
        }
        daemon.settle();
    }
}

impl Daemon {
    /// Waits until something is to be read or due.
    fn wait(&self, monitor: &Monitor, signals: &SignalFd, questions: &Questions) -> Vec<Ready> {
        let flags = PollFlags::POLLIN;
        let mut fds = vec![
            PollFd::new(monitor.as_fd(), flags),
            PollFd::new(signals.as_fd(), flags),
            PollFd::new(questions.as_fd(), flags),
        ];
        let mut sources = Vec::new();
        for (index, state) in &self.links {
            for (source, fd) in state.sources() {
                fds.push(PollFd::new(fd, flags));
                sources.push((*index, source));
            }
        }
        let deadline = self.links.values().filter_map(State::deadline).min();
        let timeout = match deadline {
            // Rounded up: a turn that comes too early would spin.
            Some(at) => {
                let left = at.saturating_sub(now());
                let ms = u32::try_from(left.as_millis()).unwrap_or(u32::MAX).saturating_add(1);
                PollTimeout::try_from(ms.min(3_600_000)).unwrap_or(PollTimeout::MAX)
            }
            None => PollTimeout::NONE,
        };
        if poll(&mut fds, timeout).is_err() {
            return Vec::new();
        }
        let ready = |fd: &PollFd<'_>| fd.revents().is_some_and(|events| !events.is_empty());
        let fixed = [Ready::News, Ready::Signal, Ready::Question];
        let of_links = sources.into_iter().map(|(index, source)| Ready::Link(index, source));
        let all = fixed.into_iter().chain(of_links).zip(&fds);
        all.filter(|(_, fd)| ready(fd)).map(|(what, _)| what).collect()
    }

    /// Reads the files and says what is wrong with them.
    fn load(&mut self) {
        self.set = Set::load(&self.root).for_machine(&facts::machine(&self.root));
        for problem in &self.set.problems {
            log(&problem.to_string());
        }
    }

    /// Looks at all links and addresses.
    fn look(&mut self) {
        let (links, addresses) = match (self.kernel.links(), self.kernel.addresses()) {
            (Ok(links), Ok(addresses)) => (links, addresses),
            (Err(error), _) | (_, Err(error)) => return log(&format!("error: cannot list links: {error}")),
        };
        let gone: Vec<u32> = self
            .links
            .keys()
            .copied()
            .filter(|index| links.iter().all(|link| link.index != *index))
            .collect();
        for index in gone {
            self.gone(index);
        }
        for link in links {
            let of_link = addresses.iter().filter(|address| address.link == link.index).copied().collect();
            match self.links.get_mut(&link.index) {
                Some(state) => {
                    state.addresses = of_link;
                    self.changed(link);
                }
                None => self.add(link, of_link),
            }
        }
    }

    fn news(&mut self, news: News) {
        match news {
            News::Lost => self.look(),
            News::Link(link) => {
                if self.links.contains_key(&link.index) {
                    self.changed(link);
                } else {
                    self.add(link, Vec::new());
                }
            }
            News::LinkGone(index) => self.gone(index),
            News::Address(address) => {
                let Some(state) = self.links.get_mut(&address.link) else { return };
                let known = state.addresses.iter_mut().find(|known| known.address == address.address);
                let conflict = address.flags & IFA_F_DADFAILED != 0
                    && known.as_ref().is_none_or(|known| known.flags & IFA_F_DADFAILED == 0);
                match known {
                    Some(known) => *known = address,
                    None => state.addresses.push(address),
                }
                state.dirty = true;
                if conflict {
                    state.conflict(now(), address.address.address);
                }
                // An address of the link's own is what DHCPv6 waits for.
                state.start_dhcp6(now(), &self.root);
            }
            News::AddressGone(address) => {
                let Some(state) = self.links.get_mut(&address.link) else { return };
                state.addresses.retain(|known| known.address != address.address);
                state.dirty = true;
            }
        }
    }

    /// A link is new; its addresses must be known, so that what a predecessor set is found.
    fn add(&mut self, link: Link, addresses: Vec<Address>) {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let index = link.index;
        let candidate = facts::candidate(&self.root, &link);
        let mut state = State::new(link, candidate, self.seed);
        state.addresses = addresses;
        if let Some((ours, dhcp6)) = self.files.content(index, &state.link.name) {
            (state.ours, state.kept_dhcp6) = (ours, dhcp6);
        }
        self.links.insert(index, state);
        self.introduce(index);
    }

    fn gone(&mut self, index: u32) {
        if let Some(state) = self.links.remove(&index) {
            log(&format!("{}: the link is gone", state.link.name));
            self.files.forget(index);
            self.told.remove(&index);
        }
    }

    /// A link is as the kernel says; follows its carrier.
    fn changed(&mut self, link: Link) {
        let Some(state) = self.links.get_mut(&link.index) else { return };
        let renamed = state.link.name != link.name;
        state.dirty |= state.link != link;
        state.link = link;
        if renamed {
            let index = state.link.index;
            state.candidate = facts::candidate(&self.root, &state.link);
            self.choose(index);
            return;
        }
        let needs_none = state.managed().is_some_and(|network| network.configure_without_carrier);
        let may = state.link.has_carrier() || needs_none;
        match (state.active, may) {
            (false, true) => state.start(now(), &self.root, &self.files),
            (true, false) => {
                if state.managed().is_some() {
                    log(&format!("{}: no carrier", state.link.name));
                }
                state.stop(now(), &self.files, false);
            }
            // The clients need the carrier even where addresses do not.
            (true, true) if needs_none => state.start(now(), &self.root, &self.files),
            _ => {}
        }
    }

    fn reload(&mut self) {
        let before = std::mem::take(&mut self.set);
        self.load();
        self.make_netdevs();
        let indices: Vec<u32> = self.links.keys().copied().collect();
        for index in indices {
            let same = self.links.get(&index).is_some_and(|state| {
                self.set.network_for(&state.candidate) == before.network_for(&state.candidate)
            });
            if !same {
                self.choose(index);
            }
        }
    }

    fn answer(&mut self, question: &Question) -> Answer {
        let find = |name: &str| {
            let mut all = self.links.iter();
            let named = |state: &State| {
                state.link.name == name
                    || state.link.alternative_names.iter().any(|other| other == name)
                    || state.link.index.to_string() == name
            };
            all.find(|(_, state)| named(state)).map(|(index, _)| *index)
        };
        let (name, index) = match question {
            Question::List => return Answer::Links(self.reports()),
            Question::Reload => {
                self.reload();
                return Answer::Done;
            }
            Question::Reconfigure(name)
            | Question::Renew(name)
            | Question::Up(name)
            | Question::Down(name) => (name, find(name)),
        };
        let Some(index) = index else { return Answer::Failed(format!("there is no link {name}")) };
        match question {
            Question::Reconfigure(_) => self.choose(index),
            Question::Renew(_) => {
                if let Some(state) = self.links.get_mut(&index) {
                    state.renew(now(), &self.files);
                }
            }
            Question::Up(_) => return self.switch(index, true),
            Question::Down(_) => return self.switch(index, false),
            Question::List | Question::Reload => {}
        }
        Answer::Done
    }
}
