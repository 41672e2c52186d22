//! The client of RFC 2131 (figure 5) as a pure state machine. It reads no clock: `now` is the
//! time since boot, sleep included. [`Client::deadline`] says when it wants to be called again.

use super::frame::Arp;
use super::lease::Lease;
use super::message::{Kind, Message, code};
use crate::config::value::Mac;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

/// First wait for an answer, doubled up to [`LONGEST_WAIT`] (RFC 2131 section 4.1).
const FIRST_WAIT: Duration = Duration::from_secs(4);
const LONGEST_WAIT: Duration = Duration::from_secs(64);
/// The least wait between requests to renew (RFC 2131 section 4.4.5).
const RENEW_WAIT: Duration = Duration::from_mins(1);
/// Requests for an offered address before servers are looked for anew.
const REQUESTS: u32 = 4;
/// Searches for servers, about 12 s, after which a link-local address is made instead.
const UNANSWERED: u32 = 3;
/// Requests for a kept address before servers are looked for anew.
const REBOOT_REQUESTS: u32 = 2;
/// Wait after an address was declined (RFC 2131 section 3.1, 5).
const DECLINE_WAIT: Duration = Duration::from_secs(10);
/// Wait after a refusal: a server that refuses all it offers must not be asked all the time.
const NAK_WAIT: Duration = Duration::from_secs(1);
/// Probes of an address. RFC 5227 section 1.1 has 1 to 2 s between probes "for the technologies
/// of its time" and lets faster ones do with less; a boot is not to wait for six seconds.
const PROBES: u32 = 3;
const PROBE_WAIT: Duration = Duration::from_millis(150);
/// Announcements of an address in use (RFC 5227 section 2.3).
const ANNOUNCEMENTS: u32 = 2;
const ANNOUNCE_WAIT: Duration = Duration::from_secs(2);
/// What is asked for (option 55).
const PARAMETERS: [u8; 9] = [
    code::SUBNET_MASK,
    // Before the router: RFC 3442.
    code::CLASSLESS_ROUTES,
    code::ROUTER,
    code::DNS,
    code::HOST_NAME,
    code::DOMAIN_NAME,
    code::MTU,
    code::NTP,
    code::SEARCH,
];

/// Who asks, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Hardware address.
    pub mac: Mac,
    /// Option 61, its type included.
    pub client_id: Vec<u8>,
    /// Option 12.
    pub hostname: Option<String>,
    /// Whether an address is probed before it is used, and declined when another machine has it.
    pub probe: bool,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send to everyone on the link; the sender is the message's `ciaddr`.
    Broadcast(Message),
    /// Send to one server, by the link's address.
    Unicast(Message, Ipv4Addr),
    /// Ask who has the address.
    Probe(Ipv4Addr),
    /// Tell that we have it.
    Announce(Ipv4Addr),
    /// The lease is new, or goes on. Set the address, keep the lease.
    Bound(Lease),
    /// The address is to be taken off.
    Lost(Ipv4Addr, Loss),
}

/// Why an address is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Its time is over.
    Expired,
    /// The server refused it.
    Refused,
    /// Another machine has it.
    Conflict,
    /// It was given back.
    Released,
}

/// An address in use, or about to be.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Held {
    lease: Lease,
    /// When it was asked for: the lease's times count from here.
    acquired: Duration,
}

impl Held {
    fn at(&self, seconds: u32) -> Option<Duration> {
        (self.lease.lifetime != u32::MAX).then(|| self.acquired + Duration::from_secs(seconds.into()))
    }

    fn expires(&self) -> Option<Duration> {
        self.at(self.lease.lifetime)
    }
}

/// A request that is repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Tries {
    transaction: u32,
    /// When the first was sent, for `secs`.
    began: Duration,
    /// When the last was sent.
    sent: Duration,
    count: u32,
    next: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Stopped,
    /// INIT
    Waiting(Duration),
    Selecting(Tries),
    Requesting(Tries, Lease),
    /// INIT-REBOOT and REBOOTING; whether the address is still on the link.
    Rebooting(Tries, Held, bool),
    /// Between the acknowledgement and BOUND.
    Probing {
        held: Held,
        sent: u32,
        next: Duration,
    },
    Bound {
        held: Held,
        announced: u32,
        next: Duration,
    },
    Renewing(Tries, Held),
    Rebinding(Tries, Held),
}

