//! TLS towards the store: whom to trust, and as whom to come.

use crate::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tls::Trust;
use tls::rustls::client::WebPkiServerVerifier;
use tls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tls::rustls::pki_types::pem::PemObject;
use tls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tls::rustls::{self, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

/// Whom to believe that a server is a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authorities {
    /// Those whom the machine trusts; see `tls::Trust::of_machine`.
    Machine,
    /// Those of this PEM file and no others.
    File(PathBuf),
    /// Everybody. Whoever is on the way reads along: for tests.
    Anybody,
}

/// TLS towards the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Security {
    /// Whom to trust.
    pub authorities: Authorities,
    /// Certificate chain and key, PEM files: as whom to come.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The name that the server's certificate must have, where that is not the endpoint's.
    pub server_name: Option<String>,
}

impl Security {
    /// Reads the files.
    pub(crate) fn config(&self) -> Result<Arc<ClientConfig>, Error> {
        let provider = tls::provider();
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::Tls(error.to_string()))?;
        let verifier: Arc<dyn ServerCertVerifier> = match &self.authorities {
            Authorities::Anybody => Arc::new(Anybody(provider)),
            Authorities::Machine => {
                let trust = Trust::of_machine().map_err(|error| Error::Tls(error.to_string()))?;
                verifier(trust.roots(), provider)?
            }
            Authorities::File(path) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates(path)? {
                    let why =
                        |error: rustls::Error| Error::File { path: path.clone(), why: error.to_string() };
                    roots.add(certificate).map_err(why)?;
                }
                verifier(roots, provider)?
            }
        };
        let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let why = |error: rustls::pki_types::pem::Error| Error::File {
                    path: key.clone(),
                    why: error.to_string(),
                };
                let secret = PrivateKeyDer::from_pem_file(key).map_err(why)?;
                builder
                    .with_client_auth_cert(certificates(chain)?, secret)
                    .map_err(|error| Error::File { path: chain.clone(), why: error.to_string() })?
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Arc::new(config))
    }
}

fn verifier(
    roots: RootCertStore,
    provider: Arc<rustls::crypto::CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, Error> {
    let built = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
    Ok(built.map_err(|error| Error::Tls(error.to_string()))?)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let why = |why: String| Error::File { path: path.to_owned(), why };
    let read: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).map_err(|error| why(error.to_string()))?.collect();
    let read = read.map_err(|error| why(error.to_string()))?;
    if read.is_empty() {
        return Err(why("no certificate in it".to_owned()));
    }
    Ok(read)
}

/// Believes every certificate; signatures are still checked.
#[derive(Debug)]
struct Anybody(Arc<rustls::crypto::CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
