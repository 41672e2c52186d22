//! Calendar expressions against Debian's `systemd-analyze calendar`: which are refused, the
//! normalized form, and when they elapse. Needs the packages systemd and tzdata.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail by panicking")]

use init::time::{Calendar, Civil, Zone, ZoneName};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Normalized form, and moments in microseconds since 1970.
type Verdict = Option<(String, Vec<i64>)>;

const ZONES: &str = "/usr/share/zoneinfo";
const ITERATIONS: usize = 6;
const SECOND: i64 = 1_000_000;

fn theirs(text: &str, base: i64, local: &str) -> Verdict {
    let output = Command::new("systemd-analyze")
        .args([
            "calendar",
            &format!("--iterations={ITERATIONS}"),
            &format!("--base-time=@{base}"),
            "--",
            text,
        ])
        .env("TZ", local)
        .env("LC_ALL", "C")
        .output()
        .expect("this test needs systemd-analyze: apt-get install systemd");
    if !output.status.success() {
        return None;
    }
    let said = String::from_utf8(output.stdout).unwrap();
    let mut form = String::new();
    let mut moments = Vec::new();
    for line in said.lines() {
        let Some((name, rest)) = line.split_once(':') else { continue };
        match name.trim() {
            "Normalized form" => rest.trim().clone_into(&mut form),
            // Local time stands before it where that is not UTC.
            "(in UTC)" => {
                moments.pop();
                moments.push(moment(rest.trim()));
            }
            name if name == "Next elapse" && rest.trim() != "never" || name.starts_with("Iter") => {
                // `(in UTC)` replaces it; in UTC it is right as it stands.
                moments.push(if local == "UTC" { moment(rest.trim()) } else { 0 });
            }
            _ => {}
        }
    }
    Some((form, moments))
}

/// `Tue 2026-11-24 09:00:00 UTC`
fn moment(text: &str) -> i64 {
    let words: Vec<&str> = text.split(' ').collect();
    let [_, date, time, "UTC"] = words[..] else { panic!("{text}") };
    let date: Vec<i64> = date.split('-').map(|part| part.parse().unwrap()).collect();
    let time: Vec<&str> = time.split(':').collect();
    let (second, fraction) = time[2].split_once('.').unwrap_or((time[2], "0"));
    let civil = Civil {
        year: date[0],
        month: date[1],
        day: date[2],
        hour: time[0].parse().unwrap(),
        minute: time[1].parse().unwrap(),
        second: second.parse().unwrap(),
        microsecond: 0,
    };
    civil.seconds() * SECOND + format!("{fraction:0<6}").parse::<i64>().unwrap()
}

fn zone(name: &str) -> Option<Zone> {
    assert!(Path::new(ZONES).join("Europe/Berlin").exists(), "this test needs apt-get install tzdata");
    Some(Zone::parse(&fs::read(Path::new(ZONES).join(name)).ok()?).unwrap())
}

fn ours(text: &str, base: i64, local: &str) -> Verdict {
    let calendar = Calendar::parse(text).ok()?;
    let zone = match &calendar.zone {
        ZoneName::Local => zone(local)?,
        ZoneName::Utc => Zone::utc(),
        ZoneName::Named(name) => zone(name)?,
    };
    let mut moments = Vec::new();
    let mut at = base * SECOND;
    while moments.len() < ITERATIONS {
        let Some(next) = calendar.next(at, &zone) else { break };
        // It shows whole seconds.
        moments.push(next - next % SECOND);
        at = next;
    }
    Some((calendar.to_string(), moments))
}

fn compare(text: &str, base: i64, local: &str) {
    assert_eq!(ours(text, base, local), theirs(text, base, local), "`{text}` from @{base} in {local}");
}

/// 2026-11-24 07:00:00 UTC.
const BASE: i64 = 1_795_503_600;

