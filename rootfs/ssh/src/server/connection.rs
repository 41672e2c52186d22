//! One client: what russh calls when something comes from it.

use super::keys;
use super::login::Login;
use super::process::{Running, Terminal};
use super::wire::{Inbox, Pressure};
use super::{Server, forward, session, unix};
use crate::authorized::Grant;
use crate::pattern;
use crate::start::Wish;
use russh::keys::PublicKey;
use russh::keys::ssh_key::HashAlg;
use russh::server::{Auth, ChannelOpenHandle, Handler, Msg, PublicKeyOffer, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId, ChannelOpenFailure, ChannelWriteHalf, Pty, Sig};
use rustix::termios::Winsize;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::Notify;

/// Forwarded connections of one client at a time.
const FORWARDS_MAX: usize = 256;
/// Ports that one client may listen on.
const LISTENERS_MAX: usize = 64;
/// Channels in the life of a connection: russh keeps some kilobytes of each until the connection ends.
const CHANNELS_MAX: u64 = 20_000;
/// Variables that one session may set.
const VARIABLES_MAX: usize = 64;

/// What a connection's tasks share.
#[derive(Debug)]
pub(super) struct Shared {
    pub server: Arc<Server>,
    pub number: u64,
    pub peer: SocketAddr,
    pub local: SocketAddr,
    pub pressure: Arc<Pressure>,
    /// Set once, when the client has authenticated.
    pub login: OnceLock<Arc<Login>>,
    /// Woken then.
    pub authenticated: Notify,
    channels: Mutex<HashMap<ChannelId, Arc<Entry>>>,
    /// Processes and forwarded connections that have not ended.
    pub sessions: AtomicUsize,
    pub forwards: AtomicUsize,
    opened: AtomicU64,
    /// Why the connection could not go on, for the journal.
    pub fault: Mutex<Option<String>>,
}

impl Shared {
    pub(super) fn new(server: Arc<Server>, number: u64, peer: SocketAddr, local: SocketAddr) -> Self {
        Self {
            server,
            number,
            peer,
            local,
            pressure: Arc::default(),
            login: OnceLock::new(),
            authenticated: Notify::new(),
            channels: Mutex::default(),
            sessions: AtomicUsize::new(0),
            forwards: AtomicUsize::new(0),
            opened: AtomicU64::new(0),
            fault: Mutex::default(),
        }
    }

    fn channels(&self) -> MutexGuard<'_, HashMap<ChannelId, Arc<Entry>>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn channel(&self, id: ChannelId) -> Option<Arc<Entry>> {
        self.channels().get(&id).cloned()
    }

    pub(super) fn insert(&self, id: ChannelId, entry: Arc<Entry>) {
        self.channels().insert(id, entry);
    }

    /// The channel is gone, for whatever reason; its tasks hear of it.
    pub(super) fn remove(&self, id: ChannelId) {
        if let Some(entry) = self.channels().remove(&id) {
            entry.close();
        }
    }

    /// All channels are gone.
    pub(super) fn clear(&self) {
        for (_, entry) in self.channels().drain() {
            entry.close();
        }
    }

    pub(super) fn grant(&self) -> Option<&Grant> {
        self.login.get().map(|login| &login.grant)
    }

    /// Takes one of the places for forwarded connections.
    pub(super) fn forward_place(self: &Arc<Self>) -> Option<Place> {
        Place::take(self, |shared| &shared.forwards, FORWARDS_MAX)
    }
}

/// A place among so many, given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    shared: Arc<Shared>,
    counter: fn(&Shared) -> &AtomicUsize,
}

impl Place {
    pub(super) fn take(
        shared: &Arc<Shared>,
        counter: fn(&Shared) -> &AtomicUsize,
        most: usize,
    ) -> Option<Self> {
        let taken = counter(shared).fetch_add(1, Ordering::Relaxed);
        let place = Self { shared: shared.clone(), counter };
        (taken < most).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        (self.counter)(&self.shared).fetch_sub(1, Ordering::Relaxed);
    }
}

