//! What a broken or hostile network does: floods, many prefixes and routes, links that flap. The
//! service's memory stays bounded, it does not spin, and it heals when the network does.

use super::scripted::in_network;
use super::world::{Program, World};
use net::dhcp4::frame::checksum;
use nix::sys::socket::{MsgFlags, send};
use std::net::Ipv6Addr;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

/// Memory of the service that no flood may exceed, kB of `VmRSS`; at rest it has about a third.
const MEMORY_KB: u64 = 16 << 10;

fn status(program: &Program, key: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/status", program.id())).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().unwrap()
}

/// A frame with a router's advertisement of these options, from this router.
fn advertisement(router: Ipv6Addr, lifetime: u16, options: &[u8]) -> Vec<u8> {
    let everyone = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    let mut body = vec![134, 0, 0, 0, 64, 0];
    body.extend(lifetime.to_be_bytes());
    body.extend([0; 8]);
    body.extend(options);
    let addresses = [router.octets(), everyone.octets()].concat();
    let sum = checksum([&addresses[..], &(body.len() as u32).to_be_bytes(), &[0, 0, 0, 58], &body]);
    body[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut frame = vec![0x33, 0x33, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9, 0x86, 0xdd, 0x60, 0, 0, 0];
    frame.extend((body.len() as u16).to_be_bytes());
    frame.extend([58, 255]);
    frame.extend(addresses);
    frame.extend(body);
    frame
}

/// A prefix, a route, a server and a domain of the `n`th advertisement.
fn options(n: u16) -> Vec<u8> {
    let prefix = |last: u16| Ipv6Addr::new(0x2001, 0xdb8, n, last, 0, 0, 0, 0).octets();
    let hour = 3600_u32.to_be_bytes();
    let prefix_option = [&[3, 4, 64, 0xc0][..], &hour, &hour, &[0; 4], &prefix(1)].concat();
    let route_option = [&[24, 3, 64, 0][..], &hour, &prefix(2)].concat();
    let server_option = [&[25, 3, 0, 0][..], &hour, &prefix(3)].concat();
    let mut domain_option = [&[31, 3, 0, 0][..], &hour].concat();
    domain_option.extend([5]);
    domain_option.extend(format!("d{n:04x}").bytes());
    domain_option.resize(24, 0);
    [prefix_option, route_option, server_option, domain_option].concat()
}

#[test]
fn thousands_of_routers_and_prefixes_fill_nothing() {
    let world = World::new();
    world.write(
        "10-eth0.network",
        "[Match]\nName=eth0\n[Network]\nAddress=192.0.2.5/24\nIPv6AcceptRA=yes\n[IPv6AcceptRA]\nUseDomains=yes\n",
    );
    world.far(&["ip", "link", "set", "srv0", "up"]);
    let mut service = world.service();
    world.online("eth0:routable");
    in_network(&world, |index| {
        let socket = sys::packet::open(index, 0x88b5, &[(6, 0, 0, 0)]).unwrap();
        for n in 0..5000_u16 {
            let router = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 9, n);
            let frame = advertisement(router, 1800, &options(n));
            // A full queue drops frames, as a real network would.
            let _ = send(socket.as_raw_fd(), &frame, MsgFlags::empty());
        }
        // Then each of them takes itself back.
        for n in 0..5000_u16 {
            let router = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 9, n);
            let _ = send(socket.as_raw_fd(), &advertisement(router, 0, &[]), MsgFlags::empty());
        }
    });
    // It still does what it is asked for, and the fixed address is where it was.
    let shown: serde_json::Value =
        serde_json::from_str(&world.ctl(&["--json=short", "status", "eth0"])).unwrap();
    let names = shown["Names"]["dns"].as_array().unwrap().len();
    assert!(names <= 16, "{names} servers of names");
    // The kernel's bound is 16 addresses a link (max_addresses), the service's none of its own.
    let said = world.ip(&["-6", "-o", "address", "show", "dev", "eth0"]);
    assert!(said.lines().count() <= 18, "{said}");
    assert!(status(&service, "VmHWM") < MEMORY_KB, "{} kB", status(&service, "VmHWM"));
    world.write("10-eth0.network", "[Match]\nName=eth0\n[Network]\nAddress=192.0.2.6/24\nIPv6AcceptRA=no\n");
    world.ctl(&["reload"]);
    world.wait_ip(&["-4", "address", "show", "dev", "eth0"], |said| said.contains("192.0.2.6/"));
    world.wait_told(&world.link_file("eth0"), |told| !told.contains("DNS="));
    service.stop();
}

