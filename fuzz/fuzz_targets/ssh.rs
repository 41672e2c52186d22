//! The SSH server's own parsers: authorized keys, sshd.conf, command lines, sftp packets. The first
//! byte chooses. Never a panic; what is refused has a line, and what is taken keeps its promises.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ssh::sftp::packet::{self, Packet};
use ssh::{authorized, config, words};

fuzz_target!(|input: &[u8]| {
    let Some((choice, rest)) = input.split_first() else { return };
    let text = || std::str::from_utf8(rest);
    match choice {
        b'k' => {
            let Ok(text) = text() else { return };
            let (keys, errors) = authorized::parse(text, false);
            assert!(keys.len() + errors.len() <= text.lines().count());
            for (line, _) in errors {
                assert!(line >= 1 && line <= text.lines().count());
            }
            for key in keys {
                assert!(key.grant.environment.is_empty(), "a user's own file sets no variables");
                let _ = key.grant.usable([10, 0, 0, 1].into(), 0);
                let _ = (key.grant.may_open("host", 1), key.grant.may_listen("", 1));
            }
        }
        b'c' => {
            let Ok(text) = text() else { return };
            match config::parse(text) {
                Ok(config) => assert!(!config.listen.is_empty() && !config.host_keys.is_empty()),
                Err(error) => assert!(error.line >= 1 && error.line <= text.lines().count()),
            }
        }
        b'w' => {
            let Ok(text) = text() else { return };
            if let Ok(split) = words::split(text, "") {
                assert!(split.iter().map(String::len).sum::<usize>() <= text.len());
            }
        }
        _ => {
            if let Ok(Packet::Request(number, request)) = packet::parse(rest) {
                assert_eq!(number.to_be_bytes(), rest[1..5]);
                assert!(format!("{request:?}").len() <= 16 * rest.len() + 256);
            }
        }
    }
});
