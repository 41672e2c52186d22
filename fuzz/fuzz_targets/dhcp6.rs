//! A server of DHCP for IPv6 that says and does anything. Never a panic; the client never wants to
//! be called again at once.
#![no_main]

use libfuzzer_sys::fuzz_target;
use net::dhcp6::{Action, Client, Message, Mode};
use std::time::Duration;

fuzz_target!(|input: &[u8]| {
    let (mode, mut rest) = match input {
        [b'i', rest @ ..] => (Mode::Stateless, rest),
        rest => (Mode::Stateful, rest),
    };
    let id = vec![1; 10];
    let mut client = Client::new(id.clone(), 7, 1);
    let mut now = Duration::ZERO;
    let mut transaction = 0;
    client.start(now, mode, None);
    let mut actions = Vec::new();
    loop {
        for turn in 0.. {
            assert!(turn < 4, "it spins as {}", client.state_name());
            for action in actions.drain(..) {
                if let Action::Send(message) = action {
                    transaction = message.transaction;
                    assert!(message.encode().len() < 1200);
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
        actions = match event % 4 {
            0 => Message::decode(bytes, 7).map_or(Vec::new(), |message| client.receive(now, &message)),
            1 => Message::decode(bytes, 7).map_or(Vec::new(), |message| {
                client.receive(now, &Message { transaction, client: id.clone(), ..message })
            }),
            2 => match client
                .lease()
                .and_then(|(lease, _)| lease.addresses.first().map(|leased| leased.address))
            {
                Some(address) => client.conflict(now, address),
                None => client.renew(now),
            },
            _ => {
                let seconds = bytes.first_chunk().map_or(1, |chunk| u32::from_be_bytes(*chunk));
                now += Duration::from_secs(seconds.into());
                Vec::new()
            }
        };
    }
});
