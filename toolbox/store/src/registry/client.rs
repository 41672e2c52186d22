//! Requests to one registry for one repository.

use super::auth::{self, Challenge, Credentials};
use super::reference::Reference;
use super::{Registries, RegistryError};
use crate::digest::Digest;
use crate::oci::OciError;
use crate::oci::document::MAX_DOCUMENT;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::Arc;
use std::time::Duration;
use ureq::http::{Response, StatusCode};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig};
use ureq::{Agent, Body, Proxy};

const CONNECT_MAX: Duration = Duration::from_secs(20);
const ANSWER_MAX: Duration = Duration::from_mins(1);
/// One blob in one go; what came until then is kept, and gone on with.
const BODY_MAX: Duration = Duration::from_mins(30);
/// Most words of an error that are told.
const MAX_DETAIL: usize = 300;

/// What a manifest may be.
const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

/// What came of a blob.
pub(super) enum Fetched {
    /// It comes from its start, not from where it was asked for.
    FromStart,
    /// So many more bytes are in the file.
    Bytes(u64),
}

pub(super) struct Client<'r> {
    agent: Agent,
    reference: &'r Reference,
    base: String,
    is_insecure: bool,
    credentials: Option<Credentials>,
    /// `Authorization`, once it is known what the registry wants.
    authorization: Option<String>,
}

impl<'r> Client<'r> {
    pub(super) fn new(reference: &'r Reference, registries: &Registries) -> Result<Self, RegistryError> {
        let is_insecure = registries.insecure.contains(&reference.registry);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = TlsConfig::builder().unversioned_rustls_crypto_provider(provider);
        if let Some(pem) = &registries.roots_pem {
            let mut certificates: Vec<Certificate<'static>> = Vec::new();
            for item in ureq::tls::parse_pem(pem) {
                match item.map_err(|error| RegistryError::Roots(error.to_string()))? {
                    PemItem::Certificate(certificate) => certificates.push(certificate),
                    _ => {
                        return Err(RegistryError::Roots(
                            "there is something else than a certificate".into(),
                        ));
                    }
                }
            }
            tls = tls.root_certs(RootCerts::new_with_certs(&certificates));
        } else {
            tls = tls.root_certs(RootCerts::WebPki);
        }
        let proxy = registries.proxy.as_ref();
        let proxy =
            proxy.map(|url| Proxy::new(url).map_err(|_| RegistryError::Proxy(url.clone()))).transpose()?;
        let config = Agent::config_builder()
            .tls_config(tls.build())
            .https_only(!is_insecure)
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT_MAX))
            .timeout_recv_response(Some(ANSWER_MAX))
            .timeout_recv_body(Some(BODY_MAX))
            .user_agent("toolbox")
            .proxy(proxy);
        let scheme = if is_insecure { "http" } else { "https" };
        Ok(Self {
            agent: config.build().into(),
            reference,
            base: format!("{scheme}://{}/v2/{}", reference.host(), reference.repository),
            is_insecure,
            credentials: auth::find(registries, reference)?,
            authorization: None,
        })
    }

    /// A manifest, by tag or digest, and the type that the registry says it has.
    pub(super) fn manifest(&mut self, name: &str) -> Result<(Vec<u8>, String), RegistryError> {
        let url = format!("{}/manifests/{name}", self.base);
        let response = self.get(&url, &[("Accept", ACCEPT)])?;
        let media_type = response.headers().get("content-type").and_then(|value| value.to_str().ok());
        let media_type = media_type.unwrap_or_default().split(';').next().unwrap_or_default().to_owned();
        Ok((bounded(response, &url)?, media_type))
    }

    /// A blob that is a document.
    pub(super) fn document(&mut self, digest: &Digest) -> Result<Vec<u8>, RegistryError> {
        let url = format!("{}/blobs/{digest}", self.base);
        let response = self.get(&url, &[])?;
        bounded(response, &url)
    }

    /// A blob into a file that has its first `have` bytes; never more than `size` in all.
    pub(super) fn blob(
        &mut self,
        digest: &Digest,
        file: &mut File,
        have: u64,
        size: u64,
        told: &mut dyn FnMut(Fetched),
    ) -> Result<(), RegistryError> {
        let url = format!("{}/blobs/{digest}", self.base);
        let range = format!("bytes={have}-");
        let headers: &[(&str, &str)] = if have > 0 { &[("Range", &range)] } else { &[] };
        let response = self.get(&url, headers)?;
        let mut at = have;
        if have > 0 {
            let goes_on = response.status() == StatusCode::PARTIAL_CONTENT
                && response
                    .headers()
                    .get("content-range")
                    .and_then(|value| value.to_str().ok())
                    .is_some_and(|value| value.starts_with(&format!("bytes {have}-")));
            if !goes_on {
                if response.status() == StatusCode::PARTIAL_CONTENT {
                    let reason = "the registry sends another part than it was asked for".to_owned();
                    return Err(RegistryError::Connection { url, reason, passes: false });
                }
                file.set_len(0)?;
                at = 0;
                told(Fetched::FromStart);
            }
        }
        file.seek(SeekFrom::Start(at))?;
        let mut body = response
            .into_body()
            .into_with_config()
            .limit(u64::MAX)
            .reader()
            .take((size - at).saturating_add(1));
        let mut buffer = vec![0; 64 << 10];
        loop {
            let count = match body.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(broken(&url, &error)),
            };
            at += count as u64;
            if at > size {
                file.set_len(0)?;
                return Err(RegistryError::Size { digest: *digest, expected: size, found: at });
            }
            file.write_all(&buffer[..count])?;
            told(Fetched::Bytes(count as u64));
        }
    }

    /// Asks; where the registry wants to know who asks, says so and asks again, once.
    fn get(&mut self, url: &str, headers: &[(&str, &str)]) -> Result<Response<Body>, RegistryError> {
        let response = self.ask(url, headers)?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return checked(response, url);
        }
        let registry = || self.reference.registry.clone();
        let unauthorized = |given| RegistryError::Unauthorized {
            registry: registry(),
            repository: self.reference.repository.clone(),
            given,
        };
        let challenges = response.headers().get_all("www-authenticate").iter();
        let challenge = challenges.filter_map(|value| value.to_str().ok()).find_map(Challenge::parse);
        self.authorization = Some(match challenge {
            None => return Err(RegistryError::Challenge { registry: registry() }),
            Some(Challenge::Basic) => match &self.credentials {
                Some(Credentials::Basic(pair)) => format!("Basic {pair}"),
                _ => return Err(unauthorized(false)),
            },
            Some(Challenge::Bearer { realm, service, scope }) => {
                let token = self.token(&realm, service.as_deref(), scope.as_deref())?;
                format!("Bearer {token}")
            }
        });
        let response = self.ask(url, headers)?;
        if response.status() == StatusCode::UNAUTHORIZED {
            return Err(unauthorized(self.credentials.is_some()));
        }
        checked(response, url)
    }

    fn ask(&self, url: &str, headers: &[(&str, &str)]) -> Result<Response<Body>, RegistryError> {
        let mut request = self.agent.get(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(authorization) = &self.authorization {
            // Sent to this host only: redirects to where blobs are go without it.
            request = request.header("Authorization", authorization);
        }
        request.call().map_err(|error| connection(url, &error))
    }

    /// Gets a token for pulling from where the registry says (distribution: "Token Authentication").
    fn token(
        &self,
        realm: &str,
        service: Option<&str>,
        scope: Option<&str>,
    ) -> Result<String, RegistryError> {
        if !self.is_insecure && !realm.starts_with("https://") {
            return Err(RegistryError::Challenge { registry: self.reference.registry.clone() });
        }
        let own_scope = format!("repository:{}:pull", self.reference.repository);
        let scope = scope.unwrap_or(&own_scope);
        let response = match &self.credentials {
            // OAuth 2, which is what a refresh token is for.
            Some(Credentials::Identity(token)) => self
                .agent
                .post(realm)
                .send_form([
                    ("grant_type", "refresh_token"),
                    ("refresh_token", token),
                    ("client_id", "toolbox"),
                    ("service", service.unwrap_or_default()),
                    ("scope", scope),
                ])
                .map_err(|error| connection(realm, &error))?,
            other => {
                let mut request = self.agent.get(realm).query("scope", scope);
                if let Some(service) = service {
                    request = request.query("service", service);
                }
                if let Some(Credentials::Basic(pair)) = other {
                    request = request.header("Authorization", format!("Basic {pair}"));
                }
                request.call().map_err(|error| connection(realm, &error))?
            }
        };
        if matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return Err(RegistryError::Unauthorized {
                registry: self.reference.registry.clone(),
                repository: self.reference.repository.clone(),
                given: self.credentials.is_some(),
            });
        }
        let text = bounded(checked(response, realm)?, realm)?;
        // Not through serde's error, which may show a piece of the token.
        let token: Option<serde_json::Value> = serde_json::from_slice(&text).ok();
        let field = |name: &str| Some(token.as_ref()?.get(name)?.as_str()?.to_owned());
        field("token")
            .or_else(|| field("access_token"))
            .filter(|token| token.bytes().all(|byte| byte.is_ascii_graphic()))
            .ok_or_else(|| RegistryError::Challenge { registry: self.reference.registry.clone() })
    }
}

