//! `udevadm`: `settle`, `trigger`, `info`, `monitor`; the options that people use of each.

use crate::control;
use crate::database::{Database, Entry};
use crate::describe::id;
use crate::event::{Event, Properties};
use crate::netlink::{Events, KERNEL, Received, UDEV};
use crate::sysfs::Sysfs;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

const HINT: &str = "udevadm settle | trigger [--action=ACTION] [--subsystem-match=NAME] [DEVICE…] | \
                    info [-q property|path|name|symlink|all] DEVICE | info -e | monitor [-k] [-u] [-p]";
const ACTIONS: [&str; 8] = ["add", "remove", "change", "move", "online", "offline", "bind", "unbind"];

/// What a command ends with besides success.
enum Failure {
    Usage(String),
    Failed(String),
}

type Done = Result<(), Failure>;

/// Runs the command; gives its exit code: 0 done, 1 failed, 2 usage.
pub fn main(arguments: &[String]) -> u8 {
    let machine = Machine { sysfs: Sysfs::new(Path::new("/sys")), run: "/run/udev".as_ref() };
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut out = io::stdout();
    let done = match words.split_first() {
        Some((&"settle", rest)) => machine.settle(rest),
        Some((&"trigger", rest)) => machine.trigger(rest),
        Some((&"info", rest)) => machine.info(rest, &mut out),
        Some((&"monitor", rest)) => monitor(rest, &mut out),
        Some((other, _)) => Err(Failure::Usage(format!("`{other}` is not supported"))),
        None => Err(Failure::Usage("no command".to_owned())),
    };
    let (code, lines) = match done {
        Ok(()) => return 0,
        Err(Failure::Failed(why)) => (1, format!("error: {why}")),
        Err(Failure::Usage(why)) => (2, format!("error: {why}\nhint: {HINT}")),
    };
    let _ = writeln!(io::stderr(), "{lines}");
    code
}

/// What is looked at.
struct Machine<'a> {
    sysfs: Sysfs,
    run: &'a Path,
}

/// `--name=VALUE` or `--name VALUE`, `-n VALUE` or `-nVALUE`.
fn option<'a>(words: &mut &[&'a str], long: &str, short: Option<char>) -> Result<Option<&'a str>, Failure> {
    let Some((first, rest)) = words.split_first() else { return Ok(None) };
    let value = first.strip_prefix(long).and_then(|rest| rest.strip_prefix('='));
    let attached =
        short.and_then(|short| first.strip_prefix('-')?.strip_prefix(short)).filter(|it| !it.is_empty());
    if let Some(value) = value.or(attached) {
        *words = rest;
        return Ok(Some(value));
    }
    let is_short =
        short.is_some_and(|short| first.len() == 2 && first.starts_with('-') && first.ends_with(short));
    if *first != long && !is_short {
        return Ok(None);
    }
    let (value, rest) = rest.split_first().ok_or_else(|| Failure::Usage(format!("{first} wants a value")))?;
    *words = rest;
    Ok(Some(value))
}

fn unknown(word: &str) -> Failure {
    Failure::Usage(format!("`{word}` is not supported"))
}

