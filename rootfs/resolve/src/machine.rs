//! What the machine is now: links, addresses, gateways, host name.

use crate::links::{FOLDER, Settings};
use crate::scope::Link;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::{InterfaceFlags, if_nametoindex};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// What tells one content of a file from another.
pub type Stamp = (u64, u64, i64, i64);

/// Inode, size and time of a file.
pub fn stamp(path: &Path) -> Option<Stamp> {
    let about = fs::metadata(path).ok()?;
    Some((about.ino(), about.size(), about.mtime(), about.mtime_nsec()))
}

/// A file's text up to a size; nothing when it cannot be read.
pub fn read_bounded(path: &Path, size_max: u64) -> String {
    let mut bytes = Vec::new();
    if let Ok(file) = File::open(path) {
        // What was read before an error is as good as a shorter file.
        let _ = file.take(size_max).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The kernel's host name.
pub fn hostname() -> String {
    nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Links and addresses.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Links but the loopback, by number, each with what the network service says of it.
    pub links: Vec<Link>,
    /// Their addresses: those for all the world first.
    pub addresses: Vec<IpAddr>,
    /// Default gateways, the best first.
    pub gateways: Vec<IpAddr>,
    /// What was wrong in the network service's files.
    pub problems: Vec<String>,
}

/// Looks at links, their files and the routes.
///
/// # Errors
/// The kernel does not list the links.
pub fn look() -> nix::Result<Now> {
    let mut now = Now::default();
    let mut links: BTreeMap<u32, Link> = BTreeMap::new();
    for entry in getifaddrs()? {
        let Ok(index) = if_nametoindex(entry.interface_name.as_str()) else { continue };
        if entry.flags.contains(InterfaceFlags::IFF_LOOPBACK) {
            continue;
        }
        let up = entry.flags.contains(InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING);
        links.entry(index).or_insert_with(|| Link {
            index,
            name: entry.interface_name.clone(),
            up,
            multicast: entry.flags.contains(InterfaceFlags::IFF_MULTICAST),
            settings: Settings::default(),
        });
        let Some(address) = entry.address.filter(|_| up) else { continue };
        if let Some(v4) = address.as_sockaddr_in() {
            now.addresses.push(v4.ip().into());
        } else if let Some(v6) = address.as_sockaddr_in6() {
            now.addresses.push(v6.ip().into());
        }
    }
    now.addresses.sort_by_key(is_link_local);
    if now.addresses.first().is_some_and(|first| !is_link_local(first)) {
        now.addresses.retain(|address| !is_link_local(address));
    }
    for link in links.values_mut() {
        let path = Path::new(FOLDER).join(link.index.to_string());
        let (settings, problems) = Settings::parse(&read_bounded(&path, 1 << 16));
        link.settings = settings;
        now.problems.extend(problems.iter().map(|problem| format!("{}: {problem}", path.display())));
    }
    now.links = links.into_values().collect();
    now.gateways = gateways(
        &read_bounded(Path::new("/proc/net/route"), 1 << 20),
        &read_bounded(Path::new("/proc/net/ipv6_route"), 1 << 20),
    );
    Ok(now)
}

fn is_link_local(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

/// Whether a loopback is up and has an address of 127.0.0.0/8.
pub fn loopback_is_up() -> bool {
    let wanted = InterfaceFlags::IFF_LOOPBACK | InterfaceFlags::IFF_UP;
    getifaddrs().is_ok_and(|all| {
        all.filter(|entry| entry.flags.contains(wanted))
            .filter_map(|entry| entry.address)
            .any(|address| address.as_sockaddr_in().is_some_and(|v4| v4.ip().is_loopback()))
    })
}

/// Addresses of a link, for LLMNR.
pub fn addresses_of(link: &str) -> Vec<IpAddr> {
    let Ok(all) = getifaddrs() else { return Vec::new() };
    let of_link = all.filter(|entry| entry.interface_name == link).filter_map(|entry| entry.address);
    of_link
        .filter_map(|address| {
            let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
        })
        .collect()
}

/// The gateways of the default routes, by metric, from the kernel's two tables (proc(5)).
fn gateways(v4: &str, v6: &str) -> Vec<IpAddr> {
    let mut found: Vec<(u32, IpAddr)> = Vec::new();
    for line in v4.lines().skip(1) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, "00000000", gateway, flags, _, _, metric, "00000000", ..] = words[..] else { continue };
        let (Ok(gateway), Ok(flags)) = (u32::from_str_radix(gateway, 16), u32::from_str_radix(flags, 16))
        else {
            continue;
        };
        if flags & RTF_GATEWAY != 0 {
            let address = Ipv4Addr::from(gateway.to_ne_bytes());
            found.push((metric.parse().unwrap_or(u32::MAX), address.into()));
        }
    }
    for line in v6.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [to, "00", _, _, gateway, metric, _, _, flags, _] = words[..] else { continue };
        let (Ok(gateway), Ok(flags)) = (u128::from_str_radix(gateway, 16), u32::from_str_radix(flags, 16))
        else {
            continue;
        };
        if to.bytes().all(|byte| byte == b'0') && flags & RTF_GATEWAY != 0 {
            let metric = u32::from_str_radix(metric, 16).unwrap_or(u32::MAX);
            found.push((metric, Ipv6Addr::from(gateway).into()));
        }
    }
    found.sort_by_key(|(metric, _)| *metric);
    let mut addresses: Vec<IpAddr> = Vec::new();
    for (_, address) in found {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    addresses
}

const RTF_GATEWAY: u32 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateways_by_metric() {
        let v4 = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n\
                  eth1\t00000000\t0202000A\t0003\t0\t0\t1024\t00000000\t0\t0\t0\n\
                  eth0\t00000000\t0100A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n\
                  eth0\t0000A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0\nnonsense\n";
        let v6 = "00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000200 00000001 00000000 00000003 eth0\n\
                  00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200 lo\n";
        let texts: Vec<String> = gateways(v4, v6).iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["192.168.0.1", "fe80::1", "10.0.2.2"]);
    }
}
