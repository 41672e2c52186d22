//! Addresses, routes and links that files give.

use super::world::World;

#[test]
fn addresses_and_routes_come_and_go_with_the_file() {
    let world = World::new();
    world.far(&["ip", "link", "set", "srv0", "up"]);
    world.write(
        "10-eth0.network",
        "[Match]\nName=eth0\n[Link]\nMTUBytes=1450\nMACAddress=02:00:00:00:00:55\n[Network]\nAddress=192.0.2.5/24\n\
         Address=2001:db8::5/64\nGateway=192.0.2.1\nGateway=fe80::1\nDNS=192.0.2.53\nIPv6AcceptRA=no\n\
         [Address]\nAddress=192.0.2.6/24\nPreferredLifetime=0\n\
         [Route]\nDestination=198.51.100.0/24\nGateway=192.0.2.9\nMetric=7\nTable=100\n\
         [Route]\nDestination=203.0.113.0/24\nType=unreachable\n\
         [Route]\nDestination=10.1.0.0/16\nGateway=10.9.9.9\nGatewayOnLink=yes\n",
    );
    let mut service = world.service();
    world.online("eth0:routable");
    let addresses = world.ip(&["-o", "address", "show", "dev", "eth0"]);
    for wanted in ["192.0.2.5/24 brd 192.0.2.255", "2001:db8::5/64", "192.0.2.6/24"] {
        assert!(addresses.contains(wanted), "{wanted} is not in\n{addresses}");
    }
    assert!(
        addresses.lines().any(|line| line.contains("192.0.2.6") && line.contains("deprecated")),
        "{addresses}"
    );
    let link = world.ip(&["link", "show", "eth0"]);
    assert!(link.contains("mtu 1450") && link.contains("02:00:00:00:00:55"), "{link}");
    let routes = world.ip(&["route", "show", "table", "all"]);
    for wanted in [
        "default via 192.0.2.1 dev eth0 proto static",
        "198.51.100.0/24 via 192.0.2.9 dev eth0 table 100 proto static metric 7",
        "unreachable 203.0.113.0/24 proto static",
        "10.1.0.0/16 via 10.9.9.9 dev eth0 proto static onlink",
    ] {
        assert!(routes.contains(wanted), "{wanted} is not in\n{routes}");
    }
    assert!(world.ip(&["-6", "route"]).contains("default via fe80::1 dev eth0 proto static metric 1024"));
    // What others set stays; what the file no longer says goes.
    world.ip(&["address", "add", "192.0.2.77/24", "dev", "eth0"]);
    world.write("10-eth0.network", "[Match]\nName=eth0\n[Network]\nAddress=192.0.2.5/24\nIPv6AcceptRA=no\n");
    world.ctl(&["reload"]);
    let addresses = world.ip(&["-o", "address", "show", "dev", "eth0"]);
    assert!(addresses.contains("192.0.2.5/24") && addresses.contains("192.0.2.77/24"), "{addresses}");
    assert!(!addresses.contains("192.0.2.6/") && !addresses.contains("2001:db8::5"), "{addresses}");
    let routes = world.ip(&["route", "show", "table", "all"]);
    assert!(!routes.contains("proto static"), "{routes}");
    service.stop();
}

