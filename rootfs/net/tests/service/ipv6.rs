//! Router advertisements and DHCP for IPv6, both from dnsmasq.

use super::world::World;

const FILE: &str =
    "[Match]\nName=eth0\n[Network]\nDHCP=ipv6\n[IPv6AcceptRA]\nUseDomains=yes\n[DHCPv6]\nUseDomains=yes\n";

fn index(world: &World) -> String {
    world.ip(&["-o", "link", "show", "eth0"]).split(':').next().unwrap().to_owned()
}

#[test]
fn a_router_gives_the_network_and_a_server_the_address() {
    let world = World::new();
    world.write("10-eth0.network", FILE);
    let _server = world.dnsmasq(
        &["2001:db8::1/64"],
        &[
            "--enable-ra",
            "--dhcp-range=2001:db8::100,2001:db8::1ff,64,2m",
            "--dhcp-option=option6:dns-server,[2001:db8::53]",
            "--dhcp-option=option6:domain-search,example.org",
            "--dhcp-option=option6:ntp-server,[2001:db8::123]",
        ],
    );
    let mut service = world.service();
    service.wait("DHCPv6 gives 2001:db8::1");
    let said = world.wait_ip(&["-6", "-o", "address", "show", "dev", "eth0"], |said| {
        said.lines()
            .any(|line| line.contains("2001:db8::1") && line.contains("/128") && !line.contains("tentative"))
    });
    assert!(said.contains("inet6 fe80::"), "{said}");
    world.online("eth0:routable");
    assert!(world.ip(&["-6", "route"]).contains("default via fe80::"));
    let told = world.told(&format!("links/{}", index(&world)));
    assert!(told.contains("DNS=2001:db8::53\n") && told.contains("NTP=2001:db8::123\n"), "{told}");
    assert!(told.contains("DOMAINS=example.org\n"), "{told}");
    // A restart asks for the same again, and the address is there all the time.
    let address = said
        .lines()
        .find(|line| line.contains("/128"))
        .unwrap()
        .split_whitespace()
        .nth(3)
        .unwrap()
        .to_owned();
    service.stop();
    let mut again = world.service();
    again.wait(&format!("DHCPv6 gives {}", address.trim_end_matches("/128")));
    assert!(!again.said().contains("lost"));
    assert!(world.ip(&["-6", "-o", "address", "show", "dev", "eth0"]).contains(&address));
}

#[test]
fn addresses_of_the_router_and_the_rest_of_a_server() {
    let world = World::new();
    world.write("10-eth0.network", FILE);
    let _server = world.dnsmasq(
        &["2001:db8:1::1/64"],
        &[
            "--enable-ra",
            "--dhcp-range=2001:db8:1::,ra-stateless,64,10m",
            "--dhcp-option=option6:dns-server,[2001:db8::53]",
            "--dhcp-option=option6:ntp-server,[2001:db8::123]",
        ],
    );
    let _service = world.service();
    world.wait_ip(&["-6", "-o", "address", "show", "dev", "eth0"], |said| {
        said.lines().any(|line| {
            line.contains("2001:db8:1:") && line.contains("dynamic") && !line.contains("tentative")
        })
    });
    world.online("eth0:routable");
    // dnsmasq tells the server of names in its advertisement, and that of time by DHCP only.
    let name = format!("links/{}", index(&world));
    world
        .wait_told(&name, |told| told.contains("DNS=2001:db8::53\n") && told.contains("NTP=2001:db8::123\n"));
}

#[test]
fn a_file_that_wants_no_ipv6_has_none() {
    let world = World::new();
    world.write(
        "10-eth0.network",
        "[Match]\nName=eth0\n[Network]\nAddress=192.0.2.5/24\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n",
    );
    let _server =
        world.dnsmasq(&["2001:db8::1/64"], &["--enable-ra", "--dhcp-range=2001:db8::,ra-only,64,10m"]);
    let _service = world.service();
    world.online("eth0:routable");
    assert_eq!(world.ip(&["-6", "address", "show", "dev", "eth0"]), "");
}

#[test]
fn an_address_in_use_is_declined() {
    let world = World::new();
    world.write("10-eth0.network", FILE);
    let mut server = world
        .dnsmasq(&["2001:db8::1/64"], &["--enable-ra", "--dhcp-range=2001:db8::100,2001:db8::100,64,2m"]);
    let _other = world.neighbour("2001:db8::100/64");
    let mut service = world.service();
    service.wait("eth0: another machine has 2001:db8::100");
    service.wait("what DHCPv6 gave is lost");
    server.wait("DHCPDECLINE(srv0)");
    world.wait_ip(&["-6", "address", "show", "dev", "eth0"], |said| !said.contains("2001:db8::100/"));
}
