//! The clients of a link: starts and stops them, hands them what comes, does what they want.

use super::super::files::Files;
use super::super::{facts, log};
use super::{Client4, Client6, LinkLocal4, Routers, Source, State};
use crate::config::Network;
use crate::config::value::Mac;
use crate::dhcp4::frame::{
    self, ARP, ARP_FILTER, Arp, CLIENT_PORT, DHCP_FILTER, IPV4, LINK_LOCAL_FILTER, SERVER_PORT,
};
use crate::dhcp6::Mode;
use crate::router::{self, Advertisement, Heard};
use crate::{dhcp4, dhcp6, ipv4ll};
use nix::sys::socket::sockopt::{BindToDevice, RcvBuf};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, SockaddrIn};
use nix::sys::socket::{bind, recv, send, setsockopt, socket};
use std::ffi::OsString;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

/// Frames that are taken from a socket before others get their turn.
const TURN: usize = 32;
/// Largest frame that is looked at.
const FRAME: usize = 2048;
/// `RTR_SOLICITATION_INTERVAL`, `MAX_RTR_SOLICITATIONS` (RFC 4861 section 10).
const SOLICIT_WAIT: Duration = Duration::from_secs(4);
const SOLICITATIONS: u32 = 3;

impl State {
    /// Starts what the file asks for, once there is a carrier.
    pub(in crate::daemon) fn start(&mut self, now: Duration, root: &Path, files: &Files) {
        self.active = true;
        self.dirty = true;
        let Some(network) = self.managed().cloned() else { return };
        let Some(mac) = self.link.mac.filter(|_| network.master.is_none() && self.link.has_carrier()) else {
            return;
        };
        if network.dhcp4 && self.dhcp4.is_none() {
            self.start_dhcp4(now, &network, mac, root, files);
        }
        self.choose_ipv4ll(now);
        if network.accepts_ra() && self.routers.is_none() {
            match sys::packet::open(self.link.index, router::IPV6, &router::FILTER) {
                Ok(socket) => {
                    self.routers =
                        Some(Routers { socket, heard: Heard::default(), asked: 0, next: Some(now) });
                }
                Err(error) => self.complain(format!("cannot listen to routers: {error}")),
            }
        }
        self.start_dhcp6(now, root);
    }

    fn start_dhcp4(&mut self, now: Duration, network: &Network, mac: Mac, root: &Path, files: &Files) {
        let client_id = if network.dhcpv4.client_id_is_mac {
            [&[1][..], &mac.0].concat()
        } else {
            // RFC 4361: type, IAID, DUID.
            [&[255][..], &facts::identity(&self.link.name).to_be_bytes(), &facts::duid(root)].concat()
        };
        let hostname =
            network.dhcpv4.hostname.clone().or_else(own_name).filter(|_| network.dhcpv4.send_hostname);
        let settings = dhcp4::Settings { mac, client_id, hostname, probe: network.dhcpv4.send_decline };
        let mut client = dhcp4::Client::new(settings, self.random());
        let kept = files.lease(self.link.index, &self.link.name).map(|(lease, age, of_this_boot)| {
            let there = self.addresses.iter().any(|found| found.address == lease.address);
            (lease, now.saturating_sub(age), of_this_boot && there)
        });
        let actions = client.start(now, kept);
        self.dhcp4 = Some(Client4 { client, frames: None, arp: None, unicast: None });
        self.do_dhcp4(now, files, actions);
    }

