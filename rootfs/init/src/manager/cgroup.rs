//! A cgroup v2 a unit: made, limited, watched, killed, removed (cgroups(7), cgroup-v2.rst).

use crate::engine::UnitId;
use crate::unit::execution::CONTROLLERS;
use crate::unit::far;
use crate::unit::resource::Resources;
use nix::fcntl::{OFlag, open};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use nix::sys::stat::Mode;
use nix::unistd::Pid;
use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The cgroup of one unit.
struct Own {
    path: PathBuf,
    /// Of `cgroup.events`.
    watch: WatchDescriptor,
    /// Of `memory.events`, with the memory controller.
    memory: Option<WatchDescriptor>,
    /// Processes killed for want of memory that have been told.
    oom_kills: u64,
}

/// All units' cgroups.
pub(super) struct Cgroups {
    root: PathBuf,
    watch: Inotify,
    by_watch: HashMap<WatchDescriptor, Vec<UnitId>>,
    of: HashMap<UnitId, Own>,
    /// Folders in which a unit's PID file is to appear.
    files: HashMap<UnitId, WatchDescriptor>,
}

impl Cgroups {
    pub(super) fn new(root: PathBuf) -> io::Result<Self> {
        let watch = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        Ok(Self { root, watch, by_watch: HashMap::new(), of: HashMap::new(), files: HashMap::new() })
    }

    /// The folder of a unit's cgroup, made if need be, with its limits; and the limits that
    /// could not be set.
    pub(super) fn enter(
        &mut self,
        unit: UnitId,
        slice: &str,
        name: &str,
        limits: &Resources,
        delegate: Option<(u32, u32)>,
    ) -> io::Result<(OwnedFd, Vec<String>)> {
        let path = match self.of.get(&unit) {
            Some(own) => own.path.clone(),
            None => self.make(unit, slice, name)?,
        };
        let mut failed = set_limits(&path, limits);
        if let Some(owner) = delegate {
            failed.extend(hand_over(&path, owner).err().map(|error| format!("Delegate=: {error}")));
        }
        let flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_RDONLY;
        Ok((open(&path, flags, Mode::empty())?, failed))
    }

    fn make(&mut self, unit: UnitId, slice: &str, name: &str) -> io::Result<PathBuf> {
        let slice = self.root.join(slice);
        let path = slice.join(name);
        let mut made = fs::create_dir(&path);
        if made.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            fs::create_dir_all(&slice)?;
            // A controller must be enabled on the whole way down.
            let mut way: Vec<&Path> =
                slice.ancestors().take_while(|folder| folder.starts_with(&self.root)).collect();
            way.reverse();
            for folder in way {
                delegate_controllers(folder);
            }
            made = fs::create_dir(&path);
        }
        let is_new = match made {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            made => made.is_ok(),
        };
        let watch = self.watch.add_watch(&path.join("cgroup.events"), AddWatchFlags::IN_MODIFY)?;
        self.by_watch.insert(watch, vec![unit]);
        let memory = self.watch.add_watch(&path.join("memory.events"), AddWatchFlags::IN_MODIFY).ok();
        if let Some(memory) = memory {
            self.by_watch.insert(memory, vec![unit]);
        }
        // In a new one nobody was killed.
        let oom_kills = if is_new { 0 } else { oom_kills(&path) };
        self.of.insert(unit, Own { path: path.clone(), watch, memory, oom_kills });
        Ok(path)
    }

    /// The cgroup of a unit as a path below the root of the tree, for people.
    pub(super) fn show(&self, unit: UnitId) -> String {
        let path = self.of.get(&unit).and_then(|own| own.path.strip_prefix(&self.root).ok());
        path.map(|path| format!("/{}", path.display())).unwrap_or_default()
    }

    /// Its folder, while it has a cgroup.
    pub(super) fn folder(&self, unit: UnitId) -> Option<&Path> {
        self.of.get(&unit).map(|own| own.path.as_path())
    }

    /// Whether it has no process. A unit without a cgroup has none.
    pub(super) fn is_empty(&self, unit: UnitId) -> bool {
        let Some(own) = self.of.get(&unit) else { return true };
        let events = fs::read_to_string(own.path.join("cgroup.events")).unwrap_or_default();
        !events.lines().any(|line| line == "populated 1")
    }

    /// Whether the kernel killed a process in it for want of memory since the last call.
    pub(super) fn was_oom_killed(&mut self, unit: UnitId) -> bool {
        let Some(own) = self.of.get_mut(&unit).filter(|own| own.memory.is_some()) else { return false };
        let before = std::mem::replace(&mut own.oom_kills, oom_kills(&own.path));
        own.oom_kills > before
    }

    /// Units whose cgroup changed since the last call.
    pub(super) fn changed(&self) -> Vec<UnitId> {
        let events = self.watch.read_events().unwrap_or_default();
        let mut units: Vec<UnitId> =
            events.iter().filter_map(|event| self.by_watch.get(&event.wd)).flatten().copied().collect();
        units.sort();
        units.dedup();
        units
    }

    /// Counts the unit as changed when a file in the folder of `file` is written. If there is no
    /// such folder, nothing will come, and the unit's start time-out decides.
    pub(super) fn watch_file(&mut self, unit: UnitId, file: &Path) {
        let events = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_CLOSE_WRITE;
        // It answers, or the watch would not either.
        let folder = file.parent().filter(|folder| far::within(folder, Path::metadata).is_ok());
        let watch = folder.and_then(|folder| self.watch.add_watch(folder, events).ok());
        if let Some(watch) = watch {
            self.by_watch.entry(watch).or_default().push(unit);
            self.files.insert(unit, watch);
        }
    }

    /// Undoes [`Self::watch_file`].
    pub(super) fn unwatch_file(&mut self, unit: UnitId) {
        let Some(watch) = self.files.remove(&unit) else { return };
        if let Some(units) = self.by_watch.get_mut(&watch) {
            units.retain(|other| *other != unit);
            if units.is_empty() {
                self.by_watch.remove(&watch);
                let _ = self.watch.rm_watch(watch);
            }
        }
    }

    /// The processes in it and below.
    pub(super) fn processes(&self, unit: UnitId) -> Vec<Pid> {
        let mut found = Vec::new();
        if let Some(Own { path, .. }) = self.of.get(&unit) {
            collect(path, &mut found);
        }
        found
    }

    /// Sends a signal to every process in it but those in `done`, to those that are forked meanwhile
    /// too.
    pub(super) fn signal(&self, unit: UnitId, signal: i32, done: &[i32]) {
        let mut known = done.to_vec();
        loop {
            let all = self.processes(unit).into_iter().map(Pid::as_raw);
            let new: Vec<i32> = all.filter(|pid| !known.contains(pid)).collect();
            if new.is_empty() {
                return;
            }
            for pid in new {
                let _ = sys::process::kill(pid, signal);
                known.push(pid);
            }
        }
    }

    /// SIGKILL to all at once, `cgroup.kill` (Linux 5.14).
    pub(super) fn kill(&self, unit: UnitId) {
        if let Some(Own { path, .. }) = self.of.get(&unit)
            && fs::write(path.join("cgroup.kill"), "1").is_err()
        {
            self.signal(unit, 9, &[]);
        }
    }

    /// Removes it, with what the unit made below it. One that still has processes stays and is
    /// found again at the next start.
    pub(super) fn release(&mut self, unit: UnitId) {
        if let Some(Own { path, watch, memory, .. }) = self.of.remove(&unit) {
            for watch in [Some(watch), memory].into_iter().flatten() {
                self.by_watch.remove(&watch);
                let _ = self.watch.rm_watch(watch);
            }
            remove(&path);
        }
    }
}

