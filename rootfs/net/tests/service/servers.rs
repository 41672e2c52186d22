//! The same against other servers: Kea's for both families, busybox's `udhcpd`, a relay, `radvd`.
//! `apt-get install kea-dhcp4-server kea-dhcp6-server udhcpd radvd` (their services need not run).

use super::world::{Program, World, serve_in};

const FILE: &str = "[Match]\nName=eth0\n[Network]\nDHCP=ipv4\nIPv6AcceptRA=no\n[DHCPv4]\nUseDomains=yes\n";
const FILE_6: &str =
    "[Match]\nName=eth0\n[Network]\nDHCP=ipv6\n[IPv6AcceptRA]\nUseDomains=yes\n[DHCPv6]\nUseDomains=yes\n";

/// The server's end of the link, with a carrier: Kea and radvd look for that once.
fn router(world: &World, addresses: &[&str]) {
    world.ip(&["link", "set", "eth0", "up"]);
    for address in addresses {
        world.far(&["ip", "address", "add", address, "dev", "srv0", "nodad"]);
    }
    world.far(&["ip", "link", "set", "srv0", "up"]);
    world.wait_far(&["ip", "link", "show", "dev", "srv0"], |said| said.contains("state UP"));
    world.wait_far(&["ip", "-6", "address", "show", "dev", "srv0"], |said| !said.contains("tentative"));
}

/// Kea's configuration of a family: its subnet, and what else stands beside.
fn kea(family: u8, subnet: &str, rest: &str) -> String {
    format!(
        r#"{{"Dhcp{family}": {{"interfaces-config": {{"interfaces": ["srv0"]}},
        "lease-database": {{"type": "memfile", "persist": false}}, {rest},
        "loggers": [{{"name": "kea-dhcp{family}", "severity": "DEBUG", "debuglevel": 55,
            "output_options": [{{"output": "stdout", "flush": true}}]}}],
        "subnet{family}": [{{{subnet}}}]}}}}"#
    )
}

