//! The resolver: from a question to its answer, with everything between.

use crate::cache::{Cache, Statistics};
use crate::config::{CacheMode, Config, Llmnr};
use crate::exchange::{self, Answered};
use crate::hosts::Hosts;
use crate::local::{self, Facts};
use crate::machine;
use crate::multicast;
use crate::pool::Pool;
use crate::scope::{self, Link, Scope, ScopeId};
use crate::secure::Secure;
use crate::wire::{self, CHAIN_MAX, Outcome, Question};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RData, RecordType};
use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// Patience with a server, in each round over all servers.
const PATIENCE: [Duration; 3] = [Duration::from_millis(1500), Duration::from_secs(2), Duration::from_secs(3)];
/// Patience with all servers of a scope together. glibc waits 5 s and asks twice.
const PATIENCE_ALL: Duration = Duration::from_secs(8);
/// Different questions that are being asked at once.
const IN_FLIGHT_MAX: usize = 512;
/// Askers that wait for one answer.
const WAITERS_MAX: usize = 256;
const CACHE_ENTRIES: usize = 4096;
const CACHE_BYTES: usize = 2 << 20;

/// Where an answer is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The machine's own knowledge.
    Local,
    /// Kept from before.
    Cache(ScopeId),
    /// A server.
    Network(ScopeId),
    /// A neighbour on this link.
    Llmnr(u32),
    /// Nobody was asked, or nobody answered.
    Nowhere,
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved {
    /// What it says.
    pub outcome: Outcome,
    /// Where it is from.
    pub source: Source,
    /// The name at the end of the chain of CNAMEs.
    end: Name,
    /// Why there is none, when there is none.
    pub why: Option<String>,
}

/// Who must be asked: a scope's servers, or (`None`) the neighbours.
type Job = (Option<ScopeId>, Question);

struct State {
    config: Config,
    links: Vec<Link>,
    scopes: Vec<Scope>,
    facts: Facts,
    hosts_stamp: Option<machine::Stamp>,
    cache: Cache,
    pool: Pool,
    /// Whom servers' certificates are to be for.
    names: HashMap<SocketAddr, String>,
    waiting: HashMap<Job, Vec<oneshot::Sender<Resolved>>>,
    questions: u64,
}

/// The resolver; lives in one thread, in a `LocalSet`.
pub struct Resolver {
    state: RefCell<State>,
    /// How servers are asked over TLS; why they cannot be, when they must.
    secure: Result<Option<Secure>, String>,
    hosts_path: std::path::PathBuf,
    log: Box<dyn Fn(&str)>,
}

impl Resolver {
    /// One without links; `log` gets a line for whatever goes wrong.
    pub fn new(config: Config, log: Box<dyn Fn(&str)>) -> Rc<Self> {
        let secure = Secure::of(config.tls);
        if let Err(why) = &secure {
            log(&format!("DNSOverTLS: {why}; no server is asked"));
        }
        Rc::new(Self::with(config, secure, log))
    }

    /// As [`Resolver::new`], with these connections over TLS.
    pub fn with(config: Config, secure: Result<Option<Secure>, String>, log: Box<dyn Fn(&str)>) -> Self {
        let cache = Cache::new(config.cache, CACHE_ENTRIES, CACHE_BYTES);
        Self {
            secure,
            state: RefCell::new(State {
                scopes: scope::scopes(&config, &[]),
                names: scope::names(&config, &[]),
                config,
                links: Vec::new(),
                facts: Facts::default(),
                hosts_stamp: None,
                cache,
                pool: Pool::default(),
                waiting: HashMap::new(),
                questions: 0,
            }),
            hosts_path: "/etc/hosts".into(),
            log,
        }
    }

    /// Takes the links and addresses that there are now. What was kept from servers that are no
    /// longer in use is forgotten.
    pub fn update(&self, links: Vec<Link>, addresses: Vec<IpAddr>, gateways: Vec<IpAddr>) {
        let state = &mut *self.state.borrow_mut();
        let scopes = scope::scopes(&state.config, &links);
        state.names = scope::names(&state.config, &links);
        if scopes != state.scopes {
            state.cache.clear();
            state.pool.keep(|server| scopes.iter().any(|scope| scope.servers.contains(server)));
            state.scopes = scopes;
        }
        state.links = links;
        state.facts.addresses = addresses;
        state.facts.gateways = gateways;
    }

