//! The journal's sockets: PID 1 makes them before there is a daemon, and passes them to it.

use crate::FOLDER;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, getsockname, getsockopt, listen, setsockopt,
    socket, sockopt,
};
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Their folder on the appliance.
pub const RUNTIME: &str = "/run/systemd/journal";

/// Bytes that wait in a datagram socket; systemd asks for as much.
const RECEIVE_BYTES: usize = 8 << 20;

/// What a socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// Connections of services' stdout and stderr.
    Stdout,
    /// The native protocol.
    Native,
    /// syslog(3), `/dev/log`.
    Syslog,
}

const ALL: [(Purpose, &str); 3] =
    [(Purpose::Stdout, "stdout"), (Purpose::Native, "socket"), (Purpose::Syslog, "dev-log")];

/// Makes the three sockets in a folder, in place of what is there.
///
/// # Errors
/// The folder or a socket cannot be made.
pub fn make(folder: &Path) -> io::Result<Vec<(Purpose, OwnedFd)>> {
    fs::create_dir_all(folder)?;
    ALL.iter().map(|(purpose, name)| Ok((*purpose, make_one(&folder.join(name), *purpose)?))).collect()
}

/// Makes one of them.
///
/// # Errors
/// As [`make`].
pub fn make_one(path: &Path, purpose: Purpose) -> io::Result<OwnedFd> {
    let kind = if purpose == Purpose::Stdout { SockType::Stream } else { SockType::Datagram };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let made = socket(AddressFamily::Unix, kind, flags, None)?;
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    bind(made.as_raw_fd(), &UnixAddr::new(path)?)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o666))?;
    // Who says something is known by this; a connection has it from its listener.
    setsockopt(&made, sockopt::PassCred, &true)?;
    if purpose == Purpose::Stdout {
        listen(&made, Backlog::MAXCONN)?;
    } else {
        // More than the system's bound is root's right; without it, the bound must do.
        if setsockopt(&made, sockopt::RcvBufForce, &RECEIVE_BYTES).is_err() {
            let _ = setsockopt(&made, sockopt::RcvBuf, &RECEIVE_BYTES);
        }
    }
    Ok(made)
}

/// Lets `/dev/log` lead to the syslog socket, when the sockets are in the appliance's folder.
/// Without it, syslog(3) is silent and all else works.
pub fn link_dev_log(folder: &Path) {
    let target = Path::new(RUNTIME).join(name_of(Purpose::Syslog));
    if folder == Path::new(RUNTIME) && fs::read_link("/dev/log").ok().as_deref() != Some(&target) {
        let _ = fs::remove_file("/dev/log");
        let _ = std::os::unix::fs::symlink(target, "/dev/log");
    }
}

/// Datagrams that may wait in a socket, as systemd sets it; the kernel's own value is 10.
const QUEUE_LENGTH: u32 = 512;

/// Lets more datagrams wait in sockets that are made from now on, when the sockets are in the
/// appliance's folder. Without it, senders wait more often, and those that do not wait lose more.
///
/// # Errors
/// The kernel's setting (ip-sysctl, `net.unix.max_dgram_qlen`) cannot be read or written.
pub fn lengthen_queues(folder: &Path) -> io::Result<()> {
    if folder == Path::new(RUNTIME) { raise(Path::new("/proc/sys/net/unix/max_dgram_qlen")) } else { Ok(()) }
}

fn raise(setting: &Path) -> io::Result<()> {
    let text = fs::read_to_string(setting)?;
    let now: u32 = text.trim().parse().map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    if now < QUEUE_LENGTH { fs::write(setting, QUEUE_LENGTH.to_string()) } else { Ok(()) }
}

/// The path of a socket's name in a folder.
pub(crate) fn name_of(purpose: Purpose) -> &'static str {
    ALL.iter().find(|(known, _)| *known == purpose).map_or("", |(_, name)| name)
}

/// What a socket that was passed is for; `None` for one that is none of the three, such as a
/// connection that an earlier daemon stored.
pub(crate) fn purpose_of(fd: &OwnedFd) -> Option<Purpose> {
    let address: UnixAddr = getsockname(fd.as_raw_fd()).ok()?;
    let name = address.path()?.file_name()?;
    let purpose = ALL.iter().find(|(_, known)| *known == name).map(|(purpose, _)| *purpose)?;
    let listens = getsockopt(fd, sockopt::AcceptConn).unwrap_or(false);
    (listens == (purpose == Purpose::Stdout)).then_some(purpose)
}

/// Where the appliance's segments are, as [`FOLDER`] says.
pub(crate) fn default_folder() -> &'static Path {
    Path::new(FOLDER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_raised_and_never_lowered() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("max_dgram_qlen");
        for (before, after) in [("10\n", "512"), ("512\n", "512\n"), ("4096\n", "4096\n")] {
            fs::write(&path, before).unwrap();
            raise(&path).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), after);
        }
        fs::write(&path, "many").unwrap();
        assert!(raise(&path).is_err());
    }
}
