//! DHCP messages: RFC 2131 section 2, options of RFC 2132, long options of RFC 3396, routes of
//! RFC 3442, search domains of RFC 3397.

use crate::config::value::{Mac, Prefixed};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

/// Options by their numbers (RFC 2132, and IANA's list for the later ones).
pub mod code {
    #![expect(missing_docs, reason = "the names are the RFC's")]
    pub const SUBNET_MASK: u8 = 1;
    pub const ROUTER: u8 = 3;
    pub const DNS: u8 = 6;
    pub const HOST_NAME: u8 = 12;
    pub const DOMAIN_NAME: u8 = 15;
    pub const MTU: u8 = 26;
    pub const BROADCAST: u8 = 28;
    pub const NTP: u8 = 42;
    pub const REQUESTED_IP: u8 = 50;
    pub const LEASE_TIME: u8 = 51;
    pub const OVERLOAD: u8 = 52;
    pub const MESSAGE_TYPE: u8 = 53;
    pub const SERVER_ID: u8 = 54;
    pub const PARAMETERS: u8 = 55;
    pub const MAXIMUM_SIZE: u8 = 57;
    pub const T1: u8 = 58;
    pub const T2: u8 = 59;
    pub const CLIENT_ID: u8 = 61;
    pub const SEARCH: u8 = 119;
    pub const CLASSLESS_ROUTES: u8 = 121;
    pub const END: u8 = 255;
}

/// Option 53.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the RFC's")]
pub enum Kind {
    Discover = 1,
    Offer = 2,
    Request = 3,
    Decline = 4,
    Ack = 5,
    Nak = 6,
    Release = 7,
}

impl Kind {
    fn from_number(number: u8) -> Option<Self> {
        [Self::Discover, Self::Offer, Self::Request, Self::Decline, Self::Ack, Self::Nak, Self::Release]
            .into_iter()
            .find(|kind| *kind as u8 == number)
    }
}

/// One message, of either side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// What it is.
    pub kind: Kind,
    /// Whether a client sent it.
    pub from_client: bool,
    /// `xid`
    pub transaction: u32,
    /// Seconds since the client began.
    pub secs: u16,
    /// `ciaddr`: the address that the client has.
    pub client: Ipv4Addr,
    /// `yiaddr`: the address that the client gets.
    pub yours: Ipv4Addr,
    /// `chaddr`
    pub mac: Mac,
    /// Every option but pad, end, overload and the message's type, the parts of a long one joined.
    pub options: BTreeMap<u8, Vec<u8>>,
}

/// RFC 1497's cookie, at the start of the options.
const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// Where the options begin.
const OPTIONS: usize = 240;
/// The shortest message that a BOOTP relay takes (RFC 1542 section 2.1).
const SHORTEST: usize = 300;

