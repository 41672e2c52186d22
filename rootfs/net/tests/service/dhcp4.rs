//! DHCP for IPv4 against dnsmasq, with `ip` as the judge.

use super::world::World;

const FILE: &str = "[Match]\nName=eth0\n[Network]\nDHCP=ipv4\nIPv6AcceptRA=no\n[DHCPv4]\nUseMTU=yes\nUseDomains=yes\nRouteMetric=50\n";
const RANGE: &str = "--dhcp-range=192.0.2.100,192.0.2.150,255.255.255.0,2m";

#[test]
fn everything_that_a_server_gives_is_set_and_told() {
    let world = World::new();
    world.write("10-eth0.network", FILE);
    let _server = world.dnsmasq(
        &["192.0.2.1/24"],
        &[
            RANGE,
            "--dhcp-option=option:dns-server,192.0.2.53,192.0.2.54",
            "--dhcp-option=option:ntp-server,192.0.2.123",
            "--dhcp-option=option:mtu,1400",
            "--domain=example.org",
            "--dhcp-option=option:domain-search,a.example,b.example",
            "--dhcp-option=option:classless-static-route,198.51.100.0/24,192.0.2.7,0.0.0.0/0,192.0.2.1",
        ],
    );
    let mut service = world.service();
    world.online("eth0:routable");
    let addresses = world.ip(&["-4", "-o", "address", "show", "dev", "eth0"]);
    assert!(addresses.contains("inet 192.0.2.1") && addresses.contains("/24 brd 192.0.2.255"), "{addresses}");
    let routes = world.ip(&["-4", "route"]);
    assert!(routes.contains("default via 192.0.2.1 dev eth0 proto dhcp src 192.0.2.1"), "{routes}");
    assert!(routes.contains("198.51.100.0/24 via 192.0.2.7 dev eth0 proto dhcp"), "{routes}");
    assert!(routes.contains("metric 50"), "{routes}");
    assert!(world.ip(&["link", "show", "eth0"]).contains("mtu 1400"));
    let index = world.ip(&["-o", "link", "show", "eth0"]).split(':').next().unwrap().to_owned();
    let told = world.told(&format!("links/{index}"));
    for line in [
        "ADMIN_STATE=configured",
        "OPER_STATE=routable",
        "NETWORK_FILE=/etc/systemd/network/10-eth0.network",
        "DNS=192.0.2.53 192.0.2.54",
        "NTP=192.0.2.123",
        "DOMAINS=example.org a.example b.example",
    ] {
        assert!(told.lines().any(|other| other == line), "{line} is not in\n{told}");
    }
    assert!(
        world.told("state").contains("OPER_STATE=routable\nONLINE_STATE=online\nDNS=192.0.2.53 192.0.2.54\n")
    );
    assert!(world.told(&format!("leases/{index}")).contains("SERVER_ADDRESS=192.0.2.1\n"));
    assert!(world.saved("dhcp4-eth0.lease").contains("LIFETIME=120\n"));
    let shown: serde_json::Value =
        serde_json::from_str(&world.ctl(&["--json=short", "status", "eth0"])).unwrap();
    assert_eq!((&shown["Setup"], &shown["Dhcp4"]["State"]), (&"configured".into(), &"bound".into()));
    assert!(world.ctl(&["list"]).contains("eth0 ether    routable    configured"));
    service.stop();
}

#[test]
fn a_restart_keeps_the_address_and_the_lease() {
    let world = World::new();
    world.write("10-eth0.network", FILE);
    let mut server = world.dnsmasq(&["192.0.2.1/24"], &[RANGE]);
    let mut service = world.service();
    world.online("eth0:routable");
    let before = world.ip(&["-4", "-o", "address", "show", "dev", "eth0"]);
    service.stop();
    assert_eq!(world.ip(&["-4", "-o", "address", "show", "dev", "eth0"]), before);
    let mut again = world.service();
    again.wait("DHCP gives");
    assert_eq!(world.ip(&["-4", "-o", "address", "show", "dev", "eth0"]), before);
    let said = server.said();
    assert_eq!(said.matches("DHCPDISCOVER").count(), 1, "the second start asks for what it has: {said}");
    again.kill();
    let mut third = world.service();
    third.wait("DHCP gives");
    assert_eq!(world.ip(&["-4", "-o", "address", "show", "dev", "eth0"]), before);
    third.stop();
}

