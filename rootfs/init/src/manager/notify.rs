//! `sd_notify(3)`: messages from services, trusted by the sender's credentials.

use super::Manager;
use crate::engine::{Event, NotifyItem, Role, UnitId};
use crate::unit::config::NotifyAccess;
use crate::unit::{Kind, UnitName};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, UnixAddr, bind, setsockopt, socket, sockopt::PassCred,
};
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

/// The socket behind `$NOTIFY_SOCKET`.
pub(super) struct Socket(OwnedFd);

impl Socket {
    pub(super) fn bind(path: &Path) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let _ = fs::remove_file(path);
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(AddressFamily::Unix, SockType::Datagram, flags, None)?;
        bind(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
        setsockopt(&fd, PassCred, &true)?;
        // Any user's service may write; the credentials tell who it is.
        fs::set_permissions(path, fs::Permissions::from_mode(0o777))?;
        Ok(Self(fd))
    }

    /// The next message with its sender's pid and what came along. Descriptors that nobody keeps
    /// are closed, which also answers `BARRIER=1`.
    fn receive(&self) -> Option<(i32, Vec<u8>, Vec<OwnedFd>)> {
        loop {
            let mut bytes = vec![0_u8; 4096];
            let message = sys::message::receive(self.0.as_fd(), &mut bytes).ok()?;
            if let Some(pid) = message.pid.filter(|_| !message.is_cut) {
                bytes.truncate(message.count);
                return Some((pid, bytes, message.descriptors));
            }
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The assignments of a message that mean something here.
pub(super) fn parse(message: &[u8]) -> Vec<NotifyItem> {
    let text = String::from_utf8_lossy(message);
    let us = |value: &str| value.parse().ok().map(Duration::from_micros);
    text.lines()
        .filter_map(|line| {
            let (key, value) = line.split_once('=')?;
            Some(match (key, value) {
                ("READY", "1") => NotifyItem::Ready,
                ("RELOADING", "1") => NotifyItem::Reloading,
                ("STOPPING", "1") => NotifyItem::Stopping,
                ("STATUS", text) => NotifyItem::Status(text.chars().take(1024).collect()),
                ("MAINPID", pid) => NotifyItem::MainPid(pid.parse().ok().filter(|pid| *pid > 1)?),
                ("WATCHDOG", "1") => NotifyItem::Watchdog,
                ("WATCHDOG", "trigger") => NotifyItem::WatchdogTrigger,
                ("WATCHDOG_USEC", value) => NotifyItem::WatchdogInterval(us(value)?),
                ("EXTEND_TIMEOUT_USEC", value) => NotifyItem::ExtendTimeout(us(value)?),
                _ => return None,
            })
        })
        .collect()
}

impl Manager {
    pub(super) fn notifications_came(&mut self) {
        while let Some((pid, message, descriptors)) = self.notify.receive() {
            let Some((unit, role)) = self.unit_of_process(pid) else { continue };
            let access = self.engine.unit(unit).service.as_ref().map(|service| service.notify_access());
            let allowed = match access {
                Some(NotifyAccess::All) => true,
                Some(NotifyAccess::Exec) => role.is_some(),
                Some(NotifyAccess::Main) => role == Some(Role::Main),
                Some(NotifyAccess::None) | None => false,
            };
            if !allowed {
                self.tell(
                    Some(unit),
                    5,
                    &format!("notification of process {pid} is not allowed (NotifyAccess=)"),
                );
                continue;
            }
            self.keep_descriptors(unit, &message, descriptors);
            let mut items = parse(&message);
            items.retain(|item| match item {
                NotifyItem::MainPid(main) => self.adopt_main(unit, *main),
                _ => true,
            });
            self.events.push_back((unit, Event::Notify(items)));
            self.settle(); // READY= of one before STOPPING= of another, as they came
        }
    }

    /// `FDSTORE=1`, `FDNAME=`, `FDPOLL=`, `FDSTOREREMOVE=1`.
    fn keep_descriptors(&mut self, unit: UnitId, message: &[u8], descriptors: Vec<OwnedFd>) {
        let text = String::from_utf8_lossy(message);
        let value = |key: &str| {
            text.lines().find_map(|line| line.strip_prefix(key).and_then(|rest| rest.strip_prefix('=')))
        };
        let fits =
            |name: &&str| name.len() < 256 && name.chars().all(|c| (' '..='~').contains(&c) && c != ':');
        let name = value("FDNAME").filter(fits);
        if value("FDSTOREREMOVE") == Some("1") {
            if let Some(name) = name {
                self.drop_stored(unit, Some(name));
            }
        } else if value("FDSTORE") == Some("1") {
            self.store_descriptors(unit, name.unwrap_or("stored"), value("FDPOLL") != Some("0"), descriptors);
        }
    }

    /// The unit of a process, and what it is there if it is one of those started here.
    pub(super) fn unit_of_process(&self, pid: i32) -> Option<(UnitId, Option<Role>)> {
        if let Some((unit, role)) = self.processes.find(pid) {
            return Some((unit, Some(role)));
        }
        let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        let path = text.lines().find_map(|line| line.strip_prefix("0::"))?;
        // Behind the slices, which are below whatever the whole tree is mounted under.
        let names = path.split('/').filter_map(|part| UnitName::parse(part).ok());
        let mut below =
            names.skip_while(|name| name.kind() != Kind::Slice).filter(|name| name.kind() != Kind::Slice);
        below.find_map(|name| self.engine.find(&name)).map(|unit| (unit, None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages() {
        assert_eq!(
            parse(b"READY=1\nSTATUS=up & well\nMAINPID=1\nX_OWN=1\nWATCHDOG_USEC=5\nWATCHDOG=1"),
            [
                NotifyItem::Ready,
                NotifyItem::Status("up & well".into()),
                NotifyItem::WatchdogInterval(Duration::from_micros(5)),
                NotifyItem::Watchdog
            ]
        );
        assert_eq!(parse(b"\xff\xfe=1"), []);
    }
}