/// A channel.
#[derive(Debug)]
pub(super) struct Entry {
    pub inbox: Inbox,
    /// Woken, once, when the channel is closed.
    pub closed: Notify,
    /// A session's, none of a forwarded connection.
    pub write: Option<ChannelWriteHalf<Msg>>,
    pub wishes: Mutex<Wishes>,
    /// What runs in it.
    pub running: OnceLock<Arc<Running>>,
}

/// What a session's client set before it started something.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    pub terminal: Option<Terminal>,
    pub environment: Vec<(String, String)>,
    /// Where its agent is.
    pub agent: Option<String>,
    pub started: bool,
}

impl Entry {
    pub(super) fn new(pressure: &Arc<Pressure>, write: Option<ChannelWriteHalf<Msg>>) -> Self {
        Self {
            inbox: Inbox::new(pressure.clone()),
            closed: Notify::new(),
            write,
            wishes: Mutex::default(),
            running: OnceLock::new(),
        }
    }

    pub(super) fn wishes(&self) -> MutexGuard<'_, Wishes> {
        self.wishes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What came before is still for whoever takes it.
    fn close(&self) {
        self.inbox.end();
        self.closed.notify_one();
    }

    /// Sends a signal to the program that runs, and to what it started in its group.
    pub(super) fn signal(&self, signal: i32) {
        if let Some(running) = self.running.get() {
            // It may have ended just now; its group may live on.
            let _ = sys::process::kill(-running.pid, signal);
        }
    }
}

/// The handler.
#[derive(Debug)]
pub(super) struct Connection {
    pub shared: Arc<Shared>,
    listeners: HashMap<(String, u32), forward::Listening>,
    sockets: HashMap<String, unix::Listening>,
    /// One for all sessions that ask.
    agent: Option<unix::Listening>,
    tries: usize,
}

impl Connection {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, listeners: HashMap::new(), sockets: HashMap::new(), agent: None, tries: 0 }
    }

    /// What a key of this user may do here and now.
    fn grant(&self, name: &str, key: &PublicKey) -> Result<Login, String> {
        let server = &self.shared.server;
        let config = &server.config;
        let user =
            crate::account::look_up(&server.root, name).map_err(|error| format!("/etc/passwd: {error}"))?;
        let user = user.ok_or("there is no such user")?;
        if user.account.uid == 0 && !config.root_login {
            return Err("root may not log in".to_owned());
        }
        let allowed = config.allow_users.is_empty() || pattern::any(&config.allow_users, name);
        if !allowed || pattern::any(&config.deny_users, name) {
            return Err("the user is not allowed".to_owned());
        }
        if config.operators_only && !server.is_operator(&user) {
            return Err("only members of wheel may while sshd.conf is wrong".to_owned());
        }
        let (keys, faults) = keys::find(&server.root, config, &user.account);
        for fault in faults {
            server.log(&fault);
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let mut refusal = "the key is not authorized".to_owned();
        for authorized in keys.into_iter().filter(|listed| listed.key.key_data() == key.key_data()) {
            match authorized.grant.usable(self.shared.peer.ip(), now) {
                Ok(()) => return Ok(Login::new(user, authorized.grant)),
                Err(why) => refusal = why.to_string(),
            }
        }
        Err(refusal)
    }

    /// Logs a refusal; the client may try so often that these are bounded.
    fn refused(&mut self, name: &str, key: &PublicKey, why: &str) -> Auth {
        self.tries += 1;
        if self.tries <= self.shared.server.config.auth_tries {
            let (name, peer) = (name.escape_default(), self.shared.peer);
            let print = key.fingerprint(HashAlg::Sha256);
            let line = format!(
                "Failed publickey for {name:.64} from {} port {}: {print}: {why}",
                peer.ip(),
                peer.port()
            );
            self.shared.server.log(&line);
        }
        Auth::reject()
    }

    fn entry(&self, id: ChannelId) -> Option<Arc<Entry>> {
        self.shared.channel(id)
    }

    /// Whether one more channel may be opened.
    fn admits(&self) -> bool {
        self.shared.opened.fetch_add(1, Ordering::Relaxed) < CHANNELS_MAX
    }

    fn start(&self, id: ChannelId, wish: &Wish, session: &mut Session) -> Result<(), russh::Error> {
        let started = match self.entry(id) {
            Some(entry) => session::start(&self.shared, id, &entry, wish, session.handle()),
            None => Err("no such session".to_owned()),
        };
        match started {
            Ok(()) => session.channel_success(id),
            Err(why) => {
                self.shared
                    .server
                    .log(&format!("no process for the connection {}: {why}", self.shared.number));
                session.channel_failure(id)
            }
        }
    }
}

