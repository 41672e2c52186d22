//! The process that cleans up.

use super::front::Parts;
use super::report::Noted;
use super::wire::Event;
use super::{cgroup, code, init, join, remains, wire};
use crate::namespace::Namespace;
use crate::plan::{IdMap, Ids, Plan};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::signal::SigSet;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, pipe2, read, write};
use std::fs;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::{Command, Stdio};

/// What is heard of the box for the report.
pub(super) struct Notes {
    socket: OwnedFd,
    listener: Option<OwnedFd>,
    noted: Noted,
}

/// The monitor's life.
pub(super) fn main(plan: &Plan, folder: Option<&Path>, parts: &Parts<'_>) -> ! {
    let events = parts.events;
    if let Err((doing, error)) = watch(plan, folder, parts) {
        wire::failed(events, code::FAILED, &format!("{doing}: {error}"));
    }
    if let Some(folder) = folder
        && let Err(error) = cgroup::remove(folder)
    {
        wire::failed(events, code::FAILED, &format!("remove the cgroup {}: {error}", folder.display()));
    }
    // A front that lives restores it itself, later; one that was killed cannot.
    if let Some(terminal) = parts.terminal {
        terminal.restore();
    }
    super::leave(0)
}

type Failure = (&'static str, io::Error);

fn watch(plan: &Plan, folder: Option<&Path>, parts: &Parts<'_>) -> Result<(), Failure> {
    let at = |doing: &'static str| move |error: io::Error| (doing, error);
    let at_errno = |doing: &'static str| move |error: Errno| (doing, io::Error::from(error));
    // Neither the terminal's signals nor its end are for this process.
    nix::unistd::setsid().map_err(at_errno("make a session"))?;
    let _ = rustix::thread::set_name(c"toolbox-monitor");
    nix::sys::prctl::set_child_subreaper(true).map_err(at_errno("become a subreaper"))?;
    if let (Some(cgroup), Some(folder)) = (&plan.cgroup, folder) {
        cgroup::make(cgroup, folder).map_err(at("make the box's cgroup"))?;
    }
    let (go_end, go) = pipe2(OFlag::O_CLOEXEC).map_err(at_errno("make a pipe"))?;
    let flags = plan.namespaces.iter().fold(0, |flags, kind| flags | kind.clone_flag());
    let target = plan.target.as_ref().map(|target| join::open(target, &plan.joined)).transpose()?;
    // Its own cgroup namespace is rooted where it is when it makes it: after it has moved.
    let cgroups = plan.namespaces.contains(&Namespace::Cgroup);
    let early = if cgroups { flags & !Namespace::Cgroup.clone_flag() } else { flags };
    // They are to belong to the target's user namespace, and are made within it.
    let early = if plan.joined.contains(&Namespace::User) { 0 } else { early };
    let (mut notes, box_notes) = match parts.report {
        Some(_) => {
            let (socket, box_notes) = wire::pair().map_err(at_errno("make a socket"))?;
            (Some(Notes { socket, listener: None, noted: Noted::new(plan) }), Some(box_notes))
        }
        None => (None, None),
    };
    let Some(child) = cgroup::fork(early, folder)? else {
        drop((go, notes));
        let ties = init::Ties {
            go: &go_end,
            events: parts.events,
            notes: box_notes.as_ref(),
            target: target.as_ref(),
        };
        init::main(plan, parts.filters, &ties);
    };
    drop((go_end, box_notes));
    let ready = plan.ids.as_ref().map_or(Ok(()), |ids| map(child, ids));
    let ended = ready.and_then(|()| {
        // One that is gone has said why.
        let _ = write(&go, &[1]);
        forward(child, parts.control, None, notes.as_mut())
    });
    let _ = sys::process::kill(child, nix::libc::SIGKILL);
    let _ = waitpid(Pid::from_raw(child), None);
    remains::end_all();
    if let (Some(mut report), Some(notes)) = (parts.report, notes) {
        report.write_all(notes.text().as_bytes()).map_err(at("write the report"))?;
    }
    ended
}

impl Notes {
    /// Takes what the box's first process says.
    fn message(&mut self) -> bool {
        match wire::receive(&self.socket) {
            Ok(Event::Listener(listener)) => self.listener = Some(listener),
            Ok(Event::Process(name)) => self.noted.process(name),
            _ => return false,
        }
        true
    }

    /// Notes a call, and lets it be made.
    fn call(&mut self) {
        let Some(listener) = &self.listener else { return };
        // One that was killed meanwhile makes no call.
        if let Ok(call) = sys::seccomp::receive(listener) {
            self.noted.note(&call);
            let _ = sys::seccomp::go_on(listener, call.id);
        }
    }

    /// The report, of a box that has ended.
    fn text(mut self) -> String {
        while self.message() {}
        self.noted.text()
    }
}

/// Passes signals on until the child has ended, or the front has, or another process.
pub(super) fn forward(
    child: i32,
    control: &OwnedFd,
    other: Option<&OwnedFd>,
    mut notes: Option<&mut Notes>,
) -> Result<(), Failure> {
    let pid =
        rustix::process::Pid::from_raw(child).ok_or(("name the box", io::ErrorKind::InvalidData.into()))?;
    let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())
        .map_err(|error| ("watch the box", error.into()))?;
    loop {
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        let (socket, listener) =
            notes.as_ref().map_or((None, None), |notes| (Some(&notes.socket), notes.listener.as_ref()));
        let places = [Some(&pidfd), other, Some(control), socket, listener];
        let mut fds: Vec<PollFd<'_>> =
            places.iter().flatten().map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)).collect();
        match poll(&mut fds, PollTimeout::NONE) {
            Err(Errno::EINTR) => continue,
            other => other.map_err(|error| ("wait", error.into()))?,
        };
        let mut answers = fds.iter().map(|fd| fd.revents().unwrap_or(PollFlags::empty()));
        let [first, second, front, socket, listener] =
            places.map(|fd| fd.and_then(|_| answers.next()).unwrap_or(PollFlags::empty()));
        if !(first | second).is_empty() {
            return Ok(());
        }
        if let Some(notes) = &mut notes {
            if listener.contains(PollFlags::POLLIN) {
                notes.call();
            } else if !listener.is_empty() {
                // Nobody is there any more who could call.
                notes.listener = None;
            }
            if socket.contains(PollFlags::POLLIN) {
                notes.message();
            }
        }
        if front.is_empty() {
            continue;
        }
        let mut signals = [0; 16];
        match read(control, &mut signals) {
            Ok(0) => return Ok(()),
            Ok(count) => {
                for signal in &signals[..count] {
                    let _ = sys::process::kill(child, i32::from(*signal));
                }
            }
            Err(Errno::EINTR) => {}
            Err(error) => return Err(("hear from the front", error.into())),
        }
    }
}

