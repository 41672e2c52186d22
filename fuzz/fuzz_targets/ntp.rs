//! NTP packets from servers, each for a client that waits for it: never a panic, no adjustment by
//! a packet that does not repeat the question's cookie, no slew of half a second or more.
#![no_main]

use clock::client::{Action, Client, Event, Limits, Moment};
use clock::packet;
use libfuzzer_sys::fuzz_target;
use std::net::SocketAddr;
use std::time::Duration;
use sys::clock::Adjustment;

const COOKIE: u64 = 0x0123_4567_89ab_cdef;

fuzz_target!(|input: &[u8]| {
    let from: SocketAddr = ([10, 0, 0, 1], 123).into();
    let mut client = Client::new(Limits::default());
    let mut moment = Moment { mono: Duration::from_secs(5), wall_ns: 1_800_000_000_000_000_000 };
    client.handle(moment, Event::Servers(vec!["a".to_owned(), "b".to_owned()]), 1);
    client.handle(moment, Event::Resolved(vec![from]), COOKIE);
    for bytes in input.chunks(packet::SIZE) {
        moment.mono += Duration::from_millis(7);
        moment.wall_ns += 7_000_000;
        for action in client.handle(moment, Event::Packet { from, bytes }, COOKIE) {
            match action {
                Action::Adjust { adjustment, .. } => {
                    assert_eq!(bytes[24..32], COOKIE.to_be_bytes());
                    if let Adjustment::Slew { offset_ns, constant } = adjustment {
                        assert!(offset_ns.abs() < 500_000_000 && (0..=10).contains(&constant));
                    }
                }
                Action::Resolve(_) => {
                    client.handle(moment, Event::Resolved(vec![from]), COOKIE);
                }
                Action::Send { .. } | Action::Log(_) => {}
            }
        }
        let due = client.wake().map_or(Duration::ZERO, |wake| wake.saturating_sub(moment.mono));
        assert!(due <= Duration::from_secs(2 * 2048), "it rests for {due:?}");
        moment.mono += due;
        moment.wall_ns += due.as_nanos() as i64;
        client.handle(moment, Event::Timer, COOKIE);
    }
});