/// The client of one link.
#[derive(Debug, Clone)]
pub struct Client {
    settings: Settings,
    state: State,
    random: u64,
}

impl Client {
    /// A client at rest. `seed` makes its transactions other than those of other machines.
    pub fn new(settings: Settings, seed: u64) -> Self {
        Self { settings, state: State::Stopped, random: seed | 1 }
    }

    /// Begins: with the kept lease if it is still good, else with looking for servers.
    /// `kept` has the time at which the lease was acquired, and whether its address is on the link.
    pub fn start(&mut self, now: Duration, kept: Option<(Lease, Duration, bool)>) -> Vec<Action> {
        if let Some((lease, acquired, in_use)) = kept {
            let held = Held { lease, acquired };
            if held.expires().is_none_or(|end| end > now) {
                let tries = self.tries(now, FIRST_WAIT);
                let message = self.reboot_request(&tries, &held.lease);
                self.state = State::Rebooting(tries, held, in_use);
                return vec![Action::Broadcast(message)];
            }
        }
        self.discover(now)
    }

    /// Ends; gives the lease back if `release`, else it may be asked for again at the next start.
    pub fn stop(&mut self, now: Duration, release: bool) -> Vec<Action> {
        let state = std::mem::replace(&mut self.state, State::Stopped);
        match held(&state) {
            Some(held) if release => {
                let tries = self.tries(now, FIRST_WAIT);
                let mut message = self.message(Kind::Release, &tries);
                message.client = held.lease.ip();
                message.secs = 0;
                message.options.remove(&code::PARAMETERS);
                message.options.remove(&code::HOST_NAME);
                message.options.remove(&code::MAXIMUM_SIZE);
                message.options.insert(code::SERVER_ID, held.lease.server.octets().to_vec());
                vec![
                    Action::Unicast(message, held.lease.server),
                    Action::Lost(held.lease.ip(), Loss::Released),
                ]
            }
            _ => Vec::new(),
        }
    }

    /// Asks the server again now (`networkctl renew`).
    pub fn renew(&mut self, now: Duration) -> Vec<Action> {
        match std::mem::replace(&mut self.state, State::Stopped) {
            State::Bound { held, .. } => self.ask_again(now, held, false),
            State::Stopped => Vec::new(),
            other => {
                self.state = other;
                Vec::new()
            }
        }
    }

    /// The lease whose address belongs on the link, with the time at which it was acquired.
    pub fn lease(&self) -> Option<(&Lease, Duration)> {
        held(&self.state).map(|held| (&held.lease, held.acquired))
    }

    /// Whether answers are waited for, so that frames must be listened to.
    pub fn listens(&self) -> bool {
        !matches!(self.state, State::Stopped | State::Waiting(_) | State::Bound { .. })
    }

    /// Whether servers have been looked for so often in vain that it looks as if there is none.
    pub fn is_unanswered(&self) -> bool {
        matches!(&self.state, State::Selecting(tries) if tries.count >= UNANSWERED)
    }