    /// Starts the client of IPv6 when its conditions hold, or in the other mode when routers say so.
    pub(in crate::daemon) fn start_dhcp6(&mut self, now: Duration, root: &Path) {
        let (Some(network), true) = (self.managed(), self.active) else { return };
        let said = self.routers.as_ref().map(|routers| routers.heard.dhcp6());
        let mode = if (network.dhcp6 && network.dhcpv6.without_ra) || network.ra.always_dhcp6 {
            Mode::Stateful
        } else {
            match said.filter(|_| network.ra.start_dhcp6) {
                Some((true, _)) => Mode::Stateful,
                Some((false, true)) => Mode::Stateless,
                _ => return,
            }
        };
        let (Some(local), true) = (self.link_local(), network.master.is_none()) else { return };
        if self.dhcp6.as_ref().is_some_and(|dhcp| dhcp.mode == mode) {
            return;
        }
        let open = || {
            let socket = UdpSocket::bind(SocketAddrV6::new(local, 546, 0, self.link.index))?;
            socket.set_nonblocking(true)?;
            Ok::<_, io::Error>(socket)
        };
        // The socket of the other mode stands in the way of a new one.
        self.dhcp6 = None;
        match open() {
            Ok(socket) => {
                let seed = self.random();
                let id = facts::duid(root);
                let mut client = dhcp6::Client::new(id, facts::identity(&self.link.name), seed);
                let kept = self.kept_dhcp6.take();
                client.start(now, mode, kept);
                self.dhcp6 = Some(Client6 { client, socket, mode });
                self.dirty = true;
            }
            Err(error) => self.complain(format!("cannot open DHCPv6's socket: {error}")),
        }
    }

    /// Stops all clients. What they had is taken off at the next change of the link.
    pub(in crate::daemon) fn stop(&mut self, now: Duration, files: &Files, release: bool) {
        self.active = false;
        self.dirty = true;
        let asked = |network: &Network| network.dhcpv4.send_release;
        if let Some(dhcp) = &mut self.dhcp4 {
            let release = release && self.network.as_ref().is_some_and(asked);
            let actions = dhcp.client.stop(now, release);
            self.do_dhcp4(now, files, actions);
        }
        if let Some(dhcp) = &mut self.dhcp6 {
            let actions = dhcp.client.stop(now, release);
            self.do_dhcp6(actions);
        }
        (self.dhcp4, self.dhcp6, self.routers, self.ipv4ll) = (None, None, None, None);
    }

    /// The earliest time at which something is due.
    pub(in crate::daemon) fn deadline(&self) -> Option<Duration> {
        let dhcp4 = self.dhcp4.as_ref().and_then(|dhcp| dhcp.client.deadline());
        let dhcp6 = self.dhcp6.as_ref().and_then(|dhcp| dhcp.client.deadline());
        let routers = self.routers.as_ref();
        let asks = routers.and_then(|routers| routers.next).filter(|_| self.link_local().is_some());
        let ends = routers.and_then(|routers| routers.heard.deadline());
        let ipv4ll = self.ipv4ll.as_ref().and_then(|own| own.client.deadline());
        [dhcp4, dhcp6, asks, ends, ipv4ll, self.kept_end()].into_iter().flatten().min()
    }

    /// When what a predecessor got by IPv6 is over.
    fn kept_end(&self) -> Option<Duration> {
        let (lease, acquired) = self.kept_dhcp6.as_ref()?;
        let valid = lease.addresses.iter().map(|leased| leased.valid).max()?;
        (valid != u32::MAX).then(|| *acquired + Duration::from_secs(valid.into()))
    }

    /// Does what is due.
    pub(in crate::daemon) fn tick(&mut self, now: Duration, files: &Files) {
        if let Some(dhcp) = &mut self.dhcp4 {
            let actions = dhcp.client.tick(now);
            self.do_dhcp4(now, files, actions);
        }
        if let Some(dhcp) = &mut self.dhcp6 {
            let actions = dhcp.client.tick(now);
            self.do_dhcp6(actions);
        }
        if let Some(own) = &mut self.ipv4ll {
            let actions = own.client.tick(now);
            self.do_ipv4ll(&actions);
        }
        self.choose_ipv4ll(now);
        self.ask_routers(now);
        if self.kept_end().is_some_and(|end| end <= now) {
            (self.kept_dhcp6, self.dirty) = (None, true);
        }
        if let Some(routers) = &mut self.routers
            && routers.heard.deadline().is_some_and(|end| end <= now)
        {
            routers.heard.expire(now);
            self.dirty = true;
        }
    }

    fn ask_routers(&mut self, now: Duration) {
        let (Some(local), Some(mac)) = (self.link_local(), self.link.mac) else { return };
        let Some(routers) = &mut self.routers else { return };
        if routers.next.is_none_or(|next| next > now) {
            return;
        }
        routers.asked += 1;
        let enough = routers.heard.any() || routers.asked > SOLICITATIONS;
        routers.next = (!enough).then_some(now + SOLICIT_WAIT);
        if !enough
            && let Err(error) =
                send(routers.socket.as_raw_fd(), &router::solicitation(mac, Some(local)), MsgFlags::empty())
        {
            self.complain(format!("cannot ask routers: {error}"));
        }
    }