impl Message {
    /// The bytes of a UDP datagram.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; OPTIONS];
        bytes[0] = if self.from_client { 1 } else { 2 };
        bytes[1..3].copy_from_slice(&[1, 6]);
        bytes[4..8].copy_from_slice(&self.transaction.to_be_bytes());
        bytes[8..10].copy_from_slice(&self.secs.to_be_bytes());
        bytes[12..16].copy_from_slice(&self.client.octets());
        bytes[16..20].copy_from_slice(&self.yours.octets());
        bytes[28..34].copy_from_slice(&self.mac.0);
        bytes[236..240].copy_from_slice(&COOKIE);
        bytes.extend([code::MESSAGE_TYPE, 1, self.kind as u8]);
        for (option, value) in &self.options {
            for part in value.chunks(255) {
                bytes.extend([*option, part.len() as u8]);
                bytes.extend(part);
            }
        }
        bytes.push(code::END);
        bytes.resize(bytes.len().max(SHORTEST), 0);
        bytes
    }

    /// Reads a datagram; `None` when it is no DHCP message for Ethernet, or damaged.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let from_client = match bytes.first()? {
            1 => true,
            2 => false,
            _ => return None,
        };
        if bytes.get(1..3)? != [1, 6] || bytes.get(236..240)? != COOKIE {
            return None;
        }
        let mut options = BTreeMap::new();
        take_options(bytes.get(OPTIONS..)?, &mut options)?;
        // RFC 2131 section 4.1: the fields `file`, then `sname`, may go on with options.
        match options.remove(&code::OVERLOAD).as_deref() {
            None => {}
            Some([1]) => take_options(&bytes[108..236], &mut options)?,
            Some([2]) => take_options(&bytes[44..108], &mut options)?,
            Some([3]) => {
                take_options(&bytes[108..236], &mut options)?;
                take_options(&bytes[44..108], &mut options)?;
            }
            Some(_) => return None,
        }
        options.remove(&code::OVERLOAD);
        let kind = match options.remove(&code::MESSAGE_TYPE)?.as_slice() {
            [number] => Kind::from_number(*number)?,
            _ => return None,
        };
        let address = |at: usize| bytes[at..].first_chunk::<4>().map(|octets| Ipv4Addr::from(*octets));
        Some(Self {
            kind,
            from_client,
            transaction: u32::from_be_bytes(*bytes[4..].first_chunk()?),
            secs: u16::from_be_bytes(*bytes[8..].first_chunk()?),
            client: address(12)?,
            yours: address(16)?,
            mac: Mac(*bytes[28..].first_chunk()?),
            options,
        })
    }

    /// An option of one address.
    pub fn address(&self, option: u8) -> Option<Ipv4Addr> {
        self.options.get(&option)?.first_chunk::<4>().map(|octets| Ipv4Addr::from(*octets))
    }

    /// An option of addresses; those that no machine can have are left out.
    pub fn addresses(&self, option: u8) -> Vec<Ipv4Addr> {
        let bytes = self.options.get(&option).map(Vec::as_slice).unwrap_or_default();
        bytes
            .as_chunks::<4>()
            .0
            .iter()
            .map(|octets| Ipv4Addr::from(*octets))
            .filter(|address| is_host(*address))
            .collect()
    }

    /// An option of 32 bits.
    pub fn number(&self, option: u8) -> Option<u32> {
        self.options.get(&option)?.as_slice().try_into().ok().map(u32::from_be_bytes)
    }

    /// An option of 16 bits.
    pub fn short(&self, option: u8) -> Option<u16> {
        self.options.get(&option)?.as_slice().try_into().ok().map(u16::from_be_bytes)
    }

    /// An option of text; `None` when it is no text.
    pub fn text(&self, option: u8) -> Option<&str> {
        let bytes = self.options.get(&option)?;
        std::str::from_utf8(bytes)
            .ok()
            .map(|text| text.trim_end_matches('\0'))
            .filter(|text| !text.is_empty())
    }

    /// Routes of option 121: destination and router; a router of 0.0.0.0 is the link itself.
    pub fn classless_routes(&self) -> Option<Vec<(Prefixed, Ipv4Addr)>> {
        let mut bytes = self.options.get(&code::CLASSLESS_ROUTES)?.as_slice();
        let mut routes = Vec::new();
        while let [length, rest @ ..] = bytes {
            let significant = usize::from(length.div_ceil(8));
            if *length > 32 || rest.len() < significant + 4 {
                return None;
            }
            let mut destination = [0; 4];
            destination[..significant].copy_from_slice(&rest[..significant]);
            let router = rest[significant..].first_chunk::<4>().map(|octets| Ipv4Addr::from(*octets))?;
            let destination = Prefixed { address: IpAddr::from(destination), length: *length };
            routes.push((destination.network(), router));
            bytes = &rest[significant + 4..];
        }
        Some(routes)
    }

    /// Domains of option 119.
    pub fn search(&self) -> Option<Vec<String>> {
        crate::names::compressed(self.options.get(&code::SEARCH)?)
    }
}

