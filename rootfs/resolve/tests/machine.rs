//! The service on a machine of its own, with Debian's dnsmasq as servers and dig as client.

#![expect(clippy::unwrap_used, reason = "a test's failure is a panic")]

mod common;

use common::Sandbox;

/// A link to an end that is nobody's.
fn add_link(sandbox: &Sandbox, name: &str) {
    sandbox.sh(&format!(
        "ip link add {name} type veth peer name far-{name}; sysctl -qw net.ipv6.conf.far-{name}.disable_ipv6=1; \
         ip link set {name} up; ip link set far-{name} up"
    ));
}

/// A machine with one link.
fn machine(link_addresses: &[&str]) -> Sandbox {
    let sandbox = Sandbox::new("node1.example");
    add_link(&sandbox, "eth0");
    for address in link_addresses {
        sandbox.sh(&format!("ip addr add {address} dev eth0 nodad"));
    }
    sandbox
}

fn index(sandbox: &Sandbox, link: &str) -> u32 {
    sandbox.sh(&format!("ip -o link show {link} | cut -d: -f1")).trim().parse().unwrap()
}

const DIG: &str = "dig +noall +answer +comments @127.0.0.53";

#[test]
fn dig_gets_what_dnsmasq_knows_and_what_the_machine_knows_itself() {
    let sandbox = machine(&["10.53.0.1/24"]);
    sandbox.sh("ip route add default via 10.53.0.254");
    let long = format!("--txt-record=long.test{}", format!(",{}", "x".repeat(250)).repeat(8));
    let server = sandbox.dnsmasq(
        "10.53.0.1",
        &[
            "--host-record=www.test,10.1.2.3,2001:db8::3,600",
            "--cname=alias.test,www.test",
            "--local=/test/",
            "--mx-host=test,www.test,5",
            &long,
        ],
    );
    let _service = sandbox.resolved("DNS=10.53.0.1\nDomains=test\nLLMNR=no\n");

    let answer = sandbox.sh(&format!("{DIG} www.test A"));
    assert!(answer.contains("status: NOERROR") && answer.contains("\tA\t10.1.2.3"), "{answer}");
    assert!(answer.contains("EDNS: version: 0"), "{answer}");
    assert!(sandbox.sh(&format!("{DIG} +tcp www.test AAAA")).contains("\tAAAA\t2001:db8::3"));
    assert!(sandbox.sh(&format!("{DIG} +noedns test MX")).contains("\tMX\t5 www.test."));
    let alias = sandbox.sh(&format!("{DIG} alias.test A"));
    assert!(alias.contains("\tCNAME\twww.test.") && alias.contains("\tA\t10.1.2.3"), "{alias}");
    let missing = sandbox.sh(&format!("{DIG} none.test A"));
    assert!(missing.contains("status: NXDOMAIN"), "{missing}");
    // 2 KiB: from the server over TCP, to the client by its own payload, else over TCP.
    let whole = sandbox.sh(&format!("{DIG} +bufsize=4096 +ignore long.test TXT"));
    assert_eq!(whole.matches(&"x".repeat(250)).count(), 8, "{whole}");
    let short = sandbox.sh(&format!("{DIG} +noedns +ignore long.test TXT"));
    assert!(short.contains("flags: qr tc") && !short.contains("xxx"), "{short}");
    let again = sandbox.sh(&format!("{DIG} +noedns long.test TXT"));
    assert_eq!(again.matches(&"x".repeat(250)).count(), 8, "{again}");

    // What is kept needs no server.
    drop(server);
    assert!(sandbox.sh(&format!("{DIG} www.test A")).contains("\tA\t10.1.2.3"));
    let shown = sandbox.sh("resolvectl query www.test");
    assert!(
        shown.contains("10.1.2.3") && shown.contains("2001:db8::3") && shown.contains("from cache"),
        "{shown}"
    );
    assert!(sandbox.sh("resolvectl query www").contains("10.1.2.3"), "the search domain");
    sandbox.sh("resolvectl flush-caches");
    assert!(sandbox.sh(&format!("{DIG} www.test A")).contains("status: SERVFAIL"));
    let statistics = sandbox.sh("resolvectl --json statistics");
    assert!(statistics.contains("\"entries\":0"), "{statistics}");

    // The machine's own knowledge.
    let short = |rest: &str| sandbox.sh(&format!("dig +short @127.0.0.53 {rest}"));
    assert_eq!(short("db A"), "10.9.9.9\n");
    assert_eq!(short("localhost AAAA"), "::1\n");
    assert_eq!(short("node1 A"), "10.53.0.1\n");
    assert_eq!(short("node1.example A"), "10.53.0.1\n");
    assert_eq!(short("-x 10.53.0.1"), "node1.example.\nnode1.\n");
    assert_eq!(short("_gateway A"), "10.53.0.254\n");
    sandbox.sh("echo 10.8.8.8 late >>/etc/hosts");
    assert_eq!(short("late A"), "10.8.8.8\n", "/etc/hosts is read anew");

    let files = sandbox.sh("cat /run/systemd/resolve/stub-resolv.conf /run/systemd/resolve/resolv.conf");
    assert!(files.contains("nameserver 127.0.0.53\noptions edns0 trust-ad\nsearch test\n"), "{files}");
    assert!(files.contains("nameserver 10.53.0.1\nsearch test\n"), "{files}");
}

