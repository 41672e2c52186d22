//! Single values: booleans, time spans (systemd.time(7)), sizes, signals, modes.

use std::time::Duration;

/// A length of time; `None` is `infinity`.
pub type Span = Option<Duration>;

/// `1 yes y true t on` and their opposites, in any case.
pub fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "yes" | "y" | "true" | "t" | "on" => Some(true),
        "0" | "no" | "n" | "false" | "f" | "off" => Some(false),
        _ => None,
    }
}

const SPAN_UNITS: [(&str, u64); 29] = [
    ("seconds", 1_000_000),
    ("second", 1_000_000),
    ("sec", 1_000_000),
    ("s", 1_000_000),
    ("minutes", 60_000_000),
    ("minute", 60_000_000),
    ("min", 60_000_000),
    ("months", 2_629_800_000_000),
    ("month", 2_629_800_000_000),
    ("M", 2_629_800_000_000),
    ("msec", 1_000),
    ("ms", 1_000),
    ("m", 60_000_000),
    ("hours", 3_600_000_000),
    ("hour", 3_600_000_000),
    ("hr", 3_600_000_000),
    ("h", 3_600_000_000),
    ("days", 86_400_000_000),
    ("day", 86_400_000_000),
    ("d", 86_400_000_000),
    ("weeks", 604_800_000_000),
    ("week", 604_800_000_000),
    ("w", 604_800_000_000),
    ("years", 31_557_600_000_000),
    ("year", 31_557_600_000_000),
    ("y", 31_557_600_000_000),
    ("usec", 1),
    ("us", 1),
    ("µs", 1),
];

/// A time span: `5min 20s`, `1.5h`, `infinity`; a number alone is seconds. Exact to the microsecond.
pub fn span(text: &str) -> Option<Span> {
    let mut rest = text.trim();
    if rest == "infinity" {
        return Some(None);
    }
    let mut total: u64 = 0;
    let mut parts = 0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at(end);
        let tail = tail.trim_start();
        let end = tail.find(|c: char| c.is_ascii_digit() || c.is_whitespace()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let factor = if unit.is_empty() {
            1_000_000
        } else {
            SPAN_UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor)?
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
            return None;
        }
        let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        total = total.checked_add(whole.checked_mul(factor)?)?;
        let mut scale = factor;
        for digit in fraction.bytes() {
            scale /= 10;
            total = total.checked_add(u64::from(digit - b'0') * scale)?;
        }
        parts += 1;
        rest = tail.trim_start();
    }
    (parts > 0).then(|| Some(Duration::from_micros(total)))
}

/// A time-out: as [`span`], where 0 is `infinity` too (systemd.service(5), `TimeoutStartSec=`).
pub fn timeout(text: &str) -> Option<Span> {
    span(text).map(|span| span.filter(|length| !length.is_zero()))
}

/// A number of bytes with an optional suffix K, M, G, T, P, E to the base 1024.
pub fn size(text: &str) -> Option<u64> {
    let text = text.trim();
    let (number, shift) = match text.char_indices().last()? {
        (at, letter) if !letter.is_ascii_digit() => (&text[..at], 10 * (1 + "KMGTPE".find(letter)?)),
        _ => (text, 0),
    };
    number.trim_end().parse::<u64>().ok()?.checked_mul(1_u64.checked_shl(shift as u32)?)
}

/// As [`size`], but to the base 1000, as systemd counts bandwidths.
pub fn size_decimal(text: &str) -> Option<u64> {
    let text = text.trim();
    let (number, power) = match text.char_indices().last()? {
        (at, letter) if !letter.is_ascii_digit() => (&text[..at], 1 + "KMGTPE".find(letter)?),
        _ => (text, 0),
    };
    number.trim_end().parse::<u64>().ok()?.checked_mul(1000_u64.checked_pow(power as u32)?)
}

