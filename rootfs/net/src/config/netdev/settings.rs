//! Settings of links that are made, as a table: systemd's key, the kernel's attribute
//! (`linux/if_link.h`: `IFLA_BR_…`, `IFLA_BOND_…`, …) and the form of the value.

use crate::config::value::{boolean, milliseconds};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// Attributes of `IFLA_INFO_DATA`, each as the kernel's bytes.
pub type Settings = BTreeMap<u16, Vec<u8>>;

/// The form of a value.
#[derive(Clone, Copy)]
enum Form {
    /// `yes` or `no`.
    Flag,
    /// A number of this range.
    Number(u32, u32),
    /// A time, in hundredths of a second (`clock_t`), of so many seconds.
    Hundredths(u32, u32),
    /// A time in milliseconds.
    Milliseconds,
    /// A time in whole seconds.
    Seconds,
    /// One of these, from 0.
    Word(&'static [&'static str]),
    /// One of these, each with the kernel's number.
    Named(&'static [(&'static str, u32)]),
}

/// Bytes of a number of the kernel.
#[derive(Clone, Copy)]
enum Width {
    One,
    Two,
    Four,
    /// Two, in the order of the network.
    Protocol,
}

use Form::{Flag, Hundredths, Milliseconds, Named, Number, Seconds, Word};
use Width::{Four, One, Protocol, Two};

