//! How a connection between members is made and taken: the one place that knows of TCP and TLS.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpStream, lookup_host};

use crate::listen::{self, Conn, Tls};

/// How members connect to each other.
#[derive(Clone, Debug, Default)]
pub struct Manner {
    /// What TLS is spoken with.
    pub tls: Option<Arc<Tls>>,
    /// Plain text may leave this machine.
    pub plaintext: bool,
}

/// What a peer's URL says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target<'u> {
    /// Whether TLS is spoken there.
    pub tls: bool,
    /// A name or an address, without brackets.
    pub host: &'u str,
    /// The port.
    pub port: u16,
}

/// Reads a peer's URL.
///
/// # Errors
/// `InvalidInput` for one that is not `http://HOST:PORT` or `https://HOST:PORT`.
pub fn target(url: &str) -> io::Result<Target<'_>> {
    let wrong = |why: &str| io::Error::new(io::ErrorKind::InvalidInput, format!("{url}: {why}"));
    let (tls, rest) = match (url.strip_prefix("http://"), url.strip_prefix("https://")) {
        (Some(rest), _) => (false, rest),
        (_, Some(rest)) => (true, rest),
        _ => return Err(wrong("it must begin with http:// or https://")),
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = rest.rsplit_once(':').ok_or_else(|| wrong("it must end with a port"))?;
    let port = port.parse().map_err(|_| wrong("its port must be a number up to 65535"))?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if host.is_empty() || host.contains('/') {
        return Err(wrong("it must be a host and a port"));
    }
    Ok(Target { tls, host, port })
}

impl Manner {
    /// Connects to a member.
    ///
    /// # Errors
    /// The system's and the handshake's; `InvalidInput` for an address that cannot be, for TLS without
    /// a certificate to show, and where plain text does not go.
    pub async fn connect(&self, url: &str) -> io::Result<Conn> {
        let target = target(url)?;
        let no_tls = || {
            let text = format!("{url} speaks TLS, and this member has no --peer-cert-file to speak it with");
            io::Error::new(io::ErrorKind::InvalidInput, text)
        };
        let tls =
            if target.tls { Some((self.tls.as_deref().ok_or_else(no_tls)?, target.host)) } else { None };
        let mut last = io::Error::new(io::ErrorKind::NotFound, format!("{url}: its host has no address"));
        for address in lookup_host((target.host, target.port)).await? {
            if tls.is_none() {
                self.check_plain(address)?;
            }
            match listen::connect(address, tls).await {
                Ok(connection) => return Ok(connection),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Plain text stays on this machine, unless it was said that it need not.
    fn check_plain(&self, address: SocketAddr) -> io::Result<()> {
        if self.plaintext || address.ip().is_loopback() {
            return Ok(());
        }
        let why = format!(
            "{address} is beyond loopback, where plain text is refused: use https:// with --peer-cert-file, or \
             accept that everyone on the way can read and change all of it with --insecure-plaintext-beyond-loopback"
        );
        Err(io::Error::new(io::ErrorKind::InvalidInput, why))
    }
}

/// Takes the connection of a member.
///
/// # Errors
/// The system's, and the handshake's.
pub async fn accept(stream: TcpStream, tls: Option<&Tls>) -> io::Result<Conn> {
    listen::accept(stream, tls).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        assert_eq!(
            target("http://127.0.0.1:2380").unwrap(),
            Target { tls: false, host: "127.0.0.1", port: 2380 }
        );
        assert_eq!(target("https://[::1]:1/").unwrap(), Target { tls: true, host: "::1", port: 1 });
        for wrong in ["127.0.0.1:1", "http://a", "http://:1", "http://a:b", "http://a:1/b", "ftp://a:1"] {
            assert!(target(wrong).is_err(), "{wrong}");
        }
        let beyond = "192.0.2.1:1".parse().unwrap();
        assert!(Manner::default().check_plain(beyond).is_err());
        assert!(Manner { plaintext: true, ..Manner::default() }.check_plain(beyond).is_ok());
    }
}
