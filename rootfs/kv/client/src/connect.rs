//! A connection to one endpoint, as tonic's channel asks for it.

use crate::endpoint::{Endpoint, Place};
use crate::{Error, Settings};
use hyper_util::rt::TokioIo;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tls::rustls::ClientConfig;
use tls::rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tonic::codegen::http::Uri;
use tonic::transport::Channel;

/// There is no connection: nothing was sent. Found again among the causes of a status.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NotConnected(pub(crate) String);

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

#[derive(Clone)]
struct Connector {
    endpoint: Arc<Endpoint>,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    timeout: Duration,
}

impl Connector {
    async fn connect(self) -> Result<TokioIo<Box<dyn Stream>>, NotConnected> {
        let name = self.endpoint.text.clone();
        let failed =
            |error: &dyn std::fmt::Display| NotConnected(format!("cannot connect to {name}: {error}"));
        let opened = tokio::time::timeout(self.timeout, self.open()).await;
        match opened {
            Ok(Ok(stream)) => Ok(TokioIo::new(stream)),
            Ok(Err(error)) => Err(failed(&error)),
            Err(_) => Err(failed(&format_args!("no answer in {:?}", self.timeout))),
        }
    }

    async fn open(&self) -> std::io::Result<Box<dyn Stream>> {
        let plain: Box<dyn Stream> = match &self.endpoint.place {
            Place::Unix(path) => Box::new(UnixStream::connect(path).await?),
            Place::Host { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
        };
        Ok(match &self.tls {
            None => plain,
            Some((config, name)) => {
                let connector = tokio_rustls::TlsConnector::from(config.clone());
                Box::new(connector.connect(name.clone(), plain).await?)
            }
        })
    }
}

impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<Box<dyn Stream>>;
    type Error = NotConnected;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, NotConnected>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), NotConnected>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        Box::pin(self.clone().connect())
    }
}

/// A channel that connects at the first request and again after each loss.
pub(crate) fn channel(
    endpoint: &Endpoint,
    settings: &Settings,
    config: Option<&Arc<ClientConfig>>,
) -> Result<Channel, Error> {
    let secure = endpoint.tls.unwrap_or(config.is_some());
    if !secure && !endpoint.is_local() && !settings.insecure_plaintext {
        return Err(Error::Plaintext(endpoint.text.clone()));
    }
    let bad = |why: String| Error::BadEndpoint { endpoint: endpoint.text.clone(), why };
    let tls = match (secure, config) {
        (false, _) => None,
        (true, None) => return Err(Error::Tls(format!("{} needs TLS, which is not set up", endpoint.text))),
        (true, Some(config)) => {
            let asked = settings.security.as_ref().and_then(|security| security.server_name.clone());
            let name = asked.unwrap_or_else(|| match &endpoint.place {
                Place::Host { host, .. } => host.clone(),
                Place::Unix(_) => "localhost".to_owned(),
            });
            let name = ServerName::try_from(name).map_err(|error| bad(error.to_string()))?;
            Some((config.clone(), name))
        }
    };
    // tonic itself knows of no TLS here, so that its scheme only says what servers are told.
    let authority = endpoint.authority();
    let uri = |scheme: &str| {
        format!("{scheme}://{authority}").parse::<Uri>().map_err(|error| bad(error.to_string()))
    };
    let channel = Channel::builder(uri("http")?)
        .origin(uri(if secure { "https" } else { "http" })?)
        .http2_keep_alive_interval(settings.keep_alive_time)
        .keep_alive_timeout(settings.keep_alive_timeout)
        .http2_adaptive_window(true);
    let connector = Connector { endpoint: Arc::new(endpoint.clone()), tls, timeout: settings.dial_timeout };
    Ok(channel.connect_with_connector_lazy(connector))
}