    /// Asks servers again now.
    pub(in crate::daemon) fn renew(&mut self, now: Duration, files: &Files) {
        if let Some(dhcp) = &mut self.dhcp4 {
            let actions = dhcp.client.renew(now);
            self.do_dhcp4(now, files, actions);
        }
        if let Some(dhcp) = &mut self.dhcp6 {
            let actions = dhcp.client.renew(now);
            self.do_dhcp6(actions);
        }
    }

    /// The kernel has found another machine with an address of ours.
    pub(in crate::daemon) fn conflict(&mut self, now: Duration, address: IpAddr) {
        log(&format!("{}: another machine has {address}", self.link.name));
        if let (IpAddr::V6(address), Some(dhcp)) = (address, &mut self.dhcp6) {
            let actions = dhcp.client.conflict(now, address);
            self.do_dhcp6(actions);
        }
    }

    /// Descriptors to wait for.
    pub(in crate::daemon) fn sources(&self) -> Vec<(Source, BorrowedFd<'_>)> {
        let mut all = Vec::new();
        if let Some(dhcp) = &self.dhcp4 {
            all.extend(dhcp.frames.as_ref().map(|socket| (Source::Frames, socket.as_fd())));
            all.extend(dhcp.arp.as_ref().map(|socket| (Source::Arp, socket.as_fd())));
        }
        all.extend(self.dhcp6.as_ref().map(|dhcp| (Source::Dhcp6, dhcp.socket.as_fd())));
        all.extend(self.ipv4ll.as_ref().map(|own| (Source::LinkLocal4, own.arp.as_fd())));
        all.extend(self.routers.as_ref().map(|routers| (Source::Routers, routers.socket.as_fd())));
        all
    }

    /// Reads what came.
    pub(in crate::daemon) fn receive(&mut self, now: Duration, source: Source, root: &Path, files: &Files) {
        let mut buffer = [0; FRAME];
        for _ in 0..TURN {
            let fd =
                self.sources().into_iter().find(|(other, _)| *other == source).map(|(_, fd)| fd.as_raw_fd());
            let Some(Ok(length)) = fd.map(|fd| recv(fd, &mut buffer, MsgFlags::MSG_DONTWAIT)) else { return };
            let bytes = &buffer[..length];
            if source == Source::LinkLocal4 {
                let (Some(own), Some(arp)) = (&mut self.ipv4ll, Arp::decode(bytes)) else { continue };
                let actions = own.client.heard(now, &arp);
                self.do_ipv4ll(&actions);
                continue;
            }
            match (source, &mut self.dhcp4, &mut self.dhcp6, &mut self.routers) {
                (Source::Frames, Some(dhcp), ..) => {
                    if let Some(message) = frame::datagram(bytes).and_then(dhcp4::Message::decode) {
                        let actions = dhcp.client.receive(now, &message);
                        self.do_dhcp4(now, files, actions);
                    }
                }
                (Source::Arp, Some(dhcp), ..) => {
                    if let Some(arp) = Arp::decode(bytes) {
                        let actions = dhcp.client.heard(now, &arp);
                        self.do_dhcp4(now, files, actions);
                    }
                }
                (Source::Dhcp6, _, Some(dhcp), _) => {
                    if let Some(message) = dhcp6::Message::decode(bytes, dhcp.client.identity()) {
                        let actions = dhcp.client.receive(now, &message);
                        self.do_dhcp6(actions);
                    }
                }
                (Source::Routers, _, _, Some(routers)) => {
                    if let Some(advertisement) = Advertisement::decode(bytes) {
                        let before = routers.heard.clone();
                        routers.heard.take(now, &advertisement);
                        self.dirty |= routers.heard != before;
                        self.start_dhcp6(now, root);
                    }
                }
                _ => return,
            }
        }
    }

