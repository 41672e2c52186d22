//! Hearing of another process's system calls before they are made: `seccomp_unotify(2)`.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

/// A call that waits to be let go on.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// Its name in [`go_on`].
    pub id: u64,
    /// The thread that makes it, in the listener's pid namespace; 0 if it is not seen there.
    pub pid: i32,
    /// `SYS_*`.
    pub number: i64,
    /// As they were passed.
    pub arguments: [u64; 6],
}

mod ioctl {
    // #define SECCOMP_IOCTL_NOTIF_RECV SECCOMP_IOWR(0, struct seccomp_notif)
    nix::ioctl_readwrite!(receive, b'!', 0, libc::seccomp_notif);
    // #define SECCOMP_IOCTL_NOTIF_SEND SECCOMP_IOWR(1, struct seccomp_notif_resp)
    nix::ioctl_readwrite!(send, b'!', 1, libc::seccomp_notif_resp);
}

/// Puts a filter in place for this thread and all that it will start; where it says `SECCOMP_RET_USER_NOTIF`, the
/// call waits for whoever holds the descriptor that is returned.
///
/// # Errors
/// seccomp(2): EACCES without `CAP_SYS_ADMIN` and `no_new_privs`, EBUSY when there is a listener already.
pub fn listen(program: &[libc::sock_filter]) -> io::Result<OwnedFd> {
    let program = libc::sock_fprog {
        len: program.len().try_into().map_err(|_| io::ErrorKind::InvalidInput)?,
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: the kernel reads `len` instructions, which outlive the call, and checks them.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
            &raw const program,
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call made this descriptor, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// The next call; waits for it.
///
/// # Errors
/// ENOENT: its process was killed meanwhile, there may be others; EINTR.
pub fn receive(listener: impl AsFd) -> io::Result<Call> {
    // SAFETY: the structure is numbers only; the kernel wants it zeroed.
    let mut notice: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one structure of this size, which outlives the call.
    unsafe { ioctl::receive(listener.as_fd().as_raw_fd(), &raw mut notice) }?;
    let data = notice.data;
    Ok(Call { id: notice.id, pid: notice.pid as i32, number: data.nr.into(), arguments: data.args })
}

/// Lets a call be made as it is.
///
/// # Errors
/// ENOENT: its process was killed meanwhile.
pub fn go_on(listener: impl AsFd, id: u64) -> io::Result<()> {
    let mut answer = libc::seccomp_notif_resp {
        id,
        val: 0,
        error: 0,
        flags: libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32,
    };
    // SAFETY: the kernel reads one structure of this size, which outlives the call.
    unsafe { ioctl::send(listener.as_fd().as_raw_fd(), &raw mut answer) }?;
    Ok(())
}