    /// The configuration.
    pub fn config(&self) -> Config {
        self.state.borrow().config.clone()
    }

    /// The links.
    pub fn links(&self) -> Vec<Link> {
        self.state.borrow().links.clone()
    }

    /// The scopes, each with its servers in the order in which they would be asked now.
    pub fn scopes(&self) -> Vec<Scope> {
        let state = self.state.borrow();
        let now = Instant::now();
        let ordered =
            |scope: &Scope| Scope { servers: state.pool.order(&scope.servers, now), ..scope.clone() };
        state.scopes.iter().map(ordered).collect()
    }

    /// Figures of the cache, questions asked in all, questions being asked.
    pub fn statistics(&self) -> (Statistics, u64, usize) {
        let state = self.state.borrow();
        (state.cache.statistics(), state.questions, state.waiting.len())
    }

    /// Forgets all kept answers.
    pub fn flush(&self) {
        self.state.borrow_mut().cache.clear();
    }

    /// The answer to a question; one way or the other there is one, at the latest after some
    /// multiple of [`PATIENCE_ALL`].
    pub async fn resolve(self: &Rc<Self>, question: &Question) -> Resolved {
        self.state.borrow_mut().questions += 1;
        if let Some(answer) = self.local(question) {
            return answer;
        }
        let mut whole = self.ask(question).await;
        // A server that does not follow a chain to its end leaves the rest to us.
        for _ in 0..CHAIN_MAX {
            let has_soa = whole.outcome.authorities.iter().any(|record| matches!(record.data, RData::SOA(_)));
            let open = whole.outcome.code == ResponseCode::NoError
                && !whole.outcome.answers.is_empty()
                && whole.outcome.answers.len() <= CHAIN_MAX
                && !whole.outcome.has(question.kind)
                && !has_soa;
            if !open {
                break;
            }
            let rest = Question { name: whole.end.clone(), kind: question.kind };
            let next = match self.local(&rest) {
                Some(answer) => answer,
                None => self.ask(&rest).await,
            };
            whole.outcome.code = next.outcome.code;
            whole.outcome.authorities = next.outcome.authorities;
            let nothing_more = next.outcome.answers.is_empty();
            whole.outcome.answers.extend(next.outcome.answers);
            whole.end = next.end;
            whole.why = next.why;
            if nothing_more {
                break;
            }
        }
        whole
    }

    fn local(&self, question: &Question) -> Option<Resolved> {
        let state = &mut *self.state.borrow_mut();
        if state.config.read_hosts {
            let stamp = machine::stamp(&self.hosts_path);
            if stamp != state.hosts_stamp {
                state.hosts_stamp = stamp;
                let (hosts, problems) =
                    Hosts::parse(&machine::read_bounded(&self.hosts_path, crate::hosts::SIZE_MAX));
                state.facts.hosts = hosts;
                // A file of thousands of bad lines is one bad file.
                for problem in problems.iter().take(5) {
                    (self.log)(problem);
                }
            }
        }
        state.facts.hostname = machine::hostname();
        let found = local::answer(&state.facts, &question.name, question.kind)?;
        let outcome = match found {
            Ok(answers) => Outcome { answers, ..Outcome::of(ResponseCode::NoError) },
            Err(local::NoSuchName) => Outcome::of(ResponseCode::NXDomain),
        };
        Some(Resolved { outcome, source: Source::Local, end: question.name.clone(), why: None })
    }

    /// Asks whoever is to be asked, all at once; the first that knows the name wins.
    async fn ask(self: &Rc<Self>, question: &Question) -> Resolved {
        let jobs = match self.jobs(question) {
            Ok(jobs) => jobs,
            Err(nobody) => return *nobody,
        };
        let (send, mut results) = mpsc::channel(jobs.len().max(1));
        for job in jobs {
            let (this, question, send) = (Rc::clone(self), question.clone(), send.clone());
            // The first one is waited for, the others may come late: nobody listens then.
            tokio::task::spawn_local(async move {
                let _ = send.send(this.job((job, question)).await).await;
            });
        }
        drop(send);
        let mut best: Option<Resolved> = None;
        while let Some(result) = results.recv().await {
            if result.outcome.has(question.kind) {
                return result;
            }
            let rank = |result: &Resolved| match result.outcome.code {
                ResponseCode::NoError => 2,
                ResponseCode::NXDomain => 1,
                _ => 0,
            };
            if best.as_ref().is_none_or(|best| rank(&result) > rank(best)) {
                best = Some(result);
            }
        }
        best.unwrap_or_else(|| nowhere(question, ResponseCode::ServFail, "the question was dropped"))
    }