#[test]
fn a_link_that_flaps_a_hundred_times_heals() {
    let world = World::new();
    world.write(
        "10-eth0.network",
        "[Match]\nName=eth0\n[Network]\nDHCP=yes\nLinkLocalAddressing=fallback\nAddress=198.51.100.5/24\n",
    );
    let _server = world.dnsmasq(
        &["192.0.2.1/24", "2001:db8::1/64"],
        &[
            "--enable-ra",
            "--dhcp-range=2001:db8::100,2001:db8::1ff,64,2m",
            "--dhcp-range=192.0.2.100,192.0.2.150,255.255.255.0,2m",
        ],
    );
    // The server's own addresses are to outlive its cable.
    world.far(&["sysctl", "-q", "net.ipv6.conf.srv0.keep_addr_on_down=1"]);
    let service = world.service();
    world.online("eth0:routable");
    let before = service.descriptors();
    world.far(&[
        "sh",
        "-c",
        "i=0; while [ $i -lt 100 ]; do ip link set srv0 down; ip link set srv0 up; i=$((i+1)); done",
    ]);
    for wanted in ["inet 192.0.2.1", "inet 198.51.100.5/24", "inet6 2001:db8::1"] {
        world.wait_ip(&["address", "show", "dev", "eth0"], |said| said.contains(wanted));
    }
    world.online("eth0:routable");
    assert!(service.descriptors() <= before + 2, "{before} descriptors became {}", service.descriptors());
    assert!(status(&service, "VmHWM") < MEMORY_KB, "{} kB", status(&service, "VmHWM"));
}

#[test]
fn answers_that_nobody_asked_for_cost_little() {
    let world = World::new();
    world.write(
        "10-eth0.network",
        "[Match]\nName=eth0\n[Network]\nDHCP=ipv4\nLinkLocalAddressing=fallback\nIPv6AcceptRA=no\n",
    );
    world.far(&["ip", "link", "set", "srv0", "up"]);
    let mut service = world.service();
    world.wait_ip(&["link", "show", "eth0"], |said| said.contains("LOWER_UP"));
    in_network(&world, |index| {
        let socket = sys::packet::open(index, 0x88b5, &[(6, 0, 0, 0)]).unwrap();
        let began = Instant::now();
        let mut count = 0_u32;
        // Offers with a hundred options each, and ARP of every address of 169.254/16.
        while count < 40_000 && began.elapsed() < Duration::from_secs(10) {
            let _ = send(socket.as_raw_fd(), &offer(count), MsgFlags::empty());
            let _ = send(socket.as_raw_fd(), &claim(count), MsgFlags::empty());
            count += 1;
        }
    });
    assert!(status(&service, "VmHWM") < MEMORY_KB, "{} kB", status(&service, "VmHWM"));
    let _server =
        world.dnsmasq(&["192.0.2.1/24"], &["--dhcp-range=192.0.2.100,192.0.2.150,255.255.255.0,2m"]);
    service.wait("DHCP gives 192.0.2.1");
    world.online("eth0:routable");
}

/// A frame from a server to a client, with an answer of another's transaction.
fn offer(transaction: u32) -> Vec<u8> {
    let mut datagram = vec![2, 1, 6, 0];
    datagram.extend(transaction.to_be_bytes());
    datagram.resize(236, 7);
    datagram.extend([0x63, 0x82, 0x53, 0x63]);
    for option in 1..100 {
        datagram.extend([option, 4, 1, 2, 3, 4]);
    }
    datagram.push(255);
    let mut frame = net::dhcp4::frame::to_everyone(
        "02:00:00:00:00:09".parse().unwrap(),
        [192, 0, 2, 66].into(),
        &datagram,
    );
    frame[34..38].copy_from_slice(&[0, 67, 0, 68]);
    frame
}

fn claim(number: u32) -> Vec<u8> {
    let address = std::net::Ipv4Addr::from_bits(0xa9fe_0000 + (number & 0xffff));
    net::dhcp4::frame::Arp::question("02:00:00:00:00:09".parse().unwrap(), address, address)
}
