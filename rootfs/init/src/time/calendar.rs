//! Calendar expressions such as `Mon..Fri *-*-* 09:00` (systemd.time(7), "Calendar Events"), and the
//! next moment at which one elapses.

use super::Zone;
use super::civil::{Civil, days_in_month, weekday};
use std::fmt;

/// In whose time an expression is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ZoneName {
    /// The machine's own.
    Local,
    /// `UTC`.
    Utc,
    /// A name below /usr/share/zoneinfo.
    Named(String),
}

/// Why a text is no calendar expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CalendarError {
    /// Nothing, or something that no part of an expression can be.
    #[error("want a calendar expression such as Mon..Fri *-*-* 09:00")]
    Syntax,
    /// A number out of range, a range that is empty, a step that never takes effect.
    #[error("a {0} of a calendar expression is out of range")]
    Range(&'static str),
}

/// One value, range or series of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Part {
    start: i64,
    stop: Option<i64>,
    repeat: i64,
}

/// The values of a field; none means any.
type Parts = Vec<Part>;

/// A calendar expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calendar {
    /// Bit 0 is Monday; 0 means any.
    weekdays: u8,
    /// `~`: days count from the end of the month.
    from_end: bool,
    /// In whose time.
    pub zone: ZoneName,
    year: Parts,
    month: Parts,
    day: Parts,
    hour: Parts,
    minute: Parts,
    microsecond: Parts,
}

const WEEKDAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
const SECOND: i64 = 1_000_000;
/// The values of one field.
const MAX_PARTS: usize = 240;
/// systemd's own bounds.
const YEARS: (i64, i64) = (1970, 2199);

fn just(value: i64) -> Parts {
    vec![Part { start: value, stop: None, repeat: 0 }]
}

struct Reader<'a>(&'a str);

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<char> {
        self.0.chars().next()
    }

    fn take(&mut self, text: &str) -> bool {
        let rest = self.0.strip_prefix(text);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn skip_spaces(&mut self) {
        self.0 = self.0.trim_start_matches(' ');
    }

    fn at_end(&self, also: &str) -> bool {
        self.peek().is_none_or(|c| also.contains(c))
    }

    fn decimal(&mut self, fraction: bool) -> Result<i64, CalendarError> {
        let digits = |text: &'a str| text.split_at(text.bytes().take_while(u8::is_ascii_digit).count());
        let (whole, rest) = digits(self.0);
        let mut value: i64 = whole.parse().map_err(|_| CalendarError::Syntax)?;
        self.0 = rest;
        if fraction {
            value = value.checked_mul(SECOND).ok_or(CalendarError::Range("second"))?;
            // One dot begins a fraction, two a range.
            if self.0.starts_with('.') && !self.0.starts_with("..") {
                let (part, rest) = digits(&self.0[1..]);
                if part.is_empty() {
                    return Err(CalendarError::Syntax);
                }
                self.0 = rest;
                let micros = part.bytes().chain(std::iter::repeat(b'0')).take(6);
                value += micros.fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'));
                // The seventh digit rounds.
                value += i64::from(part.as_bytes().get(6).is_some_and(|digit| *digit >= b'5'));
            }
        }
        if value > i64::from(i32::MAX) { Err(CalendarError::Range("number")) } else { Ok(value) }
    }

    fn part(&mut self, fraction: bool) -> Result<Part, CalendarError> {
        let start = self.decimal(fraction)?;
        let (mut stop, mut repeat) = (None, 0);
        if self.take("..") {
            stop = Some(self.decimal(fraction)?);
            repeat = if fraction { SECOND } else { 1 };
        }
        if self.take("/") {
            repeat = self.decimal(fraction)?;
            if repeat == 0 {
                return Err(CalendarError::Range("step"));
            }
        } else if fraction && stop.is_some_and(|stop| start + repeat > stop) {
            return Err(CalendarError::Range("second"));
        }
        if self.at_end(" ,-~:") { Ok(Part { start, stop, repeat }) } else { Err(CalendarError::Syntax) }
    }

    /// `*`, or parts with commas between them.
    fn parts(&mut self, fraction: bool) -> Result<Parts, CalendarError> {
        if self.take("*") {
            let every = Part { start: 0, stop: None, repeat: SECOND };
            return Ok(if fraction { vec![every] } else { Vec::new() });
        }
        let mut parts = vec![self.part(fraction)?];
        while self.take(",") {
            if parts.len() > MAX_PARTS {
                return Err(CalendarError::Range("list"));
            }
            parts.push(self.part(fraction)?);
        }
        Ok(parts)
    }

    fn weekday(&mut self) -> Result<Option<usize>, CalendarError> {
        for (number, name) in WEEKDAYS.iter().enumerate() {
            for name in [name, &name[..3]] {
                let Some(head) = self.0.get(..name.len()).filter(|head| head.eq_ignore_ascii_case(name))
                else {
                    continue;
                };
                self.0 = &self.0[head.len()..];
                return if self.at_end("-., ") { Ok(Some(number)) } else { Err(CalendarError::Syntax) };
            }
        }
        Ok(None)
    }

    fn weekdays(&mut self) -> Result<u8, CalendarError> {
        let mut bits = 0;
        let mut from: Option<usize> = None;
        let mut first = true;
        loop {
            let Some(day) = self.weekday()? else {
                return if first { Ok(0) } else { Err(CalendarError::Syntax) };
            };
            bits |= 1 << day;
            if let Some(from) = from {
                if from > day {
                    return Err(CalendarError::Range("weekday"));
                }
                bits |= (from..day).fold(0, |bits, day| bits | 1 << day);
            }
            if self.at_end(" ") {
                self.skip_spaces();
                return Ok(bits);
            }
            if self.take(",") {
                from = None;
            } else if from.is_none() && (self.take("..") || self.take("-")) {
                from = Some(day);
            } else {
                return Err(CalendarError::Syntax);
            }
            // A comma at the end is fine, an open range is not.
            if self.at_end(" ") {
                self.skip_spaces();
                return if from.is_none() { Ok(bits) } else { Err(CalendarError::Syntax) };
            }
            first = false;
        }
    }
}

