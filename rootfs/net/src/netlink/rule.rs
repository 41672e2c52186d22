//! Rules that choose the routing table: `linux/fib_rules.h`, ip-rule(8).

use super::wire::{Request, attributes, text, u32_at};
use crate::config::value::Prefixed;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// `RTM_NEWRULE`
const NEWRULE: u16 = 32;
/// `RTM_DELRULE`
const DELRULE: u16 = 33;
/// `RTM_GETRULE`
const GETRULE: u16 = 34;
/// `FIB_RULE_INVERT`
const INVERT: u32 = 2;
/// `RTPROT_STATIC`
const STATIC: u8 = 4;

/// What becomes of a packet that a rule is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub enum RuleAction {
    /// The table says.
    #[default]
    Table,
    /// Dropped in silence.
    Blackhole,
    /// Refused.
    Unreachable,
    /// Refused, as forbidden.
    Prohibit,
}

impl RuleAction {
    /// `FR_ACT_…`
    fn number(self) -> u8 {
        match self {
            Self::Table => 1,
            Self::Blackhole => 6,
            Self::Unreachable => 7,
            Self::Prohibit => 8,
        }
    }
}

/// A rule; what is `None` is not looked at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Rule {
    /// Of IPv6 instead of IPv4.
    pub ipv6: bool,
    /// The sender.
    pub from: Option<Prefixed>,
    /// The receiver.
    pub to: Option<Prefixed>,
    /// Type of service.
    pub tos: u8,
    /// The packet's mark, and which of its bits count.
    pub mark: Option<(u32, u32)>,
    /// The table to look in.
    pub table: u32,
    /// The lowest is looked at first; `None` is the kernel's choice.
    pub priority: Option<u32>,
    /// The link that it came by.
    pub incoming: Option<String>,
    /// The link that the sender chose.
    pub outgoing: Option<String>,
    /// Ports of the sender, from and to.
    pub source_port: Option<(u16, u16)>,
    /// Ports of the receiver.
    pub destination_port: Option<(u16, u16)>,
    /// Protocol above IP.
    pub protocol: Option<u8>,
    /// For all packets but those that it is for.
    pub inverted: bool,
    /// Routes of the table with a prefix as short as this are passed over.
    pub suppress_prefix: Option<u32>,
    /// What becomes of the packet.
    pub action: RuleAction,
}

impl Rule {
    /// Whether the kernel's rule is this one.
    pub fn is(&self, found: &Self) -> bool {
        let priority = self.priority.or(found.priority);
        Self { priority, ..self.clone() } == *found
    }
}

/// Asks for all rules.
pub fn list() -> Request {
    Request::new(GETRULE, super::message::DUMP, &[0; 12])
}

/// Adds a rule; `EEXIST` when it is there.
pub fn add(rule: &Rule) -> Request {
    use super::message::{CREATE, DO, EXCL};
    request(NEWRULE, DO | CREATE | EXCL, rule)
}

