//! `/etc/hosts` (hosts(5)).

use crate::config::name;
use hickory_proto::rr::Name;
use std::collections::HashMap;
use std::net::IpAddr;

/// The longest file that is read, in bytes.
pub const SIZE_MAX: u64 = 4 << 20;

/// The file's content, both ways.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Hosts {
    addresses: HashMap<Name, Vec<IpAddr>>,
    names: HashMap<IpAddr, Vec<Name>>,
}

impl Hosts {
    /// Reads `ADDRESS NAME…` lines; a line whose address is none is told in the second list. A
    /// line with the address 0.0.0.0 or :: blocks its names.
    pub fn parse(text: &str) -> (Self, Vec<String>) {
        let mut hosts = Self::default();
        let mut problems = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.split_once('#').map_or(line, |(line, _)| line);
            let mut words = line.split_whitespace();
            let Some(first) = words.next() else { continue };
            let plain = first.split_once('%').map_or(first, |(address, _)| address);
            let Ok(address) = plain.parse::<IpAddr>() else {
                problems.push(format!("/etc/hosts:{}: `{first}` is not an address", index + 1));
                continue;
            };
            for word in words {
                let Some(name) = name(word) else {
                    problems.push(format!("/etc/hosts:{}: `{word}` is not a name", index + 1));
                    continue;
                };
                let addresses = hosts.addresses.entry(name.clone()).or_default();
                if !address.is_unspecified() {
                    if !addresses.contains(&address) {
                        addresses.push(address);
                    }
                    hosts.names.entry(address).or_default().push(name);
                }
            }
        }
        (hosts, problems)
    }

    /// The addresses of a name (lower case); `None` when the file does not have it, an empty list
    /// when it is blocked.
    pub fn addresses(&self, name: &Name) -> Option<&[IpAddr]> {
        self.addresses.get(name).map(Vec::as_slice)
    }

    /// The names of an address, the canonical one first.
    pub fn names(&self, address: IpAddr) -> &[Name] {
        self.names.get(&address).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_comments_blocks_and_nonsense() {
        let (hosts, problems) = Hosts::parse(
            "# c\n10.0.0.1 Node1.example node1 # c\n10.0.0.2 node1\n::1 x\n0.0.0.0 bad.example\nnonsense y\n1.2.3.4 a..b\n",
        );
        let n = |text: &str| name(text).unwrap();
        let expected: [IpAddr; 2] = ["10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap()];
        assert_eq!(hosts.addresses(&n("NODE1")), Some(&expected[..]));
        assert_eq!(hosts.addresses(&n("bad.example")), Some(&[][..]));
        assert_eq!(hosts.addresses(&n("other")), None);
        assert_eq!(hosts.names(expected[0]), [n("node1.example"), n("node1")]);
        assert_eq!(problems.len(), 2, "{problems:?}");
    }
}
