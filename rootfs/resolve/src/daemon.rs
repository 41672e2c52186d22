//! `resolved`, the service: sockets, files and events around the [`Resolver`].

use crate::config::{Config, Domains, Llmnr, Server};
use crate::control::{Found, LinkStatus, Record, Request, Response, SOCKET, Status};
use crate::links;
use crate::local::STUB;
use crate::multicast::Responders;
use crate::resolver::{Resolved, Resolver, Source};
use crate::scope::{self, Link, Scope, ScopeId};
use crate::wire::{Question, name_to_ask};
use crate::{files, machine, stub};
use hickory_proto::rr::{Name, RecordType};
use nix::sys::socket::{AddressFamily, NetlinkAddr, SockFlag, SockProtocol, SockType, bind};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify;
use service::call::Caller;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::time::timeout;

/// The longest control message in bytes, and how long a client may be silent.
const LINE_MAX: u64 = 1 << 16;
const SILENCE_MAX: Duration = Duration::from_secs(5);
const CLIENTS_MAX: usize = 32;

/// The service; `arguments` must be empty. Exit code: 1 failed, 2 usage.
pub fn main(arguments: &[String]) -> u8 {
    if !arguments.is_empty() {
        eprintln!("error: resolved takes no arguments\nhint: it is configured by /etc/systemd/resolved.conf");
        return 2;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build();
    let outcome = runtime.and_then(|runtime| tokio::task::LocalSet::new().block_on(&runtime, run()));
    match outcome {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("error: {error}");
            1
        }
    }
}

/// What `resolvectl` says of a link, instead of the network service.
#[derive(Debug, Default, Clone)]
struct Override {
    servers: Option<Vec<Server>>,
    domains: Option<Domains>,
    llmnr: Option<Llmnr>,
    default_route: Option<bool>,
}

struct Daemon {
    resolver: Rc<Resolver>,
    overrides: RefCell<HashMap<u32, Override>>,
    responders: RefCell<Responders>,
    /// Links or addresses have changed.
    changed: Notify,
    log: Rc<dyn Fn(&str)>,
}

async fn run() -> io::Result<()> {
    let log: Rc<dyn Fn(&str)> = Rc::new(|text: &str| eprintln!("{text}"));
    let (entries, mut problems) = service::config::load(Path::new("/"), "resolved.conf");
    let (config, more) = Config::of(&entries);
    problems.extend(more);
    for problem in &problems {
        log(problem);
    }

    let place = |what: &str, error: io::Error| io::Error::other(format!("{what}: {error}"));
    for folder in [files::FOLDER, links::FOLDER] {
        fs::create_dir_all(folder).map_err(|error| place(folder, error))?;
    }
    let events = Events::new().map_err(|error| place("events of links", error))?;
    let own_log = Rc::clone(&log);
    let resolver = Resolver::new(config, Box::new(move |text| own_log(text)));
    let daemon = Rc::new(Daemon {
        resolver: Rc::clone(&resolver),
        overrides: RefCell::default(),
        responders: RefCell::default(),
        changed: Notify::new(),
        log,
    });
    daemon.refresh();

    let mut serving = tokio::task::JoinSet::new();
    let (udp, tcp) = resolver.config().listen;
    if udp {
        serving.spawn_local(serve_stub(Rc::clone(&daemon), stub::listen_udp, stub::serve_udp));
    }
    if tcp {
        serving.spawn_local(serve_stub(Rc::clone(&daemon), stub::listen_tcp, stub::serve_tcp));
    }
    let control = service::call::listen(Path::new(SOCKET), 0o666).map_err(|error| place(SOCKET, error))?;
    control.set_nonblocking(true)?;
    serving.spawn_local(serve_control(UnixListener::from_std(control)?, Rc::clone(&daemon)));
    serving.spawn_local(watch(events.watch()?, Rc::clone(&daemon)));
    service::notify::notify("READY=1\nSTATUS=Processing requests")?;
    match serving.join_next().await {
        Some(Ok(result)) => result,
        Some(Err(error)) => Err(io::Error::other(error)),
        None => Ok(()),
    }
}

