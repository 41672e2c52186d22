//! The kernel's device events: netlink(7), `NETLINK_KOBJECT_UEVENT`.

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType};
use nix::sys::socket::{bind, recv, socket};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// One device event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uevent {
    /// `add`, `remove`, `change` …
    pub action: String,
    /// `block`, `net` …
    pub subsystem: String,
    /// Node below /dev, where there is one.
    pub device_name: Option<String>,
}

impl Uevent {
    /// Decodes one datagram: `ACTION@DEVPATH`, then `KEY=VALUE`, each ended by NUL.
    /// `None` for what the kernel did not send (udev's own header begins with `libudev`).
    pub fn decode(datagram: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(datagram).ok()?;
        let mut fields = text.split('\0');
        fields.next()?.split_once('@')?;
        let value =
            |key: &str| text.split('\0').skip(1).find_map(|field| field.strip_prefix(key)?.strip_prefix('='));
        Some(Self {
            action: value("ACTION")?.to_owned(),
            subsystem: value("SUBSYSTEM")?.to_owned(),
            device_name: value("DEVNAME").map(str::to_owned),
        })
    }
}

/// Receives device events from the moment it is opened.
#[derive(Debug)]
pub struct UeventSocket(OwnedFd);

impl UeventSocket {
    /// Opens the socket.
    ///
    /// # Errors
    /// The kernel's.
    pub fn open() -> io::Result<Self> {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
            SockProtocol::NetlinkKObjectUEvent,
        )?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 1))?;
        Ok(Self(socket))
    }

    /// The next event; `None` when there is none before `deadline`.
    ///
    /// # Errors
    /// The kernel's. Lost events (`ENOBUFS`) are one: the caller must look for itself.
    pub fn receive(&self, deadline: Instant) -> io::Result<Option<Uevent>> {
        let mut buffer = [0; 8192];
        loop {
            match recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Ok(length) => {
                    if let Some(event) = Uevent::decode(&buffer[..length]) {
                        return Ok(Some(event));
                    }
                }
                Err(nix::Error::EAGAIN) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left == Duration::ZERO {
                        return Ok(None);
                    }
                    let timeout =
                        PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
                    match poll(&mut [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)], timeout) {
                        Ok(_) | Err(nix::Error::EINTR) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                Err(nix::Error::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_apart() {
        let datagram = b"add@/devices/vda\0ACTION=add\0DEVPATH=/devices/vda\0SUBSYSTEM=block\0DEVNAME=vda\0";
        let event = Uevent::decode(datagram).unwrap();
        assert_eq!((event.action.as_str(), event.subsystem.as_str()), ("add", "block"));
        assert_eq!(event.device_name.as_deref(), Some("vda"));
        assert_eq!(Uevent::decode(b"libudev\0\xfe\xed"), None);
        assert_eq!(Uevent::decode(b""), None);
    }

    #[test]
    fn waiting_ends_at_the_deadline() {
        let socket = UeventSocket::open().unwrap();
        while socket.receive(Instant::now()).unwrap().is_some() {}
    }
}