#[test]
fn names_go_to_the_servers_of_the_link_that_they_belong_to() {
    let sandbox = machine(&["10.53.0.1/24", "10.53.0.2/24"]);
    add_link(&sandbox, "eth1");
    sandbox.sh("ip addr add 10.54.0.1/24 dev eth1");
    let _one = sandbox.dnsmasq("10.53.0.1", &["--address=/#/10.0.0.1"]);
    let _two = sandbox.dnsmasq("10.53.0.2", &["--address=/#/10.0.0.2"]);
    let _service = sandbox.resolved("LLMNR=no\n");
    let short = |name: &str| sandbox.sh(&format!("dig +short @127.0.0.53 {name} A"));
    let failed = sandbox.sh(&format!("{DIG} www.test A"));
    assert!(failed.contains("status: SERVFAIL"), "without any server: {failed}");

    // As the network service writes them: noticed without a restart.
    let (eth0, eth1) = (index(&sandbox, "eth0"), index(&sandbox, "eth1"));
    let write = |index: u32, text: &str| {
        sandbox.sh(&format!("printf '{text}' >/run/systemd/netif/links/.new && mv /run/systemd/netif/links/.new /run/systemd/netif/links/{index}"));
    };
    write(eth1, "DNS=10.53.0.2\\nROUTE_DOMAINS=corp.test\\nDOMAINS=lan.test\\n");
    write(eth0, "DNS=10.53.0.1\\n");
    let wait = "for i in $(seq 500); do resolvectl dns | grep -q 'eth0.*10.53.0.1' && exit 0; sleep 0.02; done; exit 1";
    sandbox.sh(wait);
    assert_eq!(short("www.test"), "10.0.0.1\n");
    assert_eq!(short("www.corp.test"), "10.0.0.2\n");
    assert_eq!(short("www.lan.test"), "10.0.0.2\n");
    let status = sandbox.sh("resolvectl status");
    assert!(
        status.contains("DNS Domain: lan.test ~corp.test") && status.contains("Default Route: no"),
        "{status}"
    );

    // And by hand.
    sandbox.sh("resolvectl dns eth0 10.53.0.2 && resolvectl domain eth0 '~.'");
    assert_eq!(short("www.test"), "10.0.0.2\n");
    assert_eq!(sandbox.sh("resolvectl domain eth0"), format!("Link {eth0} (eth0): ~.\n"));
    sandbox.sh("resolvectl revert eth0");
    assert_eq!(short("other.test"), "10.0.0.1\n");
    let refused = sandbox.try_sh("resolvectl dns eth9 10.0.0.1");
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let usage = sandbox.try_sh("resolvectl query --frobnicate x");
    assert_eq!(usage.status.code(), Some(2), "{usage:?}");
}

