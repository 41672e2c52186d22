//! TLS with files that may change: before each handshake it is looked whether they have, and then
//! they are read anew. While new ones cannot be used (a certificate is there before its key), the
//! old ones serve on.

use std::io;
use std::sync::{Mutex, PoisonError};

use tls::rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use super::conn::Conn;
use super::files::{Configs, FileError, Files, Stamp};
use crate::metrics::TLS_RELOADS_FAILED;

/// Certificates and whom to trust, as the files have it.
pub struct Tls {
    files: Files,
    loaded: Mutex<([Option<Stamp>; 3], Configs)>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the files for the first time.
    ///
    /// # Errors
    /// One of them cannot be used.
    pub fn new(files: Files) -> Result<Self, FileError> {
        // Looked at first: a change while they are read is seen by the next handshake.
        let stamps = files.stamps();
        let configs = files.load()?;
        Ok(Self { files, loaded: Mutex::new((stamps, configs)) })
    }

    fn current(&self) -> Configs {
        let stamps = self.files.stamps();
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if loaded.0 != stamps {
            match self.files.load() {
                Ok(configs) => *loaded = (stamps, configs),
                // The files are of some kilobytes; whoever mends them changes them again.
                Err(_) => {
                    TLS_RELOADS_FAILED.add(1);
                    loaded.0 = stamps;
                }
            }
        }
        loaded.1.clone()
    }

    pub(super) async fn accept(&self, stream: TcpStream) -> io::Result<Conn> {
        let stream = TlsAcceptor::from(self.current().server).accept(stream).await?;
        Ok(Conn::tls(TlsStream::Server(stream)))
    }

    pub(super) async fn connect(&self, stream: TcpStream, host: &str) -> io::Result<Conn> {
        let no_trust = || {
            let text = format!("nobody vouches for {host}: --{}trusted-ca-file is wanted", self.files.prefix);
            io::Error::new(io::ErrorKind::InvalidInput, text)
        };
        let client = self.current().client.ok_or_else(no_trust)?;
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let stream = TlsConnector::from(client).connect(name, stream).await?;
        Ok(Conn::tls(TlsStream::Client(stream)))
    }
}
