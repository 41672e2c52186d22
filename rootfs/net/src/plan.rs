//! What belongs on a link, from its file and from what servers and routers gave; and the changes
//! that lead there from what is there.

use crate::config::Network;
use crate::config::network::{RouteType, StaticRoute, UseDomains};
use crate::config::value::Prefixed;
use crate::netlink::message::{NewAddress, Route};
use crate::netlink::rule::Rule;
use crate::{dhcp4, dhcp6, router};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// `RTPROT_STATIC`
const STATIC: u8 = 4;
/// `RTPROT_DHCP`
const DHCP: u8 = 16;
/// `RT_TABLE_MAIN`
const MAIN: u32 = 254;
/// `RT_SCOPE_LINK`
const LINK: u8 = 253;
/// Metric of routes of IPv6 without one (`IP6_RT_PRIO_USER`).
const IPV6_METRIC: u32 = 1024;
const EVERYWHERE: Prefixed = Prefixed { address: IpAddr::V4(Ipv4Addr::UNSPECIFIED), length: 0 };
const EVERYWHERE_6: Prefixed = Prefixed { address: IpAddr::V6(Ipv6Addr::UNSPECIFIED), length: 0 };

/// What was given from outside.
#[derive(Debug, Clone, Copy, Default)]
pub struct Given<'a> {
    /// A lease of DHCP for IPv4.
    pub dhcp4: Option<&'a dhcp4::Lease>,
    /// A lease of DHCP for IPv6.
    pub dhcp6: Option<&'a dhcp6::Lease>,
    /// What routers said.
    pub heard: Option<&'a router::Heard>,
    /// The address of 169.254/16 that nobody else has.
    pub ipv4ll: Option<Ipv4Addr>,
}

/// What belongs on a link, or is there by our doing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// Addresses.
    pub addresses: BTreeSet<NewAddress>,
    /// Routes.
    pub routes: BTreeSet<Route>,
    /// Rules that choose the table.
    #[serde(default)]
    pub rules: BTreeSet<Rule>,
}

/// What others need to know of a link: for the resolver and for the clock.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Names {
    /// Servers of names.
    pub dns: Vec<IpAddr>,
    /// Domains to search.
    pub domains: Vec<String>,
    /// Domains that only choose the server.
    pub route_domains: Vec<String>,
    /// Servers of time.
    pub ntp: Vec<String>,
}

impl Names {
    /// Takes what stands twice out.
    pub fn unique(&mut self) {
        unique(&mut self.dns);
        unique(&mut self.domains);
        unique(&mut self.route_domains);
        unique(&mut self.ntp);
    }
}

/// One change of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Take a route away.
    RemoveRoute(Route),
    /// Take an address off.
    RemoveAddress(NewAddress),
    /// Set an address.
    SetAddress(NewAddress),
    /// Set a route.
    SetRoute(Route),
    /// Take a rule away.
    RemoveRule(Rule),
    /// Set a rule.
    SetRule(Rule),
}

/// What belongs on a link.
pub fn content(network: &Network, given: Given<'_>) -> Content {
    let mut content = Content::default();
    for fixed in &network.addresses {
        content.addresses.insert(NewAddress {
            address: fixed.address,
            scope: fixed.scope.unwrap_or(scope_of(fixed.address.address)),
            deprecated: fixed.deprecated,
            no_prefix_route: false,
        });
    }
    for fixed in &network.routes {
        content.routes.extend(route(fixed, given));
    }
    content.rules.extend(network.rules.iter().cloned());
    if network.default_route_on_device {
        content.routes.insert(Route { scope: LINK, ..plain(EVERYWHERE, None) });
    }
    if let Some(lease) = given.dhcp4 {
        content.addresses.insert(NewAddress {
            address: lease.address,
            scope: 0,
            deprecated: false,
            no_prefix_route: false,
        });
        if network.dhcpv4.use_routes {
            content.routes.extend(dhcp_routes(lease, network.dhcpv4.route_metric));
        }
    }
    if let Some(address) = given.ipv4ll {
        content.addresses.insert(NewAddress {
            address: Prefixed { address: address.into(), length: 16 },
            scope: LINK,
            deprecated: false,
            no_prefix_route: false,
        });
    }
    if let Some(lease) = given.dhcp6.filter(|_| network.dhcpv6.use_address) {
        content.addresses.extend(lease.addresses.iter().map(|leased| NewAddress {
            // The network is what routers say, not the server (RFC 8415 section 18.2.10.1).
            address: Prefixed::host(leased.address.into()),
            scope: 0,
            deprecated: leased.preferred == 0,
            no_prefix_route: true,
        }));
    }
    content
}