impl AsFd for Cgroups {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.watch.as_fd()
    }
}

/// The line `oom_kill` of `memory.events` (cgroup-v2.rst).
fn oom_kills(path: &Path) -> u64 {
    let events = fs::read_to_string(path.join("memory.events")).unwrap_or_default();
    events.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok()).unwrap_or(0)
}

fn folders(path: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path())
}

/// Sets the limits of the cgroup at `path`; gives those that could not be set.
pub(super) fn set_limits(path: &Path, limits: &Resources) -> Vec<String> {
    let mut failed = Vec::new();
    let mut set = |file: &str, text: &str| {
        if let Err(error) = fs::write(path.join(file), text) {
            failed.push(format!("{file} = {text}: {error}"));
        }
    };
    for (file, text) in &limits.files {
        set(file, text);
    }
    for limit in &limits.devices {
        match device_numbers(Path::new(&limit.path)) {
            Ok((major, minor)) => set(limit.file, &format!("{major}:{minor} {}", limit.text)),
            Err(error) => set(limit.file, &format!("{} ({error})", limit.path)),
        }
    }
    failed
}

fn collect(path: &Path, found: &mut Vec<Pid>) {
    let text = fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
    // 0 is a process of another pid namespace, out of reach.
    found.extend(text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0).map(Pid::from_raw));
    for folder in folders(path) {
        collect(&folder, found);
    }
}

fn remove(path: &Path) {
    for folder in folders(path) {
        remove(&folder);
    }
    let _ = fs::remove_dir(path);
}

/// The device of a node, or the one that a path's file system is on.
fn device_numbers(path: &Path) -> io::Result<(u64, u64)> {
    let meta = far::within(path, Path::metadata)?;
    let device = if meta.file_type().is_block_device() { meta.rdev() } else { meta.dev() };
    let (major, minor) = (nix::sys::stat::major(device), nix::sys::stat::minor(device));
    if major == 0 {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "on no block device"));
    }
    // Limits are those of whole disks (cgroup-v2.rst): a partition's number is its disk's folder's.
    let disk = fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/../dev"));
    let disk = disk.ok().and_then(|text| {
        let (major, minor) = text.trim().split_once(':')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    });
    Ok(disk.unwrap_or((major, minor)))
}

/// Gives a cgroup to a user (cgroup-v2.rst, "Delegation"). Which controllers its children get is
/// the user's to say: a cgroup with processes of its own has none for children.
fn hand_over(path: &Path, (user, group): (u32, u32)) -> io::Result<()> {
    for file in ["", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control"] {
        std::os::unix::fs::chown(path.join(file), Some(user), Some(group))?;
    }
    Ok(())
}

/// Lets the children of a cgroup have limits. A controller that is absent is left out here; a limit
/// that needs it is reported when it is set.
pub(super) fn delegate_controllers(folder: &Path) {
    let available = fs::read_to_string(folder.join("cgroup.controllers")).unwrap_or_default();
    for controller in CONTROLLERS {
        if available.split_whitespace().any(|name| name == controller) {
            let _ = fs::write(folder.join("cgroup.subtree_control"), format!("+{controller}"));
        }
    }
}
