//! A member as a whole: opened, serving, ended.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server as Transport;

use crate::error::Error;
use crate::flags::Flags;
use crate::identity::Identity;
use crate::member::Member;
use crate::service;
use crate::solo::Solo;

/// A member that is open and has its sockets.
#[derive(Debug)]
pub struct Server {
    solo: Arc<Solo>,
    member: Member,
    listeners: Vec<TcpListener>,
}

impl Server {
    /// Opens the data directory, replays the log, and binds the client addresses.
    ///
    /// # Errors
    /// The log's and the database's; [`Error::Io`] for an address that cannot be had.
    pub async fn open(flags: &Flags) -> Result<Self, Error> {
        // Sockets first: they cost nothing to give back.
        let mut listeners = Vec::new();
        for address in &flags.listen_client {
            let listener = TcpListener::bind(address).await;
            let doing = || format!("listen on {address} (--listen-client-urls)");
            listeners.push(listener.map_err(|source| Error::Io { doing: doing(), source })?);
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
        shared.auth.set(flags.auth);
        let solo = Arc::new(solo);
        let member = Member {
            consensus: Arc::clone(&solo) as _,
            shared,
            identity: Arc::new(identity),
            client_urls: flags.advertise_client.clone().into(),
        };
        Ok(Self { solo, member, listeners })
    }

    /// The addresses that are served.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect()
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
        for listener in self.listeners {
            let mut quit = quit.subscribe();
            let routes = service::routes(&self.member);
            servers.spawn(async move {
                let stopped = async move {
                    // Gone is as good as told.
                    let _ = quit.wait_for(|quit| *quit).await;
                };
                let transport = Transport::builder()
                    .accept_http1(true)
                    .tcp_nodelay(true)
                    .initial_stream_window_size(1 << 20)
                    .initial_connection_window_size(4 << 20)
                    .add_routes(routes);
                let incoming = TcpListenerStream::new(listener);
                transport.serve_with_incoming_shutdown(incoming, stopped).await
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
        let grace = std::time::Duration::from_millis(500);
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