fn kea4(world: &World) -> Program {
    let subnet = r#""id": 1, "subnet": "192.0.2.0/24", "pools": [{"pool": "192.0.2.100 - 192.0.2.150"}],
        "option-data": [{"name": "routers", "data": "192.0.2.1"},
            {"name": "domain-name-servers", "data": "192.0.2.53, 192.0.2.54"},
            {"name": "domain-name", "data": "example.org"},
            {"name": "domain-search", "data": "a.example, b.example"},
            {"name": "ntp-servers", "data": "192.0.2.123"}]"#;
    let config = world.config(
        "kea4.json",
        &kea(4, subnet, r#""valid-lifetime": 40, "renew-timer": 10, "rebind-timer": 30"#),
    );
    world.server(&["kea-dhcp4", "-c", &config], "DHCP4_STARTED")
}

#[test]
fn kea_gives_renews_and_takes_back() {
    let world = World::new();
    world.write("10-eth0.network", FILE);
    router(&world, &["192.0.2.1/24"]);
    let mut server = kea4(&world);
    let mut service = world.service();
    service.wait("DHCP gives 192.0.2.100/24 for 40 s, says 192.0.2.1");
    world.online("eth0:routable");
    let name = world.link_file("eth0");
    let told = world.wait_told(&name, |told| told.contains("DNS="));
    assert!(told.contains("DNS=192.0.2.53 192.0.2.54\nNTP=192.0.2.123\n"), "{told}");
    assert!(told.contains("DOMAINS=example.org a.example b.example\n"), "{told}");
    assert!(world.ip(&["-4", "route"]).contains("default via 192.0.2.1 dev eth0 proto dhcp src 192.0.2.100"));
    // By unicast, to the server's own address.
    world.ctl(&["renew", "eth0"]);
    service.wait("DHCP gives 192.0.2.100/24 for 40 s");
    server.wait("DHCP4_LEASE_ALLOC");
    world.ctl(&["down", "eth0"]);
    server.wait("DHCP4_RELEASE");
    // The address is free again, and asked for again.
    world.ctl(&["up", "eth0"]);
    world.online("eth0:routable");
}

#[test]
fn kea_hears_that_an_address_is_in_use() {
    let world = World::new();
    world.write("10-eth0.network", FILE);
    router(&world, &["192.0.2.1/24"]);
    let _other = world.neighbour("192.0.2.100/24");
    let mut server = kea4(&world);
    let mut service = world.service();
    service.wait("192.0.2.100 is lost: conflict");
    server.wait("DHCP4_DECLINE_LEASE");
    world.online("eth0:routable");
    assert!(!world.ip(&["-4", "address", "show", "dev", "eth0"]).contains("192.0.2.100/"));
}

#[test]
fn udhcpd_answers_by_unicast() {
    let world = World::new();
    world.write("10-eth0.network", FILE);
    router(&world, &["192.0.2.1/24"]);
    let leases = world.config("udhcpd.leases", "");
    let config = world.config(
        "udhcpd.conf",
        &format!(
            "interface srv0\nstart 192.0.2.20\nend 192.0.2.30\nlease_file {leases}\npidfile {leases}.pid\n\
             option subnet 255.255.255.0\nopt router 192.0.2.1\noption dns 192.0.2.53\noption domain example.org\n\
             option lease 120\nopt staticroutes 198.51.100.0/24 192.0.2.7, 0.0.0.0/0 192.0.2.1\n"
        ),
    );
    let mut server = world.server(&["udhcpd", "-f", &config], "started");
    let mut service = world.service();
    service.wait("for 120 s, says 192.0.2.1");
    world.online("eth0:routable");
    let routes = world.ip(&["-4", "route"]);
    assert!(
        routes.contains("198.51.100.0/24 via 192.0.2.7") && routes.contains("default via 192.0.2.1"),
        "{routes}"
    );
    world.ctl(&["renew", "eth0"]);
    service.wait("for 120 s, says 192.0.2.1");
    assert!(server.said().matches("ending ACK").count() >= 1, "{}", server.said());
}

#[test]
fn a_relay_passes_the_lease_of_a_server_in_another_network() {
    let world = World::new();
    world.write("10-eth0.network", FILE);
    router(&world, &["192.0.2.1/24"]);
    let beyond = world.beyond();
    let leases = world.config("leases", "");
    let mut server = serve_in(
        &beyond,
        &[
            "dnsmasq",
            "--keep-in-foreground",
            "--log-facility=-",
            "--conf-file=/dev/null",
            "--port=0",
            "--log-dhcp",
            "--user=root",
            "--pid-file=",
            &format!("--dhcp-leasefile={leases}"),
            "--dhcp-range=192.0.2.100,192.0.2.150,255.255.255.0,2m",
            "--dhcp-option=option:router,192.0.2.1",
        ],
        "started",
    );
    let _relay = world.server(
        &[
            "dnsmasq",
            "--keep-in-foreground",
            "--log-facility=-",
            "--conf-file=/dev/null",
            "--port=0",
            "--user=root",
            "--pid-file=",
            "--dhcp-relay=192.0.2.1,198.51.100.2",
        ],
        "started",
    );
    let mut service = world.service();
    service.wait("for 120 s, says 198.51.100.2");
    world.online("eth0:routable");
    assert!(world.ip(&["-4", "route"]).contains("default via 192.0.2.1"));
    // The server is beyond the router: what is renewed goes through it, not through the relay.
    world.ctl(&["renew", "eth0"]);
    service.wait("for 120 s, says 198.51.100.2");
    world.ctl(&["down", "eth0"]);
    server.wait("DHCPRELEASE");
}

#[test]
fn radvd_gives_prefixes_names_and_the_mtu() {
    let world = World::new();
    world.write(
        "10-eth0.network",
        "[Match]\nName=eth0\n[Network]\nIPv6AcceptRA=yes\n[IPv6AcceptRA]\nUseDomains=yes\n",
    );
    router(&world, &["fe80::1/64"]);
    world.far(&["sysctl", "-q", "net.ipv6.conf.all.forwarding=1"]);
    let text = |first: &str| {
        format!(
            "interface srv0 {{ AdvSendAdvert on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4; AdvLinkMTU 1400; \
             AdvDefaultLifetime 600;\n\
             prefix 2001:db8:1::/64 {{ AdvValidLifetime 7200; AdvPreferredLifetime {first}; DecrementLifetimes off; }};\n\
             prefix 2001:db8:2::/64 {{ AdvValidLifetime 7200; AdvPreferredLifetime 3600; }};\n\
             prefix 2001:db8:3::/64 {{ AdvOnLink on; AdvAutonomous off; }};\n\
             RDNSS 2001:db8::53 2001:db8::54 {{ AdvRDNSSLifetime 600; }};\n\
             DNSSL example.org a.example {{ AdvDNSSLLifetime 600; }};\n}};\n"
        )
    };
    let config = world.config("radvd.conf", &text("3600"));
    let pid = world.config("radvd.pid", "");
    let words = ["radvd", "-n", "-d", "1", "-m", "stderr", "-C", &config, "-p", &pid];
    std::fs::remove_file(&pid).unwrap();
    let mut server = world.server(&words, "started");
    let mut service = world.service();
    let usable = |said: &str, prefix: &str, word: &str| {
        said.lines().any(|line| line.contains(prefix) && line.contains(word) && !line.contains("tentative"))
    };
    let addresses = ["-6", "-o", "address", "show", "dev", "eth0"];
    let said = world.wait_ip(&addresses, |said| {
        usable(said, "2001:db8:1:", "dynamic") && usable(said, "2001:db8:2:", "dynamic")
    });
    assert!(!said.contains("2001:db8:3:") && !said.contains("deprecated"), "{said}");
    world.online("eth0:routable");
    let routes = world.ip(&["-6", "route"]);
    assert!(routes.contains("default via fe80::") && routes.contains("2001:db8:3::/64 dev eth0"), "{routes}");
    world.wait_ip(&["-6", "route"], |said| said.contains("mtu 1400"));
    let name = world.link_file("eth0");
    world.wait_told(&name, |told| {
        told.contains("DNS=2001:db8::53 2001:db8::54\n") && told.contains("DOMAINS=example.org a.example\n")
    });
    // A prefix that is to be left: its address stays for what is open, and is not chosen any more.
    std::fs::write(&config, text("0")).unwrap();
    server.hang_up();
    let said = world.wait_ip(&addresses, |said| usable(said, "2001:db8:1:", "deprecated"));
    assert!(!usable(&said, "2001:db8:2:", "deprecated"), "{said}");
    // A router that goes says so.
    server.stop();
    world.wait_told(&name, |told| !told.contains("DNS=") && !told.contains("DOMAINS="));
    world.wait_ip(&["-6", "route"], |said| !said.contains("default"));
    service.stop();
}

#[test]
fn kea_gives_renews_and_takes_back_by_ipv6() {
    let world = World::new();
    world.write("10-eth0.network", FILE_6);
    router(&world, &["fe80::1/64", "2001:db8::1/64"]);
    let subnet = r#""id": 1, "subnet": "2001:db8::/64", "interface": "srv0",
        "pools": [{"pool": "2001:db8::100 - 2001:db8::1ff"}],
        "option-data": [{"name": "dns-servers", "data": "2001:db8::53"},
            {"name": "domain-search", "data": "example.org"}, {"name": "preference", "data": "255"}]"#;
    // Its identifier would be kept in a folder of the system.
    let timers = r#""server-id": {"type": "EN", "enterprise-id": 2495, "identifier": "0123456789", "persist": false},
        "valid-lifetime": 60, "preferred-lifetime": 40, "renew-timer": 20, "rebind-timer": 30"#;
    let config = world.config("kea6.json", &kea(6, subnet, timers));
    let mut server = world.server(&["kea-dhcp6", "-c", &config], "DHCP6_STARTED");
    let config = world.config(
        "radvd.conf",
        "interface srv0 { AdvSendAdvert on; AdvManagedFlag on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4;\n\
         prefix 2001:db8::/64 { AdvAutonomous off; }; };\n",
    );
    let pid = format!("{config}.pid");
    world.far(&["sysctl", "-q", "net.ipv6.conf.all.forwarding=1"]);
    let _router =
        world.server(&["radvd", "-n", "-d", "1", "-m", "stderr", "-C", &config, "-p", &pid], "started");
    let mut service = world.service();
    service.wait("DHCPv6 gives 2001:db8::100 for 60 s");
    world.online("eth0:routable");
    let name = world.link_file("eth0");
    world.wait_told(&name, |told| {
        told.contains("DNS=2001:db8::53\n") && told.contains("DOMAINS=example.org\n")
    });
    world.ctl(&["renew", "eth0"]);
    service.wait("DHCPv6 gives 2001:db8::100 for 60 s");
    server.wait("DHCP6_LEASE_RENEW");
    world.ctl(&["down", "eth0"]);
    server.wait("DHCP6_RELEASE_NA");
    world.wait_ip(&["-6", "address", "show", "dev", "eth0"], |said| !said.contains("2001:db8::100/"));
}