impl Calendar {
    /// Reads an expression.
    ///
    /// # Errors
    /// [`CalendarError`].
    pub fn parse(text: &str) -> Result<Self, CalendarError> {
        let (text, zone) = split_zone(text);
        let mut found = Self {
            weekdays: 0,
            from_end: false,
            zone,
            year: Vec::new(),
            month: Vec::new(),
            day: Vec::new(),
            hour: just(0),
            minute: just(0),
            microsecond: just(0),
        };
        match text.to_ascii_lowercase().as_str() {
            "" => return Err(CalendarError::Syntax),
            "minutely" => (found.hour, found.minute) = (Vec::new(), Vec::new()),
            "hourly" => found.hour = Vec::new(),
            "daily" => {}
            "weekly" => found.weekdays = 1,
            "monthly" => found.day = just(1),
            "annually" | "yearly" | "anually" => (found.month, found.day) = (just(1), just(1)),
            "quarterly" => {
                found.month = [1, 4, 7, 10].into_iter().flat_map(just).collect();
                found.day = just(1);
            }
            "semi-annually" | "semiannually" | "bi-annually" | "biannually" => {
                found.month = [1, 7].into_iter().flat_map(just).collect();
                found.day = just(1);
            }
            _ => found.read(&mut Reader(text))?,
        }
        found.check()?;
        Ok(found)
    }

    fn read(&mut self, reader: &mut Reader<'_>) -> Result<(), CalendarError> {
        self.weekdays = reader.weekdays()?;
        if reader.0.is_empty() {
            return Ok(());
        }
        if reader.take("@") {
            let seconds = reader.decimal(false)?;
            let at = Civil::from_seconds(seconds, 0);
            self.zone = ZoneName::Utc;
            (self.year, self.month, self.day) = (just(at.year), just(at.month), just(at.day));
            (self.hour, self.minute) = (just(at.hour), just(at.minute));
            self.microsecond = just(at.second * SECOND);
            return if reader.0.is_empty() { Ok(()) } else { Err(CalendarError::Syntax) };
        }
        self.date(reader)?;
        if reader.0.is_empty() {
            return Ok(());
        }
        self.hour = reader.parts(false)?;
        if !reader.take(":") {
            return Err(CalendarError::Syntax);
        }
        self.minute = reader.parts(false)?;
        if reader.take(":") {
            self.microsecond = reader.parts(true)?;
        }
        if reader.0.is_empty() { Ok(()) } else { Err(CalendarError::Syntax) }
    }

