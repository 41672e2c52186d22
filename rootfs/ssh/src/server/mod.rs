//! The server: one thread, all clients in it.
//!
//! Privileges: this process is root. A client's programs are started as its user (`process`),
//! its UNIX sockets are connected and listened on by
//! processes of its user (`forward`, `unix`), and TCP ports below 1024
//! are not listened on for it.

mod connection;
mod control;
mod forward;
mod keys;
mod login;
mod modes;
mod process;
#[cfg(any(test, feature = "replay"))]
pub mod replay;
mod session;
mod unix;
mod wire;

pub use control::{Answer, Question, SOCKET};
pub(crate) use forward::CONNECTED;

use crate::account::User;
use crate::config::{Config, ConfigError, Exchange, HostKey};
use crate::door::{Bounds, Door, Entry};
use crate::hostkey::{self, HostKeyError};
use crate::{cgroup, config, registry};
use connection::{Connection, Shared};
use russh::keys::ssh_key::{Algorithm, EcdsaCurve, HashAlg};
use russh::{MethodKind, MethodSet, Preferred, SshId, cipher, compression, kex, mac};
use service::caller::OPERATORS;
use std::borrow::Cow;
use std::collections::HashMap;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{fs, io};
use tokio::net::TcpSocket;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use wire::Wire;

/// Why the server does not run.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The configuration is wrong.
    #[error("{path}: {error}", path = path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: ConfigError,
    },
    /// There is no host key.
    #[error(transparent)]
    HostKey(#[from] HostKeyError),
    /// No address could be listened on.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// The last one.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// There is no place for the sessions' cgroups.
    #[error("no cgroup v2 hierarchy is mounted")]
    NoCgroups,
    /// Something of the system failed.
    #[error("{0}: {1}")]
    Io(&'static str, io::Error),
}

/// How a server is set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// The folder in whose `etc`, `var` and `run` everything is: `/`.
    pub root: PathBuf,
    /// This program, which knows its applets by the name it is called by.
    pub program: PathBuf,
    /// Writes a line to the journal.
    pub log: fn(&str),
}

/// What all connections share.
pub(crate) struct Server {
    root: PathBuf,
    sessions: PathBuf,
    cgroups: PathBuf,
    program: PathBuf,
    config: Config,
    banner: Option<String>,
    log: fn(&str),
    door: Mutex<Door>,
    live: Mutex<HashMap<u64, Live>>,
    last_session: AtomicU64,
    ending: AtomicBool,
    /// Woken when a connection ends.
    left: Notify,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("root", &self.root).finish_non_exhaustive()
    }
}

/// A connection, for whoever must end it.
struct Live {
    /// The same socket, until the connection has ended: to shut it down ends whatever waits for it.
    socket: Option<TcpStream>,
    shared: Arc<Shared>,
}

impl Server {
    /// Logs a line, in which a client's words may be: nothing in it moves a terminal or ends the line.
    fn log(&self, line: &str) {
        (self.log)(&line.replace(|c: char| c.is_control(), "?"));
    }

    fn door(&self) -> MutexGuard<'_, Door> {
        self.door.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn live(&self) -> MutexGuard<'_, HashMap<u64, Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next_session(&self) -> u64 {
        self.last_session.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn greet(&self, number: u64) -> bool {
        self.door().greet(number)
    }

    /// Whether a user is in the group that administers the machine.
    fn is_operator(&self, user: &User) -> bool {
        let path = self.root.join("etc/group");
        service::caller::group(&path, OPERATORS).is_some_and(|group| user.groups.contains(&group))
    }

