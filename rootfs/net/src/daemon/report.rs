//! What the service says of links: to `networkctl` and in its files.

use super::link::State;
use crate::config::network::OperState;
use crate::netlink::message::{Address, IFA_F_DADFAILED, IFA_F_TENTATIVE, IFF_LOOPBACK, IFF_UP, Link};
use crate::plan::{self, Names};
use serde::{Deserialize, Serialize};

/// One link.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the names are those that networkctl shows")]
pub struct Report {
    pub index: u32,
    pub name: String,
    pub alternative_names: Vec<String>,
    #[serde(rename = "Type")]
    pub kind_of_type: String,
    pub kind: String,
    pub driver: String,
    pub path: String,
    pub hardware_address: Option<String>,
    pub mtu: u32,
    pub operational: String,
    pub carrier: String,
    pub address_state: String,
    pub ipv4_state: String,
    pub ipv6_state: String,
    /// `unmanaged`, `configuring`, `configured` or `failed`.
    pub setup: String,
    pub online: bool,
    /// The state wanted; none when the link does not count.
    pub required_for_online: Option<String>,
    pub network_file: Option<String>,
    pub link_file: Option<String>,
    pub addresses: Vec<String>,
    pub gateways: Vec<String>,
    pub names: Names,
    pub llmnr: String,
    pub dns_default_route: Option<bool>,
    pub dhcp4: Option<Dhcp4Report>,
    pub dhcp6: Option<String>,
    /// What the kernel refused.
    pub failures: Vec<String>,
}

/// DHCP for IPv4 on a link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the names say it")]
pub struct Dhcp4Report {
    pub state: String,
    pub address: Option<String>,
    pub server: Option<String>,
    /// Seconds from when it was given.
    pub lifetime: Option<u32>,
}

/// The machine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Overall {
    pub(super) operational: String,
    pub(super) online: String,
    pub(super) names: Names,
}

/// How far a link has come.
pub(super) fn operational(link: &Link, addresses: &[Address]) -> OperState {
    match carrier(link) {
        OperState::Carrier => match address_state(addresses, |_| true) {
            "routable" => OperState::Routable,
            "degraded" => OperState::Degraded,
            _ => OperState::Carrier,
        },
        state => state,
    }
}

/// The part of the state that needs no address.
pub(super) fn carrier(link: &Link) -> OperState {
    /// `IF_OPER_DORMANT`
    const DORMANT: u8 = 5;
    if link.flags & IFF_UP == 0 {
        OperState::Off
    } else if !link.has_carrier() {
        OperState::NoCarrier
    } else if link.operational == DORMANT {
        OperState::Dormant
    } else if link.master.is_some() {
        OperState::Enslaved
    } else {
        OperState::Carrier
    }
}

/// The widest scope of the addresses that are meant and can be used.
pub(super) fn address_state(addresses: &[Address], meant: impl Fn(&Address) -> bool) -> &'static str {
    let usable = |address: &&Address| address.flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED) == 0;
    match addresses.iter().filter(usable).filter(|address| meant(address)).map(|address| address.scope).min()
    {
        Some(0..253) => "routable",
        Some(253) => "degraded",
        _ => "off",
    }
}