    /// `[YEAR-]MONTH-DAY`, or nothing if what is there is a time.
    fn date(&mut self, reader: &mut Reader<'_>) -> Result<(), CalendarError> {
        let start = reader.0;
        let first = reader.parts(false)?;
        if reader.at_end(":") {
            reader.0 = start;
            return Ok(());
        }
        let dash = |reader: &mut Reader<'_>| match (reader.take("~"), reader.take("-")) {
            (true, _) => Ok(true),
            (false, true) => Ok(false),
            _ => Err(CalendarError::Syntax),
        };
        self.from_end = dash(reader)?;
        let second = reader.parts(false)?;
        if reader.at_end(" ") {
            (self.month, self.day) = (first, second);
        } else {
            if self.from_end {
                return Err(CalendarError::Syntax);
            }
            self.from_end = dash(reader)?;
            let third = reader.parts(false)?;
            if !reader.at_end(" ") {
                return Err(CalendarError::Syntax);
            }
            (self.year, self.month, self.day) = (first, second, third);
        }
        reader.skip_spaces();
        Ok(())
    }

    fn check(&mut self) -> Result<(), CalendarError> {
        if self.weekdays == 0b111_1111 {
            self.weekdays = 0;
        }
        self.from_end &= !self.day.is_empty();
        let century = |year: i64| match year {
            0..70 => year + 2000,
            70..100 => year + 1900,
            _ => year,
        };
        for part in &mut self.year {
            part.start = century(part.start);
            part.stop = part.stop.map(century);
        }
        let days = if self.from_end { 28 } else { 31 };
        let fields = [
            (&mut self.year, YEARS.0, YEARS.1, "year"),
            (&mut self.month, 1, 12, "month"),
            (&mut self.day, 1, days, "day"),
            (&mut self.hour, 0, 23, "hour"),
            (&mut self.minute, 0, 59, "minute"),
            (&mut self.microsecond, 0, 60 * SECOND - 1, "second"),
        ];
        for (parts, from, to, name) in fields {
            for part in parts.iter_mut() {
                if let Some(stop) = part.stop.filter(|stop| *stop > part.start && part.repeat > 0) {
                    part.stop = Some(stop - (stop - part.start) % part.repeat);
                }
                // A range of one value is that value.
                if part.stop == Some(part.start) {
                    *part = Part { start: part.start, stop: None, repeat: 0 };
                }
            }
            parts.sort_unstable();
            parts.dedup();
            let from_end = self.from_end && name == "day";
            for Part { start, stop, repeat } in parts.iter().copied() {
                let inside = |value: i64| (from..=to).contains(&value);
                // At least one repetition must be possible.
                let repeats = match stop {
                    Some(stop) => inside(stop) && start + repeat <= stop,
                    None if from_end => start - repeat >= from,
                    None => start + repeat <= to,
                };
                if !inside(start) || repeat > to - from || !repeats {
                    return Err(CalendarError::Range(name));
                }
            }
        }
        Ok(())
    }

    /// The first moment after `after` (microseconds since 1970, UTC) at which it elapses; `None` if
    /// it never will.
    pub fn next(&self, after: i64, zone: &Zone) -> Option<i64> {
        let from = after.checked_add(1)?.max(0);
        let seconds = from.div_euclid(SECOND);
        let mut at = Civil::from_seconds(seconds + zone.offset_at(seconds), from.rem_euclid(SECOND));
        loop {
            at = self.matching(at)?;
            match zone.to_utc(at.seconds()) {
                Ok(utc) => {
                    let found = utc * SECOND + at.microsecond;
                    if found > after {
                        return Some(found);
                    }
                    // The clocks were set back: the second time that they show it.
                    let second = at.seconds() - zone.offset_at(utc + 86_400);
                    let found = second * SECOND + at.microsecond;
                    if found > after && second + zone.offset_at(second) == at.seconds() {
                        return Some(found);
                    }
                    at.microsecond += 1;
                    if at.microsecond >= SECOND {
                        at = Civil::from_seconds(at.seconds() + 1, 0);
                    }
                }
                // The clocks skip it.
                Err(shown) => at = Civil::from_seconds(shown, at.microsecond),
            }
        }
    }

    /// The first local time from `at` on that fits; `None` behind the last year.
    fn matching(&self, mut at: Civil) -> Option<Civil> {
        loop {
            at = at.normalized();
            let year = next_of(&self.year, at.year)?;
            if year > YEARS.1 {
                return None;
            }
            if year > at.year {
                at = Civil { year, month: 1, ..at }.at_start_of_day(1);
            }
            let Some(month) = next_of(&self.month, at.month) else {
                at = Civil { year: at.year + 1, month: 1, ..at }.at_start_of_day(1);
                continue;
            };
            if month > at.month {
                at = Civil { month, ..at }.at_start_of_day(1);
            }
            let length = days_in_month(at.year, at.month);
            let day = if self.from_end {
                let turned = self.day.iter().map(|part| {
                    let turn = |day: i64| length + 1 - day;
                    match part.stop {
                        Some(stop) => Part { start: turn(stop), stop: Some(turn(part.start)), ..*part },
                        None => Part { start: turn(part.start), ..*part },
                    }
                });
                next_of(&turned.collect::<Vec<_>>(), at.day)
            } else {
                next_of(&self.day, at.day)
            };
            let Some(day) = day.filter(|day| *day <= length) else {
                at = Civil { month: at.month + 1, ..at }.at_start_of_day(1);
                continue;
            };
            if day > at.day {
                at = at.at_start_of_day(day);
            }
            if self.weekdays != 0 && self.weekdays & (1 << weekday(at.year, at.month, at.day)) == 0 {
                at = at.at_start_of_day(at.day + 1);
                continue;
            }
            let Some(hour) = next_of(&self.hour, at.hour).filter(|hour| *hour < 24) else {
                at = at.at_start_of_day(at.day + 1);
                continue;
            };
            if hour > at.hour {
                at = Civil { hour, minute: 0, second: 0, microsecond: 0, ..at };
            }
            let Some(minute) = next_of(&self.minute, at.minute).filter(|minute| *minute < 60) else {
                at = Civil { hour: at.hour + 1, minute: 0, second: 0, microsecond: 0, ..at };
                continue;
            };
            if minute > at.minute {
                at = Civil { minute, second: 0, microsecond: 0, ..at };
            }
            let micros = next_of(&self.microsecond, at.second * SECOND + at.microsecond);
            let Some(micros) = micros.filter(|micros| *micros < 60 * SECOND) else {
                at = Civil { minute: at.minute + 1, second: 0, microsecond: 0, ..at };
                continue;
            };
            return Some(Civil { second: micros / SECOND, microsecond: micros % SECOND, ..at });
        }
    }
}

