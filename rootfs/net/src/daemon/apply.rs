//! The service's hands: makes and changes links, sets addresses and routes, writes the files.

use super::control::Answer;
use super::link::State;
use super::report::{self, Report};
use super::{Daemon, log, now};
use crate::config::netdev::{Kind, Netdev, Tun};
use crate::config::network::Activation;
use crate::netlink::message::{self, IFF_LOOPBACK, LinkChange};
use crate::netlink::rule::{self, Rule};
use crate::plan::{self, Change, Content};
use nix::errno::Errno;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

impl Daemon {
    /// Makes the links of `.netdev` files that need no other.
    pub(super) fn make_netdevs(&mut self) {
        for at in 0..self.set.netdevs.len() {
            if !self.set.netdevs[at].kind.needs_lower() {
                self.make(at, None);
            }
        }
    }

    fn make(&mut self, at: usize, lower: Option<u32>) {
        let netdev = &self.set.netdevs[at];
        let kernel = &mut self.kernel;
        let mut make = || match &netdev.kind {
            Kind::Tun(options) => make_tun(&self.root, netdev, sys::tun::TUN, options),
            Kind::Tap(options) => make_tun(&self.root, netdev, sys::tun::TAP, options),
            kind => kernel.change(message::create_link(
                &netdev.name,
                (kind, &netdev.settings),
                netdev.mac,
                netdev.mtu,
                lower,
            )),
        };
        let no_driver = [Errno::EOPNOTSUPP, Errno::ENOENT, Errno::ENODEV].map(|errno| Some(errno as i32));
        let done = match make() {
            // No driver yet, and nobody whom the kernel could ask for it.
            Err(error) if no_driver.contains(&error.raw_os_error()) => {
                match sys::modules::load(netdev.kind.module()) {
                    Ok(_) => make(),
                    Err(error) => Err(io::Error::other(error)),
                }
            }
            done => done,
        };
        let there = [Errno::EEXIST, Errno::EBUSY].map(|errno| Some(errno as i32));
        match done {
            Ok(()) => log(&format!("{}: made, a {}", netdev.name, netdev.kind.name())),
            // It is there already: made before, or by another.
            Err(error) if there.contains(&error.raw_os_error()) => {}
            Err(error) => log(&format!(
                "error: {}: cannot make a {} named {}: {error}",
                netdev.path.display(),
                netdev.kind.name(),
                netdev.name
            )),
        }
    }

    /// A link is seen for the first time: its `.link` file, then its `.network` file.
    pub(super) fn introduce(&mut self, index: u32) {
        let Some(state) = self.links.get_mut(&index) else { return };
        let link = state.link.clone();
        let is_tun = |netdev: &&Netdev| matches!(netdev.kind, Kind::Tun(_) | Kind::Tap(_));
        if let Some(netdev) = self.set.netdevs.iter().filter(is_tun).find(|netdev| netdev.name == link.name)
            && (netdev.mac.is_some() || netdev.mtu.is_some())
        {
            let change = LinkChange { mac: netdev.mac, mtu: netdev.mtu, ..LinkChange::default() };
            if let Err(error) = self.kernel.change(message::change_link(index, &change)) {
                state.complain(format!("cannot set what {} says: {error}", netdev.path.display()));
            }
        }
        if let Some(file) = self.set.link_for(&state.candidate) {
            state.link_file = Some(file.path.display().to_string());
            let change = LinkChange {
                name: file.name.clone().filter(|name| *name != link.name),
                mac: file.mac.filter(|mac| link.mac != Some(*mac)),
                mtu: file.mtu.filter(|mtu| link.mtu != *mtu),
                ..LinkChange::default()
            };
            let nothing = change.name.is_none() && change.mac.is_none() && change.mtu.is_none();
            if !nothing && let Err(error) = self.kernel.change(message::change_link(index, &change)) {
                state.complain(format!("cannot set what {} says: {error}", file.path.display()));
            }
        }
        self.choose(index);
        // Another may wait to become its port.
        let waiting: Vec<u32> = self
            .links
            .iter()
            .filter(|(_, other)| {
                other.managed().is_some_and(|network| network.master.as_ref() == Some(&link.name))
            })
            .map(|(index, _)| *index)
            .collect();
        for index in waiting {
            self.enslave(index);
        }
    }

