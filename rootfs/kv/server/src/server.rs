//! A member as a whole: opened, serving, ended.

use std::collections::BTreeSet;
use std::fs;
use std::hash::{BuildHasher as _, RandomState};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kv_log::Log;
use kv_log::disk::RealDisk;
use kv_raft::snapshot::FolderSpool;
use kv_raft::{Config, Tokio};
use tonic::service::Routes;
use tonic::transport::Server as Transport;

use crate::compactor::{self, Retention};
use crate::error::Error;
use crate::flags::Flags;
use crate::identity::Identity;
use crate::listen::{self, Endpoint, Listener, Tls};
use crate::machine::Machine;
use crate::member::Member;
use crate::metrics::disk::Timed;
use crate::peer::socket::Manner;
use crate::peer::{Net, listen as peers, roster};
use crate::quota::Quota;
use crate::replica::{Applying, FileHome, Me, Replica, Waiting, WriteAhead};
use crate::{pages, service};

/// Bytes of commands after which the log's beginning may go, however few they are.
const SNAPSHOT_BYTES: u64 = 64 << 20;
/// How often a client that is silent is asked whether it is there (etcd: `--grpc-keepalive-interval`).
const KEEPALIVE: Duration = Duration::from_hours(2);
/// How long its answer may take (etcd: `--grpc-keepalive-timeout`).
const KEEPALIVE_ANSWER: Duration = Duration::from_secs(20);
/// How many calls of one connection may be given up before they were begun. h2's 20 take the whole
/// connection from a client that ends many calls at once while this machine is busy.
const RESETS: usize = 10_000;

/// Entries that are kept before those that may go, for members that lag a little.
const KEEP_ENTRIES: u64 = 5_000;

/// A member that is open and has its sockets.
#[derive(Debug)]
pub struct Server {
    replica: Replica<Tokio, Net>,
    member: Member,
    clients: Vec<Listener>,
    pages: Vec<Listener>,
    peers: Vec<Listener>,
    compaction: Option<Retention>,
}

impl Server {
    /// Binds the addresses, opens the data directory, and takes the member's part in its cluster: as it
    /// was, or, with an empty data directory, as the flags say.
    ///
    /// # Errors
    /// The log's and the database's; [`Error::Io`] for an address that cannot be had;
    /// [`Error::Initial`].
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
        let tls = flags.peer_tls.clone().map(Tls::new).transpose()?.map(Arc::new);
        let mut peers = Vec::new();
        for endpoint in &flags.listen_peer {
            peers.push(listen::bind(*endpoint, tls.as_ref(), "listen-peer-urls").await?);
        }
        let manner = Manner { tls, plaintext: flags.plaintext };
        let folder = &flags.data_dir;
        let doing = || format!("create {}", folder.display());
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(|source| Error::Io { doing: doing(), source })?;
        let old = Identity::load(folder, &flags.name)?;
        let is_new = old.is_none();
        let identity = match old {
            Some(identity) => identity,
            None if flags.existing => join(flags, &manner).await?,
            None => found(flags)?,
        };
        let waiting = Waiting::new(RandomState::new().hash_one(0));
        let (machine, log) = open(folder, identity.cluster, &waiting).await?;
        if is_new {
            identity.keep(folder)?;
        }
        machine.shared().auth.set(flags.auth);
        let replica = start(flags, &identity, machine, log, waiting, manner).await?;
        let member = Member {
            consensus: Arc::new(replica.clone()),
            shared: replica.applying().lock().shared(),
            identity: Arc::new(identity),
            limits: flags.limits,
            origins: flags.origins.clone().into(),
            quota: Arc::new(Quota::new(flags.quota_bytes, &flags.data_dir)),
        };
        Ok(Self { replica, member, clients, pages, peers, compaction: flags.compaction })
    }

    /// What its services share.
    pub fn member(&self) -> &Member {
        &self.member
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
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(service::expire(self.member.clone()));
        if let Some(kept) = self.compaction {
            tasks.spawn(compactor::run(self.member.clone(), kept));
        }
        let host = peers::Host { cluster: self.member.identity.cluster, replica: self.replica.clone() };
        for listener in self.peers {
            tasks.spawn(peers::serve(listener, host.clone()));
        }
        let mut chores = tokio::spawn(chores(self.replica.applying().clone()));
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
                    .http2_max_pending_accept_reset_streams(Some(RESETS))
                    .initial_stream_window_size(1 << 20)
                    .initial_connection_window_size(4 << 20)
                    .add_routes(routes);
                transport.serve_with_incoming_shutdown(listen::incoming(listener), stopped).await
            });
        }
        let mut result = tokio::select! {
            () = stop => Ok(()),
            reason = self.replica.ended() => Err(Arc::new(Error::Raft(reason))),
            () = self.replica.peers().removed() => Err(Arc::new(Error::Removed)),
            Ok(Err(error)) = &mut chores => Err(Arc::new(error)),
            Some(ended) = servers.join_next() => match ended {
                Ok(Err(error)) => Err(Arc::new(Error::Serve(error))),
                _ => Ok(()),
            },
        };
        quit.send_replace(true);
        // Streams (watches) have no end of their own, so they get a moment and are then cut.
        let grace = Duration::from_millis(500);
        let _ = tokio::time::timeout(grace, async { while servers.join_next().await.is_some() {} }).await;
        servers.shutdown().await;
        tasks.shutdown().await;
        if !chores.is_finished() {
            chores.abort();
            // An abort is what it ends with.
            let _ = chores.await;
        }
        self.replica.shutdown().await;
        let applying = self.replica.applying().clone();
        let kept = tokio::task::spawn_blocking(move || applying.make_durable()).await;
        if let Ok(Err(error)) = kept {
            result = result.and(Err(Arc::new(error)));
        }
        result
    }
}

