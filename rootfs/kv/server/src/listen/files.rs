//! The files of `--cert-file` and its like: read, checked, and looked at again.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tls::rustls::pki_types::pem::PemObject as _;
use tls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tls::rustls::server::WebPkiClientVerifier;
use tls::rustls::{ClientConfig, RootCertStore, ServerConfig};

/// Where certificates and keys are, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// What the flags begin with: nothing for those of clients, `peer-` for those of peers.
    pub prefix: &'static str,
    /// The certificate that is shown, with those between it and the authority.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Who vouches for clients, which then must show a certificate; also for servers that this member
    /// connects to.
    pub trusted_ca: Option<PathBuf>,
}

/// What is wrong with one of them.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read, or there is no PEM of that kind in it.
    #[error("cannot use {path} (--{flag})", path = path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// The flag that has named it.
        flag: String,
        /// Why.
        #[source]
        source: tls::rustls::pki_types::pem::Error,
    },
    /// There is no certificate in it.
    #[error("{path} (--{flag}) holds no certificate", path = path.display())]
    Empty {
        /// The file.
        path: PathBuf,
        /// The flag that has named it.
        flag: String,
    },
    /// They do not fit each other.
    #[error("{cert} and {key} (--{prefix}cert-file, --{prefix}key-file) cannot be used together", cert = cert.display(), key = key.display())]
    Pair {
        /// The certificate.
        cert: PathBuf,
        /// The key.
        key: PathBuf,
        /// What the flags begin with.
        prefix: &'static str,
        /// Why.
        #[source]
        source: Box<tls::rustls::Error>,
    },
    /// The authorities cannot be used.
    #[error("the certificates in {path} (--{prefix}trusted-ca-file) cannot be those of authorities: {why}", path = path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// What the flags begin with.
        prefix: &'static str,
        /// Why.
        why: String,
    },
}

/// What tells whether a file is another than before.
pub type Stamp = (u64, u64, i64, i64);

/// Both sides, as the files are now.
#[derive(Clone)]
pub struct Configs {
    /// Of a server.
    pub server: Arc<ServerConfig>,
    /// Of a client that shows the same certificate; only with authorities, as it trusts nobody else.
    pub client: Option<Arc<ClientConfig>>,
}

impl Files {
    /// The stamps of all files; a file that is not there has none.
    pub fn stamps(&self) -> [Option<Stamp>; 3] {
        let stamp = |path: &Path| {
            let found = fs::metadata(path).ok()?;
            Some((found.ino(), found.len(), found.mtime(), found.mtime_nsec()))
        };
        [stamp(&self.cert), stamp(&self.key), self.trusted_ca.as_deref().and_then(stamp)]
    }

    fn certificates(&self, path: &Path, flag: &str) -> Result<Vec<CertificateDer<'static>>, FileError> {
        let flag = format!("{}{flag}", self.prefix);
        let failed = |source| FileError::Pem { path: path.to_owned(), flag: flag.clone(), source };
        let read = CertificateDer::pem_file_iter(path).map_err(failed)?;
        let certificates = read.collect::<Result<Vec<_>, _>>().map_err(failed)?;
        if certificates.is_empty() {
            return Err(FileError::Empty { path: path.to_owned(), flag });
        }
        Ok(certificates)
    }

    /// Reads the files.
    ///
    /// # Errors
    /// See [`FileError`].
    pub fn load(&self) -> Result<Configs, FileError> {
        let certificates = self.certificates(&self.cert, "cert-file")?;
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|source| {
            let flag = format!("{}key-file", self.prefix);
            FileError::Pem { path: self.key.clone(), flag, source }
        })?;
        let pair = |source| FileError::Pair {
            cert: self.cert.clone(),
            key: self.key.clone(),
            prefix: self.prefix,
            source: Box::new(source),
        };
        let builder = ServerConfig::builder_with_provider(tls::provider());
        let builder = builder.with_safe_default_protocol_versions().map_err(pair)?;
        let Some(path) = &self.trusted_ca else {
            let builder = builder.with_no_client_auth();
            let mut server = builder.with_single_cert(certificates, key).map_err(pair)?;
            server.alpn_protocols = protocols();
            return Ok(Configs { server: Arc::new(server), client: None });
        };
        let wrong = |why| FileError::Authorities { path: path.clone(), prefix: self.prefix, why };
        let mut roots = RootCertStore::empty();
        for certificate in self.certificates(path, "trusted-ca-file")? {
            roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
        }
        let roots = Arc::new(roots);
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), tls::provider());
        let verifier = verifier.build().map_err(|error| wrong(error.to_string()))?;
        let builder = builder.with_client_cert_verifier(verifier);
        let mut server = builder.with_single_cert(certificates.clone(), key.clone_key()).map_err(pair)?;
        server.alpn_protocols = protocols();
        let builder = ClientConfig::builder_with_provider(tls::provider());
        let builder = builder.with_safe_default_protocol_versions().map_err(pair)?;
        let builder = builder.with_root_certificates(roots);
        let mut client = builder.with_client_auth_cert(certificates, key).map_err(pair)?;
        client.alpn_protocols = protocols();
        Ok(Configs { server: Arc::new(server), client: Some(Arc::new(client)) })
    }
}

/// gRPC first, then the pages and the gateway.
fn protocols() -> Vec<Vec<u8>> {
    vec![b"h2".to_vec(), b"http/1.1".to_vec()]
}