impl Machine<'_> {
    fn settle(&self, words: &[&str]) -> Done {
        if let Some(word) = words.first() {
            return Err(unknown(word));
        }
        control::settle(self.run).map(drop).map_err(|error| Failure::Failed(error.to_string()))
    }

    /// Makes the kernel send events anew.
    fn trigger(&self, mut words: &[&str]) -> Done {
        let (mut action, mut subsystems, mut devices) = ("change", Vec::new(), Vec::new());
        let mut settles = false;
        while !words.is_empty() {
            if let Some(value) = option(&mut words, "--action", Some('c'))? {
                if !ACTIONS.contains(&value) {
                    return Err(Failure::Usage(format!(
                        "unknown action `{value}`; known: {}",
                        ACTIONS.join(", ")
                    )));
                }
                action = value;
            } else if let Some(value) = option(&mut words, "--subsystem-match", Some('s'))? {
                subsystems.push(value);
            } else if let Some(value) = option(&mut words, "--name-match", None)? {
                devices.push(self.find(value)?);
            } else if words[0] == "--settle" || words[0] == "-w" {
                settles = true;
                words = &words[1..];
            } else if words[0].starts_with('-') {
                return Err(unknown(words[0]));
            } else {
                devices.push(self.find(words[0])?);
                words = &words[1..];
            }
        }
        if devices.is_empty() {
            devices = self.sysfs.devices();
        }
        let fits = |devpath: &String| {
            subsystems.is_empty()
                || self
                    .sysfs
                    .link_name(devpath, "subsystem")
                    .is_some_and(|it| subsystems.contains(&it.as_str()))
        };
        let mut failed = None;
        for devpath in devices.iter().filter(|devpath| fits(devpath)) {
            if let Err(error) = fs::write(self.sysfs.folder(devpath).join("uevent"), action)
                && error.kind() != io::ErrorKind::NotFound
            {
                failed.get_or_insert_with(|| Failure::Failed(format!("{devpath}: {error}")));
            }
        }
        failed.map_or(Ok(()), Err)?;
        if settles { self.settle(&[]) } else { Ok(()) }
    }

    fn info(&self, mut words: &[&str], out: &mut dyn Write) -> Done {
        let (mut query, mut devices) = ("all", Vec::new());
        while !words.is_empty() {
            if let Some(value) = option(&mut words, "--query", Some('q'))? {
                query = value;
            } else if let Some(value) = option(&mut words, "--name", Some('n'))? {
                devices.push(self.find(value)?);
            } else if let Some(value) = option(&mut words, "--path", Some('p'))? {
                devices.push(self.find(value)?);
            } else if matches!(words[0], "-e" | "--export-db") {
                devices.extend(self.sysfs.devices());
                words = &words[1..];
            } else if words[0].starts_with('-') {
                return Err(unknown(words[0]));
            } else {
                devices.push(self.find(words[0])?);
                words = &words[1..];
            }
        }
        if devices.is_empty() {
            return Err(Failure::Usage("no device is named".to_owned()));
        }
        for devpath in devices {
            let text = self.show(&devpath, query)?;
            match out.write_all(text.as_bytes()) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                other => other.map_err(|error| Failure::Failed(error.to_string()))?,
            }
        }
        Ok(())
    }

    /// A node, a link to one, or a folder of sysfs.
    fn find(&self, wanted: &str) -> Result<String, Failure> {
        let none = || Failure::Failed(format!("no device {wanted}"));
        if wanted.starts_with("/sys/") || wanted.starts_with("/devices/") {
            let relative = wanted.strip_prefix("/sys/").unwrap_or(wanted);
            return self.sysfs.resolve(&self.sysfs.folder(relative)).ok_or_else(none);
        }
        let path = Path::new("/dev").join(wanted.strip_prefix("/dev/").unwrap_or(wanted));
        let metadata = fs::metadata(path).map_err(|_| none())?;
        let kind = metadata.file_type();
        if !kind.is_block_device() && !kind.is_char_device() {
            return Err(none());
        }
        let (major, minor) = (nix::sys::stat::major(metadata.rdev()), nix::sys::stat::minor(metadata.rdev()));
        self.sysfs.by_number(kind.is_block_device(), major, minor).ok_or_else(none)
    }

    /// All properties of a device, those of the database included.
    fn properties(&self, devpath: &str) -> Option<(Properties, Entry)> {
        let mut properties = self.sysfs.properties(devpath)?;
        let with_action = |mut properties: Properties| {
            properties.insert("ACTION".to_owned(), "add".to_owned());
            Event::from_properties(properties)
        };
        let event = with_action(properties.clone())?;
        if let Some(name) = properties.get_mut("DEVNAME") {
            *name = format!("/dev/{name}");
        }
        let Some(entry) = Database::new(self.run).read(&id(&event)) else {
            return Some((properties, Entry::default()));
        };
        properties.extend(entry.properties.clone());
        properties.insert("USEC_INITIALIZED".to_owned(), entry.initialized_us.to_string());
        let join = |texts: &BTreeSet<String>, before: &str, between: &str| {
            texts.iter().map(|text| format!("{before}{text}")).collect::<Vec<_>>().join(between)
        };
        if !entry.links.is_empty() {
            properties.insert("DEVLINKS".to_owned(), join(&entry.links, "/dev/", " "));
        }
        if !entry.tags.is_empty() {
            for key in ["TAGS", "CURRENT_TAGS"] {
                properties.insert(key.to_owned(), format!(":{}:", join(&entry.tags, "", ":")));
            }
        }
        Some((properties, entry))
    }

    fn show(&self, devpath: &str, query: &str) -> Result<String, Failure> {
        let gone = || Failure::Failed(format!("no device {devpath}"));
        let (properties, entry) = self.properties(devpath).ok_or_else(gone)?;
        let name = properties.get("DEVNAME").map(|name| name.trim_start_matches("/dev/").to_owned());
        let lines = |before: &str| -> String {
            properties.iter().map(|(key, value)| format!("{before}{key}={value}\n")).collect()
        };
        Ok(match query {
            "property" => lines(""),
            "path" => format!("{devpath}\n"),
            "name" => name
                .map(|name| name + "\n")
                .ok_or_else(|| Failure::Failed(format!("{devpath} has no node")))?,
            "symlink" => entry.links.iter().cloned().collect::<Vec<_>>().join(" ") + "\n",
            "all" => {
                let mut text = format!("P: {devpath}\n");
                text.extend(name.map(|name| format!("N: {name}\n")));
                text.extend([format!("L: {}\n", entry.priority)]);
                text.extend(entry.links.iter().map(|link| format!("S: {link}\n")));
                text + &lines("E: ") + "\n"
            }
            other => return Err(Failure::Usage(format!("unknown query `{other}`"))),
        })
    }
}

