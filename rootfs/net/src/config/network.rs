//! `.network` files: what is set up on the links that match.

use super::value::{Mac, Prefixed, boolean, bytes, domain, link_name};
use super::{Fault, Line, Match, Problem, Section, Source, not_read, sections};
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

/// `LinkLocalAddressing=`, of which IPv6's part is the kernel's to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LinkLocal {
    /// An address of `fe80::/10`.
    #[default]
    Ipv6,
    /// None.
    No,
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
}

/// `[Route]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
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
        self.link_local == LinkLocal::Ipv6
            && self.master.is_none()
            && self.accept_ra.unwrap_or(self.forward_ipv6 != Some(true))
    }

    fn link(&mut self, line: &Line) -> Result<(), Fault> {
        let value = line.entry.value.as_str();
        match line.entry.key.as_str() {
            "MACAddress" => self.mac = optional(line, "a hardware address", |text| text.parse().ok())?,
            "MTUBytes" => {
                self.mtu =
                    optional(line, "a number of bytes from 68", |text| bytes(text).filter(|n| *n >= 68))?;
            }
            "Unmanaged" => self.unmanaged = flag(line, false)?,
            "RequiredForOnline" => {
                // A range MIN:MAX needs its least state.
                let least = value.split(':').next().unwrap_or(value);
                self.required_for_online = match (boolean(value), least) {
                    (Some(true), _) | (None, "") => Some(OperState::Degraded),
                    (Some(false), _) => None,
                    (None, least) => Some(
                        least.parse().map_err(|()| line.value_fault("yes, no or an operational state"))?,
                    ),
                }
            }
            "ActivationPolicy" => {
                self.activation = match value {
                    "up" | "" => Activation::Up,
                    "manual" => Activation::Manual,
                    "down" => Activation::Down,
                    "always-up" | "always-down" | "bound" => return Err(line.unsupported()),
                    _ => return Err(line.value_fault("up, down or manual")),
                }
            }
            _ => return Err(line.not_read("network")),
        }
        Ok(())
    }

    fn network(&mut self, line: &Line) -> Result<(), Fault> {
        let value = line.entry.value.as_str();
        match line.entry.key.as_str() {
            "Description" => {}
            "DHCP" => {
                (self.dhcp4, self.dhcp6) = match (boolean(value), value) {
                    (Some(both), _) => (both, both),
                    (_, "both") => (true, true),
                    (_, "ipv4" | "v4") => (true, false),
                    (_, "ipv6" | "v6") => (false, true),
                    (_, "" | "none") => (false, false),
                    _ => return Err(line.value_fault("yes, no, ipv4 or ipv6")),
                }
            }
            "Address" => {
                if value.is_empty() {
                    self.addresses.clear();
                    return Ok(());
                }
                let address = address_of(value).ok_or_else(|| line.value_fault("ADDRESS/LENGTH"))?;
                self.addresses.push(StaticAddress { address, scope: None, deprecated: false });
            }
            "Gateway" => {
                if value.is_empty() {
                    self.routes.clear();
                    return Ok(());
                }
                let mut route = StaticRoute::default();
                gateway(&mut route, line)?;
                self.routes.push(route);
            }
            "DNS" => list(&mut self.dns, line, "a list of addresses", |word| word.parse().ok())?,
            "NTP" => list(&mut self.ntp, line, "a list of names or addresses", host_name)?,
            "Domains" => {
                if value.is_empty() {
                    self.domains.clear();
                    self.route_domains.clear();
                }
                for word in value.split_ascii_whitespace() {
                    let (into, name) = match word.strip_prefix('~') {
                        Some(name) => (&mut self.route_domains, name),
                        None => (&mut self.domains, word),
                    };
                    let name = if name == "." { Some(".") } else { domain(name) };
                    let name = name.ok_or_else(|| line.value_fault("a list of domains"))?.to_owned();
                    if !into.contains(&name) {
                        into.push(name);
                    }
                }
            }
            "DNSDefaultRoute" => self.dns_default_route = optional(line, "yes or no", boolean)?,
            "LLMNR" => {
                self.llmnr = match (boolean(value), value) {
                    (Some(true), _) | (None, "") => "yes",
                    (Some(false), _) => "no",
                    (_, "resolve") => "resolve",
                    _ => return Err(line.value_fault("yes, no or resolve")),
                }
            }
            "VLAN" | "VXLAN" => {
                list(&mut self.upper, line, "a list of links", |word| link_name(word).map(str::to_owned))?;
            }
            "Bridge" | "Bond" => {
                self.master = optional(line, "a link's name", |text| link_name(text).map(str::to_owned))?;
            }
            "IPForward" => {
                (self.forward_ipv4, self.forward_ipv6) = match (boolean(value), value) {
                    (Some(both), _) => (Some(both), Some(both)),
                    (_, "ipv4") => (Some(true), None),
                    (_, "ipv6") => (None, Some(true)),
                    (_, "kernel" | "") => (None, None),
                    _ => return Err(line.value_fault("yes, no, ipv4 or ipv6")),
                }
            }
            "IPv4Forwarding" => self.forward_ipv4 = optional(line, "yes or no", boolean)?,
            "IPv6Forwarding" => self.forward_ipv6 = optional(line, "yes or no", boolean)?,
            "LinkLocalAddressing" => {
                self.link_local = match (boolean(value), value) {
                    (_, "ipv6" | "") => LinkLocal::Ipv6,
                    (Some(false), _) => LinkLocal::No,
                    // RFC 3927 is not spoken.
                    (Some(true), _) | (_, "ipv4") => return Err(line.unsupported()),
                    _ => return Err(line.value_fault("ipv6 or no")),
                }
            }
            "IPv6AcceptRA" | "IPv6AcceptRouterAdvertisements" => {
                self.accept_ra = optional(line, "yes or no", boolean)?;
            }
            "DefaultRouteOnDevice" => self.default_route_on_device = flag(line, false)?,
            "ConfigureWithoutCarrier" => self.configure_without_carrier = flag(line, false)?,
            _ => return Err(line.not_read("network")),
        }
        Ok(())
    }

    fn dhcpv4(&mut self, line: &Line) -> Result<(), Fault> {
        let options = &mut self.dhcpv4;
        match line.entry.key.as_str() {
            "UseDNS" => options.use_dns = flag(line, true)?,
            "UseNTP" => options.use_ntp = flag(line, true)?,
            "UseRoutes" => options.use_routes = flag(line, true)?,
            "UseMTU" => options.use_mtu = flag(line, false)?,
            "UseHostname" => options.use_hostname = flag(line, true)?,
            "UseDomains" => options.use_domains = use_domains(line)?,
            "SendHostname" => options.send_hostname = flag(line, true)?,
            "Hostname" => {
                options.hostname = optional(line, "a host name", |text| domain(text).map(str::to_owned))?;
            }
            "RouteMetric" => options.route_metric = number(line)?.unwrap_or(1024),
            "SendRelease" => options.send_release = flag(line, true)?,
            "SendDecline" => options.send_decline = flag(line, true)?,
            "ClientIdentifier" => {
                options.client_id_is_mac = match line.entry.value.as_str() {
                    "mac" => true,
                    "duid" | "" => false,
                    "duid-only" => return Err(line.unsupported()),
                    _ => return Err(line.value_fault("mac or duid")),
                }
            }
            _ => return Err(line.not_read("network")),
        }
        Ok(())
    }

    fn dhcpv6(&mut self, line: &Line) -> Result<(), Fault> {
        let options = &mut self.dhcpv6;
        match line.entry.key.as_str() {
            "UseDNS" => options.use_dns = flag(line, true)?,
            "UseNTP" => options.use_ntp = flag(line, true)?,
            "UseAddress" => options.use_address = flag(line, true)?,
            "UseDomains" => options.use_domains = use_domains(line)?,
            "WithoutRA" => {
                options.without_ra = match line.entry.value.as_str() {
                    "solicit" => true,
                    "no" | "" => false,
                    "information-request" => return Err(line.unsupported()),
                    _ => return Err(line.value_fault("no or solicit")),
                }
            }
            _ => return Err(line.not_read("network")),
        }
        Ok(())
    }

    fn ra(&mut self, line: &Line) -> Result<(), Fault> {
        match line.entry.key.as_str() {
            "UseDNS" => self.ra.use_dns = flag(line, true)?,
            "UseDomains" => self.ra.use_domains = use_domains(line)?,
            "DHCPv6Client" => {
                (self.ra.start_dhcp6, self.ra.always_dhcp6) =
                    match (boolean(&line.entry.value), line.entry.value.as_str()) {
                        (Some(start), _) => (start, false),
                        (_, "always") => (true, true),
                        (_, "") => (true, false),
                        _ => return Err(line.value_fault("yes, no or always")),
                    }
            }
            _ => return Err(line.not_read("network")),
        }
        Ok(())
    }

    fn address(&mut self, section: &Section, problems: &mut Vec<Problem>) {
        let mut address = None;
        let mut built = (None, false);
        for line in &section.lines {
            let mut take = || {
                match line.entry.key.as_str() {
                    "Address" => address = optional(line, "ADDRESS/LENGTH", address_of)?,
                    "Scope" => built.0 = optional(line, "global, link, host or a number", scope)?,
                    "PreferredLifetime" => {
                        built.1 = match line.entry.value.as_str() {
                            "0" => true,
                            "forever" | "infinity" | "" => false,
                            _ => return Err(line.value_fault("forever or 0")),
                        }
                    }
                    _ => return Err(line.not_read("network")),
                }
                Ok(())
            };
            if let Err(fault) = take() {
                problems.push(line.problem(fault));
            }
        }
        match (address, section.lines.first()) {
            (Some(address), _) => {
                self.addresses.push(StaticAddress { address, scope: built.0, deprecated: built.1 });
            }
            (None, Some(line)) => problems.push(line.problem(Fault::Incomplete("Address", "Address="))),
            (None, None) => {}
        }
    }

    fn route(&mut self, section: &Section, problems: &mut Vec<Problem>) {
        let mut route = StaticRoute::default();
        for line in &section.lines {
            let mut take = || {
                match line.entry.key.as_str() {
                    "Destination" => {
                        route.destination = match line.entry.value.as_str() {
                            "default" => None,
                            _ => optional(line, "ADDRESS/LENGTH", |text| text.parse().ok())?
                                .map(Prefixed::network),
                        }
                    }
                    "Gateway" => gateway(&mut route, line)?,
                    "GatewayOnLink" | "GatewayOnlink" => route.on_link = flag(line, false)?,
                    "Metric" => route.metric = number(line)?,
                    "Table" => {
                        route.table =
                            optional(line, "default, main, local or a number from 1", |text| match text {
                                "default" => Some(253),
                                "main" => Some(254),
                                "local" => Some(255),
                                _ => text.parse().ok().filter(|number| *number > 0),
                            })?;
                    }
                    "Scope" => route.scope = optional(line, "global, link, host or a number", scope)?,
                    "PreferredSource" => {
                        route.source = optional(line, "an address", |text| text.parse().ok())?;
                    }
                    "Type" => {
                        route.kind = match line.entry.value.as_str() {
                            "unicast" | "" => RouteType::Unicast,
                            "blackhole" => RouteType::Blackhole,
                            "unreachable" => RouteType::Unreachable,
                            "prohibit" => RouteType::Prohibit,
                            "local" | "broadcast" | "anycast" | "multicast" | "throw" | "nat"
                            | "xresolve" => {
                                return Err(line.unsupported());
                            }
                            _ => return Err(line.value_fault("unicast, blackhole, unreachable or prohibit")),
                        }
                    }
                    _ => return Err(line.not_read("network")),
                }
                Ok(())
            };
            if let Err(fault) = take() {
                problems.push(line.problem(fault));
            }
        }
        let has_gateway = route.gateway.is_some() || route.gateway_of_dhcp4 || route.gateway_of_ra;
        if let (false, None, Some(line)) = (has_gateway, route.destination, section.lines.first()) {
            problems.push(line.problem(Fault::Incomplete("Route", "Gateway= or Destination=")));
            return;
        }
        if let (Some(gateway), Some(destination)) = (route.gateway, route.destination)
            && gateway.is_ipv4() != destination.address.is_ipv4()
            && let Some(line) = section.lines.first()
        {
            problems.push(line.problem(Fault::Incomplete("Route", "gateway of its destination's family")));
            return;
        }
        self.routes.push(route);
    }
}

