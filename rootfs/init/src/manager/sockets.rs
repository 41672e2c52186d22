//! Listening sockets of `.socket` units, connections for their instances, and the descriptors that
//! services keep here (`sd_listen_fds(3)`, `FDSTORE=1` of `sd_notify(3)`).

use super::poll::Source;
use super::{Manager, accounts, now};
use crate::engine::{Edge, Event, UnitId};
use crate::unit::Relation;
use crate::unit::config::{Preserve, Special};
use crate::unit::socket::{Address, BindIpv6Only, ListenKind, Socket, instance};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::epoll::EpollFlags;
use nix::sys::socket::{
    AddressFamily, Backlog, MsgFlags, SockFlag, SockType, SockaddrIn, SockaddrIn6, SockaddrLike as _,
    UnixAddr, bind, listen, recv, setsockopt, socket, sockopt,
};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use std::collections::HashMap;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt, PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

/// Why a socket is not there.
#[derive(Debug, thiserror::Error)]
enum SocketError {
    #[error("user {0} does not exist")]
    User(String),
    #[error("group {0} does not exist")]
    Group(String),
    #[error("{0}: {1}")]
    Listen(String, io::Error),
    #[error("{0}={1}: {2}")]
    Option(&'static str, String, nix::Error),
}

/// A descriptor kept for a service.
struct Stored {
    name: String,
    fd: OwnedFd,
    /// Its token, where the loop watches for its far end to hang up.
    token: Option<u64>,
}

/// All that listens or is kept.
#[derive(Default)]
pub(super) struct Sockets {
    listening: HashMap<UnitId, Vec<(OwnedFd, Option<u64>)>>,
    /// Of instances: the connection, and what `$REMOTE_ADDR` and `$REMOTE_PORT` are.
    connections: HashMap<UnitId, (OwnedFd, Option<SocketAddr>)>,
    stored: HashMap<UnitId, Vec<Stored>>,
    accepted: u64,
}

/// Connections refused or accepted in one go; the rest is told again.
const MAX_AT_ONCE: usize = 64;

/// Makes the folders above a path.
fn make_parents(path: &Path, mode: u32) -> io::Result<()> {
    let Some(parent) = path.parent() else { return Ok(()) };
    fs::DirBuilder::new().recursive(true).mode(mode).create(parent)
}

fn own(path: &Path, socket: &Socket, owner: (Option<u32>, Option<u32>)) -> io::Result<()> {
    chown(path, owner.0, owner.1)?;
    fs::set_permissions(path, fs::Permissions::from_mode(socket.mode))
}

fn fifo(path: &Path, config: &Socket, owner: (Option<u32>, Option<u32>)) -> io::Result<OwnedFd> {
    make_parents(path, config.directory_mode)?;
    match mkfifo(path, Mode::from_bits_truncate(config.mode)) {
        Err(error) if error != nix::Error::EEXIST => return Err(error.into()),
        _ => {}
    }
    let flags = (OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_NOCTTY).bits();
    // Opened for writing too, so that it never shows an end of file.
    let file = fs::OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.file_type().is_fifo() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "it is there and is no FIFO"));
    }
    own(path, config, owner)?;
    Ok(file.into())
}

impl Manager {
    /// Opens every socket of the unit, or none.
    pub(super) fn open_sockets(&mut self, id: UnitId) {
        let unit = self.engine.unit(id);
        let Special::Socket(config) = &unit.special else { return };
        let config = config.clone();
        let good = self.sockets.listening.contains_key(&id)
            || match open_all(&config) {
                Ok(fds) => {
                    self.sockets.listening.insert(id, fds.into_iter().map(|fd| (fd, None)).collect());
                    true
                }
                Err(error) => {
                    self.tell(Some(id), 3, &format!("cannot listen: {error}"));
                    false
                }
            };
        self.events.push_back((id, Event::Opened(good)));
    }

    /// Watches for traffic, or no longer.
    pub(super) fn listen(&mut self, id: UnitId, on: bool) {
        for (fd, token) in self.sockets.listening.get_mut(&id).into_iter().flatten() {
            match (on, token.take()) {
                (true, None) => *token = self.poll.add(fd, Source::Socket(id)).ok(),
                (true, watched) => *token = watched,
                (false, Some(watched)) => self.poll.remove(fd, watched),
                (false, None) => {}
            }
        }
    }