    /// Chooses the link's file and begins with it; what an earlier file set is taken off later.
    pub(super) fn choose(&mut self, index: u32) {
        let Some(state) = self.links.get_mut(&index) else { return };
        if state.active {
            state.stop(now(), &self.files, false);
        }
        state.failures.clear();
        state.refused.clear();
        let loopback = state.link.flags & IFF_LOOPBACK != 0 || state.candidate.kind_of_type == "loopback";
        state.network = self.set.network_for(&state.candidate).filter(|_| !loopback).cloned();
        if loopback {
            let up = LinkChange { up: Some(true), ..LinkChange::default() };
            self.change(index, &up);
            return;
        }
        let Some(network) = state.managed().cloned() else { return };
        log(&format!("{}: set up by {}", state.link.name, network.path.display()));
        for (switch, value) in state.switches() {
            let path = self.root.join("proc/sys/net").join(&switch);
            match write_switch(&path, &value) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    state.complain(format!("cannot set {switch} to {value}: {error}"));
                }
                // A kernel without IPv6 has no switch of it.
                _ => {}
            }
        }
        let link = state.link.clone();
        let change = LinkChange {
            mac: network.mac.filter(|mac| link.mac != Some(*mac)),
            mtu: network.mtu.filter(|mtu| link.mtu != *mtu),
            flags: network.flags,
            ..LinkChange::default()
        };
        if change.mac.is_some() || change.mtu.is_some() || change.flags.1 != 0 {
            self.change(index, &change);
        }
        self.enslave(index);
        for name in &network.upper {
            match self.set.netdevs.iter().position(|netdev| netdev.name == *name) {
                Some(at) => self.make(at, Some(index)),
                None => {
                    if let Some(state) = self.links.get_mut(&index) {
                        state.complain(format!("no .netdev file makes {name}"));
                    }
                }
            }
        }
        match network.activation {
            Activation::Up => self.change(index, &LinkChange { up: Some(true), ..LinkChange::default() }),
            Activation::Down => self.change(index, &LinkChange { up: Some(false), ..LinkChange::default() }),
            Activation::Manual => {}
        }
        // With the carrier that it has already; a later one is news.
        let Some(state) = self.links.get_mut(&index) else { return };
        if state.link.has_carrier() || network.configure_without_carrier {
            state.start(now(), &self.root, &self.files);
        }
    }

    /// Makes a link the port that its file wants it to be, once there is the other.
    fn enslave(&mut self, index: u32) {
        let Some(state) = self.links.get(&index) else { return };
        let Some(master) = state.managed().and_then(|network| network.master.clone()) else { return };
        let Some(of) = self.links.values().find(|other| other.link.name == master) else { return };
        let (is_bond, of) = (of.link.kind == "bond", of.link.index);
        if state.link.master == Some(of) {
            return;
        }
        if is_bond {
            // The kernel takes into a bond only what is off; what is known of the port may be of before.
            self.change(index, &LinkChange { up: Some(false), ..LinkChange::default() });
        }
        self.change(index, &LinkChange { master: Some(of), ..LinkChange::default() });
        // In a message of its own: before Linux 6.2 the kernel would switch it on first.
        self.change(index, &LinkChange { up: Some(true), ..LinkChange::default() });
    }

    fn change(&mut self, index: u32, change: &LinkChange) {
        if let Err(error) = self.kernel.change(message::change_link(index, change))
            && let Some(state) = self.links.get_mut(&index)
        {
            state.complain(format!("cannot change the link: {error}"));
        }
    }

    /// Switches a link on or off for `networkctl`.
    pub(super) fn switch(&mut self, index: u32, up: bool) -> Answer {
        if !up && let Some(state) = self.links.get_mut(&index) {
            state.stop(now(), &self.files, true);
            self.reconcile(index);
        }
        let change = LinkChange { up: Some(up), ..LinkChange::default() };
        match self.kernel.change(message::change_link(index, &change)) {
            Ok(()) => Answer::Done,
            Err(error) => Answer::Failed(error.to_string()),
        }
    }

    /// Does what is due, sets what has changed, tells it.
    pub(super) fn settle(&mut self) {
        let indices: Vec<u32> = self.links.keys().copied().collect();
        for index in indices {
            let Some(state) = self.links.get_mut(&index) else { continue };
            state.tick(now(), &self.files);
            if state.dirty {
                state.dirty = false;
                self.reconcile(index);
            }
        }
        self.tell();
    }

    /// Brings a link from what it has of ours to what belongs on it.
    fn reconcile(&mut self, index: u32) {
        // A rule is the machine's: one that another link's file has too stays.
        let others = self.links.iter().filter(|(other, _)| **other != index);
        let shared: BTreeSet<Rule> = others.flat_map(|(_, other)| other.ours.rules.iter().cloned()).collect();
        let Some(state) = self.links.get_mut(&index) else { return };
        if state.managed().is_none() && state.ours == Content::default() {
            return;
        }
        if let Some(mtu) = state.managed().and_then(|network| plan::mtu(network, state.given()))
            && state.active
            && state.link.mtu != mtu
        {
            let change = LinkChange { mtu: Some(mtu), ..LinkChange::default() };
            if let Err(error) = self.kernel.change(message::change_link(index, &change)) {
                state.complain(format!("cannot set the MTU to {mtu}: {error}"));
            }
        }
        let wanted = state.content();
        if let Err(error) = forget_what_is_gone(state, &mut self.kernel) {
            state.complain(format!("cannot look at addresses and routes: {error}"));
        }
        let mut refused = BTreeSet::new();
        for change in plan::changes(&state.ours, &wanted) {
            let (request, what) = match &change {
                Change::RemoveRoute(route) => (
                    message::remove_route(index, route),
                    format!("remove the route to {}", route.destination),
                ),
                Change::RemoveAddress(old) => {
                    (message::remove_address(index, old.address), format!("remove {}", old.address))
                }
                Change::SetAddress(new) => (message::set_address(index, new), format!("set {}", new.address)),
                Change::SetRoute(route) => {
                    (message::set_route(index, route), format!("set the route to {}", route.destination))
                }
                Change::RemoveRule(old) if shared.contains(old) => {
                    state.ours.rules.remove(old);
                    continue;
                }
                Change::RemoveRule(old) => {
                    (rule::remove(old), format!("remove the rule of table {}", old.table))
                }
                Change::SetRule(new) => (rule::add(new), format!("set the rule of table {}", new.table)),
            };
            let done = self.kernel.change(request);
            let gone = [Errno::ESRCH, Errno::EADDRNOTAVAIL, Errno::ENODEV].map(|errno| Some(errno as i32));
            match (change, done) {
                (Change::RemoveRoute(route), done) => {
                    state.ours.routes.remove(&route);
                    // The kernel takes routes away with the address that they are of.
                    if let Err(error) = done
                        && !gone.contains(&error.raw_os_error())
                    {
                        refused.insert(format!("cannot {what}: {error}"));
                    }
                }
                (Change::RemoveAddress(old), done) => {
                    state.ours.addresses.remove(&old);
                    if let Err(error) = done
                        && !gone.contains(&error.raw_os_error())
                    {
                        refused.insert(format!("cannot {what}: {error}"));
                    }
                }
                (Change::RemoveRule(old), done) => {
                    state.ours.rules.remove(&old);
                    if let Err(error) = done
                        && error.raw_os_error() != Some(Errno::ENOENT as i32)
                    {
                        refused.insert(format!("cannot {what}: {error}"));
                    }
                }
                (Change::SetRule(new), Err(error)) if error.raw_os_error() == Some(Errno::EEXIST as i32) => {
                    state.ours.rules.insert(new);
                }
                (Change::SetRule(new), Ok(())) => drop(state.ours.rules.insert(new)),
                (Change::SetRoute(new), Err(error)) if error.raw_os_error() == Some(Errno::EEXIST as i32) => {
                    state.ours.routes.insert(new);
                }
                (_, Err(error)) => drop(refused.insert(format!("cannot {what}: {error}"))),
                (Change::SetAddress(new), Ok(())) => {
                    state.ours.addresses.retain(|old| old.address != new.address);
                    state.ours.addresses.insert(new);
                }
                (Change::SetRoute(new), Ok(())) => drop(state.ours.routes.insert(new)),
            }
        }
        for what in refused.difference(&state.refused) {
            log(&format!("error: {}: {what}", state.link.name));
        }
        state.refused = refused;
        let dhcp6 = state
            .dhcp6
            .as_ref()
            .and_then(|dhcp| dhcp.client.lease())
            .filter(|(lease, _)| !lease.addresses.is_empty());
        let kept = self.files.keep_content(index, &state.link.name, &state.ours, dhcp6);
        if let Err(error) = kept {
            state.complain(format!("cannot keep what was set: {error}"));
        }
        self.name_the_machine(index);
    }

    /// Gives the machine the name that DHCP gives, if it has none of its own.
    fn name_the_machine(&mut self, index: u32) {
        let Some(state) = self.links.get(&index) else { return };
        let wants = state.managed().is_some_and(|network| network.dhcpv4.use_hostname);
        let Some(name) = state.given().dhcp4.and_then(|lease| lease.hostname.clone()).filter(|_| wants)
        else {
            return;
        };
        let fixed = fs::read_to_string(self.root.join("etc/hostname")).unwrap_or_default();
        let has_one = fixed.lines().any(|line| !line.trim().is_empty() && !line.starts_with('#'));
        let now =
            nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
        if has_one || now == name || !["", "(none)", "localhost"].contains(&now.as_str()) {
            return;
        }
        match nix::unistd::sethostname(&name) {
            Ok(()) => log(&format!("the machine's name is {name}, says DHCP")),
            Err(error) => log(&format!("error: cannot name the machine {name}: {error}")),
        }
    }

    /// Writes the files for others.
    fn tell(&mut self) {
        let reports = self.reports();
        for report in reports.iter().filter(|report| self.told.get(&report.index) != Some(*report)) {
            if let Err(error) = self.files.tell(report)
                && let Some(state) = self.links.get_mut(&report.index)
            {
                state.complain(format!("cannot tell of the link: {error}"));
            }
        }
        if reports.iter().ne(self.told.values()) {
            self.told = reports.iter().map(|report| (report.index, report.clone())).collect();
        }
        let overall = report::overall(self.links.values().map(|state| &state.link).zip(&reports));
        if let Err(error) = self.files.tell_overall(&overall) {
            log(&format!("error: cannot tell of the machine: {error}"));
        }
    }

    /// What is said of all links.
    pub(super) fn reports(&self) -> Vec<Report> {
        self.links.values().map(report::of).collect()
    }
}

