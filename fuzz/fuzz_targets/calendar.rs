//! A calendar expression (first line) and a moment in the zone that the rest of the input is, if it is
//! one. Never a panic or a hang; what is read is read again from its normalized form, and each moment
//! is later than the one before.
#![no_main]

use init::time::{Calendar, Zone};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let first = input.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let rest = input.get(first.len() + 1..).unwrap_or_default();
    let zone = Zone::parse(rest).unwrap_or_else(|_| Zone::utc());
    let Some(calendar) = std::str::from_utf8(first).ok().and_then(|text| Calendar::parse(text).ok()) else {
        return;
    };
    assert_eq!(Calendar::parse(&calendar.to_string()).as_ref(), Ok(&calendar));
    let mut at = 1_795_506_000_000_000;
    for _ in 0..4 {
        let Some(next) = calendar.next(at, &zone) else { return };
        assert!(next > at, "{calendar}: {next} after {at}");
        at = next;
    }
});