    pub(super) fn close_sockets(&mut self, id: UnitId) {
        self.listen(id, false);
        self.sockets.listening.remove(&id);
        if let Special::Socket(config) = &self.engine.unit(id).special
            && config.remove_on_stop
        {
            let paths = config.listen.iter().filter_map(|(_, address)| match address {
                Address::Path(path) => Some(path),
                _ => None,
            });
            for path in paths.chain(&config.symlinks) {
                let _ = fs::remove_file(path); // it may be gone already
            }
        }
    }

    /// Takes what waits and drops it.
    pub(super) fn flush_sockets(&mut self, id: UnitId) {
        let Special::Socket(config) = &self.engine.unit(id).special else { return };
        let Some(fds) = self.sockets.listening.get(&id) else { return };
        for ((fd, _), (kind, _)) in fds.iter().zip(&config.listen) {
            for _ in 0..MAX_AT_ONCE {
                let mut bytes = [0_u8; 4096];
                let more = match kind {
                    ListenKind::Stream | ListenKind::SequentialPacket => accept(fd).is_ok(),
                    ListenKind::Datagram => {
                        recv(fd.as_raw_fd(), &mut bytes, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_TRUNC).is_ok()
                    }
                    ListenKind::Fifo => nix::unistd::read(fd, &mut bytes).is_ok_and(|count| count > 0),
                };
                if !more {
                    break;
                }
            }
        }
    }

    /// Takes a connection and starts the instance for it.
    pub(super) fn accept_connection(&mut self, id: UnitId) {
        let fds = self.sockets.listening.get(&id).into_iter().flatten();
        let Some((fd, local, peer)) = fds.into_iter().find_map(|(fd, _)| accept(fd).ok()) else { return };
        let unit = self.engine.unit(id);
        let Special::Socket(config) = &unit.special else { return };
        let (config, own_name) = (config.clone(), unit.name.clone());
        self.sockets.accepted += 1;
        let unix = if peer.is_some() { (0, 0) } else { credentials(&fd) };
        let instance = instance(self.sockets.accepted, local, peer, unix);
        let name = config.triggers(&own_name).and_then(|template| template.instantiate(&instance).ok());
        let Some(name) = name else {
            return self.tell(Some(id), 4, &format!("no unit name for a connection: {instance}"));
        };
        if let Err(error) = connection_options(&fd, &config, peer.is_some()) {
            self.tell(Some(id), 4, &format!("connection {instance}: {error}"));
        }
        let service = self.load(&name);
        self.sockets.connections.insert(service, (fd, peer));
        self.ephemeral.insert(service);
        if let Err(error) = self.engine.accepted(id, service, now()) {
            self.sockets.connections.remove(&service);
            self.tell(Some(id), 3, &format!("connection {instance} is closed: {error}"));
        }
    }

    /// The descriptors for the main process of a service, each with its name.
    pub(super) fn descriptors_for(&self, id: UnitId) -> Vec<(String, &OwnedFd)> {
        let mut found: Vec<(String, &OwnedFd)> = Vec::new();
        if self.engine.unit(id).name.as_str() == super::log::DAEMON {
            found.extend(self.log.descriptors());
        }
        if let Some((fd, _)) = self.sockets.connections.get(&id) {
            found.push(("connection".into(), fd));
        }
        for socket in self.engine.edges(id, Edge::From(Relation::Triggers)) {
            let unit = self.engine.unit(*socket);
            let Special::Socket(config) = &unit.special else { continue };
            let fds = self.sockets.listening.get(socket).into_iter().flatten();
            found.extend(fds.map(|(fd, _)| (config.descriptor_name(&unit.name).to_owned(), fd)));
        }
        let stored = self.sockets.stored.get(&id).into_iter().flatten();
        found.extend(stored.map(|stored| (stored.name.clone(), &stored.fd)));
        found
    }

    /// The socket that `StandardInput=socket` means: the connection, else the first that listens.
    pub(super) fn standard_socket(&self, id: UnitId) -> Option<&OwnedFd> {
        self.descriptors_for(id).first().map(|(_, fd)| *fd)
    }

    /// The far end of the connection that an instance is for.
    pub(super) fn peer_of(&self, id: UnitId) -> Option<SocketAddr> {
        self.sockets.connections.get(&id).and_then(|(_, peer)| *peer)
    }

