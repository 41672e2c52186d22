//! Link-local addresses of IPv4 (RFC 3927) as a pure state machine: an address of 169.254/16 is
//! chosen, probed, announced and defended. It reads no clock: `now` is the time since boot.

use crate::config::value::Mac;
use crate::dhcp4::frame::Arp;
use std::net::Ipv4Addr;
use std::time::Duration;

// RFC 3927 section 9.
const PROBE_WAIT: Duration = Duration::from_secs(1);
const PROBE_NUM: u32 = 3;
const PROBE_MIN: Duration = Duration::from_secs(1);
const PROBE_MAX: Duration = Duration::from_secs(2);
const ANNOUNCE_WAIT: Duration = Duration::from_secs(2);
const ANNOUNCE_NUM: u32 = 2;
const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(2);
const MAX_CONFLICTS: u32 = 10;
const RATE_LIMIT_INTERVAL: Duration = Duration::from_mins(1);
const DEFEND_INTERVAL: Duration = Duration::from_secs(10);

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Ask by ARP who has the address.
    Probe(Ipv4Addr),
    /// Tell by ARP that we have it; this is also how it is defended.
    Announce(Ipv4Addr),
    /// Set the address.
    Bound(Ipv4Addr),
    /// Take the address off: another machine has it.
    Lost(Ipv4Addr),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Stopped,
    /// Number of probes sent; when the next one, or the end of the silence, is due.
    Probing(u32, Duration),
    /// Number of announcements made, when the next is due, when the address was last defended.
    Bound(u32, Duration, Option<Duration>),
}

/// The address of one link.
#[derive(Debug, Clone)]
pub struct Client {
    mac: Mac,
    address: Ipv4Addr,
    state: State,
    conflicts: u32,
    random: u64,
}

impl Client {
    /// A client at rest. Addresses are chosen from the hardware address, so that a machine most
    /// often has the same one (section 2.1); `seed` makes only the waits other.
    pub fn new(mac: Mac, seed: u64) -> Self {
        let mut client = Self {
            mac,
            address: Ipv4Addr::UNSPECIFIED,
            state: State::Stopped,
            conflicts: 0,
            random: seed | 1,
        };
        client.address = client.choose();
        client
    }

    /// Begins. `kept` is the address that the link has had before, which is not taken off.
    pub fn start(&mut self, now: Duration, kept: Option<Ipv4Addr>) {
        if let Some(address) = kept.filter(|address| is_usable(*address)) {
            self.address = address;
            self.state = State::Bound(ANNOUNCE_NUM, now, None);
        } else {
            self.probe_after(now, Duration::ZERO);
        }
    }

    /// Ends; the address is to be taken off, if there is one.
    pub fn stop(&mut self) {
        self.state = State::Stopped;
    }

    /// The address that belongs on the link.
    pub fn address(&self) -> Option<Ipv4Addr> {
        matches!(self.state, State::Bound(..)).then_some(self.address)
    }

    /// Whether it runs.
    pub fn is_stopped(&self) -> bool {
        self.state == State::Stopped
    }

