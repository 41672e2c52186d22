//! `.network` files: what is set up on the links that match.

mod keys;
mod rule;
#[cfg(test)]
mod test;

use super::value::{Mac, Prefixed};
use super::{Fault, Line, Match, Problem, Source, not_read, sections};
use crate::netlink::rule::Rule;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// What a link must have reached before the machine counts as online (`networkctl list`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OperState {
    /// Not there.
    Missing,
    /// Switched off.
    Off,
    /// No cable.
    NoCarrier,
    /// Its carrier waits for something else.
    Dormant,
    /// A carrier, but a lower layer is down.
    DegradedCarrier,
    /// A carrier, no address.
    Carrier,
    /// An address of this link only.
    Degraded,
    /// A port of a bridge or a bond, which needs no address.
    Enslaved,
    /// A routable address.
    Routable,
}

impl OperState {
    const NAMES: [(Self, &'static str); 9] = [
        (Self::Missing, "missing"),
        (Self::Off, "off"),
        (Self::NoCarrier, "no-carrier"),
        (Self::Dormant, "dormant"),
        (Self::DegradedCarrier, "degraded-carrier"),
        (Self::Carrier, "carrier"),
        (Self::Degraded, "degraded"),
        (Self::Enslaved, "enslaved"),
        (Self::Routable, "routable"),
    ];

    /// systemd's word.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(state, _)| *state == self).map_or("missing", |(_, name)| name)
    }
}

impl FromStr for OperState {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::NAMES.iter().find(|(_, name)| *name == text).map(|(state, _)| *state).ok_or(())
    }
}

/// `ActivationPolicy=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Activation {
    /// Switched on when it is found.
    #[default]
    Up,
    /// Left as it is.
    Manual,
    /// Switched off when it is found.
    Down,
}

/// `LinkLocalAddressing=`, of which IPv6's part is the kernel's to do. Where DHCP for IPv4 is asked
/// for too, the address of 169.254/16 is there only while no server answers (RFC 3927 section 1.9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LinkLocal {
    /// An address of `fe80::/10`.
    #[default]
    Ipv6,
    /// One of 169.254/16.
    Ipv4,
    /// Both.
    Both,
    /// `ipv4-fallback`: that of IPv4, and only where DHCP is asked for.
    Ipv4Fallback,
    /// `fallback`: that of IPv6 and the former.
    Fallback,
    /// None.
    No,
}

impl LinkLocal {
    /// Whether there is one of IPv6.
    pub fn ipv6(self) -> bool {
        matches!(self, Self::Ipv6 | Self::Both | Self::Fallback)
    }

    /// Whether there is one of IPv4, on a link with or without DHCP.
    pub fn ipv4(self, dhcp: bool) -> bool {
        match self {
            Self::Ipv4 | Self::Both => true,
            Self::Ipv4Fallback | Self::Fallback => dhcp,
            Self::Ipv6 | Self::No => false,
        }
    }
}

/// `[Route] Type=`.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize,
)]
pub enum RouteType {
    /// Through a link.
    #[default]
    Unicast,
    /// Dropped in silence.
    Blackhole,
    /// Refused.
    Unreachable,
    /// Refused, as forbidden.
    Prohibit,
    /// For this machine.
    Local,
    /// As if the table had none; the next rule is looked at.
    Throw,
}

impl RouteType {
    /// Whether it is of a link.
    pub fn has_link(self) -> bool {
        matches!(self, Self::Unicast | Self::Local)
    }
}

/// `[Route]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a key of its own")]
pub struct StaticRoute {
    /// Where to; `None` is everywhere.
    pub destination: Option<Prefixed>,
    /// The next machine.
    pub gateway: Option<IpAddr>,
    /// `Gateway=_dhcp4`: the one that DHCP gives.
    pub gateway_of_dhcp4: bool,
    /// `Gateway=_ipv6ra`: the one that a router advertises.
    pub gateway_of_ra: bool,
    /// The sender's address of packets that go there.
    pub source: Option<IpAddr>,
    /// The lowest wins.
    pub metric: Option<u32>,
    /// Routing table.
    pub table: Option<u32>,
    /// How far the destination is: `global` 0, `link` 253, `host` 254.
    pub scope: Option<u8>,
    /// The gateway is on this link, whatever the addresses say.
    pub on_link: bool,
    /// What becomes of packets.
    pub kind: RouteType,
    /// `Source=`: senders that it is for; of IPv6.
    pub from: Option<Prefixed>,
    /// `Protocol=`: who made it, `RTPROT_…`.
    pub protocol: Option<u8>,
    /// `MTUBytes=`.
    pub mtu: u32,
    /// `InitialCongestionWindow=`, `InitialAdvertisedReceiveWindow=`.
    pub windows: (u32, u32),
    /// `QuickAck=`.
    pub quick_ack: bool,
}