/// Writes the ids of the box's user namespace.
pub(super) fn map(child: i32, ids: &Ids) -> Result<(), Failure> {
    if ids.by_tools {
        SigSet::empty().thread_set_mask().map_err(|error| ("allow signals", error.into()))?;
        tool("newuidmap", child, &ids.users)?;
        return tool("newgidmap", child, &ids.groups);
    }
    let put = |file: &str, text: &str| fs::write(format!("/proc/{child}/{file}"), text);
    let alone = ids.groups.iter().all(|map| map.count == 1);
    if alone {
        // user_namespaces(7): a group may be mapped without privilege once setgroups(2) is out of the way.
        put("setgroups", "deny").map_err(|error| ("deny setgroups", error))?;
    }
    put("uid_map", &lines(&ids.users)).map_err(|error| ("map the users", error))?;
    put("gid_map", &lines(&ids.groups)).map_err(|error| ("map the groups", error))
}

fn lines(maps: &[IdMap]) -> String {
    maps.iter().map(|map| format!("{} {} {}\n", map.inside, map.outside, map.count)).collect()
}

fn tool(name: &'static str, child: i32, maps: &[IdMap]) -> Result<(), Failure> {
    let numbers = maps.iter().flat_map(|map| [map.inside, map.outside, map.count]);
    let output = Command::new(name)
        .arg(child.to_string())
        .args(numbers.map(|number| number.to_string()))
        .stdin(Stdio::null())
        .output()
        .map_err(|error| (name, error))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err((name, io::Error::other(said)))
}

/// How a process ended, as an exit code.
pub(super) fn code_of(status: WaitStatus) -> u8 {
    match status {
        WaitStatus::Exited(_, code) => code as u8,
        WaitStatus::Signaled(_, signal, _) => code::SIGNAL.wrapping_add(signal as u8),
        _ => code::FAILED,
    }
}
