//! ISO 9660: ECMA-119, section 8.4 (primary volume descriptor).

use super::{Probe, Source, text};

pub(super) fn probe(source: &dyn Source) -> Option<Probe> {
    let descriptor = source.read(32768, 2048)?;
    if &descriptor[..6] != b"\x01CD001" {
        return None;
    }
    let mut found = Probe::new("iso9660", "filesystem");
    found.label = text(&descriptor[40..72]);
    // blkid makes a UUID of the time of modification, or of creation: digits of year, month …
    let times = [&descriptor[830..846], &descriptor[813..829]];
    let is_time =
        |time: &&[u8]| time.iter().all(u8::is_ascii_digit) && time.iter().any(|digit| *digit != b'0');
    if let Some(time) = times.into_iter().find(is_time) {
        let digits = String::from_utf8_lossy(time);
        let parts = [
            &digits[..4],
            &digits[4..6],
            &digits[6..8],
            &digits[8..10],
            &digits[10..12],
            &digits[12..14],
            &digits[14..16],
        ];
        found.uuid = parts.join("-");
    }
    Some(found)
}