/// What is said of a link.
pub(super) fn of(state: &State) -> Report {
    let State { link, candidate, addresses, .. } = state;
    let reached = operational(link, addresses);
    let network = state.managed();
    let required = network.and_then(|network| network.required_for_online);
    let configured = state.is_configured();
    let setup = match network {
        None => "unmanaged",
        Some(_) if configured => "configured",
        Some(_) if !state.failures.is_empty() || !state.refused.is_empty() => "failed",
        Some(_) => "configuring",
    };
    let of_family = |v4: bool| address_state(addresses, move |found| found.address.address.is_ipv4() == v4);
    let names = network.filter(|_| state.active).map(|network| plan::names(network, state.given()));
    let gateways = state
        .ours
        .routes
        .iter()
        .filter(|route| route.destination.length == 0)
        .filter_map(|route| route.gateway);
    let mut gateways: Vec<String> = gateways.map(|gateway| gateway.to_string()).collect();
    gateways
        .extend(state.given().heard.and_then(crate::router::Heard::router).map(|router| router.to_string()));
    Report {
        index: link.index,
        name: link.name.clone(),
        alternative_names: link.alternative_names.clone(),
        kind_of_type: candidate.kind_of_type.clone(),
        kind: candidate.kind.clone(),
        driver: candidate.driver.clone(),
        path: candidate.path.clone(),
        hardware_address: link.mac.map(|mac| mac.to_string()),
        mtu: link.mtu,
        operational: reached.name().to_owned(),
        carrier: carrier(link).name().to_owned(),
        address_state: address_state(addresses, |_| true).to_owned(),
        ipv4_state: of_family(true).to_owned(),
        ipv6_state: of_family(false).to_owned(),
        setup: setup.to_owned(),
        online: configured && reached >= required.unwrap_or(OperState::Degraded),
        required_for_online: required.map(|state| state.name().to_owned()),
        network_file: network.map(|network| network.path.display().to_string()),
        link_file: state.link_file.clone(),
        addresses: addresses.iter().map(|found| found.address.to_string()).collect(),
        gateways,
        names: names.unwrap_or_default(),
        llmnr: network.map(|network| network.llmnr.to_owned()).unwrap_or_default(),
        dns_default_route: network.and_then(|network| network.dns_default_route),
        dhcp4: state.dhcp4.as_ref().map(|dhcp| Dhcp4Report {
            state: dhcp.client.state_name().to_owned(),
            address: dhcp.client.lease().map(|(lease, _)| lease.address.to_string()),
            server: dhcp.client.lease().map(|(lease, _)| lease.server.to_string()),
            lifetime: dhcp.client.lease().map(|(lease, _)| lease.lifetime),
        }),
        dhcp6: state.dhcp6.as_ref().map(|dhcp| dhcp.client.state_name().to_owned()),
        failures: state.failures.iter().chain(&state.refused).cloned().collect(),
    }
}

/// The machine's state: that of its best link; its names are those of all links.
pub(super) fn overall<'a>(links: impl IntoIterator<Item = (&'a Link, &'a Report)>) -> Overall {
    let mut overall = Overall { operational: "off".to_owned(), ..Overall::default() };
    let mut best = OperState::Off;
    let (mut required, mut online) = (0, 0);
    for (link, report) in links {
        if link.flags & IFF_LOOPBACK != 0 {
            continue;
        }
        let state = report.operational.parse().unwrap_or(OperState::Missing);
        if state > best {
            (best, overall.operational) = (state, report.operational.clone());
        }
        if report.required_for_online.is_some() && report.network_file.is_some() {
            required += 1;
            online += u32::from(report.online);
        }
        overall.names.dns.extend(report.names.dns.iter().copied());
        overall.names.domains.extend(report.names.domains.iter().cloned());
        overall.names.route_domains.extend(report.names.route_domains.iter().cloned());
        overall.names.ntp.extend(report.names.ntp.iter().cloned());
    }
    overall.names.unique();
    overall.online = match (required, online) {
        (0, _) => String::new(),
        (_, 0) => "offline".to_owned(),
        (required, online) if required == online => "online".to_owned(),
        _ => "partial".to_owned(),
    };
    overall
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::message::IFF_LOWER_UP;

    #[test]
    fn how_far_a_link_has_come() {
        let mut link = Link::default();
        let address =
            |text: &str, scope, flags| Address { link: 1, address: text.parse().unwrap(), flags, scope };
        assert_eq!(operational(&link, &[]), OperState::Off);
        link.flags = IFF_UP;
        assert_eq!(operational(&link, &[]), OperState::NoCarrier);
        link.flags |= IFF_LOWER_UP;
        assert_eq!(operational(&link, &[]), OperState::Carrier);
        let tentative = address("fe80::1/64", 253, IFA_F_TENTATIVE);
        assert_eq!(operational(&link, &[tentative]), OperState::Carrier);
        let local = address("fe80::1/64", 253, 0);
        assert_eq!(operational(&link, &[local]), OperState::Degraded);
        assert_eq!(operational(&link, &[local, address("192.0.2.1/24", 0, 0)]), OperState::Routable);
        link.master = Some(3);
        assert_eq!(operational(&link, &[local]), OperState::Enslaved);
    }
}