/// `RT_SCOPE_…` of an address that has none given.
fn scope_of(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(address) if address.is_loopback() => 254,
        IpAddr::V4(address) if address.is_link_local() => LINK,
        IpAddr::V6(address) if address.is_unicast_link_local() => LINK,
        IpAddr::V6(address) if address.is_loopback() => 254,
        _ => 0,
    }
}

fn plain(destination: Prefixed, gateway: Option<IpAddr>) -> Route {
    Route {
        destination,
        gateway,
        source: None,
        metric: if destination.address.is_ipv4() { 0 } else { IPV6_METRIC },
        table: MAIN,
        scope: if gateway.is_none() && destination.address.is_ipv4() { LINK } else { 0 },
        protocol: STATIC,
        on_link: false,
        kind: RouteType::Unicast,
        from: None,
        mtu: 0,
        windows: (0, 0),
        quick_ack: false,
    }
}

/// A route of the file; `None` while its gateway is not known.
fn route(fixed: &StaticRoute, given: Given<'_>) -> Option<Route> {
    let gateway = if fixed.gateway_of_dhcp4 {
        Some(IpAddr::V4(*given.dhcp4?.routers.first()?))
    } else if fixed.gateway_of_ra {
        Some(IpAddr::V6(given.heard?.router()?))
    } else {
        fixed.gateway
    };
    let destination = fixed.destination.unwrap_or(match gateway {
        Some(IpAddr::V6(_)) => EVERYWHERE_6,
        _ => EVERYWHERE,
    });
    let mut route = plain(destination, gateway);
    route.source = fixed.source;
    route.metric = fixed.metric.unwrap_or(route.metric);
    route.table = fixed.table.unwrap_or(MAIN);
    route.on_link = fixed.on_link;
    route.kind = fixed.kind;
    (route.from, route.mtu, route.windows) = (fixed.from, fixed.mtu, fixed.windows);
    (route.quick_ack, route.protocol) = (fixed.quick_ack, fixed.protocol.unwrap_or(STATIC));
    if fixed.kind != RouteType::Unicast {
        // RT_SCOPE_HOST
        let scope = if fixed.kind == RouteType::Local && destination.address.is_ipv4() { 254 } else { 0 };
        (route.scope, route.gateway) = (scope, None);
    }
    route.scope = fixed.scope.unwrap_or(route.scope);
    Some(route)
}

/// Routes of a lease: those without classes replace the routers (RFC 3442).
fn dhcp_routes(lease: &dhcp4::Lease, metric: u32) -> Vec<Route> {
    let routers = || lease.routers.first().map(|router| (EVERYWHERE, *router)).into_iter().collect();
    let routes: Vec<(Prefixed, Ipv4Addr)> = lease.routes.clone().unwrap_or_else(routers);
    let on_link = |router: Ipv4Addr| {
        let router = Prefixed { address: router.into(), length: lease.address.length };
        router.network() != lease.address.network()
    };
    routes
        .into_iter()
        .map(|(destination, router)| {
            let gateway = Some(router).filter(|router| !router.is_unspecified());
            Route {
                source: Some(lease.address.address),
                metric,
                protocol: DHCP,
                on_link: gateway.is_some_and(on_link),
                ..plain(destination, gateway.map(IpAddr::V4))
            }
        })
        .collect()
}

