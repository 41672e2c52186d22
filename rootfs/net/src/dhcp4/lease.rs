//! A lease, and the file that keeps it: `KEY=value`, the keys of systemd's lease files.

use super::message::{Message, code, is_host};
use crate::config::value::{Prefixed, domain};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

/// What a server gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The address with its network.
    pub address: Prefixed,
    /// Who gave it.
    pub server: Ipv4Addr,
    /// For how long, in seconds; `u32::MAX` is for ever.
    pub lifetime: u32,
    /// When to ask the server again, in seconds.
    pub t1: u32,
    /// When to ask anyone, in seconds.
    pub t2: u32,
    /// Routers of the default route, the first one counts.
    pub routers: Vec<Ipv4Addr>,
    /// Routes of RFC 3442, which replace the routers.
    pub routes: Option<Vec<(Prefixed, Ipv4Addr)>>,
    /// Servers of names.
    pub dns: Vec<Ipv4Addr>,
    /// Servers of time.
    pub ntp: Vec<Ipv4Addr>,
    /// Domain.
    pub domain: Option<String>,
    /// Domains to search.
    pub search: Vec<String>,
    /// The machine's name.
    pub hostname: Option<String>,
    /// Largest packet.
    pub mtu: Option<u16>,
}

/// The longest lifetime that is reckoned with; longer is for ever.
const FOREVER: u32 = u32::MAX;

impl Lease {
    /// What an offer or an acknowledgement gives. `None` when it lacks the address, the server or
    /// the time, or names what no machine can have.
    pub fn of(message: &Message) -> Option<Self> {
        let address = Some(message.yours).filter(|address| is_host(*address))?;
        let server = message.address(code::SERVER_ID).filter(|address| is_host(*address))?;
        let lifetime = message.number(code::LEASE_TIME).filter(|seconds| *seconds > 0)?;
        let length = match message.address(code::SUBNET_MASK) {
            Some(mask) => {
                let ones = mask.to_bits().leading_ones();
                if ones == 0 || mask.to_bits().count_ones() != ones {
                    return None;
                }
                ones as u8
            }
            // The classes of RFC 791, for a server that says nothing.
            None => match address.octets()[0] {
                0..128 => 8,
                128..192 => 16,
                _ => 24,
            },
        };
        let (t1, t2) = times(lifetime, message.number(code::T1), message.number(code::T2));
        let name = |option| message.text(option).and_then(domain).map(str::to_owned);
        Some(Self {
            address: Prefixed { address: IpAddr::V4(address), length },
            server,
            lifetime,
            t1,
            t2,
            routers: message.addresses(code::ROUTER),
            routes: message.classless_routes().filter(|routes| !routes.is_empty()),
            dns: message.addresses(code::DNS),
            ntp: message.addresses(code::NTP),
            domain: name(code::DOMAIN_NAME),
            search: message.search().unwrap_or_default(),
            hostname: name(code::HOST_NAME),
            // RFC 2132 section 5.1: 68 at least.
            mtu: message.short(code::MTU).filter(|mtu| *mtu >= 68),
        })
    }

    /// The address without its network.
    pub fn ip(&self) -> Ipv4Addr {
        match self.address.address {
            IpAddr::V4(address) => address,
            IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
        }
    }

    /// The lease file; `acquired` is in seconds since 1970.
    pub fn to_text(&self, acquired: u64) -> String {
        let mut text = String::from("# This is private data. Do not parse.\n");
        let mut put = |key: &str, value: &str| {
            if !value.is_empty() {
                let _ = writeln!(text, "{key}={value}");
            }
        };
        put("ADDRESS", &self.ip().to_string());
        put("PREFIXLEN", &self.address.length.to_string());
        put("ROUTER", &joined(&self.routers));
        put("SERVER_ADDRESS", &self.server.to_string());
        put("MTU", &self.mtu.map(|mtu| mtu.to_string()).unwrap_or_default());
        put("T1", &self.t1.to_string());
        put("T2", &self.t2.to_string());
        put("LIFETIME", &self.lifetime.to_string());
        put("DNS", &joined(&self.dns));
        put("NTP", &joined(&self.ntp));
        put("DOMAINNAME", self.domain.as_deref().unwrap_or_default());
        put("DOMAIN_SEARCH_LIST", &self.search.join(" "));
        put("HOSTNAME", self.hostname.as_deref().unwrap_or_default());
        if let Some(routes) = &self.routes {
            let routes: Vec<String> = routes.iter().map(|(to, via)| format!("{to},{via}")).collect();
            put("ROUTES", &routes.join(" "));
        }
        put("ACQUIRED", &acquired.to_string());
        text
    }

