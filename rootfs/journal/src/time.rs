//! Dates, in UTC: shown, and read from `--since` and `--until` (systemd.time(7)).

/// Microseconds of a day.
const DAY_US: u64 = 86_400 * SECOND_US;
const SECOND_US: u64 = 1_000_000;
const WEEKDAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];

/// A date and time of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Civil {
    /// Year.
    pub year: i64,
    /// 1 to 12.
    pub month: u32,
    /// 1 to 31.
    pub day: u32,
    /// Seconds since midnight.
    pub second: u32,
    /// Microseconds of the second.
    pub micro: u32,
}

impl Civil {
    /// From microseconds since 1970 (Howard Hinnant, "chrono-Compatible Low-Level Date
    /// Algorithms", `civil_from_days`).
    pub fn from_us(us: u64) -> Self {
        let days = (us / DAY_US) as i64 + 719_468;
        let era = days.div_euclid(146_097);
        let of_era = days.rem_euclid(146_097);
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month = (5 * of_year + 2) / 153;
        Self {
            year: year_of_era + era * 400 + i64::from(month >= 10),
            month: if month < 10 { month + 3 } else { month - 9 } as u32,
            day: (of_year - (153 * month + 2) / 5 + 1) as u32,
            second: (us % DAY_US / SECOND_US) as u32,
            micro: (us % SECOND_US) as u32,
        }
    }

    /// Microseconds since 1970; `None` for a date that does not exist or is before 1970.
    pub fn to_us(self) -> Option<u64> {
        let shifted = if self.month > 2 { self.year } else { self.year.checked_sub(1)? };
        let (era, year_of_era) = (shifted.div_euclid(400), shifted.rem_euclid(400));
        let month = if self.month > 2 { self.month - 3 } else { self.month.checked_add(9)? };
        let of_year = (153 * i64::from(month) + 2) / 5 + i64::from(self.day) - 1;
        let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
        let days =
            u64::try_from(era.checked_mul(146_097)?.checked_add(of_era)?.checked_sub(719_468)?).ok()?;
        let us = days.checked_mul(DAY_US)?.checked_add(u64::from(self.second) * SECOND_US)?;
        let us = us.checked_add(u64::from(self.micro))?;
        (Self::from_us(us) == self).then_some(us)
    }

    fn clock(self) -> String {
        format!("{:02}:{:02}:{:02}", self.second / 3600, self.second / 60 % 60, self.second % 60)
    }

    /// `Nov 22 18:05:09`.
    pub fn short(self) -> String {
        const NAMES: [&str; 12] =
            ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let name = NAMES.get(self.month as usize - 1).copied().unwrap_or("???");
        format!("{name} {:02} {}", self.day, self.clock())
    }

    /// `2026-11-22T18:05:09+0000`.
    pub fn iso(self) -> String {
        format!("{:04}-{:02}-{:02}T{}+0000", self.year, self.month, self.day, self.clock())
    }

    /// `2026-11-22T18:05:09.123456+0000`.
    pub fn iso_precise(self) -> String {
        let date = format!("{:04}-{:02}-{:02}", self.year, self.month, self.day);
        format!("{date}T{}.{:06}+0000", self.clock(), self.micro)
    }

    /// `Sun 2026-11-22 18:05:09 UTC`, as systemd shows times.
    pub fn full(self) -> String {
        format!("{} {} UTC", self.date(), self.clock())
    }

    /// `Sun 2026-11-22 18:05:09.123456 UTC`.
    pub fn full_precise(self) -> String {
        format!("{} {}.{:06} UTC", self.date(), self.clock(), self.micro)
    }

