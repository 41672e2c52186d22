//! The process that cleans up.

use super::terminal::Terminal;
use super::{cgroup, code, forbidden, init, remains, wire};
use crate::namespace::Namespace;
use crate::plan::{IdMap, Ids, Plan};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::signal::SigSet;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, pipe2, read, write};
use seccompiler::BpfProgram;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::{Command, Stdio};

/// The monitor's life.
pub(super) fn main(
    plan: &Plan,
    filters: &[BpfProgram],
    folder: Option<&Path>,
    terminal: Option<&Terminal>,
    control: &OwnedFd,
    events: &OwnedFd,
) -> ! {
    if let Err((doing, error)) = watch(plan, filters, folder, control, events) {
        wire::failed(events, code::FAILED, &format!("{doing}: {error}"));
    }
    if let Some(folder) = folder
        && let Err(error) = cgroup::remove(folder)
    {
        wire::failed(events, code::FAILED, &format!("remove the cgroup {}: {error}", folder.display()));
    }
    // A front that lives restores it itself, later; one that was killed cannot.
    if let Some(terminal) = terminal {
        terminal.restore();
    }
    super::leave(0)
}

type Failure = (&'static str, io::Error);

fn watch(
    plan: &Plan,
    filters: &[BpfProgram],
    folder: Option<&Path>,
    control: &OwnedFd,
    events: &OwnedFd,
) -> Result<(), Failure> {
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
    // Its own cgroup namespace is rooted where it is when it makes it: after it has moved.
    let cgroups = plan.namespaces.contains(&Namespace::Cgroup);
    let early = if cgroups { flags & !Namespace::Cgroup.clone_flag() } else { flags };
    let Some(child) = sys::fork::fork(early)
        .map_err(|error| ("make the box's namespaces", forbidden::explained(error, early)))?
    else {
        drop(go);
        init::main(plan, filters, &go_end, events);
    };
    drop(go_end);
    let ready = match folder {
        Some(folder) => cgroup::enter(folder, child).map_err(at("put the box into its cgroup")),
        None => Ok(()),
    };
    let ready = ready.and_then(|()| plan.ids.as_ref().map_or(Ok(()), |ids| map(child, ids)));
    let ended = ready.and_then(|()| {
        // One that is gone has said why.
        let _ = write(&go, &[1]);
        forward(child, control)
    });
    let _ = sys::process::kill(child, nix::libc::SIGKILL);
    let _ = waitpid(Pid::from_raw(child), None);
    remains::end_all();
    ended
}

/// Passes signals on until the box has ended, or the front has.
fn forward(child: i32, control: &OwnedFd) -> Result<(), Failure> {
    let pid =
        rustix::process::Pid::from_raw(child).ok_or(("name the box", io::ErrorKind::InvalidData.into()))?;
    let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())
        .map_err(|error| ("watch the box", error.into()))?;
    loop {
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        let mut fds =
            [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN), PollFd::new(control.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::NONE) {
            Err(Errno::EINTR) => continue,
            other => other.map_err(|error| ("wait", error.into()))?,
        };
        if fds[0].any() == Some(true) {
            return Ok(());
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
fn map(child: i32, ids: &Ids) -> Result<(), Failure> {
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