    /// Keeps descriptors for a service, as far as `FileDescriptorStoreMax=` allows.
    pub(super) fn store_descriptors(&mut self, id: UnitId, name: &str, poll: bool, fds: Vec<OwnedFd>) {
        let Some(service) = self.engine.unit(id).service.as_deref() else { return };
        let most = service.store_max as usize;
        for fd in fds {
            let kept = self.sockets.stored.entry(id).or_default();
            if kept.len() >= most {
                return self.tell(Some(id), 4, &format!("FileDescriptorStoreMax={most} is reached"));
            }
            // A regular file cannot be watched and never hangs up.
            let token = if poll {
                self.poll.add_flags(&fd, EpollFlags::empty(), Source::Stored(id)).ok()
            } else {
                None
            };
            kept.push(Stored { name: name.to_owned(), fd, token });
        }
    }

    /// Drops the stored descriptors of a name; of all without one.
    pub(super) fn drop_stored(&mut self, id: UnitId, name: Option<&str>) {
        let Some(kept) = self.sockets.stored.get_mut(&id) else { return };
        let (gone, stay) = std::mem::take(kept)
            .into_iter()
            .partition::<Vec<_>, _>(|stored| name.is_none_or(|name| stored.name == name));
        *kept = stay;
        if kept.is_empty() {
            self.sockets.stored.remove(&id);
        }
        for stored in gone {
            if let Some(token) = stored.token {
                self.poll.remove(&stored.fd, token);
            }
        }
    }

    /// The far end of a stored descriptor hung up: it is of no more use.
    pub(super) fn stored_hung_up(&mut self, id: UnitId) {
        let Some(kept) = self.sockets.stored.get_mut(&id) else { return };
        let (stay, gone) = std::mem::take(kept)
            .into_iter()
            .partition::<Vec<_>, _>(|stored| stored.token.is_none() || !hung_up(&stored.fd));
        *kept = stay;
        for stored in gone {
            if let Some(token) = stored.token {
                self.poll.remove(&stored.fd, token);
            }
        }
    }

    /// A service is down: its connection is closed, and what it stored is dropped unless it will
    /// be started again.
    pub(super) fn release_descriptors(&mut self, id: UnitId, will_restart: bool) {
        if !will_restart {
            self.sockets.connections.remove(&id);
        }
        let preserve = self.engine.unit(id).service.as_deref().map(|service| service.store_preserve);
        match preserve {
            Some(Preserve::Yes) => {}
            Some(Preserve::Restart) if will_restart => {}
            _ => self.drop_stored(id, None),
        }
    }

    /// Where a socket unit listens, for people.
    pub(super) fn listens(&self, id: UnitId) -> Vec<String> {
        match &self.engine.unit(id).special {
            Special::Socket(config) => config.listen.iter().map(|(_, address)| address.to_string()).collect(),
            _ => Vec::new(),
        }
    }

    /// How many descriptors are kept for a service.
    pub(super) fn stored_count(&self, id: UnitId) -> usize {
        self.sockets.stored.get(&id).map_or(0, Vec::len)
    }
}

/// Makes descriptors non-blocking, or blocking (`NonBlocking=`).
pub(super) fn set_blocking(fd: &OwnedFd, blocking: bool) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    let wanted = if blocking { flags - OFlag::O_NONBLOCK } else { flags | OFlag::O_NONBLOCK };
    if wanted != flags {
        fcntl(fd, FcntlArg::F_SETFL(wanted))?;
    }
    Ok(())
}

fn hung_up(fd: &OwnedFd) -> bool {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let mut one = [PollFd::new(fd.as_fd(), PollFlags::empty())];
    let ended = PollFlags::POLLHUP | PollFlags::POLLERR;
    poll(&mut one, PollTimeout::ZERO).is_ok()
        && one[0].revents().is_some_and(|events| events.intersects(ended))
}

/// Pid and user of the far end of a UNIX connection.
fn credentials(fd: &OwnedFd) -> (i32, u32) {
    nix::sys::socket::getsockopt(fd, sockopt::PeerCredentials)
        .map_or((0, 0), |credentials| (credentials.pid(), credentials.uid()))
}

type Accepted = (OwnedFd, Option<SocketAddr>, Option<SocketAddr>);

/// A connection with the addresses of both ends, where they have such.
fn accept(fd: &OwnedFd) -> io::Result<Accepted> {
    let fd = fd.try_clone()?;
    let family = nix::sys::socket::getsockname::<nix::sys::socket::SockaddrStorage>(fd.as_raw_fd())?.family();
    if family == Some(AddressFamily::Unix) {
        let (stream, _) = UnixListener::from(fd).accept()?;
        return Ok((stream.into(), None, None));
    }
    let (stream, peer) = TcpListener::from(fd).accept()?;
    let local = stream.local_addr().ok();
    Ok((stream.into(), local, Some(peer)))
}

