//! Datagrams with descriptors and credentials: recvmsg(2), unix(7).

use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use std::io::{self, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// One message.
#[derive(Debug)]
pub struct Message {
    /// Bytes written to the buffer.
    pub count: usize,
    /// The message, or what came along, did not fit.
    pub is_cut: bool,
    /// The sender, as the kernel has checked it; absent without `SO_PASSCRED`.
    pub pid: Option<i32>,
    /// Descriptors that came along, close-on-exec.
    pub descriptors: Vec<OwnedFd>,
}

/// The most descriptors in a message: `SCM_MAX_FD`, <net/scm.h>.
const MAX_DESCRIPTORS: usize = 253;

/// Takes the next message from a socket that does not block.
///
/// # Errors
/// recvmsg(2): [`io::ErrorKind::WouldBlock`] when there is none.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Message> {
    let mut control = nix::cmsg_space!(libc::ucred, [i32; MAX_DESCRIPTORS]);
    let mut parts = [IoSliceMut::new(buffer)];
    let received =
        recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::MSG_CMSG_CLOEXEC)?;
    let mut message = Message {
        count: received.bytes,
        is_cut: received.flags.intersects(MsgFlags::MSG_TRUNC | MsgFlags::MSG_CTRUNC),
        pid: None,
        descriptors: Vec::new(),
    };
    for one in received.cmsgs()? {
        match one {
            ControlMessageOwned::ScmCredentials(credentials) => message.pid = Some(credentials.pid()),
            ControlMessageOwned::ScmRights(raw) => {
                // SAFETY: the kernel has just made them for this process, and nobody else has seen
                // their numbers. nix gives bare numbers, which would leak.
                message.descriptors.extend(raw.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
            }
            _ => {}
        }
    }
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixDatagram;

    #[test]
    fn descriptors_come_along() {
        let (near, far) = UnixDatagram::pair().unwrap();
        nix::sys::socket::setsockopt(&near, nix::sys::socket::sockopt::PassCred, &true).unwrap();
        let (mut read, write) = io::pipe().unwrap();
        let fds = [write.as_raw_fd()];
        let control = [nix::sys::socket::ControlMessage::ScmRights(&fds)];
        let parts = [io::IoSlice::new(b"hello")];
        nix::sys::socket::sendmsg::<()>(far.as_raw_fd(), &parts, &control, MsgFlags::empty(), None).unwrap();
        drop(write);
        let mut buffer = [0; 16];
        let message = receive(near.as_fd(), &mut buffer).unwrap();
        assert_eq!((&buffer[..message.count], message.is_cut), (&b"hello"[..], false));
        assert_eq!(message.pid, Some(std::process::id() as i32));
        drop(message);
        assert_eq!(read.read(&mut buffer).unwrap(), 0, "the last writer is gone");
    }
}
