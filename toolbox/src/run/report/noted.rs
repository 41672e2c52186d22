//! What was noted, and what is told of it.

use super::calls::{Act, Place, act};
use crate::namespace::Namespace;
use crate::plan::{Plan, Step};
use nix::libc;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2, readlinkat};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Metadata};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use sys::seccomp::Call;

/// More files than this are counted only.
const FILES_MAX: usize = 10_000;
/// The longest path, `PATH_MAX`.
const PATH_MAX: usize = 4096;
/// Times of files are those of the last tick.
const TICK: Duration = Duration::from_millis(20);

/// What was noted of a session.
#[derive(Debug)]
pub(in crate::run) struct Noted {
    begin: SystemTime,
    /// Where in the box files of the host can be changed, and where on the host those are.
    outside: Vec<(PathBuf, PathBuf)>,
    /// Its sockets are the host's too.
    host_net: bool,
    /// By their paths on the host: whether they were there before.
    files: BTreeMap<PathBuf, bool>,
    more_files: u64,
    mounts: BTreeSet<PathBuf>,
    sockets: BTreeSet<String>,
    processes: Vec<String>,
}

impl Noted {
    pub(in crate::run) fn new(plan: &Plan) -> Self {
        let outside = |step: &Step| match step {
            Step::Bind { source, target, read_only: false, .. } => Some((target.clone(), source.clone())),
            Step::Host { target, read_only: false } => Some((target.clone(), PathBuf::from("/"))),
            Step::Target { target, read_only: false } => {
                let pid = plan.target.as_ref()?.pid;
                Some((target.clone(), PathBuf::from(format!("/proc/{pid}/root"))))
            }
            _ => None,
        };
        Self {
            begin: SystemTime::now() - TICK,
            outside: plan.steps.iter().filter_map(outside).collect(),
            host_net: !plan.namespaces.contains(&Namespace::Net),
            files: BTreeMap::new(),
            more_files: 0,
            mounts: BTreeSet::new(),
            sockets: BTreeSet::new(),
            processes: Vec::new(),
        }
    }

    /// A process that the box's end ended.
    pub(in crate::run) fn process(&mut self, name: String) {
        self.processes.push(name);
    }

    /// Notes what a call is about to do.
    pub(in crate::run) fn note(&mut self, call: &Call) {
        match act(call.number) {
            Some(Act::Change(place, follows)) => self.file(path(call, place, follows)),
            Some(Act::Remove(place)) => self.file(path(call, place, false)),
            Some(Act::Move(from, to)) => {
                self.file(path(call, from, false));
                self.file(path(call, to, false));
            }
            Some(Act::Mount(place)) => self.mounts.extend(path(call, place, true)),
            Some(Act::Bind) => self.socket(call),
            None => {}
        }
    }

    fn file(&mut self, path: Option<PathBuf>) {
        let Some(path) = path.and_then(|path| self.on_host(&path)) else { return };
        if self.files.len() < FILES_MAX {
            self.files.entry(path).or_insert_with_key(|path| path.symlink_metadata().is_ok());
        } else if !self.files.contains_key(&path) {
            self.more_files += 1;
        }
    }

    /// The path on the host of one in the box; nothing for what is the box's own.
    fn on_host(&self, path: &Path) -> Option<PathBuf> {
        let within = self
            .outside
            .iter()
            .filter_map(|(target, source)| Some((target, source.join(path.strip_prefix(target).ok()?))));
        within.max_by_key(|(target, _)| target.as_os_str().len()).map(|(_, path)| path)
    }

    fn socket(&mut self, call: &Call) {
        let count = (call.arguments[2] as usize).min(128);
        let Some(address) = read(call.pid, call.arguments[1], count) else { return };
        let Some((family, rest)) = address.split_first_chunk::<2>() else { return };
        let port = || rest.first_chunk::<2>().map(|port| u16::from_be_bytes(*port));
        let shown = |host: String| match port() {
            Some(0) => format!("{host}, a port of the kernel's choice"),
            Some(port) => format!("{host}:{port}"),
            None => host,
        };
        match i32::from(u16::from_ne_bytes(*family)) {
            libc::AF_UNIX if rest.first() == Some(&0) && self.host_net => {
                self.sockets.insert(format!("@{}", String::from_utf8_lossy(&rest[1..])));
            }
            libc::AF_UNIX => {
                let end = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
                let text = PathBuf::from(std::ffi::OsString::from_vec(rest[..end].to_vec()));
                self.file(located(call.pid, libc::AT_FDCWD, &text, false));
            }
            libc::AF_INET if self.host_net && rest.len() >= 6 => {
                let host = std::net::Ipv4Addr::new(rest[2], rest[3], rest[4], rest[5]);
                self.sockets.insert(shown(host.to_string()));
            }
            libc::AF_INET6 if self.host_net => {
                if let Some(host) = rest.get(6..).and_then(|host| host.first_chunk::<16>()) {
                    self.sockets.insert(shown(format!("[{}]", std::net::Ipv6Addr::from(*host))));
                }
            }
            libc::AF_PACKET if self.host_net => {
                self.sockets.insert("packets of the host's links".to_owned());
            }
            _ => {}
        }
    }

