//! The client of RFC 8415 section 18.2 as a pure state machine, in the manner of IPv4's.

use super::message::{Kind, Lease, Message, Outgoing};
use std::net::Ipv6Addr;
use std::time::Duration;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Addresses, and the rest.
    Stateful,
    /// Servers of names and time only.
    Stateless,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send to all servers of the link.
    Send(Outgoing),
    /// The lease is new, or goes on.
    Bound(Lease),
    /// The addresses are to be taken off.
    Lost,
}

/// Retransmission of an exchange (RFC 8415 sections 7.6 and 15): first and longest wait, number.
struct Pace {
    first: Duration,
    longest: Duration,
    count: u32,
}

const fn pace(first: u64, longest: u64, count: u32) -> Pace {
    Pace { first: Duration::from_secs(first), longest: Duration::from_secs(longest), count }
}

const SOLICIT: Pace = pace(1, 3600, u32::MAX);
const REQUEST: Pace = pace(1, 30, 10);
const RENEW: Pace = pace(10, 600, u32::MAX);
const INFORMATION: Pace = pace(1, 3600, u32::MAX);
/// `NoBinding`
const NO_BINDING: u16 = 3;
/// RFC 8415 section 21.23: `IRT_DEFAULT`, and the least.
const REFRESH: u32 = 86_400;
const REFRESH_LEAST: u32 = 600;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Tries {
    transaction: u32,
    began: Duration,
    wait: Duration,
    count: u32,
    next: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Held {
    lease: Lease,
    acquired: Duration,
}

impl Held {
    fn at(&self, seconds: u32) -> Option<Duration> {
        (seconds != u32::MAX).then(|| self.acquired + Duration::from_secs(seconds.into()))
    }

    /// When the last address is over.
    fn expires(&self) -> Option<Duration> {
        self.at(self.lease.addresses.iter().map(|leased| leased.valid).max().unwrap_or(0))
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Stopped,
    /// The best answer so far.
    Soliciting(Tries, Option<(u8, Lease)>),
    Requesting(Tries, Lease),
    Bound(Held),
    Renewing(Tries, Held),
    Rebinding(Tries, Held),
    Informing(Tries, Option<Lease>),
    Informed(Lease, Duration),
}

/// The client of one link.
#[derive(Debug, Clone)]
pub struct Client {
    id: Vec<u8>,
    identity: u32,
    state: State,
    random: u64,
}

impl Client {
    /// A client at rest: who asks (DUID), the identity of its addresses, and what makes its
    /// transactions other than those of other machines.
    pub fn new(id: Vec<u8>, identity: u32, seed: u64) -> Self {
        Self { id, identity, state: State::Stopped, random: seed | 1 }
    }

    /// The identity of its addresses.
    pub fn identity(&self) -> u32 {
        self.identity
    }

    /// Begins. A kept lease whose addresses are on the link is asked for again, from anyone.
    pub fn start(&mut self, now: Duration, mode: Mode, kept: Option<(Lease, Duration)>) {
        let mut tries = self.tries(now);
        // RFC 8415 sections 18.2.1 and 18.2.6: within the first second, so that machines part.
        tries.next = now + Duration::from_millis(self.random() % 1000);
        self.state = match (mode, kept) {
            (Mode::Stateless, _) => State::Informing(tries, None),
            (Mode::Stateful, Some((lease, acquired))) => {
                let held = Held { lease, acquired };
                if held.expires().is_none_or(|end| end > now) {
                    State::Rebinding(tries, held)
                } else {
                    State::Soliciting(tries, None)
                }
            }
            (Mode::Stateful, None) => State::Soliciting(tries, None),
        };
    }

    /// Ends; the server is told that the addresses are free.
    pub fn stop(&mut self, now: Duration, release: bool) -> Vec<Action> {
        let state = std::mem::replace(&mut self.state, State::Stopped);
        let (State::Bound(held) | State::Renewing(_, held) | State::Rebinding(_, held)) = state else {
            return Vec::new();
        };
        if !release {
            return Vec::new();
        }
        let tries = self.tries(now);
        vec![Action::Send(self.outgoing(Kind::Release, &tries, now, &held.lease)), Action::Lost]
    }

    /// Another machine has an address, says the kernel.
    pub fn conflict(&mut self, now: Duration, address: Ipv6Addr) -> Vec<Action> {
        match std::mem::replace(&mut self.state, State::Stopped) {
            State::Bound(held) | State::Renewing(_, held) | State::Rebinding(_, held)
                if held.lease.addresses.iter().any(|leased| leased.address == address) =>
            {
                let mut tries = self.tries(now);
                let mut lease = held.lease;
                lease.addresses.retain(|leased| leased.address == address);
                let decline = self.outgoing(Kind::Decline, &tries, now, &lease);
                tries.next = now + Duration::from_secs(10);
                self.state = State::Soliciting(tries, None);
                vec![Action::Send(decline), Action::Lost]
            }
            other => {
                self.state = other;
                Vec::new()
            }
        }
    }

    /// Asks the server again now (`networkctl renew`).
    pub fn renew(&mut self, now: Duration) -> Vec<Action> {
        match std::mem::replace(&mut self.state, State::Stopped) {
            State::Bound(held) => {
                let tries = self.tries(now);
                self.send_again(now, tries, held, false)
            }
            other => {
                self.state = other;
                Vec::new()
            }
        }
    }

    /// What was given and holds, with the time at which it was.
    pub fn lease(&self) -> Option<(&Lease, Duration)> {
        match &self.state {
            State::Bound(held) | State::Renewing(_, held) | State::Rebinding(_, held) => {
                Some((&held.lease, held.acquired))
            }
            State::Informed(lease, _) | State::Informing(_, Some(lease)) => Some((lease, Duration::ZERO)),
            _ => None,
        }
    }

    /// A word for the state.
    pub fn state_name(&self) -> &'static str {
        match self.state {
            State::Stopped => "stopped",
            State::Soliciting(..) => "solicitation",
            State::Requesting(..) => "request",
            State::Bound(_) => "bound",
            State::Renewing(..) => "renew",
            State::Rebinding(..) => "rebind",
            State::Informing(..) => "information-request",
            State::Informed(..) => "informed",
        }
    }

    /// Whether answers are waited for.
    pub fn is_active(&self) -> bool {
        self.state != State::Stopped
    }

    /// When [`Client::tick`] wants to be called, if ever.
    pub fn deadline(&self) -> Option<Duration> {
        let earliest =
            |tries: &Tries, end: Option<Duration>| end.map_or(tries.next, |end| tries.next.min(end));
        match &self.state {
            State::Stopped => None,
            State::Soliciting(tries, _) | State::Requesting(tries, _) | State::Informing(tries, _) => {
                Some(tries.next)
            }
            State::Bound(held) => [held.at(held.lease.t1), held.expires()].into_iter().flatten().min(),
            State::Renewing(tries, held) => Some(earliest(tries, held.at(held.lease.t2))),
            State::Rebinding(tries, held) => Some(earliest(tries, held.expires())),
            State::Informed(_, until) => Some(*until),
        }
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Duration) -> Vec<Action> {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return Vec::new();
        }
        match std::mem::replace(&mut self.state, State::Stopped) {
            State::Stopped => Vec::new(),
            State::Soliciting(_, Some((_, lease))) => {
                let tries = self.tries(now);
                self.request(now, tries, lease)
            }
            State::Soliciting(mut tries, None) => {
                self.pace(now, &mut tries, &SOLICIT);
                let message = self.outgoing(Kind::Solicit, &tries, now, &Lease::default());
                self.state = State::Soliciting(tries, None);
                vec![Action::Send(message)]
            }
            State::Requesting(tries, _) if tries.count >= REQUEST.count => {
                self.start(now, Mode::Stateful, None);
                Vec::new()
            }
            State::Requesting(tries, lease) => self.request(now, tries, lease),
            State::Bound(held) => {
                let tries = self.tries(now);
                self.send_again(now, tries, held, false)
            }
            State::Renewing(tries, held) => {
                let rebinds = held.at(held.lease.t2).is_some_and(|t2| now >= t2);
                let tries = if rebinds { self.tries(now) } else { tries };
                self.send_again(now, tries, held, rebinds)
            }
            State::Rebinding(tries, held) => self.send_again(now, tries, held, true),
            State::Informing(mut tries, known) => {
                self.pace(now, &mut tries, &INFORMATION);
                let mut message = self.outgoing(Kind::InformationRequest, &tries, now, &Lease::default());
                message.identity = None;
                self.state = State::Informing(tries, known);
                vec![Action::Send(message)]
            }
            State::Informed(lease, _) => {
                let tries = self.tries(now);
                self.state = State::Informing(Tries { next: now, ..tries }, Some(lease));
                self.tick(now)
            }
        }
    }

    /// Takes a message in.
    pub fn receive(&mut self, now: Duration, message: &Message) -> Vec<Action> {
        let transaction = match &self.state {
            State::Soliciting(tries, _)
            | State::Requesting(tries, _)
            | State::Renewing(tries, _)
            | State::Rebinding(tries, _)
            | State::Informing(tries, _)
                if tries.count > 0 =>
            {
                tries.transaction
            }
            _ => return Vec::new(),
        };
        let informing = matches!(self.state, State::Informing(..));
        let for_us = message.client == self.id || (informing && message.client.is_empty());
        if message.transaction != transaction || !for_us {
            return Vec::new();
        }
        let has_addresses = message.status == 0 && !message.lease.addresses.is_empty();
        match (std::mem::replace(&mut self.state, State::Stopped), message.kind) {
            (State::Soliciting(tries, best), Kind::Advertise) if has_addresses => {
                let better = best.as_ref().is_none_or(|(preference, _)| message.preference > *preference);
                let best = if better { Some((message.preference, message.lease.clone())) } else { best };
                // RFC 8415 section 18.2.1: the first answer of all, once the first wait is over.
                if message.preference == 255 || tries.count > 1 {
                    let lease = best.map(|(_, lease)| lease).unwrap_or_default();
                    let tries = self.tries(now);
                    return self.request(now, tries, lease);
                }
                self.state = State::Soliciting(tries, best);
                Vec::new()
            }
            (State::Requesting(..) | State::Renewing(..) | State::Rebinding(..), Kind::Reply)
                if has_addresses =>
            {
                let lease = message.lease.clone();
                self.state = State::Bound(Held { lease: lease.clone(), acquired: now });
                vec![Action::Bound(lease)]
            }
            (State::Renewing(_, held) | State::Rebinding(_, held), Kind::Reply)
                if message.status == NO_BINDING =>
            {
                let tries = self.tries(now);
                let lease = Lease { server: message.lease.server.clone(), ..held.lease };
                let mut actions = vec![Action::Lost];
                actions.extend(self.request(now, tries, lease));
                actions
            }
            (State::Requesting(..), Kind::Reply) => {
                // It takes its offer back.
                let tries = self.tries(now);
                self.state = State::Soliciting(Tries { next: now + SOLICIT.first, ..tries }, None);
                Vec::new()
            }
            (State::Informing(..), Kind::Reply) if message.status == 0 => {
                let refresh = message.refresh.unwrap_or(REFRESH).clamp(REFRESH_LEAST, REFRESH * 7);
                let lease = Lease { addresses: Vec::new(), ..message.lease.clone() };
                self.state = State::Informed(lease.clone(), now + Duration::from_secs(refresh.into()));
                vec![Action::Bound(lease)]
            }
            (state, _) => {
                self.state = state;
                Vec::new()
            }
        }
    }

    fn request(&mut self, now: Duration, mut tries: Tries, lease: Lease) -> Vec<Action> {
        self.pace(now, &mut tries, &REQUEST);
        let message = self.outgoing(Kind::Request, &tries, now, &lease);
        self.state = State::Requesting(tries, lease);
        vec![Action::Send(message)]
    }

    fn send_again(&mut self, now: Duration, mut tries: Tries, held: Held, anyone: bool) -> Vec<Action> {
        if held.expires().is_some_and(|end| now >= end) {
            self.start(now, Mode::Stateful, None);
            return vec![Action::Lost];
        }
        self.pace(now, &mut tries, &RENEW);
        if anyone {
            let mut message = self.outgoing(Kind::Rebind, &tries, now, &held.lease);
            message.server = Vec::new();
            self.state = State::Rebinding(tries, held);
            vec![Action::Send(message)]
        } else {
            let message = self.outgoing(Kind::Renew, &tries, now, &held.lease);
            self.state = State::Renewing(tries, held);
            vec![Action::Send(message)]
        }
    }

    fn tries(&mut self, now: Duration) -> Tries {
        let transaction = self.random() as u32 & 0x00ff_ffff;
        Tries { transaction, began: now, wait: Duration::ZERO, count: 0, next: now }
    }

    /// RFC 8415 section 15: twice the last wait, up to the longest, a tenth more or less.
    fn pace(&mut self, now: Duration, tries: &mut Tries, pace: &Pace) {
        let wait = if tries.count == 0 {
            tries.began = now;
            pace.first
        } else {
            (tries.wait * 2).min(pace.longest)
        };
        tries.count = tries.count.saturating_add(1);
        tries.wait = wait;
        tries.next = now + wait * (900 + (self.random() % 200) as u32) / 1000;
    }

    /// xorshift64.
    fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random >> 16
    }

    fn outgoing(&self, kind: Kind, tries: &Tries, now: Duration, lease: &Lease) -> Outgoing {
        Outgoing {
            kind,
            transaction: tries.transaction,
            client: self.id.clone(),
            server: lease.server.clone(),
            identity: Some(self.identity),
            addresses: lease.addresses.clone(),
            elapsed: u16::try_from(now.saturating_sub(tries.began).as_millis() / 10).unwrap_or(u16::MAX),
        }
    }
}

#[cfg(test)]
#[path = "client_test.rs"]
mod tests;
