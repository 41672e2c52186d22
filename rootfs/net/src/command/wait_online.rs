//! `networkd-wait-online`: ends when the machine is online. It watches the service's files, so it
//! asks nobody and outlives a restart of the service.

use super::usage;
use crate::config::network::OperState;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

const USAGE: &str = "networkd-wait-online [-i LINK[:STATE]]… [--ignore=LINK]… [--any] [-4|-6] [-o STATE] \
    [--timeout=SECONDS]";
const FOLDER: &str = "/run/systemd/netif/links";
/// systemd's.
const PATIENCE: u64 = 120;

#[derive(Debug, Default)]
struct Wish {
    links: Vec<(String, Option<OperState>)>,
    ignored: Vec<String>,
    any: bool,
    family: Option<&'static str>,
    least: Option<OperState>,
    timeout: Option<Duration>,
}

/// `networkd-wait-online`: exit code 0 online, 1 not in time, 2 usage.
pub fn main(arguments: &[String]) -> u8 {
    let wish = match parse(arguments) {
        Ok(wish) => wish,
        Err(argument) => return usage(&argument, USAGE),
    };
    match wait(&wish) {
        Ok(true) => 0,
        Ok(false) => {
            eprintln!("error: the machine is not online in time\nhint: networkctl status -a");
            1
        }
        Err(error) => {
            eprintln!("error: {FOLDER}: {error}");
            1
        }
    }
}

fn parse(arguments: &[String]) -> Result<Wish, String> {
    let mut wish = Wish { timeout: Some(Duration::from_secs(PATIENCE)), ..Wish::default() };
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let wrong = || argument.clone();
        let (name, given) = match argument.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name, Some(value.to_owned())),
            _ => (argument.as_str(), None),
        };
        let mut value = || given.clone().or_else(|| rest.next().cloned()).ok_or_else(wrong);
        match name {
            "-i" | "--interface" => {
                let value = value()?;
                wish.links.push(match value.split_once(':') {
                    Some((link, state)) => {
                        let least = state.split(':').next().unwrap_or(state);
                        (link.to_owned(), Some(least.parse().map_err(|()| wrong())?))
                    }
                    None => (value, None),
                });
            }
            "--ignore" => wish.ignored.push(value()?),
            "-o" | "--operational-state" => wish.least = Some(value()?.parse().map_err(|()| wrong())?),
            "--timeout" => {
                let seconds: u64 = value()?.trim_end_matches('s').parse().map_err(|_| wrong())?;
                wish.timeout = (seconds > 0).then(|| Duration::from_secs(seconds));
            }
            "--any" if given.is_none() => wish.any = true,
            "-4" | "--ipv4" if given.is_none() => wish.family = Some("IPV4_ADDRESS_STATE"),
            "-6" | "--ipv6" if given.is_none() => wish.family = Some("IPV6_ADDRESS_STATE"),
            _ => return Err(wrong()),
        }
    }
    Ok(wish)
}

/// The files of links by the links' names.
type Links = BTreeMap<String, BTreeMap<String, String>>;

fn read() -> Links {
    let mut links = Links::new();
    let Ok(entries) = fs::read_dir(FOLDER) else { return links };
    for entry in entries.flatten() {
        let index = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
        let Some(name) = index.and_then(|index| nix::net::if_::if_indextoname(index).ok()) else { continue };
        let Ok(text) = fs::read_to_string(entry.path()) else { continue };
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        let pairs = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        links.insert(name.to_string_lossy().into_owned(), pairs);
    }
    links
}

/// Whether the links are as is wished.
fn online(links: &Links, wish: &Wish) -> bool {
    let value = |link: &BTreeMap<String, String>, key: &str| link.get(key).cloned().unwrap_or_default();
    let has = |link: &BTreeMap<String, String>, wanted: Option<OperState>| {
        let required = || value(link, "REQUIRED_OPER_STATE_FOR_ONLINE").parse().ok();
        let least = wanted.or(wish.least).or_else(required).unwrap_or(OperState::Degraded);
        let state = value(link, "OPER_STATE").parse().unwrap_or(OperState::Missing);
        value(link, "ADMIN_STATE") == "configured"
            && state >= least
            && wish.family.is_none_or(|family| value(link, family) == "routable")
    };
    if !wish.links.is_empty() {
        let mut each =
            wish.links.iter().map(|(name, state)| links.get(name).is_some_and(|link| has(link, *state)));
        return if wish.any { each.any(|good| good) } else { each.all(|good| good) };
    }
    let counted: Vec<_> = links
        .iter()
        .filter(|(name, link)| !wish.ignored.contains(name) && value(link, "REQUIRED_FOR_ONLINE") == "yes")
        .map(|(_, link)| has(link, None))
        .collect();
    // A machine without a link that counts is not online, or not yet.
    if wish.any { counted.contains(&true) } else { !counted.is_empty() && !counted.contains(&false) }
}

fn wait(wish: &Wish) -> io::Result<bool> {
    fs::create_dir_all(FOLDER)?;
    let watch = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
    let flags = AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_DELETE;
    watch.add_watch(Path::new(FOLDER), flags)?;
    let end = wish.timeout.map(|timeout| Instant::now() + timeout);
    loop {
        if online(&read(), wish) {
            return Ok(true);
        }
        let left = end.map(|end| end.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            return Ok(false);
        }
        let timeout = left.map_or(PollTimeout::NONE, |left| {
            PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
        });
        match poll(&mut [PollFd::new(watch.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        // Only that something happened counts.
        let _ = watch.read_events();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(all: &[(&str, &str, &str, &str)]) -> Links {
        let link = |(name, admin, state, required): &(&str, &str, &str, &str)| {
            let pairs = [("ADMIN_STATE", *admin), ("OPER_STATE", state), ("REQUIRED_FOR_ONLINE", required)];
            (name.to_string(), pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into())
        };
        all.iter().map(link).collect()
    }

    fn wish(arguments: &[&str]) -> Wish {
        parse(&arguments.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn all_links_that_count_or_any() {
        let both = links(&[
            ("lo", "unmanaged", "carrier", ""),
            ("a", "configured", "routable", "yes"),
            ("b", "configuring", "no-carrier", "yes"),
        ]);
        assert!(!online(&both, &wish(&[])));
        assert!(online(&both, &wish(&["--any"])));
        assert!(online(&both, &wish(&["--ignore=b"])));
        assert!(online(&both, &wish(&["-i", "a:routable"])));
        assert!(!online(&both, &wish(&["--interface=b"])));
        assert!(!online(&links(&[]), &wish(&["--any"])));
        let degraded = links(&[("a", "configured", "degraded", "yes")]);
        assert!(online(&degraded, &wish(&[])) && !online(&degraded, &wish(&["-o", "routable"])));
    }

    #[test]
    fn usage_is_checked() {
        for bad in [&["--wait"][..], &["-i"], &["--timeout=x"], &["-o", "fine"], &["--any=yes"]] {
            let arguments: Vec<String> = bad.iter().map(ToString::to_string).collect();
            assert!(parse(&arguments).is_err(), "{bad:?}");
        }
        assert_eq!(wish(&["--timeout=0"]).timeout, None);
    }
}