    fn hang_up(&self, number: u64) {
        if let Some(socket) = self.live().get(&number).and_then(|live| live.socket.as_ref()) {
            // Already gone is as good.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

/// Runs until SIGTERM or SIGINT. `ready` is called once clients can connect.
///
/// # Errors
/// See [`ServerError`].
pub fn run(options: &Options, ready: impl FnOnce()) -> Result<(), ServerError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // Name look-ups of forwarded connections.
        .max_blocking_threads(4)
        .thread_keep_alive(Duration::from_secs(5))
        .build()
        .map_err(|error| ServerError::Io("runtime", error))?;
    runtime.block_on(serve(options, ready))
}

/// The configuration below `root`; none is the default.
///
/// # Errors
/// It cannot be read, or is wrong.
pub fn configuration(root: &Path) -> Result<Config, ServerError> {
    let path = root.join("etc/ssh/sshd.conf");
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        text => text.map_err(|error| ServerError::Io("sshd.conf", error))?,
    };
    config::parse(&text).map_err(|error| ServerError::Config { path, error })
}

/// What a server goes by: the configuration, or what is left of a wrong one, with each error logged.
fn lenient(options: &Options) -> Config {
    let path = options.root.join("etc/ssh/sshd.conf");
    let (config, errors) = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => (Config::default(), vec![]),
        Err(error) => (Config::default(), vec![format!("error: {}: {error}", path.display())]),
        Ok(text) => {
            let (config, errors) = config::read(&text);
            let told =
                |error: ConfigError| format!("error: {}:{}: {}", path.display(), error.line, error.problem);
            (config, errors.into_iter().map(told).collect())
        }
    };
    if errors.is_empty() {
        return config;
    }
    for error in errors {
        (options.log)(&error);
    }
    (options.log)(
        "until that is mended, only members of the group wheel may log in, and nothing is forwarded",
    );
    config.guard()
}