/// Whether a machine can have this address.
pub fn is_host(address: Ipv4Addr) -> bool {
    !(address.is_unspecified() || address.is_broadcast() || address.is_multicast() || address.is_loopback())
}

/// Adds the options of one field. `None` when one goes beyond the field.
fn take_options(mut bytes: &[u8], options: &mut BTreeMap<u8, Vec<u8>>) -> Option<()> {
    loop {
        match bytes {
            [] | [code::END, ..] => return Some(()),
            [0, rest @ ..] => bytes = rest,
            [option, length, rest @ ..] => {
                let value = rest.get(..usize::from(*length))?;
                options.entry(*option).or_default().extend_from_slice(value);
                bytes = &rest[value.len()..];
            }
            [_] => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer() -> Message {
        Message {
            kind: Kind::Offer,
            from_client: false,
            transaction: 0xdead_beef,
            secs: 3,
            client: Ipv4Addr::UNSPECIFIED,
            yours: Ipv4Addr::new(192, 0, 2, 9),
            mac: Mac([2, 0, 0, 0, 0, 1]),
            options: [
                (code::SERVER_ID, vec![192, 0, 2, 1]),
                (code::LEASE_TIME, vec![0, 0, 14, 16]),
                (code::DNS, vec![192, 0, 2, 1, 0, 0, 0, 0, 192, 0, 2, 2]),
                (224, vec![7; 600]),
            ]
            .into(),
        }
    }

    #[test]
    fn a_message_reads_back() {
        let bytes = offer().encode();
        let read = Message::decode(&bytes).unwrap();
        assert_eq!(read, offer());
        assert_eq!(read.number(code::LEASE_TIME), Some(3600));
        assert_eq!(read.addresses(code::DNS).len(), 2);
    }

    #[test]
    fn options_go_on_in_other_fields() {
        let mut message = offer();
        message.options.remove(&224);
        let mut bytes = message.encode();
        let end = bytes.iter().rposition(|byte| *byte == code::END).unwrap();
        bytes.splice(end..=end, [code::OVERLOAD, 1, 3, code::END]);
        bytes[108..114].copy_from_slice(&[code::ROUTER, 4, 192, 0, 2, 1]);
        bytes[114] = code::END;
        bytes[44..49].copy_from_slice(&[code::HOST_NAME, 3, b'a', b'b', b'c']);
        bytes[49] = code::END;
        let read = Message::decode(&bytes).unwrap();
        assert_eq!(read.address(code::ROUTER), Some(Ipv4Addr::new(192, 0, 2, 1)));
        assert_eq!(read.text(code::HOST_NAME), Some("abc"));
    }

    #[test]
    fn routes_without_classes() {
        let mut message = offer();
        // The example of RFC 3442, and the default route.
        let value = vec![24, 10, 17, 33, 192, 0, 2, 1, 9, 10, 129, 192, 0, 2, 2, 0, 192, 0, 2, 3];
        message.options.insert(code::CLASSLESS_ROUTES, value.clone());
        let routes: Vec<String> =
            message.classless_routes().unwrap().iter().map(|(to, via)| format!("{to} {via}")).collect();
        assert_eq!(routes, ["10.17.33.0/24 192.0.2.1", "10.128.0.0/9 192.0.2.2", "0.0.0.0/0 192.0.2.3"]);
        message.options.insert(code::CLASSLESS_ROUTES, value[..19].to_vec());
        assert_eq!(message.classless_routes(), None);
        message.options.insert(code::CLASSLESS_ROUTES, vec![33; 30]);
        assert_eq!(message.classless_routes(), None);
    }

    #[test]
    fn damage_is_no_message() {
        let good = offer().encode();
        for (at, value) in [(0, 3), (1, 6), (2, 5), (236, 0), (240, 0)] {
            let mut bytes = good.clone();
            bytes[at] = value;
            assert_eq!(Message::decode(&bytes), None, "byte {at}");
        }
        for length in 0..241 {
            assert_eq!(Message::decode(&good[..length]), None, "{length}");
        }
    }
}
