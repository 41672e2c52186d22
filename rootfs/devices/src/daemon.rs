//! The service: takes events, describes devices, and makes nodes, links and entries so.
//!
//! At its start it is ready at once and then looks at every device that is there already, as if
//! each had just come: a machine's boot does not wait for that. A service that is started anew
//! finds what it knew in its database, so no link is lost meanwhile.

use crate::alias::Aliases;
use crate::claims::{Change, Claims};
use crate::control::{Answer, Question, SOCKET};
use crate::database::{Database, Entry};
use crate::describe::{Description, describe, id};
use crate::encode::is_link;
use crate::event::Event;
use crate::netlink::{Events, KERNEL, Received};
use crate::permissions::{Permission, group_id};
use crate::superblock::Source;
use crate::sysfs::Sysfs;
use crate::watch::Watches;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// `O_NONBLOCK`: opening a drive or a line must not wait for a medium or a carrier.
const O_NONBLOCK: i32 = 0o4000;

/// Where things are; a test gives a scratch tree.
#[derive(Debug, Clone)]
pub struct Paths {
    /// `/sys`
    pub sys: PathBuf,
    /// `/dev`
    pub dev: PathBuf,
    /// `/run/udev`
    pub run: PathBuf,
    /// `/etc/group`
    pub group: PathBuf,
    /// `/usr/lib/modules/RELEASE/modules.alias`; without it no module is loaded.
    pub aliases: Option<PathBuf>,
}

impl Paths {
    /// The machine's.
    pub fn system() -> Self {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            sys: "/sys".into(),
            dev: "/dev".into(),
            run: "/run/udev".into(),
            group: "/etc/group".into(),
            aliases: Some(Path::new("/usr/lib/modules").join(release.trim()).join("modules.alias")),
        }
    }
}

/// Lines for the journal.
pub type Log<'a> = &'a mut dyn FnMut(&str);

/// The devices and what was made for them.
pub struct Manager {
    paths: Paths,
    sysfs: Sysfs,
    database: Database,
    claims: Claims,
    aliases: Aliases,
    /// By path: the entry's name, and the node.
    known: BTreeMap<String, (String, Option<String>)>,
    watches: Watches,
    /// Aliases that were looked up already: many devices are alike.
    asked: BTreeSet<String>,
}

impl Manager {
    /// Starts with what an earlier service left in the database.
    ///
    /// # Errors
    /// The kernel gives no inotify.
    pub fn new(paths: Paths) -> io::Result<Self> {
        let aliases =
            paths.aliases.as_ref().and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default();
        Ok(Self {
            sysfs: Sysfs::new(&paths.sys),
            database: Database::new(&paths.run),
            claims: Claims::default(),
            aliases: Aliases::new(aliases),
            known: BTreeMap::new(),
            watches: Watches::new()?,
            asked: BTreeSet::new(),
            paths,
        })
    }

    /// Looks at every device that is there, and forgets what an earlier service knew and is gone.
    pub fn cold_plug(&mut self, log: Log<'_>) {
        let events: Vec<Event> =
            self.sysfs.devices().iter().filter_map(|devpath| self.present(devpath)).collect();
        // First what brings more devices.
        for event in &events {
            self.load_modules(event, log);
        }
        let present: BTreeSet<String> = events.iter().map(id).collect();
        for gone in self.database.ids().into_iter().filter(|id| !present.contains(id)) {
            let links = self.database.read(&gone).unwrap_or_default().links;
            for link in links.iter().filter(|link| is_link(link)) {
                self.drop_dead(link, log);
            }
            tell(log, "database", self.database.remove(&gone));
        }
        for event in &events {
            self.take(event, log);
        }
    }

    /// The event that the kernel would send for a device that is there.
    fn present(&self, devpath: &str) -> Option<Event> {
        let mut properties = self.sysfs.properties(devpath)?;
        properties.insert("ACTION".to_owned(), "add".to_owned());
        Event::from_properties(properties)
    }

    /// Carries out an event; gives it with the device's properties, as it is to be passed on.
    pub fn take(&mut self, event: &Event, log: Log<'_>) -> Event {
        match event.action.as_str() {
            "remove" => self.forget(event, log),
            _ => {
                if let Some(old) = event.properties.get("DEVPATH_OLD")
                    && let Some(known) = self.known.remove(old)
                {
                    self.known.insert(event.devpath.clone(), known);
                }
                if event.action == "add" {
                    self.load_modules(event, log);
                }
                self.renew(event, log)
            }
        }
    }

