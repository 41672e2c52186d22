//! Router advertisements: RFC 4861 section 4.2, names of RFC 8106. The kernel makes addresses and
//! routes of them; this reads what the kernel leaves: servers of names, domains, and whether there
//! is DHCP.

use crate::config::value::Mac;
use crate::dhcp4::frame::checksum;
use crate::names;
use std::net::Ipv6Addr;
use std::time::Duration;
use sys::packet::Instruction;

/// Ethernet type of IPv6.
pub const IPV6: u16 = 0x86dd;
/// Lets through `ICMPv6` advertisements of routers that came over no router themselves.
pub const FILTER: [Instruction; 8] = [
    // ICMPv6 follows at once, the hop limit is 255 (RFC 4861 section 6.1.2): ldb [20]; jeq 58
    (0x30, 0, 0, 20),
    (0x15, 0, 4, 58),
    (0x30, 0, 0, 21),
    (0x15, 0, 2, 255),
    // ldb [54]; jeq 134
    (0x30, 0, 0, 54),
    (0x15, 1, 0, 134),
    (0x06, 0, 0, 0),
    (0x06, 0, 0, 0xffff),
];
/// Names that are kept, of all routers of a link (RFC 8106 section 5.3.1 has three as enough).
const KEPT: usize = 16;

/// What one advertisement says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advertisement {
    /// The router's address on this link.
    pub router: Ipv6Addr,
    /// It is a default router for so long.
    pub lifetime: Duration,
    /// `DHCPv6` gives addresses.
    pub managed: bool,
    /// `DHCPv6` gives the rest.
    pub other: bool,
    /// Servers of names, each with its lifetime.
    pub dns: Vec<(Ipv6Addr, Duration)>,
    /// Domains to search, each with its lifetime.
    pub domains: Vec<(String, Duration)>,
}

impl Advertisement {
    /// Reads a frame; `None` when RFC 4861 section 6.1.2 has it dropped.
    pub fn decode(frame: &[u8]) -> Option<Self> {
        let ip = frame.get(14..).filter(|_| frame.get(12..14) == Some(&IPV6.to_be_bytes()))?;
        let length = usize::from(u16::from_be_bytes(*ip.get(4..)?.first_chunk()?));
        let body = ip.get(40..40 + length)?;
        let router = Ipv6Addr::from(*ip[8..].first_chunk::<16>()?);
        if ip[0] >> 4 != 6 || ip[6..8] != [58, 255] || !router.is_unicast_link_local() || body.len() < 16 {
            return None;
        }
        let pseudo = [&ip[8..40], &(length as u32).to_be_bytes(), &[0, 0, 0, 58]].concat();
        if body[0..2] != [134, 0] || checksum([&pseudo[..], body]) != 0 {
            return None;
        }
        let mut advertisement = Self {
            router,
            lifetime: Duration::from_secs(u16::from_be_bytes(*body[6..].first_chunk()?).into()),
            managed: body[5] & 0x80 != 0,
            other: body[5] & 0x40 != 0,
            dns: Vec::new(),
            domains: Vec::new(),
        };
        let mut options = &body[16..];
        while let [kind, units, ..] = options {
            let option = options.get(..usize::from(*units) * 8).filter(|option| !option.is_empty())?;
            options = &options[option.len()..];
            advertisement.take(*kind, option);
        }
        options.is_empty().then_some(advertisement)
    }

    /// One option; one that is damaged says nothing.
    fn take(&mut self, kind: u8, option: &[u8]) {
        let Some(seconds) =
            option.get(4..).and_then(<[u8]>::first_chunk).map(|bytes| u32::from_be_bytes(*bytes))
        else {
            return;
        };
        let lifetime = Duration::from_secs(seconds.into());
        match kind {
            25 => {
                let servers = option[8..].as_chunks::<16>().0.iter().map(|octets| Ipv6Addr::from(*octets));
                self.dns.extend(
                    servers
                        .filter(|a| !a.is_unspecified() && !a.is_multicast())
                        .map(|server| (server, lifetime)),
                );
            }
            31 => {
                let found = names::plain(&option[8..]).unwrap_or_default();
                self.domains.extend(found.into_iter().map(|name| (name, lifetime)));
            }
            _ => {}
        }
    }
}

