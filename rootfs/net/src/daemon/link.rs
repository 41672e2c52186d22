//! One link: its file, what was set on it, and its clients with their sockets.

mod clients;

use super::log;
use crate::config::{Candidate, Network};
use crate::dhcp6::Mode;
use crate::netlink::message::{Address, IFA_F_DADFAILED, IFA_F_TENTATIVE, Link};
use crate::plan::{self, Content, Given};
use crate::router::Heard;
use crate::{dhcp4, dhcp6, ipv4ll};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::Duration;

/// A link and all that is done on it.
#[derive(Debug)]
pub(super) struct State {
    pub(super) link: Link,
    pub(super) candidate: Candidate,
    /// Addresses that the kernel has on it.
    pub(super) addresses: Vec<Address>,
    /// The file for it.
    pub(super) network: Option<Network>,
    pub(super) link_file: Option<String>,
    /// Whether addresses and routes are to be set: there is a carrier, or none is needed.
    pub(super) active: bool,
    /// What was set by us.
    pub(super) ours: Content,
    pub(super) dhcp4: Option<Client4>,
    pub(super) dhcp6: Option<Client6>,
    pub(super) routers: Option<Routers>,
    pub(super) ipv4ll: Option<LinkLocal4>,
    /// What was set before a restart of the service, until the client takes it over.
    pub(super) kept_dhcp6: Option<(dhcp6::Lease, Duration)>,
    /// Something has changed since the kernel was last told.
    pub(super) dirty: bool,
    /// What cannot be done since the file was chosen; each is told once.
    pub(super) failures: BTreeSet<String>,
    /// The same of addresses and routes, which are tried again with each change.
    pub(super) refused: BTreeSet<String>,
    pub(super) seed: u64,
}

#[derive(Debug)]
pub(super) struct Client4 {
    pub(super) client: dhcp4::Client,
    frames: Option<OwnedFd>,
    arp: Option<OwnedFd>,
    /// Open while answers to the address are waited for, so that the kernel does not refuse them.
    unicast: Option<UdpSocket>,
}

#[derive(Debug)]
pub(super) struct Client6 {
    pub(super) client: dhcp6::Client,
    socket: UdpSocket,
    pub(super) mode: Mode,
}

#[derive(Debug)]
pub(super) struct LinkLocal4 {
    pub(super) client: ipv4ll::Client,
    arp: OwnedFd,
}

#[derive(Debug)]
pub(super) struct Routers {
    socket: OwnedFd,
    pub(super) heard: Heard,
    /// Number of questions asked, time of the next.
    asked: u32,
    next: Option<Duration>,
}

/// What of a link has something to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Frames,
    Arp,
    Dhcp6,
    Routers,
    LinkLocal4,
}

impl State {
    pub(super) fn new(link: Link, candidate: Candidate, seed: u64) -> Self {
        Self {
            link,
            candidate,
            addresses: Vec::new(),
            network: None,
            link_file: None,
            active: false,
            ours: Content::default(),
            dhcp4: None,
            dhcp6: None,
            routers: None,
            ipv4ll: None,
            kept_dhcp6: None,
            dirty: true,
            failures: BTreeSet::new(),
            refused: BTreeSet::new(),
            seed,
        }
    }

    /// Whether the service sets it up.
    pub(super) fn managed(&self) -> Option<&Network> {
        self.network.as_ref().filter(|network| !network.unmanaged)
    }

