//! A server of a few lines that refuses, falls silent, and talks nonsense.

use super::world::{LONG, World};
use net::dhcp4::Message;
use net::dhcp4::message::{Kind, code};
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{setsockopt, sockopt};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

const FILE: &str = "[Match]\nName=eth0\n[Network]\nDHCP=ipv4\nIPv6AcceptRA=no\n[DHCPv4]\nSendDecline=no\n";
const SERVER: [u8; 4] = [192, 0, 2, 1];

/// What a server says to a client's message, after so many requests; none is silence.
type Script = fn(&Message, usize) -> Vec<Vec<u8>>;

/// Runs something in the network, with the number of `srv0`.
pub fn in_network(world: &World, what: impl FnOnce(u32) + Send + 'static) {
    let namespace = world.network();
    let thread = std::thread::spawn(move || {
        // Only this thread goes there.
        setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
        what(nix::net::if_::if_nametoindex("srv0").unwrap());
    });
    thread.join().unwrap();
}

/// Serves on `srv0`; gives what clients send.
fn serve(world: &World, script: Script) -> Receiver<Message> {
    world.far(&["ip", "address", "add", "192.0.2.1/24", "dev", "srv0"]);
    world.far(&["ip", "link", "set", "srv0", "up"]);
    let namespace = world.network();
    let (heard, messages) = channel();
    let (ready, is_ready) = channel();
    std::thread::spawn(move || {
        // Only this thread goes there.
        setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
        let socket = UdpSocket::bind("0.0.0.0:67").unwrap();
        setsockopt(&socket, sockopt::BindToDevice, &"srv0".into()).unwrap();
        socket.set_broadcast(true).unwrap();
        socket.set_read_timeout(Some(LONG)).unwrap();
        ready.send(()).unwrap();
        let mut buffer = [0; 1500];
        let mut count = 0;
        while let Ok((length, _)) = socket.recv_from(&mut buffer) {
            let Some(message) = Message::decode(&buffer[..length]) else { continue };
            for answer in script(&message, count) {
                socket.send_to(&answer, "255.255.255.255:68").unwrap();
            }
            count += usize::from(message.kind == Kind::Request);
            if heard.send(message).is_err() {
                return;
            }
        }
    });
    is_ready.recv().unwrap();
    messages
}

/// An answer with a lease of some seconds: renewed after a quarter, rebound after a half.
fn answer(to: &Message, kind: Kind, last: u8, seconds: u32) -> Vec<u8> {
    let number = |n: u32| n.to_be_bytes().to_vec();
    let mut options = BTreeMap::from([(code::SERVER_ID, SERVER.to_vec())]);
    if kind != Kind::Nak {
        options.extend([
            (code::LEASE_TIME, number(seconds)),
            (code::T1, number(seconds / 4)),
            (code::T2, number(seconds / 2)),
            (code::SUBNET_MASK, vec![255, 255, 255, 0]),
            (code::ROUTER, SERVER.to_vec()),
        ]);
    }
    Message {
        kind,
        from_client: false,
        transaction: to.transaction,
        secs: 0,
        client: Ipv4Addr::UNSPECIFIED,
        yours: Ipv4Addr::new(192, 0, 2, last),
        mac: to.mac,
        options,
    }
    .encode()
}

/// The next message that is not the last one again: a link that has just come up may lose one.
fn next(messages: &Receiver<Message>, last: &mut Option<(Kind, u32)>) -> (Kind, Ipv4Addr) {
    loop {
        let message = messages.recv_timeout(LONG).unwrap();
        let this = (message.kind, message.transaction);
        if message.kind != Kind::Discover || last.replace(this) != Some(this) {
            *last = Some(this);
            return (message.kind, message.client);
        }
    }
}