#[test]
fn a_silent_server_costs_one_wait_and_then_comes_last() {
    // Nobody is there to say that there is no such neighbour.
    let sandbox = machine(&["10.53.0.1/24"]);
    let _server = sandbox.dnsmasq("10.53.0.1", &["--address=/#/10.0.0.1"]);
    let _service = sandbox.resolved("DNS=10.53.0.77 10.53.0.1\nLLMNR=no\nCache=no\n");
    let dig = |name: &str| {
        let start = std::time::Instant::now();
        assert_eq!(sandbox.sh(&format!("dig +short @127.0.0.53 {name} A")), "10.0.0.1\n");
        start.elapsed().as_millis()
    };
    assert!(dig("a.test") >= 1500);
    let status = sandbox.sh("resolvectl status");
    assert!(status.contains("Current DNS Server: 10.53.0.1"), "{status}");
    assert!(dig("b.test") < 1500, "the silent server is asked last now");
    assert!(sandbox.log().contains("10.53.0.77:53: no answer within 1500 ms"), "{}", sandbox.log());
}

#[test]
fn a_loopback_that_comes_up_late_is_noticed() {
    let sandbox = Sandbox::asleep("node1");
    let _service = sandbox.resolved("LLMNR=no\n");
    sandbox.sh("ip link set lo up");
    // Refused until it listens, which dig is told at once.
    sandbox.sh("for i in $(seq 500); do dig +short +time=1 @127.0.0.53 db A | grep -qx 10.9.9.9 && exit; sleep 0.02; done; exit 1");
    assert_eq!(sandbox.sh("dig +short +tcp @127.0.0.53 db A"), "10.9.9.9\n");
}

#[test]
fn nonsense_to_the_stub_changes_nothing() {
    let sandbox = machine(&["10.53.0.1/24"]);
    let _service = sandbox.resolved("LLMNR=no\nNonsense=1\nDNSSEC=yes\n");
    let log = sandbox.log();
    assert!(log.contains("resolved.conf:3: unknown key `Nonsense`"), "{log}");
    assert!(log.contains("resolved.conf:4: DNSSEC=yes is not supported"), "{log}");
    sandbox.sh(
        "for i in $(seq 50); do head -c $((i * 10)) /dev/urandom | timeout 1 bash -c 'cat >/dev/udp/127.0.0.53/53'; done; \
         for i in $(seq 5); do head -c 100 /dev/urandom | timeout 1 bash -c 'cat >/dev/tcp/127.0.0.53/53'; done; \
         echo nonsense | timeout 1 bash -c 'cat >/dev/tcp/127.0.0.53/53'",
    );
    assert_eq!(sandbox.sh("dig +short @127.0.0.53 db A"), "10.9.9.9\n");
    let axfr = sandbox.sh("dig +noall +comments @127.0.0.53 +tcp -t ANY -c CH version.bind");
    assert!(axfr.contains("status: REFUSED"), "{axfr}");
    let rd = sandbox.sh("dig +noall +comments +norecurse @127.0.0.53 db A");
    assert!(rd.contains("status: REFUSED"), "{rd}");
}

