//! Local time: compiled time zones (RFC 8536) and civil dates.

use std::fmt;
use std::path::{Path, PathBuf};

/// Where the zones are.
pub const FOLDER: &str = "/usr/share/zoneinfo";
/// The machine's own.
pub const LOCALTIME: &str = "/etc/localtime";

/// A date and a time of day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Civil {
    /// Year.
    pub year: i64,
    /// Month, 1 to 12.
    pub month: u8,
    /// Day, 1 to 31.
    pub day: u8,
    /// Seconds since midnight.
    pub second: u32,
}

impl Civil {
    /// Of seconds since 1970-01-01 00:00:00 (proleptic Gregorian; after Hinnant's days algorithms).
    pub fn of(seconds: i64) -> Self {
        let (days, second) = (seconds.div_euclid(86400), seconds.rem_euclid(86400));
        let shifted = days + 719_468;
        let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        Self {
            year: year_of_era + era * 400 + i64::from(month <= 2),
            month: month as u8,
            day: (day_of_year - (153 * month_from_march + 2) / 5 + 1) as u8,
            second: second as u32,
        }
    }

    /// Seconds since 1970-01-01 00:00:00.
    pub fn seconds(self) -> i64 {
        days(self.year, self.month, self.day) * 86400 + i64::from(self.second)
    }

    /// `YYYY-MM-DD`, `YYYY-MM-DD HH:MM[:SS]`; `HH:MM[:SS]` of `today`.
    pub fn parse(text: &str, today: Self) -> Option<Self> {
        let (date, time) = match text.split_once([' ', 'T']) {
            Some((date, time)) => (Some(date), Some(time)),
            None if text.contains(':') => (None, Some(text)),
            None => (Some(text), None),
        };
        let number = |text: &str, digits: usize| {
            let plain = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
            plain.then(|| text.parse::<u32>().ok()).flatten()
        };
        let mut civil = today;
        if let Some(date) = date {
            let parts: Vec<&str> = date.split('-').collect();
            let [year, month, day] = parts[..] else { return None };
            civil.year = number(year, 4)?.into();
            (civil.month, civil.day) = (number(month, 2)? as u8, number(day, 2)? as u8);
            civil.second = 0;
        }
        if let Some(time) = time {
            let parts: Vec<&str> = time.split(':').collect();
            let (hour, minute, second) = match parts[..] {
                [hour, minute] => (number(hour, 2)?, number(minute, 2)?, 0),
                [hour, minute, second] => (number(hour, 2)?, number(minute, 2)?, number(second, 2)?),
                _ => return None,
            };
            if hour > 23 || minute > 59 || second > 59 {
                return None;
            }
            civil.second = hour * 3600 + minute * 60 + second;
        }
        // The 31st of a shorter month would be another day.
        (Self::of(civil.seconds()) == civil).then_some(civil)
    }

    fn weekday(self) -> &'static str {
        const NAMES: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
        NAMES[days(self.year, self.month, self.day).rem_euclid(7) as usize]
    }
}

impl fmt::Display for Civil {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (hour, minute, second) = (self.second / 3600, self.second / 60 % 60, self.second % 60);
        let (year, month, day) = (self.year, self.month, self.day);
        write!(out, "{} {year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}", self.weekday())
    }
}

fn days(year: i64, month: u8, day: u8) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let month_from_march = i64::from(if month > 2 { month - 3 } else { month + 9 });
    let day_of_year = (153 * month_from_march + 2) / 5 + i64::from(day) - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The offset from UTC at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offset {
    /// Seconds east of Greenwich.
    pub seconds: i64,
    /// Its name, such as CET.
    pub name: String,
}

/// A time zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    /// When which type begins.
    transitions: Vec<(i64, usize)>,
    types: Vec<Offset>,
    /// After the last transition.
    rule: Option<Rule>,
}

impl Zone {
    /// Coordinated universal time.
    pub fn utc() -> Self {
        Self {
            transitions: Vec::new(),
            types: vec![Offset { seconds: 0, name: "UTC".to_owned() }],
            rule: None,
        }
    }