    /// Starts or ends the link-local address of IPv4. With DHCP it is there only while no server
    /// answers (RFC 3927 section 1.9: not beside a routable one).
    fn choose_ipv4ll(&mut self, now: Duration) {
        let Some(network) = self.managed().filter(|network| self.active && network.master.is_none()) else {
            return;
        };
        let wanted = network.link_local.ipv4(network.dhcp4)
            && match &self.dhcp4 {
                Some(dhcp) if dhcp.client.lease().is_some() => false,
                Some(dhcp) => self.ipv4ll.is_some() || dhcp.client.is_unanswered(),
                None => !network.dhcp4,
            };
        if !wanted {
            self.dirty |= self.ipv4ll.take().is_some();
            return;
        }
        let (None, Some(mac)) = (&self.ipv4ll, self.link.mac) else { return };
        match sys::packet::open(self.link.index, ARP, &LINK_LOCAL_FILTER) {
            Ok(arp) => {
                let mut client = ipv4ll::Client::new(mac, self.random());
                client.start(now, self.kept_ipv4ll());
                self.ipv4ll = Some(LinkLocal4 { client, arp });
                self.dirty = true;
            }
            Err(error) => self.complain(format!("cannot listen to ARP: {error}")),
        }
    }

    /// The address of 169.254/16 that a predecessor made and that is on the link.
    fn kept_ipv4ll(&self) -> Option<Ipv4Addr> {
        let there = |wanted| self.addresses.iter().any(|found| found.address.address == wanted);
        self.ours.addresses.iter().map(|new| new.address.address).filter(|address| there(*address)).find_map(
            |address| match address {
                IpAddr::V4(address) if address.is_link_local() => Some(address),
                _ => None,
            },
        )
    }

    fn do_ipv4ll(&mut self, actions: &[ipv4ll::Action]) {
        let (Some(mac), Some(own)) = (self.link.mac, &self.ipv4ll) else { return };
        let name = &self.link.name;
        let mut failed = None;
        for action in actions {
            let frame = match *action {
                ipv4ll::Action::Probe(address) => Arp::question(mac, Ipv4Addr::UNSPECIFIED, address),
                ipv4ll::Action::Announce(address) => Arp::question(mac, address, address),
                ipv4ll::Action::Bound(address) => {
                    log(&format!("{name}: {address} is free, and this link's"));
                    self.dirty = true;
                    continue;
                }
                ipv4ll::Action::Lost(address) => {
                    log(&format!("{name}: another machine insists on {address}: it is given up"));
                    self.dirty = true;
                    continue;
                }
            };
            if let Err(error) = sent(Ok(&own.arp), &frame) {
                failed = Some(format!("cannot send ARP: {error}"));
            }
        }
        if let Some(what) = failed {
            self.complain(what);
        }
    }

    fn do_dhcp4(&mut self, now: Duration, files: &Files, actions: Vec<dhcp4::Action>) {
        for action in actions {
            self.dirty |= matches!(action, dhcp4::Action::Bound(_) | dhcp4::Action::Lost(..));
            if let Err(what) = self.one_dhcp4(now, files, action) {
                self.complain(what);
            }
        }
        let Some(dhcp) = &mut self.dhcp4 else { return };
        if !dhcp.client.listens() {
            (dhcp.frames, dhcp.unicast) = (None, None);
        }
        if dhcp.client.state_name() != "probing" {
            dhcp.arp = None;
        }
    }

