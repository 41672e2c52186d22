//! Messages of a UNIX socket with who sent them and the descriptors that came along (unix(7)).

use nix::cmsg_space;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, UnixCredentials, recvmsg};
use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

/// The most descriptors that a message can have (`SCM_MAX_FD`, <net/scm.h>): with room for fewer,
/// nix gives an error and leaves those that came open.
const DESCRIPTORS: usize = 253;

/// What was received.
#[derive(Debug)]
pub struct Received {
    /// Bytes put into the buffer.
    pub count: usize,
    /// Whether the datagram was longer than the buffer.
    pub cut: bool,
    /// Process, user and group of the sender, on a socket with `SO_PASSCRED`. The process is 0
    /// if it is of a foreign pid namespace.
    pub sender: Option<(i32, u32, u32)>,
    /// Descriptors that came along, close-on-exec.
    pub descriptors: Vec<OwnedFd>,
}

/// Room for what comes beside the bytes, to be used again and again.
#[derive(Debug)]
pub struct Receiver(Vec<u8>);

impl Default for Receiver {
    fn default() -> Self {
        Self(cmsg_space!(UnixCredentials, [RawFd; DESCRIPTORS]))
    }
}

impl Receiver {
    /// recvmsg(2), without waiting.
    ///
    /// # Errors
    /// The system call's; `WouldBlock` if there is nothing.
    pub fn receive(&mut self, socket: &impl AsFd, buffer: &mut [u8]) -> io::Result<Received> {
        let mut parts = [IoSliceMut::new(buffer)];
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
        let message = recvmsg::<()>(socket.as_fd().as_raw_fd(), &mut parts, Some(&mut self.0), flags)?;
        let mut received = Received {
            count: message.bytes,
            cut: message.flags.contains(MsgFlags::MSG_TRUNC),
            sender: None,
            descriptors: Vec::new(),
        };
        for control in message.cmsgs()? {
            match control {
                ControlMessageOwned::ScmCredentials(sender) => {
                    received.sender = Some((sender.pid(), sender.uid(), sender.gid()));
                }
                // SAFETY: the kernel made these descriptors for this process with this message, and
                // nobody else knows them. nix gives raw numbers only.
                ControlMessageOwned::ScmRights(rights) => received
                    .descriptors
                    .extend(rights.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })),
                _ => {}
            }
        }
        Ok(received)
    }
}
