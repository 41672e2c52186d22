//! One request over HTTP/1.1, without TLS.

use cloudconfig::SIZE_MAX;
use std::time::Duration;
use ureq::Agent;

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

/// The network.
#[derive(Debug, Clone)]
pub struct Web {
    agent: Agent,
}

impl Default for Web {
    fn default() -> Self {
        let config = Agent::config_builder()
            .timeout_global(Some(REQUEST_MAX))
            .http_status_as_error(false)
            .max_redirects(5)
            .user_agent("slipway")
            // A machine that has no configuration yet has no proxy either.
            .proxy(None)
            .build();
        Self { agent: config.into() }
    }
}

impl Client for Web {
    fn ask(&self, method: Method, url: &str, headers: &[Header]) -> Result<Reply, Failure> {
        let last = |reason: &str| Failure::Final { url: url.to_owned(), reason: reason.to_owned() };
        if url.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("https://")) {
            return Err(last(
                "https is not supported here: serve the document over http in a network that you trust, or give it by a config drive",
            ));
        }
        if !url.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("http://")) {
            return Err(last("not a URL that begins with http://"));
        }
        let answer = match method {
            Method::Get => {
                let request = self.agent.get(url);
                headers.iter().fold(request, |request, (name, value)| request.header(*name, value)).call()
            }
            Method::Put => {
                let request = self.agent.put(url);
                headers
                    .iter()
                    .fold(request, |request, (name, value)| request.header(*name, value))
                    .send_empty()
            }
        };
        let failed = |error: ureq::Error| {
            let reason = error.to_string();
            match error {
                ureq::Error::BadUri(_)
                | ureq::Error::Http(_)
                | ureq::Error::TlsRequired
                | ureq::Error::TooManyRedirects
                | ureq::Error::BodyExceedsLimit(_) => Failure::Final { url: url.to_owned(), reason },
                _ => Failure::Passing { url: url.to_owned(), reason },
            }
        };
        let mut answer = answer.map_err(failed)?;
        let status = answer.status().as_u16();
        let body =
            answer.body_mut().with_config().limit(SIZE_MAX as u64 + 1).read_to_vec().map_err(failed)?;
        Ok(Reply { status, body })
    }
}
