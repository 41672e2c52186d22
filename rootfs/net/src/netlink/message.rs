//! Links, addresses and routes as rtnetlink(7) says them.

use super::wire::{Request, attributes, text, u16_at, u32_at};
use crate::config::netdev::{Kind, Settings};
use crate::config::network::RouteType;
use crate::config::value::{Mac, Prefixed};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// `NLM_F_REQUEST | NLM_F_ACK`
pub(super) const DO: u16 = 0x5;
/// `NLM_F_REQUEST | NLM_F_DUMP`
pub(super) const DUMP: u16 = 0x301;
/// `NLM_F_CREATE`
pub(super) const CREATE: u16 = 0x400;
/// `NLM_F_APPEND`
const APPEND: u16 = 0x800;
/// `NLM_F_EXCL`
pub(super) const EXCL: u16 = 0x200;
/// `NLM_F_REPLACE`
const REPLACE: u16 = 0x100;
/// linux/rtnetlink.h
pub const NEWLINK: u16 = 16;
/// linux/rtnetlink.h
pub const DELLINK: u16 = 17;
/// linux/rtnetlink.h
pub const NEWADDR: u16 = 20;
/// linux/rtnetlink.h
pub const DELADDR: u16 = 21;
/// linux/rtnetlink.h
pub const NEWROUTE: u16 = 24;
/// linux/rtnetlink.h
pub const DELROUTE: u16 = 25;

/// linux/if.h: switched on.
pub const IFF_UP: u32 = 0x1;
/// linux/if.h: the loopback link.
pub const IFF_LOOPBACK: u32 = 0x8;
/// linux/if.h: there is a carrier.
pub const IFF_LOWER_UP: u32 = 0x1_0000;
/// `linux/if_addr.h`: duplicate address detection is not done.
pub const IFA_F_TENTATIVE: u32 = 0x40;
/// `linux/if_addr.h`: another machine has it.
pub const IFA_F_DADFAILED: u32 = 0x08;
/// `linux/if_addr.h`: not made by autoconfiguration.
pub const IFA_F_PERMANENT: u32 = 0x80;
/// `linux/if_addr.h`: another sets the route to its network.
const IFA_F_NOPREFIXROUTE: u32 = 0x200;
/// `ARPHRD_ETHER`, `ARPHRD_LOOPBACK`
pub const ETHER: u16 = 1;
const LOOPBACK: u16 = 772;

/// A link.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Link {
    /// The kernel's number.
    pub index: u32,
    /// Name.
    pub name: String,
    /// Other names.
    pub alternative_names: Vec<String>,
    /// Hardware address, of Ethernet.
    pub mac: Option<Mac>,
    /// Largest packet in bytes.
    pub mtu: u32,
    /// `IFF_…`
    pub flags: u32,
    /// `ARPHRD_…`
    pub hardware: u16,
    /// Kind of a virtual link.
    pub kind: String,
    /// The bridge or bond that it is a port of.
    pub master: Option<u32>,
    /// `IF_OPER_…` (RFC 2863).
    pub operational: u8,
}

impl Link {
    /// Whether it is switched on and has a carrier.
    pub fn has_carrier(&self) -> bool {
        self.flags & IFF_UP != 0 && self.flags & IFF_LOWER_UP != 0
    }

    /// `ether`, `loopback` or the kind of a virtual link, as `networkctl list` says it.
    pub fn type_name(&self) -> &str {
        match (self.hardware, self.kind.as_str()) {
            (LOOPBACK, _) => "loopback",
            (_, kind @ ("bridge" | "bond" | "vlan" | "wireguard")) => kind,
            (ETHER, _) => "ether",
            _ => "none",
        }
    }
}

/// An address of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// The link.
    pub link: u32,
    /// The address.
    pub address: Prefixed,
    /// `IFA_F_…`
    pub flags: u32,
    /// `RT_SCOPE_…`
    pub scope: u8,
}

/// A route through a link, or to nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Route {
    /// The network; its length 0 is everywhere, and its family is the route's.
    pub destination: Prefixed,
    /// The next machine.
    pub gateway: Option<IpAddr>,
    /// The sender's address.
    pub source: Option<IpAddr>,
    /// The lowest wins.
    pub metric: u32,
    /// Routing table.
    pub table: u32,
    /// `RT_SCOPE_…`
    pub scope: u8,
    /// `RTPROT_…`: who made it.
    pub protocol: u8,
    /// The gateway is on the link whatever the addresses say.
    pub on_link: bool,
    /// What becomes of packets.
    pub kind: RouteType,
    /// Senders that it is for; of IPv6.
    #[serde(default)]
    pub from: Option<Prefixed>,
    /// Largest packet in bytes, 0 for the link's.
    #[serde(default)]
    pub mtu: u32,
    /// Packets that may be on the way at first, from us and to us; 0 for the kernel's.
    #[serde(default)]
    pub windows: (u32, u32),
    /// Acknowledge at once.
    #[serde(default)]
    pub quick_ack: bool,
}

