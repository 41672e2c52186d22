//! The NTP client: which server is asked when, and what its answers do to the clock. Pure: events
//! go in with the time, actions come out.

use crate::filter::{Filter, STEP_NS, Sample, Verdict};
use crate::packet::{self, Kiss, PacketError, Reply};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;
use sys::clock::{Adjustment, Leap};

/// An answer is waited for so long.
const PATIENCE: Duration = Duration::from_secs(5);
/// Questions without an answer before another address or server is asked.
const MISSES_MAX: u32 = 3;
/// The longest rest when nobody answers.
const RETRY_MAX: Duration = Duration::from_secs(512);
/// A server that lied is not asked for so long.
const BAN_LIAR: Duration = Duration::from_hours(1);
/// Nor one that does not want to be asked.
const BAN_DENIED: Duration = Duration::from_hours(24);
/// When no second server could say anything, it is not tried again for so long.
const NO_SECOND: Duration = Duration::from_mins(10);
/// Two servers agree about a leap within this or an eighth of it.
const AGREE_NS: i64 = 100_000_000;
/// Good samples in a row before the poll interval grows.
const STEADY: u32 = 3;

/// Limits, from timesyncd.conf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Shortest poll interval.
    pub poll_min: Duration,
    /// Longest poll interval.
    pub poll_max: Duration,
    /// Rest before servers that did not answer are asked again.
    pub retry: Duration,
    /// A server further from its primary clock is not believed.
    pub root_distance_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            poll_min: Duration::from_secs(32),
            poll_max: Duration::from_secs(2048),
            retry: Duration::from_secs(30),
            root_distance_max: Duration::from_secs(5),
        }
    }
}

/// A moment by both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Monotonic.
    pub mono: Duration,
    /// Nanoseconds since 1970, by the clock that is to be kept right.
    pub wall_ns: i64,
}

/// What happens to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<'a> {
    /// These are the servers from now on, or the network has changed: whoever did not answer may now.
    Servers(Vec<String>),
    /// The addresses of the name that was to be resolved; none when it has none.
    Resolved(Vec<SocketAddr>),
    /// A packet came.
    Packet {
        /// Its sender.
        from: SocketAddr,
        /// Its bytes.
        bytes: &'a [u8],
    },
    /// The moment of [`Client::wake`] has come.
    Timer,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Resolve a server's name; the answer is [`Event::Resolved`].
    Resolve(String),
    /// Send a packet.
    Send {
        /// To whom.
        to: SocketAddr,
        /// Its bytes.
        bytes: [u8; packet::SIZE],
    },
    /// Adjust the clock.
    Adjust {
        /// How.
        adjustment: Adjustment,
        /// A leap second to come.
        leap: Leap,
        /// How wrong it may be after that, microseconds.
        error_us: i64,
    },
    /// Say something.
    Log(String),
}

/// What `timedatectl timesync-status` shows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The servers in use.
    pub servers: Vec<String>,
    /// The server that is asked.
    pub server: Option<String>,
    /// Its address.
    pub address: Option<SocketAddr>,
    /// Whether the clock was set right since the start.
    pub synchronized: bool,
    /// Seconds between questions.
    pub poll_s: u64,
    /// Answers used or passed over.
    pub packets: u64,
    /// Passed over: held up, or surprising.
    pub passed_over: u64,
    /// Steps made.
    pub steps: u64,
    /// Leap indicator of the last answer.
    pub leap: u8,
    /// Stratum of the server.
    pub stratum: u8,
    /// The server's own source.
    pub reference: String,
    /// Of the last answer, nanoseconds.
    pub root_distance_ns: i64,
    /// Of the last answer, nanoseconds.
    pub offset_ns: i64,
    /// Of the last answer, nanoseconds.
    pub delay_ns: i64,
    /// Of the last answers, nanoseconds.
    pub jitter_ns: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// There is no server.
    Idle,
    Resolving,
    Asked {
        cookie: u64,
        sent: Moment,
    },
    Resting {
        until: Duration,
    },
}

/// A leap that one server tells of and another is asked about.
#[derive(Debug, Clone, Copy)]
struct Doubt {
    offset_ns: i64,
    server: usize,
}

/// The client.
#[derive(Debug)]
pub struct Client {
    limits: Limits,
    servers: Vec<String>,
    at: usize,
    addresses: Vec<SocketAddr>,
    misses: u32,
    failed: usize,
    retry: Duration,
    phase: Phase,
    filter: Filter,
    poll: Duration,
    poll_floor: Duration,
    steady: u32,
    banned: HashMap<String, Duration>,
    doubt: Option<Doubt>,
    no_second_until: Duration,
    last: Option<Moment>,
    /// For `timedatectl`.
    pub report: Report,
}