/// `[Address]` and `Address=`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticAddress {
    /// The address.
    pub address: Prefixed,
    /// `Scope=`.
    pub scope: Option<u8>,
    /// `PreferredLifetime=0`: not used for new connections.
    pub deprecated: bool,
}

/// `UseDomains=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UseDomains {
    /// Not used.
    #[default]
    No,
    /// Searched.
    Yes,
    /// Only tell which server to ask.
    Route,
}

/// `[DHCPv4]`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a key of its own")]
pub struct Dhcp4 {
    /// Take servers of names.
    pub use_dns: bool,
    /// Take servers of time.
    pub use_ntp: bool,
    /// Take routes.
    pub use_routes: bool,
    /// Take the link's MTU.
    pub use_mtu: bool,
    /// Take the machine's name, if it has none.
    pub use_hostname: bool,
    /// Take the domain.
    pub use_domains: UseDomains,
    /// Tell the machine's name.
    pub send_hostname: bool,
    /// The name to tell instead.
    pub hostname: Option<String>,
    /// Metric of its routes.
    pub route_metric: u32,
    /// Who we are to the server: the hardware address instead of the DUID.
    pub client_id_is_mac: bool,
    /// Give the lease back when the service ends or the link goes.
    pub send_release: bool,
    /// Probe an address before it is used, decline one that another machine has.
    pub send_decline: bool,
}

/// `[DHCPv6]`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a key of its own")]
pub struct Dhcp6 {
    /// Take servers of names.
    pub use_dns: bool,
    /// Take servers of time.
    pub use_ntp: bool,
    /// Take addresses.
    pub use_address: bool,
    /// Take domains.
    pub use_domains: UseDomains,
    /// `WithoutRA=solicit`: do not wait for a router.
    pub without_ra: bool,
}

/// `[IPv6AcceptRA]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptRa {
    /// Take servers of names.
    pub use_dns: bool,
    /// Take domains.
    pub use_domains: UseDomains,
    /// `DHCPv6Client=`: start it when the router says so.
    pub start_dhcp6: bool,
    /// `DHCPv6Client=always`: start it whatever the router says.
    pub always_dhcp6: bool,
}

/// A `.network` file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a key of its own")]
pub struct Network {
    /// The file.
    pub path: PathBuf,
    /// Which links.
    pub matcher: Match,
    /// `MACAddress=`.
    pub mac: Option<Mac>,
    /// `MTUBytes=`.
    pub mtu: Option<u32>,
    /// `Unmanaged=`: matching links are left alone.
    pub unmanaged: bool,
    /// `RequiredForOnline=`: the least state, `None` when the link does not count.
    pub required_for_online: Option<OperState>,
    /// `ActivationPolicy=`.
    pub activation: Activation,
    /// `DHCP=` for IPv4.
    pub dhcp4: bool,
    /// `DHCP=` for IPv6.
    pub dhcp6: bool,
    /// Addresses.
    pub addresses: Vec<StaticAddress>,
    /// Routes, `Gateway=` of `[Network]` included.
    pub routes: Vec<StaticRoute>,
    /// `[RoutingPolicyRule]`.
    pub rules: Vec<Rule>,
    /// `ARP=`, `Multicast=` and so on: `IFF_…`, and which of them are said.
    pub flags: (u32, u32),
    /// Keys that are the kernel's switches, each with its name below `/proc/sys/net` and its value.
    pub switches: BTreeMap<&'static str, String>,
    /// Servers of names.
    pub dns: Vec<IpAddr>,
    /// Domains to search.
    pub domains: Vec<String>,
    /// Domains (`~name`) that only choose the server; `.` is every name.
    pub route_domains: Vec<String>,
    /// `DNSDefaultRoute=`.
    pub dns_default_route: Option<bool>,
    /// Servers of time.
    pub ntp: Vec<String>,
    /// `LLMNR=`: yes, no, resolve.
    pub llmnr: &'static str,
    /// Virtual links on top of this one: `VLAN=`, `VXLAN=`.
    pub upper: Vec<String>,
    /// `Bridge=` or `Bond=`: the link that this one is a port of.
    pub master: Option<String>,
    /// Forward IPv4.
    pub forward_ipv4: Option<bool>,
    /// Forward IPv6.
    pub forward_ipv6: Option<bool>,
    /// `LinkLocalAddressing=`.
    pub link_local: LinkLocal,
    /// `IPv6AcceptRA=`; by default yes, unless packets are forwarded or the link is a port.
    pub accept_ra: Option<bool>,
    /// `DefaultRouteOnDevice=`.
    pub default_route_on_device: bool,
    /// `ConfigureWithoutCarrier=`.
    pub configure_without_carrier: bool,
    /// `[DHCPv4]`.
    pub dhcpv4: Dhcp4,
    /// `[DHCPv6]`.
    pub dhcpv6: Dhcp6,
    /// `[IPv6AcceptRA]`.
    pub ra: AcceptRa,
}