/// What others need to know: the file's first, then DHCP's, then the routers'.
pub fn names(network: &Network, given: Given<'_>) -> Names {
    let mut names = Names {
        dns: network.dns.clone(),
        domains: network.domains.clone(),
        route_domains: network.route_domains.clone(),
        ntp: network.ntp.clone(),
    };
    if let Some(lease) = given.dhcp4 {
        let options = &network.dhcpv4;
        if options.use_dns {
            names.dns.extend(lease.dns.iter().map(|server| IpAddr::V4(*server)));
        }
        if options.use_ntp {
            names.ntp.extend(lease.ntp.iter().map(Ipv4Addr::to_string));
        }
        take_domains(&mut names, options.use_domains, lease.domain.iter().chain(&lease.search));
    }
    if let Some(lease) = given.dhcp6 {
        let options = &network.dhcpv6;
        if options.use_dns {
            names.dns.extend(lease.dns.iter().map(|server| IpAddr::V6(*server)));
        }
        if options.use_ntp {
            names.ntp.extend(lease.ntp.iter().map(Ipv6Addr::to_string));
        }
        take_domains(&mut names, options.use_domains, &lease.domains);
    }
    if let Some(heard) = given.heard {
        if network.ra.use_dns {
            names.dns.extend(heard.dns().map(IpAddr::V6));
        }
        take_domains(&mut names, network.ra.use_domains, heard.domains());
    }
    names.unique();
    names
}

fn take_domains(names: &mut Names, how: UseDomains, domains: impl IntoIterator<Item = impl ToString>) {
    let into = match how {
        UseDomains::No => return,
        UseDomains::Yes => &mut names.domains,
        UseDomains::Route => &mut names.route_domains,
    };
    into.extend(domains.into_iter().map(|domain| domain.to_string()));
}

fn unique<T: Clone + PartialEq>(list: &mut Vec<T>) {
    let mut seen: Vec<T> = Vec::new();
    list.retain(|item| {
        let new = !seen.contains(item);
        if new {
            seen.push(item.clone());
        }
        new
    });
}

/// The link's MTU: the file's, else DHCP's if it is to be used.
pub fn mtu(network: &Network, given: Given<'_>) -> Option<u32> {
    network.mtu.or_else(|| given.dhcp4.filter(|_| network.dhcpv4.use_mtu)?.mtu.map(u32::from))
}

/// The changes from what is there by our doing to what belongs there, in an order that the kernel
/// takes: an address before the routes that need it, a route to a gateway's network before the
/// gateway.
pub fn changes(ours: &Content, wanted: &Content) -> Vec<Change> {
    // IPv4: the new route of the same place first, so that there always is one. IPv6 does not take
    // a second one beside the first where only the source differs.
    let replaced = |old: &Route| {
        old.destination.address.is_ipv4() && wanted.routes.iter().any(|new| same_place(old, new))
    };
    let (last, first): (Vec<Route>, Vec<Route>) =
        ours.routes.difference(&wanted.routes).copied().partition(replaced);
    // A rule that leads to a table without its routes would lose packets.
    let mut all: Vec<Change> =
        ours.rules.difference(&wanted.rules).cloned().map(Change::RemoveRule).collect();
    all.extend(first.into_iter().map(Change::RemoveRoute));
    let stays = |old: &NewAddress| wanted.addresses.iter().any(|new| new.address == old.address);
    let gone = ours.addresses.difference(&wanted.addresses).filter(|old| !stays(old));
    all.extend(gone.copied().map(Change::RemoveAddress));
    all.extend(wanted.addresses.difference(&ours.addresses).copied().map(Change::SetAddress));
    let mut new: Vec<Route> = wanted.routes.difference(&ours.routes).copied().collect();
    new.sort_by_key(|route| (route.gateway.is_some(), !route.on_link, route.destination.length == 0));
    all.extend(new.into_iter().map(Change::SetRoute));
    all.extend(last.into_iter().map(Change::RemoveRoute));
    all.extend(wanted.rules.difference(&ours.rules).cloned().map(Change::SetRule));
    all
}