/// What is said of a link that is made.
#[derive(Debug, Clone, Default)]
pub struct LinkChange {
    /// Name.
    pub name: Option<String>,
    /// Hardware address.
    pub mac: Option<Mac>,
    /// Largest packet in bytes.
    pub mtu: Option<u32>,
    /// Switched on or off.
    pub up: Option<bool>,
    /// Other `IFF_…` and which of them are meant.
    pub flags: (u32, u32),
    /// Becomes a port; `Some(0)` is none.
    pub master: Option<u32>,
}

/// Asks for all links.
pub fn list_links() -> Request {
    Request::new(18, DUMP, &link_header(0, 0, 0))
}

/// Asks for all addresses.
pub fn list_addresses() -> Request {
    Request::new(22, DUMP, &[0; 8])
}

/// Asks for all routes.
pub fn list_routes() -> Request {
    Request::new(26, DUMP, &[0; 12])
}

/// struct ifinfomsg
fn link_header(index: u32, flags: u32, change: u32) -> [u8; 16] {
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..16].copy_from_slice(&change.to_ne_bytes());
    header
}

/// Changes a link.
pub fn change_link(index: u32, change: &LinkChange) -> Request {
    let (flags, mask) = change.up.map_or((0, 0), |up| (if up { IFF_UP } else { 0 }, IFF_UP));
    let (flags, mask) = (flags | change.flags.0, mask | change.flags.1);
    Request::new(NEWLINK, DO, &link_header(index, flags, mask))
        .maybe(change.name.as_deref(), |r, name| r.with_text(3, name))
        .maybe(change.mac, |r, mac| r.with(1, &mac.0))
        .maybe(change.mtu, |r, mtu| r.with_u32(4, mtu))
        .maybe(change.master, |r, master| r.with_u32(10, master))
}

/// Makes a link, on top of `lower` where its kind needs one.
pub fn create_link(
    name: &str,
    (kind, settings): (&Kind, &Settings),
    mac: Option<Mac>,
    mtu: Option<u32>,
    lower: Option<u32>,
) -> Request {
    Request::new(NEWLINK, DO | CREATE | EXCL, &link_header(0, 0, 0))
        .with_text(3, name)
        .maybe(mac, |r, mac| r.with(1, &mac.0))
        .maybe(mtu, |r, mtu| r.with_u32(4, mtu))
        // IFLA_LINK; a VXLAN names its lower link in its own data.
        .maybe(lower.filter(|_| !matches!(kind, Kind::Vxlan { .. })), |r, lower| r.with_u32(5, lower))
        .with_nested(18, |r| {
            r.with_text(1, kind.name()).with_nested(2, |r| {
                let data = link_data(r, kind, lower);
                settings.iter().fold(data, |r, (attribute, value)| r.with(*attribute, value))
            })
        })
}