    fn date(self) -> String {
        let day = Self { second: 0, micro: 0, ..self };
        // 1970 began on a Thursday.
        let weekday = day.to_us().map_or(0, |us| (us / DAY_US + 4) % 7);
        let name = WEEKDAYS.get(weekday as usize).copied().unwrap_or("???");
        format!("{name} {:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

/// Reads a time: `Sun 2026-11-22 18:05:09.5 UTC`, its parts, `@SECONDS`, `now`, `today`, `yesterday`,
/// `tomorrow`, `-1h30min`, `+5s`, `2 days ago`. Microseconds since 1970; `None` for anything else.
pub fn parse(text: &str, now_us: u64) -> Option<u64> {
    let text = text.trim();
    let text = text.strip_suffix(" UTC").or(text.strip_suffix('Z')).unwrap_or(text);
    let (weekday, text) = weekday(text);
    let found = parse_plain(text, now_us)?;
    let right = |day: usize| (found / DAY_US + 4) % 7 == day as u64;
    // systemd.time(7): the weekday may be left out, but it must be right.
    weekday.is_none_or(right).then_some(found)
}

/// The day of the week in front, counted from Sunday, and what is behind it.
fn weekday(text: &str) -> (Option<usize>, &str) {
    const LONG: [&str; 7] = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];
    let Some((word, rest)) = text.split_once(' ') else { return (None, text) };
    let word = word.to_ascii_lowercase();
    let found = LONG.iter().position(|long| *long == word || long[..3] == word);
    if found.is_some() { (found, rest.trim_start()) } else { (None, text) }
}

fn parse_plain(text: &str, now_us: u64) -> Option<u64> {
    let today = now_us / DAY_US * DAY_US;
    match text {
        "now" => return Some(now_us),
        "today" => return Some(today),
        "yesterday" => return today.checked_sub(DAY_US),
        "tomorrow" => return today.checked_add(DAY_US),
        _ => {}
    }
    if let Some(seconds) = text.strip_prefix('@') {
        let (whole, part) = seconds.split_once('.').unwrap_or((seconds, ""));
        return number(whole)?.checked_mul(SECOND_US)?.checked_add(fraction(part)?);
    }
    if let Some(past) = text.strip_prefix('-') {
        return now_us.checked_sub(span(past)?);
    }
    if let Some(future) = text.strip_prefix('+') {
        return now_us.checked_add(span(future)?);
    }
    if let Some(past) = text.strip_suffix(" ago") {
        return now_us.checked_sub(span(past)?);
    }
    let (date, clock) = match text.split_once([' ', 'T']) {
        Some((date, clock)) => (Some(date), Some(clock)),
        None if text.contains(':') => (None, Some(text)),
        None => (Some(text), None),
    };
    let mut civil = Civil { second: 0, micro: 0, ..Civil::from_us(now_us) };
    if let Some(date) = date {
        let mut parts = date.splitn(3, '-').map(number);
        let mut next = || parts.next().flatten();
        let (year, month, day) = (next()?, next()?, next()?);
        // Two digits are of this century, or from 1969 on of the last (systemd.time(7)).
        let short = date.find('-').is_some_and(|length| length <= 2);
        let century = if !short {
            0
        } else if year < 69 {
            2000
        } else {
            1900
        };
        civil.year = i64::try_from(year).ok()?.checked_add(century)?;
        (civil.month, civil.day) = (u32::try_from(month).ok()?, u32::try_from(day).ok()?);
    }
    if let Some(clock) = clock {
        let (clock, part) = clock.split_once('.').unwrap_or((clock, ""));
        let parts: Vec<u64> = clock.split(':').map(number).collect::<Option<_>>()?;
        let [hour, minute, second] = match parts[..] {
            [hour, minute] => [hour, minute, 0],
            [hour, minute, second] => [hour, minute, second],
            _ => return None,
        };
        (hour < 24 && minute < 60 && second < 60).then_some(())?;
        civil.second = (hour * 3600 + minute * 60 + second) as u32;
        civil.micro = fraction(part)? as u32;
    }
    ((1..=12).contains(&civil.month) && civil.year < 100_000).then(|| civil.to_us())?
}

fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Microseconds of what is behind a decimal point.
fn fraction(text: &str) -> Option<u64> {
    (text.len() <= 6).then_some(())?;
    number(&format!("{text:0<6}"))
}

/// Reads a span such as `1h 30min`, `1.5h` or `90` (seconds); microseconds.
pub fn span(text: &str) -> Option<u64> {
    let mut total = 0_u64;
    let mut rest = text.trim();
    (!rest.is_empty()).then_some(())?;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (whole, part) = rest[..end].split_once('.').unwrap_or((&rest[..end], ""));
        // More than that is below a microsecond for all units up to an hour.
        (!whole.is_empty() && part.len() <= 9).then_some(())?;
        let (whole, part_scale) = (number(whole)?, 10_u64.pow(part.len() as u32));
        let part = if part.is_empty() { 0 } else { number(part)? };
        rest = rest[end..].trim_start();
        let letters = rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len());
        let unit = unit_us(&rest[..letters])?;
        let fraction = u128::from(part) * u128::from(unit) / u128::from(part_scale);
        let amount = whole.checked_mul(unit)?.checked_add(u64::try_from(fraction).ok()?)?;
        total = total.checked_add(amount)?;
        rest = rest[letters..].trim_start();
    }
    Some(total)
}