/// Whether two routes compete for the same packets.
fn same_place(one: &Route, other: &Route) -> bool {
    let key = |route: &Route| (route.destination, route.table, route.metric);
    key(one) == key(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Source;
    use crate::dhcp4::lease::tests::lease;
    use std::path::Path;

    fn network(text: &str) -> Network {
        let mut problems = Vec::new();
        let source = Source::one(Path::new("n"), format!("[Match]\nName=*\n{text}").as_bytes());
        let network = Network::parse(&source, &mut problems).unwrap();
        assert_eq!(problems, []);
        network
    }

    fn given(lease: &dhcp4::Lease) -> Given<'_> {
        Given { dhcp4: Some(lease), ..Given::default() }
    }

    fn shown(content: &Content) -> Vec<String> {
        let addresses = content.addresses.iter().map(|new| new.address.to_string());
        let routes = content.routes.iter().map(|route| {
            let via = route.gateway.map_or(String::new(), |gateway| format!(" via {gateway}"));
            let on_link = if route.on_link { " onlink" } else { "" };
            format!("{}{via}{on_link} metric {} scope {}", route.destination, route.metric, route.scope)
        });
        addresses.chain(routes).collect()
    }

    #[test]
    fn a_lease_gives_an_address_and_routes() {
        let network = network("[Network]\nDHCP=yes\n[DHCPv4]\nRouteMetric=7\n");
        let mut lease = lease();
        assert_eq!(
            shown(&content(&network, given(&lease))),
            ["192.0.2.9/24", "10.0.0.0/8 via 192.0.2.2 metric 7 scope 0"]
        );
        lease.routes = None;
        lease.routers = vec![Ipv4Addr::new(198, 51, 100, 1)];
        assert_eq!(
            shown(&content(&network, given(&lease)))[1],
            "0.0.0.0/0 via 198.51.100.1 onlink metric 7 scope 0"
        );
        lease.routes = Some(vec![("198.51.100.1/32".parse().unwrap(), Ipv4Addr::UNSPECIFIED)]);
        assert_eq!(shown(&content(&network, given(&lease)))[1], "198.51.100.1/32 metric 7 scope 253");
        assert_eq!(mtu(&network, given(&lease)), None);
    }

    #[test]
    fn what_is_not_to_be_used_is_not() {
        let network = network(
            "[Network]\nDNS=192.0.2.99\n[DHCPv4]\nUseDNS=no\nUseRoutes=no\nUseMTU=yes\nUseDomains=route\n",
        );
        let lease = lease();
        let given = Given { dhcp4: Some(&lease), ..Given::default() };
        assert!(content(&network, given).routes.is_empty());
        let names = names(&network, given);
        assert_eq!(names.dns, [IpAddr::from([192, 0, 2, 99])]);
        assert_eq!((names.domains.len(), names.route_domains.len()), (0, 3));
        assert_eq!(mtu(&network, given), Some(1400));
    }

    #[test]
    fn an_address_comes_before_routes_and_a_near_route_before_a_far_one() {
        let network = network(
            "[Network]\nAddress=192.0.2.5/24\nGateway=198.51.100.1\n[Route]\nDestination=198.51.100.1\nScope=link\n\
             [Route]\nDestination=203.0.113.0/24\nType=blackhole\n",
        );
        let wanted = content(&network, Given::default());
        let order: Vec<&str> = changes(&Content::default(), &wanted)
            .iter()
            .map(|change| match change {
                Change::SetAddress(_) => "address",
                Change::SetRoute(route) if route.gateway.is_some() => "gateway",
                Change::SetRoute(_) => "route",
                _ => "remove",
            })
            .collect();
        assert_eq!(order, ["address", "route", "route", "gateway"]);
        assert_eq!(changes(&wanted, &wanted), []);
        let all_gone = changes(&wanted, &Content::default());
        assert!(matches!(all_gone.as_slice(), [.., Change::RemoveAddress(_)]) && all_gone.len() == 4);
    }

    #[test]
    fn a_route_that_only_changes_its_gateway_is_never_absent() {
        let before = content(&network("[Network]\nGateway=192.0.2.1\n"), Given::default());
        let after = content(&network("[Network]\nGateway=192.0.2.2\n"), Given::default());
        assert!(matches!(changes(&before, &after)[..], [Change::SetRoute(_), Change::RemoveRoute(_)]));
    }

    #[test]
    fn gateways_that_others_give() {
        let network =
            network("[Route]\nGateway=_dhcp4\nDestination=10.9.0.0/16\n[Route]\nGateway=_ipv6ra\nTable=9\n");
        assert!(content(&network, Given::default()).routes.is_empty());
        let lease = lease();
        let routes = content(&network, Given { dhcp4: Some(&lease), ..Given::default() }).routes;
        assert!(routes.iter().any(|route| route.destination.to_string() == "10.9.0.0/16"));
    }
}