type Row = (&'static str, u16, Width, Form);

const PROTOCOLS: &[(&str, u32)] = &[("802.1q", 0x8100), ("802.1ad", 0x88a8)];

const BRIDGE: &[Row] = &[
    ("ForwardDelaySec", 1, Four, Hundredths(0, 30)),
    ("HelloTimeSec", 2, Four, Hundredths(1, 10)),
    ("MaxAgeSec", 3, Four, Hundredths(6, 40)),
    ("AgeingTimeSec", 4, Four, Hundredths(0, 1_000_000)),
    ("STP", 5, Four, Flag),
    ("Priority", 6, Two, Number(0, 65535)),
    ("VLANFiltering", 7, One, Flag),
    ("VLANProtocol", 8, Protocol, Named(PROTOCOLS)),
    ("GroupForwardMask", 9, Two, Number(0, 65535)),
    ("MulticastSnooping", 23, One, Flag),
    ("MulticastQuerier", 25, One, Flag),
    ("DefaultPVID", 39, Two, Number(0, 4094)),
    ("MulticastIGMPVersion", 43, One, Number(2, 3)),
];

const BOND_MODES: &[&str] =
    &["balance-rr", "active-backup", "balance-xor", "broadcast", "802.3ad", "balance-tlb", "balance-alb"];
const HASHES: &[&str] = &["layer2", "layer3+4", "layer2+3", "encap2+3", "encap3+4", "vlan+srcmac"];
const VALIDATE: &[&str] = &["none", "active", "backup", "all", "filter", "filter_active", "filter_backup"];

const BOND: &[Row] = &[
    ("Mode", 1, One, Word(BOND_MODES)),
    ("MIIMonitorSec", 3, Four, Milliseconds),
    ("UpDelaySec", 4, Four, Milliseconds),
    ("DownDelaySec", 5, Four, Milliseconds),
    ("ARPIntervalSec", 7, Four, Milliseconds),
    ("ARPValidate", 9, Four, Word(VALIDATE)),
    ("ARPAllTargets", 10, Four, Word(&["any", "all"])),
    ("PrimaryReselectPolicy", 12, One, Word(&["always", "better", "failure"])),
    ("FailOverMACPolicy", 13, One, Word(&["none", "active", "follow"])),
    ("TransmitHashPolicy", 14, One, Word(HASHES)),
    ("ResendIGMP", 15, Four, Number(0, 255)),
    ("GratuitousARP", 16, One, Number(0, 255)),
    ("AllSlavesActive", 17, One, Flag),
    ("MinLinks", 18, Four, Number(0, u32::MAX)),
    ("LearnPacketIntervalSec", 19, Four, Seconds),
    ("PacketsPerSlave", 20, Four, Number(0, 65535)),
    ("LACPTransmitRate", 21, One, Word(&["slow", "fast"])),
    ("AdSelect", 22, One, Word(&["stable", "bandwidth", "count"])),
    ("AdActorSystemPriority", 24, Two, Number(1, 65535)),
    ("AdUserPortKey", 25, Two, Number(0, 1023)),
    ("DynamicTransmitLoadBalancing", 27, One, Flag),
];

const MACVLAN_MODES: &[(&str, u32)] =
    &[("private", 1), ("vepa", 2), ("bridge", 4), ("passthru", 8), ("source", 16)];
const MACVLAN: &[Row] = &[("Mode", 1, Four, Named(MACVLAN_MODES))];
const IPVLAN: &[Row] = &[
    ("Mode", 1, Two, Named(&[("L2", 0), ("L3", 1), ("L3S", 2)])),
    ("Flags", 2, Two, Named(&[("bridge", 0), ("private", 1), ("vepa", 2)])),
];
const VLAN: &[Row] = &[("Protocol", 5, Protocol, Named(PROTOCOLS))];

/// What became of a key.
pub(super) enum Taken {
    /// It is not in the table.
    Unknown,
    /// The value is not of the key's form, which is this.
    Wrong(&'static str),
    /// It is in the settings.
    Done,
}

/// Takes a key of a section; an empty value takes the setting back.
pub(super) fn take(settings: &mut Settings, section: &str, key: &str, value: &str) -> Taken {
    let table = match section {
        "Bridge" => BRIDGE,
        "Bond" if key == "ARPIPTargets" => return targets(settings, value),
        "Bond" => BOND,
        "MACVLAN" | "MACVTAP" => MACVLAN,
        "IPVLAN" | "IPVTAP" => IPVLAN,
        "VLAN" => VLAN,
        _ => return Taken::Unknown,
    };
    let Some(&(_, attribute, width, form)) = table.iter().find(|(name, ..)| *name == key) else {
        return Taken::Unknown;
    };
    if value.is_empty() {
        settings.remove(&attribute);
        return Taken::Done;
    }
    match form.read(value) {
        Some(number) => {
            settings.insert(attribute, width.bytes(number));
            Taken::Done
        }
        None => Taken::Wrong(form.wanted()),
    }
}

/// `IFLA_BOND_ARP_IP_TARGET`: up to 16 addresses, each an attribute of its place.
fn targets(settings: &mut Settings, value: &str) -> Taken {
    const ATTRIBUTE: u16 = 8;
    const MOST: usize = 16;
    if value.is_empty() {
        settings.remove(&ATTRIBUTE);
        return Taken::Done;
    }
    let addresses: Option<Vec<Ipv4Addr>> =
        value.split_ascii_whitespace().map(|word| word.parse().ok()).collect();
    match addresses {
        Some(addresses) if addresses.len() <= MOST => {
            let nested = addresses.iter().zip(0_u16..).flat_map(|(address, place)| {
                [&8_u16.to_ne_bytes()[..], &place.to_ne_bytes(), &address.octets()].concat()
            });
            settings.insert(ATTRIBUTE, nested.collect());
            Taken::Done
        }
        _ => Taken::Wrong("a list of up to 16 addresses of IPv4"),
    }
}

impl Form {
    fn read(self, value: &str) -> Option<u32> {
        match self {
            Flag => boolean(value).map(u32::from),
            Number(least, most) => value.parse().ok().filter(|number| (least..=most).contains(number)),
            Hundredths(least, most) => {
                let range = least.saturating_mul(1000)..=most.saturating_mul(1000);
                milliseconds(value).filter(|ms| range.contains(ms)).map(|ms| ms / 10)
            }
            Milliseconds => milliseconds(value),
            Seconds => milliseconds(value).map(|ms| ms / 1000),
            Word(words) => words.iter().position(|word| *word == value).map(|at| at as u32),
            Named(words) => {
                words.iter().find(|(word, _)| word.eq_ignore_ascii_case(value)).map(|(_, number)| *number)
            }
        }
    }

    fn wanted(self) -> &'static str {
        match self {
            Flag => "yes or no",
            Number(..) => "a number that the kernel takes",
            Hundredths(..) => "a time that the kernel takes",
            Milliseconds | Seconds => "a time",
            Word(_) | Named(_) => "a word of systemd.netdev(5)",
        }
    }
}

impl Width {
    fn bytes(self, number: u32) -> Vec<u8> {
        match self {
            One => vec![number as u8],
            Two => (number as u16).to_ne_bytes().to_vec(),
            Four => number.to_ne_bytes().to_vec(),
            Protocol => (number as u16).to_be_bytes().to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(section: &str, key: &str, value: &str) -> Option<Settings> {
        let mut settings = Settings::new();
        match take(&mut settings, section, key, value) {
            Taken::Done => Some(settings),
            Taken::Wrong(_) => None,
            Taken::Unknown => panic!("{section} {key}"),
        }
    }

    #[test]
    fn values_are_the_kernels() {
        for (section, key, value, wanted) in [
            ("Bond", "Mode", "802.3ad", Some((1, vec![4]))),
            ("Bond", "MIIMonitorSec", "100ms", Some((3, 100_u32.to_ne_bytes().to_vec()))),
            ("Bond", "MIIMonitorSec", "0.1", Some((3, 100_u32.to_ne_bytes().to_vec()))),
            ("Bond", "LACPTransmitRate", "fast", Some((21, vec![1]))),
            ("Bond", "TransmitHashPolicy", "layer3+4", Some((14, vec![1]))),
            ("Bond", "Mode", "802.3", None),
            ("Bridge", "Priority", "4096", Some((6, 4096_u16.to_ne_bytes().to_vec()))),
            ("Bridge", "HelloTimeSec", "2s", Some((2, 200_u32.to_ne_bytes().to_vec()))),
            ("Bridge", "ForwardDelaySec", "31", None),
            ("Bridge", "VLANProtocol", "802.1ad", Some((8, vec![0x88, 0xa8]))),
            ("Bridge", "STP", "perhaps", None),
            ("MACVLAN", "Mode", "bridge", Some((1, 4_u32.to_ne_bytes().to_vec()))),
            ("IPVLAN", "Mode", "L3S", Some((1, 2_u16.to_ne_bytes().to_vec()))),
        ] {
            assert_eq!(taken(section, key, value), wanted.map(|one| Settings::from([one])), "{key}={value}");
        }
    }

    #[test]
    fn targets_are_attributes_of_their_place() {
        let settings = taken("Bond", "ARPIPTargets", "192.0.2.1 192.0.2.2").unwrap();
        assert_eq!(settings[&8][8..], [8, 0, 1, 0, 192, 0, 2, 2]);
        assert_eq!(taken("Bond", "ARPIPTargets", "192.0.2.1 x"), None);
    }
}
