//! Who comes in: a bound on connections, of which those that are not authenticated yet are the
//! dangerous ones. Pure: connections have numbers, the caller closes what it is told to close.

use std::collections::HashMap;
use std::net::IpAddr;

/// Where connections come from, for counting: an IPv4 address, or an IPv6 /64, which is what one
/// host commonly has all to itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Source(IpAddr);

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
            address @ IpAddr::V4(_) => address,
        })
    }
}

/// Bounds (`sshd_config`(5): `MaxStartups`, `PerSourceMaxStartups`).
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Connections that are not authenticated.
    pub startups: usize,
    /// The same from one source.
    pub startups_per_source: usize,
    /// Connections in all.
    pub connections: usize,
}

/// What becomes of a new connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// It may come in.
    Admitted,
    /// It may come in; that other one has to go for it.
    InPlaceOf(u64),
    /// It is closed at once.
    Refused,
}

/// The connections.
#[derive(Debug)]
pub struct Door {
    bounds: Bounds,
    /// By number, which grows with time: not authenticated.
    strangers: HashMap<u64, Source>,
    guests: usize,
}

impl Door {
    /// Nobody is in.
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, strangers: HashMap::new(), guests: 0 }
    }

    /// A connection knocks. Its number is larger than any before.
    ///
    /// When all places are taken, the oldest connection of the source that has the most gives way, if
    /// that source has more than this one: a flood from one place does not keep others out.
    pub fn knock(&mut self, number: u64, source: Source) -> Entry {
        let held = |of: Source| self.strangers.values().filter(|source| **source == of).count();
        let own = held(source);
        if own >= self.bounds.startups_per_source || self.guests >= self.bounds.connections {
            return Entry::Refused;
        }
        let full = self.strangers.len() >= self.bounds.startups
            || self.strangers.len() + self.guests >= self.bounds.connections;
        if !full {
            self.strangers.insert(number, source);
            return Entry::Admitted;
        }
        let most = self.strangers.values().map(|source| held(*source)).max().unwrap_or(0);
        let oldest =
            self.strangers.iter().filter(|(_, of)| held(**of) == most).map(|(number, _)| *number).min();
        match oldest {
            Some(oldest) if most > own + 1 => {
                self.strangers.remove(&oldest);
                self.strangers.insert(number, source);
                Entry::InPlaceOf(oldest)
            }
            _ => Entry::Refused,
        }
    }

    /// A connection is authenticated. False when it had to go meanwhile.
    pub fn greet(&mut self, number: u64) -> bool {
        let known = self.strangers.remove(&number).is_some();
        self.guests += usize::from(known);
        known
    }

    /// A connection ended; `greeted` as [`Door::greet`] said.
    pub fn leave(&mut self, number: u64, greeted: bool) {
        self.strangers.remove(&number);
        self.guests = self.guests.saturating_sub(usize::from(greeted));
    }

    /// How many are in: not authenticated, authenticated.
    pub fn count(&self) -> (usize, usize) {
        (self.strangers.len(), self.guests)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(last: u8) -> Source {
        Source::from(IpAddr::from([10, 0, 0, last]))
    }

    fn door(startups: usize, per_source: usize) -> Door {
        Door::new(Bounds { startups, startups_per_source: per_source, connections: 8 })
    }

    #[test]
    fn one_source_has_its_bound() {
        let mut door = door(8, 2);
        assert_eq!(door.knock(1, source(1)), Entry::Admitted);
        assert_eq!(door.knock(2, source(1)), Entry::Admitted);
        assert_eq!(door.knock(3, source(1)), Entry::Refused);
        assert_eq!(door.knock(4, source(2)), Entry::Admitted);
        assert!(door.greet(1));
        assert_eq!(door.knock(5, source(1)), Entry::Admitted);
        assert_eq!(door.count(), (3, 1));
    }

    #[test]
    fn a_flood_gives_way_to_others() {
        let mut door = door(3, 3);
        for number in 1..=3 {
            assert_eq!(door.knock(number, source(1)), Entry::Admitted);
        }
        assert_eq!(door.knock(4, source(2)), Entry::InPlaceOf(1));
        assert!(!door.greet(1), "it had to go");
        // Two and one are as even as three can be: the next of the second source must wait.
        assert_eq!(door.knock(5, source(2)), Entry::Refused);
        assert_eq!(door.knock(6, source(3)), Entry::InPlaceOf(2));
        assert_eq!(door.knock(7, source(4)), Entry::Refused);
    }

    #[test]
    fn guests_fill_the_house() {
        let mut door = door(8, 8);
        for number in 0..8 {
            assert_eq!(door.knock(number, source(1)), Entry::Admitted);
            assert!(door.greet(number));
        }
        assert_eq!(door.knock(8, source(2)), Entry::Refused);
        door.leave(0, true);
        assert_eq!(door.knock(9, source(2)), Entry::Admitted);
        door.leave(9, false);
        assert_eq!(door.count(), (0, 7));
    }

    #[test]
    fn an_ipv6_network_is_one_source() {
        let of = |text: &str| Source::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::2:3"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:10.0.0.1"), source(1));
    }
}
