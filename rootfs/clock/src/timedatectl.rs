//! `timedatectl`: shows and sets time, zone and synchronization.
//!
//! A zone that is set holds until the machine is started again, for `/etc` is rendered anew at
//! every boot; the command says so.

use crate::client::Report;
use crate::demand::{self, Refusal};
use crate::timedated::{NO_ZONES, Request, SOCKET};
use crate::timesyncd;
use crate::zone::{self, Civil, FOLDER, Zone};
use service::call::ask;
use service::config::boolean;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

const USAGE: &str = "hint: timedatectl [status] | show [-p NAME…] [--value] | set-time TIME | set-timezone ZONE | \
                     list-timezones | set-ntp yes|no | timesync-status | show-timesync [--json]";
const UNIT: &str = "systemd-timesyncd.service";
/// Errors beyond this are none to speak of (`NTP_PHASE_LIMIT`, which the kernel ends at).
const MAX_ERROR_US: i64 = 16_000_000;

#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    json: bool,
    help: bool,
    value: bool,
    properties: Vec<String>,
    words: Vec<String>,
}

impl Options {
    fn of(arguments: &[String]) -> Result<Self, String> {
        let mut options = Self::default();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            match argument.as_str() {
                "--json" | "-j" => options.json = true,
                "--help" | "-h" => options.help = true,
                "--no-pager" => {}
                "--value" => options.value = true,
                "-p" | "--property" => options.properties.push(rest.next().ok_or("-p needs a name")?.clone()),
                other => match other.strip_prefix("--property=").or_else(|| other.strip_prefix("-p")) {
                    Some(name) => options.properties.push(name.to_owned()),
                    // `set-time -1` is no option, but neither is it a time.
                    None if other.starts_with('-') => return Err(format!("unknown option `{other}`")),
                    None => options.words.push(other.to_owned()),
                },
            }
        }
        Ok(options)
    }
}

enum Failure {
    Usage(String),
    Failed(String, &'static str),
    Refused(Refusal),
}

type Outcome = Result<String, Failure>;

fn failed(why: impl Into<String>, hint: &'static str) -> Failure {
    Failure::Failed(why.into(), hint)
}

/// The command. Exit code: 0 done, 1 failed, 2 usage.
pub fn main(arguments: &[String]) -> u8 {
    let outcome = match Options::of(arguments) {
        Ok(options) if options.help => Ok(format!("{USAGE}\n")),
        Ok(options) => run(&options),
        Err(why) => Err(Failure::Usage(why)),
    };
    match outcome {
        Ok(text) => {
            print!("{text}");
            0
        }
        Err(Failure::Usage(why)) => {
            eprintln!("error: {why}\n{USAGE}");
            2
        }
        Err(Failure::Refused(refusal)) => {
            eprintln!("error: {refusal}");
            1
        }
        Err(Failure::Failed(why, hint)) => {
            eprintln!("error: {why}\nhint: {hint}");
            1
        }
    }
}

fn run(options: &Options) -> Outcome {
    let words: Vec<&str> = options.words.iter().map(String::as_str).collect();
    let verb = words.first().copied().unwrap_or("status");
    if options.json && !matches!(verb, "show-timesync" | "timesync-status") {
        return Err(Failure::Usage("--json is for show-timesync and timesync-status".to_owned()));
    }
    if (options.value || !options.properties.is_empty()) && verb != "show" {
        return Err(Failure::Usage("-p and --value are for show".to_owned()));
    }
    match words[..] {
        [] | ["status"] => Ok(Facts::look().show()),
        ["show"] => Facts::look().properties(options),
        ["set-time", text] => set_time(text),
        ["set-timezone", name] => set_zone(name),
        ["list-timezones"] => list_zones(Path::new(FOLDER)),
        ["set-ntp", text] => {
            let on =
                boolean(text).ok_or_else(|| Failure::Usage(format!("`{text}` is neither yes nor no")))?;
            set_ntp(on)
        }
        ["timesync-status" | "show-timesync"] => {
            let report: Report = ask(Path::new(timesyncd::SOCKET), &timesyncd::Request::Status)
                .map_err(|error| failed(error.to_string(), "does systemd-timesyncd.service run?"))?;
            Ok(match (verb, options.json) {
                (_, true) => serde_json::to_string(&report).unwrap_or_default() + "\n",
                ("show-timesync", false) => show_properties(&report),
                _ => show_report(&report),
            })
        }
        _ => Err(Failure::Usage(format!("`{}` is not understood", words.join(" ")))),
    }
}

/// All that `status` shows.
struct Facts {
    now: i64,
    zone_name: String,
    zone: Zone,
    rtc: Option<i64>,
    synchronized: bool,
    ntp: bool,
}

impl Facts {
    fn look() -> Self {
        let (zone_name, zone) = zone::current();
        let rtc = fs::read_to_string("/sys/class/rtc/rtc0/since_epoch").ok();
        let state = sys::clock::state();
        Self {
            now: seconds_now(),
            zone_name,
            zone,
            rtc: rtc.and_then(|text| text.trim().parse().ok()),
            synchronized: state.is_ok_and(|state| !state.unsynchronized && state.max_error_us < MAX_ERROR_US),
            ntp: timesyncd::runs(),
        }
    }

