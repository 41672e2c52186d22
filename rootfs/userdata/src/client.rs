//! One request over HTTP/1.1, with TLS or without.

use cloudconfig::SIZE_MAX;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;
use tls::{BUNDLE, Fault, Trust};
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// How long one request may take: a service that is there answers at once.
const REQUEST_MAX: Duration = Duration::from_secs(10);

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// GET
    Get,
    /// PUT with an empty body.
    Put,
}

/// A header's name and value.
pub type Header = (&'static str, String);

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Status code (RFC 9110, section 15).
    pub status: u16,
    /// The body, one byte more at most than a document may have.
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// It will be no better later.
    #[error("{url}: {reason}")]
    Final {
        /// What was asked for.
        url: String,
        /// Why.
        reason: String,
    },
    /// It may be better later.
    #[error("{url}: {reason}")]
    Passing {
        /// What was asked for.
        url: String,
        /// Why.
        reason: String,
    },
}

/// Something that answers requests.
pub trait Client {
    /// Sends a request and waits for its answer. Any status is an answer.
    ///
    /// # Errors
    /// See [`Failure`].
    fn ask(&self, method: Method, url: &str, headers: &[Header]) -> Result<Reply, Failure>;
}

/// The network. Whom it trusts over TLS is looked up at the first request that needs it.
#[derive(Debug)]
pub struct Web {
    bundle: PathBuf,
    plain: OnceLock<Agent>,
    secure: OnceLock<(Agent, Trust)>,
}

impl Default for Web {
    fn default() -> Self {
        Self::trusting(Path::new(BUNDLE))
    }
}

impl Web {
    /// With the certificates of another bundle than the machine's.
    pub fn trusting(bundle: &Path) -> Self {
        Self { bundle: bundle.to_owned(), plain: OnceLock::new(), secure: OnceLock::new() }
    }

    fn secure(&self) -> Result<&(Agent, Trust), tls::TrustError> {
        if let Some(secure) = self.secure.get() {
            return Ok(secure);
        }
        let trust = Trust::at(&self.bundle)?;
        let roots = match &trust {
            Trust::Bundle { certificates, .. } => {
                let known = |certificate| Certificate::from_der(certificate).to_owned();
                let all: Vec<_> = certificates.iter().map(|one| known(one.as_ref())).collect();
                RootCerts::new_with_certs(&all)
            }
            Trust::BuiltIn => RootCerts::WebPki,
        };
        Ok(self.secure.get_or_init(|| (agent(Some(roots)), trust)))
    }
}

/// With roots: for https, and for nothing else that it may be sent on to.
fn agent(roots: Option<RootCerts>) -> Agent {
    let is_secure = roots.is_some();
    let tls = TlsConfig::builder().unversioned_rustls_crypto_provider(tls::provider());
    // Without roots nobody is trusted, so that a server without TLS sends nobody to one with it.
    let tls = tls.root_certs(roots.unwrap_or_else(|| RootCerts::new_with_certs(&[])));
    let config = Agent::config_builder()
        .tls_config(tls.build())
        .https_only(is_secure)
        .timeout_global(Some(REQUEST_MAX))
        .http_status_as_error(false)
        .max_redirects(5)
        .user_agent("slipway")
        // A machine that has no configuration yet has no proxy either.
        .proxy(None);
    config.build().into()
}

fn failure(url: &str, error: &ureq::Error, trust: Option<&Trust>) -> Failure {
    let of = |passes: bool, reason: String| {
        let url = url.to_owned();
        if passes { Failure::Passing { url, reason } } else { Failure::Final { url, reason } }
    };
    let inner: &(dyn std::error::Error + 'static) = match error {
        ureq::Error::Io(error) => error,
        ureq::Error::Rustls(error) => error,
        other => other,
    };
    if let Some(fault) = Fault::find(inner, trust.unwrap_or(&Trust::BuiltIn)) {
        return match trust {
            Some(_) => of(fault.passes, fault.text),
            None => of(false, "sends on to https: give that URL itself".to_owned()),
        };
    }
    let is_last = matches!(
        error,
        ureq::Error::BadUri(_)
            | ureq::Error::Http(_)
            | ureq::Error::Tls(_)
            | ureq::Error::TooManyRedirects
            | ureq::Error::BodyExceedsLimit(_)
    );
    match error {
        ureq::Error::RequireHttpsOnly(to) => of(false, format!("sends on to {to}, which is without TLS")),
        error => of(!is_last, error.to_string()),
    }
}

impl Client for Web {
    fn ask(&self, method: Method, url: &str, headers: &[Header]) -> Result<Reply, Failure> {
        let last = |reason: String| Failure::Final { url: url.to_owned(), reason };
        let starts =
            |scheme: &str| url.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
        let (agent, trust) = if starts("https://") {
            let (agent, trust) = self.secure().map_err(|error| last(error.to_string()))?;
            (agent, Some(trust))
        } else if starts("http://") {
            (self.plain.get_or_init(|| agent(None)), None)
        } else {
            return Err(last("not a URL that begins with https:// or http://".to_owned()));
        };
        let answer = match method {
            Method::Get => {
                let request = agent.get(url);
                headers.iter().fold(request, |request, (name, value)| request.header(*name, value)).call()
            }
            Method::Put => {
                let request = agent.put(url);
                headers
                    .iter()
                    .fold(request, |request, (name, value)| request.header(*name, value))
                    .send_empty()
            }
        };
        let failed = |error: ureq::Error| failure(url, &error, trust);
        let mut answer = answer.map_err(failed)?;
        let status = answer.status().as_u16();
        let body =
            answer.body_mut().with_config().limit(SIZE_MAX as u64 + 1).read_to_vec().map_err(failed)?;
        Ok(Reply { status, body })
    }
}