#[test]
fn two_neighbours_find_each_other_by_llmnr() {
    let (one, two) = (Sandbox::new("node1"), Sandbox::new("node2"));
    one.sh(&format!("ip link add eth0 type veth peer name eth0 netns {}", two.pid()));
    for (sandbox, last) in [(&one, 1), (&two, 2)] {
        sandbox.sh(&format!(
            "ip addr add 10.55.0.{last}/24 dev eth0; ip addr add fe80::{last}/64 dev eth0 nodad; ip link set eth0 up"
        ));
    }
    let _one = one.resolved("");
    let _two = two.resolved("");
    // A name counts once its owner knows it to be its own alone.
    let found = one.sh("for i in $(seq 50); do resolvectl query node2 && exit 0; done; exit 1");
    assert!(
        found.contains("10.55.0.2") && found.contains("link: eth0") && found.contains("from llmnr"),
        "{found}"
    );
    assert_eq!(two.sh("dig +short @127.0.0.53 NODE1 A"), "10.55.0.1\n");
    assert!(two.sh("dig +short @127.0.0.53 node1 AAAA").contains("fe80::1"));
    assert_eq!(two.sh("dig +short @127.0.0.53 -x fe80::1"), "node1.\n");
    let missing = one.sh("dig +noall +comments @127.0.0.53 node3 A");
    assert!(missing.contains("status: NXDOMAIN"), "{missing}");
    // Over TCP anybody may ask; dig speaks LLMNR's form.
    assert_eq!(
        one.sh("dig +short +tcp +nordflag +noadflag +noedns -p 5355 @10.55.0.2 node2 A"),
        "10.55.0.2\n"
    );
    // Debian's own client.
    let theirs = two.sh("llmnr-query -c 3 -I eth0 -T A node1");
    assert!(theirs.contains("10.55.0.1"), "{theirs}");
    let status = one.sh("resolvectl llmnr eth0 resolve && resolvectl llmnr eth0");
    assert!(status.ends_with(": resolve\n"), "{status}");
    let silent = two.sh("dig +noall +comments @127.0.0.53 node1 A");
    assert!(silent.contains("status: NXDOMAIN"), "node1 no longer answers: {silent}");
}

#[test]
fn debians_llmnrd_is_found() {
    let (one, two) = (Sandbox::new("node1"), Sandbox::new("node2"));
    one.sh(&format!("ip link add eth0 type veth peer name eth0 netns {}", two.pid()));
    one.sh("ip addr add 10.55.0.1/24 dev eth0; ip link set eth0 up");
    two.sh("ip addr add 10.55.0.2/24 dev eth0; ip link set eth0 up");
    let _theirs = two.spawn("llmnrd", &["-H", "node9", "-i", "eth0"]);
    let _service = one.resolved("");
    let found = one.sh("for i in $(seq 50); do resolvectl query node9 && exit 0; done; exit 1");
    assert!(found.contains("10.55.0.2"), "install llmnrd: {found}");
}

#[test]
fn a_name_that_a_neighbour_has_is_not_answered_for() {
    let (one, two) = (Sandbox::new("same"), Sandbox::new("same"));
    one.sh(&format!("ip link add eth0 type veth peer name eth0 netns {}", two.pid()));
    one.sh("ip addr add 10.55.0.1/24 dev eth0; ip link set eth0 up");
    two.sh("ip addr add 10.55.0.2/24 dev eth0; ip link set eth0 up");
    let _one = one.resolved("");
    let own = "dig +tcp +nordflag +noadflag +noedns +noall +comments +answer -p 5355";
    // Without the T bit, which dig shows as rd: it knows that the name is its own alone.
    one.sh(&format!(
        "for i in $(seq 500); do {own} @10.55.0.1 same A | grep -q 'qr;' && exit; sleep 0.02; done; exit 1"
    ));
    let _two = two.resolved("");
    let log = two.folder().join("log");
    two.sh(&format!(
        "for i in $(seq 500); do grep 'answers to the name same' {} && exit; sleep 0.02; done; exit 1",
        log.display()
    ));
    assert!(one.sh(&format!("{own} @10.55.0.1 same A")).contains("\tA\t10.55.0.1"));
    let silent = two.try_sh(&format!("{own} @10.55.0.2 same A"));
    assert!(!String::from_utf8_lossy(&silent.stdout).contains("\tA\t"), "{silent:?}");
}
