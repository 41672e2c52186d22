//! Forwarded connections: from the client to here (`-L`, `-D`) and from here to the client (`-R`).

use super::connection::{Entry, Place, Shared};
use super::process::{self, Command, Running};
use crate::config::Gateway;
use russh::server::{ChannelOpenHandle, Handle, Msg};
use russh::{Channel, ChannelOpenFailure, ChannelWriteHalf};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream, lookup_host};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long a connection to somewhere may take to come about.
const CONNECT_MAX: Duration = Duration::from_secs(30);
/// How long what a client sent before it closed its channel may take to go out.
const LINGER: Duration = Duration::from_secs(10);
/// Bytes read at once.
const CHUNK: usize = 32 << 10;
/// What the applet `ssh-stream` says once it is connected.
pub(crate) const CONNECTED: u8 = b'+';

/// Connects to where the client wants, and goes on with that in the background.
pub(super) fn connect(
    shared: &Arc<Shared>,
    place: Place,
    channel: Channel<Msg>,
    to: (String, u16),
    reply: ChannelOpenHandle,
) {
    let (shared, id) = (shared.clone(), channel.id());
    let (_, write) = channel.split();
    let entry = Arc::new(Entry::new(&shared.pressure, None));
    shared.insert(id, entry.clone());
    tokio::spawn(async move {
        let uid = shared.login.get().map_or(0, |login| login.user.account.uid);
        match timeout(CONNECT_MAX, dial(&to.0, to.1, uid)).await {
            Ok(Ok(socket)) => {
                reply.accept().await;
                pump(&entry, &write, socket).await;
            }
            _ => reply.reject(ChannelOpenFailure::ConnectFailed).await,
        }
        shared.remove(id);
        drop(place);
    });
}

async fn dial(host: &str, port: u16, uid: u32) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in lookup_host((host, port)).await? {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        own(&socket, uid)?;
        match socket.connect(address).await {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The socket is the user's, for whoever looks (netfilter's owner match, /proc/net/tcp).
fn own(socket: impl AsFd, uid: u32) -> io::Result<()> {
    Ok(nix::unistd::fchown(socket.as_fd(), Some(nix::unistd::Uid::from_raw(uid)), None)?)
}

/// Copies both ways until both are at their end. When the channel is closed, what the client sent
/// before still goes out.
async fn pump(entry: &Arc<Entry>, write: &ChannelWriteHalf<Msg>, socket: TcpStream) {
    let (mut from, mut to) = socket.into_split();
    let taken = entry.clone();
    let outward = tokio::spawn(async move {
        while let Some(data) = taken.inbox.next().await {
            if to.write_all(&data).await.is_err() {
                break;
            }
        }
        taken.inbox.discard();
        let _ = to.shutdown().await;
    });
    let inward = async {
        let mut buffer = vec![0; CHUNK];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            if write.data_bytes(buffer[..length].to_vec()).await.is_err() {
                break;
            }
        }
        let _ = write.eof().await;
    };
    both(entry, outward, inward).await;
    let _ = write.close().await;
}

/// Waits for both directions, or for the end of the channel and then a while for what goes out.
pub(super) async fn both(entry: &Entry, mut outward: JoinHandle<()>, inward: impl Future<Output = ()>) {
    let whole = async {
        inward.await;
        let _ = (&mut outward).await;
    };
    let closed = tokio::select! {
        () = whole => false,
        () = entry.closed.notified() => true,
    };
    if closed && !outward.is_finished() && timeout(LINGER, &mut outward).await.is_err() {
        outward.abort();
    }
}

/// Connects to a UNIX socket: a process of the user's does, so that its permissions and the
/// credentials that the other side sees are the user's.
pub(super) fn connect_path(
    shared: &Arc<Shared>,
    place: Place,
    channel: Channel<Msg>,
    path: &str,
    reply: ChannelOpenHandle,
) {
    let (shared, id, path) = (shared.clone(), channel.id(), path.to_owned());
    let (_, write) = channel.split();
    let entry = Arc::new(Entry::new(&shared.pressure, None));
    shared.insert(id, entry.clone());
    tokio::spawn(async move {
        match start_stream(&shared, &path) {
            Ok(running) => {
                let running = Arc::new(running);
                let mut first = [0];
                let connected = match running.output() {
                    Some(output) => {
                        matches!(process::read(&output, &mut first).await, Ok(1)) && first[0] == CONNECTED
                    }
                    None => false,
                };
                if connected {
                    reply.accept().await;
                    relay(&entry, &write, &running).await;
                } else {
                    reply.reject(ChannelOpenFailure::ConnectFailed).await;
                }
                running.close();
                running.ended().await;
                running.reap();
            }
            Err(error) => {
                shared.server.log(&format!("no process for a forwarded connection: {error}"));
                reply.reject(ChannelOpenFailure::ConnectFailed).await;
            }
        }
        shared.remove(id);
        drop(place);
    });
}