    fn renew(&mut self, event: &Event, log: Log<'_>) -> Event {
        let dev = self.paths.dev.clone();
        let open = move |name: &str| -> Option<Box<dyn Source>> {
            let file = OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(dev.join(name)).ok()?;
            Some(Box::new(file) as Box<dyn Source>)
        };
        let device = describe(&self.sysfs, event, &open);
        if event.action == "add"
            && let (Some(node), Some(permission)) = (&device.node, device.permission)
            && let Err(error) = self.permit(node, permission, event)
        {
            log(&format!("{node}: {error}"));
        }
        if let Some(node) = &device.node {
            if event.subsystem == "block" && !self.known.contains_key(&event.devpath) {
                // A node that is gone again will be heard of.
                let _ = self.watches.add(&self.paths.dev.join(node), &event.devpath);
            }
            for change in self.claims.set(node, &device.links, device.priority) {
                self.link(&change, log);
            }
        }
        self.known.insert(event.devpath.clone(), (device.id.clone(), device.node.clone()));
        self.keep(&device, log);
        Event { properties: device.properties, ..event.clone() }
    }

    fn keep(&self, device: &Description, log: Log<'_>) {
        if device.node.is_none() && !device.id.starts_with('n') {
            return;
        }
        let before = self.database.read(&device.id).map(|entry| entry.initialized_us);
        let entry = Entry::of(device, before.unwrap_or_else(uptime_us));
        tell(log, &device.id, self.database.write(&device.id, &entry));
    }

    fn forget(&mut self, event: &Event, log: Log<'_>) -> Event {
        let (id, node) = self.known.remove(&event.devpath).unwrap_or_else(|| {
            let node = event.properties.get("DEVNAME");
            (id(event), node.map(|node| node.trim_start_matches("/dev/").to_owned()))
        });
        let mut properties = event.properties.clone();
        if let Some(entry) = self.database.read(&id) {
            properties.extend(entry.properties);
            let links: Vec<String> = entry.links.iter().map(|link| format!("/dev/{link}")).collect();
            properties.insert("DEVLINKS".to_owned(), links.join(" "));
        }
        if let Some(node) = node {
            for change in self.claims.set(&node, &BTreeSet::new(), 0) {
                self.link(&change, log);
            }
            properties.insert("DEVNAME".to_owned(), format!("/dev/{node}"));
        }
        tell(log, &id, self.database.remove(&id));
        Event { properties, ..event.clone() }
    }

    /// Gives a node to its group. Only if it is still the device's: names are used again.
    fn permit(&self, node: &str, permission: Permission, event: &Event) -> io::Result<()> {
        let path = self.paths.dev.join(node);
        let metadata = match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        let kind = metadata.file_type();
        let number = |key: &str| event.properties.get(key).and_then(|text| text.parse::<u64>().ok());
        let rdev = (nix::sys::stat::major(metadata.rdev()), nix::sys::stat::minor(metadata.rdev()));
        let is_it = (kind.is_block_device() || kind.is_char_device())
            && number("MAJOR") == Some(rdev.0)
            && number("MINOR") == Some(rdev.1);
        if !is_it {
            return Ok(());
        }
        let Some(gid) = group_id(&self.paths.group, permission.group) else {
            return Err(io::Error::other(format!("there is no group {}", permission.group)));
        };
        chown(&path, Some(0), Some(gid))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(permission.mode))
    }

    /// Makes, turns or removes a link. What is no link is not touched.
    fn link(&self, change: &Change, log: Log<'_>) {
        let path = self.paths.dev.join(&change.link);
        let is_other = fs::symlink_metadata(&path).is_ok_and(|it| !it.file_type().is_symlink());
        if is_other {
            return log(&format!("/dev/{} is no link, it stays", change.link));
        }
        let Some(target) = &change.target else {
            return self.unlink(&change.link, log);
        };
        let ups = "../".repeat(change.link.matches('/').count());
        let target = format!("{ups}{target}");
        if fs::read_link(&path).is_ok_and(|now| now == Path::new(&target)) {
            return;
        }
        let make = || -> io::Result<()> {
            let folder = path.parent().unwrap_or(Path::new("/"));
            fs::create_dir_all(folder)?;
            let temporary = folder.join(".#new-link");
            match fs::remove_file(&temporary) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            symlink(&target, &temporary)?;
            fs::rename(&temporary, &path)
        };
        tell(log, &change.link, make());
    }

    fn unlink(&self, link: &str, log: Log<'_>) {
        match fs::remove_file(self.paths.dev.join(link)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => log(&format!("/dev/{link}: {error}")),
            _ => {}
        }
    }

    /// Removes a link of a device that went while no service ran, unless it leads somewhere else by now.
    fn drop_dead(&self, link: &str, log: Log<'_>) {
        let path = self.paths.dev.join(link);
        if fs::symlink_metadata(&path).is_ok_and(|it| it.file_type().is_symlink()) && !path.exists() {
            self.unlink(link, log);
        }
    }

    /// Loads what answers to the device, once for all devices that are alike.
    fn load_modules(&mut self, event: &Event, log: Log<'_>) {
        let Some(alias) = event.properties.get("MODALIAS") else { return };
        if !self.asked.insert(alias.clone()) {
            return;
        }
        for module in self.aliases.modules(alias) {
            if let Err(error) = sys::modules::load(module) {
                log(&format!("{alias}: {error}"));
            }
        }
        // An alias that was not answered may be so by an image's next kernel only.
        if self.asked.len() > 10_000 {
            self.asked.clear();
        }
    }

    /// Deals with everything that came.
    fn drain(&mut self, events: &mut Events, log: Log<'_>) -> io::Result<()> {
        loop {
            let mut is_idle = true;
            for devpath in self.watches.written()? {
                // The kernel passes it on to all who listen.
                let uevent = self.sysfs.folder(&devpath).join("uevent");
                let _ = fs::write(uevent, "change");
                is_idle = false;
            }
            match events.receive()? {
                Received::Event { event, is_kernels: true } => {
                    let done = self.take(&event, log);
                    events.tell(&done);
                    is_idle = false;
                }
                Received::Event { .. } => is_idle = false,
                Received::Lost => {
                    log("events were lost: all devices are looked at anew");
                    self.cold_plug(log);
                    self.drop_gone(log);
                    is_idle = false;
                }
                Received::Nothing => {}
            }
            if is_idle {
                return Ok(());
            }
        }
    }

    /// Forgets devices whose removal was not heard of.
    fn drop_gone(&mut self, log: Log<'_>) {
        let gone: Vec<String> =
            self.known.keys().filter(|devpath| !self.sysfs.folder(devpath).exists()).cloned().collect();
        for devpath in gone {
            let event = Event { action: "remove".to_owned(), devpath, ..Event::default() };
            self.forget(&event, log);
        }
    }
}

