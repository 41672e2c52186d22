//! The stub listener: DNS over UDP and TCP for the programs of this machine.

use crate::exchange::{read_message, write_message};
use crate::machine::loopback_is_up;
use crate::resolver::Resolver;
use crate::wire;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Requests over UDP at once; further ones are dropped, and their clients ask again.
const REQUESTS_MAX: usize = 1024;
/// Connections at once; further ones wait.
const CONNECTIONS_MAX: usize = 64;
/// A silent connection ends (RFC 7766 section 6.2.3).
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// A socket on the stub's address, which the loopback must have already: before it comes up the
/// first time the kernel lets the address be bound, but takes it for a broadcast one, and sends
/// replies from 127.0.0.1, which no client takes.
fn socket(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    if !loopback_is_up() {
        return Err(io::ErrorKind::AddrNotAvailable.into());
    }
    let socket = Socket::new(Domain::for_address(address), kind.nonblocking(), Some(protocol))?;
    if kind == Type::STREAM {
        socket.set_reuse_address(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Listens on UDP.
///
/// # Errors
/// The address is taken, or (`AddrNotAvailable`) not there yet.
pub fn listen_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    UdpSocket::from_std(socket(address, Type::DGRAM, Protocol::UDP)?.into())
}

/// Listens on TCP.
///
/// # Errors
/// The address is taken, or (`AddrNotAvailable`) not there yet.
pub fn listen_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket(address, Type::STREAM, Protocol::TCP)?;
    socket.listen(128)?;
    TcpListener::from_std(socket.into())
}

/// Answers datagrams until the socket fails.
///
/// # Errors
/// The socket's.
pub async fn serve_udp(socket: UdpSocket, resolver: Rc<Resolver>) -> io::Result<()> {
    let socket = Rc::new(socket);
    let turns = std::sync::Arc::new(Semaphore::new(REQUESTS_MAX));
    let mut packet = vec![0; 4096];
    loop {
        let (length, client) = match socket.recv_from(&mut packet).await {
            // An ICMP error about an earlier reply: that client is gone.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
            received => received?,
        };
        if !client.ip().is_loopback() {
            continue;
        }
        let Ok(turn) = std::sync::Arc::clone(&turns).try_acquire_owned() else { continue };
        let (socket, resolver) = (Rc::clone(&socket), Rc::clone(&resolver));
        let packet = packet[..length].to_vec();
        tokio::task::spawn_local(async move {
            if let Some(reply) = answer(&resolver, &packet, true).await {
                // A client that does not take its answer asks again.
                let _ = socket.send_to(&reply, client).await;
            }
            drop(turn);
        });
    }
}

/// Answers connections until the listener fails.
///
/// # Errors
/// The listener's.
pub async fn serve_tcp(listener: TcpListener, resolver: Rc<Resolver>) -> io::Result<()> {
    let turns = std::sync::Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(turn) = std::sync::Arc::clone(&turns).acquire_owned().await else { return Ok(()) };
        let (stream, client) = match listener.accept().await {
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
            accepted => accepted?,
        };
        if !client.ip().is_loopback() {
            continue;
        }
        let resolver = Rc::clone(&resolver);
        tokio::task::spawn_local(async move {
            // A broken connection is its client's own trouble.
            let _ = converse(stream, &resolver).await;
            drop(turn);
        });
    }
}

async fn converse(mut stream: TcpStream, resolver: &Rc<Resolver>) -> io::Result<()> {
    while let Ok(packet) = timeout(SILENCE_MAX, read_message(&mut stream)).await {
        let Some(reply) = answer(resolver, &packet?, false).await else { return Ok(()) };
        timeout(SILENCE_MAX, write_message(&mut stream, &reply)).await??;
    }
    Ok(())
}

async fn answer(resolver: &Rc<Resolver>, packet: &[u8], over_udp: bool) -> Option<Vec<u8>> {
    match wire::request(packet) {
        Ok(request) => {
            let resolved = resolver.resolve(&request.question).await;
            wire::reply(&request, &resolved.outcome, over_udp)
        }
        Err(refusal) => refusal,
    }
}
