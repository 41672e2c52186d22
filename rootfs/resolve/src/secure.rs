//! DNS over TLS (RFC 7858): a connection to a server is kept while questions follow each other.

use crate::config::Tls;
use crate::exchange::{Answered, ExchangeError, read_message, write_message};
use crate::wire::{self, Question};
use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tls::rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use tls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tls::rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tls::{Fault, Trust};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// The port of plain DNS, and what stands for it over TLS (RFC 7858 section 3.1).
const PORTS: (u16, u16) = (53, 853);
/// So long a connection waits for the next question; servers close theirs after some seconds too.
const IDLE: Duration = Duration::from_secs(5);
/// Opportunistic: a server without TLS is not tried with it again for so long.
const PLAIN: Duration = Duration::from_mins(10);

/// Connections to servers by TLS.
pub struct Secure {
    opportunistic: bool,
    trust: Trust,
    config: Arc<ClientConfig>,
    idle: RefCell<HashMap<SocketAddr, (TlsStream<TcpStream>, Instant)>>,
    plain_until: RefCell<HashMap<SocketAddr, Instant>>,
}

impl Secure {
    /// What a configuration asks for; nothing for plain DNS.
    ///
    /// # Errors
    /// Nobody can be trusted: the machine's bundle of authorities is damaged.
    pub fn of(mode: Tls) -> Result<Option<Self>, String> {
        let opportunistic = match mode {
            Tls::No => return Ok(None),
            Tls::Opportunistic => true,
            Tls::Yes => false,
        };
        // Whoever is not verified needs no authorities.
        let trust = if opportunistic {
            Trust::BuiltIn
        } else {
            Trust::of_machine().map_err(|error| error.to_string())?
        };
        Self::with(opportunistic, trust).map(Some)
    }

    /// With these authorities; `opportunistic`: with anybody's certificate.
    ///
    /// # Errors
    /// The provider of cryptography has no version of TLS.
    pub fn with(opportunistic: bool, trust: Trust) -> Result<Self, String> {
        let mut config = tls::client(&trust).map_err(|error| error.to_string())?;
        if opportunistic {
            config.dangerous().set_certificate_verifier(Arc::new(Anybody));
        }
        config.alpn_protocols = vec![b"dot".to_vec()];
        Ok(Self {
            opportunistic,
            trust,
            config: Arc::new(config),
            idle: RefCell::default(),
            plain_until: RefCell::default(),
        })
    }

    /// Whether this server is to be asked over TLS.
    pub fn is_for(&self, server: SocketAddr) -> bool {
        self.plain_until.borrow().get(&server).is_none_or(|until| *until <= Instant::now())
    }

    /// Whether plain DNS may be asked instead of a server that failed; it is then, for a while.
    pub fn gives_way(&self, server: SocketAddr) -> bool {
        if self.opportunistic {
            self.plain_until.borrow_mut().insert(server, Instant::now() + PLAIN);
        }
        self.opportunistic
    }

    /// Asks a server. Its certificate is to be for `name`, or else for its address.
    ///
    /// # Errors
    /// See [`ExchangeError`].
    pub async fn ask(
        &self,
        server: SocketAddr,
        name: Option<&str>,
        question: &Question,
        edns: bool,
        patience: Duration,
    ) -> Result<Answered, ExchangeError> {
        let id = u16::from_ne_bytes(sys::random::bytes()?);
        let query = wire::query(question, id, edns)?;
        let kept = self.idle.borrow_mut().remove(&server).filter(|(_, since)| since.elapsed() < IDLE);
        if let Some((stream, _)) = kept {
            // It may have closed meanwhile: then a new one is made.
            if let Ok(Ok(answered)) =
                timeout(patience, self.through(stream, server, &query, question, id)).await
            {
                return Ok(answered);
            }
        }
        let late = |_| ExchangeError::Late(patience);
        let whole = async {
            let stream = self.connect(server, name).await?;
            self.through(stream, server, &query, question, id).await
        };
        timeout(patience, whole).await.map_err(late)?
    }

    async fn connect(
        &self,
        server: SocketAddr,
        name: Option<&str>,
    ) -> Result<TlsStream<TcpStream>, ExchangeError> {
        let whom = match name {
            Some(name) => ServerName::try_from(name.to_owned())
                .map_err(|_| ExchangeError::Tls(format!("`{name}` is no server's name")))?,
            None => ServerName::IpAddress(server.ip().into()),
        };
        let mut address = server;
        if address.port() == PORTS.0 {
            address.set_port(PORTS.1);
        }
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let connector = TlsConnector::from(Arc::clone(&self.config));
        connector.connect(whom, stream).await.map_err(|error| {
            let fault = Fault::find(&error, &self.trust).map(|fault| ExchangeError::Tls(fault.text));
            fault.unwrap_or(ExchangeError::Io(error))
        })
    }

    /// Asks through a connection, and keeps it for the next question.
    async fn through(
        &self,
        mut stream: TlsStream<TcpStream>,
        server: SocketAddr,
        query: &[u8],
        question: &Question,
        id: u16,
    ) -> Result<Answered, ExchangeError> {
        write_message(&mut stream, query).await?;
        let packet = read_message(&mut stream).await?;
        let message = wire::answer(&packet, question, id)?;
        let mut idle = self.idle.borrow_mut();
        idle.retain(|_, (_, since)| since.elapsed() < IDLE);
        idle.insert(server, (stream, Instant::now()));
        Ok((message, packet))
    }
}

/// Opportunistic privacy (RFC 7858 section 4.1): whoever listens on the way hears nothing; who the server is, is
/// not known, as with plain DNS.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = tls::provider().signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, &known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = tls::provider().signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, &known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        tls::provider().signature_verification_algorithms.supported_schemes()
    }
}