/// Listens as soon as the loopback has the stub's address, and serves.
async fn serve_stub<S, F: Future<Output = io::Result<()>>>(
    daemon: Rc<Daemon>,
    listen: fn(SocketAddr) -> io::Result<S>,
    serve: fn(S, Rc<Resolver>) -> F,
) -> io::Result<()> {
    let address = SocketAddr::from((STUB, 53));
    let socket = loop {
        let mut changed = std::pin::pin!(daemon.changed.notified());
        // From here on no change is missed.
        changed.as_mut().enable();
        match listen(address) {
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => changed.await,
            Err(error) => return Err(io::Error::other(format!("{address}: {error}"))),
            Ok(socket) => break socket,
        }
    };
    serve(socket, Rc::clone(&daemon.resolver)).await
}

impl Daemon {
    /// Looks at the machine anew and carries it into the resolver, the files and LLMNR.
    fn refresh(&self) {
        let mut now = match machine::look() {
            Ok(now) => now,
            Err(error) => return (self.log)(&format!("links cannot be listed: {error}")),
        };
        for problem in &now.problems {
            (self.log)(problem);
        }
        {
            let overrides = &mut *self.overrides.borrow_mut();
            overrides.retain(|index, _| now.links.iter().any(|link| link.index == *index));
            for link in &mut now.links {
                if let Some(wanted) = overrides.get(&link.index) {
                    wanted.apply(link);
                }
            }
        }
        let config = self.resolver.config();
        self.resolver.update(now.links, now.addresses, now.gateways);
        let links = self.resolver.links();
        self.responders.borrow_mut().update(&links, &config, &self.log);

        let search = scope::search_domains(&config, &links);
        let servers: Vec<_> =
            scope::scopes(&config, &links).into_iter().flat_map(|scope| scope.servers).collect();
        let real = files::servers(&servers, &search);
        let for_stub = if config.listen == (false, false) { real.clone() } else { files::stub(&search) };
        for (file, text) in [("stub-resolv.conf", for_stub), ("resolv.conf", real)] {
            let path = Path::new(files::FOLDER).join(file);
            if let Err(error) = files::replace(&path, &text) {
                (self.log)(&format!("{}: {error}", path.display()));
            }
        }
    }

    async fn answer(&self, caller: &Caller, request: Request) -> Response {
        let changes = !matches!(request, Request::Query { .. } | Request::Status | Request::Statistics);
        if changes && let Err(why) = caller.allow("change name resolution") {
            return Response::Refused(why);
        }
        match request {
            Request::Query { name, kind, search } => self.query(&name, kind.as_deref(), search).await,
            Request::Status => Response::Status(self.status()),
            Request::Statistics => {
                let (cache, questions, in_flight) = self.resolver.statistics();
                Response::Statistics { cache, questions, in_flight }
            }
            Request::FlushCaches => {
                self.resolver.flush();
                Response::Done
            }
            Request::SetServers(link, servers) => self.change(link, |it| it.servers = Some(servers)),
            Request::SetLlmnr(link, llmnr) => self.change(link, |it| it.llmnr = Some(llmnr)),
            Request::SetDefaultRoute(link, on) => self.change(link, |it| it.default_route = Some(on)),
            Request::SetDomains(link, words) => {
                let mut domains = Domains::default();
                match words.iter().try_for_each(|word| domains.add(word)) {
                    Ok(()) => self.change(link, |it| it.domains = Some(domains)),
                    Err(why) => Response::Refused(why),
                }
            }
            Request::Revert(link) => self.change(link, |it| *it = Override::default()),
        }
    }

    fn change(&self, index: u32, change: impl FnOnce(&mut Override)) -> Response {
        if !self.resolver.links().iter().any(|link| link.index == index) {
            return Response::Refused(format!("there is no link {index}"));
        }
        change(self.overrides.borrow_mut().entry(index).or_default());
        self.refresh();
        Response::Done
    }

    async fn query(&self, text: &str, kind: Option<&str>, search: bool) -> Response {
        let Some((name, is_address)) = name_to_ask(text) else {
            return Response::NotFound(format!("`{text}` is not a name"));
        };
        let kinds = match kind.map(|kind| kind.to_ascii_uppercase().parse::<RecordType>()) {
            Some(Ok(kind)) => vec![kind],
            Some(Err(_)) => {
                return Response::Refused(format!("`{}` is not a record type", kind.unwrap_or_default()));
            }
            None if is_address => vec![RecordType::PTR],
            None => vec![RecordType::A, RecordType::AAAA],
        };
        let rooted = !search || text.ends_with('.');
        let start = Instant::now();
        let mut why = String::new();
        for candidate in scope::candidates(&name, rooted, &self.resolver.config(), &self.resolver.links()) {
            match self.query_name(&candidate, &kinds).await {
                Ok((records, source)) => return self.found(records, source, start),
                Err(reason) => why = reason,
            }
        }
        Response::NotFound(format!("{text}: {why}"))
    }