impl Network {
    fn new(path: PathBuf) -> Self {
        Self {
            path,
            matcher: Match::default(),
            mac: None,
            mtu: None,
            unmanaged: false,
            required_for_online: Some(OperState::Degraded),
            activation: Activation::Up,
            dhcp4: false,
            dhcp6: false,
            addresses: Vec::new(),
            routes: Vec::new(),
            rules: Vec::new(),
            flags: (0, 0),
            switches: BTreeMap::new(),
            dns: Vec::new(),
            domains: Vec::new(),
            route_domains: Vec::new(),
            dns_default_route: None,
            ntp: Vec::new(),
            llmnr: "yes",
            upper: Vec::new(),
            master: None,
            forward_ipv4: None,
            forward_ipv6: None,
            link_local: LinkLocal::Ipv6,
            accept_ra: None,
            default_route_on_device: false,
            configure_without_carrier: false,
            dhcpv4: Dhcp4 {
                use_dns: true,
                use_ntp: true,
                use_routes: true,
                use_mtu: false,
                use_hostname: true,
                use_domains: UseDomains::No,
                send_hostname: true,
                hostname: None,
                route_metric: 1024,
                client_id_is_mac: false,
                send_release: true,
                send_decline: true,
            },
            dhcpv6: Dhcp6 {
                use_dns: true,
                use_ntp: true,
                use_address: true,
                use_domains: UseDomains::No,
                without_ra: false,
            },
            ra: AcceptRa {
                use_dns: true,
                use_domains: UseDomains::No,
                start_dhcp6: true,
                always_dhcp6: false,
            },
        }
    }

    /// Reads a file; `None` when it has no `[Match]`.
    pub fn parse(source: &Source, problems: &mut Vec<Problem>) -> Option<Self> {
        let mut network = Self::new(source.path.clone());
        for section in &sections(source, problems) {
            let mut each = |take: &mut dyn FnMut(&Line) -> Result<(), Fault>| {
                for line in &section.lines {
                    if let Err(fault) = take(line) {
                        problems.push(line.problem(fault));
                    }
                }
            };
            match section.name.as_str() {
                "Match" => each(&mut |line| network.matcher.take("network", line)),
                "Link" => each(&mut |line| network.link(line)),
                "Network" => each(&mut |line| network.network(line)),
                "DHCPv4" | "DHCP" => each(&mut |line| network.dhcpv4(line)),
                "DHCPv6" => each(&mut |line| network.dhcpv6(line)),
                "IPv6AcceptRA" | "IPv6AcceptRouterAdvertisements" => each(&mut |line| network.ra(line)),
                "Address" => network.address(section, problems),
                "Route" => network.route(section, problems),
                "RoutingPolicyRule" => network.rule(section, problems),
                _ => not_read("network", section, problems),
            }
        }
        if network.matcher.is_empty() {
            problems.push(Problem { path: source.path.clone(), line: 0, fault: Fault::NoMatch });
            return None;
        }
        Some(network)
    }

    /// Whether router advertisements are taken.
    pub fn accepts_ra(&self) -> bool {
        self.link_local.ipv6()
            && self.master.is_none()
            && self.accept_ra.unwrap_or(self.forward_ipv6 != Some(true))
    }
}