    /// Who is to be asked: single labels and link-local addresses the neighbours, the rest servers.
    fn jobs(&self, question: &Question) -> Result<Vec<Option<ScopeId>>, Box<Resolved>> {
        let state = self.state.borrow();
        let of_address = matches!(question.kind, RecordType::A | RecordType::AAAA | RecordType::ANY);
        let single = question.name.num_labels() == 1 && of_address;
        let is_link_local = match local::reverse(&question.name) {
            Some(IpAddr::V4(address)) => address.is_link_local(),
            Some(IpAddr::V6(address)) => address.is_unicast_link_local(),
            None => false,
        };
        let mut jobs = Vec::new();
        if (single || is_link_local) && state.links.iter().any(|link| link.llmnr(&state.config) != Llmnr::No)
        {
            jobs.push(None);
        }
        if !is_link_local && (!single || state.config.single_label) {
            jobs.extend(scope::route(&state.scopes, &question.name).iter().map(|scope| Some(scope.id)));
        }
        if !jobs.is_empty() {
            return Ok(jobs);
        }
        let (code, why) = if single || is_link_local {
            (
                ResponseCode::NXDomain,
                "only neighbours are asked for such a name, and LLMNR is off on every link",
            )
        } else if scope::ends_in(&question.name, "local") {
            (ResponseCode::NXDomain, ".local belongs to multicast DNS, which is not supported")
        } else {
            (ResponseCode::ServFail, "no name server is known for it")
        };
        Err(Box::new(nowhere(question, code, why)))
    }

    /// Carries out a job, or waits for the one under way.
    async fn job(self: &Rc<Self>, job: Job) -> Resolved {
        let receiver = {
            let state = &mut *self.state.borrow_mut();
            if let Some(scope) = job.0
                && let Some(message) = state.cache.get(&(scope, job.1.clone()), Instant::now())
            {
                let (outcome, end) = wire::relevant(&message, &job.1);
                return Resolved { outcome, source: Source::Cache(scope), end, why: None };
            }
            let (send, receiver) = oneshot::channel();
            let under_way = state.waiting.len();
            match state.waiting.get_mut(&job) {
                Some(waiters) if waiters.len() >= WAITERS_MAX => {
                    return nowhere(&job.1, ResponseCode::ServFail, "too many wait for the same answer");
                }
                Some(waiters) => waiters.push(send),
                None if under_way >= IN_FLIGHT_MAX => {
                    return nowhere(&job.1, ResponseCode::ServFail, "too many questions at once");
                }
                None => {
                    state.waiting.insert(job.clone(), vec![send]);
                    let (this, job) = (Rc::clone(self), job.clone());
                    // A task of its own: it does not end with the client that asked first.
                    tokio::task::spawn_local(async move {
                        let result = this.fetch(&job).await;
                        let waiters = this.state.borrow_mut().waiting.remove(&job).unwrap_or_default();
                        for waiter in waiters {
                            let _ = waiter.send(result.clone());
                        }
                    });
                }
            }
            receiver
        };
        receiver.await.unwrap_or_else(|_| nowhere(&job.1, ResponseCode::ServFail, "the question was dropped"))
    }

    async fn fetch(&self, (scope, question): &Job) -> Resolved {
        let Some(scope) = scope else {
            let links = {
                let state = self.state.borrow();
                let on = state.links.iter().filter(|link| link.llmnr(&state.config) != Llmnr::No);
                on.map(|link| (link.index, link.name.clone())).collect::<Vec<_>>()
            };
            return match multicast::ask(&links, question).await {
                Some((link, outcome)) => {
                    Resolved { outcome, source: Source::Llmnr(link), end: question.name.clone(), why: None }
                }
                None => nowhere(question, ResponseCode::NXDomain, "no neighbour has this name"),
            };
        };
        match timeout(PATIENCE_ALL, self.ask_servers(*scope, question)).await {
            Ok(Ok((message, bytes))) => {
                let state = &mut *self.state.borrow_mut();
                if state.config.cache != CacheMode::No {
                    state.cache.put((*scope, question.clone()), &message, &bytes, Instant::now());
                }
                let (outcome, end) = wire::relevant(&message, question);
                Resolved { outcome, source: Source::Network(*scope), end, why: None }
            }
            Ok(Err(why)) => nowhere(question, ResponseCode::ServFail, &why),
            Err(_) => nowhere(question, ResponseCode::ServFail, "no server answered in time"),
        }
    }