#[test]
fn renewed_then_rebound_then_lost_then_found_again() {
    let world = World::new();
    world.write("10-eth0.network", FILE);
    let messages = serve(&world, |message, count| match (message.kind, count) {
        (Kind::Discover, _) => vec![answer(message, Kind::Offer, 9, 8)],
        // The first lease, one renewal; then silence until the client looks for servers again.
        (Kind::Request, 0 | 1) => vec![answer(message, Kind::Ack, 9, 8)],
        (Kind::Request, _) if message.client.is_unspecified() => vec![answer(message, Kind::Ack, 9, 800)],
        _ => vec![],
    });
    let mut service = world.service();
    let mut last = None;
    let (nobody, ours) = (Ipv4Addr::UNSPECIFIED, Ipv4Addr::new(192, 0, 2, 9));
    assert_eq!(next(&messages, &mut last), (Kind::Discover, nobody));
    assert_eq!(next(&messages, &mut last), (Kind::Request, nobody));
    assert_eq!(next(&messages, &mut last), (Kind::Request, ours), "by unicast, after T1");
    assert_eq!(next(&messages, &mut last), (Kind::Request, ours), "by unicast, answered by nobody");
    assert_eq!(next(&messages, &mut last), (Kind::Request, ours), "by broadcast, after T2");
    service.wait("192.0.2.9 is lost: expired");
    assert_eq!(next(&messages, &mut last), (Kind::Discover, nobody));
    assert_eq!(next(&messages, &mut last), (Kind::Request, nobody));
    service.wait("DHCP gives 192.0.2.9/24 for 800 s");
    world.online("eth0:routable");
}

#[test]
fn a_refusal_takes_the_address_off_and_another_is_asked_for() {
    let world = World::new();
    world.write("10-eth0.network", FILE);
    let messages = serve(&world, |message, count| match message.kind {
        Kind::Discover if count < 2 => vec![answer(message, Kind::Offer, 9, 4)],
        Kind::Discover => vec![answer(message, Kind::Offer, 10, 800)],
        Kind::Request if message.client == Ipv4Addr::new(192, 0, 2, 9) => {
            vec![answer(message, Kind::Nak, 0, 0)]
        }
        Kind::Request if count == 0 => vec![answer(message, Kind::Ack, 9, 4)],
        _ => vec![answer(message, Kind::Ack, 10, 800)],
    });
    let mut service = world.service();
    service.wait("192.0.2.9 is lost: refused");
    service.wait("DHCP gives 192.0.2.10/24 for 800 s");
    world.online("eth0:routable");
    let addresses = world.ip(&["-4", "-o", "address", "show", "dev", "eth0"]);
    assert!(addresses.contains("192.0.2.10/") && !addresses.contains("192.0.2.9/"), "{addresses}");
    assert_eq!(next(&messages, &mut None).0, Kind::Discover);
}

#[test]
fn nonsense_is_passed_over() {
    let world = World::new();
    world.write("10-eth0.network", FILE);
    let messages = serve(&world, |message, _| {
        let kind = if message.kind == Kind::Discover { Kind::Offer } else { Kind::Ack };
        let good = answer(message, kind, 9, 800);
        let mut other = good.clone();
        other[4] ^= 1;
        let mut cut = good.clone();
        cut.truncate(245);
        let mut nowhere = good.clone();
        nowhere[16..20].copy_from_slice(&[255; 4]);
        let mut long = good.clone();
        long[241] = 200;
        vec![vec![], vec![2; 1400], other, cut, nowhere, long, good]
    });
    let mut service = world.service();
    service.wait("DHCP gives 192.0.2.9/24 for 800 s");
    world.online("eth0:routable");
    assert!(messages.try_iter().last().is_some_and(|message| message.kind == Kind::Request));
    // `networkctl renew` asks the server that gave it.
    world.ctl(&["renew", "eth0"]);
    let renewal = messages.recv_timeout(Duration::from_secs(20)).unwrap();
    assert_eq!((renewal.kind, renewal.client), (Kind::Request, Ipv4Addr::new(192, 0, 2, 9)));
    service.wait("DHCP gives 192.0.2.9/24 for 800 s");
}