    fn one_dhcp4(&mut self, now: Duration, files: &Files, action: dhcp4::Action) -> Result<(), String> {
        let (index, name) = (self.link.index, self.link.name.clone());
        let (Some(mac), Some(dhcp)) = (self.link.mac, &mut self.dhcp4) else { return Ok(()) };
        match action {
            dhcp4::Action::Broadcast(message) => {
                let frame = frame::to_everyone(mac, message.client, &message.encode());
                sent(packet(&mut dhcp.frames, index, IPV4, &DHCP_FILTER), &frame)
                    .map_err(|e| format!("cannot send DHCP: {e}"))
            }
            dhcp4::Action::Unicast(message, server) => {
                packet(&mut dhcp.frames, index, IPV4, &DHCP_FILTER)
                    .map_err(|e| format!("cannot hear DHCP: {e}"))?;
                dhcp.unicast = None;
                let socket =
                    unicast(&name, message.client).map_err(|e| format!("cannot open DHCP's socket: {e}"))?;
                let done = socket.send_to(&message.encode(), SocketAddrV4::new(server, SERVER_PORT));
                dhcp.unicast = Some(socket);
                // A server that cannot be reached is one that does not answer.
                done.map(|_| ()).map_err(|e| format!("cannot send DHCP to {server}: {e}"))
            }
            dhcp4::Action::Probe(address) => {
                let frame = Arp::question(mac, Ipv4Addr::UNSPECIFIED, address);
                sent(packet(&mut dhcp.arp, index, ARP, &ARP_FILTER), &frame)
                    .map_err(|e| format!("cannot probe: {e}"))
            }
            dhcp4::Action::Announce(address) => {
                let frame = Arp::question(mac, address, address);
                sent(packet(&mut dhcp.arp, index, ARP, &ARP_FILTER), &frame)
                    .map_err(|e| format!("cannot announce: {e}"))
            }
            dhcp4::Action::Bound(lease) => {
                log(&format!(
                    "{name}: DHCP gives {} for {} s, says {}",
                    lease.address, lease.lifetime, lease.server
                ));
                let age =
                    dhcp.client.lease().map_or(Duration::ZERO, |(_, acquired)| now.saturating_sub(acquired));
                files.keep_lease(index, &name, &lease, age).map_err(|e| format!("cannot keep the lease: {e}"))
            }
            dhcp4::Action::Lost(address, why) => {
                log(&format!("{name}: {address} is lost: {}", format!("{why:?}").to_lowercase()));
                files.drop_lease(index, &name);
                Ok(())
            }
        }
    }

    fn do_dhcp6(&mut self, actions: Vec<dhcp6::Action>) {
        for action in actions {
            let Some(dhcp) = &mut self.dhcp6 else { return };
            match action {
                dhcp6::Action::Send(message) => {
                    // ff02::1:2, RFC 8415 section 7.1
                    let servers = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);
                    let to = SocketAddrV6::new(servers, 547, 0, self.link.index);
                    if let Err(error) = dhcp.socket.send_to(&message.encode(), to) {
                        self.complain(format!("cannot send DHCPv6: {error}"));
                    }
                }
                dhcp6::Action::Bound(lease) => {
                    for leased in &lease.addresses {
                        log(&format!(
                            "{}: DHCPv6 gives {} for {} s",
                            self.link.name, leased.address, leased.valid
                        ));
                    }
                    self.dirty = true;
                }
                dhcp6::Action::Lost => {
                    log(&format!("{}: what DHCPv6 gave is lost", self.link.name));
                    self.dirty = true;
                }
            }
        }
    }
}

/// The socket for frames of a type, opened if it is not.
fn packet<'a>(
    socket: &'a mut Option<OwnedFd>,
    index: u32,
    kind: u16,
    filter: &[sys::packet::Instruction],
) -> io::Result<&'a OwnedFd> {
    let opened = match socket.take() {
        Some(open) => open,
        None => sys::packet::open(index, kind, filter)?,
    };
    Ok(socket.insert(opened))
}

fn sent(socket: io::Result<&OwnedFd>, frame: &[u8]) -> io::Result<()> {
    send(socket?.as_raw_fd(), frame, MsgFlags::empty())?;
    Ok(())
}

/// A socket that sends from the client's port. Answers are read as frames, so its own buffer is
/// as small as the kernel makes them.
fn unicast(link: &str, from: Ipv4Addr) -> io::Result<UdpSocket> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Inet, SockType::Datagram, flags, None)?;
    setsockopt(&socket, BindToDevice, &OsString::from(link))?;
    setsockopt(&socket, RcvBuf, &0)?;
    bind(socket.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(from, CLIENT_PORT)))?;
    Ok(UdpSocket::from(socket))
}

/// The machine's name, unless it has none of its own.
fn own_name() -> Option<String> {
    let name = nix::unistd::gethostname().ok()?.into_string().ok()?;
    (!["", "(none)", "localhost"].contains(&name.as_str())).then_some(name)
}