/// Microseconds of a unit of time (systemd.time(7)); without a name it is seconds.
fn unit_us(name: &str) -> Option<u64> {
    Some(match name {
        "us" | "usec" | "µs" | "μs" => 1,
        "ms" | "msec" => 1000,
        "" | "s" | "sec" | "second" | "seconds" => SECOND_US,
        "m" | "min" | "minute" | "minutes" => 60 * SECOND_US,
        "h" | "hr" | "hour" | "hours" => 3600 * SECOND_US,
        "d" | "day" | "days" => DAY_US,
        "w" | "week" | "weeks" => 7 * DAY_US,
        // 30.44 and 365.25 days.
        "M" | "month" | "months" => 2_629_800 * SECOND_US,
        "y" | "year" | "years" => 31_557_600 * SECOND_US,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_795_370_709_123_456;

    #[test]
    fn dates_are_those_of_coreutils() {
        // date -u -d @… of coreutils.
        for (seconds, text) in [
            (0, "Jan 01 00:00:00"),
            (1_709_164_799, "Feb 28 23:59:59"),
            (1_709_164_800, "Feb 29 00:00:00"),
            (1_795_370_709, "Nov 22 18:05:09"),
        ] {
            let civil = Civil::from_us(seconds * SECOND_US);
            assert_eq!(civil.short(), text);
            assert_eq!(civil.to_us(), Some(seconds * SECOND_US));
        }
        assert_eq!(Civil::from_us(NOW).iso(), "2026-11-22T18:05:09+0000");
        assert_eq!(Civil::from_us(NOW).full_precise(), "Sun 2026-11-22 18:05:09.123456 UTC");
        assert_eq!(Civil::from_us(0).full(), "Thu 1970-01-01 00:00:00 UTC");
    }

    #[test]
    fn times_are_read() {
        let at = |text: &str| parse(text, NOW).map(|us| (us as i64 - NOW as i64) / 1_000_000);
        for (text, seconds) in [
            ("now", Some(0)),
            ("today", Some(-65_109)),
            ("2026-11-22 18:05:09", Some(0)),
            ("2026-11-22T18:05", Some(-9)),
            ("2026-11-22", Some(-65_109)),
            ("18:05:00", Some(-9)),
            ("-1h 30min", Some(-5400)),
            ("-1.5h", Some(-5400)),
            ("Sun 2026-11-22 18:05:09 UTC", Some(0)),
            ("sunday 2026-11-22", Some(-65_109)),
            ("Mon 2026-11-22", None),
            ("26-11-22 18:05:09", Some(0)),
            ("2026-11-22T18:05:09Z", Some(0)),
            ("-1.h", Some(-3600)),
            ("-.5h", None),
            ("2 days ago", Some(-172_800)),
            ("+5", Some(5)),
            ("@1795370700", Some(-9)),
            ("2026-02-30", None),
            ("2026-13-01", None),
            ("25:00", None),
            ("soon", None),
            ("-", None),
            ("1999999999999-01-01", None),
            ("@99999999999999999999", None),
            ("-99999999999y", None),
        ] {
            assert_eq!(at(text), seconds, "{text}");
        }
        assert_eq!(parse("@1.5", 0), Some(1_500_000));
    }
}
