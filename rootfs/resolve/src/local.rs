//! What is answered without asking anybody (`systemd-resolved.service(8)`, "Synthetic records";
//! RFC 6761).

use crate::config::name;
use crate::hosts::Hosts;
use crate::scope::ends_in;
use hickory_proto::rr::rdata::{A, AAAA, PTR};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What the machine knows of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// `/etc/hosts`.
    pub hosts: Hosts,
    /// The kernel's host name.
    pub hostname: String,
    /// Addresses of all links that are up, but the loopback's, the best first.
    pub addresses: Vec<IpAddr>,
    /// Gateways of the default routes, the best first.
    pub gateways: Vec<IpAddr>,
}

/// TTL of answers made here, in seconds: none, for they may change at once.
pub const TTL: u32 = 0;

/// The records for a question (name in lower case), or `None` when it is for somebody else. An
/// empty list is an answer too: the name exists without such a record. `Err` is a name that does
/// not exist.
pub fn answer(facts: &Facts, asked: &Name, kind: RecordType) -> Option<Result<Vec<Record>, NoSuchName>> {
    if let Some(address) = reverse(asked) {
        return pointers(facts, address, asked, kind);
    }
    let is_address_question = matches!(kind, RecordType::A | RecordType::AAAA | RecordType::ANY);
    let give = |addresses: &[IpAddr]| Some(Ok(records(asked, addresses, kind)));
    if is_address_question && let Some(addresses) = facts.hosts.addresses(asked) {
        return give(addresses);
    }
    if ends_in(asked, "localhost") || *asked == LOCALHOST.with(Clone::clone) {
        return give(&[Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
    }
    if ends_in(asked, "invalid") {
        return Some(Err(NoSuchName));
    }
    if asked.num_labels() == 1 && asked.iter().next() == Some(b"_gateway") {
        return if facts.gateways.is_empty() { Some(Err(NoSuchName)) } else { give(&facts.gateways) };
    }
    if asked.num_labels() == 1 && asked.iter().next() == Some(b"_localdnsstub") {
        return give(&[STUB.into()]);
    }
    if is_own(facts, asked) && is_address_question {
        return if facts.addresses.is_empty() {
            give(&[OWN_V4.into(), Ipv6Addr::LOCALHOST.into()])
        } else {
            give(&facts.addresses)
        };
    }
    None
}

/// The name does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoSuchName;

/// The stub's address.
pub const STUB: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 53);
/// The machine's own name points here when no link is up.
const OWN_V4: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

thread_local! {
    static LOCALHOST: Name = name("localhost.localdomain").unwrap_or_default();
}

/// The host name, whole and up to its first dot; none when it is `localhost`.
pub fn own_names(hostname: &str) -> Vec<Name> {
    let short = hostname.split('.').next().unwrap_or_default();
    let mut names: Vec<Name> = [hostname, short].into_iter().filter_map(name).collect();
    names.dedup();
    names.retain(|name| !ends_in(name, "localhost") && !name.is_root());
    names
}

fn is_own(facts: &Facts, asked: &Name) -> bool {
    own_names(&facts.hostname).contains(asked)
}

/// Names of an own address; `None` for a foreign one.
fn pointers(
    facts: &Facts,
    address: IpAddr,
    asked: &Name,
    kind: RecordType,
) -> Option<Result<Vec<Record>, NoSuchName>> {
    let names = match facts.hosts.names(address) {
        [] if address == IpAddr::V4(OWN_V4) => own_names(&facts.hostname),
        [] if address == IpAddr::V4(STUB) => name("_localdnsstub").into_iter().collect(),
        [] if address.is_loopback() => name("localhost").into_iter().collect(),
        [] if facts.addresses.contains(&address) => own_names(&facts.hostname),
        [] if facts.gateways.contains(&address) => name("_gateway").into_iter().collect(),
        [] => return None,
        names => names.to_vec(),
    };
    let wanted = matches!(kind, RecordType::PTR | RecordType::ANY);
    let names = names.into_iter().filter(|_| wanted);
    Some(Ok(names.map(|name| Record::from_rdata(asked.clone(), TTL, RData::PTR(PTR(name)))).collect()))
}

/// Address records of a name, those of the wanted type.
pub fn records(name: &Name, addresses: &[IpAddr], kind: RecordType) -> Vec<Record> {
    let wanted = |other| kind == RecordType::ANY || kind == other;
    let data = addresses.iter().filter_map(|address| match address {
        IpAddr::V4(address) => wanted(RecordType::A).then_some(RData::A(A(*address))),
        IpAddr::V6(address) => wanted(RecordType::AAAA).then_some(RData::AAAA(AAAA(*address))),
    });
    data.map(|data| Record::from_rdata(name.clone(), TTL, data)).collect()
}

/// The address that a name below in-addr.arpa or ip6.arpa stands for, when it is a whole one.
pub fn reverse(asked: &Name) -> Option<IpAddr> {
    let labels: Vec<&[u8]> = asked.iter().collect();
    let (count, base, suffix): (usize, u32, &[u8]) = match labels.len() {
        6 => (4, 10, b"in-addr"),
        34 => (32, 16, b"ip6"),
        _ => return None,
    };
    if !labels[count].eq_ignore_ascii_case(suffix) || !labels[count + 1].eq_ignore_ascii_case(b"arpa") {
        return None;
    }
    let mut parts = labels[..count].iter().rev().map(|label| {
        let text = std::str::from_utf8(label).ok()?;
        let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        plain.then(|| u8::from_str_radix(text, base).ok()).flatten().filter(|value| base == 10 || *value < 16)
    });
    if count == 4 {
        let mut octets = [0; 4];
        for octet in &mut octets {
            *octet = parts.next()??;
        }
        return Some(IpAddr::V4(octets.into()));
    }
    let mut octets = [0; 16];
    for octet in &mut octets {
        *octet = parts.next()?? << 4 | parts.next()??;
    }
    Some(IpAddr::V6(octets.into()))
}

/// The name below in-addr.arpa or ip6.arpa of an address.
pub fn reverse_name(address: IpAddr) -> Option<Name> {
    let text = match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(address) => {
            let nibbles =
                address.octets().into_iter().rev().map(|octet| format!("{:x}.{:x}.", octet & 15, octet >> 4));
            format!("{}ip6.arpa", nibbles.collect::<String>())
        }
    };
    name(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            hosts: Hosts::parse("10.9.9.9 db.example db\n0.0.0.0 ads.example\n").0,
            hostname: "Node1.example".into(),
            addresses: vec!["10.0.2.15".parse().unwrap(), "2001:db8::15".parse().unwrap()],
            gateways: vec!["10.0.2.2".parse().unwrap()],
        }
    }

    fn ask(text: &str, kind: RecordType) -> Option<Vec<String>> {
        let found = answer(&facts(), &name(text).unwrap(), kind)?;
        Some(found.map_or_else(
            |_| vec!["NXDOMAIN".into()],
            |records| records.iter().map(|r| r.data.to_string()).collect(),
        ))
    }

    /// `Some` texts, to compare with.
    fn found(texts: &[&str]) -> Option<Vec<String>> {
        let owned = texts.iter().map(|text| (*text).to_owned());
        owned.map(Some).collect()
    }

    #[test]
    fn names() {
        use RecordType::{A, AAAA, ANY, MX};
        assert_eq!(ask("db", A), found(&["10.9.9.9"]));
        assert_eq!(ask("DB.example", AAAA), found(&[]));
        assert_eq!(ask("db.example", MX), None);
        assert_eq!(ask("ads.example", A), found(&[]));
        assert_eq!(ask("x.localhost", A), found(&["127.0.0.1"]));
        assert_eq!(ask("localhost", MX), found(&[]));
        assert_eq!(ask("localhost.localdomain", AAAA), found(&["::1"]));
        assert_eq!(ask("a.invalid", A), found(&["NXDOMAIN"]));
        assert_eq!(ask("_gateway", A), found(&["10.0.2.2"]));
        assert_eq!(ask("_gateway", AAAA), found(&[]));
        assert_eq!(ask("node1", ANY), found(&["10.0.2.15", "2001:db8::15"]));
        assert_eq!(ask("node1.example", A), found(&["10.0.2.15"]));
        assert_eq!(ask("node1.example", MX), None);
        assert_eq!(ask("node2", A), None);
    }

    #[test]
    fn addresses() {
        let ptr = |address: &str| {
            let asked = reverse_name(address.parse().unwrap()).unwrap();
            ask(&asked.to_string(), RecordType::PTR)
        };
        assert_eq!(ptr("127.0.0.1"), found(&["localhost."]));
        assert_eq!(ptr("::1"), found(&["localhost."]));
        assert_eq!(ptr("10.9.9.9"), found(&["db.example.", "db."]));
        assert_eq!(ptr("2001:db8::15"), found(&["node1.example.", "node1."]));
        assert_eq!(ptr("10.0.2.2"), found(&["_gateway."]));
        assert_eq!(ptr("10.0.2.3"), None);
    }

    #[test]
    fn a_machine_without_links_still_knows_itself() {
        let alone = Facts { addresses: vec![], gateways: vec![], ..facts() };
        let records = answer(&alone, &name("node1").unwrap(), RecordType::A).unwrap().unwrap();
        assert_eq!(records[0].data.to_string(), "127.0.0.2");
        assert_eq!(answer(&alone, &name("_gateway").unwrap(), RecordType::A), Some(Err(NoSuchName)));
    }

    #[test]
    fn reverse_names_are_whole_and_plain() {
        for text in
            ["1.2.3.in-addr.arpa", "1.2.3.256.in-addr.arpa", "x.2.3.4.in-addr.arpa", "1.2.3.4.5.in-addr.arpa"]
        {
            assert_eq!(reverse(&name(text).unwrap()), None, "{text}");
        }
        assert_eq!(reverse(&name("4.3.2.1.IN-ADDR.arpa").unwrap()), Some("1.2.3.4".parse().unwrap()));
    }
}
