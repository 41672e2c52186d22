//! What is sent to the journal: native datagrams, syslog datagrams, stream headers and lines,
//! records of /dev/kmsg, its configuration, and times on journalctl's command line.
#![no_main]

use journal::daemon::config::Config;
use journal::daemon::stream::{Break, Header, Lines};
use journal::daemon::{kmsg, syslog};
use journal::{native, time};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let message = native::parse(input);
    for (name, _) in message.entries.iter().flatten() {
        assert!(journal::field::valid_name(name, false));
    }
    // What is written is read back.
    let mut again = Vec::new();
    for (name, value) in message.entries.first().into_iter().flatten() {
        native::encode(&mut again, std::str::from_utf8(name).unwrap(), value);
    }
    assert_eq!(native::parse(&again).entries.first(), message.entries.first());

    assert!(syslog::parse(input).message.len() <= input.len());
    kmsg::parse(input);
    Header::parse(input);
    let mut lines = Lines::default();
    let mut bytes = 0;
    for piece in input.chunks(7) {
        lines.feed(piece, 16, |line, _| {
            assert!(line.len() <= 16);
            bytes += line.len();
        });
        assert!(lines.waiting() <= 16);
    }
    lines.end(Break::Eof, |line, _| bytes += line.len());
    assert!(bytes <= input.len());
    if let Ok(text) = std::str::from_utf8(input) {
        Config::default().read(text);
        time::parse(text, 1_790_000_000_000_000);
    }
});
