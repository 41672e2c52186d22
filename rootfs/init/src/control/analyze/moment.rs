//! `systemd-analyze calendar`, `timestamp` and `timespan`: what a text means, and when. Moments are
//! shown in UTC; an expression goes by the machine's zone, or by its own.

use crate::time::{Calendar, Zone, ZoneName};
use crate::unit::value;
use journal::time::Civil;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

const SECOND: u64 = 1_000_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const WEEK: u64 = 7 * DAY;
/// systemd.time(7): a year has 365.25 days, a month is its twelfth.
const MONTH: u64 = 2_629_800 * SECOND;
const YEAR: u64 = 31_557_600 * SECOND;

/// Microseconds since 1970.
fn now_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
}

/// `Wed 2026-11-25 00:00:00 UTC`.
fn moment(us: u64) -> String {
    let at = Civil::from_us(us);
    // 1970 began on a Thursday.
    let day = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"][(us / DAY % 7) as usize];
    let Civil { year, month, day: of_month, second, .. } = at;
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{day} {year:04}-{month:02}-{of_month:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// A point in time (systemd.time(7)); a day of the week before it is passed over, as long as it is one.
fn point(text: &str, now: u64) -> Option<u64> {
    const DAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    let is_day = |word: &&str| {
        let word = word.to_ascii_lowercase();
        DAYS.iter().any(|day| *day == word || day[..3] == word)
    };
    let rest = text.split_once(' ').filter(|(first, _)| is_day(first)).map_or(text, |(_, rest)| rest);
    journal::time::parse(rest, now)
}

fn many(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// How far a moment is from another, as coarse as systemd says it (its `format_timestamp_relative()`).
fn relative(us: u64, now: u64) -> String {
    let far = us.abs_diff(now);
    let which = if us > now { "left" } else { "ago" };
    let text = match far {
        0 => return "now".into(),
        YEAR.. => format!("{} {}", many(far / YEAR, "year"), many(far % YEAR / MONTH, "month")),
        MONTH.. => format!("{} {}", many(far / MONTH, "month"), many(far % MONTH / DAY, "day")),
        WEEK.. => format!("{} {}", many(far / WEEK, "week"), many(far % WEEK / DAY, "day")),
        _ if far >= 2 * DAY => format!("{} days", far / DAY),
        _ if far >= 25 * HOUR => format!("1 day {}h", (far - DAY) / HOUR),
        _ if far >= 6 * HOUR => format!("{}h", far / HOUR),
        HOUR.. => format!("{}h {}min", far / HOUR, far % HOUR / MINUTE),
        _ if far >= 5 * MINUTE => format!("{}min", far / MINUTE),
        MINUTE.. => format!("{}min {}s", far / MINUTE, far % MINUTE / SECOND),
        SECOND.. => format!("{}s", far / SECOND),
        1000.. => format!("{}ms", far / 1000),
        _ => format!("{far}us"),
    };
    format!("{text} {which}")
}

/// `1h 3s`: a span without loss (its `format_timespan()`).
fn human(mut us: u64) -> String {
    const UNITS: [(&str, u64); 9] = [
        ("y", YEAR),
        ("month", MONTH),
        ("w", WEEK),
        ("d", DAY),
        ("h", HOUR),
        ("min", MINUTE),
        ("s", SECOND),
        ("ms", 1000),
        ("us", 1),
    ];
    if us == 0 {
        return "0".into();
    }
    let mut words = Vec::new();
    for (name, length) in UNITS {
        // systemd writes what is below a minute as one number of seconds.
        if name == "s" && us >= SECOND && !us.is_multiple_of(SECOND) {
            words.push(format!("{}.{:06}s", us / SECOND, us % SECOND));
            break;
        }
        if name == "ms" && us >= 1000 && !us.is_multiple_of(1000) {
            words.push(format!("{}.{:03}ms", us / 1000, us % 1000));
            break;
        }
        if us >= length {
            words.push(format!("{}{name}", us / length));
            us %= length;
        }
    }
    words.join(" ")
}

/// A blank line between what several operands give.
fn each(operands: &[&str], one: impl Fn(&str) -> Result<String, String>) -> Result<String, String> {
    let all: Vec<String> = operands.iter().map(|operand| one(operand)).collect::<Result<_, _>>()?;
    Ok(all.join("\n"))
}

pub(super) fn timespans(spans: &[&str]) -> Result<String, String> {
    each(spans, |text| {
        let found = value::span(text).ok_or_else(|| format!("`{text}` is no time span"))?;
        let us = found.map(|found| found.as_micros() as u64);
        // What systemd calls infinity is the largest number.
        let (number, human) = (us.unwrap_or(u64::MAX), us.map_or("infinity".into(), human));
        Ok(format!("Original: {text}\n      μs: {number}\n   Human: {human}\n"))
    })
}

pub(super) fn timestamps(texts: &[&str]) -> Result<String, String> {
    let now = now_us();
    each(texts, |text| {
        let us = point(text, now).ok_or_else(|| format!("`{text}` is no point in time"))?;
        let fraction = if us % SECOND == 0 { String::new() } else { format!(".{:06}", us % SECOND) };
        Ok(format!(
            "  Original form: {text}\nNormalized form: {}\n   UNIX seconds: @{}{fraction}\n       From now: {}\n",
            moment(us),
            us / SECOND,
            relative(us, now)
        ))
    })
}

/// The rules of a zone of the machine.
fn zone(name: &ZoneName) -> Result<Zone, String> {
    let path = match name {
        ZoneName::Utc => return Ok(Zone::utc()),
        ZoneName::Local => Path::new("/etc/localtime").to_owned(),
        ZoneName::Named(name) => Path::new("/usr/share/zoneinfo").join(name),
    };
    match fs::read(&path) {
        Ok(bytes) => Zone::parse(&bytes).map_err(|error| format!("{}: {error}", path.display())),
        Err(_) if *name == ZoneName::Local => Ok(Zone::utc()),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

/// When expressions elapse: so many times after `base`, or after now.
pub(super) fn calendars(texts: &[&str], iterations: usize, base: Option<&str>) -> Result<String, String> {
    let now = now_us();
    let base = match base {
        None => now,
        Some(text) => point(text, now).ok_or_else(|| format!("`{text}` is no point in time"))?,
    };
    each(texts, |text| {
        let calendar = Calendar::parse(text).map_err(|error| format!("`{text}`: {error}"))?;
        let zone = zone(&calendar.zone)?;
        let mut out = format!("  Original form: {text}\nNormalized form: {calendar}\n");
        let mut after = base;
        for index in 0..iterations {
            let next = calendar.next(i64::try_from(after).unwrap_or(i64::MAX), &zone);
            let Some(next) = next.and_then(|next| u64::try_from(next).ok()) else {
                if index == 0 {
                    out.push_str("    Next elapse: never\n");
                }
                break;
            };
            after = next;
            let title = if index == 0 { "Next elapse".into() } else { format!("Iter. #{}", index + 1) };
            // Writing into a string does not fail.
            let _ = write!(out, "{title:>15}: {}\n       From now: {}\n", moment(next), relative(next, now));
        }
        Ok(out)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_said_without_loss() {
        for (us, text) in [
            (0, "0"),
            (3_603 * SECOND, "1h 3s"),
            (1, "1us"),
            (1500, "1.500ms"),
            (61_500_000, "1min 1.500000s"),
            (YEAR + MONTH + WEEK + DAY, "1y 1month 1w 1d"),
        ] {
            assert_eq!(human(us), text);
        }
        assert!(timespans(&["soon"]).is_err());
    }

    #[test]
    fn distances_are_coarse() {
        let now = 1000 * DAY;
        for (us, text) in [
            (now, "now"),
            (now + 69, "69us left"),
            (now - 90 * SECOND, "1min 30s ago"),
            (now - 7 * MINUTE, "7min ago"),
            (now + HOUR, "1h 0min left"),
            (now + 35 * HOUR, "1 day 11h left"),
            (now - 8 * DAY, "1 week 1 day ago"),
            (now + YEAR + 2 * MONTH, "1 year 2 months left"),
        ] {
            assert_eq!(relative(us, now), text);
        }
        assert_eq!(moment(1_395_716_396 * SECOND), "Tue 2014-03-25 02:59:56 UTC");
    }
}