async fn serve(options: &Options, ready: impl FnOnce()) -> Result<(), ServerError> {
    let io = |what| move |error| ServerError::Io(what, error);
    let config = lenient(options);
    let mut terminate = signal(SignalKind::terminate()).map_err(io("signals"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(io("signals"))?;
    // Before the keys are made, which takes a moment: clients wait meanwhile.
    let listeners = listen(&config, options.log)?;
    let banner = config.banner.as_ref().and_then(|path| {
        let text = fs::read_to_string(options.root.join(path.trim_start_matches('/')));
        text.inspect_err(|error| (options.log)(&format!("error: the banner {path}: {error}"))).ok()
    });
    let mounts = fs::read_to_string("/proc/self/mounts").map_err(io("/proc/self/mounts"))?;
    let cgroups = cgroup::mount_point(&mounts).ok_or(ServerError::NoCgroups)?;
    let sessions = registry::folder(&options.root);
    let last = clean(&sessions, &cgroups, options.log).map_err(io("sessions"))?;
    let keys = hostkey::load(&options.root.join("var/lib/ssh"), &config.host_keys)?;
    for (key, made) in &keys {
        let print = key.public_key().fingerprint(HashAlg::Sha256);
        let made = if *made { "made a" } else { "have the" };
        (options.log)(&format!("{made} host key {} {print}", key.algorithm()));
    }
    let transport = Arc::new(transport(&config, keys.into_iter().map(|(key, _)| key).collect()));
    let server = Arc::new(Server {
        root: options.root.clone(),
        sessions,
        cgroups,
        program: options.program.clone(),
        banner,
        log: options.log,
        door: Mutex::new(Door::new(Bounds {
            startups: config.startups,
            startups_per_source: config.startups_per_source,
            connections: config.connections,
        })),
        live: Mutex::default(),
        last_session: AtomicU64::new(last),
        ending: AtomicBool::new(false),
        left: Notify::new(),
        config,
    });
    control::start(&server, &options.root).map_err(io("the control socket"))?;
    ready();
    let numbers = Arc::new(AtomicU64::new(0));
    for listener in listeners {
        let (server, transport, numbers) = (server.clone(), transport.clone(), numbers.clone());
        tokio::spawn(async move {
            loop {
                match listener.accept().await {
                    Ok((socket, peer)) => {
                        let number = numbers.fetch_add(1, Ordering::Relaxed) + 1;
                        if let Err(error) = enter(&server, &transport, number, socket, peer) {
                            server.log(&format!("a connection from {}: {error}", peer.ip()));
                        }
                    }
                    Err(error) => {
                        // Out of descriptors or memory, which ends when connections do.
                        server.log(&format!("accept: {error}"));
                        tokio::time::sleep(Duration::from_millis(200)).await;
                    }
                }
            }
        });
    }
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    end(&server).await;
    Ok(())
}

/// Ends all sessions.
async fn end(server: &Arc<Server>) {
    server.ending.store(true, Ordering::Relaxed);
    let numbers: Vec<u64> = server.live().keys().copied().collect();
    for number in numbers {
        server.hang_up(number);
    }
    let gone = async {
        loop {
            let left = server.left.notified();
            if server.live().is_empty() {
                break;
            }
            left.await;
        }
    };
    if tokio::time::timeout(Duration::from_secs(8), gone).await.is_err() {
        server.log("not all sessions ended in time");
    }
}

/// What a predecessor that was killed has left: its sessions' processes, cgroups and records.
/// Gives the largest session number in use.
fn clean(sessions: &Path, cgroups: &Path, log: fn(&str)) -> io::Result<u64> {
    let mut last = 0;
    for record in registry::list(sessions)? {
        last = last.max(record.session);
        if record.service != "sshd" {
            continue;
        }
        let path = cgroups.join(cgroup::scope_path(record.uid, record.session));
        let killed = cgroup::kill(&path);
        log(&format!("session {} of {} was left over, killed", record.session, record.user));
        match killed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        cgroup::remove(&path);
        registry::remove(sessions, record.session);
    }
    Ok(last)
}

fn listen(config: &Config, log: fn(&str)) -> Result<Vec<tokio::net::TcpListener>, ServerError> {
    let mut listeners = Vec::new();
    // What PID 1 listens on for this server goes first.
    for (_, fd) in service::activation::descriptors() {
        let listener = std::net::TcpListener::from(fd);
        let listener =
            listener.set_nonblocking(true).and_then(|()| tokio::net::TcpListener::from_std(listener));
        listeners.push(listener.map_err(|error| ServerError::Io("a socket from PID 1", error))?);
    }
    if !listeners.is_empty() {
        return Ok(listeners);
    }
    let mut last = None;
    for address in &config.listen {
        match bind(*address) {
            Ok(listener) => listeners.push(listener),
            Err(error) => {
                log(&format!("cannot listen on {address}: {error}"));
                last = Some(ServerError::Listen { address: *address, error });
            }
        }
    }
    match last {
        Some(error) if listeners.is_empty() => Err(error),
        _ => Ok(listeners),
    }
}

fn bind(address: SocketAddr) -> io::Result<tokio::net::TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        let socket = TcpSocket::new_v6()?;
        rustix::net::sockopt::set_ipv6_v6only(&socket, true)?;
        socket
    };
    socket.set_reuseaddr(true)?;
    // An address that an interface gets later is fine (ip(7): `IP_FREEBIND`).
    rustix::net::sockopt::set_ip_freebind(socket.as_fd(), true)?;
    socket.bind(address)?;
    socket.listen(128)
}

/// What russh may negotiate: what has no known weakness, and no more than clients need.
fn transport(config: &Config, keys: Vec<russh::keys::PrivateKey>) -> russh::server::Config {
    let algorithms = config.host_keys.iter().map(|kind| match kind {
        HostKey::Ed25519 => Algorithm::Ed25519,
        HostKey::EcdsaP256 => Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
    });
    let exchanges = config.exchanges.iter().map(|exchange| match exchange {
        Exchange::MlKem768X25519 => kex::MLKEM768X25519_SHA256,
        Exchange::Curve25519 => kex::CURVE25519,
    });
    let extensions = [kex::EXTENSION_SUPPORT_AS_SERVER, kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER];
    let preferred = Preferred {
        kex: Cow::Owned(exchanges.chain(extensions).collect()),
        key: Cow::Owned(algorithms.collect()),
        host_key_certificates: Cow::Borrowed(&[]),
        // chacha20-poly1305 is open to the Terrapin attack with clients that know no strict exchange.
        cipher: Cow::Borrowed(&[cipher::AES_256_GCM, cipher::AES_256_CTR]),
        mac: Cow::Borrowed(&[mac::HMAC_SHA256_ETM, mac::HMAC_SHA512_ETM]),
        compression: Cow::Borrowed(&[compression::NONE]),
    };
    let silence = config.alive_interval.map(|interval| interval * (config.alive_count as u32 + 1));
    russh::server::Config {
        server_id: SshId::Standard(Cow::Borrowed("SSH-2.0-Slipway")),
        methods: MethodSet::from(&[MethodKind::PublicKey][..]),
        // Long enough to hide what was looked up, short enough for a client with several keys.
        auth_rejection_time: Duration::from_millis(50),
        auth_rejection_time_initial: Some(Duration::ZERO),
        keys,
        window_size: wire::WINDOW,
        maximum_packet_size: 32 << 10,
        channel_buffer_size: 16,
        event_buffer_size: 16,
        preferred,
        max_auth_attempts: config.auth_tries,
        inactivity_timeout: silence,
        keepalive_interval: config.alive_interval,
        keepalive_max: config.alive_count,
        nodelay: true,
        ..russh::server::Config::default()
    }
}