/// Takes from what we set what the kernel no longer has: it drops routes with a carrier or an
/// address, and others may remove what they like.
fn forget_what_is_gone(state: &mut State, kernel: &mut crate::netlink::Handle) -> io::Result<()> {
    if state.ours == Content::default() {
        return Ok(());
    }
    let index = state.link.index;
    let addresses = kernel.addresses()?;
    state
        .ours
        .addresses
        .retain(|ours| addresses.iter().any(|found| found.link == index && found.address == ours.address));
    if !state.ours.rules.is_empty() {
        let rules = kernel.rules()?;
        state.ours.rules.retain(|ours| rules.iter().any(|found| ours.is(found)));
    }
    let mut there = vec![false; state.ours.routes.len()];
    kernel.each_route(|link, found| {
        for (ours, there) in state.ours.routes.iter().zip(&mut there) {
            *there |= (link == index || !ours.kind.has_link())
                && found.destination == ours.destination
                && found.table == ours.table
                && found.metric == ours.metric
                && found.gateway == ours.gateway;
        }
    })?;
    let mut there = there.into_iter();
    state.ours.routes.retain(|_| there.next().unwrap_or(false));
    Ok(())
}

/// Makes a link of tun(4); its hardware address and MTU are set when it is introduced.
fn make_tun(root: &Path, netdev: &Netdev, kind: u16, options: &Tun) -> io::Result<()> {
    let flag = |on: bool, flag: u16| if on { flag } else { 0 };
    let flags = kind
        | flag(options.multi_queue, sys::tun::MULTI_QUEUE)
        | flag(!options.packet_info, sys::tun::NO_PACKET_INFO)
        | flag(options.vnet_header, sys::tun::VNET_HEADER);
    let number = |name: &Option<String>, file: &str| match name {
        None => Ok(None),
        Some(name) => number_of(&root.join(file), name)
            .map(Some)
            .ok_or_else(|| io::Error::other(format!("there is no {name} in /{file}"))),
    };
    let (owner, group) = (number(&options.user, "etc/passwd")?, number(&options.group, "etc/group")?);
    sys::tun::create(&netdev.name, flags, owner, group)
}

/// The number of a user or a group (passwd(5), group(5)): the third field of its line.
fn number_of(path: &Path, name: &str) -> Option<u32> {
    if let Ok(number) = name.parse() {
        return Some(number);
    }
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.split(':').next() == Some(name))?;
    line.split(':').nth(2)?.parse().ok()
}

fn write_switch(path: &Path, value: &str) -> io::Result<()> {
    // Writing what is there already can have effects, such as every link's switches set anew.
    if fs::read_to_string(path)?.trim() == value { Ok(()) } else { fs::write(path, value) }
}
