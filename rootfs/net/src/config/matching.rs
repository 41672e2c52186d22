//! `[Match]`: which links a file is for.

use super::machine::Conditions;
use super::value::{Mac, glob};
use super::{Fault, Line};

/// What is known of a link when a file is chosen for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Candidate {
    /// Its name now.
    pub name: String,
    /// Other names.
    pub alternative_names: Vec<String>,
    /// Hardware address.
    pub mac: Option<Mac>,
    /// The driver of its device (`virtio_net`), or the kind of a virtual link (`bridge`).
    pub driver: String,
    /// `ether`, `loopback`, `vlan`, `bridge` … (`networkctl list`).
    pub kind_of_type: String,
    /// The kernel's kind of a virtual link; empty for a device.
    pub kind: String,
    /// Where the device is: `pci-0000:00:02.0`; empty without one.
    pub path: String,
}

/// The conditions of a file: all that are given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Match {
    names: Vec<String>,
    original_names: Vec<String>,
    macs: Vec<Mac>,
    drivers: Vec<String>,
    types: Vec<String>,
    kinds: Vec<String>,
    paths: Vec<String>,
    any: bool,
    /// Those on the machine, which [`super::Set::for_machine`] looks at.
    pub conditions: Conditions,
}

impl Match {
    /// Whether no condition is given, which systemd refuses.
    pub fn is_empty(&self) -> bool {
        !self.any
    }

    pub(super) fn take(&mut self, kind: &str, line: &Line) -> Result<(), Fault> {
        let value = line.entry.value.as_str();
        if let Some(taken) = self.conditions.take(line) {
            self.any |= taken.is_ok() && !value.is_empty();
            return taken;
        }
        // A link that is yet to be made has no properties.
        if kind == "netdev" {
            return Err(line.not_read(kind));
        }
        let list = match line.entry.key.as_str() {
            "Name" => &mut self.names,
            "OriginalName" if kind == "link" => &mut self.original_names,
            "Driver" => &mut self.drivers,
            "Type" => &mut self.types,
            "Kind" => &mut self.kinds,
            "Path" => &mut self.paths,
            "MACAddress" | "PermanentMACAddress" => {
                if value.is_empty() {
                    self.macs.clear();
                }
                for word in value.split_ascii_whitespace() {
                    self.macs
                        .push(word.parse().map_err(|()| line.value_fault("a list of hardware addresses"))?);
                }
                self.any = true;
                return Ok(());
            }
            _ => return Err(line.not_read(kind)),
        };
        if value.is_empty() {
            list.clear();
            return Ok(());
        }
        self.any = true;
        list.extend(value.split_ascii_whitespace().map(str::to_owned));
        Ok(())
    }

    /// Whether a link is meant.
    pub fn accepts(&self, link: &Candidate) -> bool {
        let names = || std::iter::once(&link.name).chain(&link.alternative_names).map(String::as_str);
        any(&self.names, names())
            && any(&self.original_names, names())
            && (self.macs.is_empty() || link.mac.is_some_and(|mac| self.macs.contains(&mac)))
            && any(&self.drivers, [link.driver.as_str()])
            && any(&self.types, [link.kind_of_type.as_str()])
            && any(&self.kinds, [link.kind.as_str()])
            && any(&self.paths, [link.path.as_str()])
    }
}

/// Whether a list of patterns accepts one of the texts. Patterns behind a first `!` are what must
/// not be (systemd.network(5)).
fn any<'a>(patterns: &[String], texts: impl IntoIterator<Item = &'a str>) -> bool {
    let Some(first) = patterns.first() else { return true };
    let negated = first.starts_with('!');
    // What a link does not have matches nothing: `Kind=!*` means devices.
    let found = texts
        .into_iter()
        .filter(|text| !text.is_empty())
        .any(|text| patterns.iter().any(|pattern| glob(pattern.strip_prefix('!').unwrap_or(pattern), text)));
    found != negated
}

#[cfg(test)]
mod tests {
    use super::super::{Network, Source};
    use super::*;
    use std::path::Path;

    fn accepts(text: &str, link: &Candidate) -> bool {
        let mut problems = Vec::new();
        let source = Source::one(Path::new("a.network"), format!("[Match]\n{text}\n").as_bytes());
        let network = Network::parse(&source, &mut problems).unwrap();
        assert_eq!(problems, []);
        network.matcher.accepts(link)
    }

    #[test]
    fn every_condition_must_hold() {
        let link = Candidate {
            name: "ens3".into(),
            alternative_names: vec!["lan".into()],
            mac: Some(Mac([2, 0, 0, 0, 0, 1])),
            driver: "virtio_net".into(),
            kind_of_type: "ether".into(),
            path: "pci-0000:00:03.0".into(),
            kind: String::new(),
        };
        for (text, wanted) in [
            ("Name=eth* en*", true),
            ("Name=lan", true),
            ("Name=!eth* wl*", true),
            ("Name=!en*", false),
            ("Name=en*\nDriver=e1000", false),
            ("MACAddress=02:00:00:00:00:02 02:00:00:00:00:01", true),
            ("MACAddress=02:00:00:00:00:02", false),
            ("Type=ether\nPath=pci-*:03.0\nDriver=virtio*", true),
            ("Kind=bridge", false),
            ("Type=ether\nKind=!*", true),
            ("Name=eth*\nName=\nName=ens3", true),
        ] {
            assert_eq!(accepts(text, &link), wanted, "{text}");
        }
    }
}
