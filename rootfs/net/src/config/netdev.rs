//! `.netdev` files: links that are made.

mod settings;

use super::value::{Mac, bytes, link_name};
use super::{Fault, Line, Match, Problem, Source, not_read, sections};
pub use settings::Settings;
use settings::Taken;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

/// What is made. What is not here is in the settings of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A switch.
    Bridge,
    /// A VLAN on a link whose file names it.
    Vlan {
        /// `Id=`, 0 to 4094.
        id: u16,
        /// `GVRP=`, `LooseBinding=` and so on: `VLAN_FLAG_…`, and which of them are said.
        flags: (u32, u32),
    },
    /// Ethernet in UDP (RFC 7348).
    Vxlan {
        /// `VNI=`.
        vni: u32,
        /// `Remote=` or `Group=`.
        remote: Option<IpAddr>,
        /// `Local=`.
        local: Option<IpAddr>,
        /// `DestinationPort=`.
        port: u16,
        /// `MacLearning=`.
        learning: Option<bool>,
        /// `Independent=`: made without a link below.
        independent: bool,
    },
    /// A pair.
    Veth {
        /// Name of the other end.
        peer: String,
        /// Hardware address of the other end.
        peer_mac: Option<Mac>,
    },
    /// Several links as one.
    Bond,
    /// A link to nowhere.
    Dummy,
    /// Another hardware address of a link whose file names it.
    Macvlan,
    /// The same, read by a program.
    Macvtap,
    /// Another address of a link whose file names it.
    Ipvlan,
    /// The same, read by a program.
    Ipvtap,
    /// Packets of IP for a program.
    Tun(Tun),
    /// Frames of Ethernet for a program.
    Tap(Tun),
}

/// `[Tun]`, `[Tap]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tun {
    /// `MultiQueue=`.
    pub multi_queue: bool,
    /// `PacketInfo=`: four bytes before each packet.
    pub packet_info: bool,
    /// `VNetHeader=`.
    pub vnet_header: bool,
    /// `User=`, a name or a number: who may use it.
    pub user: Option<String>,
    /// `Group=`.
    pub group: Option<String>,
}

impl Kind {
    /// The kernel's word.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::Vlan { .. } => "vlan",
            Self::Vxlan { .. } => "vxlan",
            Self::Veth { .. } => "veth",
            Self::Bond => "bond",
            Self::Dummy => "dummy",
            Self::Macvlan => "macvlan",
            Self::Macvtap => "macvtap",
            Self::Ipvlan => "ipvlan",
            Self::Ipvtap => "ipvtap",
            Self::Tun(_) => "tun",
            Self::Tap(_) => "tap",
        }
    }

    /// The kernel's module for it.
    pub fn module(&self) -> &'static str {
        match self {
            Self::Vlan { .. } => "8021q",
            Self::Bond => "bonding",
            Self::Tap(_) => "tun",
            other => other.name(),
        }
    }

    /// Whether it is made only on top of a link that names it.
    pub fn needs_lower(&self) -> bool {
        matches!(self, Self::Vlan { .. } | Self::Vxlan { independent: false, .. }) || self.is_slice()
    }

    /// Whether it shares the link below with that link.
    pub fn is_slice(&self) -> bool {
        matches!(self, Self::Macvlan | Self::Macvtap | Self::Ipvlan | Self::Ipvtap)
    }

    /// The section of its settings.
    fn section(&self) -> &'static str {
        match self {
            Self::Bridge => "Bridge",
            Self::Bond => "Bond",
            Self::Vlan { .. } => "VLAN",
            Self::Macvlan => "MACVLAN",
            Self::Macvtap => "MACVTAP",
            Self::Ipvlan => "IPVLAN",
            Self::Ipvtap => "IPVTAP",
            _ => "",
        }
    }
}

/// A `.netdev` file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Netdev {
    /// The file.
    pub path: PathBuf,
    /// Name of the link.
    pub name: String,
    /// Conditions on the machine.
    pub matcher: Match,
    /// What it is.
    pub kind: Kind,
    /// More of it, as the kernel takes it.
    pub settings: Settings,
    /// `MACAddress=`.
    pub mac: Option<Mac>,
    /// `MTUBytes=`.
    pub mtu: Option<u32>,
}

/// What the sections say before it is known what is made.
#[derive(Default)]
struct Raw {
    name: Option<String>,
    kind: Option<String>,
    mac: Option<Mac>,
    mtu: Option<u32>,
    vlan_id: Option<u16>,
    vlan_flags: (u32, u32),
    settings: BTreeMap<String, Settings>,
    tun: BTreeMap<String, Tun>,
    vni: Option<u32>,
    remote: Option<IpAddr>,
    local: Option<IpAddr>,
    port: Option<u16>,
    learning: Option<bool>,
    independent: Option<bool>,
    peer: Option<String>,
    peer_mac: Option<Mac>,
}

