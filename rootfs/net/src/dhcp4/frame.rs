//! Frames of Ethernet around DHCP and ARP: RFC 791, RFC 768, RFC 826.

use crate::config::value::Mac;
use std::net::Ipv4Addr;
use sys::packet::Instruction;

/// Ethernet type of IPv4.
pub const IPV4: u16 = 0x0800;
/// Ethernet type of ARP.
pub const ARP: u16 = 0x0806;
const EVERYONE: Mac = Mac([255; 6]);
/// A client's port.
pub const CLIENT_PORT: u16 = 68;
/// A server's port.
pub const SERVER_PORT: u16 = 67;

/// Lets through UDP to the client's port that is no later fragment.
pub const DHCP_FILTER: [Instruction; 9] = [
    // The protocol must be UDP: ldb [23]; jeq 17
    (0x30, 0, 0, 23),
    (0x15, 0, 5, 17),
    // No later fragment: ldh [20]; jset 0x1fff
    (0x28, 0, 0, 20),
    (0x45, 3, 0, 0x1fff),
    // The destination port, behind the IP header: ldxb 4*([14]&0xf); ldh [x+16]; jeq 68
    (0xb1, 0, 0, 14),
    (0x48, 0, 0, 16),
    (0x15, 1, 0, CLIENT_PORT as u32),
    (0x06, 0, 0, 0),
    (0x06, 0, 0, 0xffff),
];

/// Lets all through: what comes by ARP's type is ARP.
pub const ARP_FILTER: [Instruction; 1] = [(0x06, 0, 0, 0xffff)];

/// Lets through ARP of which either address is of 169.254/16: ldh [28]; jeq; ldh [38]; jeq.
pub const LINK_LOCAL_FILTER: [Instruction; 6] = [
    (0x28, 0, 0, 28),
    (0x15, 2, 0, 0xa9fe),
    (0x28, 0, 0, 38),
    (0x15, 0, 1, 0xa9fe),
    (0x06, 0, 0, 0xffff),
    (0x06, 0, 0, 0),
];

/// The sum of RFC 1071 over words of 16 bits.
pub fn checksum<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u16 {
    let mut sum = 0_u32;
    for part in parts {
        for pair in part.chunks(2) {
            let word = u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]);
            sum += u32::from(word);
            sum = (sum & 0xffff) + (sum >> 16);
        }
    }
    !(sum as u16)
}

/// A frame to everyone on the link with a datagram from the client's to the server's port.
pub fn to_everyone(from: Mac, source: Ipv4Addr, datagram: &[u8]) -> Vec<u8> {
    let udp_length = (datagram.len() + 8) as u16;
    let mut ip = [0; 20];
    ip[0] = 0x45;
    // Precedence "internetwork control", as other clients have it: it must not be dropped first.
    ip[1] = 0xc0;
    ip[2..4].copy_from_slice(&(udp_length + 20).to_be_bytes());
    ip[8..10].copy_from_slice(&[64, 17]);
    ip[12..16].copy_from_slice(&source.octets());
    ip[16..20].copy_from_slice(&[255; 4]);
    let sum = checksum([&ip[..]]);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    let mut udp = [0; 8];
    udp[0..2].copy_from_slice(&CLIENT_PORT.to_be_bytes());
    udp[2..4].copy_from_slice(&SERVER_PORT.to_be_bytes());
    udp[4..6].copy_from_slice(&udp_length.to_be_bytes());
    let pseudo = [[0, 17], udp_length.to_be_bytes()].concat();
    let sum = match checksum([&ip[12..20], &pseudo, &udp, datagram]) {
        0 => 0xffff,
        sum => sum,
    };
    udp[6..8].copy_from_slice(&sum.to_be_bytes());
    [&EVERYONE.0[..], &from.0, &IPV4.to_be_bytes(), &ip, &udp, datagram].concat()
}

