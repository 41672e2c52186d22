//! What each key of a `.network` file does. An error changes nothing.

use super::super::value::{Prefixed, boolean, bytes, domain, link_name};
use super::super::{Fault, Line, Problem, Section};
use super::{Activation, LinkLocal, Network, OperState, RouteType, StaticAddress, StaticRoute, UseDomains};
use std::net::IpAddr;

impl Network {
    pub(super) fn link(&mut self, line: &Line) -> Result<(), Fault> {
        let value = line.entry.value.as_str();
        match line.entry.key.as_str() {
            "MACAddress" => self.mac = optional(line, "a hardware address", |text| text.parse().ok())?,
            "MTUBytes" => {
                self.mtu =
                    optional(line, "a number of bytes from 68", |text| bytes(text).filter(|n| *n >= 68))?;
            }
            key @ ("ARP" | "Multicast" | "AllMulticast" | "Promiscuous") => {
                // linux/if.h: IFF_NOARP, IFF_MULTICAST, IFF_ALLMULTI, IFF_PROMISC
                let bit = match key {
                    "ARP" => 0x80,
                    "Multicast" => 0x1000,
                    "AllMulticast" => 0x200,
                    _ => 0x100,
                };
                let on = optional(line, "yes or no", boolean)?.map(|on| on != (key == "ARP"));
                self.flags.0 = (self.flags.0 & !bit) | if on == Some(true) { bit } else { 0 };
                self.flags.1 = (self.flags.1 & !bit) | if on.is_some() { bit } else { 0 };
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

    pub(super) fn network(&mut self, line: &Line) -> Result<(), Fault> {
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
            "VLAN" | "VXLAN" | "MACVLAN" | "MACVTAP" | "IPVLAN" | "IPVTAP" => {
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
                    (Some(true), _) => LinkLocal::Both,
                    (_, "ipv4") => LinkLocal::Ipv4,
                    (_, "ipv4-fallback") => LinkLocal::Ipv4Fallback,
                    (_, "fallback") => LinkLocal::Fallback,
                    _ => return Err(line.value_fault("yes, no, ipv4, ipv6, fallback or ipv4-fallback")),
                }
            }
            "IPv6AcceptRA" | "IPv6AcceptRouterAdvertisements" => {
                self.accept_ra = optional(line, "yes or no", boolean)?;
            }
            "DefaultRouteOnDevice" => self.default_route_on_device = flag(line, false)?,
            "ConfigureWithoutCarrier" => self.configure_without_carrier = flag(line, false)?,
            key => {
                let (name, set) = switch(key, value).ok_or_else(|| line.not_read("network"))?;
                if value.is_empty() {
                    self.switches.remove(name);
                } else {
                    let set = set.ok_or_else(|| line.value_fault("a value of systemd.network(5)"))?;
                    self.switches.insert(name, set);
                }
            }
        }
        Ok(())
    }

    pub(super) fn dhcpv4(&mut self, line: &Line) -> Result<(), Fault> {
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

    pub(super) fn dhcpv6(&mut self, line: &Line) -> Result<(), Fault> {
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

    pub(super) fn ra(&mut self, line: &Line) -> Result<(), Fault> {
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

    pub(super) fn address(&mut self, section: &Section, problems: &mut Vec<Problem>) {
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

    pub(super) fn route(&mut self, section: &Section, problems: &mut Vec<Problem>) {
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
                    "Source" => {
                        // The kernel has routes by sender of IPv6 only.
                        route.from = optional(line, "a network of IPv6", |text| {
                            text.parse().ok().filter(|from: &Prefixed| from.address.is_ipv6())
                        })?
                        .map(Prefixed::network);
                    }
                    "Protocol" => route.protocol = optional(line, "a protocol of routes", protocol)?,
                    "MTUBytes" => {
                        route.mtu = optional(line, "a number of bytes from 68", |text| {
                            bytes(text).filter(|n| *n >= 68)
                        })?
                        .unwrap_or(0);
                    }
                    "InitialCongestionWindow" => route.windows.0 = window(line)?,
                    "InitialAdvertisedReceiveWindow" => route.windows.1 = window(line)?,
                    "QuickAck" => route.quick_ack = flag(line, false)?,
                    "GatewayOnLink" | "GatewayOnlink" => route.on_link = flag(line, false)?,
                    "Metric" => route.metric = number(line)?,
                    "Table" => {
                        route.table = optional(line, "default, main, local or a number from 1", table)?;
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
                            "local" => RouteType::Local,
                            "throw" => RouteType::Throw,
                            "broadcast" | "anycast" | "multicast" | "nat" | "xresolve" => {
                                return Err(line.unsupported());
                            }
                            _ => {
                                return Err(line.value_fault(
                                    "unicast, local, blackhole, unreachable, prohibit or throw",
                                ));
                            }
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

/// A table's name or number.
pub(super) fn table(text: &str) -> Option<u32> {
    match text {
        "default" => Some(253),
        "main" => Some(254),
        "local" => Some(255),
        _ => text.parse().ok().filter(|number| *number > 0),
    }
}

fn protocol(text: &str) -> Option<u8> {
    match text {
        "kernel" => Some(2),
        "boot" => Some(3),
        "static" => Some(4),
        "ra" => Some(9),
        "dhcp" => Some(16),
        _ => text.parse().ok(),
    }
}

fn window(line: &Line) -> Result<u32, Fault> {
    Ok(optional(line, "a number from 1 to 1023", |text| text.parse().ok().filter(|n| (1..1024).contains(n)))?
        .unwrap_or(0))
}

/// Keys of `[Network]` that are a switch of the link below `/proc/sys/net`, and what a value sets.
fn switch(key: &str, value: &str) -> Option<(&'static str, Option<String>)> {
    let flag = || boolean(value).map(|on| u8::from(on).to_string());
    let number = |most: u32| value.parse().ok().filter(|number: &u32| *number <= most).map(|n| n.to_string());
    Some(match key {
        "IPv6PrivacyExtensions" => (
            "ipv6/conf/{}/use_tempaddr",
            match (boolean(value), value) {
                (Some(true), _) => Some("2".to_owned()),
                (Some(false), _) => Some("0".to_owned()),
                (_, "prefer-public") => Some("1".to_owned()),
                _ => None,
            },
        ),
        "IPv6DuplicateAddressDetection" => ("ipv6/conf/{}/dad_transmits", number(255)),
        "IPv6HopLimit" => ("ipv6/conf/{}/hop_limit", number(255).filter(|number| number != "0")),
        "IPv6ProxyNDP" => ("ipv6/conf/{}/proxy_ndp", flag()),
        "IPv6MTUBytes" => ("ipv6/conf/{}/mtu", bytes(value).filter(|n| *n >= 1280).map(|n| n.to_string())),
        "IPv4AcceptLocal" => ("ipv4/conf/{}/accept_local", flag()),
        "IPv4RouteLocalnet" => ("ipv4/conf/{}/route_localnet", flag()),
        "IPv4ProxyARP" => ("ipv4/conf/{}/proxy_arp", flag()),
        "IPv4ReversePathFilter" => (
            "ipv4/conf/{}/rp_filter",
            ["no", "strict", "loose"].iter().position(|word| *word == value).map(|at| at.to_string()),
        ),
        _ => return None,
    })
}

/// A value that an empty assignment resets.
pub(super) fn optional<T>(
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

pub(super) fn number(line: &Line) -> Result<Option<u32>, Fault> {
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
