//! Events over netlink(7): the kernel's group, and udev's.

use crate::event::Event;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recvfrom, sendto,
    setsockopt, socket, sockopt,
};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Group of the kernel's events.
pub(crate) const KERNEL: u32 = 1;
/// Group of udev's.
pub(crate) const UDEV: u32 = 2;
/// Room for events that wait, in bytes: a burst of thousands of devices.
const QUEUE: usize = 16 << 20;
/// Longest datagram: udev's adds to the kernel's 2 KiB.
const DATAGRAM_MAX: usize = 16 << 10;

/// What came.
pub(crate) enum Received {
    /// An event, and whether the kernel sent it.
    Event { event: Event, is_kernels: bool },
    /// Nothing more for now.
    Nothing,
    /// Events were lost: whoever needs them all must look for itself.
    Lost,
}

/// A socket that never waits.
pub(crate) struct Events {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

impl Events {
    /// Joins groups. From here on no event is missed.
    pub(crate) fn open(groups: u32) -> io::Result<Self> {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
            SockProtocol::NetlinkKObjectUEvent,
        )?;
        // Beyond the limit only for root; the default will do where that is refused.
        let _ = setsockopt(&socket, sockopt::RcvBufForce, &QUEUE);
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
        Ok(Self { socket, buffer: vec![0; DATAGRAM_MAX] })
    }

    /// The next event, if there is one. What is no event is passed over.
    pub(crate) fn receive(&mut self) -> io::Result<Received> {
        loop {
            match recvfrom::<NetlinkAddr>(self.socket.as_raw_fd(), &mut self.buffer) {
                Ok((length, sender)) => {
                    let is_kernels = sender.is_some_and(|sender| sender.pid() == 0);
                    if let Some(event) = Event::decode(&self.buffer[..length]) {
                        return Ok(Received::Event { event, is_kernels });
                    }
                }
                Err(Errno::EAGAIN) => return Ok(Received::Nothing),
                Err(Errno::ENOBUFS) => return Ok(Received::Lost),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Tells udev's group. Nobody may be listening.
    pub(crate) fn tell(&self, event: &Event) {
        let _ =
            sendto(self.socket.as_raw_fd(), &event.encode(), &NetlinkAddr::new(0, UDEV), MsgFlags::empty());
    }
}

/// Passes an event on as udev does, to all who listen to udev.
///
/// # Errors
/// There is no such socket.
pub fn broadcast(event: &Event) -> io::Result<()> {
    Events::open(0)?.tell(event);
    Ok(())
}

impl AsFd for Events {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