    /// Both address types at once.
    async fn query_name(&self, name: &Name, kinds: &[RecordType]) -> Result<(Vec<Record>, Source), String> {
        let question = |kind: &RecordType| Question { name: name.clone(), kind: *kind };
        let results = match kinds {
            [one] => vec![self.resolver.resolve(&question(one)).await],
            [one, two, ..] => {
                let (one, two) = (question(one), question(two));
                let (first, second) = tokio::join!(self.resolver.resolve(&one), self.resolver.resolve(&two));
                vec![first, second]
            }
            [] => Vec::new(),
        };
        let mut records: Vec<Record> = Vec::new();
        let (mut source, mut why) = (Source::Nowhere, String::new());
        for (result, kind) in results.iter().zip(kinds) {
            if result.outcome.has(*kind) {
                source = result.source;
                for record in &result.outcome.answers {
                    let record = shown(record);
                    if !records.iter().any(|known| known.name == record.name && known.data == record.data) {
                        records.push(record);
                    }
                }
            } else {
                why = reason(result);
            }
        }
        if records.is_empty() { Err(why) } else { Ok((records, source)) }
    }

    fn found(&self, records: Vec<Record>, source: Source, start: Instant) -> Response {
        let (text, index) = match source {
            Source::Local | Source::Nowhere => ("local", None),
            Source::Cache(scope) => ("cache", index_of(scope)),
            Source::Network(scope) => ("network", index_of(scope)),
            Source::Llmnr(index) => ("llmnr", Some(index)),
        };
        let links = self.resolver.links();
        let link = links.into_iter().find(|link| Some(link.index) == index).map(|link| link.name);
        let took_us = start.elapsed().as_micros() as u64;
        Response::Found(Found { records, source: text.to_owned(), link, took_us })
    }

    fn status(&self) -> Status {
        let config = self.resolver.config();
        let scopes = self.resolver.scopes();
        let scope_of = |id| scopes.iter().find(|scope| scope.id == id);
        let current =
            |scope: Option<&Scope>| scope.and_then(|scope| scope.servers.first()).map(ToString::to_string);
        let links = self.resolver.links().into_iter().map(|link| LinkStatus {
            index: link.index,
            current: current(scope_of(ScopeId::Link(link.index))),
            default_route: scope_of(ScopeId::Link(link.index)).is_some_and(|scope| scope.default_route),
            domains: words(&link.settings.domains),
            llmnr: link.llmnr(&config),
            servers: link.settings.servers.clone(),
            name: link.name,
        });
        Status {
            links: links.collect(),
            current: current(scope_of(ScopeId::Global)),
            domains: words(&config.domains),
            llmnr: config.llmnr,
            servers: config.servers,
            fallback: config.fallback,
        }
    }
}

impl Override {
    fn apply(&self, link: &mut Link) {
        let settings = &mut link.settings;
        if let Some(servers) = &self.servers {
            settings.servers.clone_from(servers);
        }
        if let Some(domains) = &self.domains {
            settings.domains.clone_from(domains);
        }
        settings.llmnr = self.llmnr.or(settings.llmnr);
        settings.default_route = self.default_route.or(settings.default_route);
    }
}

fn index_of(scope: ScopeId) -> Option<u32> {
    match scope {
        ScopeId::Global => None,
        ScopeId::Link(index) => Some(index),
    }
}

fn reason(result: &Resolved) -> String {
    use hickory_proto::op::ResponseCode::{NXDomain, NoError};
    match (&result.why, result.outcome.code) {
        (Some(why), _) => why.clone(),
        (None, NXDomain) => "no such name".to_owned(),
        (None, NoError) => "the name exists, but has no such record".to_owned(),
        (None, code) => format!("the server answers {code}"),
    }
}

fn shown(record: &hickory_proto::rr::Record) -> Record {
    Record {
        name: record.name.to_string(),
        kind: record.record_type().to_string(),
        ttl: record.ttl,
        data: record.data.to_string(),
    }
}