    /// What is left of it outside, one thing a line; looked up as it is now.
    pub(in crate::run) fn text(&self) -> String {
        let mut lines = Vec::new();
        for (path, existed) in &self.files {
            if let Some(what) = self.became(path, *existed) {
                lines.push(format!("  {what:<9} {}", path.display()));
            }
        }
        if self.more_files > 0 {
            lines.push(format!("  perhaps   {} files more", self.more_files));
        }
        lines.extend(self.sockets.iter().map(|socket| format!("  socket    {socket}, closed with the box")));
        lines.extend(
            self.mounts.iter().map(|path| format!("  mount     {} in the box, gone with it", path.display())),
        );
        lines.extend(self.processes.iter().map(|name| format!("  process   {name}, ended with the box")));
        if lines.is_empty() {
            return "toolbox: report: nothing was done outside of the box\n".to_owned();
        }
        format!("toolbox: report: what was done outside of the box\n{}\n", lines.join("\n"))
    }

    /// What has become of a file since the session's begin.
    fn became(&self, path: &Path, existed: bool) -> Option<&'static str> {
        let Ok(metadata) = path.symlink_metadata() else { return existed.then_some("removed") };
        if metadata.file_type().is_block_device() {
            return Some("device");
        }
        if path.starts_with("/proc") || path.starts_with("/sys") {
            let first = path.components().nth(2).map(|part| part.as_os_str().to_string_lossy().into_owned());
            let of_process =
                first.is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_digit()) || name == "self");
            let kernels = !path.starts_with("/proc") || !of_process;
            if kernels {
                return Some("set");
            }
        }
        if path.starts_with("/dev") && metadata.file_type().is_char_device() {
            return None;
        }
        (changed(&metadata) >= self.begin).then_some(if existed { "changed" } else { "made" })
    }
}

fn changed(metadata: &Metadata) -> SystemTime {
    let seconds = Duration::from_secs(metadata.ctime().try_into().unwrap_or(0));
    SystemTime::UNIX_EPOCH + seconds + Duration::from_nanos(metadata.ctime_nsec().try_into().unwrap_or(0))
}

/// The path in the box that a call is about.
fn path(call: &Call, place: Place, follows: bool) -> Option<PathBuf> {
    let (folder, address) = match place {
        Place::Path(at) => (libc::AT_FDCWD, call.arguments[at]),
        Place::At(folder, at) => (call.arguments[folder] as i32, call.arguments[at]),
        Place::Descriptor(at) => {
            return fs::read_link(format!("/proc/{}/fd/{}", call.pid, call.arguments[at] as i32)).ok();
        }
    };
    located(call.pid, folder, &text(call.pid, address)?, follows)
}

/// A path as a process means it, its links followed as they are in the process's root.
fn located(pid: i32, folder: i32, text: &Path, follows: bool) -> Option<PathBuf> {
    let link = |name: &str| fs::read_link(format!("/proc/{pid}/{name}")).ok();
    let base = if text.is_absolute() {
        link("root")?
    } else if folder == libc::AT_FDCWD {
        link("cwd")?
    } else {
        link(&format!("fd/{folder}"))?
    };
    let whole = base.join(text.strip_prefix("/").unwrap_or(text));
    let root =
        openat(CWD, format!("/proc/{pid}/root"), OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let open = |path: &Path| {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        openat2(&root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve).ok()
    };
    if follows && let Some(found) = open(&whole) {
        return name_of(&found);
    }
    let name = whole.file_name()?;
    Some(name_of(&open(whole.parent()?)?)?.join(name))
}

fn name_of(fd: &OwnedFd) -> Option<PathBuf> {
    use std::os::fd::AsRawFd;
    let link = readlinkat(CWD, format!("/proc/self/fd/{}", fd.as_raw_fd()), Vec::new()).ok()?;
    Some(Path::new(std::ffi::OsStr::from_bytes(link.as_bytes())).to_owned())
}

/// A text in a process's memory.
fn text(pid: i32, address: u64) -> Option<PathBuf> {
    let mut bytes = Vec::new();
    while bytes.len() < PATH_MAX {
        let at = address.checked_add(bytes.len() as u64)?;
        // Up to the page's end: what is behind it may be nobody's.
        let piece = read(pid, at, (PATH_MAX as u64 - at % PATH_MAX as u64) as usize)?;
        if let Some(end) = piece.iter().position(|byte| *byte == 0) {
            bytes.extend(&piece[..end]);
            return Some(PathBuf::from(std::ffi::OsString::from_vec(bytes)));
        }
        bytes.extend(piece);
    }
    None
}

fn read(pid: i32, address: u64, count: usize) -> Option<Vec<u8>> {
    let memory = File::open(format!("/proc/{pid}/mem")).ok()?;
    let mut bytes = vec![0; count];
    memory.read_exact_at(&mut bytes, address).ok()?;
    Some(bytes)
}
