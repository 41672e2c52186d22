//! The client against a server of a few lines, on a clock that the test moves.

use super::super::lease::tests::lease as a_lease;
use super::*;

const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const OURS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);

fn client(probe: bool) -> Client {
    let settings =
        Settings { mac: MAC, client_id: vec![1, 2, 0, 0, 0, 0, 1], hostname: Some("node".into()), probe };
    Client::new(settings, 0x1234_5678_9abc)
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// The message of the only action.
fn sent(actions: &[Action]) -> &Message {
    match actions {
        [Action::Broadcast(message) | Action::Unicast(message, _)] => message,
        other => panic!("not one message: {other:?}"),
    }
}

fn answer(to: &Message, kind: Kind) -> Message {
    let mut answer = Message {
        kind,
        from_client: false,
        transaction: to.transaction,
        secs: 0,
        client: Ipv4Addr::UNSPECIFIED,
        yours: OURS,
        mac: MAC,
        options: [(code::SERVER_ID, SERVER.octets().to_vec())].into(),
    };
    if kind != Kind::Nak {
        answer.options.insert(code::LEASE_TIME, 3600_u32.to_be_bytes().to_vec());
        answer.options.insert(code::SUBNET_MASK, vec![255, 255, 255, 0]);
    }
    answer
}

/// A client with a lease of an hour since time 0.
fn bound(probe: bool) -> Client {
    let mut client = client(probe);
    let discover = client.start(Duration::ZERO, None);
    let request = client.receive(Duration::ZERO, &answer(sent(&discover), Kind::Offer));
    let mut actions = client.receive(Duration::ZERO, &answer(sent(&request), Kind::Ack));
    while let [Action::Probe(OURS)] = actions[..] {
        actions = client.tick(client.deadline().unwrap());
    }
    assert!(matches!(&actions[..], [Action::Bound(lease)] if lease.ip() == OURS), "{actions:?}");
    client
}

#[test]
fn discover_offer_request_acknowledge() {
    let mut client = client(false);
    let discover = client.start(Duration::ZERO, None);
    let message = sent(&discover);
    assert_eq!((message.kind, message.client), (Kind::Discover, Ipv4Addr::UNSPECIFIED));
    assert_eq!(message.options[&code::HOST_NAME], b"node");
    // An answer to another, and one of an address that none can have, change nothing.
    let mut other = answer(message, Kind::Offer);
    other.transaction ^= 1;
    assert_eq!(client.receive(Duration::ZERO, &other), []);
    let mut bad = answer(message, Kind::Offer);
    bad.yours = Ipv4Addr::BROADCAST;
    assert_eq!(client.receive(Duration::ZERO, &bad), []);
    let request = client.receive(seconds(1), &answer(message, Kind::Offer));
    let message = sent(&request);
    assert_eq!(message.address(code::REQUESTED_IP), Some(OURS));
    assert_eq!(message.address(code::SERVER_ID), Some(SERVER));
    let actions = client.receive(seconds(2), &answer(message, Kind::Ack));
    assert!(matches!(&actions[..], [Action::Bound(_)]));
    // The lease counts from the request, not from its answer.
    assert_eq!(client.lease().unwrap().1, seconds(1));
    assert!(!client.listens());
    for _ in 0..2 {
        assert_eq!(client.tick(client.deadline().unwrap()), [Action::Announce(OURS)]);
    }
    assert_eq!(client.deadline(), Some(seconds(1801)));
}

#[test]
fn silence_is_waited_out_longer_and_longer() {
    let mut client = client(false);
    client.start(Duration::ZERO, None);
    let mut last = Duration::ZERO;
    let mut waits = Vec::new();
    for _ in 0..8 {
        let next = client.deadline().unwrap();
        let actions = client.tick(next);
        assert_eq!(sent(&actions).kind, Kind::Discover);
        assert_eq!(u64::from(sent(&actions).secs), next.as_secs());
        waits.push(next.saturating_sub(last).as_secs_f64());
        last = next;
    }
    for (wait, wanted) in waits.iter().zip([4.0, 8.0, 16.0, 32.0, 64.0, 64.0, 64.0, 64.0]) {
        assert!((wait - wanted).abs() <= 1.0, "{waits:?}");
    }
}

#[test]
fn a_request_without_answer_begins_anew() {
    let mut client = client(false);
    let discover = client.start(Duration::ZERO, None);
    client.receive(Duration::ZERO, &answer(sent(&discover), Kind::Offer));
    for _ in 1..REQUESTS {
        assert_eq!(sent(&client.tick(client.deadline().unwrap())).kind, Kind::Request);
    }
    assert_eq!(sent(&client.tick(client.deadline().unwrap())).kind, Kind::Discover);
}

#[test]
fn a_refusal_begins_anew_after_a_moment() {
    let mut client = client(false);
    let discover = client.start(Duration::ZERO, None);
    let request = client.receive(Duration::ZERO, &answer(sent(&discover), Kind::Offer));
    assert_eq!(client.receive(Duration::ZERO, &answer(sent(&request), Kind::Nak)), []);
    assert_eq!(client.deadline(), Some(NAK_WAIT));
    assert_eq!(sent(&client.tick(NAK_WAIT)).kind, Kind::Discover);
}

#[test]
fn renew_by_unicast_then_rebind_by_broadcast_then_lose() {
    let mut client = bound(false);
    while client.state_name() == "bound" {
        let actions = client.tick(client.deadline().unwrap());
        if let [Action::Unicast(message, SERVER)] = &actions[..] {
            assert_eq!((message.kind, message.client), (Kind::Request, OURS));
            // RFC 2131 table 5: neither the address nor the server is an option here.
            assert!(!message.options.contains_key(&code::REQUESTED_IP));
            assert!(!message.options.contains_key(&code::SERVER_ID));
        }
    }
    assert_eq!(client.state_name(), "renewing");
    let (mut renews, mut rebinds) = (1, 0);
    let (when, actions) = loop {
        let now = client.deadline().unwrap();
        let actions = client.tick(now);
        match &actions[..] {
            [Action::Unicast(..)] => renews += 1,
            [Action::Broadcast(message)] if message.client == OURS => rebinds += 1,
            _ => break (now, actions),
        }
    };
    assert!(renews > 3 && rebinds > 1, "{renews} {rebinds}");
    assert_eq!(when, seconds(3600));
    assert!(
        matches!(&actions[..], [Action::Lost(OURS, Loss::Expired), Action::Broadcast(message)] if message.kind == Kind::Discover)
    );
    assert_eq!(client.lease(), None);
}

#[test]
fn any_server_may_rebind_and_a_refusal_takes_the_address_off() {
    let mut client = bound(false);
    let mut actions = Vec::new();
    while client.state_name() != "rebinding" {
        actions = client.tick(client.deadline().unwrap());
    }
    let mut other = answer(sent(&actions), Kind::Ack);
    other.options.insert(code::SERVER_ID, vec![192, 0, 2, 2]);
    let now = seconds(3151);
    assert!(
        matches!(&client.receive(now, &other)[..], [Action::Bound(lease)] if lease.server.octets()[3] == 2)
    );
    while client.state_name() != "renewing" {
        actions = client.tick(client.deadline().unwrap());
    }
    let refusal = answer(sent(&actions), Kind::Nak);
    assert_eq!(client.receive(seconds(5000), &refusal), [Action::Lost(OURS, Loss::Refused)]);
    assert_eq!(client.state_name(), "init");
}

#[test]
fn an_address_that_another_machine_has_is_declined() {
    let mut client = client(true);
    let discover = client.start(Duration::ZERO, None);
    let request = client.receive(Duration::ZERO, &answer(sent(&discover), Kind::Offer));
    assert_eq!(client.receive(Duration::ZERO, &answer(sent(&request), Kind::Ack)), [Action::Probe(OURS)]);
    assert_eq!(client.lease(), None);
    let theirs =
        Arp { is_request: false, sender_mac: Mac([9; 6]), sender: OURS, target: Ipv4Addr::UNSPECIFIED };
    // Our own frame, and another machine's talk of another address, are no conflict.
    assert_eq!(client.heard(Duration::ZERO, &Arp { sender_mac: MAC, ..theirs }), []);
    assert_eq!(client.heard(Duration::ZERO, &Arp { sender: SERVER, ..theirs }), []);
    let actions = client.heard(Duration::ZERO, &theirs);
    let [Action::Broadcast(message), Action::Lost(OURS, Loss::Conflict)] = &actions[..] else {
        panic!("{actions:?}");
    };
    assert_eq!((message.kind, message.client), (Kind::Decline, Ipv4Addr::UNSPECIFIED));
    assert_eq!(message.address(code::REQUESTED_IP), Some(OURS));
    assert_eq!(client.deadline(), Some(DECLINE_WAIT));
}

#[test]
fn two_that_probe_one_address_are_a_conflict_too() {
    let mut client = client(true);
    let discover = client.start(Duration::ZERO, None);
    let request = client.receive(Duration::ZERO, &answer(sent(&discover), Kind::Offer));
    client.receive(Duration::ZERO, &answer(sent(&request), Kind::Ack));
    let probe =
        Arp { is_request: true, sender_mac: Mac([9; 6]), sender: Ipv4Addr::UNSPECIFIED, target: OURS };
    assert_eq!(client.heard(Duration::ZERO, &probe).len(), 2);
}

#[test]
fn a_kept_lease_is_asked_for_again() {
    let mut client = client(false);
    let actions = client.start(seconds(100), Some((a_lease(), Duration::ZERO, false)));
    let message = sent(&actions);
    assert_eq!((message.kind, message.address(code::REQUESTED_IP)), (Kind::Request, Some(OURS)));
    assert!(!message.options.contains_key(&code::SERVER_ID));
    assert_eq!(client.lease(), None);
    assert!(matches!(&client.receive(seconds(100), &answer(message, Kind::Ack))[..], [Action::Bound(_)]));
}

#[test]
fn a_kept_lease_that_is_refused_or_over_or_unanswered_is_forgotten() {
    let mut refused = client(false);
    let actions = refused.start(seconds(100), Some((a_lease(), Duration::ZERO, true)));
    assert!(refused.lease().is_some(), "the address stays until it is refused");
    let actions = refused.receive(seconds(100), &answer(sent(&actions), Kind::Nak));
    assert!(matches!(&actions[..], [Action::Lost(OURS, Loss::Refused), Action::Broadcast(_)]));
    let mut over = client(false);
    assert_eq!(
        sent(&over.start(seconds(3600), Some((a_lease(), Duration::ZERO, true)))).kind,
        Kind::Discover
    );
    let mut unanswered = client(false);
    unanswered.start(seconds(100), Some((a_lease(), Duration::ZERO, false)));
    assert_eq!(sent(&unanswered.tick(unanswered.deadline().unwrap())).kind, Kind::Request);
    assert_eq!(sent(&unanswered.tick(unanswered.deadline().unwrap())).kind, Kind::Discover);
}

#[test]
fn an_address_on_the_link_is_kept_when_nobody_answers_after_a_restart() {
    let mut client = client(true);
    client.start(seconds(100), Some((a_lease(), Duration::ZERO, true)));
    client.tick(client.deadline().unwrap());
    assert_eq!(client.tick(client.deadline().unwrap()), []);
    assert_eq!((client.state_name(), client.deadline()), ("bound", Some(seconds(1800))));
}

#[test]
fn a_lease_is_given_back_when_asked() {
    let mut client = bound(false);
    let actions = client.stop(seconds(10), true);
    let [Action::Unicast(message, SERVER), Action::Lost(OURS, Loss::Released)] = &actions[..] else {
        panic!("{actions:?}");
    };
    assert_eq!((message.kind, message.client), (Kind::Release, OURS));
    assert_eq!(message.address(code::SERVER_ID), Some(SERVER));
    assert_eq!((client.deadline(), client.lease()), (None, None));
    assert_eq!(bound(false).stop(seconds(10), false), []);
}

#[test]
fn a_sleep_beyond_the_end_loses_the_address_at_once() {
    let mut client = bound(false);
    let actions = client.tick(seconds(4000));
    assert!(matches!(&actions[..], [Action::Lost(OURS, Loss::Expired), Action::Broadcast(_)]), "{actions:?}");
}

/// Whether a server hears what is sent at this time, as the how manieth message.
type Server = fn(&Action, Duration, u32) -> bool;

/// A day of a lease of an hour: a server that answers, one that is silent for a while, one that
/// answers to broadcast only, one that loses every other message. The address is never lost, and
/// the messages are few.
#[test]
fn a_day_of_renewals() {
    let day = seconds(24 * 3600);
    let servers: [(&str, Server, std::ops::RangeInclusive<u32>); 4] = [
        ("answers", |_, _, _| true, 47..=48),
        // Twenty-five minutes in each three hours: less than what is left of the lease at T1.
        ("is silent", |_, now, _| now.as_secs() % 10_800 > 1_500, 47..=120),
        ("hears broadcasts", |action, _, _| matches!(action, Action::Broadcast(_)), 140..=220),
        ("loses", |_, _, count| count % 2 == 0, 60..=100),
    ];
    for (name, hears, wanted) in servers {
        let mut client = bound(true);
        let mut count = 0;
        while let Some(now) = client.deadline().filter(|now| *now < day) {
            let mut actions = client.tick(now);
            while let Some(action) = actions.pop() {
                match &action {
                    Action::Broadcast(message) | Action::Unicast(message, _) => {
                        count += 1;
                        assert_eq!(message.client, OURS, "{name} at {now:?}");
                        if hears(&action, now, count) {
                            actions.extend(client.receive(now, &answer(message, Kind::Ack)));
                        }
                    }
                    Action::Lost(..) | Action::Probe(_) => panic!("{name} at {now:?}: {action:?}"),
                    Action::Bound(_) | Action::Announce(_) => {}
                }
            }
        }
        assert!(wanted.contains(&count), "a server that {name}: {count} messages");
    }
}

proptest::proptest! {
    /// Whatever comes in whatever order: the deadline is never in the past after it was served,
    /// so that the service cannot spin.
    #[test]
    fn a_hostile_server_cannot_make_it_spin(choices in proptest::collection::vec((0..7_u8, 0..100_000_u64), 0..60)) {
        let mut client = client(true);
        let mut now = Duration::ZERO;
        let mut last = sent(&client.start(now, None)).clone();
        for (choice, wait) in choices {
            let mut actions = match choice {
                0 => client.receive(now, &answer(&last, Kind::Offer)),
                1 => client.receive(now, &answer(&last, Kind::Ack)),
                2 => client.receive(now, &answer(&last, Kind::Nak)),
                3 => client.heard(now, &Arp { is_request: false, sender_mac: Mac([9; 6]), sender: OURS, target: OURS }),
                4 => client.renew(now),
                5 => {
                    let mut short = answer(&last, Kind::Ack);
                    short.options.insert(code::LEASE_TIME, vec![0, 0, 0, 1]);
                    client.receive(now, &short)
                }
                _ => { now += Duration::from_millis(wait); Vec::new() }
            };
            for _ in 0..3 {
                for action in &actions {
                    if let Action::Broadcast(message) | Action::Unicast(message, _) = action {
                        last = message.clone();
                    }
                }
                actions = client.tick(now);
            }
            proptest::prop_assert!(client.deadline().is_none_or(|deadline| deadline > now), "{:?}", client.state);
        }
    }
}
