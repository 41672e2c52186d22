//! A copy of this process, in new namespaces: clone3(2).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;

/// `struct clone_args`, <linux/sched.h>, up to `cgroup` (`CLONE_ARGS_SIZE_VER2`, Linux 5.7).
#[repr(C)]
#[derive(Default)]
pub(crate) struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// `#define CLONE_INTO_CGROUP 0x200000000ULL`, <linux/sched.h>.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

impl CloneArgs {
    /// A child that tells of its end by SIGCHLD, in the cgroup whose folder is open, or its parent's.
    pub(crate) fn new(flags: u64, cgroup: Option<BorrowedFd<'_>>) -> Self {
        let args = Self { flags, exit_signal: libc::SIGCHLD as u64, ..Self::default() };
        match cgroup {
            Some(cgroup) => {
                Self { flags: flags | CLONE_INTO_CGROUP, cgroup: cgroup.as_raw_fd() as u64, ..args }
            }
            None => args,
        }
    }

    /// The kernel takes a longer structure than it knows if what it does not know is zero.
    pub(crate) const SIZE: usize = size_of::<Self>();
}

/// The flags of namespaces, <linux/sched.h>.
pub const NAMESPACES: u64 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET) as u64;

/// Forks into new `namespaces`, a union of `CLONE_NEW*`, and into a cgroup whose folder is open. Gives the
/// child's process id to the parent, and nothing to the child.
///
/// # Errors
/// [`io::ErrorKind::InvalidInput`] for other flags, [`io::ErrorKind::ResourceBusy`] when this process has more
/// than one thread; clone3(2): EPERM without the right to a namespace, ENOSPC beyond a limit of them,
/// EAGAIN at a task limit, E2BIG for a cgroup before Linux 5.7.
pub fn fork(namespaces: u64, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Option<i32>> {
    if namespaces & !NAMESPACES != 0 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // A folder has a link from each folder in it: there is one for each thread.
    if std::fs::metadata("/proc/self/task").map_or(1, |tasks| tasks.nlink().saturating_sub(2)) > 1 {
        return Err(io::Error::new(io::ErrorKind::ResourceBusy, "a process with threads cannot be forked"));
    }
    let mut args = CloneArgs::new(namespaces, cgroup);
    // SAFETY: without CLONE_VM this is a fork: the child has a copy of all memory. The process has one
    // thread, so nobody holds a lock that the copy would wait for, and the child may run on as any process
    // does. `args` is the kernel's structure with its true size. std and nix know no fork into namespaces.
    match unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, CloneArgs::SIZE) } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(None),
        pid => Ok(Some(pid as i32)),
    }
}

/// Makes all descriptors but standard input, output and error close when another program is executed:
/// close_range(2), Linux 5.11.
///
/// # Errors
/// close_range(2).
pub fn close_on_exec() -> io::Result<()> {
    // SAFETY: with this flag the call closes nothing; it marks descriptors by number. nix has no face for it.
    match unsafe { libc::close_range(3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC as libc::c_int) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_namespaces_are_flags() {
        assert_eq!(fork(libc::CLONE_VM as u64, None).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn a_process_with_threads_is_not_forked() {
        // The harness runs each test in a thread of its own.
        assert_eq!(fork(0, None).unwrap_err().kind(), io::ErrorKind::ResourceBusy);
    }
}
