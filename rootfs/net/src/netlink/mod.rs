//! rtnetlink(7): questions and changes on one socket, the kernel's news on another.

pub mod message;
pub mod rule;
pub mod wire;

use message::{Address, Link, Route};
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType};
use nix::sys::socket::{bind, recv, send, setsockopt, socket, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use wire::{Message, Request};

/// `NLMSG_ERROR`
const ERROR: u16 = 2;
/// `NLMSG_DONE`
const DONE: u16 = 3;
/// The kernel's datagrams are at most this long.
const DATAGRAM: usize = 64 << 10;
/// `RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR`: not routes, of which a busy machine has many.
const GROUPS: u32 = 0x1 | 0x10 | 0x100;

/// What the kernel tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// A link is new or other than before.
    Link(Link),
    /// A link is gone.
    LinkGone(u32),
    /// An address is new or other than before.
    Address(Address),
    /// An address is gone.
    AddressGone(Address),
    /// Something was lost: everything must be looked at again.
    Lost,
}

/// The socket for questions and changes.
#[derive(Debug)]
pub struct Handle {
    socket: OwnedFd,
    sequence: u32,
}

impl Handle {
    /// Opens it.
    ///
    /// # Errors
    /// The kernel's.
    pub fn open() -> io::Result<Self> {
        let socket = open(SockFlag::empty())?;
        // The kernel answers at once; a wait without end would be worse than an error.
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::seconds(10))?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Has something done.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn change(&mut self, request: Request) -> io::Result<()> {
        self.ask(request, |_| {})
    }

    /// All links.
    ///
    /// # Errors
    /// The kernel's.
    pub fn links(&mut self) -> io::Result<Vec<Link>> {
        let mut all = Vec::new();
        self.ask(message::list_links(), |found| all.extend(message::parse_link(found.body)))?;
        Ok(all)
    }

    /// All addresses.
    ///
    /// # Errors
    /// The kernel's.
    pub fn addresses(&mut self) -> io::Result<Vec<Address>> {
        let mut all = Vec::new();
        self.ask(message::list_addresses(), |found| all.extend(message::parse_address(found.body)))?;
        Ok(all)
    }

    /// Shows all routes that this service could have made, with their links, one by one: routers make as many
    /// as they like.
    ///
    /// # Errors
    /// The kernel's.
    pub fn each_route(&mut self, mut take: impl FnMut(u32, &Route)) -> io::Result<()> {
        self.ask(message::list_routes(), |found| {
            if let Some((link, route)) = message::parse_route(found.body) {
                take(link, &route);
            }
        })
    }

    /// All rules that this service could have made.
    ///
    /// # Errors
    /// The kernel's.
    pub fn rules(&mut self) -> io::Result<Vec<rule::Rule>> {
        let mut all = Vec::new();
        self.ask(rule::list(), |found| all.extend(rule::parse(found.body)))?;
        Ok(all)
    }

    fn ask(&mut self, request: Request, mut take: impl FnMut(Message<'_>)) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        send(self.socket.as_raw_fd(), &request.finish(self.sequence), MsgFlags::empty())?;
        let mut buffer = vec![0; DATAGRAM];
        loop {
            let length = match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Err(Errno::EINTR) => continue,
                received => received?,
            };
            for found in wire::messages(&buffer[..length]).filter(|found| found.sequence == self.sequence) {
                match found.kind {
                    DONE => return Ok(()),
                    ERROR => {
                        let code = wire::u32_at(found.body, 0).unwrap_or(0).cast_signed();
                        return if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(-code)) };
                    }
                    _ => take(found),
                }
            }
        }
    }
}

/// The socket for news.
#[derive(Debug)]
pub struct Monitor(OwnedFd);

impl Monitor {
    /// Opens it.
    ///
    /// # Errors
    /// The kernel's.
    pub fn open() -> io::Result<Self> {
        let socket = open(SockFlag::SOCK_NONBLOCK)?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, GROUPS))?;
        Ok(Self(socket))
    }

    /// The news of one datagram; none when there is nothing to read.
    pub fn receive(&self) -> Vec<News> {
        let mut buffer = vec![0; DATAGRAM];
        match recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            Ok(length) => wire::messages(&buffer[..length]).filter_map(news).collect(),
            Err(Errno::ENOBUFS) => vec![News::Lost],
            Err(_) => Vec::new(),
        }
    }
}

impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn news(found: Message<'_>) -> Option<News> {
    let body = found.body;
    match found.kind {
        message::NEWLINK if body.first() == Some(&0) => message::parse_link(body).map(News::Link),
        // A port that leaves its bridge says so under the bridge's family.
        message::DELLINK if body.first() == Some(&0) => {
            message::parse_link(body).map(|link| News::LinkGone(link.index))
        }
        message::NEWADDR => message::parse_address(body).map(News::Address),
        message::DELADDR => message::parse_address(body).map(News::AddressGone),
        _ => None,
    }
}

fn open(flags: SockFlag) -> io::Result<OwnedFd> {
    Ok(socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC | flags,
        SockProtocol::NetlinkRoute,
    )?)
}