#[test]
fn the_manuals_examples_and_more() {
    for text in [
        "Sat,Thu,Mon..Wed,Sat..Sun",
        "Mon,Sun 12-*-* 2,1:23",
        "Wed *-1",
        "Wed..Wed,Wed *-1",
        "Wed, 17:48",
        "Wed..Sat,Tue 12-10-15 1:2:3",
        "*-*-7 0:0:0",
        "10-15",
        "monday *-12-* 17:00",
        "Mon,Fri *-*-3,1,2 *:30:45",
        "12,14,13,12:20,10,30",
        "12..14:10,20,30",
        "mon,fri *-1/2-1,3 *:30:45",
        "03-05 08:05:40",
        "08:05:40",
        "05:40",
        "Sat,Sun 12-05 08:05:40",
        "Sat,Sun 08:05:40",
        "2003-03-05 05:40",
        "05:40:23.4200004/3.1700005",
        "2003-02..04-05",
        "2003-03-05 05:40 UTC",
        "2003-03-05",
        "03-05",
        "hourly",
        "daily",
        "daily UTC",
        "monthly",
        "weekly",
        "weekly Pacific/Auckland",
        "yearly",
        "annually",
        "*:2/3",
        "minutely",
        "quarterly",
        "semi-annually",
        "*-*-* 00:00/30:00",
        "Mon..Fri *-*-* 09:00",
        "*-02~01",
        "Mon *-05~07/1",
        "*-*~1..3",
        "*-*-1..31/5 1,13:0/20",
        "Sun *-*-1..7 04:00",
        "*:*:*",
        "*-*-* *:*:0/10",
        "2100..2110-02-29",
        "@1800000000",
        "*-*-31 23:59:59.5",
        "70-1-1",
        "99-*-*",
        "Mon-Fri 8:0",
        "Fri 13",
        "*-*-13 Fri",
        "1..3-5 10:00",
        "Thu 2030-01..12/4-1..7 7..9/2:15,45",
        "*~1",
        "*-*-* 24:00",
        "*-2-30",
        "10:00:00..30/7",
        "Mon,",
        "Tue..",
        "*-*-*",
        "*-*-* ",
        "  daily  ",
        "1:2:3:4",
        "2026-11-24 07:00:00",
        "2026-11-24 07:00:01",
        "2026-11-24",
    ] {
        compare(text, BASE, "UTC");
    }
}

#[test]
fn changes_of_the_clocks() {
    // Before a spring and an autumn change; the autumn's second hour is entered from outside only.
    for base in [1_774_656_000, 1_792_800_000] {
        for text in ["*-*-* 02:30", "*-*-* 03:30", "*:30", "0/6:0", "daily", "*-*-* 02:30 UTC", "Sun 02:15"] {
            for local in ["Europe/Berlin", "America/New_York", "Asia/Kathmandu"] {
                if base == 1_792_800_000 && text == "*:30" {
                    continue;
                }
                compare(text, base, local);
            }
        }
        compare("*-*-* 02:30 Europe/Berlin", base, "UTC");
        compare("hourly Australia/Lord_Howe", base, "UTC");
    }
}

/// A generator that needs no seed file: the failure names the expression.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn field(&mut self, from: u64, to: u64) -> String {
        let mut value = || from + self.roll(to - from + 2);
        let (a, b) = (value(), value());
        let (low, high) = (a.min(b), a.max(b));
        match self.roll(8) {
            0 | 1 => "*".into(),
            2 => format!("{low}..{high}"),
            3 => format!("{low}/{}", 1 + self.roll(9)),
            4 => format!("{low}..{high}/{}", 1 + self.roll(5)),
            5 => format!("{a},{b}"),
            _ => a.to_string(),
        }
    }

    fn expression(&mut self) -> String {
        let mut text = String::new();
        let days = ["Mon", "tue", "Wednesday", "Thu", "FRI", "Sat", "Sunday"];
        if self.roll(3) == 0 {
            let mut day = || days[self.roll(7) as usize];
            let (a, b) = (day(), day());
            text = match self.roll(3) {
                0 => format!("{a}..{b} "),
                1 => format!("{a},{b} "),
                _ => format!("{a} "),
            };
        }
        if self.roll(3) > 0 {
            let year = ["*", "2026..2030", "2027", "2026/2", "*"][self.roll(5) as usize];
            let dash = if self.roll(5) == 0 { '~' } else { '-' };
            // In a list, systemd lowers the last day by three more for each further value.
            let last = if dash == '~' { 20 } else { 31 };
            text = format!("{text}{year}-{}{dash}{} ", self.field(1, 12), self.field(1, last));
        }
        text = format!("{text}{}:{}", self.field(0, 23), self.field(0, 59));
        if self.roll(2) == 0 {
            text = format!("{text}:{}", self.field(0, 59));
        }
        text
    }
}

#[test]
fn random_expressions_elapse_when_systemds_do() {
    let mut dice = Dice(20_261_124);
    let mut refused = 0;
    for _ in 0..300 {
        let text = dice.expression();
        let base = 1_600_000_000 + dice.roll(300_000_000) as i64;
        refused += u32::from(ours(&text, base, "UTC").is_none());
        compare(&text, base, "UTC");
    }
    assert!((10..200).contains(&refused), "{refused} of 300 were refused: the dice are not fair");
}