/// Numbers and ranges, by commas or white space: `0 2-3`. None is above 8191, the most processors
/// that Linux has.
pub fn number_list(text: &str) -> Option<Vec<u32>> {
    let mut found = Vec::new();
    for word in text.split([',', ' ', '\t']).filter(|word| !word.is_empty()) {
        let (first, last) = word.split_once('-').unwrap_or((word, word));
        let (first, last) = (first.parse::<u32>().ok()?, last.parse::<u32>().ok()?);
        if first > last || last > 8191 {
            return None;
        }
        found.extend(first..=last);
    }
    found.sort_unstable();
    found.dedup();
    Some(found)
}

/// A level of syslog(3) by name or number.
pub fn log_level(text: &str) -> Option<u8> {
    let names = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];
    let found = names.iter().position(|name| *name == text).map(|number| number as u8);
    found.or_else(|| text.parse().ok().filter(|number| *number <= 7))
}

/// An octal file mode.
pub fn mode(text: &str) -> Option<u32> {
    u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777 && !text.starts_with('+'))
}

const SIGNALS: [(&str, i32); 31] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("PWR", 30),
    ("SYS", 31),
];

/// A signal by name, with or without `SIG`, `RTMIN+n`, `RTMAX-n`, or by number.
pub fn signal(text: &str) -> Option<i32> {
    let name = text.strip_prefix("SIG").unwrap_or(text);
    if let Some((_, number)) = SIGNALS.iter().find(|(known, _)| *known == name) {
        return Some(*number);
    }
    // glibc keeps the first two real-time signals for itself: signal(7).
    let number = match name {
        "RTMIN" => 34,
        "RTMAX" => 64,
        _ => match (name.strip_prefix("RTMIN+"), name.strip_prefix("RTMAX-")) {
            (Some(add), _) => add.parse::<i32>().ok()?.checked_add(34)?,
            (_, Some(less)) => 64_i32.checked_sub(less.parse().ok()?)?,
            _ => name.parse().ok()?,
        },
    };
    (1..=64).contains(&number).then_some(number)
}

/// `TERM` of 15; real-time signals as `RTMIN+n`.
pub fn signal_name(number: i32) -> String {
    match SIGNALS.iter().find(|(_, known)| *known == number) {
        Some((name, _)) => (*name).to_owned(),
        None if (34..=64).contains(&number) => format!("RTMIN+{}", number - 34),
        None => number.to_string(),
    }
}

/// A level of syslog(3) by name or number.
pub fn level(text: &str) -> Option<u8> {
    let names = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];
    let by_name = names.iter().position(|name| *name == text).map(|level| level as u8);
    by_name.or_else(|| text.parse().ok().filter(|level| *level <= 7))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        let us = |text| span(text).unwrap().unwrap().as_micros();
        assert_eq!(us("5min 20s"), 320_000_000);
        assert_eq!(us("90"), 90_000_000);
        assert_eq!(us("1.5h"), 5_400_000_000);
        assert_eq!(us("1h30m"), 5_400_000_000);
        assert_eq!(us("500ms"), 500_000);
        assert_eq!(us("1 week 2 days"), 777_600_000_000);
        assert_eq!(span("infinity"), Some(None));
        assert_eq!(timeout("0"), Some(None));
        for bad in ["", "x", "5 parsecs", "1..2s", "-5", ".", "99999999999999999999"] {
            assert_eq!(span(bad), None, "{bad}");
        }
    }

    #[test]
    fn others() {
        assert_eq!((boolean("On"), boolean("f"), boolean("maybe")), (Some(true), Some(false), None));
        assert_eq!(
            (size("64M"), size("1G"), size("12"), size("1Q")),
            (Some(64 << 20), Some(1 << 30), Some(12), None)
        );
        assert_eq!(size("99999999999E"), None);
        assert_eq!((mode("0755"), mode("9"), mode("77777")), (Some(0o755), None, None));
        assert_eq!(
            (signal("SIGTERM"), signal("INT"), signal("RTMIN+3"), signal("70")),
            (Some(15), Some(2), Some(37), None)
        );
        assert_eq!(signal_name(15), "TERM");
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text: String) {
            let _ = (span(&text), size(&text), signal(&text), mode(&text), boolean(&text));
        }

        #[test]
        fn spans_of_digits_never_panic(text in "[0-9.a-zµ ]{0,24}") {
            let _ = span(&text);
        }
    }
}