    /// Reads a lease file; with it when the lease was acquired. `None` when it is none.
    pub fn from_text(text: &str) -> Option<(Self, u64)> {
        let value = |key: &str| {
            text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).unwrap_or_default()
        };
        let address: Ipv4Addr = value("ADDRESS").parse().ok().filter(|address| is_host(*address))?;
        let length: u8 = value("PREFIXLEN").parse().ok().filter(|length| (1..33).contains(length))?;
        let lifetime = value("LIFETIME").parse().ok().filter(|seconds| *seconds > 0)?;
        let (t1, t2) = times(lifetime, value("T1").parse().ok(), value("T2").parse().ok());
        let route = |word: &str| {
            let (to, via) = word.split_once(',')?;
            Some((to.parse::<Prefixed>().ok().filter(|to| to.address.is_ipv4())?, via.parse().ok()?))
        };
        let name = |key| domain(value(key)).map(str::to_owned);
        let lease = Self {
            address: Prefixed { address: IpAddr::V4(address), length },
            server: value("SERVER_ADDRESS").parse().ok()?,
            lifetime,
            t1,
            t2,
            routers: list(value("ROUTER"))?,
            routes: match value("ROUTES") {
                "" => None,
                routes => Some(routes.split(' ').map(route).collect::<Option<_>>()?),
            },
            dns: list(value("DNS"))?,
            ntp: list(value("NTP"))?,
            domain: name("DOMAINNAME"),
            search: value("DOMAIN_SEARCH_LIST")
                .split_ascii_whitespace()
                .filter_map(domain)
                .map(str::to_owned)
                .collect(),
            hostname: name("HOSTNAME"),
            mtu: value("MTU").parse().ok().filter(|mtu| *mtu >= 68),
        };
        Some((lease, value("ACQUIRED").parse().ok()?))
    }
}

/// T1 and T2: the server's if they are in order, else a half and seven eighths (RFC 2131
/// section 4.4.5).
fn times(lifetime: u32, t1: Option<u32>, t2: Option<u32>) -> (u32, u32) {
    if lifetime == FOREVER {
        return (FOREVER, FOREVER);
    }
    let t2 = t2.filter(|t2| *t2 > 0 && *t2 < lifetime).unwrap_or((u64::from(lifetime) * 7 / 8) as u32);
    let t1 = t1.filter(|t1| *t1 > 0 && *t1 < t2).unwrap_or((lifetime / 2).min(t2));
    // A lease of a second must not be renewed without a pause.
    (t1.max(1), t2.max(1))
}

fn list<T: std::str::FromStr>(text: &str) -> Option<Vec<T>> {
    text.split_ascii_whitespace().map(|word| word.parse().ok()).collect()
}

fn joined(addresses: &[Ipv4Addr]) -> String {
    addresses.iter().map(Ipv4Addr::to_string).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn lease() -> Lease {
        Lease {
            address: "192.0.2.9/24".parse().unwrap(),
            server: Ipv4Addr::new(192, 0, 2, 1),
            lifetime: 3600,
            t1: 1800,
            t2: 3150,
            routers: vec![Ipv4Addr::new(192, 0, 2, 1)],
            routes: Some(vec![("10.0.0.0/8".parse().unwrap(), Ipv4Addr::new(192, 0, 2, 2))]),
            dns: vec![Ipv4Addr::new(192, 0, 2, 3), Ipv4Addr::new(192, 0, 2, 4)],
            ntp: vec![],
            domain: Some("example.org".into()),
            search: vec!["a.example".into(), "b.example".into()],
            hostname: Some("node".into()),
            mtu: Some(1400),
        }
    }

    #[test]
    fn a_lease_file_reads_back() {
        assert_eq!(Lease::from_text(&lease().to_text(77)), Some((lease(), 77)));
        assert_eq!(Lease::from_text("ADDRESS=192.0.2.9\n"), None);
        assert_eq!(Lease::from_text(""), None);
    }

    #[test]
    fn times_out_of_order_are_reckoned_anew() {
        assert_eq!(times(3600, None, None), (1800, 3150));
        assert_eq!(times(3600, Some(10), Some(20)), (10, 20));
        assert_eq!(times(3600, Some(30), Some(20)), (20, 20));
        assert_eq!(times(3600, Some(0), Some(4000)), (1800, 3150));
        assert_eq!(times(1, None, None), (1, 1));
        assert_eq!(times(u32::MAX, Some(5), None), (u32::MAX, u32::MAX));
    }
}
