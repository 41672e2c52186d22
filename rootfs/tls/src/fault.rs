//! What is wrong with a certificate, for people.

use crate::Trust;
use rustls::{CertificateError, Error};

/// Why there is no connection by TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// A lower-case fragment.
    pub text: String,
    /// Whether it may be better later: a clock that is not set yet makes good certificates bad.
    pub passes: bool,
}

impl Fault {
    /// The TLS fault in an error or in one that it holds; `None` when it is of another kind.
    pub fn find(error: &(dyn std::error::Error + 'static), trust: &Trust) -> Option<Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(error) = error.downcast_ref::<Error>() {
                return Some(Self::of(error, trust));
            }
            // An I/O error is asked itself: its source is that of the error in it.
            let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
            next = inner.map(|inner| inner as &(dyn std::error::Error + 'static)).or_else(|| error.source());
        }
        None
    }

    fn of(error: &Error, trust: &Trust) -> Self {
        let Error::InvalidCertificate(why) = error else {
            return Self { text: format!("TLS: {error}"), passes: false };
        };
        let clock = "by this machine's clock";
        let (text, passes) = match why {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                (format!("it has expired, {clock}"), true)
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                (format!("it is not valid yet, {clock}"), true)
            }
            CertificateError::UnknownIssuer => {
                let trusted = match trust {
                    Trust::Bundle { path, .. } => format!("{} does not", path.display()),
                    Trust::BuiltIn => "the built-in list (Mozilla's) does not".to_owned(),
                };
                (format!("its issuer is unknown: {trusted} name it"), false)
            }
            CertificateError::NotValidForName => ("it is for another name".to_owned(), false),
            CertificateError::NotValidForNameContext { expected, presented } => {
                let presented = if presented.is_empty() { "no name".into() } else { presented.join(", ") };
                (format!("it is not for {}, but for {presented}", expected.to_str()), false)
            }
            CertificateError::Revoked => ("it is revoked".to_owned(), false),
            CertificateError::BadSignature => ("its signature is wrong".to_owned(), false),
            other => (format!("{other:?}"), false),
        };
        Self { text: format!("the server's certificate is not trusted: {text}"), passes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn a_fault_is_found_below_an_io_error() {
        let inner = Error::InvalidCertificate(CertificateError::NotValidYet);
        let error = io::Error::new(io::ErrorKind::InvalidData, inner);
        let fault = Fault::find(&error, &Trust::BuiltIn).map(|fault| (fault.text, fault.passes));
        let text = "the server's certificate is not trusted: it is not valid yet, by this machine's clock";
        assert_eq!(fault, Some((text.to_owned(), true)));
        assert_eq!(Fault::find(&io::Error::from(io::ErrorKind::TimedOut), &Trust::BuiltIn), None);
    }
}