    /// Reads a compiled zone of version 2 or later; `None` when it is none.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let header = |at: usize| -> Option<[usize; 6]> {
            let header = bytes.get(at..at.checked_add(44)?)?;
            let count = |index: usize| {
                let at = 20 + 4 * index;
                u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]) as usize
            };
            (header[..4] == *b"TZif" && header[4] >= b'2').then(|| [0, 1, 2, 3, 4, 5].map(count))
        };
        // RFC 8536 section 3.1: isutcnt, isstdcnt, leapcnt, timecnt, typecnt, charcnt.
        let [utc, std, leap, times, types, chars] = header(0)?;
        let second = [44, times * 5, types * 6, chars, leap * 8, std, utc].iter().sum::<usize>();
        let [utc, std, leap, times, types, chars] = header(second)?;
        let mut rest = bytes.get(second + 44..)?;
        let mut take = |length: usize| {
            let (taken, left) = rest.split_at_checked(length)?;
            rest = left;
            Some(taken)
        };
        let at = take(times.checked_mul(8)?)?;
        let indices = take(times)?;
        let type_bytes = take(types.checked_mul(6)?)?;
        let names = take(chars)?;
        take(leap.checked_mul(12)?)?;
        take(std)?;
        take(utc)?;
        let footer = std::str::from_utf8(rest).ok()?.trim_matches('\n');
        let types: Option<Vec<Offset>> = type_bytes
            .chunks_exact(6)
            .map(|it| {
                let name = names.get(usize::from(it[5])..)?.split(|byte| *byte == 0).next()?;
                let seconds = i32::from_be_bytes([it[0], it[1], it[2], it[3]]).into();
                Some(Offset { seconds, name: String::from_utf8_lossy(name).into_owned() })
            })
            .collect();
        let types = types.filter(|types| !types.is_empty())?;
        let mut transitions = Vec::with_capacity(times.min(4096));
        for (when, index) in at.chunks_exact(8).zip(indices) {
            let when =
                i64::from_be_bytes([when[0], when[1], when[2], when[3], when[4], when[5], when[6], when[7]]);
            types.get(usize::from(*index))?;
            transitions.push((when, usize::from(*index)));
        }
        if !transitions.is_sorted() {
            return None;
        }
        let rule = if footer.is_empty() { None } else { Some(Rule::parse(footer)?) };
        Some(Self { transitions, types, rule })
    }

    /// The offset at a time, seconds since 1970.
    pub fn at(&self, time: i64) -> Offset {
        let next = self.transitions.partition_point(|(when, _)| *when <= time);
        if next == self.transitions.len()
            && let Some(rule) = &self.rule
        {
            return rule.at(time);
        }
        match next.checked_sub(1) {
            Some(index) => self.types[self.transitions[index].1].clone(),
            None => self.types[0].clone(),
        }
    }

    /// The time of a local date. One that comes twice is its first; one that does not come is what
    /// a clock that is not yet set forward shows.
    pub fn time_of(&self, local: Civil) -> i64 {
        let naive = local.seconds();
        let before = naive - self.at(naive - 86400).seconds;
        let after = naive - self.at(naive + 86400).seconds;
        if before + self.at(before).seconds == naive || after + self.at(after).seconds != naive {
            before
        } else {
            after
        }
    }
}

/// A POSIX `TZ` rule, of which zones after their last transition have one (RFC 8536 section 3.3.1).
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    standard: Offset,
    summer: Option<(Offset, Change, Change)>,
}

/// When the clock changes, and at what second of that day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Change {
    day: Day,
    second: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Day {
    /// 1 to 365, without 29 February.
    Julian(i64),
    /// 0 to 365, with it.
    OfYear(i64),
    /// Month, week (5: the last), day of the week from Sunday.
    Week(u8, i64, i64),
}

