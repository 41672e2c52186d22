//! A process of the host whose namespaces a box joins: found by its number, or by its unit's name.

use crate::facts::namespace_id;
use crate::kept::record::start_ticks;
use crate::namespace::Namespace;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::Serialize;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// A resolv.conf larger than this is none.
const RESOLV_CONF_MAX: u64 = 64 << 10;
/// So deep are cgroups of units looked for.
const DEPTH_MAX: usize = 10;

/// A process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Target {
    /// As it was asked for.
    pub name: String,
    /// Its number.
    pub pid: i32,
    /// When it was started, in ticks since the boot: another process with its number has another.
    pub start_ticks: u64,
    /// Its namespaces that are not the caller's.
    pub others: Vec<Namespace>,
    /// Its root among the caller's mounts; of no meaning when its mounts are others.
    pub root: PathBuf,
    /// What its /etc/resolv.conf says.
    #[serde(skip)]
    pub resolv_conf: Option<Vec<u8>>,
}

impl Target {
    /// A descriptor of the process.
    ///
    /// # Errors
    /// It has ended: `ESRCH`.
    pub fn open(&self) -> io::Result<OwnedFd> {
        let pid = Pid::from_raw(self.pid).ok_or(io::ErrorKind::InvalidInput)?;
        let fd = pidfd_open(pid, PidfdFlags::empty())?;
        // Looked at behind the opening: what is open keeps its number.
        match start_ticks(self.pid) {
            Ok(ticks) if ticks == self.start_ticks => Ok(fd),
            _ => Err(rustix::io::Errno::SRCH.into()),
        }
    }
}

/// Finds a process by its number, or the oldest of a unit's; `cgroups` are mount points of cgroup v2.
///
/// # Errors
/// What is wrong, in words.
pub fn find(name: &str, cgroups: &[PathBuf]) -> Result<Target, String> {
    let pid = match name.parse::<i32>() {
        Ok(pid) if pid > 0 => pid,
        Ok(_) => return Err(format!("--target {name}: a process's number is above 0")),
        Err(_) => of_unit(name, cgroups)?,
    };
    let gone = || format!("--target {name}: there is no process {pid}");
    let start_ticks = start_ticks(pid).map_err(|_| gone())?;
    let process = pid.to_string();
    let mut others = Vec::new();
    for kind in Namespace::ALL {
        let theirs = namespace_id(&process, kind).ok_or_else(|| {
            format!("--target {name}: the namespaces of process {pid} are not yours to see; try as root")
        })?;
        if namespace_id("self", kind) != Some(theirs) {
            others.push(kind);
        }
    }
    let root = fs::read_link(format!("/proc/{pid}/root"))
        .map_err(|error| format!("--target {name}: the root of process {pid}: {error}"))?;
    let resolv_conf = small_file(Path::new(&format!("/proc/{pid}/root/etc/resolv.conf")));
    let target = Target { name: name.to_owned(), pid, start_ticks, others, root, resolv_conf };
    target.open().map_err(|error| format!("--target {name}: process {pid}: {error}"))?;
    Ok(target)
}

/// The oldest process of a unit: of a service, as a rule, its main one.
fn of_unit(name: &str, cgroups: &[PathBuf]) -> Result<i32, String> {
    let unit = if name.contains('.') { name.to_owned() } else { format!("{name}.service") };
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte);
    if unit.starts_with('.') || !unit.bytes().all(valid) {
        return Err(format!("--target {name}: neither a process's number nor a unit's name"));
    }
    let mut level = cgroups.to_vec();
    for _ in 0..DEPTH_MAX {
        let below: Vec<PathBuf> = level.iter().flat_map(|folder| folders(folder)).collect();
        let found = below.iter().filter(|path| path.file_name().is_some_and(|last| last == unit.as_str()));
        let processes = found.flat_map(|path| processes(path, 0));
        let oldest = processes.filter_map(|pid| Some((start_ticks(pid).ok()?, pid))).min();
        if let Some((_, pid)) = oldest {
            return Ok(pid);
        }
        level = below;
    }
    Err(format!("--target {name}: no process runs in a cgroup {unit}; systemctl status {unit} says why"))
}

fn folders(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

fn processes(folder: &Path, depth: usize) -> Vec<i32> {
    let own = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    let mut all: Vec<i32> = own.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0).collect();
    if depth < DEPTH_MAX {
        all.extend(folders(folder).iter().flat_map(|below| processes(below, depth + 1)));
    }
    all
}

/// A file of another's making: of bounded size, and no FIFO.
fn small_file(path: &Path) -> Option<Vec<u8>> {
    use std::os::unix::fs::OpenOptionsExt;
    let flags = nix::libc::O_NONBLOCK | nix::libc::O_NOCTTY;
    let file: File = fs::OpenOptions::new().read(true).custom_flags(flags).open(path).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(RESOLV_CONF_MAX + 1).read_to_end(&mut bytes).ok()?;
    (bytes.len() as u64 <= RESOLV_CONF_MAX).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_found_and_a_number_alone_is_not_enough() {
        let own = std::process::id().to_string();
        let target = find(&own, &[]).unwrap();
        assert_eq!(target.others, []);
        target.open().unwrap();
        let other = Target { start_ticks: target.start_ticks + 1, ..target };
        assert!(other.open().is_err());
    }

    #[test]
    fn what_is_no_process_is_said() {
        for (name, words) in [
            ("0", "above 0"),
            ("-4", "above 0"),
            ("999999999", "no process"),
            ("a/b", "neither"),
            ("..", "neither"),
        ] {
            let error = find(name, &[]).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
        let folder = tempfile::tempdir().unwrap();
        let unit = folder.path().join("system.slice/web.service");
        fs::create_dir_all(unit.join("below")).unwrap();
        assert!(
            find("web", &[folder.path().to_owned()]).unwrap_err().contains("systemctl status web.service")
        );
        let own = std::process::id();
        fs::write(unit.join("below/cgroup.procs"), format!("{own}\n")).unwrap();
        let found = find("web", &[folder.path().to_owned()]).unwrap();
        assert_eq!((found.pid, found.name.as_str()), (own as i32, "web"));
    }
}