    /// Round after round over the servers, until one has an answer that is final.
    async fn ask_servers(&self, scope: ScopeId, question: &Question) -> Result<Answered, String> {
        let mut why = "the servers are gone".to_owned();
        for (round, patience) in PATIENCE.into_iter().enumerate() {
            let order = {
                let state = self.state.borrow();
                let servers =
                    state.scopes.iter().find(|known| known.id == scope).map(|scope| &scope.servers[..]);
                state.pool.order(servers.unwrap_or_default(), Instant::now())
            };
            let mut refused_by_all = !order.is_empty();
            for server in order {
                match self.ask_server(server, question, patience).await {
                    Ok(answered) => {
                        let code = answered.0.response_code;
                        if matches!(code, ResponseCode::NoError | ResponseCode::NXDomain) {
                            return Ok(answered);
                        }
                        why = format!("{server} answers {code}");
                    }
                    Err(error) => {
                        why = format!("{server}: {error}");
                        refused_by_all = false;
                    }
                }
            }
            // Who could not answer this will not a moment later; who was silent may.
            if refused_by_all || round + 1 == PATIENCE.len() {
                break;
            }
        }
        Err(why)
    }

    async fn ask_server(
        &self,
        server: SocketAddr,
        question: &Question,
        patience: Duration,
    ) -> Result<Answered, exchange::ExchangeError> {
        let edns = self.state.borrow().pool.reads_edns(server, Instant::now());
        let mut result = self.ask_once(server, question, edns, patience).await;
        let plain = |answered: &Answered| {
            matches!(
                answered.0.response_code,
                ResponseCode::FormErr | ResponseCode::NotImp | ResponseCode::BADVERS | ResponseCode::BADSIG
            )
        };
        if edns && result.as_ref().is_ok_and(plain) {
            result = self.ask_once(server, question, false, patience).await;
            if result.as_ref().is_ok_and(|answered| !plain(answered)) {
                self.state.borrow_mut().pool.plain(server, Instant::now());
            }
        }
        let state = &mut *self.state.borrow_mut();
        let failures = state.pool.failures(server);
        match &result {
            Ok((message, _))
                if matches!(message.response_code, ResponseCode::NoError | ResponseCode::NXDomain) =>
            {
                if failures > 0 {
                    (self.log)(&format!("server {server} answers again"));
                }
                state.pool.good(server);
            }
            // It lives, and it may be this name only: others are asked now, its place stays.
            Ok(_) => {}
            Err(error) => {
                if failures == 0 {
                    (self.log)(&format!("server {server}: {error}; others are asked first"));
                }
                state.pool.bad(server, Instant::now());
            }
        }
        result
    }

    /// By TLS where that is configured, else by UDP and TCP.
    async fn ask_once(
        &self,
        server: SocketAddr,
        question: &Question,
        edns: bool,
        patience: Duration,
    ) -> Result<Answered, exchange::ExchangeError> {
        let secure = self.secure.as_ref().map_err(|why| exchange::ExchangeError::Tls(why.clone()))?;
        if let Some(secure) = secure.as_ref().filter(|secure| secure.is_for(server)) {
            let name = self.state.borrow().names.get(&server).cloned();
            let result = secure.ask(server, name.as_deref(), question, edns, patience).await;
            if result.is_ok() || !secure.gives_way(server) {
                return result;
            }
        }
        exchange::ask(server, question, edns, patience).await
    }
}

fn nowhere(question: &Question, code: ResponseCode, why: &str) -> Resolved {
    Resolved {
        outcome: Outcome::of(code),
        source: Source::Nowhere,
        end: question.name.clone(),
        why: Some(why.to_owned()),
    }
}