#[test]
fn rules_choose_tables_and_are_the_machines() {
    let world = World::new();
    world.connect("eth1", "srv1");
    for link in ["0", "1"] {
        world.far(&["ip", "link", "set", &format!("srv{link}"), "up"]);
        let text = format!(
            "[Match]\nName=eth{link}\n[Link]\nMulticast=no\nAllMulticast=yes\n[Network]\nAddress=192.0.{link}.5/24\nIPv6AcceptRA=no\n\
             IPv6PrivacyExtensions=yes\nIPv4ReversePathFilter=loose\n\
             [Route]\nDestination=10.0.0.0/8\nGateway=192.0.{link}.1\nTable=10{link}\nMTUBytes=1300\nInitialCongestionWindow=20\nQuickAck=yes\n\
             [Route]\nDestination=10.9.0.0/16\nType=throw\nTable=10{link}\nProtocol=ra\n\
             [RoutingPolicyRule]\nFrom=192.0.{link}.0/24\nTable=10{link}\nPriority=20{link}\nFirewallMark=7/15\nIPProtocol=tcp\nDestinationPort=80-90\n\
             [RoutingPolicyRule]\nFamily=both\nTable=main\nSuppressPrefixLength=0\nPriority=300\n"
        );
        world.write(&format!("10-eth{link}.network"), &text);
    }
    let mut service = world.service();
    world.online("eth0:routable");
    world.online("eth1:routable");
    let rules = world.ip(&["rule"]);
    for wanted in [
        "200:\tfrom 192.0.0.0/24 fwmark 0x7/0xf ipproto tcp dport 80-90 lookup 100 proto static",
        "201:\tfrom 192.0.1.0/24 fwmark 0x7/0xf ipproto tcp dport 80-90 lookup 101 proto static",
        "300:\tfrom all lookup main suppress_prefixlength 0 proto static",
    ] {
        assert!(rules.contains(wanted), "{wanted} is not in\n{rules}");
    }
    assert!(world.ip(&["-6", "rule"]).contains("300:\tfrom all lookup main suppress_prefixlength 0"));
    assert_eq!(rules.lines().count(), 6, "each once: {rules}");
    let routes = world.ip(&["route", "show", "table", "101"]);
    assert!(
        routes.contains("10.0.0.0/8 via 192.0.1.1 dev eth1 proto static mtu 1300 initcwnd 20 quickack 1"),
        "{routes}"
    );
    assert!(routes.contains("throw 10.9.0.0/16 proto ra"), "{routes}");
    let link = world.ip(&["link", "show", "eth1"]);
    assert!(link.contains("ALLMULTI") && !link.contains(",MULTICAST"), "{link}");
    assert_eq!(world.run(&["cat", "/proc/sys/net/ipv6/conf/eth1/use_tempaddr"]), "2\n");
    assert_eq!(world.run(&["cat", "/proc/sys/net/ipv4/conf/eth1/rp_filter"]), "2\n");
    // A restart finds its own rules; one link's go, and what the other has too stays.
    service.stop();
    let _again = world.service();
    world.online("eth1:routable");
    world.write("10-eth1.network", "[Match]\nName=eth1\n[Network]\nAddress=192.0.1.5/24\nIPv6AcceptRA=no\n");
    world.ctl(&["reload"]);
    let rules = world.ip(&["rule"]);
    assert!(
        !rules.contains("lookup 101") && rules.contains("300:") && rules.contains("lookup 100"),
        "{rules}"
    );
    assert_eq!(rules.lines().count(), 5, "{rules}");
}

#[test]
fn what_the_kernel_refuses_is_told_and_the_rest_is_done() {
    let world = World::new();
    world.far(&["ip", "link", "set", "srv0", "up"]);
    world.write(
        "10-eth0.network",
        "[Match]\nName=eth0\n[Network]\nAddress=192.0.2.5/24\nGateway=198.51.100.1\nDhcp=yes\nMulticastDNS=yes\nIPv6AcceptRA=no\n",
    );
    let mut service = world.service();
    service.wait("10-eth0.network:6: warning: unknown key `Dhcp=` in section [Network]");
    service.wait("10-eth0.network:7: error: [Network] MulticastDNS= is not supported");
    service.wait("error: eth0: cannot set the route to 0.0.0.0/0: Network is unreachable");
    assert!(world.ip(&["-4", "address", "show", "dev", "eth0"]).contains("192.0.2.5/24"));
    world.wait_ctl(&["list"], |said| said.contains("failed"));
}

