//! A whole SSH connection: the bytes of a client from its identification on, to the server in this
//! process. The first byte chooses: `r` the appliance's server, up to its keys; `c` one without
//! encryption, which the seed logs in to and asks for everything; any other the same, with the
//! rest as messages, each after two bytes of length, so that changes keep the packets whole.
//! Never a panic, and always an end. Run it as root: sshd reads keys from root's files only.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ssh::server::replay::{Kind, Replay, connection};
use std::sync::LazyLock;

static REPLAY: LazyLock<Replay> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("ssh-replay-{}", std::process::id()));
    Replay::new(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
});

fuzz_target!(|input: &[u8]| {
    let Some((choice, mut rest)) = input.split_first() else { return };
    let reached = match choice {
        b'r' => REPLAY.feed(Kind::Real, rest),
        b'c' => REPLAY.feed(Kind::Clear, rest),
        _ => {
            let mut messages = Vec::new();
            while let Some((length, after)) = rest.split_first_chunk::<2>() {
                let length = usize::from(u16::from_be_bytes(*length)).min(after.len());
                let (message, behind) = after.split_at(length);
                messages.push(message);
                rest = behind;
            }
            REPLAY.feed(Kind::Clear, &connection(messages))
        }
    };
    assert!(*choice != b'r' || !reached.authenticated, "in without a key");
});
