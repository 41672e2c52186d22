//! Whom the machine trusts.

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The machine's own bundle: certificates of authorities in PEM, RFC 7468.
pub const BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Largest bundle in bytes; Debian's has 220 KiB.
const SIZE_MAX: u64 = 4 << 20;

/// Certificates of the authorities that are trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// Those of a bundle, and no others.
    Bundle {
        /// Its path.
        path: PathBuf,
        /// What it holds.
        certificates: Vec<CertificateDer<'static>>,
    },
    /// Mozilla's, as they were when the program was built.
    BuiltIn,
}

/// Why nobody is trusted: a bundle that is there stands for what its owner wants, so that a
/// damaged one is no reason to trust others.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// It cannot be read.
    #[error("cannot read {}: {cause}", path.display())]
    Read {
        /// The bundle.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// It is too large.
    #[error("{} is larger than {SIZE_MAX} bytes", .0.display())]
    TooLarge(PathBuf),
    /// Nothing of it can be used.
    #[error("{} holds no certificate of an authority", .0.display())]
    Empty(PathBuf),
}

impl Trust {
    /// The bundle [`BUNDLE`] where it exists, else the built-in ones.
    ///
    /// # Errors
    /// See [`TrustError`].
    pub fn of_machine() -> Result<Self, TrustError> {
        Self::at(Path::new(BUNDLE))
    }

    /// The bundle at this path where it exists, else the built-in ones.
    ///
    /// # Errors
    /// See [`TrustError`].
    pub fn at(path: &Path) -> Result<Self, TrustError> {
        let failed = |cause| TrustError::Read { path: path.to_owned(), cause };
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::BuiltIn),
            other => other.map_err(failed)?,
        };
        let mut text = Vec::new();
        file.take(SIZE_MAX + 1).read_to_end(&mut text).map_err(failed)?;
        if text.len() as u64 > SIZE_MAX {
            return Err(TrustError::TooLarge(path.to_owned()));
        }
        // One that is damaged does not take the others away.
        let mut certificates: Vec<_> = CertificateDer::pem_slice_iter(&text).filter_map(Result::ok).collect();
        let mut store = RootCertStore::empty();
        certificates.retain(|certificate| store.add(certificate.clone()).is_ok());
        if certificates.is_empty() {
            return Err(TrustError::Empty(path.to_owned()));
        }
        Ok(Self::Bundle { path: path.to_owned(), certificates })
    }

    /// For a configuration of rustls.
    pub fn roots(&self) -> RootCertStore {
        match self {
            Self::Bundle { certificates, .. } => {
                let mut store = RootCertStore::empty();
                store.add_parsable_certificates(certificates.iter().cloned());
                store
            }
            Self::BuiltIn => webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_that_is_there_is_used_or_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bundle");
        assert_eq!(Trust::at(&path).unwrap(), Trust::BuiltIn);
        assert!(Trust::BuiltIn.roots().len() > 50);
        for text in ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            std::fs::write(&path, text).unwrap();
            assert!(matches!(Trust::at(&path), Err(TrustError::Empty(_))), "{text}");
        }
        std::fs::write(&path, vec![b'x'; SIZE_MAX as usize + 1]).unwrap();
        assert!(matches!(Trust::at(&path), Err(TrustError::TooLarge(_))));
        assert!(matches!(Trust::at(folder.path()), Err(TrustError::Read { .. })));
    }
}
