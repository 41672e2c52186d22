//! `.netdev` files: links that are made.

use super::value::{Mac, bytes, link_name};
use super::{Fault, Line, Match, Problem, Source, not_read, sections};
use std::net::IpAddr;
use std::path::PathBuf;

/// What is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A switch.
    Bridge {
        /// `STP=`.
        stp: Option<bool>,
        /// `ForwardDelaySec=`, in hundredths of a second.
        forward_delay: Option<u32>,
        /// `VLANFiltering=`.
        vlan_filtering: Option<bool>,
        /// `MulticastSnooping=`.
        multicast_snooping: Option<bool>,
    },
    /// A VLAN on a link whose file names it.
    Vlan {
        /// `Id=`, 0 to 4094.
        id: u16,
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
    Bond {
        /// `Mode=`, the kernel's number.
        mode: u8,
        /// `MIIMonitorSec=`, milliseconds.
        monitor_ms: Option<u32>,
    },
    /// A link to nowhere.
    Dummy,
}

impl Kind {
    /// The kernel's word.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Bridge { .. } => "bridge",
            Self::Vlan { .. } => "vlan",
            Self::Vxlan { .. } => "vxlan",
            Self::Veth { .. } => "veth",
            Self::Bond { .. } => "bond",
            Self::Dummy => "dummy",
        }
    }

    /// The kernel's module for it.
    pub fn module(&self) -> &'static str {
        match self {
            Self::Vlan { .. } => "8021q",
            Self::Bond { .. } => "bonding",
            other => other.name(),
        }
    }

    /// Whether it is made only on top of a link that names it.
    pub fn needs_lower(&self) -> bool {
        matches!(self, Self::Vlan { .. } | Self::Vxlan { independent: false, .. })
    }
}

/// A `.netdev` file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Netdev {
    /// The file.
    pub path: PathBuf,
    /// Name of the link.
    pub name: String,
    /// What it is.
    pub kind: Kind,
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
    stp: Option<bool>,
    forward_delay: Option<u32>,
    vlan_filtering: Option<bool>,
    multicast_snooping: Option<bool>,
    vni: Option<u32>,
    remote: Option<IpAddr>,
    local: Option<IpAddr>,
    port: Option<u16>,
    learning: Option<bool>,
    independent: Option<bool>,
    peer: Option<String>,
    peer_mac: Option<Mac>,
    mode: Option<u8>,
    monitor_ms: Option<u32>,
}

const MODES: [&str; 7] =
    ["balance-rr", "active-backup", "balance-xor", "broadcast", "802.3ad", "balance-tlb", "balance-alb"];

impl Netdev {
    /// Reads a file; `None` when it does not say what to make.
    pub fn parse(source: &Source, problems: &mut Vec<Problem>) -> Option<Self> {
        let mut raw = Raw::default();
        let mut matcher = Match::default();
        for section in &sections(source, problems) {
            if !["NetDev", "Match", "VLAN", "Bridge", "VXLAN", "Peer", "Bond"]
                .contains(&section.name.as_str())
            {
                not_read("netdev", section, problems);
                continue;
            }
            for line in &section.lines {
                let taken =
                    if section.name == "Match" { matcher.take("netdev", line) } else { raw.take(line) };
                // A condition on the machine that is not looked at must not be taken for true.
                let taken = match taken {
                    Ok(()) if section.name == "Match" => Err(line.unsupported()),
                    other => other,
                };
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
        Some(Self { path: source.path.clone(), name, kind, mac: raw.mac, mtu: raw.mtu })
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
            ("Bridge", "STP") => self.stp = boolean()?,
            ("Bridge", "ForwardDelaySec") => {
                self.forward_delay = read(
                    line,
                    "a number of seconds up to 30",
                    value.parse().ok().filter(|n: &u32| *n <= 30),
                )?
                .map(|n| n * 100);
            }
            ("Bridge", "VLANFiltering") => self.vlan_filtering = boolean()?,
            ("Bridge", "MulticastSnooping") => self.multicast_snooping = boolean()?,
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
            ("Bond", "Mode") => {
                self.mode = read(
                    line,
                    "a mode of bonding",
                    MODES.iter().position(|mode| *mode == value).map(|at| at as u8),
                )?;
            }
            ("Bond", "MIIMonitorSec") => {
                let number = value.strip_suffix("ms").map_or_else(
                    || {
                        value
                            .strip_suffix('s')
                            .unwrap_or(value)
                            .parse::<u32>()
                            .ok()
                            .and_then(|n| n.checked_mul(1000))
                    },
                    |number| number.parse::<u32>().ok(),
                );
                self.monitor_ms = read(line, "a time, in s or ms", number)?;
            }
            _ => return Err(line.not_read("netdev")),
        }
        Ok(())
    }

    fn kind(&mut self) -> Result<Kind, Fault> {
        Ok(match self.kind.as_deref() {
            Some("bridge") => Kind::Bridge {
                stp: self.stp,
                forward_delay: self.forward_delay,
                vlan_filtering: self.vlan_filtering,
                multicast_snooping: self.multicast_snooping,
            },
            Some("vlan") => Kind::Vlan { id: self.vlan_id.ok_or(Fault::Incomplete("VLAN", "Id="))? },
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
            Some("bond") => Kind::Bond { mode: self.mode.unwrap_or(0), monitor_ms: self.monitor_ms },
            Some("dummy") => Kind::Dummy,
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
        let (vlan, problems) = parse("[NetDev]\nName=v5\nKind=vlan\nMTUBytes=1400\n[VLAN]\nId=5\n");
        let vlan = vlan.unwrap();
        assert_eq!((vlan.kind, vlan.mtu, problems.len()), (Kind::Vlan { id: 5 }, Some(1400), 0));
        let (bond, _) = parse("[NetDev]\nName=b\nKind=bond\n[Bond]\nMode=802.3ad\nMIIMonitorSec=100ms\n");
        assert_eq!(bond.unwrap().kind, Kind::Bond { mode: 4, monitor_ms: Some(100) });
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
        let (netdev, problems) =
            parse("[NetDev]\nName=d\nKind=dummy\n[VLAN]\nId=4095\nGVRP=yes\n[Match]\nHost=x\n");
        assert!(netdev.is_some());
        assert_eq!(problems.len(), 3, "{problems:?}");
    }
}