const SECTIONS: [&str; 13] = [
    "NetDev", "Match", "VLAN", "Bridge", "VXLAN", "Peer", "Bond", "MACVLAN", "MACVTAP", "IPVLAN", "IPVTAP",
    "Tun", "Tap",
];
/// `VLAN_FLAG_…` (`linux/if_vlan.h`).
const VLAN_FLAGS: [(&str, u32); 4] = [("ReorderHeader", 1), ("GVRP", 2), ("LooseBinding", 4), ("MVRP", 8)];

impl Netdev {
    /// Reads a file; `None` when it does not say what to make.
    pub fn parse(source: &Source, problems: &mut Vec<Problem>) -> Option<Self> {
        let mut raw = Raw::default();
        let mut matcher = Match::default();
        for section in &sections(source, problems) {
            if !SECTIONS.contains(&section.name.as_str()) {
                not_read("netdev", section, problems);
                continue;
            }
            for line in &section.lines {
                let taken =
                    if section.name == "Match" { matcher.take("netdev", line) } else { raw.take(line) };
                if let Err(fault) = taken {
                    problems.push(line.problem(fault));
                }
            }
        }
        let whole = |fault| Problem { path: source.path.clone(), line: 0, fault };
        let kind = match raw.kind() {
            Ok(kind) => kind,
            Err(fault) => {
                problems.push(whole(fault));
                return None;
            }
        };
        let Some(name) = raw.name else {
            problems.push(whole(Fault::Incomplete("NetDev", "Name=")));
            return None;
        };
        let settings = raw.settings.remove(kind.section()).unwrap_or_default();
        Some(Self { path: source.path.clone(), name, matcher, kind, settings, mac: raw.mac, mtu: raw.mtu })
    }
}

impl Raw {
    fn take(&mut self, line: &Line) -> Result<(), Fault> {
        let value = line.entry.value.as_str();
        let boolean = || read(line, "yes or no", super::value::boolean(value));
        let name = || read(line, "a link's name", link_name(value).map(str::to_owned));
        let mac = || read(line, "a hardware address", value.parse().ok());
        let address = || read(line, "an address", value.parse().ok());
        match (line.entry.section.as_str(), line.entry.key.as_str()) {
            ("NetDev", "Description") => {}
            ("NetDev", "Name") => self.name = name()?,
            ("NetDev", "Kind") => self.kind = Some(value.to_owned()).filter(|kind| !kind.is_empty()),
            ("NetDev", "MACAddress") => self.mac = mac()?,
            ("NetDev", "MTUBytes") => {
                self.mtu = read(line, "a number of bytes from 68", bytes(value).filter(|n| *n >= 68))?;
            }
            ("VLAN", "Id") => {
                self.vlan_id =
                    read(line, "a number from 0 to 4094", value.parse().ok().filter(|id| *id < 4095))?;
            }
            ("VLAN", key) if VLAN_FLAGS.iter().any(|(name, _)| *name == key) => {
                let flag = VLAN_FLAGS.iter().find(|(name, _)| *name == key).map_or(0, |(_, flag)| *flag);
                let on = boolean()?;
                self.vlan_flags.0 = (self.vlan_flags.0 & !flag) | if on == Some(true) { flag } else { 0 };
                self.vlan_flags.1 = (self.vlan_flags.1 & !flag) | if on.is_some() { flag } else { 0 };
            }
            (section @ ("Tun" | "Tap"), key) => {
                let tun = self.tun.entry(section.to_owned()).or_default();
                let text = || Some(value.to_owned()).filter(|value| !value.is_empty());
                match key {
                    "MultiQueue" => tun.multi_queue = boolean()?.unwrap_or(false),
                    "PacketInfo" => tun.packet_info = boolean()?.unwrap_or(false),
                    "VNetHeader" => tun.vnet_header = boolean()?.unwrap_or(false),
                    "User" => tun.user = text(),
                    "Group" => tun.group = text(),
                    _ => return Err(line.not_read("netdev")),
                }
            }
            ("VXLAN", "VNI" | "Id") => {
                self.vni =
                    read(line, "a number below 16777216", value.parse().ok().filter(|vni| *vni < 1 << 24))?;
            }
            ("VXLAN", "Remote" | "Group") => self.remote = address()?,
            ("VXLAN", "Local") => self.local = address()?,
            ("VXLAN", "DestinationPort") => {
                self.port = read(line, "a port", value.parse().ok().filter(|port| *port > 0))?;
            }
            ("VXLAN", "MacLearning") => self.learning = boolean()?,
            ("VXLAN", "Independent") => self.independent = boolean()?,
            ("Peer", "Name") => self.peer = name()?,
            ("Peer", "MACAddress") => self.peer_mac = mac()?,
            (section, key) => {
                let settings = self.settings.entry(section.to_owned()).or_default();
                match settings::take(settings, section, key, value) {
                    Taken::Done => {}
                    Taken::Wrong(wanted) => return Err(line.value_fault(wanted)),
                    Taken::Unknown => return Err(line.not_read("netdev")),
                }
            }
        }
        Ok(())
    }

