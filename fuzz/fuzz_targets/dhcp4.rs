//! A server of DHCP for IPv4 that says and does anything. Never a panic; the client never wants to
//! be called again at once; what it sends and keeps reads back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use net::config::value::Mac;
use net::dhcp4::frame::{Arp, datagram};
use net::dhcp4::{Action, Client, Lease, Message, Settings};
use std::time::Duration;

const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);

fuzz_target!(|input: &[u8]| {
    let settings = Settings { mac: MAC, client_id: vec![1, 2], hostname: Some("fuzz".into()), probe: true };
    let mut client = Client::new(settings, 1);
    let mut now = Duration::ZERO;
    let mut transaction = 0;
    let mut actions = client.start(now, None);
    let mut rest = input;
    loop {
        for turn in 0.. {
            assert!(turn < 4, "it spins as {}", client.state_name());
            for action in actions.drain(..) {
                match action {
                    Action::Broadcast(message) | Action::Unicast(message, _) => {
                        transaction = message.transaction;
                        assert_eq!(Message::decode(&message.encode()), Some(message));
                    }
                    Action::Bound(lease) => {
                        assert_eq!(Lease::from_text(&lease.to_text(1)), Some((lease, 1)));
                    }
                    Action::Probe(_) | Action::Announce(_) | Action::Lost(..) => {}
                }
            }
            actions = client.tick(now);
            if actions.is_empty() {
                break;
            }
        }
        let [event, words, after @ ..] = rest else { return };
        let (bytes, after) = after.split_at(after.len().min(usize::from(*words) * 4));
        rest = after;
        actions = match event % 5 {
            0 => datagram(bytes)
                .and_then(Message::decode)
                .map_or(Vec::new(), |message| client.receive(now, &message)),
            1 => Message::decode(bytes).map_or(Vec::new(), |message| {
                client.receive(now, &Message { transaction, mac: MAC, from_client: false, ..message })
            }),
            2 => Arp::decode(bytes).map_or(Vec::new(), |arp| client.heard(now, &arp)),
            3 => {
                let seconds = bytes.first_chunk().map_or(1, |chunk| u32::from_be_bytes(*chunk));
                now += Duration::from_secs(seconds.into());
                Vec::new()
            }
            _ => client.renew(now),
        };
    }
});