/// Lets a connection in, or not.
fn enter(
    server: &Arc<Server>,
    transport: &Arc<russh::server::Config>,
    number: u64,
    socket: tokio::net::TcpStream,
    peer: SocketAddr,
) -> io::Result<()> {
    if server.ending.load(Ordering::Relaxed) {
        return Ok(());
    }
    let entry = server.door().knock(number, peer.ip().into());
    match entry {
        Entry::Admitted => {}
        Entry::InPlaceOf(other) => server.hang_up(other),
        Entry::Refused => return Ok(()),
    }
    let made = (|| {
        socket.set_nodelay(true)?;
        let local = socket.local_addr()?;
        let socket = socket.into_std()?;
        Ok((socket.try_clone()?, tokio::net::TcpStream::from_std(socket)?, local))
    })();
    let (clone, socket, local) = match made {
        Ok(made) => made,
        Err(error) => {
            server.door().leave(number, false);
            return Err(error);
        }
    };
    let shared = Arc::new(Shared::new(server.clone(), number, peer, local));
    server.live().insert(number, Live { socket: Some(clone), shared: shared.clone() });
    let (server, transport) = (server.clone(), transport.clone());
    tokio::spawn(async move {
        connection(&server, transport, &shared, socket).await;
        shared.clear();
        let login = shared.login.get().cloned();
        // Its descriptors go now, whatever its processes still do.
        if let Some(live) = server.live().get_mut(&number) {
            live.socket = None;
        }
        server.door().leave(number, login.is_some());
        if let Some(login) = login {
            login.end(&server).await;
        }
        server.live().remove(&number);
        server.left.notify_one();
    });
    Ok(())
}

/// A connection from its first byte to its last.
async fn connection(
    server: &Arc<Server>,
    transport: Arc<russh::server::Config>,
    shared: &Arc<Shared>,
    socket: tokio::net::TcpStream,
) {
    let grace = tokio::time::sleep(server.config.login_grace);
    tokio::pin!(grace);
    let wire = Wire::new(socket, shared.pressure.clone());
    let session = tokio::select! {
        started = russh::server::run_stream(transport, wire, Connection::new(shared.clone())) => started,
        () = &mut grace => return,
    };
    let Ok(mut session) = session else { return };
    let peer = shared.peer;
    let outcome = tokio::select! {
        outcome = &mut session => outcome,
        () = shared.authenticated.notified() => (&mut session).await,
        () = &mut grace => {
            server.log(&format!("Timeout before authentication of {} port {}", peer.ip(), peer.port()));
            server.hang_up(shared.number);
            (&mut session).await
        }
    };
    if let (Err(error), Some(login)) = (outcome, shared.login.get()) {
        let fault = shared.fault.lock().unwrap_or_else(PoisonError::into_inner).take();
        let why = fault.unwrap_or_else(|| error.to_string());
        server.log(&format!(
            "Connection of session {} from {} port {} ended: {why}",
            login.number,
            peer.ip(),
            peer.port()
        ));
    }
}
