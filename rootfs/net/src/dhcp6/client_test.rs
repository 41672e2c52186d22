//! The client on a clock of the test's.

use super::super::message::tests::answer;
use super::*;

fn client() -> Client {
    Client::new(vec![1; 10], 7, 0x1234_5678)
}

fn due(client: &mut Client) -> (Duration, Vec<Action>) {
    let now = client.deadline().unwrap();
    (now, client.tick(now))
}

fn sent(actions: &[Action]) -> &Outgoing {
    match actions {
        [Action::Send(message)] => message,
        other => panic!("not one message: {other:?}"),
    }
}

fn reply(to: &Outgoing, kind: Kind, status: u16, preference: u8) -> Message {
    Message::decode(&answer(kind, to.transaction, status, preference), 7).unwrap()
}

fn bound() -> (Client, Duration) {
    let mut client = client();
    client.start(Duration::ZERO, Mode::Stateful, None);
    let (now, solicit) = due(&mut client);
    assert_eq!(sent(&solicit).kind, Kind::Solicit);
    let request = client.receive(now, &reply(sent(&solicit), Kind::Advertise, 0, 255));
    assert_eq!((sent(&request).kind, sent(&request).addresses.len()), (Kind::Request, 1));
    let actions = client.receive(now, &reply(sent(&request), Kind::Reply, 0, 0));
    assert!(matches!(&actions[..], [Action::Bound(lease)] if lease.addresses.len() == 1));
    (client, now)
}

#[test]
fn the_best_answer_of_the_first_wait_is_taken() {
    let mut client = client();
    client.start(Duration::ZERO, Mode::Stateful, None);
    let (now, solicit) = due(&mut client);
    assert_eq!(client.receive(now, &reply(sent(&solicit), Kind::Advertise, 2, 9)), [], "it has none");
    assert_eq!(client.receive(now, &reply(sent(&solicit), Kind::Advertise, 0, 1)), []);
    let mut better = reply(sent(&solicit), Kind::Advertise, 0, 2);
    better.lease.server = vec![3; 10];
    assert_eq!(client.receive(now, &better), []);
    let (_, request) = due(&mut client);
    assert_eq!(sent(&request).server, [3; 10]);
}

