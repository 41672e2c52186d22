//! A MIME message, and metadata. Never a panic; the parts are no larger than the message.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let _ = cloudconfig::metadata::read(input);
    let Ok(text) = std::str::from_utf8(input) else { return };
    let _ = cloudconfig::keys::fault(text);
    for part in cloudconfig::mime::parts(text).unwrap_or_default() {
        assert!(part.body.len() <= text.len() && part.line >= part.head_line);
    }
});