/// Takes a rule away.
pub fn remove(rule: &Rule) -> Request {
    request(DELRULE, super::message::DO, rule)
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn request(kind: u16, flags: u16, rule: &Rule) -> Request {
    let length = |network: Option<Prefixed>| network.map_or(0, |network| network.length);
    // struct fib_rule_hdr
    let mut header = [0; 12];
    header[0] = if rule.ipv6 { 10 } else { 2 };
    header[1] = length(rule.to);
    header[2] = length(rule.from);
    header[3] = rule.tos;
    header[4] = u8::try_from(rule.table).unwrap_or(0);
    header[7] = rule.action.number();
    header[8..12].copy_from_slice(&(if rule.inverted { INVERT } else { 0 }).to_ne_bytes());
    let ports = |(from, to): (u16, u16)| [from.to_ne_bytes(), to.to_ne_bytes()].concat();
    Request::new(kind, flags, &header)
        .maybe(rule.to, |r, to| r.with(1, &octets(to.address)))
        .maybe(rule.from, |r, from| r.with(2, &octets(from.address)))
        .maybe(rule.incoming.as_deref(), |r, name| r.with_text(3, name))
        .maybe(rule.priority, |r, priority| r.with_u32(6, priority))
        .maybe(rule.mark, |r, (mark, mask)| r.with_u32(10, mark).with_u32(16, mask))
        .maybe(rule.suppress_prefix, |r, length| r.with_u32(14, length))
        .maybe((rule.action == RuleAction::Table).then_some(rule.table), |r, table| r.with_u32(15, table))
        .maybe(rule.outgoing.as_deref(), |r, name| r.with_text(17, name))
        .with(21, &[STATIC])
        .maybe(rule.protocol, |r, protocol| r.with(22, &[protocol]))
        .maybe(rule.source_port, |r, range| r.with(23, &ports(range)))
        .maybe(rule.destination_port, |r, range| r.with(24, &ports(range)))
}

/// Reads a rule; `None` for what this service cannot make.
pub fn parse(body: &[u8]) -> Option<Rule> {
    let ipv6 = match body.first()? {
        2 => false,
        10 => true,
        _ => return None,
    };
    let action = match *body.get(7)? {
        1 => RuleAction::Table,
        6 => RuleAction::Blackhole,
        7 => RuleAction::Unreachable,
        8 => RuleAction::Prohibit,
        _ => return None,
    };
    let flags = u32_at(body, 8)?;
    let mut rule = Rule { ipv6, tos: body[3], inverted: flags & INVERT != 0, action, ..Rule::default() };
    rule.priority = Some(0);
    let address = |value: &[u8], length: u8| {
        let address = match value.len() {
            4 => IpAddr::V4(Ipv4Addr::from(*value.first_chunk::<4>()?)),
            16 => IpAddr::V6(Ipv6Addr::from(*value.first_chunk::<16>()?)),
            _ => return None,
        };
        Some(Prefixed { address, length })
    };
    let range = |value: &[u8]| {
        let port = |at: usize| value.get(at..)?.first_chunk().map(|bytes| u16::from_ne_bytes(*bytes));
        Some((port(0)?, port(2)?))
    };
    let mut table = u32::from(body[4]);
    let (mut mark, mut mask) = (None, None);
    for (kind, value) in attributes(body.get(12..)?) {
        match kind {
            1 => rule.to = address(value, body[1]),
            2 => rule.from = address(value, body[2]),
            3 => rule.incoming = Some(text(value)),
            6 => rule.priority = u32_at(value, 0),
            10 => mark = u32_at(value, 0),
            // The kernel says -1 where nothing is suppressed.
            14 => rule.suppress_prefix = u32_at(value, 0).filter(|length| *length != u32::MAX),
            15 => table = u32_at(value, 0)?,
            16 => mask = u32_at(value, 0),
            17 => rule.outgoing = Some(text(value)),
            22 => rule.protocol = value.first().copied(),
            23 => rule.source_port = range(value),
            24 => rule.destination_port = range(value),
            _ => {}
        }
    }
    // The kernel leaves a mark of 0 out, and not its mask.
    rule.mark = match (mark, mask) {
        (None, None) => None,
        (mark, mask) => Some((mark.unwrap_or(0), mask.unwrap_or(u32::MAX))),
    };
    rule.table = if action == RuleAction::Table { table } else { 0 };
    Some(rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_reads_back() {
        let rules = [
            Rule { table: 254, priority: Some(5), ..Rule::default() },
            Rule {
                from: Some("192.0.2.0/24".parse().unwrap()),
                to: Some("10.0.0.0/8".parse().unwrap()),
                mark: Some((0, 15)),
                table: 1000,
                incoming: Some("eth0".into()),
                outgoing: Some("eth1".into()),
                source_port: Some((1, 9)),
                destination_port: Some((80, 80)),
                protocol: Some(6),
                inverted: true,
                suppress_prefix: Some(0),
                tos: 16,
                ..Rule::default()
            },
            Rule { ipv6: true, action: RuleAction::Prohibit, ..Rule::default() },
        ];
        for rule in rules {
            let bytes = add(&rule).finish(1);
            let found = parse(&bytes[16..]).unwrap();
            let priority = found.priority.filter(|priority| *priority != 0);
            assert_eq!(Rule { priority, ..found }, rule);
            for length in 0..bytes.len() - 16 {
                // Cut short it may be another rule, and never a panic.
                let _ = parse(&bytes[16..16 + length]);
            }
        }
    }
}
