//! Messages of `DHCPv6`: RFC 8415 sections 8 and 21; servers of RFC 3646, RFC 4075 and RFC 5908.

use crate::names;
use serde::{Deserialize, Serialize};
use std::net::Ipv6Addr;

const CLIENT_ID: u16 = 1;
const SERVER_ID: u16 = 2;
const IA_NA: u16 = 3;
const IA_ADDRESS: u16 = 5;
const ORO: u16 = 6;
const PREFERENCE: u16 = 7;
const ELAPSED: u16 = 8;
const STATUS: u16 = 13;
const DNS: u16 = 23;
const DOMAINS: u16 = 24;
const SNTP: u16 = 31;
const REFRESH: u16 = 32;
const NTP: u16 = 56;
/// Addresses that are taken of one reply.
const ADDRESSES: usize = 8;

/// RFC 8415 section 7.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the RFC's")]
pub enum Kind {
    Solicit = 1,
    Advertise = 2,
    Request = 3,
    Renew = 5,
    Rebind = 6,
    Reply = 7,
    Release = 8,
    Decline = 9,
    InformationRequest = 11,
}

/// An address of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeasedAddress {
    /// The address.
    pub address: Ipv6Addr,
    /// Seconds in which new connections may use it.
    pub preferred: u32,
    /// Seconds in which it may be used.
    pub valid: u32,
}

/// What a server gave.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Lease {
    /// The server's identifier.
    pub server: Vec<u8>,
    /// Addresses; none when only the rest was asked for.
    pub addresses: Vec<LeasedAddress>,
    /// When to ask the server again, in seconds.
    pub t1: u32,
    /// When to ask anyone, in seconds.
    pub t2: u32,
    /// Servers of names.
    pub dns: Vec<Ipv6Addr>,
    /// Domains to search.
    pub domains: Vec<String>,
    /// Servers of time.
    pub ntp: Vec<Ipv6Addr>,
}

/// A server's message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// What it is.
    pub kind: Kind,
    /// Transaction, 24 bits.
    pub transaction: u32,
    /// For whom it is.
    pub client: Vec<u8>,
    /// What it gives.
    pub lease: Lease,
    /// The server's preference, 255 is at once.
    pub preference: u8,
    /// Status of the message, else of the addresses; 0 is success.
    pub status: u16,
    /// When to ask for the rest again, in seconds.
    pub refresh: Option<u32>,
}

/// A client's message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// What it is.
    pub kind: Kind,
    /// Transaction, 24 bits.
    pub transaction: u32,
    /// Who asks.
    pub client: Vec<u8>,
    /// Who is asked; empty for anyone.
    pub server: Vec<u8>,
    /// The identity of the addresses; `None` when only the rest is asked for.
    pub identity: Option<u32>,
    /// The addresses that it is about.
    pub addresses: Vec<LeasedAddress>,
    /// Hundredths of a second since the first of this exchange.
    pub elapsed: u16,
}

fn put(bytes: &mut Vec<u8>, code: u16, value: &[u8]) {
    bytes.extend(code.to_be_bytes());
    bytes.extend((value.len() as u16).to_be_bytes());
    bytes.extend(value);
}

impl Outgoing {
    /// The bytes of a UDP datagram.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.transaction.to_be_bytes().to_vec();
        bytes[0] = self.kind as u8;
        put(&mut bytes, CLIENT_ID, &self.client);
        if !self.server.is_empty() {
            put(&mut bytes, SERVER_ID, &self.server);
        }
        if let Some(identity) = self.identity {
            let mut value = identity.to_be_bytes().to_vec();
            value.extend([0; 8]);
            for leased in &self.addresses {
                let mut inner = leased.address.octets().to_vec();
                inner.extend([0; 8]);
                put(&mut value, IA_ADDRESS, &inner);
            }
            put(&mut bytes, IA_NA, &value);
        }
        if !matches!(self.kind, Kind::Release | Kind::Decline) {
            let asked = [DNS, DOMAINS, SNTP, NTP, 82, REFRESH];
            let asked = &asked[..if self.kind == Kind::InformationRequest { 6 } else { 5 }];
            put(&mut bytes, ORO, &asked.iter().flat_map(|code| code.to_be_bytes()).collect::<Vec<_>>());
        }
        put(&mut bytes, ELAPSED, &self.elapsed.to_be_bytes());
        bytes
    }
}

/// Options: code and value. `None` for one that is cut short.
fn options(mut bytes: &[u8]) -> impl Iterator<Item = Option<(u16, &[u8])>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let head = bytes.first_chunk::<4>().map(|head| {
            (u16::from_be_bytes([head[0], head[1]]), usize::from(u16::from_be_bytes([head[2], head[3]])))
        });
        let Some((code, value)) = head.and_then(|(code, length)| Some((code, bytes.get(4..4 + length)?)))
        else {
            bytes = &[];
            return Some(None);
        };
        bytes = &bytes[4 + value.len()..];
        Some(Some((code, value)))
    })
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|chunk| u32::from_be_bytes(*chunk))
}

fn addresses(value: &[u8]) -> impl Iterator<Item = Ipv6Addr> {
    let all = value.as_chunks::<16>().0.iter().map(|octets| Ipv6Addr::from(*octets));
    all.filter(|address| !address.is_unspecified() && !address.is_multicast()).take(ADDRESSES)
}

