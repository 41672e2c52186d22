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
    alone()?;
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

/// Bytes of stack of a child by [`borrow`].
const STACK: usize = 256 << 10;

/// Runs `work` in a child that borrows this process's memory, and waits until the child has executed another
/// program or has ended, with what `work` gives as its exit code: vfork(2) on a stack of its own. Nothing of the
/// memory is copied, so that it takes a fifth of the time of a fork. What `work` changes in memory stays changed;
/// descriptors, signals, folders and privileges are the child's own; SIGPIPE is what it was before Rust. Gives its
/// process id.
///
/// # Errors
/// [`io::ErrorKind::ResourceBusy`] when this process has more than one thread; clone(2): EAGAIN at a task limit.
pub fn borrow(mut work: &mut dyn FnMut() -> u8) -> io::Result<i32> {
    extern "C" fn run(work: *mut libc::c_void) -> libc::c_int {
        // Rust's programs ignore it, and others expect that they do not. SAFETY: the default is no handler.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
        // SAFETY: it is the address that `borrow` gave, of a closure that nobody else uses before the child is done.
        let work = unsafe { &mut *work.cast::<&mut dyn FnMut() -> u8>() };
        libc::c_int::from(work())
    }
    alone()?;
    let mut stack = vec![std::mem::MaybeUninit::<u128>::uninit(); STACK / size_of::<u128>()];
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    let argument = (&raw mut work).cast();
    // SAFETY: the process has one thread, which the kernel stops until the child has another memory or none, so the
    // two never run at once, and the stack and the closure outlive the child's use of them. The stack is the child's
    // alone, aligned, and ends (grows down) within its block. An `extern "C"` function aborts rather than unwind.
    match unsafe { libc::clone(run, stack.as_mut_ptr_range().end.cast(), flags, argument) } {
        -1 => Err(io::Error::last_os_error()),
        pid => Ok(pid),
    }
}

/// Ends a process that [`fork`] or [`borrow`] made, and nothing of what its parent had planned for its own end.
pub fn end(code: u8) -> ! {
    // SAFETY: it runs no handler, so nothing of this program is seen after it.
    unsafe { libc::_exit(libc::c_int::from(code)) }
}

/// Whether this process has one thread only.
fn alone() -> io::Result<()> {
    // SAFETY: of a process with one thread this changes nothing, and it fails in others: unshare(2).
    let one = match unsafe { libc::unshare(libc::CLONE_THREAD) } {
        0 => true,
        _ if io::Error::last_os_error().raw_os_error() == Some(libc::EINVAL) => false,
        // A sandbox without the call. A folder has a link from each folder in it: there is one for each thread.
        _ => std::fs::metadata("/proc/self/task").map_or(1, |tasks| tasks.nlink().saturating_sub(2)) <= 1,
    };
    if one {
        Ok(())
    } else {
        Err(io::Error::new(io::ErrorKind::ResourceBusy, "a process with threads cannot be forked"))
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
        assert_eq!(borrow(&mut || 0).unwrap_err().kind(), io::ErrorKind::ResourceBusy);
    }
}