    fn kind(&mut self) -> Result<Kind, Fault> {
        Ok(match self.kind.as_deref() {
            Some("bridge") => Kind::Bridge,
            Some("vlan") => Kind::Vlan {
                id: self.vlan_id.ok_or(Fault::Incomplete("VLAN", "Id="))?,
                flags: self.vlan_flags,
            },
            Some("vxlan") => Kind::Vxlan {
                vni: self.vni.ok_or(Fault::Incomplete("VXLAN", "VNI="))?,
                remote: self.remote,
                local: self.local,
                // IANA's; the kernel's own default is older than that.
                port: self.port.unwrap_or(4789),
                learning: self.learning,
                independent: self.independent.unwrap_or(false),
            },
            Some("veth") => Kind::Veth {
                peer: self.peer.take().ok_or(Fault::Incomplete("Peer", "Name="))?,
                peer_mac: self.peer_mac,
            },
            Some("bond") => Kind::Bond,
            Some("dummy") => Kind::Dummy,
            Some("macvlan") => Kind::Macvlan,
            Some("macvtap") => Kind::Macvtap,
            Some("ipvlan") => Kind::Ipvlan,
            Some("ipvtap") => Kind::Ipvtap,
            Some("tun") => Kind::Tun(self.tun.remove("Tun").unwrap_or_default()),
            Some("tap") => Kind::Tap(self.tun.remove("Tap").unwrap_or_default()),
            Some(other) => return Err(Fault::Unsupported("NetDev".to_owned(), format!("Kind={other}"))),
            None => return Err(Fault::Incomplete("NetDev", "Kind=")),
        })
    }
}

/// A value that an empty assignment resets.
fn read<T>(line: &Line, wanted: &'static str, value: Option<T>) -> Result<Option<T>, Fault> {
    if line.entry.value.is_empty() {
        Ok(None)
    } else {
        value.map(Some).ok_or_else(|| line.value_fault(wanted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn parse(text: &str) -> (Option<Netdev>, Vec<String>) {
        let mut problems = Vec::new();
        let netdev = Netdev::parse(&Source::one(Path::new("n"), text.as_bytes()), &mut problems);
        (netdev, problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn what_is_made() {
        let (vlan, problems) =
            parse("[NetDev]\nName=v5\nKind=vlan\nMTUBytes=1400\n[VLAN]\nId=5\nGVRP=yes\nMVRP=no\n");
        let vlan = vlan.unwrap();
        assert_eq!(
            (vlan.kind, vlan.mtu, problems.len()),
            (Kind::Vlan { id: 5, flags: (2, 10) }, Some(1400), 0)
        );
        let (bond, _) = parse("[NetDev]\nName=b\nKind=bond\n[Bond]\nMode=802.3ad\nMIIMonitorSec=100ms\n");
        let bond = bond.unwrap();
        assert_eq!((bond.kind, bond.settings.len()), (Kind::Bond, 2));
    }

    #[test]
    fn what_is_not() {
        for (text, wanted) in [
            ("[NetDev]\nName=v5\nKind=vlan\n", "n:0: error: section [VLAN] has no Id=, so it is left out"),
            ("[NetDev]\nKind=dummy\n", "n:0: error: section [NetDev] has no Name=, so it is left out"),
            ("[NetDev]\nName=w\nKind=wireguard\n", "n:0: error: [NetDev] Kind=wireguard is not supported"),
        ] {
            assert_eq!(parse(text), (None, vec![wanted.to_owned()]));
        }
        let (netdev, problems) = parse(
            "[NetDev]\nName=d\nKind=dummy\n[VLAN]\nId=4095\nEgressQOSMaps=1-1\n[Match]\nHost=x\nName=x\n",
        );
        assert!(netdev.is_some());
        assert_eq!(problems.len(), 3, "{problems:?}");
    }
}