#[test]
fn renew_then_rebind_then_lose() {
    let (mut client, start) = bound();
    let mut kinds = Vec::new();
    let end = loop {
        let (now, actions) = due(&mut client);
        match &actions[..] {
            [Action::Send(message)] => {
                assert_eq!(message.server.is_empty(), message.kind == Kind::Rebind);
                if kinds.last() != Some(&message.kind) {
                    kinds.push(message.kind);
                }
            }
            [Action::Lost] => break now,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(kinds, [Kind::Renew, Kind::Rebind]);
    assert_eq!(end, start + Duration::from_secs(2000));
    assert_eq!(client.lease(), None);
}

#[test]
fn a_server_that_has_forgotten_is_asked_anew() {
    let (mut client, _) = bound();
    let (now, renew) = due(&mut client);
    let actions = client.receive(now, &reply(sent(&renew), Kind::Reply, NO_BINDING, 0));
    assert!(matches!(&actions[..], [Action::Lost, Action::Send(request)] if request.kind == Kind::Request));
}

#[test]
fn an_address_that_another_machine_has_is_declined() {
    let (mut client, now) = bound();
    assert_eq!(client.conflict(now, "2001:db8::8".parse().unwrap()), []);
    let actions = client.conflict(now, "2001:db8::9".parse().unwrap());
    assert!(matches!(&actions[..], [Action::Send(message), Action::Lost] if message.kind == Kind::Decline));
    assert_eq!(client.deadline(), Some(now + Duration::from_secs(10)));
}

#[test]
fn the_rest_alone() {
    let mut client = client();
    client.start(Duration::ZERO, Mode::Stateless, None);
    let (now, actions) = due(&mut client);
    assert_eq!((sent(&actions).kind, sent(&actions).identity), (Kind::InformationRequest, None));
    let actions = client.receive(now, &reply(sent(&actions), Kind::Reply, 0, 0));
    assert!(
        matches!(&actions[..], [Action::Bound(lease)] if lease.addresses.is_empty() && lease.dns.len() == 1)
    );
    assert_eq!(client.deadline(), Some(now + Duration::from_hours(24)));
    let (_, again) = due(&mut client);
    assert_eq!(sent(&again).kind, Kind::InformationRequest);
    assert!(client.lease().is_some(), "what is known stays until it is known better");
}

#[test]
fn silence_is_waited_out_longer_and_longer() {
    let mut client = client();
    client.start(Duration::ZERO, Mode::Stateful, None);
    let mut last = due(&mut client).0;
    for wanted in [1.0, 2.0, 4.0, 8.0, 16.0] {
        let (now, _) = due(&mut client);
        let wait = now.saturating_sub(last).as_secs_f64();
        assert!((wait / wanted - 1.0).abs() <= 0.1, "{wait} {wanted}");
        last = now;
    }
}

#[test]
fn a_kept_lease_is_asked_for_and_given_back() {
    let (client_before, _) = bound();
    let (lease, acquired) = client_before.lease().unwrap();
    let mut client = client();
    client.start(acquired + Duration::from_secs(100), Mode::Stateful, Some((lease.clone(), acquired)));
    assert!(client.lease().is_some());
    let (now, actions) = due(&mut client);
    assert_eq!(sent(&actions).kind, Kind::Rebind);
    let actions = client.stop(now, true);
    assert!(matches!(&actions[..], [Action::Send(message), Action::Lost] if message.kind == Kind::Release));
}

/// Whether a server hears a message that is sent at this time, as the how manieth.
type Server = fn(&Outgoing, Duration, u32) -> bool;

/// A day of a lease of 2000 s, renewed after 500 and rebound after 800: a server that answers, one
/// that is silent for a while, one that answers to those who ask anyone, one that loses every other
/// message. The addresses are never lost, and the messages are few.
#[test]
fn a_day_of_renewals() {
    let day = Duration::from_hours(24);
    let servers: [(&str, Server, std::ops::RangeInclusive<u32>); 4] = [
        ("answers", |_, _, _| true, 171..=174),
        // Ten minutes in each three hours: the waits of RFC 8415 section 18.2.5 grow to as long.
        ("is silent", |_, now, _| now.as_secs() % 10_800 > 600, 171..=330),
        // Before each rebinding, some five requests to renew.
        ("hears rebinds", |message, _, _| message.kind == Kind::Rebind, 107 * 5..=107 * 7),
        ("loses", |_, _, count| count % 2 == 0, 171..=350),
    ];
    for (name, hears, wanted) in servers {
        let (mut client, _) = bound();
        let mut count = 0;
        while let Some(now) = client.deadline().filter(|now| *now < day) {
            for action in client.tick(now) {
                let Action::Send(message) = action else { panic!("{name} at {now:?}: {action:?}") };
                count += 1;
                assert_eq!(message.addresses.len(), 1, "{name} at {now:?}");
                if hears(&message, now, count) {
                    let actions = client.receive(now, &reply(&message, Kind::Reply, 0, 0));
                    assert!(matches!(&actions[..], [Action::Bound(_)]), "{name} at {now:?}: {actions:?}");
                }
            }
        }
        assert!(wanted.contains(&count), "a server that {name}: {count} messages");
    }
}

/// A server that has a conflicting address each time: one question in ten seconds, for a day.
#[test]
fn a_day_of_declines_is_no_flood() {
    let day = Duration::from_hours(24);
    let (mut client, mut now) = bound();
    let mut declines = 0;
    while now < day {
        let actions = client.conflict(now, "2001:db8::9".parse().unwrap());
        assert!(
            matches!(&actions[..], [Action::Send(decline), Action::Lost] if decline.kind == Kind::Decline)
        );
        declines += 1;
        while client.lease().is_none() {
            now = client.deadline().unwrap();
            for action in client.tick(now) {
                let Action::Send(message) = action else { panic!("{action:?}") };
                let kind = if message.kind == Kind::Solicit { Kind::Advertise } else { Kind::Reply };
                let answers = client.receive(now, &reply(&message, kind, 0, 255));
                if let [Action::Send(request)] = &answers[..] {
                    client.receive(now, &reply(request, Kind::Reply, 0, 0));
                }
            }
        }
    }
    assert!((8000..=8641).contains(&declines), "{declines}");
}

proptest::proptest! {
    /// Whatever comes in whatever order: the deadline is never in the past after it was served.
    #[test]
    fn a_hostile_server_cannot_make_it_spin(choices in proptest::collection::vec((0..8_u8, 0..100_000_u64), 0..60)) {
        let mut client = client();
        let mut now = Duration::ZERO;
        client.start(now, Mode::Stateful, None);
        let mut last = sent(&due(&mut client).1).clone();
        now += Duration::from_secs(1);
        for (choice, wait) in choices {
            let mut actions = match choice {
                0 => client.receive(now, &reply(&last, Kind::Advertise, 0, 255)),
                1 => client.receive(now, &reply(&last, Kind::Advertise, 0, 1)),
                2 => client.receive(now, &reply(&last, Kind::Reply, 0, 0)),
                3 => client.receive(now, &reply(&last, Kind::Reply, NO_BINDING, 0)),
                4 => client.conflict(now, "2001:db8::9".parse().unwrap()),
                5 => client.renew(now),
                6 => {
                    let mut short = reply(&last, Kind::Reply, 0, 0);
                    (short.lease.t1, short.lease.t2, short.lease.addresses[0].valid) = (0, 0, 0);
                    client.receive(now, &short)
                }
                _ => { now += Duration::from_millis(wait); Vec::new() }
            };
            for _ in 0..4 {
                for action in &actions {
                    if let Action::Send(message) = action {
                        last = message.clone();
                    }
                }
                actions = client.tick(now);
            }
            proptest::prop_assert!(client.deadline().is_none_or(|deadline| deadline > now), "{:?}", client.state);
        }
    }
}