impl Rule {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(',');
        let mut names = parts.next()?;
        let standard_name = name(&mut names)?;
        let standard = Offset { seconds: -clock(&mut names)?, name: standard_name };
        if names.is_empty() {
            return Some(Self { standard, summer: None });
        }
        let summer_name = name(&mut names)?;
        let seconds = if names.is_empty() { standard.seconds + 3600 } else { -clock(&mut names)? };
        let (start, end) = (Change::parse(parts.next()?)?, Change::parse(parts.next()?)?);
        let done = names.is_empty() && parts.next().is_none();
        done.then_some(Self { standard, summer: Some((Offset { seconds, name: summer_name }, start, end)) })
    }

    fn at(&self, time: i64) -> Offset {
        let Some((summer, start, end)) = &self.summer else { return self.standard.clone() };
        let year = Civil::of(time + self.standard.seconds).year;
        let start = start.seconds(year) - self.standard.seconds;
        let end = end.seconds(year) - summer.seconds;
        let is_summer =
            if start < end { start <= time && time < end } else { !(end <= time && time < start) };
        if is_summer { summer.clone() } else { self.standard.clone() }
    }
}

impl Change {
    fn parse(text: &str) -> Option<Self> {
        let (day, time) = text.split_once('/').unwrap_or((text, "2"));
        let mut time = time;
        let second = clock(&mut time).filter(|_| time.is_empty())?;
        let within =
            |text: &str, low: i64, high: i64| text.parse().ok().filter(|value| (low..=high).contains(value));
        let day = if let Some(week) = day.strip_prefix('M') {
            let parts: Vec<&str> = week.split('.').collect();
            let [month, week, weekday] = parts[..] else { return None };
            Day::Week(within(month, 1, 12)? as u8, within(week, 1, 5)?, within(weekday, 0, 6)?)
        } else if let Some(julian) = day.strip_prefix('J') {
            Day::Julian(within(julian, 1, 365)?)
        } else {
            Day::OfYear(within(day, 0, 365)?)
        };
        Some(Self { day, second })
    }

    /// Local seconds since 1970 in a year.
    fn seconds(self, year: i64) -> i64 {
        let first = days(year, 1, 1);
        let day = match self.day {
            Day::OfYear(day) => first + day,
            Day::Julian(day) => {
                let is_leap = days(year + 1, 1, 1) - first == 366;
                first + day - 1 + i64::from(is_leap && day >= 60)
            }
            Day::Week(month, week, weekday) => {
                let month_start = days(year, month, 1);
                let month_end = if month == 12 { days(year + 1, 1, 1) } else { days(year, month + 1, 1) };
                // 1970-01-01 was a Thursday, day 4.
                let first_weekday = (month_start + 4).rem_euclid(7);
                let mut day = month_start + (weekday - first_weekday).rem_euclid(7) + 7 * (week - 1);
                while day >= month_end {
                    day -= 7;
                }
                day
            }
        };
        day * 86400 + self.second
    }
}

/// `CET` or `<+03>`.
fn name(text: &mut &str) -> Option<String> {
    let (name, rest) = if let Some(quoted) = text.strip_prefix('<') {
        quoted.split_once('>')?
    } else {
        text.split_at(text.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(text.len()))
    };
    *text = rest;
    (!name.is_empty()).then(|| name.to_owned())
}

/// `[+-]H[:MM[:SS]]`, seconds.
fn clock(text: &mut &str) -> Option<i64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && !matches!(c, '+' | '-' | ':')).unwrap_or(text.len());
    let (taken, rest) = text.split_at(end);
    *text = rest;
    let (sign, digits) = match taken.as_bytes().first()? {
        b'-' => (-1, &taken[1..]),
        b'+' => (1, &taken[1..]),
        _ => (1, taken),
    };
    let mut total = 0;
    let mut unit = 3600;
    for part in digits.split(':') {
        total += part.parse::<i64>().ok().filter(|value| (0..=167).contains(value))? * unit;
        unit /= 60;
    }
    Some(sign * total)
}

/// The file of a zone, when its name is one.
pub fn file_of(name: &str, folder: &Path) -> Option<PathBuf> {
    let plain = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-_.".contains(&byte))
    };
    (!name.is_empty() && name.split('/').all(plain)).then(|| folder.join(name))
}