    /// RFC 2131's word for the state.
    pub fn state_name(&self) -> &'static str {
        match self.state {
            State::Stopped => "stopped",
            State::Waiting(_) => "init",
            State::Selecting(_) => "selecting",
            State::Requesting(..) => "requesting",
            State::Rebooting(..) => "rebooting",
            State::Probing { .. } => "probing",
            State::Bound { .. } => "bound",
            State::Renewing(..) => "renewing",
            State::Rebinding(..) => "rebinding",
        }
    }

    /// When [`Client::tick`] wants to be called, if ever.
    pub fn deadline(&self) -> Option<Duration> {
        match &self.state {
            State::Stopped => None,
            State::Waiting(until) => Some(*until),
            State::Selecting(tries) | State::Requesting(tries, _) => Some(tries.next),
            State::Probing { next, .. } => Some(*next),
            State::Bound { held, announced, next } => {
                let renew = held.at(held.lease.t1);
                if *announced < ANNOUNCEMENTS { Some(earliest(*next, renew)) } else { renew }
            }
            State::Renewing(tries, held) => Some(earliest(tries.next, held.at(held.lease.t2))),
            State::Rebooting(tries, held, _) | State::Rebinding(tries, held) => {
                Some(earliest(tries.next, held.expires()))
            }
        }
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Duration) -> Vec<Action> {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return Vec::new();
        }
        match std::mem::replace(&mut self.state, State::Stopped) {
            State::Stopped => Vec::new(),
            State::Waiting(_) => self.discover(now),
            State::Selecting(mut tries) => {
                self.again(&mut tries, now);
                let message = self.message(Kind::Discover, &tries);
                self.state = State::Selecting(tries);
                vec![Action::Broadcast(message)]
            }
            State::Requesting(tries, _) if tries.count >= REQUESTS => self.discover(now),
            State::Requesting(mut tries, lease) => {
                self.again(&mut tries, now);
                let message = self.request(&tries, &lease);
                self.state = State::Requesting(tries, lease);
                vec![Action::Broadcast(message)]
            }
            State::Rebooting(tries, held, in_use) => self.reboot_again(now, tries, held, in_use),
            State::Probing { held, sent, .. } => self.probe(now, held, sent),
            State::Bound { held, announced, .. } => self.bound(now, held, announced),
            State::Renewing(tries, held) => self.still_renewing(now, tries, held),
            State::Rebinding(tries, held) => self.still_rebinding(now, tries, held),
        }
    }

    /// Takes a message in.
    pub fn receive(&mut self, now: Duration, message: &Message) -> Vec<Action> {
        let transaction = match &self.state {
            State::Selecting(tries)
            | State::Requesting(tries, _)
            | State::Rebooting(tries, ..)
            | State::Renewing(tries, _)
            | State::Rebinding(tries, _) => tries.transaction,
            _ => return Vec::new(),
        };
        if message.from_client || message.transaction != transaction || message.mac != self.settings.mac {
            return Vec::new();
        }
        let state = std::mem::replace(&mut self.state, State::Stopped);
        match (state, message.kind, Lease::of(message)) {
            (State::Selecting(tries), Kind::Offer, Some(lease)) => {
                let began = tries.began;
                let tries = Tries { transaction, began, ..self.tries(now, FIRST_WAIT) };
                let message = self.request(&tries, &lease);
                self.state = State::Requesting(tries, lease);
                vec![Action::Broadcast(message)]
            }
            (State::Requesting(tries, offer), Kind::Ack, Some(lease))
                if lease.ip() == offer.ip() && lease.server == offer.server =>
            {
                self.acknowledged(now, Held { lease, acquired: tries.sent }, false)
            }
            (State::Requesting(_, offer), Kind::Nak, _)
                if message.address(code::SERVER_ID).is_none_or(|server| server == offer.server) =>
            {
                self.wait(now + NAK_WAIT)
            }
            (State::Rebooting(tries, held, in_use), Kind::Ack, Some(lease))
                if lease.ip() == held.lease.ip() =>
            {
                self.acknowledged(now, Held { lease, acquired: tries.sent }, in_use)
            }
            (State::Rebooting(_, held, in_use), Kind::Nak, _) => {
                let mut actions = if in_use { lost(&held, Loss::Refused) } else { Vec::new() };
                actions.extend(self.discover(now));
                actions
            }
            (State::Renewing(tries, held) | State::Rebinding(tries, held), Kind::Ack, Some(lease))
                if lease.ip() == held.lease.ip() =>
            {
                self.acknowledged(now, Held { lease, acquired: tries.sent }, true)
            }
            (State::Renewing(_, held) | State::Rebinding(_, held), Kind::Nak, _) => {
                let mut actions = lost(&held, Loss::Refused);
                actions.extend(self.wait(now + NAK_WAIT));
                actions
            }
            (state, ..) => {
                self.state = state;
                Vec::new()
            }
        }
    }

    /// Takes what another machine says by ARP: a conflict while an address is probed (RFC 5227
    /// section 2.1.1) declines it.
    pub fn heard(&mut self, now: Duration, arp: &Arp) -> Vec<Action> {
        let State::Probing { held, .. } = &self.state else { return Vec::new() };
        let ours = held.lease.ip();
        let has_it = arp.sender == ours;
        let wants_it = arp.sender.is_unspecified() && arp.target == ours && arp.is_request;
        if arp.sender_mac == self.settings.mac || !(has_it || wants_it) {
            return Vec::new();
        }
        let server = held.lease.server;
        let tries = self.tries(now, FIRST_WAIT);
        let mut message = self.message(Kind::Decline, &tries);
        message.secs = 0;
        message.options.remove(&code::PARAMETERS);
        message.options.remove(&code::HOST_NAME);
        message.options.remove(&code::MAXIMUM_SIZE);
        message.options.insert(code::REQUESTED_IP, ours.octets().to_vec());
        message.options.insert(code::SERVER_ID, server.octets().to_vec());
        let mut actions = vec![Action::Broadcast(message), Action::Lost(ours, Loss::Conflict)];
        actions.extend(self.wait(now + DECLINE_WAIT));
        actions
    }

    fn wait(&mut self, until: Duration) -> Vec<Action> {
        self.state = State::Waiting(until);
        Vec::new()
    }

    fn discover(&mut self, now: Duration) -> Vec<Action> {
        let tries = self.tries(now, FIRST_WAIT);
        let message = self.message(Kind::Discover, &tries);
        self.state = State::Selecting(tries);
        vec![Action::Broadcast(message)]
    }

    fn acknowledged(&mut self, now: Duration, held: Held, in_use: bool) -> Vec<Action> {
        if self.settings.probe && !in_use {
            self.probe(now, held, 0)
        } else {
            let lease = held.lease.clone();
            // An address that was there all the time needs no announcement.
            let announced = if in_use { ANNOUNCEMENTS } else { 0 };
            self.state = State::Bound { held, announced, next: now };
            vec![Action::Bound(lease)]
        }
    }

    fn probe(&mut self, now: Duration, held: Held, sent: u32) -> Vec<Action> {
        if sent == PROBES {
            let lease = held.lease.clone();
            self.state = State::Bound { held, announced: 0, next: now };
            return vec![Action::Bound(lease)];
        }
        let address = held.lease.ip();
        self.state = State::Probing { held, sent: sent + 1, next: now + PROBE_WAIT };
        vec![Action::Probe(address)]
    }

    fn bound(&mut self, now: Duration, held: Held, announced: u32) -> Vec<Action> {
        if held.at(held.lease.t1).is_some_and(|t1| now >= t1) {
            return self.ask_again(now, held, false);
        }
        let address = held.lease.ip();
        self.state = State::Bound { held, announced: announced + 1, next: now + ANNOUNCE_WAIT };
        vec![Action::Announce(address)]
    }

    fn reboot_again(&mut self, now: Duration, mut tries: Tries, held: Held, in_use: bool) -> Vec<Action> {
        if held.expires().is_some_and(|end| now >= end) {
            let mut actions = if in_use { lost(&held, Loss::Expired) } else { Vec::new() };
            actions.extend(self.discover(now));
            return actions;
        }
        if tries.count < REBOOT_REQUESTS {
            self.again(&mut tries, now);
            let message = self.reboot_request(&tries, &held.lease);
            self.state = State::Rebooting(tries, held, in_use);
            return vec![Action::Broadcast(message)];
        }
        if in_use {
            // The lease is good, only nobody answers (RFC 2131 section 3.2, 4): on as if bound.
            self.state = State::Bound { held, announced: ANNOUNCEMENTS, next: now };
            return Vec::new();
        }
        self.discover(now)
    }

    fn still_renewing(&mut self, now: Duration, tries: Tries, held: Held) -> Vec<Action> {
        let rebinds = held.at(held.lease.t2).is_some_and(|t2| now >= t2);
        if rebinds { self.ask_again(now, held, true) } else { self.repeat(now, tries, held, false) }
    }

    fn still_rebinding(&mut self, now: Duration, tries: Tries, held: Held) -> Vec<Action> {
        if held.expires().is_some_and(|end| now >= end) {
            let mut actions = lost(&held, Loss::Expired);
            actions.extend(self.discover(now));
            return actions;
        }
        self.repeat(now, tries, held, true)
    }

    /// Begins to renew, or to rebind; a machine that slept may have missed both and the end.
    fn ask_again(&mut self, now: Duration, held: Held, anyone: bool) -> Vec<Action> {
        if held.expires().is_some_and(|end| now >= end) {
            let mut actions = lost(&held, Loss::Expired);
            actions.extend(self.discover(now));
            return actions;
        }
        let anyone = anyone || held.at(held.lease.t2).is_some_and(|t2| now >= t2);
        let mut tries = self.tries(now, FIRST_WAIT);
        tries.count = 0;
        self.repeat(now, tries, held, anyone)
    }

    fn repeat(&mut self, now: Duration, mut tries: Tries, held: Held, anyone: bool) -> Vec<Action> {
        let end = if anyone { held.expires() } else { held.at(held.lease.t2) };
        let wait = end.map_or(LONGEST_WAIT, |end| (end.saturating_sub(now) / 2).max(RENEW_WAIT));
        tries.count += 1;
        tries.sent = now;
        tries.next = now + wait;
        let mut message = self.message(Kind::Request, &tries);
        message.client = held.lease.ip();
        if anyone {
            self.state = State::Rebinding(tries, held);
            vec![Action::Broadcast(message)]
        } else {
            let server = held.lease.server;
            self.state = State::Renewing(tries, held);
            vec![Action::Unicast(message, server)]
        }
    }

    fn tries(&mut self, now: Duration, wait: Duration) -> Tries {
        let transaction = self.random() as u32;
        Tries { transaction, began: now, sent: now, count: 1, next: now + self.about(wait) }
    }

    fn again(&mut self, tries: &mut Tries, now: Duration) {
        let wait = (FIRST_WAIT * 2_u32.pow(tries.count.min(5))).min(LONGEST_WAIT);
        tries.count += 1;
        tries.sent = now;
        tries.next = now + self.about(wait);
    }

    /// A second more or less (RFC 2131 section 4.1), so that machines that start together part.
    fn about(&mut self, wait: Duration) -> Duration {
        (wait + Duration::from_millis(self.random() % 2000)).saturating_sub(Duration::from_secs(1))
    }

    /// xorshift64: other each time, and not worth guessing on a link whose frames anyone sees.
    fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random >> 16
    }

    fn message(&self, kind: Kind, tries: &Tries) -> Message {
        let mut options = BTreeMap::from([
            (code::CLIENT_ID, self.settings.client_id.clone()),
            (code::PARAMETERS, PARAMETERS.to_vec()),
            // What a frame of Ethernet holds without its headers.
            (code::MAXIMUM_SIZE, 1472_u16.to_be_bytes().to_vec()),
        ]);
        if let Some(name) = &self.settings.hostname {
            options.insert(code::HOST_NAME, name.as_bytes().iter().copied().take(255).collect());
        }
        Message {
            kind,
            from_client: true,
            transaction: tries.transaction,
            secs: u16::try_from(tries.sent.saturating_sub(tries.began).as_secs()).unwrap_or(u16::MAX),
            client: Ipv4Addr::UNSPECIFIED,
            yours: Ipv4Addr::UNSPECIFIED,
            mac: self.settings.mac,
            options,
        }
    }

    fn request(&self, tries: &Tries, offer: &Lease) -> Message {
        let mut message = self.message(Kind::Request, tries);
        message.options.insert(code::REQUESTED_IP, offer.ip().octets().to_vec());
        message.options.insert(code::SERVER_ID, offer.server.octets().to_vec());
        message
    }

    fn reboot_request(&self, tries: &Tries, kept: &Lease) -> Message {
        let mut message = self.message(Kind::Request, tries);
        message.options.insert(code::REQUESTED_IP, kept.ip().octets().to_vec());
        message
    }
}

fn held(state: &State) -> Option<&Held> {
    match state {
        State::Bound { held, .. }
        | State::Renewing(_, held)
        | State::Rebinding(_, held)
        | State::Rebooting(_, held, true) => Some(held),
        _ => None,
    }
}

fn lost(held: &Held, why: Loss) -> Vec<Action> {
    vec![Action::Lost(held.lease.ip(), why)]
}

fn earliest(time: Duration, other: Option<Duration>) -> Duration {
    other.map_or(time, |other| time.min(other))
}

#[cfg(test)]
#[path = "client_test.rs"]
mod tests;