fn size(columns: u32, rows: u32, width: u32, height: u32) -> Winsize {
    let short = |value: u32| u16::try_from(value).unwrap_or(u16::MAX);
    Winsize { ws_row: short(rows), ws_col: short(columns), ws_xpixel: short(width), ws_ypixel: short(height) }
}

fn answer(session: &mut Session, id: ChannelId, good: bool) -> Result<(), russh::Error> {
    if good { session.channel_success(id) } else { session.channel_failure(id) }
}

impl Handler for Connection {
    type Error = russh::Error;

    async fn auth_publickey_offered(
        &mut self,
        user: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, russh::Error> {
        Ok(match self.grant(user, offer.public_key) {
            Ok(_) => Auth::Accept,
            Err(why) => self.refused(user, offer.public_key, &why),
        })
    }

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, russh::Error> {
        // Looked up again: the key may be another than the one that was offered.
        let login = match self.grant(user, key.public_key) {
            Ok(login) => login,
            Err(why) => return Ok(self.refused(user, key.public_key, &why)),
        };
        let (server, shared) = (self.shared.server.clone(), self.shared.clone());
        let login = match login.begin(&server, shared.peer) {
            Ok(login) => Arc::new(login),
            Err(error) => {
                server.log(&format!("no session for {user}: {error}"));
                return Ok(Auth::reject());
            }
        };
        if !server.greet(shared.number) || shared.login.set(login.clone()).is_err() {
            login.abandon(&server);
            return Err(russh::Error::Disconnect);
        }
        let print = key.public_key.fingerprint(HashAlg::Sha256);
        let (ip, port) = (shared.peer.ip(), shared.peer.port());
        server.log(&format!(
            "Accepted publickey for {user} from {ip} port {port}: {print}, session {}",
            login.number
        ));
        shared.authenticated.notify_one();
        Ok(Auth::Accept)
    }

    async fn authentication_banner(&mut self) -> Result<Option<String>, russh::Error> {
        Ok(self.shared.server.banner.clone())
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        let shared = &self.shared;
        let most = shared.server.config.sessions;
        let open = shared.channels().values().filter(|entry| entry.write.is_some()).count();
        if !self.admits() || open.max(shared.sessions.load(Ordering::Relaxed)) >= most {
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
            return Ok(());
        }
        // Data comes by `data` alone: russh waits for whoever holds the other half.
        let id = channel.id();
        let (_, write) = channel.split();
        shared.insert(id, Arc::new(Entry::new(&shared.pressure, Some(write))));
        reply.accept().await;
        Ok(())
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        host: &str,
        port: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        let shared = &self.shared;
        let port = u16::try_from(port).unwrap_or(0);
        let allowed = shared.server.config.tcp_forwarding.local
            && shared.grant().is_some_and(|grant| grant.may_open(host, port));
        if !allowed {
            reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
            return Ok(());
        }
        match (self.admits(), shared.forward_place()) {
            (true, Some(place)) => forward::connect(shared, place, channel, (host.to_owned(), port), reply),
            _ => reply.reject(ChannelOpenFailure::ResourceShortage).await,
        }
        Ok(())
    }

    async fn channel_open_direct_streamlocal(
        &mut self,
        channel: Channel<Msg>,
        path: &str,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        let shared = &self.shared;
        // `permitopen` names no paths, so a key that has it opens none (as OpenSSH's does).
        let allowed = shared.server.config.stream_forwarding.local
            && shared.grant().is_some_and(|grant| grant.forwarding && grant.open.is_empty());
        if !allowed {
            reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
            return Ok(());
        }
        match (self.admits(), shared.forward_place()) {
            (true, Some(place)) => forward::connect_path(shared, place, channel, path, reply),
            _ => reply.reject(ChannelOpenFailure::ResourceShortage).await,
        }
        Ok(())
    }

    async fn channel_open_confirmation(
        &mut self,
        id: ChannelId,
        _: u32,
        _: u32,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        // Only a remote forward opens channels from here. Its data may follow at once.
        self.shared.insert(id, Arc::new(Entry::new(&self.shared.pressure, None)));
        Ok(())
    }

    async fn tcpip_forward(
        &mut self,
        address: &str,
        port: &mut u32,
        session: &mut Session,
    ) -> Result<bool, russh::Error> {
        let shared = &self.shared;
        self.listeners.retain(|_, listening| listening.open());
        let Some(login) = shared.login.get() else { return Ok(false) };
        let config = &shared.server.config;
        let wanted = u16::try_from(*port).unwrap_or(1);
        let allowed = config.tcp_forwarding.remote
            && self.listeners.len() < LISTENERS_MAX
            && login.grant.may_listen(if address.is_empty() { "*" } else { address }, wanted)
            && (wanted == 0 || wanted >= 1024 || login.user.account.uid == 0);
        if !allowed {
            return Ok(false);
        }
        match forward::listen(shared, config.gateway, address, wanted, &session.handle()) {
            Ok((listening, bound)) => {
                *port = u32::from(bound);
                self.listeners.insert((address.to_owned(), *port), listening);
                Ok(true)
            }
            Err(error) => {
                shared.server.log(&format!("cannot listen on {address} port {port} for the client: {error}"));
                Ok(false)
            }
        }
    }

    async fn cancel_tcpip_forward(
        &mut self,
        address: &str,
        port: u32,
        _: &mut Session,
    ) -> Result<bool, russh::Error> {
        Ok(self.listeners.remove(&(address.to_owned(), port)).is_some())
    }

    async fn streamlocal_forward(&mut self, path: &str, session: &mut Session) -> Result<bool, russh::Error> {
        let shared = &self.shared;
        self.sockets.retain(|_, listening| listening.open());
        // `permitlisten` names no paths, so a key that has it listens on none (as OpenSSH's does).
        let allowed = shared.server.config.stream_forwarding.remote
            && self.sockets.len() < LISTENERS_MAX
            && !path.contains('\0')
            && shared.grant().is_some_and(|grant| grant.forwarding && grant.listen.is_empty());
        if !allowed {
            return Ok(false);
        }
        match unix::listen(shared, unix::Socket::Path(path.to_owned()), session.handle()).await {
            Ok(listening) => {
                self.sockets.insert(path.to_owned(), listening);
                Ok(true)
            }
            Err(why) => {
                shared.server.log(&format!("cannot listen on {path} for the client: {why}"));
                Ok(false)
            }
        }
    }

    async fn cancel_streamlocal_forward(
        &mut self,
        path: &str,
        _: &mut Session,
    ) -> Result<bool, russh::Error> {
        Ok(self.sockets.remove(path).is_some())
    }

    async fn agent_request(&mut self, id: ChannelId, session: &mut Session) -> Result<bool, russh::Error> {
        let shared = &self.shared;
        let allowed =
            shared.server.config.agent_forwarding && shared.grant().is_some_and(|grant| grant.agent);
        let Some(entry) = self.entry(id).filter(|_| allowed) else { return Ok(false) };
        if !self.agent.as_ref().is_some_and(unix::Listening::open) {
            match unix::listen(shared, unix::Socket::Agent, session.handle()).await {
                Ok(listening) => self.agent = Some(listening),
                Err(why) => {
                    shared.server.log(&format!("cannot listen for the client's agent: {why}"));
                    return Ok(false);
                }
            }
        }
        entry.wishes().agent = self.agent.as_ref().map(|listening| listening.path.clone());
        Ok(true)
    }

    async fn data(&mut self, id: ChannelId, data: &[u8], _: &mut Session) -> Result<(), russh::Error> {
        if let Some(entry) = self.entry(id)
            && entry.inbox.push(data).is_err()
        {
            let mut fault = self.shared.fault.lock().unwrap_or_else(PoisonError::into_inner);
            *fault = Some("the client sends more than its windows allow".to_owned());
            return Err(russh::Error::Disconnect);
        }
        Ok(())
    }

    fn adjust_window(&mut self, _: ChannelId, _: u32) -> u32 {
        self.shared.pressure.window()
    }

    async fn channel_eof(&mut self, id: ChannelId, _: &mut Session) -> Result<(), russh::Error> {
        if let Some(entry) = self.entry(id) {
            entry.inbox.end();
        }
        Ok(())
    }

    async fn channel_close(&mut self, id: ChannelId, _: &mut Session) -> Result<(), russh::Error> {
        self.shared.remove(id);
        Ok(())
    }

    async fn pty_request(
        &mut self,
        id: ChannelId,
        term: &str,
        columns: u32,
        rows: u32,
        width: u32,
        height: u32,
        modes: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        let allowed = self.shared.server.config.tty && self.shared.grant().is_some_and(|grant| grant.pty);
        let entry = self.entry(id).filter(|_| allowed && !term.contains('\0'));
        let good = entry.is_some_and(|entry| {
            let mut wishes = entry.wishes();
            let fresh = !wishes.started && wishes.terminal.is_none();
            if fresh {
                let size = size(columns, rows, width, height);
                wishes.terminal = Some(Terminal { term: term.to_owned(), size, modes: modes.to_vec() });
            }
            fresh
        });
        answer(session, id, good)
    }

    async fn window_change_request(
        &mut self,
        id: ChannelId,
        columns: u32,
        rows: u32,
        width: u32,
        height: u32,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        let size = size(columns, rows, width, height);
        let good = self.entry(id).is_some_and(|entry| {
            if let Some(terminal) = entry.wishes().terminal.as_mut() {
                terminal.size = size;
            }
            entry.running.get().is_some_and(|running| running.resize(size).is_ok())
        });
        answer(session, id, good)
    }

    async fn env_request(
        &mut self,
        id: ChannelId,
        name: &str,
        value: &str,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        let fine = pattern::any(&self.shared.server.config.accept_env, name)
            && !name.contains(['=', '\0'])
            && !value.contains('\0')
            && value.len() <= 4096;
        let good = self.entry(id).filter(|_| fine).is_some_and(|entry| {
            let mut wishes = entry.wishes();
            let room = !wishes.started && wishes.environment.len() < VARIABLES_MAX;
            if room {
                wishes.environment.push((name.to_owned(), value.to_owned()));
            }
            room
        });
        answer(session, id, good)
    }

    async fn shell_request(&mut self, id: ChannelId, session: &mut Session) -> Result<(), russh::Error> {
        self.start(id, &Wish::Shell, session)
    }

    async fn exec_request(
        &mut self,
        id: ChannelId,
        line: &[u8],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        self.start(id, &Wish::Exec(line.to_vec()), session)
    }

    async fn subsystem_request(
        &mut self,
        id: ChannelId,
        name: &str,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        if name == "sftp" { self.start(id, &Wish::Sftp, session) } else { session.channel_failure(id) }
    }

    async fn x11_request(
        &mut self,
        id: ChannelId,
        _: bool,
        _: &str,
        _: &str,
        _: u32,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        session.channel_failure(id)
    }

    async fn signal(&mut self, id: ChannelId, signal: Sig, _: &mut Session) -> Result<(), russh::Error> {
        if let (Some(entry), Some(number)) = (self.entry(id), session::signal_number(&signal)) {
            entry.signal(number);
        }
        Ok(())
    }
}