fn open_all(config: &Socket) -> Result<Vec<OwnedFd>, SocketError> {
    let user =
        config.user.as_ref().map(|name| accounts::user(name).ok_or_else(|| SocketError::User(name.clone())));
    let user = user.transpose()?;
    let group = match &config.group {
        Some(name) => Some(accounts::group(name).ok_or_else(|| SocketError::Group(name.clone()))?),
        None => user.as_ref().map(|user| user.gid),
    };
    let owner = (user.map(|user| user.uid), group);
    let mut fds = Vec::new();
    for (kind, address) in &config.listen {
        let listen = |error: io::Error| SocketError::Listen(address.to_string(), error);
        let fd = match (kind, address) {
            (ListenKind::Fifo, Address::Path(path)) => fifo(path, config, owner).map_err(listen)?,
            _ => open_one(*kind, address, config, owner)?,
        };
        if let Address::Path(path) = address {
            for link in &config.symlinks {
                let made = make_parents(link, config.directory_mode).and_then(|()| {
                    if link.is_symlink() {
                        fs::remove_file(link)?;
                    }
                    symlink(path, link)
                });
                made.map_err(|error| SocketError::Listen(link.display().to_string(), error))?;
            }
        }
        fds.push(fd);
    }
    Ok(fds)
}

fn open_one(
    kind: ListenKind,
    address: &Address,
    config: &Socket,
    owner: (Option<u32>, Option<u32>),
) -> Result<OwnedFd, SocketError> {
    let listen_error = |error: io::Error| SocketError::Listen(address.to_string(), error);
    let system = |error: nix::Error| SocketError::Listen(address.to_string(), error.into());
    let kind_of = match kind {
        ListenKind::Datagram => SockType::Datagram,
        ListenKind::SequentialPacket => SockType::SeqPacket,
        _ => SockType::Stream,
    };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let new = |family| socket(family, kind_of, flags, None);
    let fd = match address {
        Address::Path(path) => {
            make_parents(path, config.directory_mode).map_err(listen_error)?;
            // One of an earlier run: nobody listens there any more, or somebody else's is replaced,
            // as systemd does.
            if fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket()) {
                fs::remove_file(path).map_err(listen_error)?;
            }
            let fd = new(AddressFamily::Unix).map_err(system)?;
            bind(fd.as_raw_fd(), &UnixAddr::new(path).map_err(system)?).map_err(system)?;
            own(path, config, owner).map_err(listen_error)?;
            fd
        }
        Address::Abstract(name) => {
            let fd = new(AddressFamily::Unix).map_err(system)?;
            bind(fd.as_raw_fd(), &UnixAddr::new_abstract(name.as_bytes()).map_err(system)?)
                .map_err(system)?;
            fd
        }
        Address::Ip(SocketAddr::V4(at)) => bind_ip(new(AddressFamily::Inet), (*at).into(), config, address)?,
        Address::Ip(SocketAddr::V6(at)) => bind_ip(new(AddressFamily::Inet6), (*at).into(), config, address)?,
        Address::Port(port) => match new(AddressFamily::Inet6) {
            // A kernel without IPv6.
            Err(nix::Error::EAFNOSUPPORT) => {
                bind_ip(new(AddressFamily::Inet), (Ipv4Addr::UNSPECIFIED, *port).into(), config, address)?
            }
            fd => bind_ip(fd, (Ipv6Addr::UNSPECIFIED, *port).into(), config, address)?,
        },
    };
    let option = |name, text: String| move |error| SocketError::Option(name, text, error);
    if config.pass_credentials && matches!(address, Address::Path(_) | Address::Abstract(_)) {
        setsockopt(&fd, sockopt::PassCred, &true).map_err(option("PassCredentials", "yes".into()))?;
    }
    if let Some(bytes) = config.receive_buffer {
        setsockopt(&fd, sockopt::RcvBufForce, &bytes).map_err(option("ReceiveBuffer", bytes.to_string()))?;
    }
    if let Some(bytes) = config.send_buffer {
        setsockopt(&fd, sockopt::SndBufForce, &bytes).map_err(option("SendBuffer", bytes.to_string()))?;
    }
    if kind != ListenKind::Datagram {
        let most = i32::try_from(config.backlog).unwrap_or(i32::MAX);
        let backlog = Backlog::new(most).unwrap_or(Backlog::MAXCONN);
        listen(&fd, backlog).map_err(system)?;
    }
    Ok(fd)
}

