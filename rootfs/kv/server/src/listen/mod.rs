//! Connections of clients and of peers, in plain text or in TLS. [`bind`] takes an address,
//! [`incoming`] gives what arrives there, with the TLS handshakes done: each in a task of its own, so
//! that one who connects and says nothing stops nobody. [`accept`] and [`connect`] do one
//! connection, for who needs no stream of them. Whose certificate it was is [`Peer`], which
//! goes with each request: [`peer_common_name`].

mod authority;
mod conn;
mod files;
pub mod flags;
mod name;
mod tls;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;

use authority::Lenient;
pub use conn::{Conn, Peer, peer_common_name};
pub use files::{FileError, Files};
pub use tls::Tls;

use crate::error::Error;

/// What is served.
pub trait Connection:
    AsyncRead + AsyncWrite + Connected<ConnectInfo = Peer> + Unpin + Send + 'static
{
}
impl<C: AsyncRead + AsyncWrite + Connected<ConnectInfo = Peer> + Unpin + Send + 'static> Connection for C {}

/// How long a client may take for its handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Handshakes that are under way at once; who comes then waits in the kernel's queue.
const HANDSHAKES: usize = 256;
/// How long it is waited after the system could not give a connection (no descriptors are left).
const BREATH: Duration = Duration::from_millis(100);

/// Where is listened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The address.
    pub address: SocketAddr,
    /// Whether TLS is spoken there.
    pub tls: bool,
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}", if self.tls { "https" } else { "http" }, self.address)
    }
}

/// A socket that listens.
#[derive(Debug)]
pub struct Listener {
    pub(crate) socket: TcpListener,
    pub(crate) tls: Option<Arc<Tls>>,
}

impl Listener {
    /// What it is reached by.
    ///
    /// # Errors
    /// The system's.
    pub fn endpoint(&self) -> io::Result<Endpoint> {
        Ok(Endpoint { address: self.socket.local_addr()?, tls: self.tls.is_some() })
    }
}

/// Listens at an address; `flag` is the one that has named it.
///
/// # Errors
/// [`Error::Io`]: the address cannot be had.
pub async fn bind(endpoint: Endpoint, tls: Option<&Arc<Tls>>, flag: &str) -> Result<Listener, Error> {
    let doing = || format!("listen on {endpoint} (--{flag})");
    let socket = TcpListener::bind(endpoint.address).await;
    let socket = socket.map_err(|source| Error::Io { doing: doing(), source })?;
    Ok(Listener { socket, tls: tls.filter(|_| endpoint.tls).cloned() })
}

/// The connections that arrive, until the stream is dropped.
pub fn incoming(listener: Listener) -> ReceiverStream<io::Result<impl Connection>> {
    let (send, connections) = mpsc::channel(1);
    tokio::spawn(async move {
        let room = Arc::new(Semaphore::new(HANDSHAKES));
        loop {
            // The semaphore is never closed.
            let Ok(room) = Arc::clone(&room).acquire_owned().await else { return };
            let accepted = tokio::select! {
                accepted = listener.socket.accept() => accepted,
                () = send.closed() => return,
            };
            let Ok((stream, _)) = accepted else {
                // One that broke off, or the process has no descriptors left: later ones may do.
                tokio::time::sleep(BREATH).await;
                continue;
            };
            let (send, tls) = (send.clone(), listener.tls.clone());
            tokio::spawn(async move {
                let _room = room;
                // A client that fails is told so by TLS itself.
                if let Ok(connection) = accept(stream, tls.as_deref()).await {
                    // The server may be ending.
                    let _ = send.send(Ok(Lenient::new(connection))).await;
                }
            });
        }
    });
    ReceiverStream::new(connections)
}

/// Does the server's side of a handshake, with TLS or without.
///
/// # Errors
/// The handshake's; [`io::ErrorKind::TimedOut`] after ten seconds.
pub async fn accept(stream: TcpStream, tls: Option<&Tls>) -> io::Result<Conn> {
    stream.set_nodelay(true)?;
    let Some(tls) = tls else { return Ok(Conn::plain(stream)) };
    tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await?
}

/// Connects, with TLS under the name of a server or without.
///
/// # Errors
/// The system's and the handshake's; [`io::ErrorKind::TimedOut`] after ten seconds each.
pub async fn connect(address: SocketAddr, tls: Option<(&Tls, &str)>) -> io::Result<Conn> {
    let stream = tokio::time::timeout(HANDSHAKE, TcpStream::connect(address)).await??;
    stream.set_nodelay(true)?;
    let Some((tls, host)) = tls else { return Ok(Conn::plain(stream)) };
    tokio::time::timeout(HANDSHAKE, tls.connect(stream, host)).await?
}
