//! The rule at the end of a time zone file: POSIX `TZ` with the extensions of RFC 8536, section 3.3.1,
//! such as `CET-1CEST,M3.5.0,M10.5.0/3`.

use super::Civil;
use super::civil::{days, days_in_month, weekday};

/// Standard time, and summer time with the two moments between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    standard: i64,
    summer: Option<Summer>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Summer {
    offset: i64,
    start: Change,
    end: Change,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Day {
    /// `Jn`, 1 to 365: February 29 is never counted.
    Julian(i64),
    /// `n`, 0 to 365.
    Zero(i64),
    /// `Mm.w.d`: weekday d (Sunday is 0) of week w, 5 is the last.
    Month(i64, i64, i64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Change {
    day: Day,
    seconds: i64,
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take(&mut self, byte: u8) -> bool {
        let found = self.0.first() == Some(&byte);
        if found {
            self.0 = &self.0[1..];
        }
        found
    }

    fn number(&mut self, max: i64) -> Option<i64> {
        let count = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let text = std::str::from_utf8(&self.0[..count]).ok()?;
        self.0 = &self.0[count..];
        text.parse().ok().filter(|number| *number <= max)
    }

    fn name(&mut self) -> Option<()> {
        let quoted = self.take(b'<');
        let inside = |byte: &u8| byte.is_ascii_alphabetic() || quoted && b"0123456789+-".contains(byte);
        let count = self.0.iter().take_while(|byte| inside(byte)).count();
        self.0 = &self.0[count..];
        (count >= 3 && (!quoted || self.take(b'>'))).then_some(())
    }

    /// `[+-]hh[:mm[:ss]]` in seconds.
    fn time(&mut self) -> Option<i64> {
        let sign = if self.take(b'-') { -1 } else { 1 };
        if sign == 1 {
            self.take(b'+');
        }
        let mut seconds = self.number(167)? * 3600;
        for unit in [60, 1] {
            if !self.take(b':') {
                break;
            }
            seconds += self.number(59)? * unit;
        }
        Some(sign * seconds)
    }

    fn change(&mut self) -> Option<Change> {
        if !self.take(b',') {
            return None;
        }
        let day = if self.take(b'M') {
            let month = self.number(12).filter(|month| *month > 0)?;
            let week = self.take(b'.').then(|| self.number(5)).flatten().filter(|week| *week > 0)?;
            Day::Month(month, week, self.take(b'.').then(|| self.number(6)).flatten()?)
        } else if self.take(b'J') {
            Day::Julian(self.number(365).filter(|day| *day > 0)?)
        } else {
            Day::Zero(self.number(365)?)
        };
        let seconds = if self.take(b'/') { self.time()? } else { 7200 };
        Some(Change { day, seconds })
    }
}

impl Change {
    /// Local seconds since 1970 of the change in a year.
    fn of(self, year: i64) -> i64 {
        let day = match self.day {
            Day::Zero(day) => days(year, 1, 1) + day,
            Day::Julian(day) => {
                let leap = days_in_month(year, 2) == 29 && day > 59;
                days(year, 1, day) + i64::from(leap)
            }
            Day::Month(month, week, wanted) => {
                // Monday is 0 there, Sunday here.
                let first = (weekday(year, month, 1) + 1) % 7;
                let day = 1 + (wanted - first).rem_euclid(7) + (week - 1) * 7;
                days(year, month, if day > days_in_month(year, month) { day - 7 } else { day })
            }
        };
        day * 86_400 + self.seconds
    }
}

impl Rule {
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let mut reader = Reader(text);
        reader.name()?;
        // West is positive there.
        let standard = -reader.time()?;
        if reader.0.is_empty() {
            return Some(Self { standard, summer: None });
        }
        reader.name()?;
        let offset = if reader.0.first() == Some(&b',') { standard + 3600 } else { -reader.time()? };
        let summer = Summer { offset, start: reader.change()?, end: reader.change()? };
        reader.0.is_empty().then_some(Self { standard, summer: Some(summer) })
    }

    /// Seconds to add to UTC.
    pub(super) fn offset_at(&self, utc: i64) -> i64 {
        let Some(summer) = &self.summer else { return self.standard };
        let year = Civil::from_seconds(utc + self.standard, 0).year;
        let (start, end) = (summer.start.of(year) - self.standard, summer.end.of(year) - summer.offset);
        let inside = if start <= end { start <= utc && utc < end } else { utc < end || start <= utc };
        if inside { summer.offset } else { self.standard }
    }
}