/// The datagram of a frame that came from a server's to the client's port; `None` when it is
/// damaged. UDP's own sum is not looked at: a virtual link leaves it to hardware that is not there.
pub fn datagram(frame: &[u8]) -> Option<&[u8]> {
    let ip = frame.get(14..).filter(|_| frame.get(12..14) == Some(&IPV4.to_be_bytes()))?;
    let header = usize::from(ip.first()? & 15) * 4;
    let total = usize::from(u16::from_be_bytes(*ip.get(2..)?.first_chunk()?));
    let fragment = u16::from_be_bytes(*ip.get(6..)?.first_chunk()?) & 0x3fff;
    if ip[0] >> 4 != 4 || header < 20 || total < header + 8 || fragment != 0 || *ip.get(9)? != 17 {
        return None;
    }
    if checksum([ip.get(..header)?]) != 0 {
        return None;
    }
    // Behind `total` is the padding of short frames.
    let udp = ip.get(header..total)?;
    let length = usize::from(u16::from_be_bytes(*udp.get(4..)?.first_chunk()?));
    if udp[0..4] != [SERVER_PORT.to_be_bytes(), CLIENT_PORT.to_be_bytes()].concat() {
        return None;
    }
    udp.get(8..length)
}

/// What an ARP packet says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arp {
    /// A question, or an answer.
    pub is_request: bool,
    /// Who says it.
    pub sender_mac: Mac,
    /// The address that the sender has; unspecified in a probe.
    pub sender: Ipv4Addr,
    /// The address asked for.
    pub target: Ipv4Addr,
}

impl Arp {
    /// A question, to everyone, whether anyone has an address (RFC 5227 section 2.1.1), or the
    /// announcement that we do (section 2.3).
    pub fn question(from: Mac, sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
        let mut frame = [&EVERYONE.0[..], &from.0, &ARP.to_be_bytes()].concat();
        frame.extend([0, 1, 8, 0, 6, 4, 0, 1]);
        frame.extend(from.0);
        frame.extend(sender.octets());
        frame.extend([0; 6]);
        frame.extend(target.octets());
        frame.resize(60, 0);
        frame
    }

    /// Reads a frame; `None` when it is not ARP of IPv4 over Ethernet.
    pub fn decode(frame: &[u8]) -> Option<Self> {
        let packet = frame.get(14..42).filter(|_| frame.get(12..14) == Some(&ARP.to_be_bytes()))?;
        if packet[..6] != [0, 1, 8, 0, 6, 4] || packet[6] != 0 || !(1..3).contains(&packet[7]) {
            return None;
        }
        let address = |at: usize| packet[at..].first_chunk::<4>().map(|octets| Ipv4Addr::from(*octets));
        Some(Self {
            is_request: packet[7] == 1,
            sender_mac: Mac(*packet[8..].first_chunk()?),
            sender: address(14)?,
            target: address(24)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);

    /// A client's frame with its ports exchanged, as a server would send it.
    fn answer(datagram: &[u8]) -> Vec<u8> {
        let mut frame = to_everyone(MAC, Ipv4Addr::new(192, 0, 2, 1), datagram);
        frame[34..38].copy_from_slice(&[0, 67, 0, 68]);
        frame
    }

    #[test]
    fn a_frame_reads_back_with_padding() {
        let mut frame = answer(b"abc");
        frame.resize(60, 9);
        assert_eq!(datagram(&frame), Some(&b"abc"[..]));
        frame[26] ^= 1;
        assert_eq!(datagram(&frame), None, "the header's sum is wrong");
    }

    #[test]
    fn cut_and_foreign_frames_are_refused() {
        let frame = answer(b"abc");
        for length in 0..frame.len() {
            assert_eq!(datagram(&frame[..length]), None, "{length}");
        }
        assert_eq!(datagram(&to_everyone(MAC, Ipv4Addr::UNSPECIFIED, b"abc")), None, "a client's");
    }

    #[test]
    fn questions_by_arp() {
        let ours = Ipv4Addr::new(192, 0, 2, 9);
        let frame = Arp::question(MAC, Ipv4Addr::UNSPECIFIED, ours);
        let wanted = Arp { is_request: true, sender_mac: MAC, sender: Ipv4Addr::UNSPECIFIED, target: ours };
        assert_eq!(Arp::decode(&frame), Some(wanted));
        assert_eq!(Arp::decode(&frame[..41]), None);
    }

    #[test]
    fn the_sums_are_the_rfcs() {
        // RFC 1071 section 3.
        assert_eq!(checksum([&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7][..]]), !0xddf2);
    }
}