/// Runs the service; it ends with an error only.
///
/// # Errors
/// No socket, no inotify, or the kernel's end of them broke.
pub fn run(paths: Paths, log: fn(&str)) -> io::Result<()> {
    let events = Events::open(KERNEL)?;
    let event_fd = events.as_fd().try_clone_to_owned()?;
    let run = paths.run.clone();
    let manager = Manager::new(paths)?;
    let watch_fd = manager.watches.as_fd().try_clone_to_owned()?;
    let listener = listener(&run)?;
    let shared = Arc::new(Mutex::new((manager, events)));
    // Whoever asks from now on waits for the lock, so for the devices that are there already.
    let mut guard = shared.lock().unwrap_or_else(PoisonError::into_inner);
    let others = Arc::clone(&shared);
    std::thread::Builder::new().name("control".to_owned()).spawn(move || {
        let answer = |_, question: Question| match question {
            Question::Settle => {
                let mut guard = others.lock().unwrap_or_else(PoisonError::into_inner);
                let (manager, events) = &mut *guard;
                if let Err(error) = manager.drain(events, &mut |line| log(line)) {
                    log(&format!("events: {error}"));
                }
                Answer::Done { devices: manager.known.len() }
            }
        };
        if let Err(error) = service::call::serve(&listener, answer) {
            log(&format!("control socket: {error}"));
        }
    })?;
    service::notify::notify("READY=1")?;
    guard.0.cold_plug(&mut |line| log(line));
    drop(guard);
    loop {
        {
            let mut guard = shared.lock().unwrap_or_else(PoisonError::into_inner);
            let (manager, events) = &mut *guard;
            manager.drain(events, &mut |line| log(line))?;
        }
        let mut fds = [
            PollFd::new(event_fd.as_fd(), PollFlags::POLLIN),
            PollFd::new(watch_fd.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// PID 1's socket, or one of our own.
fn listener(run: &Path) -> io::Result<std::os::unix::net::UnixListener> {
    match service::activation::descriptors().into_iter().next() {
        Some((_, fd)) => Ok(fd.into()),
        None => service::call::listen(&run.join(SOCKET), 0o600),
    }
}

fn uptime_us() -> u64 {
    let text = fs::read_to_string("/proc/uptime").unwrap_or_default();
    let seconds = text.split(' ').next().and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    Duration::from_secs_f64(seconds.max(0.0)).as_micros() as u64
}

fn tell(log: Log<'_>, what: &str, result: io::Result<()>) {
    if let Err(error) = result {
        log(&format!("{what}: {error}"));
    }
}

/// `systemd-udevd`: runs the service on the machine. No arguments.
pub fn main(arguments: &[String]) -> u8 {
    if let Some(argument) = arguments.first() {
        say(&format!("error: `{argument}` is not supported: udevd has no options"));
        return 2;
    }
    match run(Paths::system(), say) {
        Ok(()) => 0,
        Err(error) => {
            say(&format!("error: {error}"));
            1
        }
    }
}

#[expect(clippy::print_stderr, reason = "the service's journal")]
fn say(line: &str) {
    eprintln!("{line}");
}