    fn show(&self) -> String {
        let offset = self.zone.at(self.now);
        let (sign, minutes) = (if offset.seconds < 0 { '-' } else { '+' }, offset.seconds.abs() / 60);
        let local = Civil::of(self.now + offset.seconds);
        let rtc = self.rtc.map_or("n/a".to_owned(), |rtc| Civil::of(rtc).to_string());
        let numeric = format!("{sign}{:02}{:02}", minutes / 60, minutes % 60);
        format!(
            "               Local time: {local} {}\n           Universal time: {} UTC\n                 RTC time: {rtc}\n\
             \x20               Time zone: {} ({}, {numeric})\nSystem clock synchronized: {}\n\
             \x20             NTP service: {}\n          RTC in local TZ: no\n",
            offset.name,
            Civil::of(self.now),
            self.zone_name,
            offset.name,
            yes(self.synchronized),
            if self.ntp { "active" } else { "inactive" },
        )
    }

    fn properties(&self, options: &Options) -> Outcome {
        let mut all = vec![
            ("Timezone", self.zone_name.clone()),
            ("LocalRTC", "no".to_owned()),
            ("CanNTP", "yes".to_owned()),
            ("NTP", yes(self.ntp).to_owned()),
            ("NTPSynchronized", yes(self.synchronized).to_owned()),
            ("TimeUSec", format!("{} UTC", Civil::of(self.now))),
        ];
        all.extend(self.rtc.map(|rtc| ("RTCTimeUSec", format!("{} UTC", Civil::of(rtc)))));
        if let Some(unknown) =
            options.properties.iter().find(|name| !all.iter().any(|(known, _)| known == name))
        {
            return Err(Failure::Usage(format!("there is no property `{unknown}`")));
        }
        let wanted =
            |name: &str| options.properties.is_empty() || options.properties.iter().any(|it| it == name);
        let mut text = String::new();
        for (name, value) in all.iter().filter(|(name, _)| wanted(name)) {
            let head = if options.value { String::new() } else { format!("{name}=") };
            let _ = writeln!(text, "{head}{value}");
        }
        Ok(text)
    }
}

fn seconds_now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs().cast_signed())
}

fn yes(on: bool) -> &'static str {
    if on { "yes" } else { "no" }
}

fn set_time(text: &str) -> Outcome {
    let (_, zone) = zone::current();
    let now = seconds_now();
    let time = match text.strip_prefix('@') {
        Some(seconds) => seconds.parse().ok(),
        None => Civil::parse(text, Civil::of(now + zone.at(now).seconds)).map(|civil| zone.time_of(civil)),
    };
    let time: i64 = time.filter(|time| (0..=i64::MAX / 1_000_000_000).contains(time)).ok_or_else(|| {
        Failure::Usage(format!("`{text}` is no time: YYYY-MM-DD [HH:MM[:SS]], HH:MM[:SS] or @SECONDS"))
    })?;
    set(&Request::SetTime(time))
}

fn set_zone(name: &str) -> Outcome {
    if zone::file_of(name, Path::new(FOLDER)).is_none() {
        return Err(Failure::Usage(format!("`{name}` is not a zone's name")));
    }
    let text = set(&Request::SetZone(name.to_owned()))?;
    eprintln!("hint: it holds until the next boot, at which /etc is rendered anew");
    Ok(text)
}

/// Has the service set it.
fn set(request: &Request) -> Outcome {
    match demand::wish(SOCKET, "systemd-timedated.socket", request) {
        Ok(()) => Ok(String::new()),
        Err(refusal) => Err(Failure::Refused(refusal)),
    }
}

/// The zones of `tzdata.zi`, of `tzdata`'s tables, else of the folder's files.
fn list_zones(folder: &Path) -> Outcome {
    let mut names = Vec::new();
    collect(folder, "", &mut names);
    if names.is_empty() {
        return Err(failed(format!("{} has no zones", folder.display()), NO_ZONES));
    }
    names.sort();
    Ok(names.iter().map(|name| format!("{name}\n")).collect())
}

fn collect(folder: &Path, prefix: &str, names: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let (Ok(kind), Ok(name)) = (entry.file_type(), entry.file_name().into_string()) else { continue };
        // `right` and `posix` are the same zones once more.
        if name.starts_with('.')
            || (prefix.is_empty() && matches!(&*name, "right" | "posix" | "localtime" | "posixrules"))
        {
            continue;
        }
        if kind.is_dir() {
            collect(&entry.path(), &format!("{prefix}{name}/"), names);
        } else {
            let mut head = [0; 4];
            let read = fs::File::open(entry.path())
                .and_then(|mut file| std::io::Read::read_exact(&mut file, &mut head));
            if read.is_ok() && head == *b"TZif" {
                names.push(format!("{prefix}{name}"));
            }
        }
    }
}