fn start_stream(shared: &Shared, path: &str) -> io::Result<Running> {
    let login = shared.login.get().ok_or(io::ErrorKind::PermissionDenied)?;
    let scope = login.scope().ok_or(io::ErrorKind::PermissionDenied)?;
    let command = Command {
        path: &shared.server.program,
        arguments: vec!["ssh-stream".into(), path.as_bytes().to_vec()],
        environment: vec![],
        user: &login.user,
        terminal: None,
        passes: false,
    };
    process::start(&command, scope)
}

async fn relay(entry: &Arc<Entry>, write: &ChannelWriteHalf<Msg>, running: &Arc<Running>) {
    let (taken, program) = (entry.clone(), running.clone());
    let outward = tokio::spawn(async move {
        while let Some(data) = taken.inbox.next().await {
            let Some(input) = program.input() else { break };
            if process::write(&input, &data).await.is_err() {
                break;
            }
        }
        taken.inbox.discard();
        program.close_input();
    });
    let inward = async {
        let mut buffer = vec![0; CHUNK];
        let Some(output) = running.output() else { return };
        while let Ok(length @ 1..) = process::read(&output, &mut buffer).await {
            if write.data_bytes(buffer[..length].to_vec()).await.is_err() {
                break;
            }
        }
        let _ = write.eof().await;
    };
    both(entry, outward, inward).await;
    let _ = write.close().await;
}

/// A port that is listened on for a client; no longer when this is dropped.
#[derive(Debug)]
pub(super) struct Listening(Vec<JoinHandle<()>>);

impl Listening {
    /// Whether somebody still listens.
    pub(super) fn open(&self) -> bool {
        self.0.iter().any(|task| !task.is_finished())
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        for task in &self.0 {
            task.abort();
        }
    }
}

/// The addresses for what a client asks for (RFC 4254, section 7.1, and `GatewayPorts`).
fn addresses(gateway: Gateway, wanted: &str) -> io::Result<Vec<IpAddr>> {
    let loopback = vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    let all = vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
    Ok(match (gateway, wanted) {
        (Gateway::No, _) | (Gateway::ClientSpecified, "localhost") => loopback,
        (Gateway::Yes, _) | (Gateway::ClientSpecified, "" | "*") => all,
        (Gateway::ClientSpecified, address) => {
            vec![address.parse().map_err(|_| io::Error::other("not an address"))?]
        }
    })
}

/// Listens for a client; gives the port too, which the kernel chooses for 0.
///
/// # Errors
/// The address or the port cannot be had. One of IPv4 and IPv6 is enough.
pub(super) fn listen(
    shared: &Arc<Shared>,
    gateway: Gateway,
    address: &str,
    port: u16,
    handle: &Handle,
) -> io::Result<(Listening, u16)> {
    let uid = shared.login.get().map_or(0, |login| login.user.account.uid);
    let mut port = port;
    let mut listening = Listening(Vec::new());
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for ip in addresses(gateway, address)? {
        match bind((ip, port).into(), uid) {
            Ok(listener) => {
                port = listener.local_addr()?.port();
                let (shared, handle, address) = (shared.clone(), handle.clone(), address.to_owned());
                listening.0.push(tokio::spawn(accept(shared, handle, address, u32::from(port), listener)));
            }
            Err(error) => last = error,
        }
    }
    if listening.0.is_empty() { Err(last) } else { Ok((listening, port)) }
}

fn bind(address: SocketAddr, uid: u32) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        let socket = TcpSocket::new_v6()?;
        rustix::net::sockopt::set_ipv6_v6only(&socket, true)?;
        socket
    };
    socket.set_reuseaddr(true)?;
    own(&socket, uid)?;
    socket.bind(address)?;
    socket.listen(64)
}

async fn accept(shared: Arc<Shared>, handle: Handle, address: String, port: u32, listener: TcpListener) {
    loop {
        let Ok((socket, from)) = listener.accept().await else {
            // Out of descriptors, most likely; others will end.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let Some(place) = shared.forward_place() else { continue };
        let (shared, handle, address) = (shared.clone(), handle.clone(), address.clone());
        tokio::spawn(async move {
            let _ = socket.set_nodelay(true);
            let ip = from.ip().to_canonical().to_string();
            let opened = handle.channel_open_forwarded_tcpip(address, port, ip, u32::from(from.port())).await;
            let Ok(channel) = opened else { return };
            let id = channel.id();
            let (_, write) = channel.split();
            if let Some(entry) = shared.channel(id) {
                pump(&entry, &write, socket).await;
            }
            shared.remove(id);
            drop(place);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateway_ports_decide_where_a_client_may_listen() {
        let first = |gateway, wanted: &str| addresses(gateway, wanted).unwrap()[0].to_string();
        assert_eq!(first(Gateway::No, "0.0.0.0"), "127.0.0.1");
        assert_eq!(first(Gateway::Yes, "localhost"), "0.0.0.0");
        assert_eq!(first(Gateway::ClientSpecified, "localhost"), "127.0.0.1");
        assert_eq!(first(Gateway::ClientSpecified, ""), "0.0.0.0");
        assert_eq!(first(Gateway::ClientSpecified, "10.1.2.3"), "10.1.2.3");
        assert!(addresses(Gateway::ClientSpecified, "host").is_err());
    }
}