/// The machine's zone, by the link that `/etc/localtime` is; UTC without one.
pub fn current() -> (String, Zone) {
    let utc = || ("UTC".to_owned(), Zone::utc());
    let Ok(target) = std::fs::read_link(LOCALTIME) else { return utc() };
    let text = target.to_string_lossy();
    let Some((_, name)) = text.split_once("zoneinfo/") else { return utc() };
    match std::fs::read(LOCALTIME).ok().and_then(|bytes| Zone::parse(&bytes)) {
        Some(zone) => (name.to_owned(), zone),
        None => utc(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn dates_there_and_back() {
        for (seconds, text) in [
            (0, "Thu 1970-01-01 00:00:00"),
            (951_827_696, "Tue 2000-02-29 12:34:56"),
            (-1, "Wed 1969-12-31 23:59:59"),
            (4_107_542_399, "Sun 2100-02-28 23:59:59"),
        ] {
            let civil = Civil::of(seconds);
            assert_eq!((civil.to_string().as_str(), civil.seconds()), (text, seconds));
        }
    }

    #[test]
    fn what_people_write() {
        let today = Civil::of(951_827_696);
        let parse = |text: &str| Civil::parse(text, today).map(|civil| civil.to_string());
        assert_eq!(parse("2026-11-24 08:09:10").as_deref(), Some("Tue 2026-11-24 08:09:10"));
        assert_eq!(parse("2026-11-24").as_deref(), Some("Tue 2026-11-24 00:00:00"));
        assert_eq!(parse("23:59").as_deref(), Some("Tue 2000-02-29 23:59:00"));
        for wrong in ["2026-02-29", "24:00", "2026-1-1", "x", "", "2026-01-01 1:2", "2026-13-01", "12:00:60"]
        {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn zones_as_gnu_date_has_them() {
        let names = [
            "Europe/Berlin",
            "America/New_York",
            "Australia/Lord_Howe",
            "Asia/Kolkata",
            "America/St_Johns",
            "Africa/Casablanca",
            "Europe/Dublin",
        ];
        let times = [
            0,
            1_700_000_000,
            1_792_890_000,
            1_792_893_600,
            2_500_000_000,
            4_000_000_000,
            4_010_000_000,
            5_000_000_000_i64,
        ];
        for name in names {
            let path = file_of(name, Path::new(FOLDER)).unwrap();
            let bytes = std::fs::read(path).expect("install tzdata");
            let zone = Zone::parse(&bytes).unwrap();
            let mut rule_only = zone.clone();
            rule_only.transitions.clear();
            for time in times {
                let output = Command::new("date")
                    .env("TZ", name)
                    .args(["-d", &format!("@{time}"), "+%:z %Z"])
                    .output()
                    .unwrap();
                let theirs = String::from_utf8(output.stdout).unwrap();
                let show = |zone: &Zone| {
                    let offset = zone.at(time);
                    let (sign, minutes) =
                        (if offset.seconds < 0 { '-' } else { '+' }, offset.seconds.abs() / 60);
                    format!("{sign}{:02}:{:02} {}\n", minutes / 60, minutes % 60, offset.name)
                };
                assert_eq!(show(&zone), theirs, "{name} at {time}");
                if time > 1_600_000_000 && name != "Africa/Casablanca" {
                    assert_eq!(show(&rule_only), theirs, "the rule of {name} at {time}");
                }
                let local = Civil::of(time + zone.at(time).seconds);
                let again = zone.time_of(local);
                assert!(
                    again == time || (time - again).abs() <= 7200 && zone.at(again) != zone.at(time),
                    "{name} at {time}"
                );
            }
        }
    }

    #[test]
    fn damaged_zones_are_none() {
        let bytes = std::fs::read("/usr/share/zoneinfo/Europe/Berlin").expect("install tzdata");
        for length in 0..bytes.len().min(600) {
            assert_eq!(Zone::parse(&bytes[..length]), None);
        }
        for at in 0..bytes.len() {
            let mut poked = bytes.clone();
            poked[at] ^= 0xff;
            if let Some(zone) = Zone::parse(&poked) {
                zone.at(1_700_000_000);
                zone.at(5_000_000_000);
            }
        }
    }

    #[test]
    fn names_stay_in_their_folder() {
        let folder = Path::new("/z");
        assert_eq!(file_of("Etc/GMT+1", folder), Some("/z/Etc/GMT+1".into()));
        for wrong in ["../x", "/etc/passwd", "a//b", "", "a/../b", ".x", "a b"] {
            assert_eq!(file_of(wrong, folder), None, "{wrong}");
        }
    }
}
