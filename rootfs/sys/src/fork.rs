//! A copy of this process, in new namespaces: clone3(2).

use std::io;

/// `struct clone_args` up to `tls`, <linux/sched.h>: `CLONE_ARGS_SIZE_VER0`.
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
}

/// The flags of namespaces, <linux/sched.h>.
pub const NAMESPACES: u64 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET) as u64;

/// Forks into new `namespaces`, a union of `CLONE_NEW*`. Gives the child's process id to the parent, and
/// nothing to the child.
///
/// # Errors
/// [`io::ErrorKind::InvalidInput`] for other flags, [`io::ErrorKind::ResourceBusy`] when this process has more
/// than one thread; clone3(2): EPERM without the right to a namespace, ENOSPC beyond a limit of them,
/// EAGAIN at a task limit.
pub fn fork(namespaces: u64) -> io::Result<Option<i32>> {
    if namespaces & !NAMESPACES != 0 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    if std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count) > 1 {
        return Err(io::Error::new(io::ErrorKind::ResourceBusy, "a process with threads cannot be forked"));
    }
    let mut args = CloneArgs { flags: namespaces, exit_signal: libc::SIGCHLD as u64, ..CloneArgs::default() };
    // SAFETY: without CLONE_VM this is a fork: the child has a copy of all memory. The process has one
    // thread, so nobody holds a lock that the copy would wait for, and the child may run on as any process
    // does. `args` is the kernel's structure with its true size. std and nix know no fork into namespaces.
    match unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<CloneArgs>()) } {
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
        assert_eq!(fork(libc::CLONE_VM as u64).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn a_process_with_threads_is_not_forked() {
        // The harness runs each test in a thread of its own.
        assert_eq!(fork(0).unwrap_err().kind(), io::ErrorKind::ResourceBusy);
    }
}