impl Client {
    /// One without servers.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            servers: Vec::new(),
            at: 0,
            addresses: Vec::new(),
            misses: 0,
            failed: 0,
            retry: limits.retry,
            phase: Phase::Idle,
            filter: Filter::default(),
            poll: limits.poll_min,
            poll_floor: limits.poll_min,
            steady: 0,
            banned: HashMap::new(),
            doubt: None,
            no_second_until: Duration::ZERO,
            last: None,
            report: Report::default(),
        }
    }

    /// When [`Event::Timer`] is due, by the monotonic clock.
    pub fn wake(&self) -> Option<Duration> {
        match self.phase {
            Phase::Idle | Phase::Resolving => None,
            Phase::Asked { sent, .. } => Some(sent.mono + PATIENCE),
            Phase::Resting { until } => Some(until),
        }
    }

    /// Takes an event. `random` is a fresh random number each time.
    pub fn handle(&mut self, now: Moment, event: Event, random: u64) -> Vec<Action> {
        let mut actions = Vec::new();
        let mut turn = Turn { now, random, actions: &mut actions, stepped: false };
        self.notice_foreign_hand(&mut turn);
        match event {
            Event::Servers(servers) => self.take_servers(servers, &mut turn),
            Event::Resolved(addresses) if self.phase == Phase::Resolving => {
                if addresses.is_empty() {
                    let name = &self.servers[self.at];
                    turn.log(format!("{name} has no address"));
                    self.next_server(&mut turn);
                } else {
                    self.addresses = addresses;
                    self.addresses.reverse();
                    self.send(&mut turn);
                }
            }
            Event::Packet { from, bytes } => self.take_packet(from, bytes, &mut turn),
            Event::Timer if self.wake().is_some_and(|due| due <= now.mono) => match self.phase {
                Phase::Asked { .. } => self.miss(&mut turn),
                Phase::Resting { .. } if self.addresses.is_empty() => self.resolve(&mut turn),
                _ => self.send(&mut turn),
            },
            Event::Resolved(_) | Event::Timer => {}
        }
        self.last = Some(now);
        if turn.stepped {
            // The wall clock of this moment is no longer the clock's.
            self.last = None;
        }
        self.report.servers.clone_from(&self.servers);
        self.report.server = self.servers.get(self.at).cloned();
        self.report.address = self.addresses.last().copied();
        self.report.poll_s = self.poll.as_secs();
        self.report.jitter_ns = self.filter.jitter_ns();
        actions
    }

    /// Somebody else has set the clock, or the machine slept: what was learnt is void.
    fn notice_foreign_hand(&mut self, turn: &mut Turn) {
        let Some(last) = self.last else { return };
        let mono = i128::try_from(turn.now.mono.saturating_sub(last.mono).as_nanos()).unwrap_or(i128::MAX);
        let wall = i128::from(turn.now.wall_ns) - i128::from(last.wall_ns);
        // The kernel slews by 500 ppm at most, and oscillators are off by less.
        let tolerance = i128::from(STEP_NS) + mono / 1000;
        if (wall - mono).abs() <= tolerance {
            return;
        }
        turn.log(format!("the clock was set from outside, by {} ms", (wall - mono) / 1_000_000));
        self.filter.reset();
        self.report.synchronized = false;
        self.doubt = None;
        self.steady = 0;
        self.poll = self.poll_floor;
        if matches!(self.phase, Phase::Asked { .. } | Phase::Resting { .. }) {
            self.phase = Phase::Resting { until: turn.now.mono };
        }
    }

    fn take_servers(&mut self, servers: Vec<String>, turn: &mut Turn) {
        let current = self.servers.get(self.at);
        let same_place = current.and_then(|current| servers.iter().position(|server| server == current));
        let works = self.misses == 0 && self.failed == 0 && !self.addresses.is_empty();
        self.servers = servers;
        self.doubt = None;
        match same_place {
            Some(at) if works => self.at = at,
            _ => {
                self.at = 0;
                self.failed = 0;
                self.retry = self.limits.retry;
                self.forget_server();
                if self.servers.is_empty() {
                    self.phase = Phase::Idle;
                } else {
                    self.resolve(turn);
                }
            }
        }
    }

    fn forget_server(&mut self) {
        self.addresses.clear();
        self.misses = 0;
        self.steady = 0;
        self.filter.reset();
        self.poll_floor = self.limits.poll_min;
        self.poll = self.limits.poll_min;
    }

    fn is_banned(&self, server: usize, now: Duration) -> bool {
        self.servers.get(server).and_then(|name| self.banned.get(name)).is_some_and(|until| *until > now)
    }

    fn resolve(&mut self, turn: &mut Turn) {
        if self.is_banned(self.at, turn.now.mono) {
            return self.next_server(turn);
        }
        self.phase = Phase::Resolving;
        turn.actions.push(Action::Resolve(self.servers[self.at].clone()));
    }

    fn send(&mut self, turn: &mut Turn) {
        let Some(to) = self.addresses.last() else { return self.resolve(turn) };
        let cookie = turn.random;
        self.phase = Phase::Asked { cookie, sent: turn.now };
        turn.actions.push(Action::Send { to: *to, bytes: packet::request(cookie) });
    }

    fn miss(&mut self, turn: &mut Turn) {
        self.misses += 1;
        if self.misses < MISSES_MAX {
            return self.send(turn);
        }
        self.misses = 0;
        let silent = self.addresses.pop();
        if self.addresses.is_empty() {
            if let Some(address) = silent {
                turn.log(format!("{} ({address}) does not answer", self.servers[self.at]));
            }
            self.next_server(turn);
        } else {
            self.send(turn);
        }
    }

    /// The current server is of no use now. After all of them a rest, longer each time.
    fn next_server(&mut self, turn: &mut Turn) {
        self.forget_server();
        let count = self.servers.len();
        while self.failed < count {
            self.failed += 1;
            self.at = (self.at + 1) % count;
            if self.doubt.is_some_and(|doubt| doubt.server == self.at) {
                turn.log("no second server answers".to_owned());
                self.doubt = None;
                self.no_second_until = turn.now.mono + NO_SECOND;
            }
            if self.failed < count && !self.is_banned(self.at, turn.now.mono) {
                return self.resolve(turn);
            }
        }
        self.failed = 0;
        self.phase = Phase::Resting { until: turn.now.mono + self.retry };
        self.retry = (self.retry * 2).min(RETRY_MAX.max(self.limits.retry));
    }

    fn rest(&mut self, turn: &Turn) {
        // Spread by up to a sixteenth, so that machines started together do not ask together.
        let spread = self.poll / 16 * (turn.random & 0xff) as u32 / 256;
        self.phase = Phase::Resting { until: turn.now.mono + self.poll.saturating_sub(spread) };
    }

    fn take_packet(&mut self, from: SocketAddr, bytes: &[u8], turn: &mut Turn) {
        let Phase::Asked { cookie, sent } = self.phase else { return };
        if self.addresses.last() != Some(&from) {
            return;
        }
        let name = self.servers[self.at].clone();
        let reply = match packet::reply(bytes, cookie) {
            Ok(reply) => reply,
            Err(PacketError::Kiss(Kiss::Rate)) => {
                self.poll_floor = (self.poll_floor.max(self.poll) * 2).min(self.limits.poll_max);
                self.poll = self.poll_floor;
                turn.log(format!("{name} wants to be asked less often: every {} s now", self.poll.as_secs()));
                return self.rest(turn);
            }
            Err(PacketError::Kiss(Kiss::Deny)) => {
                turn.log(format!("{name} does not want to be asked"));
                self.banned.insert(name, turn.now.mono + BAN_DENIED);
                return self.next_server(turn);
            }
            Err(error @ (PacketError::Kiss(Kiss::Other(_)) | PacketError::Unsynchronized { .. })) => {
                turn.log(format!("what {name} sends {error}"));
                return self.next_server(turn);
            }
            // The true answer may still come.
            Err(_) => return,
        };
        let distance = Duration::from_nanos(reply.root_distance_ns().cast_unsigned());
        if distance > self.limits.root_distance_max {
            turn.log(format!("{name} is {} ms from its primary clock: too far", distance.as_millis()));
            return self.next_server(turn);
        }
        let Some(sample) = Sample::of(sent.wall_ns, reply.receive_ns, reply.transmit_ns, turn.now.wall_ns)
        else {
            return self.next_server(turn);
        };
        self.take_sample(&reply, sample, turn);
    }

    fn take_sample(&mut self, reply: &Reply, sample: Sample, turn: &mut Turn) {
        self.misses = 0;
        self.failed = 0;
        self.retry = self.limits.retry;
        self.report.packets += 1;
        self.report.leap = reply.leap;
        self.report.stratum = reply.stratum;
        self.report.reference = reference(reply);
        self.report.root_distance_ns = reply.root_distance_ns();
        self.report.offset_ns = sample.offset_ns;
        self.report.delay_ns = sample.delay_ns;
        let name = self.servers[self.at].clone();

        if let Some(doubt) = self.doubt.take() {
            let other = self.servers[doubt.server].clone();
            let tolerance = AGREE_NS.max(doubt.offset_ns.abs() / 8);
            if (sample.offset_ns - doubt.offset_ns).abs() <= tolerance {
                turn.log(format!("{name} and {other} agree that the clock is wrong"));
                return self.adjust(reply, sample, turn);
            }
            turn.log(format!("{name} contradicts {other}, which is not asked for an hour"));
            self.banned.insert(other, turn.now.mono + BAN_LIAR);
        }
        match self.filter.judge(sample, self.report.synchronized) {
            Verdict::Use => self.adjust(reply, sample, turn),
            Verdict::HeldUp => {
                self.report.passed_over += 1;
                self.rest(turn);
            }
            Verdict::Surprising => {
                self.report.passed_over += 1;
                self.steady = 0;
                self.poll = self.poll_floor;
                let others = (0..self.servers.len())
                    .any(|server| server != self.at && !self.is_banned(server, turn.now.mono));
                if sample.offset_ns.abs() >= STEP_NS && others && self.no_second_until <= turn.now.mono {
                    turn.log(format!(
                        "{name} says that the clock is wrong by {} ms; another server is asked",
                        sample.offset_ns / 1_000_000
                    ));
                    self.doubt = Some(Doubt { offset_ns: sample.offset_ns, server: self.at });
                    self.next_server(turn);
                } else {
                    self.rest(turn);
                }
            }
        }
    }

    fn adjust(&mut self, reply: &Reply, sample: Sample, turn: &mut Turn) {
        let offset_ns = sample.offset_ns;
        let adjustment = if offset_ns.abs() >= STEP_NS {
            self.filter.reset();
            self.poll = self.poll_floor;
            self.steady = 0;
            self.report.steps += 1;
            turn.stepped = true;
            turn.log(format!("the clock is stepped by {} ms", offset_ns / 1_000_000));
            Adjustment::Step(offset_ns)
        } else {
            self.adapt_poll(offset_ns);
            let constant = i64::from(self.poll.as_secs().max(1).ilog2()).saturating_sub(4).clamp(0, 10);
            Adjustment::Slew { offset_ns, constant }
        };
        if !self.report.synchronized {
            self.report.synchronized = true;
            turn.log(format!("synchronized with {}", self.servers[self.at]));
        }
        let leap = match reply.leap {
            1 => Leap::Insert,
            2 => Leap::Delete,
            _ => Leap::None,
        };
        let error_us = (sample.delay_ns / 2).saturating_add(reply.root_distance_ns()) / 1000;
        turn.actions.push(Action::Adjust { adjustment, leap, error_us });
        self.rest(turn);
    }

    /// Rarely when all is quiet, often when it is not.
    fn adapt_poll(&mut self, offset_ns: i64) {
        let quiet = offset_ns.abs() <= self.filter.jitter_ns().saturating_mul(2).max(2_000_000);
        if offset_ns.abs() > STEP_NS / 8 {
            self.steady = 0;
            self.poll = (self.poll / 2).max(self.poll_floor);
        } else if quiet {
            self.steady += 1;
            if self.steady >= STEADY {
                self.steady = 0;
                self.poll = (self.poll * 2).min(self.limits.poll_max);
            }
        } else {
            self.steady = 0;
        }
    }
}

/// A reference is an address from stratum 2 on, else a code (RFC 5905 section 7.3).
fn reference(reply: &Reply) -> String {
    let [a, b, c, d] = reply.reference;
    if reply.stratum > 1 {
        return format!("{a}.{b}.{c}.{d}");
    }
    let text: String =
        reply.reference.iter().filter(|byte| byte.is_ascii_graphic()).map(|&byte| byte as char).collect();
    text
}

/// What belongs to one event.
struct Turn<'a> {
    now: Moment,
    random: u64,
    actions: &'a mut Vec<Action>,
    stepped: bool,
}

impl Turn<'_> {
    fn log(&mut self, text: String) {
        self.actions.push(Action::Log(text));
    }
}

#[cfg(test)]
#[path = "client_test.rs"]
mod tests;
