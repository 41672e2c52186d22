//! What a service says to PID 1 (`sd_notify(3)`).

use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, sendmsg, socket,
};
use std::ffi::OsStr;
use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;

/// Sends assignments, a line each, such as `READY=1`. Without `$NOTIFY_SOCKET` nobody wants to
/// know, and nothing is sent.
///
/// # Errors
/// The socket cannot be reached.
pub fn notify(text: &str) -> io::Result<()> {
    notify_with(text, &[])
}

/// The same with descriptors, for `FDSTORE=1`.
///
/// # Errors
/// As [`notify`].
pub fn notify_with(text: &str, descriptors: &[RawFd]) -> io::Result<()> {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return Ok(()) };
    let address = address(&path)?;
    let socket = socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    let control = [ControlMessage::ScmRights(descriptors)];
    let control = if descriptors.is_empty() { &control[..0] } else { &control[..] };
    sendmsg(
        socket.as_raw_fd(),
        &[IoSlice::new(text.as_bytes())],
        control,
        MsgFlags::MSG_NOSIGNAL,
        Some(&address),
    )?;
    Ok(())
}

/// `@name` is an abstract address.
fn address(path: &OsStr) -> io::Result<UnixAddr> {
    Ok(match path.as_bytes() {
        [b'@', name @ ..] => UnixAddr::new_abstract(name)?,
        path => UnixAddr::new(path)?,
    })
}