fn bind_ip(
    fd: nix::Result<OwnedFd>,
    at: SocketAddr,
    config: &Socket,
    address: &Address,
) -> Result<OwnedFd, SocketError> {
    let system = |error: nix::Error| SocketError::Listen(address.to_string(), error.into());
    let fd = fd.map_err(system)?;
    let option = |name, text: String| move |error| SocketError::Option(name, text, error);
    let yes = |name| option(name, "yes".into());
    setsockopt(&fd, sockopt::ReuseAddr, &true).map_err(yes("ReuseAddr"))?;
    if at.is_ipv6() && config.ipv6_only != BindIpv6Only::Default {
        let only = config.ipv6_only == BindIpv6Only::Ipv6Only;
        setsockopt(&fd, sockopt::Ipv6V6Only, &only).map_err(yes("BindIPv6Only"))?;
    }
    if config.reuse_port {
        setsockopt(&fd, sockopt::ReusePort, &true).map_err(yes("ReusePort"))?;
    }
    if config.free_bind {
        // The kernel looks at the IPv4 option for IPv6 sockets too: ip(7), IP_FREEBIND.
        setsockopt(&fd, sockopt::IpFreebind, &true).map_err(yes("FreeBind"))?;
    }
    if config.transparent {
        setsockopt(&fd, sockopt::IpTransparent, &true).map_err(yes("Transparent"))?;
    }
    if config.broadcast {
        setsockopt(&fd, sockopt::Broadcast, &true).map_err(yes("Broadcast"))?;
    }
    if let Some(device) = &config.device {
        let name = std::ffi::OsString::from(device);
        setsockopt(&fd, sockopt::BindToDevice, &name).map_err(option("BindToDevice", device.clone()))?;
    }
    if let Some(priority) = config.priority {
        setsockopt(&fd, sockopt::Priority, &priority).map_err(option("Priority", priority.to_string()))?;
    }
    if let Some(mark) = config.mark {
        setsockopt(&fd, sockopt::Mark, &mark).map_err(option("Mark", mark.to_string()))?;
    }
    match at {
        SocketAddr::V4(at) => bind(fd.as_raw_fd(), &SockaddrIn::from(at)),
        SocketAddr::V6(at) => bind(fd.as_raw_fd(), &SockaddrIn6::from(at)),
    }
    .map_err(system)?;
    // What the kernel passes on to accepted connections.
    let is_stream = nix::sys::socket::getsockopt(&fd, sockopt::SockType) == Ok(SockType::Stream);
    connection_options(&fd, config, is_stream)?;
    Ok(fd)
}

/// Options of TCP connections.
fn connection_options(fd: &OwnedFd, config: &Socket, is_tcp: bool) -> Result<(), SocketError> {
    if !is_tcp {
        return Ok(());
    }
    let option = |name, text: String| move |error| SocketError::Option(name, text, error);
    let seconds = |span: Duration| u32::try_from(span.as_secs().max(1)).unwrap_or(u32::MAX);
    if config.keep_alive {
        setsockopt(fd, sockopt::KeepAlive, &true).map_err(option("KeepAlive", "yes".into()))?;
    }
    if let Some(span) = config.keep_alive_time {
        let error = option("KeepAliveTimeSec", format!("{span:?}"));
        setsockopt(fd, sockopt::TcpKeepIdle, &seconds(span)).map_err(error)?;
    }
    if let Some(span) = config.keep_alive_interval {
        let error = option("KeepAliveIntervalSec", format!("{span:?}"));
        setsockopt(fd, sockopt::TcpKeepInterval, &seconds(span)).map_err(error)?;
    }
    if let Some(count) = config.keep_alive_probes {
        setsockopt(fd, sockopt::TcpKeepCount, &count)
            .map_err(option("KeepAliveProbes", count.to_string()))?;
    }
    if config.no_delay {
        setsockopt(fd, sockopt::TcpNoDelay, &true).map_err(option("NoDelay", "yes".into()))?;
    }
    Ok(())
}

/// The names for `$LISTEN_FDNAMES`.
pub(super) fn names(descriptors: &[(String, &OwnedFd)]) -> String {
    descriptors.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(":")
}