fn set_ntp(on: bool) -> Outcome {
    let verb = if on { "start" } else { "stop" };
    let done = Command::new("systemctl").args([verb, UNIT]).status();
    match done {
        Ok(status) if status.success() => {
            if !on {
                eprintln!(
                    "hint: it holds until the next boot; to keep it, set `mask: true` for {UNIT} in user-data"
                );
            }
            Ok(String::new())
        }
        Ok(status) => {
            Err(failed(format!("systemctl {verb} {UNIT} ends with {status}"), "see `systemctl status`"))
        }
        Err(error) => Err(failed(format!("systemctl: {error}"), "PID 1 must be asked")),
    }
}

/// Nanoseconds with a unit.
fn span(ns: i64) -> String {
    let size = ns.unsigned_abs();
    let sign = if ns < 0 { "-" } else { "" };
    match size {
        0..1_000_000 => format!("{sign}{}us", size / 1000),
        1_000_000..1_000_000_000 => format!("{sign}{:.3}ms", size as f64 / 1e6),
        _ => format!("{sign}{:.3}s", size as f64 / 1e9),
    }
}

fn show_report(report: &Report) -> String {
    let mut text = String::new();
    let mut row = |title: &str, value: &str| {
        let _ = writeln!(text, "{title:>14}: {value}");
    };
    match (&report.server, report.address) {
        (Some(server), Some(address)) => row("Server", &format!("{} ({server})", address.ip())),
        (Some(server), None) => row("Server", &format!("n/a ({server})")),
        (None, _) => row("Server", "none"),
    }
    row("Poll interval", &format!("{}s", report.poll_s));
    if report.packets > 0 {
        row(
            "Leap",
            match report.leap {
                0 => "normal",
                1 => "insert second",
                _ => "delete second",
            },
        );
        row("Stratum", &report.stratum.to_string());
        row("Reference", &report.reference);
        row("Root distance", &span(report.root_distance_ns));
        row("Offset", &span(report.offset_ns));
        row("Delay", &span(report.delay_ns));
        row("Jitter", &span(report.jitter_ns));
    }
    row("Packet count", &report.packets.to_string());
    row("Passed over", &report.passed_over.to_string());
    row("Steps", &report.steps.to_string());
    if let Ok(state) = sys::clock::state() {
        row("Frequency", &format!("{:+.3}ppm", state.frequency_ppm));
    }
    text
}

fn show_properties(report: &Report) -> String {
    let address = report.address.map(|address| address.ip().to_string()).unwrap_or_default();
    format!(
        "SystemNTPServers={}\nServerName={}\nServerAddress={address}\nPollIntervalUSec={}s\nNTPSynchronized={}\n\
         Packets={}\nOffset={}\nDelay={}\nJitter={}\n",
        report.servers.join(" "),
        report.server.clone().unwrap_or_default(),
        report.poll_s,
        yes(report.synchronized),
        report.packets,
        span(report.offset_ns),
        span(report.delay_ns),
        span(report.jitter_ns),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(text: &str) -> Result<Options, String> {
        Options::of(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    fn facts() -> Facts {
        let (zone_name, zone) = ("UTC".to_owned(), Zone::utc());
        Facts { now: 951_827_696, zone_name, zone, rtc: Some(951_827_695), synchronized: true, ntp: false }
    }

    #[test]
    fn status_is_as_systemds() {
        let expected = "               Local time: Tue 2000-02-29 12:34:56 UTC
           Universal time: Tue 2000-02-29 12:34:56 UTC
                 RTC time: Tue 2000-02-29 12:34:55
                Time zone: UTC (UTC, +0000)
System clock synchronized: yes
              NTP service: inactive
          RTC in local TZ: no
";
        assert_eq!(facts().show(), expected);
    }

    #[test]
    fn properties_by_name() {
        let show = |text: &str| facts().properties(&options(text).unwrap()).ok();
        assert_eq!(show("-p NTP --value show").as_deref(), Some("no\n"));
        assert_eq!(show("--property=Timezone show").as_deref(), Some("Timezone=UTC\n"));
        assert_eq!(show("-pNTPSynchronized").as_deref(), Some("NTPSynchronized=yes\n"));
        assert!(show("-p Nonsense").is_none());
    }

    #[test]
    fn wrong_calls_are_usage() {
        for text in [
            "frobnicate",
            "set-time nonsense",
            "set-time @-5",
            "set-ntp perhaps",
            "set-timezone ../x",
            "--json",
            "status -p NTP",
            "show extra",
        ] {
            let outcome = run(&options(text).unwrap());
            assert!(matches!(outcome, Err(Failure::Usage(_))), "{text}");
        }
        assert!(options("--frobnicate").is_err() && options("-p").is_err());
    }

    #[test]
    fn zones_are_listed_or_said_to_be_missing() {
        let empty = tempfile::tempdir().unwrap();
        assert!(matches!(list_zones(empty.path()), Err(Failure::Failed(_, NO_ZONES))));
        let all = list_zones(Path::new(FOLDER)).ok().expect("install tzdata");
        assert!(
            all.lines().any(|line| line == "Europe/Berlin")
                && all.lines().all(|line| !line.starts_with("right/"))
        );
    }

    #[test]
    fn spans() {
        assert_eq!([1500, -2_500_000, 3_000_000_000].map(span), ["1us", "-2.500ms", "3.000s"]);
    }
}