/// What the routers of a link have said, until its time is over. Times are since boot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heard {
    dns: Vec<(Ipv6Addr, Duration)>,
    domains: Vec<(String, Duration)>,
    router: Option<(Ipv6Addr, Duration)>,
    managed: bool,
    other: bool,
    any: bool,
}

impl Heard {
    /// Takes an advertisement in.
    pub fn take(&mut self, now: Duration, new: &Advertisement) {
        self.expire(now);
        self.any = true;
        (self.managed, self.other) = (new.managed, new.other);
        renew(&mut self.dns, now, &new.dns);
        renew(&mut self.domains, now, &new.domains);
        if !new.lifetime.is_zero() {
            self.router = Some((new.router, now + new.lifetime));
        } else if self.router.is_some_and(|(router, _)| router == new.router) {
            self.router = None;
        }
    }

    /// Forgets what is over.
    pub fn expire(&mut self, now: Duration) {
        self.dns.retain(|(_, end)| *end > now);
        self.domains.retain(|(_, end)| *end > now);
        self.router = self.router.filter(|(_, end)| *end > now);
    }

    /// When something is over next.
    pub fn deadline(&self) -> Option<Duration> {
        let ends = self.dns.iter().map(|(_, end)| *end).chain(self.domains.iter().map(|(_, end)| *end));
        ends.chain(self.router.map(|(_, end)| end)).min()
    }

    /// Whether any router has said anything.
    pub fn any(&self) -> bool {
        self.any
    }

    /// Whether `DHCPv6` gives addresses, and whether it gives the rest.
    pub fn dhcp6(&self) -> (bool, bool) {
        (self.managed, self.other)
    }

    /// Servers of names.
    pub fn dns(&self) -> impl Iterator<Item = Ipv6Addr> + '_ {
        self.dns.iter().map(|(server, _)| *server)
    }

    /// Domains to search.
    pub fn domains(&self) -> impl Iterator<Item = &str> + '_ {
        self.domains.iter().map(|(name, _)| name.as_str())
    }

    /// The default router.
    pub fn router(&self) -> Option<Ipv6Addr> {
        self.router.map(|(router, _)| router)
    }
}

/// Gives what is said again its new lifetime, and adds what is new while there is room.
fn renew<T: Clone + PartialEq>(known: &mut Vec<(T, Duration)>, now: Duration, new: &[(T, Duration)]) {
    for (value, lifetime) in new {
        // A lifetime of zero takes it back (RFC 8106 section 5.1).
        let place = known.iter().position(|(other, _)| other == value);
        match place {
            Some(at) if lifetime.is_zero() => {
                known.remove(at);
            }
            Some(at) => known[at].1 = now + *lifetime,
            None if !lifetime.is_zero() && known.len() < KEPT => {
                known.push((value.clone(), now + *lifetime));
            }
            None => {}
        }
    }
}