fn connection(url: &str, error: &ureq::Error) -> RegistryError {
    let passes = match error {
        ureq::Error::Io(error) => matches!(
            error.kind(),
            io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::UnexpectedEof
                | io::ErrorKind::TimedOut
        ),
        ureq::Error::Timeout(_) => true,
        // No such host, nobody there, another's certificate: that stays so.
        _ => false,
    };
    RegistryError::Connection { url: url.to_owned(), reason: error.to_string(), passes }
}

/// In the middle of an answer.
fn broken(url: &str, error: &io::Error) -> RegistryError {
    RegistryError::Connection { url: url.to_owned(), reason: error.to_string(), passes: true }
}

fn checked(response: Response<Body>, url: &str) -> Result<Response<Body>, RegistryError> {
    if response.status().is_success() {
        return Ok(response);
    }
    let status = response.status().as_u16();
    let mut text = Vec::new();
    let words = response.into_body().into_reader().take(MAX_DOCUMENT).read_to_end(&mut text);
    // `{"errors":[{"code":"…","message":"…"}]}`; anything else is of no use to a person.
    let detail = words.ok().and_then(|_| {
        let errors: serde_json::Value = serde_json::from_slice(&text).ok()?;
        let message = errors["errors"][0]["message"].as_str()?;
        Some(message.chars().filter(|letter| !letter.is_control()).take(MAX_DETAIL).collect())
    });
    Err(RegistryError::Status { url: url.to_owned(), status, detail })
}

fn bounded(response: Response<Body>, url: &str) -> Result<Vec<u8>, RegistryError> {
    let mut text = Vec::new();
    let mut body = response.into_body().into_with_config().limit(u64::MAX).reader().take(MAX_DOCUMENT + 1);
    body.read_to_end(&mut text).map_err(|error| broken(url, &error))?;
    let size = text.len() as u64;
    if size > MAX_DOCUMENT {
        return Err(OciError::TooLarge { name: url.to_owned(), size, limit: MAX_DOCUMENT }.into());
    }
    Ok(text)
}