#[test]
fn links_are_made_and_joined() {
    let world = World::new();
    world.far(&["ip", "link", "set", "srv0", "up"]);
    world.write("10-br0.netdev", "[NetDev]\nName=br0\nKind=bridge\n[Bridge]\nSTP=no\nMulticastSnooping=no\n");
    world.write(
        "20-v.netdev",
        "[NetDev]\nName=v0\nKind=veth\nMACAddress=02:00:00:00:00:10\n[Peer]\nName=v1\n",
    );
    world.write(
        "30-vx.netdev",
        "[NetDev]\nName=vx0\nKind=vxlan\n[VXLAN]\nVNI=42\nRemote=192.0.2.9\nLocal=192.0.2.5\nMacLearning=no\n",
    );
    world.write("10-eth0.network", "[Match]\nName=eth0 v1\n[Network]\nBridge=br0\n");
    world.write(
        "20-br0.network",
        "[Match]\nName=br0\n[Network]\nAddress=192.0.2.5/24\nVXLAN=vx0\nIPv6AcceptRA=no\n",
    );
    let _service = world.service();
    world.online("br0:routable");
    let eth0 = world.ip(&["link", "show", "eth0"]);
    assert!(eth0.contains("master br0"), "{eth0}");
    world.online("eth0:enslaved");
    let bridge = world.ip(&["-d", "link", "show", "br0"]);
    assert!(bridge.contains("stp_state 0") && bridge.contains("mcast_snooping 0"), "{bridge}");
    let pair = world.ip(&["-d", "link", "show", "v0"]);
    assert!(pair.contains("02:00:00:00:00:10") && pair.contains("veth"), "{pair}");
    let tunnel = world.wait_ip(&["-d", "link"], |said| said.contains("vxlan id 42"));
    assert!(tunnel.contains("remote 192.0.2.9 local 192.0.2.5 dev br0"), "{tunnel}");
    assert!(tunnel.contains("dstport 4789") && tunnel.contains("nolearning"), "{tunnel}");
}

#[test]
fn bridges_taps_and_macvlans_with_their_settings() {
    let world = World::new();
    world.far(&["ip", "link", "set", "srv0", "up"]);
    world.write(
        "10-br0.netdev",
        "[NetDev]\nName=br0\nKind=bridge\n[Bridge]\nSTP=yes\nPriority=4096\nHelloTimeSec=1\nMaxAgeSec=10\nForwardDelaySec=4\n\
         AgeingTimeSec=60s\n",
    );
    world.write(
        "20-tap.netdev",
        "[NetDev]\nName=tap0\nKind=tap\nMACAddress=02:00:00:00:00:20\nMTUBytes=1400\n[Tap]\nUser=1\nGroup=2\nMultiQueue=yes\n",
    );
    world.write("20-tun.netdev", "[NetDev]\nName=tun0\nKind=tun\n[Tun]\nPacketInfo=yes\nUser=nobody\n");
    world.write(
        "30-mv.netdev",
        "[NetDev]\nName=mv0\nKind=macvlan\nMACAddress=02:00:00:00:00:30\n[MACVLAN]\nMode=bridge\n",
    );
    world.write("40-no.netdev", "[Match]\nHost=another\n[NetDev]\nName=no0\nKind=bridge\n");
    world.write(
        "10-eth0.network",
        "[Match]\nName=eth0\nVirtualization=!container\n[Network]\nMACVLAN=mv0\nIPv6AcceptRA=no\n",
    );
    world.write(
        "20-mv0.network",
        "[Match]\nName=mv0\nHost=localhost\n[Network]\nAddress=192.0.2.5/24\nIPv6AcceptRA=no\n",
    );
    let _service = world.service();
    world.online("mv0:routable");
    let macvlan = world.ip(&["-d", "link", "show", "mv0"]);
    assert!(macvlan.contains("macvlan mode bridge") && macvlan.contains("02:00:00:00:00:30"), "{macvlan}");
    let bridge = world.ip(&["-d", "link", "show", "br0"]);
    for wanted in [
        "stp_state 1",
        "priority 4096",
        "hello_time 100",
        "max_age 1000",
        "forward_delay 400",
        "ageing_time 6000",
    ] {
        assert!(bridge.contains(wanted), "{wanted} is not in\n{bridge}");
    }
    let tap = world.wait_ip(&["-d", "link", "show", "tap0"], |said| said.contains("mtu 1400"));
    for wanted in ["tun type tap", "02:00:00:00:00:20", "multi_queue", "user daemon group bin", "persist on"]
    {
        assert!(tap.contains(wanted), "{wanted} is not in\n{tap}");
    }
    let tun = world.ip(&["-d", "link", "show", "tun0"]);
    assert!(tun.contains("tun type tun pi on") && tun.contains("user nobody"), "{tun}");
    assert!(!world.ip(&["link"]).contains("no0"));
}