fn words(domains: &Domains) -> Vec<String> {
    let plain = |name: &Name| {
        let text = name.to_string();
        if text == "." { text } else { text.trim_end_matches('.').to_owned() }
    };
    let routing = domains.routing.iter().map(|name| format!("~{}", plain(name)));
    domains.search.iter().map(plain).chain(routing).collect()
}

/// Answers `resolvectl`, in the form of [`service::call`], many at once: a query may take seconds.
async fn serve_control(listener: UnixListener, daemon: Rc<Daemon>) -> io::Result<()> {
    let turns = std::sync::Arc::new(Semaphore::new(CLIENTS_MAX));
    loop {
        let Ok(turn) = std::sync::Arc::clone(&turns).acquire_owned().await else { return Ok(()) };
        let (stream, _) = listener.accept().await?;
        let daemon = Rc::clone(&daemon);
        tokio::task::spawn_local(async move {
            // A client that talks nonsense or goes away has had its turn.
            let _ = converse(stream, &daemon).await;
            drop(turn);
        });
    }
}

async fn converse(mut stream: UnixStream, daemon: &Daemon) -> io::Result<()> {
    let caller = Caller::of(&stream)?;
    let mut line = Vec::new();
    let (read, mut write) = stream.split();
    let mut read = BufReader::new(read.take(LINE_MAX));
    timeout(SILENCE_MAX, read.read_until(b'\n', &mut line)).await??;
    let mut answer = serde_json::to_vec(&daemon.answer(&caller, serde_json::from_slice(&line)?).await)?;
    answer.push(b'\n');
    timeout(SILENCE_MAX, write.write_all(&answer)).await?
}

/// What tells that links, addresses, routes or the network service's files have changed.
struct Events {
    files: OwnedFd,
    links: OwnedFd,
}

impl Events {
    fn new() -> io::Result<Self> {
        let files = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC)?;
        let flags =
            inotify::WatchFlags::CLOSE_WRITE | inotify::WatchFlags::MOVED_TO | inotify::WatchFlags::DELETE;
        inotify::add_watch(&files, links::FOLDER, flags)?;
        let links = nix::sys::socket::socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkRoute,
        )?;
        bind(links.as_raw_fd(), &NetlinkAddr::new(0, GROUPS))?;
        Ok(Self { files, links })
    }

    /// Waits for events in a thread of its own, since tokio's own waiting for foreign descriptors
    /// is unsafe code. A message that is not yet taken stands for later events too.
    fn watch(self) -> io::Result<mpsc::Receiver<()>> {
        let (send, receive) = mpsc::channel(1);
        std::thread::Builder::new().name("events".to_owned()).spawn(move || {
            loop {
                let mut ready = [&self.files, &self.links].map(|fd| PollFd::new(fd, PollFlags::IN));
                match poll(&mut ready, None) {
                    Err(rustix::io::Errno::INTR) => continue,
                    Err(_) => return,
                    Ok(_) => {}
                }
                drain(&self.files);
                drain(&self.links);
                if matches!(send.try_send(()), Err(TrySendError::Closed(()))) {
                    return;
                }
            }
        })?;
        Ok(receive)
    }
}

/// `RTMGRP_LINK`, `RTMGRP_IPV4_IFADDR`, `RTMGRP_IPV4_ROUTE`, `RTMGRP_IPV6_IFADDR`,
/// `RTMGRP_IPV6_ROUTE` (rtnetlink(7)).
const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 0x100 | 0x400;

/// Reads away what is there. What it says does not matter, nor does it when some was lost.
fn drain(events: &OwnedFd) {
    let mut packet = [0; 8192];
    while !matches!(rustix::io::read(events, &mut packet), Err(rustix::io::Errno::AGAIN) | Ok(0)) {}
}

/// Looks anew after events; a burst of them is one.
async fn watch(mut events: mpsc::Receiver<()>, daemon: Rc<Daemon>) -> io::Result<()> {
    const BURST: Duration = Duration::from_millis(20);
    while events.recv().await.is_some() {
        tokio::time::sleep(BURST).await;
        daemon.refresh();
        daemon.changed.notify_waiters();
    }
    Err(io::Error::other("events of links have ended"))
}
