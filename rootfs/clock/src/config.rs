//! `timesyncd.conf(5)`, and the servers that links have.

use crate::client::Limits;
use service::config::Entry;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// Where the network service tells of links, `NTP=` among it.
pub const LINKS: &str = "/run/systemd/netif/links";

/// The servers when none is configured. An image with a name should have a zone of its own there
/// (<https://www.ntppool.org/vendors.html>) and set it in `timesyncd.conf`.
const FALLBACK: [&str; 4] = ["0.pool.ntp.org", "1.pool.ntp.org", "2.pool.ntp.org", "3.pool.ntp.org"];

/// The configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `NTP=`: asked first.
    pub servers: Vec<String>,
    /// `FallbackNTP=`: asked when neither the machine nor a link has any.
    pub fallback: Vec<String>,
    /// Limits.
    pub limits: Limits,
    /// `SaveIntervalSec=`: how often the clock is saved.
    pub save: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            fallback: FALLBACK.map(str::to_owned).to_vec(),
            limits: Limits::default(),
            save: Duration::from_mins(1),
        }
    }
}

impl Config {
    /// Takes the entries of section `[Time]` in order. What is wrong is told with its place.
    pub fn of(entries: &[Entry]) -> (Self, Vec<String>) {
        let mut config = Self::default();
        let mut problems = Vec::new();
        for entry in entries {
            if entry.section != "Time" {
                problems.push(entry.problem(&format!("unknown section [{}]", entry.section)));
            } else if let Err(what) = config.take(&entry.key, &entry.value) {
                problems.push(entry.problem(&what));
            }
        }
        if config.limits.poll_max < config.limits.poll_min {
            problems.push(
                "PollIntervalMaxSec= is less than PollIntervalMinSec=, which holds for both".to_owned(),
            );
            config.limits.poll_max = config.limits.poll_min;
        }
        (config, problems)
    }

    fn take(&mut self, key: &str, value: &str) -> Result<(), String> {
        let time = |least: u64| {
            let time = seconds(value).filter(|time| time.as_secs() >= least && time.as_secs() <= 86400);
            time.ok_or_else(|| format!("{key}={value} is not a time of {least} s to a day"))
        };
        match key {
            "NTP" => add(&mut self.servers, value),
            "FallbackNTP" => add(&mut self.fallback, value),
            "RootDistanceMaxSec" => self.limits.root_distance_max = time(0)?,
            "PollIntervalMinSec" => self.limits.poll_min = time(16)?,
            "PollIntervalMaxSec" => self.limits.poll_max = time(16)?,
            "ConnectionRetrySec" => self.limits.retry = time(1)?,
            "SaveIntervalSec" => self.save = time(1)?,
            _ => return Err(format!("unknown key `{key}`")),
        }
        Ok(())
    }

    /// The servers to ask: the machine's, then the links', else the fallback.
    pub fn servers(&self, of_links: &[String]) -> Vec<String> {
        let mut servers: Vec<String> = Vec::new();
        for server in self.servers.iter().chain(of_links) {
            if !servers.contains(server) {
                servers.push(server.clone());
            }
        }
        if servers.is_empty() { self.fallback.clone() } else { servers }
    }
}

fn add(list: &mut Vec<String>, value: &str) {
    if value.is_empty() {
        list.clear();
    }
    for word in value.split_whitespace() {
        if !list.iter().any(|known| known == word) {
            list.push(word.to_owned());
        }
    }
}

/// A time span (systemd.time(7)): a number of seconds, or numbers with units.
fn seconds(text: &str) -> Option<Duration> {
    let mut total = 0u64;
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let number: u64 = rest[..digits].parse().ok()?;
        rest = rest[digits..].trim_start();
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let unit = match &rest[..letters] {
            "" | "s" | "sec" | "second" | "seconds" => 1,
            "m" | "min" | "minute" | "minutes" => 60,
            "h" | "hr" | "hour" | "hours" => 3600,
            "d" | "day" | "days" => 86400,
            _ => return None,
        };
        rest = rest[letters..].trim_start();
        total = total.checked_add(number.checked_mul(unit)?)?;
    }
    Some(Duration::from_secs(total))
}

/// `NTP=` of all links, in the order of their numbers.
pub fn of_links(folder: &Path) -> Vec<String> {
    let mut files: Vec<(u32, std::path::PathBuf)> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path())))
        .collect();
    files.sort();
    let mut servers = Vec::new();
    for (_, path) in files {
        let Ok(text) = fs::read_to_string(path) else { continue };
        for value in text.lines().filter_map(|line| line.strip_prefix("NTP=")) {
            add(&mut servers, value.trim_matches('"'));
        }
    }
    servers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_and_what_is_wrong() {
        let text = "[Time]\nNTP=a b\nNTP=c\nFallbackNTP=\nRootDistanceMaxSec=1\nPollIntervalMinSec=16\n\
                    PollIntervalMaxSec=1h 8min\nConnectionRetrySec=2\nSaveIntervalSec=infinity\nX=1\n";
        let (config, problems) = Config::of(&service::config::parse(Path::new("f"), text).0);
        assert_eq!((config.servers.len(), config.fallback.len()), (3, 0));
        assert_eq!(config.limits.poll_max, Duration::from_mins(68));
        assert_eq!(
            problems,
            ["f:9: SaveIntervalSec=infinity is not a time of 1 s to a day", "f:10: unknown key `X`"]
        );
    }

    #[test]
    fn servers_of_links_come_before_the_fallback() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [("3", "DNS=1.1.1.1\nNTP=t3 t2\n"), ("2", "NTP=t2\n"), ("x", "NTP=no\n")] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let links = of_links(folder.path());
        assert_eq!(links, ["t2", "t3"]);
        let config = Config { servers: vec!["t0".into(), "t3".into()], ..Config::default() };
        assert_eq!(config.servers(&links), ["t0", "t3", "t2"]);
        assert_eq!(Config::default().servers(&[]), FALLBACK);
    }
}
