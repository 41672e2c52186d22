//! Joins the namespaces of another process: setns(2) by a descriptor of it.

use crate::namespace::Namespace;
use crate::plan::Plan;
use crate::target::Target;
use nix::errno::Errno;
use nix::sched::{CloneFlags, setns, unshare};
use rustix::fs::{Mode, OFlags};
use rustix::mount::{OpenTreeFlags, open_tree};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

fn flags<'a>(kinds: impl IntoIterator<Item = &'a Namespace>) -> CloneFlags {
    let bits = kinds.into_iter().fold(0, |bits, kind| bits | kind.clone_flag());
    CloneFlags::from_bits_truncate(bits as nix::libc::c_int)
}

/// Whether the target's processes can be joined only from within its user namespace, so that a process more is
/// needed in between: one is among others' processes from its birth on.
pub(super) fn from_within(plan: &Plan) -> bool {
    plan.joined.contains(&Namespace::User) && plan.joined.contains(&Namespace::Pid)
}

/// In the monitor: opens the process. If it can, what the monitor forks from now on is among its processes.
pub(super) fn open(target: &Target, joined: &[Namespace]) -> Result<OwnedFd, (&'static str, io::Error)> {
    let fd = target.open().map_err(|error| ("open the target's process", error))?;
    if joined.contains(&Namespace::Pid) && !joined.contains(&Namespace::User) {
        setns(&fd, CloneFlags::CLONE_NEWPID)
            .map_err(|error| ("join the target's processes", error.into()))?;
    }
    Ok(fd)
}

/// In init: joins the others, and makes the box's own where they belong to the target's user namespace.
pub(super) fn enter(plan: &Plan, process: &OwnedFd) -> Result<(), String> {
    let at = |doing: &'static str| move |error: Errno| format!("{doing}: {error}");
    let done = |kind: &Namespace| *kind == Namespace::Pid && !from_within(plan);
    let joined = flags(plan.joined.iter().filter(|kind| !done(kind)));
    if !joined.is_empty() {
        setns(process, joined).map_err(at("join the target's namespaces"))?;
    }
    if plan.joined.contains(&Namespace::User) {
        // Whoever the caller is outside, in there it has all capabilities, and becomes root.
        let root = nix::unistd::Uid::from_raw(0);
        let group = nix::unistd::Gid::from_raw(0);
        nix::unistd::setresgid(group, group, group).map_err(at("become root of the target's users"))?;
        nix::unistd::setresuid(root, root, root).map_err(at("become root of the target's users"))?;
        // Both are undone by a change of ids.
        nix::sys::prctl::set_dumpable(true).map_err(at("keep /proc/self"))?;
        nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)
            .map_err(at("follow the monitor"))?;
        // The cgroup's comes later, as always.
        let own = flags(plan.namespaces.iter().filter(|kind| **kind != Namespace::Cgroup));
        unshare(own).map_err(at("make the box's namespaces"))?;
    }
    Ok(())
}

/// The tree of a process's root with all that is mounted there, to be put anywhere. Needs the caller's procfs.
pub(super) fn root_of(process: &OwnedFd, pid: i32) -> rustix::io::Result<OwnedFd> {
    let open = |path: &str, flags| rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty());
    let own = open("/proc/self/ns/mnt", OFlags::RDONLY)?;
    let folder = open("/", OFlags::PATH | OFlags::DIRECTORY)?;
    let root = open(&format!("/proc/{pid}/root"), OFlags::PATH | OFlags::DIRECTORY)?;
    // A tree can be copied only from within its mount namespace.
    let errno = |error: Errno| rustix::io::Errno::from_raw_os_error(error as i32);
    setns(process, CloneFlags::CLONE_NEWNS).map_err(errno)?;
    let tree = open_tree(
        root.as_fd(),
        "",
        OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_RECURSIVE
            | OpenTreeFlags::AT_EMPTY_PATH,
    );
    setns(&own, CloneFlags::CLONE_NEWNS).map_err(errno)?;
    rustix::process::fchdir(&folder)?;
    tree
}
