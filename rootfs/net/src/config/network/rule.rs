//! `[RoutingPolicyRule]`: which table is looked in for which packets.

use super::super::value::{Prefixed, boolean, link_name};
use super::super::{Fault, Line, Problem, Section};
use super::Network;
use super::keys::{number, optional, table};
use crate::netlink::rule::{Rule, RuleAction};

/// What the section says of families.
#[derive(Clone, Copy, PartialEq)]
enum Family {
    OfAddresses,
    Ipv4,
    Ipv6,
    Both,
}

impl Network {
    pub(super) fn rule(&mut self, section: &Section, problems: &mut Vec<Problem>) {
        let Some(first) = section.lines.first() else { return };
        let mut rule = Rule { table: 254, ..Rule::default() };
        let mut family = Family::OfAddresses;
        for line in &section.lines {
            if let Err(fault) = take(&mut rule, &mut family, line) {
                // A rule that lacks a condition would be for packets that are not meant.
                problems.push(line.problem(fault));
                return;
            }
        }
        if rule.action != RuleAction::Table {
            rule.table = 0;
        }
        let families: Vec<bool> =
            [rule.from, rule.to].into_iter().flatten().map(|network| network.address.is_ipv6()).collect();
        let wanted = match (family, families.first()) {
            (Family::OfAddresses, None) | (Family::Ipv4, _) => vec![false],
            (Family::OfAddresses, Some(ipv6)) => vec![*ipv6],
            (Family::Ipv6, _) => vec![true],
            (Family::Both, _) => vec![false, true],
        };
        if families.iter().any(|ipv6| wanted.iter().any(|wanted| wanted != ipv6)) {
            problems.push(first.problem(Fault::Incomplete("RoutingPolicyRule", "addresses of one family")));
            return;
        }
        // What is for all is no condition, and the kernel does not say it again.
        let some = |network: Option<Prefixed>| network.filter(|network| network.length > 0);
        (rule.from, rule.to) = (some(rule.from), some(rule.to));
        rule.mark = rule.mark.filter(|mark| *mark != (0, 0));
        self.rules.extend(wanted.into_iter().map(|ipv6| Rule { ipv6, ..rule.clone() }));
    }
}

fn take(rule: &mut Rule, family: &mut Family, line: &Line) -> Result<(), Fault> {
    let value = line.entry.value.as_str();
    let network = || optional(line, "ADDRESS/LENGTH", |text| text.parse().ok().map(Prefixed::network));
    let name = || optional(line, "a link's name", |text| link_name(text).map(str::to_owned));
    let ports = || optional(line, "a port, or FROM-TO", ports_of);
    match line.entry.key.as_str() {
        "From" => rule.from = network()?,
        "To" => rule.to = network()?,
        "TypeOfService" => {
            rule.tos = optional(line, "a number up to 255", |text| text.parse().ok())?.unwrap_or(0);
        }
        "FirewallMark" => rule.mark = optional(line, "MARK or MARK/MASK", mark_of)?,
        "Table" => rule.table = optional(line, "a table", table)?.unwrap_or(254),
        "Priority" => rule.priority = number(line)?,
        "IncomingInterface" => rule.incoming = name()?,
        "OutgoingInterface" => rule.outgoing = name()?,
        "SourcePort" => rule.source_port = ports()?,
        "DestinationPort" => rule.destination_port = ports()?,
        "IPProtocol" => {
            rule.protocol = optional(line, "tcp, udp, sctp or a number", |text| match text {
                "tcp" => Some(6),
                "udp" => Some(17),
                "sctp" => Some(132),
                "icmp" => Some(1),
                _ => text.parse().ok().filter(|number| *number > 0),
            })?;
        }
        "InvertRule" => rule.inverted = optional(line, "yes or no", boolean)?.unwrap_or(false),
        "SuppressPrefixLength" => {
            rule.suppress_prefix = optional(line, "a number up to 128", |text| {
                text.parse().ok().filter(|length| *length <= 128)
            })?;
        }
        "Family" => {
            *family = match value {
                "" => Family::OfAddresses,
                "ipv4" => Family::Ipv4,
                "ipv6" => Family::Ipv6,
                "both" => Family::Both,
                _ => return Err(line.value_fault("ipv4, ipv6 or both")),
            }
        }
        "Type" => {
            rule.action = match value {
                "table" | "" => RuleAction::Table,
                "blackhole" => RuleAction::Blackhole,
                "unreachable" => RuleAction::Unreachable,
                "prohibit" => RuleAction::Prohibit,
                _ => return Err(line.value_fault("table, blackhole, unreachable or prohibit")),
            }
        }
        _ => return Err(line.not_read("network")),
    }
    Ok(())
}

fn number_of(text: &str) -> Option<u32> {
    text.strip_prefix("0x").map_or_else(|| text.parse().ok(), |digits| u32::from_str_radix(digits, 16).ok())
}

fn mark_of(text: &str) -> Option<(u32, u32)> {
    let (mark, mask) = text.split_once('/').map_or((text, None), |(mark, mask)| (mark, Some(mask)));
    Some((number_of(mark)?, mask.map_or(Some(u32::MAX), number_of)?))
}

fn ports_of(text: &str) -> Option<(u16, u16)> {
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let range: (u16, u16) = (from.parse().ok()?, to.parse().ok()?);
    (range.0 > 0 && range.0 <= range.1).then_some(range)
}

#[cfg(test)]
mod tests {
    use super::super::super::Source;
    use super::*;
    use std::path::Path;

    fn rules(text: &str) -> (Vec<Rule>, Vec<String>) {
        let mut problems = Vec::new();
        let text = format!("[Match]\nName=*\n[RoutingPolicyRule]\n{text}");
        let network = Network::parse(&Source::one(Path::new("n"), text.as_bytes()), &mut problems).unwrap();
        (network.rules, problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn what_a_rule_says() {
        let (found, problems) = rules(
            "From=192.0.2.7/24\nTable=main\nPriority=100\nFirewallMark=0x10/0xff\nSourcePort=1000-2000\nIPProtocol=tcp\n",
        );
        assert_eq!(problems, Vec::<String>::new());
        let wanted = Rule {
            from: Some("192.0.2.0/24".parse().unwrap()),
            table: 254,
            priority: Some(100),
            mark: Some((16, 255)),
            source_port: Some((1000, 2000)),
            protocol: Some(6),
            ..Rule::default()
        };
        assert_eq!(found, [wanted]);
        let (found, _) = rules("Family=both\nTable=7\nPriority=5\n");
        assert_eq!(found.iter().map(|rule| rule.ipv6).collect::<Vec<_>>(), [false, true]);
        assert!(rules("To=2001:db8::/32\nTable=7\n").0[0].ipv6);
    }

    #[test]
    fn a_rule_with_a_line_that_is_not_understood_is_left_out() {
        for (text, wanted) in [
            ("From=x\nTable=7\n", "n:4: error: `From=x`: ADDRESS/LENGTH is wanted"),
            ("Table=7\nUser=root\n", "n:5: error: [RoutingPolicyRule] User= is not supported"),
            ("SourcePort=9-3\n", "n:4: error: `SourcePort=9-3`: a port, or FROM-TO is wanted"),
            (
                "From=10.0.0.0/8\nTo=2001:db8::/32\n",
                "n:4: error: section [RoutingPolicyRule] has no addresses of one family, so it is left out",
            ),
        ] {
            assert_eq!(rules(text), (Vec::new(), vec![wanted.to_owned()]), "{text}");
        }
    }
}