#[test]
fn a_link_file_renames_and_a_link_of_no_file_is_left_alone() {
    let world = World::new();
    world.far(&["ip", "link", "set", "srv0", "up"]);
    world.ip(&["link", "set", "eth0", "address", "02:00:00:00:00:01"]);
    world.write("10-lan.link", "[Match]\nMACAddress=02:00:00:00:00:01\n[Link]\nName=lan0\n");
    world.write("10-lan.network", "[Match]\nName=lan0\n[Network]\nAddress=192.0.2.5/24\n");
    let _service = world.service();
    world.online("lan0:routable");
    world.ip(&["link", "add", "other0", "type", "veth", "peer", "name", "other1"]);
    world.wait_ctl(&["list"], |said| said.contains("other0 ether    off         unmanaged"));
    assert!(!world.ip(&["link", "show", "other0"]).contains("UP"));
}

#[test]
fn an_address_that_someone_takes_off_comes_back() {
    let world = World::new();
    world.far(&["ip", "link", "set", "srv0", "up"]);
    world.write(
        "10-eth0.network",
        "[Match]\nName=eth0\n[Network]\nAddress=192.0.2.5/24\nGateway=192.0.2.1\nIPv6AcceptRA=no\n",
    );
    let _service = world.service();
    world.online("eth0:routable");
    world.ip(&["address", "del", "192.0.2.5/24", "dev", "eth0"]);
    world.wait_ip(&["route"], |said| said.contains("default via 192.0.2.1"));
    assert!(world.ip(&["address", "show", "dev", "eth0"]).contains("192.0.2.5/24"));
}

#[test]
fn waiting_for_a_link_without_carrier_ends_in_time() {
    let world = World::new();
    world.write("10-eth0.network", "[Match]\nName=eth0\n[Network]\nDHCP=yes\n");
    let _service = world.service();
    let (code, said) =
        world.try_run(&[env!("CARGO_BIN_EXE_net-applets"), "networkd-wait-online", "--timeout=1"]);
    assert_eq!((code, said.lines().next()), (1, Some("error: the machine is not online in time")));
    world.wait_ctl(&["list"], |said| said.contains("no-carrier  configuring"));
    let (code, said) = world.try_run(&[env!("CARGO_BIN_EXE_net-applets"), "networkctl", "renew", "eth7"]);
    assert_eq!((code, said.as_str()), (1, "error: there is no link eth7\n"));
}

#[test]
fn two_links_have_a_default_route_each() {
    let world = World::new();
    world.connect("eth1", "srv1");
    for (link, net) in [("0", "192.0.2"), ("1", "198.51.100")] {
        world.far(&["ip", "link", "set", &format!("srv{link}"), "up"]);
        let text = format!(
            "[Match]\nName=eth{link}\n[Network]\nAddress={net}.5/24\nGateway={net}.1\nGateway=fe80::1\nIPv6AcceptRA=no\n"
        );
        world.write(&format!("10-eth{link}.network"), &text);
    }
    let _service = world.service();
    world.online("eth0:routable");
    world.online("eth1:routable");
    for family in ["-4", "-6"] {
        let routes =
            world.wait_ip(&[family, "-o", "route"], |said| said.contains("eth0") && said.contains("eth1"));
        for link in ["eth0", "eth1"] {
            let has = |line: &str| line.contains("default") && line.contains(&format!("dev {link}"));
            assert!(routes.lines().any(has), "{link}: {routes}");
        }
    }
    // One with another gateway: the new route takes the old one's place, the other link's stays.
    world.write(
        "10-eth0.network",
        "[Match]\nName=eth0\n[Network]\nAddress=192.0.2.5/24\nGateway=192.0.2.2\nIPv6AcceptRA=no\n",
    );
    world.ctl(&["reload"]);
    let routes = world.ip(&["-4", "route"]);
    assert!(
        routes.contains("default via 192.0.2.2 dev eth0")
            && routes.contains("default via 198.51.100.1 dev eth1"),
        "{routes}"
    );
    assert!(!routes.contains("192.0.2.1 dev"), "{routes}");
}