/// `IFLA_INFO_DATA` of each kind (`linux/if_link.h`).
fn link_data(data: Request, kind: &Kind, lower: Option<u32>) -> Request {
    let flag = |value: bool| [u8::from(value)];
    match kind {
        // struct ifla_vlan_flags: the flags, and which are meant.
        Kind::Vlan { id, flags: (flags, mask) } => data
            .with(1, &id.to_ne_bytes())
            .maybe((*mask != 0).then_some([flags.to_ne_bytes(), mask.to_ne_bytes()].concat()), |r, flags| {
                r.with(2, &flags)
            }),
        Kind::Vxlan { vni, remote, local, port, learning, independent: _ } => data
            .with_u32(1, *vni)
            .maybe(*remote, |r, remote| match remote {
                IpAddr::V4(address) => r.with(2, &address.octets()),
                IpAddr::V6(address) => r.with(16, &address.octets()),
            })
            .maybe(lower, |r, lower| r.with_u32(3, lower))
            .maybe(*local, |r, local| match local {
                IpAddr::V4(address) => r.with(4, &address.octets()),
                IpAddr::V6(address) => r.with(17, &address.octets()),
            })
            .maybe(*learning, |r, on| r.with(7, &flag(on)))
            .with(15, &port.to_be_bytes()),
        // VETH_INFO_PEER: a link of its own within.
        Kind::Veth { peer, peer_mac } => data.with_nested(1, |r| {
            r.with_raw(&link_header(0, 0, 0)).with_text(3, peer).maybe(*peer_mac, |r, mac| r.with(1, &mac.0))
        }),
        // The settings are all there is; tun(4) is not made by rtnetlink.
        Kind::Bridge
        | Kind::Bond
        | Kind::Dummy
        | Kind::Macvlan
        | Kind::Macvtap
        | Kind::Ipvlan
        | Kind::Ipvtap
        | Kind::Tun(_)
        | Kind::Tap(_) => data,
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn family(address: IpAddr) -> u8 {
    if address.is_ipv4() { 2 } else { 10 }
}

/// How an address is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NewAddress {
    /// The address.
    pub address: Prefixed,
    /// `RT_SCOPE_…`
    pub scope: u8,
    /// Not used for new connections.
    pub deprecated: bool,
    /// The route to its network is not the kernel's to make.
    pub no_prefix_route: bool,
}

/// Sets an address, or changes one that is there.
///
/// Without a lifetime: the service takes an address off when its lease ends, and should the
/// service be absent, an address that works is better than none.
pub fn set_address(link: u32, new: &NewAddress) -> Request {
    let NewAddress { address, scope, .. } = *new;
    let flags = if new.no_prefix_route { IFA_F_NOPREFIXROUTE } else { 0 };
    let bytes = octets(address.address);
    let request = Request::new(NEWADDR, DO | CREATE | REPLACE, &address_header(link, address, scope));
    let request = request.with(1, &bytes).with(2, &bytes).with_u32(8, flags);
    let request = match address.address {
        // IFA_BROADCAST, for networks that have one.
        IpAddr::V4(v4) if address.length < 31 => {
            let host = u32::MAX.checked_shr(u32::from(address.length)).unwrap_or(0);
            request.with(4, &Ipv4Addr::from_bits(v4.to_bits() | host).octets())
        }
        _ => request,
    };
    // IFA_CACHEINFO: preferred, valid, in seconds.
    let preferred = if new.deprecated { 0 } else { u32::MAX };
    let mut lifetimes = [0; 16];
    lifetimes[0..4].copy_from_slice(&preferred.to_ne_bytes());
    lifetimes[4..8].copy_from_slice(&u32::MAX.to_ne_bytes());
    request.with(6, &lifetimes)
}

/// Takes an address off.
pub fn remove_address(link: u32, address: Prefixed) -> Request {
    let bytes = octets(address.address);
    Request::new(DELADDR, DO, &address_header(link, address, 0)).with(1, &bytes).with(2, &bytes)
}

/// struct ifaddrmsg
fn address_header(link: u32, address: Prefixed, scope: u8) -> [u8; 8] {
    let [a, b, c, d] = link.to_ne_bytes();
    [family(address.address), address.length, 0, scope, a, b, c, d]
}

/// Adds a route beside those of other links; one that is there already is `EEXIST`. To replace
/// would take away another link's route of the same destination and metric.
pub fn set_route(link: u32, route: &Route) -> Request {
    route_request(NEWROUTE, DO | CREATE | APPEND, link, route)
}

/// Takes a route away.
pub fn remove_route(link: u32, route: &Route) -> Request {
    route_request(DELROUTE, DO, link, route)
}

fn route_request(kind: u16, flags: u16, link: u32, route: &Route) -> Request {
    let Route { destination, table, .. } = *route;
    let type_ = match route.kind {
        RouteType::Unicast => 1,
        RouteType::Local => 2,
        RouteType::Blackhole => 6,
        RouteType::Unreachable => 7,
        RouteType::Prohibit => 8,
        RouteType::Throw => 9,
    };
    // RTNH_F_ONLINK
    let on_link: u32 = if route.on_link { 4 } else { 0 };
    // struct rtmsg
    let mut header = [0; 12];
    header[0] = family(destination.address);
    header[1] = destination.length;
    header[2] = route.from.map_or(0, |from| from.length);
    header[4] = u8::try_from(table).unwrap_or(0);
    header[5] = route.protocol;
    header[6] = route.scope;
    header[7] = type_;
    header[8..12].copy_from_slice(&on_link.to_ne_bytes());
    Request::new(kind, flags, &header)
        .maybe((destination.length > 0).then_some(destination.address), |r, to| r.with(1, &octets(to)))
        .maybe(route.from, |r, from| r.with(2, &octets(from.address)))
        .maybe(route.kind.has_link().then_some(link), |r, link| r.with_u32(4, link))
        .maybe(route.gateway, |r, gateway| {
            if gateway.is_ipv4() == destination.address.is_ipv4() {
                r.with(5, &octets(gateway))
            } else {
                // RTA_VIA: family, then address.
                r.with(18, &[u16::from(family(gateway)).to_ne_bytes().to_vec(), octets(gateway)].concat())
            }
        })
        .maybe(route.source, |r, source| r.with(7, &octets(source)))
        .with_u32(6, route.metric)
        .with_u32(15, table)
        .maybe(has_metrics(route).then_some(()), |r, ()| r.with_nested(8, |r| metrics(r, route)))
}

fn has_metrics(route: &Route) -> bool {
    route.mtu > 0 || route.windows != (0, 0) || route.quick_ack
}

/// `RTA_METRICS`: `RTAX_…`
fn metrics(request: Request, route: &Route) -> Request {
    let some = |number: u32| (number > 0).then_some(number);
    request
        .maybe(some(route.mtu), |r, mtu| r.with_u32(2, mtu))
        .maybe(some(route.windows.0), |r, window| r.with_u32(11, window))
        .maybe(some(route.windows.1), |r, window| r.with_u32(14, window))
        .maybe(route.quick_ack.then_some(1), |r, on| r.with_u32(15, on))
}

/// Reads a link.
pub fn parse_link(body: &[u8]) -> Option<Link> {
    let mut link = Link {
        hardware: u16_at(body, 2)?,
        index: u32_at(body, 4)?,
        flags: u32_at(body, 8)?,
        ..Link::default()
    };
    for (kind, value) in attributes(body.get(16..)?) {
        match kind {
            1 => link.mac = <[u8; 6]>::try_from(value).ok().map(Mac),
            3 => link.name = text(value),
            4 => link.mtu = u32_at(value, 0)?,
            10 => link.master = u32_at(value, 0).filter(|master| *master != 0),
            16 => link.operational = *value.first()?,
            18 => {
                link.kind = attributes(value)
                    .find(|(kind, _)| *kind == 1)
                    .map(|(_, kind)| text(kind))
                    .unwrap_or_default();
            }
            52 => {
                link.alternative_names =
                    attributes(value).filter(|(kind, _)| *kind == 53).map(|(_, name)| text(name)).collect();
            }
            _ => {}
        }
    }
    Some(link)
}

fn ip(value: &[u8]) -> Option<IpAddr> {
    match value.len() {
        4 => value.first_chunk::<4>().map(|bytes| IpAddr::V4(Ipv4Addr::from(*bytes))),
        16 => value.first_chunk::<16>().map(|bytes| IpAddr::V6(Ipv6Addr::from(*bytes))),
        _ => None,
    }
}

/// Reads an address.
pub fn parse_address(body: &[u8]) -> Option<Address> {
    let (mut local, mut other, mut flags) = (None, None, u32::from(*body.get(2)?));
    for (kind, value) in attributes(body.get(8..)?) {
        match kind {
            1 => other = ip(value),
            2 => local = ip(value),
            8 => flags = u32_at(value, 0)?,
            _ => {}
        }
    }
    let address = Prefixed { address: local.or(other)?, length: body[1] };
    Some(Address { link: u32_at(body, 4)?, address, flags, scope: body[3] })
}

/// Reads a route; with it the link, 0 for none. `None` for what this service cannot make:
/// other types, families, several next hops.
pub fn parse_route(body: &[u8]) -> Option<(u32, Route)> {
    let unspecified = match body.first()? {
        2 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        10 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => return None,
    };
    let kind = match *body.get(7)? {
        1 => RouteType::Unicast,
        2 => RouteType::Local,
        6 => RouteType::Blackhole,
        7 => RouteType::Unreachable,
        8 => RouteType::Prohibit,
        9 => RouteType::Throw,
        _ => return None,
    };
    let mut link = 0;
    let mut route = Route {
        destination: Prefixed { address: unspecified, length: body[1] },
        gateway: None,
        source: None,
        metric: 0,
        table: u32::from(body[4]),
        scope: body[6],
        protocol: body[5],
        on_link: u32_at(body, 8)? & 4 != 0,
        kind,
        from: None,
        mtu: 0,
        windows: (0, 0),
        quick_ack: false,
    };
    for (kind, value) in attributes(body.get(12..)?) {
        match kind {
            1 => route.destination.address = ip(value)?,
            4 => link = u32_at(value, 0)?,
            5 => route.gateway = ip(value),
            6 => route.metric = u32_at(value, 0)?,
            7 => route.source = ip(value),
            15 => route.table = u32_at(value, 0)?,
            18 => route.gateway = ip(value.get(2..)?),
            _ => {}
        }
    }
    Some((link, route))
}