impl Civil {
    fn at_start_of_day(self, day: i64) -> Self {
        Self { day, hour: 0, minute: 0, second: 0, microsecond: 0, ..self }
    }
}

/// The smallest value from `from` on.
fn next_of(parts: &[Part], from: i64) -> Option<i64> {
    if parts.is_empty() {
        return Some(from);
    }
    let next = |part: &Part| {
        if part.start >= from {
            return Some(part.start);
        }
        let steps = (from - part.start).checked_add(part.repeat - 1)?.checked_div(part.repeat)?;
        let value = part.start + steps * part.repeat;
        part.stop.is_none_or(|stop| value <= stop).then_some(value)
    };
    parts.iter().filter_map(next).min()
}

/// The zone at the end, if there is one.
fn split_zone(text: &str) -> (&str, ZoneName) {
    let Some((rest, last)) = text.rsplit_once(' ') else { return (text, ZoneName::Local) };
    let rest = rest.trim_end();
    if last.eq_ignore_ascii_case("UTC") {
        return (rest, ZoneName::Utc);
    }
    // Names begin with a letter, and no weekday or shorthand stands last behind a space.
    let is_name = last.starts_with(|c: char| c.is_ascii_alphabetic())
        && last.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
        && last.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/_+-".contains(&byte));
    if is_name { (rest, ZoneName::Named(last.to_owned())) } else { (text, ZoneName::Local) }
}