impl Message {
    /// Reads a server's datagram; `identity` is that of the addresses asked for. `None` when it is
    /// no answer, or damaged.
    pub fn decode(bytes: &[u8], identity: u32) -> Option<Self> {
        let kind = match bytes.first()? {
            2 => Kind::Advertise,
            7 => Kind::Reply,
            _ => return None,
        };
        let mut message = Self {
            kind,
            transaction: number(bytes, 0)? & 0x00ff_ffff,
            client: Vec::new(),
            lease: Lease::default(),
            preference: 0,
            status: 0,
            refresh: None,
        };
        let mut of_addresses = 0;
        for option in options(&bytes[4..]) {
            let (code, value) = option?;
            match code {
                CLIENT_ID => message.client = value.to_vec(),
                SERVER_ID => message.lease.server = value.to_vec(),
                IA_NA if number(value, 0)? == identity => of_addresses = message.addresses(value)?,
                PREFERENCE => message.preference = *value.first()?,
                STATUS => message.status = u16::from_be_bytes(*value.first_chunk()?),
                DNS => message.lease.dns = addresses(value).collect(),
                DOMAINS => message.lease.domains = names::plain(value).unwrap_or_default(),
                SNTP if message.lease.ntp.is_empty() => message.lease.ntp = addresses(value).collect(),
                NTP => {
                    let servers: Option<Vec<_>> = options(value).collect();
                    let servers = servers?.into_iter().filter(|(code, _)| *code == 1);
                    message.lease.ntp =
                        servers.flat_map(|(_, value)| addresses(value)).take(ADDRESSES).collect();
                }
                REFRESH => message.refresh = number(value, 0),
                _ => {}
            }
        }
        if message.status == 0 {
            message.status = of_addresses;
        }
        // A server's identifier has 3 to 130 bytes (RFC 8415 section 11.1).
        ((3..=130).contains(&message.lease.server.len())).then_some(message)
    }

    /// Takes the addresses of an `IA_NA`; gives their status.
    fn addresses(&mut self, value: &[u8]) -> Option<u16> {
        let (t1, t2) = (number(value, 4)?, number(value, 8)?);
        let mut status = 0;
        for option in options(value.get(12..)?) {
            match option? {
                (STATUS, value) => status = u16::from_be_bytes(*value.first_chunk()?),
                (IA_ADDRESS, value) => {
                    let address = Ipv6Addr::from(*value.first_chunk::<16>()?);
                    let (preferred, valid) = (number(value, 16)?, number(value, 20)?);
                    let usable = !address.is_unspecified()
                        && !address.is_multicast()
                        && !address.is_loopback()
                        && valid > 0
                        && preferred <= valid;
                    if usable && self.lease.addresses.len() < ADDRESSES {
                        self.lease.addresses.push(LeasedAddress { address, preferred, valid });
                    }
                }
                _ => {}
            }
        }
        // RFC 8415 section 14.2: at the client's discretion, of the shortest preferred lifetime.
        let shortest = self.lease.addresses.iter().map(|leased| leased.preferred).min().unwrap_or(0);
        let part = |of: u64| {
            // An address that is only valid must not be renewed without a pause.
            if shortest == u32::MAX { u32::MAX } else { ((u64::from(shortest) * of / 10) as u32).max(60) }
        };
        let in_order = t1 > 0 && t2 > 0 && t1 <= t2;
        (self.lease.t1, self.lease.t2) = if in_order { (t1, t2) } else { (part(5), part(8)) };
        Some(status)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A server's message with an address.
    pub(crate) fn answer(kind: Kind, transaction: u32, status: u16, preference: u8) -> Vec<u8> {
        let mut bytes = transaction.to_be_bytes().to_vec();
        bytes[0] = kind as u8;
        put(&mut bytes, CLIENT_ID, &[1; 10]);
        put(&mut bytes, SERVER_ID, &[2; 10]);
        put(&mut bytes, PREFERENCE, &[preference]);
        let mut identity = [0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0].to_vec();
        if status == 0 {
            let mut address = "2001:db8::9".parse::<Ipv6Addr>().unwrap().octets().to_vec();
            address.extend(1000_u32.to_be_bytes());
            address.extend(2000_u32.to_be_bytes());
            put(&mut identity, IA_ADDRESS, &address);
        } else {
            put(&mut identity, STATUS, &status.to_be_bytes());
        }
        put(&mut bytes, IA_NA, &identity);
        put(&mut bytes, DNS, &"2001:db8::53".parse::<Ipv6Addr>().unwrap().octets());
        put(&mut bytes, DOMAINS, &names::encode("example.org"));
        bytes
    }

    #[test]
    fn an_answer_is_read() {
        let message = Message::decode(&answer(Kind::Reply, 0x0012_3456, 0, 9), 7).unwrap();
        assert_eq!((message.kind, message.transaction, message.status), (Kind::Reply, 0x0012_3456, 0));
        assert_eq!(message.lease.addresses[0].valid, 2000);
        assert_eq!((message.lease.t1, message.lease.t2), (500, 800));
        assert_eq!(message.lease.domains, ["example.org"]);
        assert_eq!(Message::decode(&answer(Kind::Reply, 1, 2, 0), 7).unwrap().status, 2);
        assert!(Message::decode(&answer(Kind::Reply, 1, 0, 0), 8).unwrap().lease.addresses.is_empty());
    }

    #[test]
    fn a_cut_answer_is_none() {
        let good = answer(Kind::Reply, 1, 0, 0);
        let ends: Vec<usize> =
            (0..good.len()).filter(|n| Message::decode(&good[..*n], 7).is_some()).collect();
        // Where an option ends, and the server has said who it is.
        assert!(ends.len() < 5, "{ends:?}");
    }
}
