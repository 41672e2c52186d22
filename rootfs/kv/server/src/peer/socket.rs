//! How a connection between members is made and taken: the one place that knows of TCP.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};

/// A connection.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Host and port of a peer's URL.
///
/// # Errors
/// `InvalidInput` for one that is not `http://HOST:PORT`.
pub fn target(url: &str) -> io::Result<(&str, u16)> {
    let wrong = |why: &str| io::Error::new(io::ErrorKind::InvalidInput, format!("{url}: {why}"));
    let rest = url.strip_prefix("http://").ok_or_else(|| wrong("it must begin with http://"))?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = rest.rsplit_once(':').ok_or_else(|| wrong("it must end with a port"))?;
    let port = port.parse().map_err(|_| wrong("its port must be a number up to 65535"))?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if host.is_empty() || host.contains('/') {
        return Err(wrong("it must be a host and a port"));
    }
    Ok((host, port))
}

/// Connects to a member.
///
/// # Errors
/// The system's; `InvalidInput` for an address that cannot be, or where plain text does not go.
pub async fn connect(url: &str) -> io::Result<Box<dyn Stream>> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, format!("{url}: its host has no address"));
    for address in lookup_host(target(url)?).await? {
        check_plain(address)?;
        match TcpStream::connect(address).await {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(Box::new(stream));
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Takes the connection of a member.
///
/// # Errors
/// The system's.
#[expect(clippy::unused_async, reason = "a handshake belongs here")]
pub async fn accept(stream: TcpStream) -> io::Result<Box<dyn Stream>> {
    stream.set_nodelay(true)?;
    Ok(Box::new(stream))
}

/// Plain text stays on this machine.
fn check_plain(address: SocketAddr) -> io::Result<()> {
    if address.ip().is_loopback() {
        return Ok(());
    }
    let why = format!("{address} is beyond loopback, where plain text is refused");
    Err(io::Error::new(io::ErrorKind::InvalidInput, why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        assert_eq!(target("http://127.0.0.1:2380").unwrap(), ("127.0.0.1", 2380));
        assert_eq!(target("http://[::1]:1/").unwrap(), ("::1", 1));
        for wrong in ["127.0.0.1:1", "http://a", "http://:1", "http://a:b", "http://a:1/b", "https://a:1"] {
            assert!(target(wrong).is_err(), "{wrong}");
        }
        assert!(check_plain("192.0.2.1:1".parse().unwrap()).is_err());
    }
}