/// A value that an empty assignment resets.
fn optional<T>(
    line: &Line,
    wanted: &'static str,
    read: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, Fault> {
    if line.entry.value.is_empty() {
        return Ok(None);
    }
    read(&line.entry.value).map(Some).ok_or_else(|| line.value_fault(wanted))
}

fn flag(line: &Line, default: bool) -> Result<bool, Fault> {
    Ok(optional(line, "yes or no", boolean)?.unwrap_or(default))
}

fn number(line: &Line) -> Result<Option<u32>, Fault> {
    optional(line, "a number", |text| text.parse().ok())
}

/// A list of words that an empty assignment empties. A bad word leaves the list as it was.
fn list<T: PartialEq>(
    into: &mut Vec<T>,
    line: &Line,
    wanted: &'static str,
    read: impl Fn(&str) -> Option<T>,
) -> Result<(), Fault> {
    let words: Option<Vec<T>> = line.entry.value.split_ascii_whitespace().map(read).collect();
    let words = words.ok_or_else(|| line.value_fault(wanted))?;
    if words.is_empty() {
        into.clear();
    }
    for word in words {
        if !into.contains(&word) {
            into.push(word);
        }
    }
    Ok(())
}

/// A static address: no multicast, and not the unspecified one, which systemd takes from a pool.
fn address_of(text: &str) -> Option<Prefixed> {
    text.parse()
        .ok()
        .filter(|found: &Prefixed| !found.address.is_unspecified() && !found.address.is_multicast())
}

fn host_name(text: &str) -> Option<String> {
    (text.parse::<IpAddr>().is_ok() || domain(text).is_some()).then(|| text.to_owned())
}

fn gateway(route: &mut StaticRoute, line: &Line) -> Result<(), Fault> {
    (route.gateway, route.gateway_of_dhcp4, route.gateway_of_ra) = match line.entry.value.as_str() {
        "_dhcp4" | "_dhcp" => (None, true, false),
        "_ipv6ra" => (None, false, true),
        "" => (None, false, false),
        text => {
            let wanted = "an address, _dhcp4 or _ipv6ra";
            let address: IpAddr = text.parse().map_err(|_| line.value_fault(wanted))?;
            if address.is_unspecified() || address.is_multicast() {
                return Err(line.value_fault(wanted));
            }
            (Some(address), false, false)
        }
    };
    Ok(())
}

fn scope(text: &str) -> Option<u8> {
    match text {
        "global" => Some(0),
        "site" => Some(200),
        "link" => Some(253),
        "host" => Some(254),
        _ => text.parse().ok(),
    }
}

fn use_domains(line: &Line) -> Result<UseDomains, Fault> {
    Ok(match (boolean(&line.entry.value), line.entry.value.as_str()) {
        (Some(true), _) => UseDomains::Yes,
        (Some(false), _) | (None, "") => UseDomains::No,
        (None, "route") => UseDomains::Route,
        _ => return Err(line.value_fault("yes, no or route")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn parse(text: &str) -> (Option<Network>, Vec<String>) {
        let mut problems = Vec::new();
        let network = Network::parse(&Source::one(Path::new("n"), text.as_bytes()), &mut problems);
        (network, problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_file_with_much_in_it() {
        let (network, problems) = parse(
            "[Match]\nName=eth0\n[Link]\nMTUBytes=1400\nRequiredForOnline=routable\n[Network]\nDHCP=ipv4\n\
             Address=192.0.2.5/24\nAddress=2001:db8::5/64\nGateway=192.0.2.1\nDNS=192.0.2.2 2001:db8::2\nDNS=192.0.2.3\n\
             Domains=example.org ~corp.example ~.\nNTP=time.example\nVLAN=vlan5\nVLAN=vlan6\nIPForward=ipv4\n\
             [Address]\nAddress=192.0.2.6/24\nPreferredLifetime=0\n[Route]\nDestination=198.51.100.0/24\n\
             Gateway=192.0.2.9\nMetric=7\nTable=100\n[Route]\nDestination=203.0.113.7\nScope=link\n\
             [DHCPv4]\nUseDNS=no\nRouteMetric=5\nClientIdentifier=mac\n",
        );
        let network = network.unwrap();
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!((network.dhcp4, network.dhcp6, network.mtu), (true, false, Some(1400)));
        assert_eq!(network.required_for_online, Some(OperState::Routable));
        assert_eq!(network.addresses.len(), 3);
        assert!(network.addresses[2].deprecated);
        assert_eq!(network.dns.len(), 3);
        assert_eq!((network.domains.len(), network.route_domains.join(" ")), (1, "corp.example .".into()));
        assert_eq!(network.upper, ["vlan5", "vlan6"]);
        assert_eq!((network.forward_ipv4, network.forward_ipv6), (Some(true), None));
        assert_eq!(network.routes.len(), 3);
        assert_eq!((network.routes[1].metric, network.routes[1].table), (Some(7), Some(100)));
        assert_eq!(network.routes[2].destination.unwrap().to_string(), "203.0.113.7/32");
        assert!(!network.dhcpv4.use_dns && network.dhcpv4.client_id_is_mac);
    }

    #[test]
    fn every_line_that_changes_nothing_has_its_place() {
        let (network, problems) = parse(
            "[Match]\nName=*\n[Network]\nDHCP=perhaps\nDhcp=yes\nMulticastDNS=yes\nLinkLocalAddressing=ipv4\n[Bridge]\nCost=5\n\
             [Netwerk]\nDHCP=yes\n[Route]\nMetric=5\n[Address]\nScope=link\nnonsense\n[Route]\nGateway=::1\nDestination=10.0.0.0/8\n",
        );
        assert!(network.is_some());
        assert_eq!(
            problems,
            [
                "n:16: warning: `nonsense` is neither a [Section] nor a Key=value",
                "n:4: error: `DHCP=perhaps`: yes, no, ipv4 or ipv6 is wanted",
                "n:5: warning: unknown key `Dhcp=` in section [Network]",
                "n:6: error: [Network] MulticastDNS= is not supported",
                "n:7: error: [Network] LinkLocalAddressing=ipv4 is not supported",
                "n:9: error: [Bridge] section is not supported",
                "n:11: warning: unknown section [Netwerk]",
                "n:13: error: section [Route] has no Gateway= or Destination=, so it is left out",
                "n:15: error: section [Address] has no Address=, so it is left out",
                "n:18: error: section [Route] has no gateway of its destination's family, so it is left out",
            ]
        );
    }

    #[test]
    fn a_file_that_would_be_for_every_link_by_mistake_is_left_out() {
        let (network, problems) = parse("[Network]\nDHCP=yes\n");
        assert_eq!((network, problems.len()), (None, 1));
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in "(\\[(Match|Link|Network|Address|Route|DHCPv4)\\]\n|[A-Za-z]{1,9}=[ -~]{0,20}\n){0,9}") {
            parse(&text);
        }
    }
}