impl fmt::Display for Calendar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days: Vec<usize> = (0..7).filter(|day| self.weekdays & (1 << day) != 0).collect();
        for (index, run) in days.chunk_by(|a, b| a + 1 == *b).enumerate() {
            let comma = if index > 0 { "," } else { "" };
            let short = |day: usize| &WEEKDAYS[day][..3];
            match run {
                [one] => write!(f, "{comma}{}", short(*one))?,
                [one, two] => write!(f, "{comma}{},{}", short(*one), short(*two))?,
                [first, .., last] => write!(f, "{comma}{}..{}", short(*first), short(*last))?,
                [] => {}
            }
        }
        if !days.is_empty() {
            f.write_str(" ")?;
        }
        let field = |parts: &Parts, width: usize| {
            let one = |part: &Part| {
                let stop = part.stop.map_or(String::new(), |stop| format!("..{stop:0width$}"));
                let steps = part.repeat > 1 || part.repeat == 1 && part.stop.is_none();
                let repeat = if steps { format!("/{}", part.repeat) } else { String::new() };
                format!("{:0width$}{stop}{repeat}", part.start)
            };
            if parts.is_empty() { "*".into() } else { parts.iter().map(one).collect::<Vec<_>>().join(",") }
        };
        let second = |value: i64, width: usize| match value % SECOND {
            0 => format!("{:0width$}", value / SECOND),
            micros => format!("{:0width$}.{micros:06}", value / SECOND),
        };
        let seconds = |part: &Part| {
            let stop = part.stop.map_or(String::new(), |stop| format!("..{}", second(stop, 2)));
            let steps = part.repeat > 0 && !(part.stop.is_some() && part.repeat == SECOND);
            let repeat = if steps { format!("/{}", second(part.repeat, 1)) } else { String::new() };
            format!("{}{stop}{repeat}", second(part.start, 2))
        };
        let every = [Part { start: 0, stop: None, repeat: SECOND }];
        let seconds = if self.microsecond == every {
            "*".into()
        } else {
            self.microsecond.iter().map(seconds).collect::<Vec<_>>().join(",")
        };
        let dash = if self.from_end { '~' } else { '-' };
        write!(f, "{}-{}{dash}{} ", field(&self.year, 4), field(&self.month, 2), field(&self.day, 2))?;
        write!(f, "{}:{}:{seconds}", field(&self.hour, 2), field(&self.minute, 2))?;
        match &self.zone {
            ZoneName::Local => Ok(()),
            ZoneName::Utc => f.write_str(" UTC"),
            ZoneName::Named(name) => write!(f, " {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_expression() {
        for bad in [
            "",
            "x",
            "Mon..",
            "Fri..Mon",
            "*-13-01",
            "*-*-32",
            "25:00",
            "10:60",
            "12",
            "*-*-* 1",
            "1-2-3-4",
            "00:00:00/0",
            "*-*~31",
            "..",
            "Mon 10:00:00 x y",
            "10:00:61",
            "10:00:00..00.5",
            "2300-01-01",
            "@x",
        ] {
            assert!(Calendar::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn last_days_and_steps() {
        let next = |text: &str, after: i64| {
            let at = Calendar::parse(text).unwrap().next(after * SECOND, &Zone::utc()).unwrap() / SECOND;
            let at = Civil::from_seconds(at, 0);
            (at.year, at.month, at.day, at.hour, at.minute)
        };
        assert_eq!(next("*-02~01", 1_700_000_000), (2024, 2, 29, 0, 0));
        assert_eq!(next("Mon *-05~07/1 06:00", 1_700_000_000), (2024, 5, 27, 6, 0));
        assert_eq!(next("*:0/15", 1_700_000_000), (2023, 11, 14, 22, 15));
        assert_eq!(Calendar::parse("2012-01-01").unwrap().next(1_700_000_000 * SECOND, &Zone::utc()), None);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "[ a-zA-Z0-9*/.,:~@-]{0,24}", after: i64) {
            if let Ok(calendar) = Calendar::parse(&text) {
                let _ = calendar.next(after, &Zone::utc());
                let again = Calendar::parse(&calendar.to_string()).unwrap();
                proptest::prop_assert_eq!(&again, &calendar);
            }
        }
    }
}