    /// When [`Client::tick`] wants to be called, if ever.
    pub fn deadline(&self) -> Option<Duration> {
        match self.state {
            State::Probing(_, next) => Some(next),
            State::Bound(announced, next, _) if announced < ANNOUNCE_NUM => Some(next),
            State::Stopped | State::Bound(..) => None,
        }
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Duration) -> Vec<Action> {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return Vec::new();
        }
        match self.state {
            State::Probing(PROBE_NUM, _) => {
                self.state = State::Bound(1, now + ANNOUNCE_INTERVAL, None);
                // It was chosen well: conflicts of long ago no longer slow the next choice.
                self.conflicts = 0;
                vec![Action::Bound(self.address), Action::Announce(self.address)]
            }
            State::Probing(sent, _) => {
                let wait = if sent + 1 == PROBE_NUM {
                    ANNOUNCE_WAIT
                } else {
                    PROBE_MIN + self.part_of(PROBE_MAX.saturating_sub(PROBE_MIN))
                };
                self.state = State::Probing(sent + 1, now + wait);
                vec![Action::Probe(self.address)]
            }
            State::Bound(announced, _, defended) => {
                self.state = State::Bound(announced + 1, now + ANNOUNCE_INTERVAL, defended);
                vec![Action::Announce(self.address)]
            }
            State::Stopped => Vec::new(),
        }
    }

    /// Takes what another machine says by ARP.
    pub fn heard(&mut self, now: Duration, arp: &Arp) -> Vec<Action> {
        if arp.sender_mac == self.mac {
            return Vec::new();
        }
        let has_it = arp.sender == self.address;
        let wants_it = arp.is_request && arp.sender.is_unspecified() && arp.target == self.address;
        match self.state {
            // Section 2.2.1.
            State::Probing(..) if has_it || wants_it => {
                self.another(now);
                Vec::new()
            }
            // Section 2.5 (b): defended once, given up when the other insists.
            State::Bound(announced, next, defended) if has_it => {
                if defended.is_none_or(|last| now.saturating_sub(last) >= DEFEND_INTERVAL) {
                    self.state = State::Bound(announced, next, Some(now));
                    vec![Action::Announce(self.address)]
                } else {
                    let lost = self.address;
                    self.another(now);
                    vec![Action::Lost(lost)]
                }
            }
            _ => Vec::new(),
        }
    }

    /// Chooses another address; after many conflicts, one a minute.
    fn another(&mut self, now: Duration) {
        self.conflicts = self.conflicts.saturating_add(1);
        let before = self.address;
        for _ in 0..8 {
            self.address = self.choose();
            if self.address != before {
                break;
            }
        }
        let wait = if self.conflicts >= MAX_CONFLICTS { RATE_LIMIT_INTERVAL } else { Duration::ZERO };
        self.probe_after(now, wait);
    }

    fn probe_after(&mut self, now: Duration, wait: Duration) {
        let first = self.part_of(PROBE_WAIT);
        self.state = State::Probing(0, now + wait + first);
    }

    /// An address out of 169.254.1.0 to 169.254.254.255: the first of the hardware address alone,
    /// later ones of the number of conflicts too, at random.
    fn choose(&mut self) -> Ipv4Addr {
        let mut number = self.mac.0.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        if self.conflicts > 0 {
            number ^= self.random();
        }
        let host = (number % (254 * 256)) as u32;
        Ipv4Addr::from_bits(0xa9fe_0100 + host)
    }

    fn part_of(&mut self, whole: Duration) -> Duration {
        whole * (self.random() % 1000) as u32 / 1000
    }

    /// xorshift64.
    fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random >> 16
    }
}