#[test]
fn a_link_that_is_switched_off_gives_its_lease_back() {
    let world = World::new();
    world.write("10-eth0.network", FILE);
    let mut server = world.dnsmasq(&["192.0.2.1/24"], &[RANGE]);
    let _service = world.service();
    world.online("eth0:routable");
    world.ctl(&["down", "eth0"]);
    server.wait("DHCPRELEASE(srv0)");
    world.wait_ip(&["-4", "address", "show", "dev", "eth0"], |said| !said.contains("inet "));
    assert_eq!(world.saved("dhcp4-eth0.lease"), "");
    world.ctl(&["up", "eth0"]);
    world.online("eth0:routable");
}

#[test]
fn an_address_in_use_is_declined() {
    let world = World::new();
    world.write("10-eth0.network", FILE);
    // The server does not look, and the first address is taken.
    let mut server = world.dnsmasq(&["192.0.2.1/24"], &["--no-ping", "--dhcp-sequential-ip", RANGE]);
    let _other = world.neighbour("192.0.2.100/24");
    let mut service = world.service();
    server.wait("DHCPDECLINE(srv0) 192.0.2.100");
    service.wait("192.0.2.100 is lost: conflict");
    world.online("eth0:routable");
    let addresses = world.ip(&["-4", "-o", "address", "show", "dev", "eth0"]);
    assert!(!addresses.contains("192.0.2.100/") && addresses.contains("inet 192.0.2.1"), "{addresses}");
}

#[test]
fn a_cable_that_is_pulled_and_put_back() {
    let world = World::new();
    world.write("10-eth0.network", FILE);
    let mut server = world.dnsmasq(&["192.0.2.1/24"], &[RANGE]);
    let _service = world.service();
    world.online("eth0:routable");
    let before = world.ip(&["-4", "-o", "address", "show", "dev", "eth0"]);
    world.far(&["ip", "link", "set", "srv0", "down"]);
    world.wait_ip(&["-4", "address", "show", "dev", "eth0"], |said| !said.contains("inet "));
    assert!(world.ctl(&["list"]).contains("no-carrier  configuring"));
    world.far(&["ip", "link", "set", "srv0", "up"]);
    world.online("eth0:routable");
    assert_eq!(world.ip(&["-4", "-o", "address", "show", "dev", "eth0"]), before);
    assert_eq!(server.said().matches("DHCPDISCOVER").count(), 1, "{}", server.said());
}

#[test]
fn a_link_that_comes_later_and_only_links_that_are_meant() {
    let world = World::new();
    world.write("10-late.network", "[Match]\nName=late*\n[Network]\nDHCP=ipv4\n");
    let _server = world.dnsmasq(&["192.0.2.1/24"], &[RANGE]);
    let _service = world.service();
    world.wait_ip(&["link", "show", "lo"], |said| said.contains("UP"));
    world.ip(&["link", "set", "eth0", "name", "late0"]);
    world.online("late0:routable");
    world.ip(&["link", "add", "other0", "type", "veth", "peer", "name", "other1"]);
    world.ip(&["link", "set", "late0", "down"]);
    world.wait_ip(&["-4", "address", "show", "dev", "late0"], |said| !said.contains("inet "));
    assert!(!world.ip(&["link", "show", "other0"]).contains("UP"), "no file is for it");
}

#[test]
fn the_machine_takes_its_name_from_dhcp_when_it_has_none() {
    let world = World::new();
    world.write("10-eth0.network", FILE);
    let _server = world.dnsmasq(&["192.0.2.1/24"], &[RANGE, "--dhcp-option-force=12,node-7"]);
    let mut service = world.service();
    service.wait("the machine's name is node-7");
    assert_eq!(world.run(&["hostname"]), "node-7\n");
}