    pub(super) fn given(&self) -> Given<'_> {
        Given {
            dhcp4: self.dhcp4.as_ref().and_then(|dhcp| dhcp.client.lease()).map(|(lease, _)| lease),
            dhcp6: match &self.dhcp6 {
                Some(dhcp) => dhcp.client.lease().map(|(lease, _)| lease),
                None => self.kept_dhcp6.as_ref().map(|(lease, _)| lease),
            },
            heard: self.routers.as_ref().map(|routers| &routers.heard),
            ipv4ll: self.ipv4ll.as_ref().and_then(|own| own.client.address()),
        }
    }

    /// What belongs on it now.
    pub(super) fn content(&self) -> Content {
        match self.managed() {
            Some(network) if self.active && network.master.is_none() => plan::content(network, self.given()),
            _ => Content::default(),
        }
    }

    /// Whether all that the file asks for is there: every address of the file can be used; without
    /// any, one from a server or a router; without those, nothing is awaited.
    pub(super) fn is_configured(&self) -> bool {
        let Some(network) = self.managed() else { return false };
        let on_link = |wanted: IpAddr| {
            self.addresses
                .iter()
                .any(|found| found.address.address == wanted && found.flags & IFA_F_TENTATIVE == 0)
        };
        if network.master.is_some() {
            return self.link.master.is_some();
        }
        if !self.active || self.content() != self.ours {
            return false;
        }
        if !network.addresses.is_empty() {
            return network.addresses.iter().all(|fixed| on_link(fixed.address.address));
        }
        let asks = network.dhcp4 || network.dhcp6 || network.accepts_ra();
        if network.link_local.ipv4(false) && !network.dhcp4 && self.given().ipv4ll.is_none() {
            return false;
        }
        if !network.dhcp4 && !network.dhcp6 {
            // Router advertisements are taken by default, and most networks of this kind have none.
            return network.accept_ra != Some(true) || self.has_given();
        }
        !asks || self.has_given()
    }

    /// Whether a server or a router gave an address.
    fn has_given(&self) -> bool {
        let Given { dhcp4, dhcp6, heard, ipv4ll } = self.given();
        let of_routers = || {
            self.addresses.iter().any(|found| {
                found.scope == 0 && found.address.address.is_ipv6() && found.flags & IFA_F_TENTATIVE == 0
            })
        };
        dhcp4.is_some()
            || ipv4ll.is_some()
            || dhcp6.is_some_and(|lease| !lease.addresses.is_empty())
            || (heard.is_some() && of_routers())
    }

    fn random(&mut self) -> u64 {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.seed
    }

    /// The link's own address of IPv6, once it can be used.
    fn link_local(&self) -> Option<Ipv6Addr> {
        self.addresses.iter().find_map(|found| match found.address.address {
            IpAddr::V6(address)
                if address.is_unicast_link_local()
                    && found.flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED) == 0 =>
            {
                Some(address)
            }
            _ => None,
        })
    }

    /// Logs what is wrong, once until it is mended.
    pub(super) fn complain(&mut self, what: String) {
        if !self.failures.contains(&what) {
            log(&format!("error: {}: {what}", self.link.name));
            // A link that fails in ever new ways must not fill the memory.
            if self.failures.len() < 32 {
                self.failures.insert(what);
            }
        }
    }

    /// The kernel's switches that the file sets, relative to `/proc/sys/net`.
    pub(super) fn switches(&self) -> Vec<(String, String)> {
        let Some(network) = self.managed() else { return Vec::new() };
        let name = &self.link.name;
        let mut all = Vec::new();
        for (family, on, whole) in [
            ("ipv4", network.forward_ipv4, "ipv4/ip_forward"),
            ("ipv6", network.forward_ipv6, "ipv6/conf/all/forwarding"),
        ] {
            match on {
                Some(true) => all.push((whole.to_owned(), "1".to_owned())),
                Some(false) => all.push((format!("{family}/conf/{name}/forwarding"), "0".to_owned())),
                None => {}
            }
        }
        // 2: also where packets are forwarded, be it by another's doing (the kernel's ip-sysctl.rst).
        let accept = if network.accepts_ra() { "2" } else { "0" };
        all.push((format!("ipv6/conf/{name}/accept_ra"), accept.to_owned()));
        // 1: no address of its own; 0: one of the hardware address.
        let mode = if !network.link_local.ipv6() || network.master.is_some() { "1" } else { "0" };
        all.push((format!("ipv6/conf/{name}/addr_gen_mode"), mode.to_owned()));
        all.extend(network.switches.iter().map(|(path, value)| (path.replace("{}", name), value.clone())));
        all
    }
}