/// Section 2.1: the first and the last 256 addresses are reserved.
fn is_usable(address: Ipv4Addr) -> bool {
    address.is_link_local() && !matches!(address.octets()[2], 0 | 255)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);

    fn arp(sender: Ipv4Addr, target: Ipv4Addr) -> Arp {
        Arp { is_request: true, sender_mac: Mac([2, 0, 0, 0, 0, 9]), sender, target }
    }

    /// Runs to the end of what is due; gives each action with its time.
    fn run(client: &mut Client) -> Vec<(Duration, Action)> {
        let mut all = Vec::new();
        while let Some(now) = client.deadline() {
            all.extend(client.tick(now).into_iter().map(|action| (now, action)));
        }
        all
    }

    fn started() -> Client {
        let mut client = Client::new(MAC, 7);
        client.start(Duration::ZERO, None);
        client
    }

    #[test]
    fn probed_bound_announced() {
        let mut client = started();
        let ours = client.address;
        assert!(is_usable(ours));
        let all = run(&mut client);
        let actions: Vec<Action> = all.iter().map(|(_, action)| *action).collect();
        let (probe, announce) = (Action::Probe(ours), Action::Announce(ours));
        assert_eq!(actions, [probe, probe, probe, Action::Bound(ours), announce, announce]);
        assert!(all[0].0 < PROBE_WAIT);
        for pair in all[..3].windows(2) {
            let wait = pair[1].0.saturating_sub(pair[0].0);
            assert!((PROBE_MIN..=PROBE_MAX).contains(&wait), "{wait:?}");
        }
        let between = |one: usize, other: usize| all[other].0.saturating_sub(all[one].0);
        assert_eq!((between(2, 3), between(4, 5)), (ANNOUNCE_WAIT, ANNOUNCE_INTERVAL));
        assert_eq!(client.address(), Some(ours));
        assert_eq!(Client::new(MAC, 99).address, ours, "the same at each boot");
        assert_ne!(Client::new(Mac([2, 0, 0, 0, 0, 2]), 7).address, ours);
    }

    #[test]
    fn an_address_that_is_had_or_probed_by_another_is_not_taken() {
        for probe in [false, true] {
            let mut client = started();
            let first = client.address;
            client.tick(client.deadline().unwrap());
            let said = if probe { arp(Ipv4Addr::UNSPECIFIED, first) } else { arp(first, first) };
            assert_eq!(client.heard(Duration::from_secs(1), &said), []);
            assert_ne!(client.address, first);
            assert!(run(&mut client).iter().all(|(_, action)| *action != Action::Probe(first)));
        }
    }

    #[test]
    fn defended_once_then_given_up() {
        let mut client = started();
        run(&mut client);
        let ours = client.address;
        let other = arp(ours, ours);
        let now = Duration::from_secs(100);
        // One that asks for it, or for another, takes nothing away.
        assert_eq!(client.heard(now, &arp(Ipv4Addr::UNSPECIFIED, ours)), []);
        assert_eq!(client.heard(now, &other), [Action::Announce(ours)]);
        assert_eq!(client.heard(now + DEFEND_INTERVAL, &other), [Action::Announce(ours)]);
        assert_eq!(client.heard(now + DEFEND_INTERVAL + PROBE_MAX, &other), [Action::Lost(ours)]);
        assert_eq!(client.address(), None);
        assert!(
            run(&mut client).iter().any(|(_, action)| matches!(action, Action::Bound(new) if *new != ours))
        );
    }

    #[test]
    fn a_link_where_everything_is_taken_is_not_flooded() {
        let mut client = started();
        let hour = Duration::from_hours(1);
        let mut probes = 0;
        while let Some(now) = client.deadline().filter(|now| *now < hour) {
            for action in client.tick(now) {
                if let Action::Probe(address) = action {
                    probes += 1;
                    client.heard(now, &arp(address, address));
                }
            }
        }
        assert!((60..=75).contains(&probes), "{probes}");
    }

    #[test]
    fn what_was_there_before_a_restart_stays() {
        let mut client = Client::new(MAC, 7);
        let kept = Ipv4Addr::new(169, 254, 7, 7);
        client.start(Duration::ZERO, Some(kept));
        assert_eq!((client.address(), client.deadline()), (Some(kept), None));
        client.start(Duration::ZERO, Some(Ipv4Addr::new(169, 254, 0, 7)));
        assert_eq!(client.address(), None);
    }

    proptest::proptest! {
        #[test]
        fn no_talk_makes_it_spin(talk in proptest::collection::vec((0..3_u8, 0..20_000_u64), 0..80)) {
            let mut client = started();
            let mut now = Duration::ZERO;
            for (kind, wait) in talk {
                now += Duration::from_millis(wait);
                let ours = client.address;
                match kind {
                    0 => drop(client.heard(now, &arp(ours, ours))),
                    1 => drop(client.heard(now, &arp(Ipv4Addr::UNSPECIFIED, ours))),
                    _ => drop(client.tick(now)),
                }
                for _ in 0..2 {
                    client.tick(now);
                }
                proptest::prop_assert!(client.deadline().is_none_or(|next| next > now));
            }
        }
    }
}
