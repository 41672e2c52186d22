//! Link-local addresses of IPv4 (RFC 3927), with Debian's `arping` as the other machine.
//! `apt-get install iputils-arping`

use super::world::World;

const FILE: &str = "[Match]\nName=eth0\n[Link]\nMACAddress=02:00:00:00:00:77\n[Network]\nLinkLocalAddressing=ipv4\nIPv6AcceptRA=no\n";

fn address(world: &World) -> String {
    let said =
        world.wait_ip(&["-4", "-o", "address", "show", "dev", "eth0"], |said| said.contains("169.254."));
    said.split_whitespace().find(|word| word.starts_with("169.254.")).unwrap().to_owned()
}

#[test]
fn an_address_that_is_free_is_taken_told_and_answered_for() {
    let world = World::new();
    world.write("10-eth0.network", FILE);
    world.far(&["ip", "link", "set", "srv0", "up"]);
    let mut service = world.service();
    world.online("eth0:degraded");
    let ours = address(&world);
    let said = world.ip(&["-4", "-o", "address", "show", "dev", "eth0"]);
    assert!(said.contains("/16 brd 169.254.255.255 scope link"), "{said}");
    assert!(world.ip(&["-4", "route"]).contains("169.254.0.0/16 dev eth0 proto kernel scope link"));
    assert_eq!(world.ip(&["-6", "address", "show", "dev", "eth0"]), "");
    // Another machine asks, as RFC 5227 has it, whether the address is free.
    let bare = ours.split('/').next().unwrap();
    let (code, said) = world.try_far(&["arping", "-D", "-c", "2", "-I", "srv0", bare]);
    assert_eq!(code, 1, "it is in use: {said}");
    // A restart keeps it.
    service.stop();
    let mut again = world.service();
    world.online("eth0:degraded");
    assert_eq!(address(&world), ours);
    assert!(!again.said().contains("is free"), "{}", again.said());
}

#[test]
fn an_address_that_another_has_is_not_taken_and_one_that_another_insists_on_is_given_up() {
    let world = World::new();
    world.write("10-eth0.network", FILE);
    world.far(&["ip", "link", "set", "srv0", "up"]);
    let mut service = world.service();
    let first = address(&world);
    let bare = first.split('/').next().unwrap().to_owned();
    service.wait(&format!("{bare} is free"));
    // Somebody claims it, again and again: it is defended once, then left to the other.
    world.far(&["ip", "address", "add", &format!("{bare}/16"), "dev", "srv0"]);
    world.far(&["arping", "-U", "-c", "3", "-w", "4", "-I", "srv0", &bare]);
    service.wait(&format!("another machine insists on {bare}"));
    service.wait("is free");
    let second =
        world.wait_ip(&["-4", "-o", "address", "show", "dev", "eth0"], |said| said.contains("169.254."));
    assert!(!second.contains(&format!("{bare}/")), "{second}");
    service.stop();
    // The first choice is of the hardware address: now it is probed, and another has it.
    world.ip(&["address", "flush", "dev", "eth0"]);
    let mut again = world.service();
    let third = again.wait("is free");
    assert!(!third.contains(&format!("{bare} ")), "{third}");
}

#[test]
fn it_stands_in_for_dhcp_until_a_server_answers() {
    let world = World::new();
    world.write(
        "10-eth0.network",
        "[Match]\nName=eth0\n[Network]\nDHCP=ipv4\nLinkLocalAddressing=ipv4-fallback\nIPv6AcceptRA=no\n",
    );
    world.far(&["ip", "link", "set", "srv0", "up"]);
    let mut service = world.service();
    service.wait("is free");
    world.online("eth0:degraded");
    let _server =
        world.dnsmasq(&["192.0.2.1/24"], &["--dhcp-range=192.0.2.100,192.0.2.150,255.255.255.0,2m"]);
    service.wait("DHCP gives 192.0.2.1");
    let said = world.wait_ip(&["-4", "address", "show", "dev", "eth0"], |said| {
        said.contains("192.0.2.") && !said.contains("169.254.")
    });
    assert!(!said.contains("169.254."), "{said}");
    world.online("eth0:routable");
}