/// A frame to all routers that asks for an advertisement (RFC 4861 section 4.1).
pub fn solicitation(from: Mac, source: Option<Ipv6Addr>) -> Vec<u8> {
    let all_routers = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
    let mut body = vec![133, 0, 0, 0, 0, 0, 0, 0];
    if source.is_some() {
        body.extend([1, 1]);
        body.extend(from.0);
    }
    let source = source.unwrap_or(Ipv6Addr::UNSPECIFIED);
    let addresses = [source.octets(), all_routers.octets()].concat();
    let length = body.len() as u16;
    let sum = checksum([&addresses[..], &u32::from(length).to_be_bytes(), &[0, 0, 0, 58], &body]);
    body[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut frame = [&[0x33, 0x33, 0, 0, 0, 2][..], &from.0, &IPV6.to_be_bytes()].concat();
    frame.extend([0x60, 0, 0, 0]);
    frame.extend(length.to_be_bytes());
    frame.extend([58, 255]);
    frame.extend(addresses);
    frame.extend(body);
    frame
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn advertisement(flags: u8, options: &[u8]) -> Vec<u8> {
        let router = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
        let mut body = vec![134, 0, 0, 0, 64, flags, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0];
        body.extend(options);
        let addresses = [router.octets(), Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1).octets()].concat();
        let sum = checksum([&addresses[..], &(body.len() as u32).to_be_bytes(), &[0, 0, 0, 58], &body]);
        body[2..4].copy_from_slice(&sum.to_be_bytes());
        let mut frame = vec![0x33, 0x33, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9, 0x86, 0xdd, 0x60, 0, 0, 0];
        frame.extend((body.len() as u16).to_be_bytes());
        frame.extend([58, 255]);
        frame.extend(addresses);
        frame.extend(body);
        frame
    }

    fn names(seconds: u8) -> Vec<u8> {
        let mut options = vec![25, 3, 0, 0, 0, 0, 0, seconds];
        options.extend("2001:db8::53".parse::<Ipv6Addr>().unwrap().octets());
        options.extend([31, 3, 0, 0, 0, 0, 0, seconds]);
        options.extend(b"\x07example\x03org\0\0\0\0");
        options
    }

    #[test]
    fn an_advertisement_is_read() {
        let read = Advertisement::decode(&advertisement(0xc0, &names(100))).unwrap();
        assert!(read.managed && read.other);
        assert_eq!(read.lifetime, Duration::from_mins(30));
        assert_eq!(read.dns, [("2001:db8::53".parse().unwrap(), Duration::from_secs(100))]);
        assert_eq!(read.domains, [("example.org".into(), Duration::from_secs(100))]);
    }

    #[test]
    fn what_came_over_a_router_or_is_damaged_is_dropped() {
        let good = advertisement(0, &names(100));
        for (at, value) in [(21, 254), (20, 17), (22, 0x20), (54, 133), (60, 1), (70, 0), (71, 0)] {
            let mut bad = good.clone();
            bad[at] = value;
            assert_eq!(Advertisement::decode(&bad), None, "byte {at}");
        }
        for length in 0..good.len() {
            assert_eq!(Advertisement::decode(&good[..length]), None, "{length}");
        }
        assert_eq!(Advertisement::decode(&advertisement(0, &[25, 0, 0, 0])), None, "an option of no length");
    }

    #[test]
    fn what_is_heard_lives_its_time() {
        let mut heard = Heard::default();
        let now = Duration::from_secs(10);
        heard.take(now, &Advertisement::decode(&advertisement(0, &names(100))).unwrap());
        assert_eq!((heard.dns().count(), heard.domains().count()), (1, 1));
        assert_eq!(heard.deadline(), Some(Duration::from_secs(110)));
        assert!(heard.router().is_some());
        heard.take(now, &Advertisement::decode(&advertisement(0, &names(0))).unwrap());
        assert_eq!((heard.dns().count(), heard.domains().count()), (0, 0));
        heard.expire(Duration::from_secs(1810));
        assert_eq!((heard.router(), heard.deadline()), (None, None));
    }

    #[test]
    fn a_flood_of_names_is_bounded() {
        let mut heard = Heard::default();
        for n in 0..1000_u16 {
            let mut options = vec![25, 3, 0, 0, 0, 0, 0, 100];
            options.extend(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, n).octets());
            heard.take(Duration::ZERO, &Advertisement::decode(&advertisement(0, &options)).unwrap());
        }
        assert_eq!(heard.dns().count(), KEPT);
    }
}
