//! Files and what becomes of them.

use super::*;
use std::path::Path;

fn parse(text: &str) -> (Option<Network>, Vec<String>) {
    let mut problems = Vec::new();
    let network = Network::parse(&Source::one(Path::new("n"), text.as_bytes()), &mut problems);
    (network, problems.iter().map(ToString::to_string).collect())
}

#[test]
fn a_file_with_much_in_it() {
    let (network, problems) = parse(
        "[Match]\nName=eth0\n[Link]\nMTUBytes=1400\nRequiredForOnline=routable\n[Network]\nDHCP=ipv4\n\
         Address=192.0.2.5/24\nAddress=2001:db8::5/64\nGateway=192.0.2.1\nDNS=192.0.2.2 2001:db8::2\nDNS=192.0.2.3\n\
         Domains=example.org ~corp.example ~.\nNTP=time.example\nVLAN=vlan5\nVLAN=vlan6\nIPForward=ipv4\n\
         [Address]\nAddress=192.0.2.6/24\nPreferredLifetime=0\n[Route]\nDestination=198.51.100.0/24\n\
         Gateway=192.0.2.9\nMetric=7\nTable=100\n[Route]\nDestination=203.0.113.7\nScope=link\n\
         [DHCPv4]\nUseDNS=no\nRouteMetric=5\nClientIdentifier=mac\n",
    );
    let network = network.unwrap();
    assert_eq!(problems, Vec::<String>::new());
    assert_eq!((network.dhcp4, network.dhcp6, network.mtu), (true, false, Some(1400)));
    assert_eq!(network.required_for_online, Some(OperState::Routable));
    assert_eq!(network.addresses.len(), 3);
    assert!(network.addresses[2].deprecated);
    assert_eq!(network.dns.len(), 3);
    assert_eq!((network.domains.len(), network.route_domains.join(" ")), (1, "corp.example .".into()));
    assert_eq!(network.upper, ["vlan5", "vlan6"]);
    assert_eq!((network.forward_ipv4, network.forward_ipv6), (Some(true), None));
    assert_eq!(network.routes.len(), 3);
    assert_eq!((network.routes[1].metric, network.routes[1].table), (Some(7), Some(100)));
    assert_eq!(network.routes[2].destination.unwrap().to_string(), "203.0.113.7/32");
    assert!(!network.dhcpv4.use_dns && network.dhcpv4.client_id_is_mac);
}

#[test]
fn every_line_that_changes_nothing_has_its_place() {
    let (network, problems) = parse(
        "[Match]\nName=*\n[Network]\nDHCP=perhaps\nDhcp=yes\nMulticastDNS=yes\nKeepConfiguration=ipv4\n[Bridge]\nCost=5\n\
         [Netwerk]\nDHCP=yes\n[Route]\nMetric=5\n[Address]\nScope=link\nnonsense\n[Route]\nGateway=::1\nDestination=10.0.0.0/8\n",
    );
    assert!(network.is_some());
    assert_eq!(
        problems,
        [
            "n:16: warning: `nonsense` is neither a [Section] nor a Key=value",
            "n:4: error: `DHCP=perhaps`: yes, no, ipv4 or ipv6 is wanted",
            "n:5: warning: unknown key `Dhcp=` in section [Network]",
            "n:6: error: [Network] MulticastDNS= is not supported",
            "n:7: error: [Network] KeepConfiguration= is not supported",
            "n:9: error: [Bridge] section is not supported",
            "n:11: warning: unknown section [Netwerk]",
            "n:13: error: section [Route] has no Gateway= or Destination=, so it is left out",
            "n:15: error: section [Address] has no Address=, so it is left out",
            "n:18: error: section [Route] has no gateway of its destination's family, so it is left out",
        ]
    );
}

#[test]
fn a_file_that_would_be_for_every_link_by_mistake_is_left_out() {
    let (network, problems) = parse("[Network]\nDHCP=yes\n");
    assert_eq!((network, problems.len()), (None, 1));
}

proptest::proptest! {
    #[test]
    fn never_panics(text in "(\\[(Match|Link|Network|Address|Route|DHCPv4)\\]\n|[A-Za-z]{1,9}=[ -~]{0,20}\n){0,9}") {
        parse(&text);
    }
}