/// The identity of a member that begins a cluster with the others.
pub(crate) fn found(flags: &Flags) -> Result<Identity, Error> {
    check_own(flags)?;
    Identity::founder(&flags.name, &flags.initial, &flags.token)
}

/// As etcd: a member is known by the same addresses to itself and to the others.
fn check_own(flags: &Flags) -> Result<(), Error> {
    let own: Option<BTreeSet<_>> = flags.initial.get(&flags.name).map(|urls| urls.iter().collect());
    if own.is_some_and(|own| own != flags.peer_urls.iter().collect()) {
        let why = format!(
            "--initial-cluster gives {} other addresses than --initial-advertise-peer-urls",
            flags.name
        );
        return Err(Error::Initial(why));
    }
    Ok(())
}

/// The identity of a member that was added to a cluster: any of its members knows it, by the addresses
/// with which it was added.
async fn join(flags: &Flags, manner: &Manner) -> Result<Identity, Error> {
    check_own(flags)?;
    let own: BTreeSet<_> = flags.peer_urls.iter().collect();
    let others = flags.initial.iter().filter(|(name, _)| **name != flags.name);
    let mut why = "--initial-cluster names no member to ask; add NAME=URL of one that runs".to_owned();
    for url in others.flat_map(|(_, urls)| urls) {
        let roster = match roster::ask(url, manner).await {
            Ok(roster) => roster,
            Err(error) => {
                why = format!("{url}: {error}");
                continue;
            }
        };
        let entry = roster.members.iter().find(|entry| entry.urls.iter().collect::<BTreeSet<_>>() == own);
        match entry {
            Some(entry) if entry.name.is_empty() => {
                let (cluster, member) = (roster.cluster, entry.id);
                let founders = std::collections::BTreeMap::new();
                return Ok(Identity { cluster, member, name: flags.name.clone(), founders });
            }
            Some(entry) => {
                return Err(Error::Initial(format!(
                    "member {:x} with these addresses was started before and has another data directory: \
                     bring that back, or remove the member and add it anew",
                    entry.id
                )));
            }
            None => {
                why = format!(
                    "{url} knows no member with the addresses of --initial-advertise-peer-urls: \
                     add it first (member add)"
                );
            }
        }
    }
    Err(Error::Initial(why))
}

async fn open(
    folder: &Path,
    cluster: u64,
    waiting: &Waiting,
) -> Result<(Machine, Log<Timed<RealDisk>>), Error> {
    let (folder, waiting) = (folder.to_owned(), waiting.clone());
    let opened = tokio::task::spawn_blocking(move || {
        let machine = Machine::open(FileHome(folder.join("db")), waiting)?;
        let mut options = kv_log::Options::new(cluster);
        // One that has applied something had a log, and votes in it.
        options.create = machine.raft_position()?.is_empty();
        let (log, _) = Log::open(Timed(RealDisk), &folder.join("log"), options)?;
        Ok::<_, Error>((machine, log))
    });
    let doing = || "finish opening the data directory".to_owned();
    opened.await.map_err(|error| Error::Io { doing: doing(), source: error.into() })?
}

async fn start(
    flags: &Flags,
    identity: &Identity,
    machine: Machine,
    log: Log<Timed<RealDisk>>,
    waiting: Waiting,
    manner: Manner,
) -> Result<Replica<Tokio, Net>, Error> {
    let spool = Arc::new(FolderSpool::new(&flags.data_dir));
    let config = Config {
        heartbeat: flags.heartbeat,
        election: flags.election,
        request: Duration::from_secs(5) + 2 * flags.election,
        snapshot_entries: flags.snapshot_count,
        snapshot_bytes: SNAPSHOT_BYTES,
        keep_entries: KEEP_ENTRIES.min(flags.snapshot_count / 2),
        spool: Arc::clone(&spool) as _,
        ..Config::new(identity.member, identity.cluster)
    };
    let peers = Net::new(identity.cluster, identity.member, flags.election, manner);
    let founders = identity.founders.iter();
    let founders: std::collections::BTreeMap<_, _> =
        founders.map(|(id, urls)| (*id, kv_raft::Member { urls: urls.clone() })).collect();
    let founders = (!founders.is_empty()).then_some(founders);
    let me = Me { name: identity.name.clone(), client_urls: flags.advertise_client.clone() };
    let applying = Applying::new(machine, spool);
    Replica::start(config, WriteAhead::new(log), applying, waiting, peers, me, founders).await
}

/// Does what can wait, on a thread that may.
async fn chores(applying: Applying) -> Result<(), Error> {
    let told = Arc::clone(&applying.lock().shared().chores);
    loop {
        told.notified().await;
        loop {
            let applying = applying.clone();
            // It ends with the process, or by a defect that is told by who hits it next.
            let Ok(more) = tokio::task::spawn_blocking(move || applying.lock().chore()).await else { break };
            if !more? {
                break;
            }
            // Those who apply come in between.
            tokio::task::yield_now().await;
        }
    }
}
