//! A member as a whole: opened, serving, ended.

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::sync::Arc;
use std::time::Duration;

use tonic::service::Routes;
use tonic::transport::Server as Transport;

use crate::error::Error;
use crate::flags::Flags;
use crate::identity::Identity;
use crate::listen::{self, Endpoint, Listener, Tls};
use crate::member::Member;
use crate::solo::Solo;
use crate::{pages, service};

/// How often a client that is silent is asked whether it is there (etcd: `--grpc-keepalive-interval`).
const KEEPALIVE: Duration = Duration::from_hours(2);
/// How long its answer may take (etcd: `--grpc-keepalive-timeout`).
const KEEPALIVE_ANSWER: Duration = Duration::from_secs(20);

/// A member that is open and has its sockets.
#[derive(Debug)]
pub struct Server {
    solo: Arc<Solo>,
    member: Member,
    clients: Vec<Listener>,
    pages: Vec<Listener>,
}

impl Server {
    /// Opens the data directory, replays the log, and binds the client addresses.
    ///
    /// # Errors
    /// The log's and the database's; [`Error::Io`] for an address that cannot be had.
    pub async fn open(flags: &Flags) -> Result<Self, Error> {
        // Sockets first: they cost nothing to give back.
        let tls = flags.client_tls.clone().map(Tls::new).transpose()?.map(Arc::new);
        let (mut clients, mut pages) = (Vec::new(), Vec::new());
        for endpoint in &flags.listen_client {
            clients.push(listen::bind(*endpoint, tls.as_ref(), "listen-client-urls").await?);
        }
        for endpoint in &flags.listen_metrics {
            pages.push(listen::bind(*endpoint, tls.as_ref(), "listen-metrics-urls").await?);
        }
        let folder = flags.data_dir.clone();
        let doing = || format!("create {}", folder.display());
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        made.map_err(|source| Error::Io { doing: doing(), source })?;
        let new = Identity::of_one(&flags.name, &flags.peer_urls, &flags.token);
        let identity = Identity::load_or_keep(&folder, new)?;
        let (cluster, id) = (identity.cluster, identity.member);
        let opened = tokio::task::spawn_blocking(move || Solo::open(&folder, cluster, id)).await;
        let doing = || "finish opening the data directory".to_owned();
        let (solo, shared) = opened.map_err(|error| Error::Io { doing: doing(), source: error.into() })??;
        let solo = Arc::new(solo);
        let member = Member {
            consensus: Arc::clone(&solo) as _,
            shared,
            identity: Arc::new(identity),
            limits: flags.limits,
            origins: flags.origins.clone().into(),
            client_urls: flags.advertise_client.clone().into(),
        };
        Ok(Self { solo, member, clients, pages })
    }

    /// Where clients are served.
    pub fn client_endpoints(&self) -> Vec<Endpoint> {
        self.clients.iter().filter_map(|listener| listener.endpoint().ok()).collect()
    }

    /// Where the pages alone are served.
    pub fn page_endpoints(&self) -> Vec<Endpoint> {
        self.pages.iter().filter_map(|listener| listener.endpoint().ok()).collect()
    }

    /// Serves until `stop` is done or the member cannot go on; then ends in order: no new
    /// requests, what is under way is answered, the database is written to the disk.
    ///
    /// # Errors
    /// Why the member could not go on, or could not write at the end.
    pub async fn serve(self, stop: impl Future<Output = ()>) -> Result<(), Arc<Error>> {
        let expiry = tokio::spawn(service::expire(self.member.clone()));
        let (quit, _) = tokio::sync::watch::channel(false);
        let mut servers = tokio::task::JoinSet::new();
        let clients = self.clients.into_iter().map(|listener| (listener, service::routes(&self.member)));
        let pages = self.pages.into_iter();
        let pages = pages.map(|listener| (listener, Routes::from(pages::router(&self.member))));
        for (listener, routes) in clients.chain(pages) {
            let mut quit = quit.subscribe();
            let streams = self.member.limits.streams;
            servers.spawn(async move {
                let stopped = async move {
                    // Gone is as good as told.
                    let _ = quit.wait_for(|quit| *quit).await;
                };
                let transport = Transport::builder()
                    .accept_http1(true)
                    .max_concurrent_streams(streams)
                    .http2_keepalive_interval(Some(KEEPALIVE))
                    .http2_keepalive_timeout(Some(KEEPALIVE_ANSWER))
                    .initial_stream_window_size(1 << 20)
                    .initial_connection_window_size(4 << 20)
                    .add_routes(routes);
                transport.serve_with_incoming_shutdown(listen::incoming(listener), stopped).await
            });
        }
        let mut result = tokio::select! {
            () = stop => Ok(()),
            reason = self.solo.ended() => reason.map_or(Ok(()), Err),
            Some(ended) = servers.join_next() => match ended {
                Ok(Err(error)) => Err(Arc::new(Error::Serve(error))),
                _ => Ok(()),
            },
        };
        quit.send_replace(true);
        expiry.abort();
        // Streams (watches) have no end of their own, so they get a moment and are then cut.
        let grace = Duration::from_millis(500);
        let _ = tokio::time::timeout(grace, async { while servers.join_next().await.is_some() {} }).await;
        servers.abort_all();
        let solo = self.solo;
        let closed = tokio::task::spawn_blocking(move || solo.close()).await;
        if let Ok(Err(error)) = closed {
            result = result.and(Err(error));
        }
        result
    }
}