/// Prints events as they come, until it is ended.
fn monitor(mut words: &[&str], out: &mut dyn Write) -> Done {
    let (mut kernel, mut udev, mut full, mut subsystems) = (false, false, false, Vec::new());
    while !words.is_empty() {
        if let Some(value) = option(&mut words, "--subsystem-match", Some('s'))? {
            subsystems.push(value);
            continue;
        }
        match words[0] {
            "-k" | "--kernel" => kernel = true,
            "-u" | "--udev" => udev = true,
            "-p" | "--property" | "--environment" => full = true,
            other => return Err(unknown(other)),
        }
        words = &words[1..];
    }
    let both = !kernel && !udev;
    let groups = if kernel || both { KERNEL } else { 0 } | if udev || both { UDEV } else { 0 };
    let failed = |error: io::Error| Failure::Failed(error.to_string());
    let mut events = Events::open(groups).map_err(failed)?;
    loop {
        match events.receive().map_err(failed)? {
            Received::Event { event, is_kernels } => {
                if !subsystems.is_empty() && !subsystems.contains(&event.subsystem.as_str()) {
                    continue;
                }
                let source = if is_kernels { "KERNEL" } else { "UDEV  " };
                let mut text =
                    format!("{source} {:<8} {} ({})\n", event.action, event.devpath, event.subsystem);
                if full {
                    text.extend(event.properties.iter().map(|(key, value)| format!("{key}={value}\n")));
                    text.push('\n');
                }
                match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                    other => other.map_err(failed)?,
                }
            }
            Received::Lost => {
                let _ = writeln!(io::stderr(), "warning: events were lost");
            }
            Received::Nothing => {
                let mut fds = [PollFd::new(events.as_fd(), PollFlags::POLLIN)];
                match poll(&mut fds, PollTimeout::NONE) {
                    Ok(_) | Err(nix::Error::EINTR) => {}
                    Err(error) => return Err(failed(error.into())),
                }
            }
        }
    }
}
