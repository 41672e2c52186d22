//! Clients that write their history down, over any way to a store that speaks etcd's API: a server's
//! services called in the same process, or a connection.
//!
//! Times are those of tokio's clock, so that a simulation's clock will do.

mod wire;
mod work;

use std::future::Future;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use kv_api::etcdserverpb as pb;
use kv_api::etcdserverpb::watch_client::WatchClient;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::client::GrpcService;
use tonic::codegen::{Body as HttpBody, StdError};

use crate::history::{Call, End, History, Item, Operation, Span, Time, Watch};

pub use work::{Seconds, Work};

/// A way to a member's services.
pub trait Service:
    GrpcService<
        Body,
        Error: Into<StdError>,
        Future: Send,
        ResponseBody: HttpBody<Data = Bytes, Error: Into<StdError> + Send> + Send + 'static,
    > + Clone
    + Send
    + Sync
    + 'static
{
}

impl<T> Service for T where
    T: GrpcService<
            Body,
            Error: Into<StdError>,
            Future: Send,
            ResponseBody: HttpBody<Data = Bytes, Error: Into<StdError> + Send> + Send + 'static,
        > + Clone
        + Send
        + Sync
        + 'static
{
}

/// Who asks whom.
#[derive(Clone, Copy, Debug)]
pub struct Who {
    /// The client.
    pub client: u32,
    /// The life of the member that is asked: see [`Operation::session`].
    pub session: u64,
}

/// A history that is being written.
#[derive(Debug)]
pub struct Recorder {
    began: Instant,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    history: History,
    work: Work,
}

/// Where a watch ended.
#[derive(Clone, Copy, Debug)]
pub struct Watched {
    /// Its place in the history.
    pub at: usize,
    /// From where the next one goes on.
    pub next: i64,
    /// Whether the member ended it.
    pub canceled: bool,
}

impl Recorder {
    /// An empty one, from now on. Leases are granted for `seconds`.
    pub fn new(seconds: Seconds) -> Self {
        let inner = Inner { work: Work::new(seconds), ..Inner::default() };
        Self { began: Instant::now(), inner: Mutex::new(inner) }
    }

    /// The time now.
    pub fn now(&self) -> Time {
        self.began.elapsed().as_micros() as Time
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something to do, drawn from `random`, which gives a number below the one that it is given.
    pub fn draw(&self, random: &mut impl FnMut(u64) -> u64) -> (Call, bool) {
        self.lock().work.draw(random)
    }

    /// The newest revision that anybody was told.
    pub fn newest(&self) -> i64 {
        self.lock().work.newest()
    }

    /// The history so far.
    pub fn history(&self) -> History {
        self.lock().history.clone()
    }

    /// Nothing fails any more from now on.
    pub fn calm(&self) {
        let now = self.now();
        self.lock().history.calm = Some(now);
    }

    /// All that happened must have come on a watch.
    pub fn settled(&self, at: usize) {
        if let Some(watch) = self.lock().history.watches.get_mut(at) {
            watch.settled = true;
        }
    }

    /// Does a call, and writes down what came of it. When `lost` is done first, nobody knows.
    pub async fn call(
        &self,
        who: Who,
        service: impl Service,
        call: Call,
        serializable: bool,
        lost: impl Future<Output = ()>,
    ) -> End {
        let begin = self.now();
        let outcome = {
            let asked = pin!(wire::ask(service, &call, serializable));
            tokio::select! {
                biased;
                () = lost => End::Unknown,
                outcome = asked => outcome,
            }
        };
        let end = self.now();
        let mut inner = self.lock();
        inner.work.learn(&call, &outcome);
        let Who { client, session } = who;
        let operation =
            Operation { client, session, begin, end, serializable, call, outcome: outcome.clone() };
        inner.history.operations.push(operation);
        outcome
    }

    /// Watches, and writes down what comes, until `lost` is done or the watch ends. After each number
    /// of answers that `progress` gives, it asks how far all is told.
    pub async fn watch(
        &self,
        client: u32,
        service: impl Service,
        span: Span,
        start: i64,
        mut progress: impl FnMut() -> u64,
        lost: impl Future<Output = ()>,
    ) -> Watched {
        let at = {
            let begin = self.now();
            let mut inner = self.lock();
            let watch = Watch { client, span: span.clone(), start, begin, items: Vec::new(), settled: false };
            inner.history.watches.push(watch);
            inner.history.watches.len() - 1
        };
        let mut watched = Watched { at, next: start, canceled: false };
        let (requests, stream) = tokio::sync::mpsc::channel(4);
        // There is room.
        drop(requests.send(wire::create(&span, start)).await);
        let mut lost = pin!(lost);
        let mut service = WatchClient::new(service);
        let opened = tokio::select! {
            biased;
            () = &mut lost => return watched,
            opened = service.watch(ReceiverStream::new(stream)) => opened,
        };
        let Ok(mut answers) = opened.map(tonic::Response::into_inner) else { return watched };
        let mut until_progress = progress();
        loop {
            let answer = tokio::select! {
                biased;
                () = &mut lost => return watched,
                answer = answers.message() => answer,
            };
            let Ok(Some(answer)) = answer else { return watched };
            self.told(&mut watched, start, answer);
            if watched.canceled {
                return watched;
            }
            until_progress = until_progress.saturating_sub(1);
            if until_progress == 0 {
                until_progress = progress();
                // The next one will do, where there is no room.
                drop(requests.try_send(wire::progress()));
            }
        }
    }

    fn told(&self, watched: &mut Watched, start: i64, answer: pb::WatchResponse) {
        let now = self.now();
        let revision = answer.header.map_or(0, |header| header.revision);
        let mut inner = self.lock();
        inner.work.see(revision);
        let Some(watch) = inner.history.watches.get_mut(watched.at) else { return };
        let is_progress = !answer.created && !answer.canceled && answer.events.is_empty();
        if answer.created {
            watch.items.push((now, Item::Created(revision)));
            watched.next = if start > 0 { start } else { revision + 1 };
        }
        if !answer.events.is_empty() {
            let events: Vec<_> = answer.events.into_iter().map(wire::event).collect();
            let last = events.last().map_or(0, |event| event.kv.modified);
            watched.next = watched.next.max(last + 1);
            watch.items.push((now, Item::Events(revision, events)));
        }
        if answer.canceled {
            watch.items.push((now, Item::Canceled(answer.compact_revision)));
            watched.next = watched.next.max(answer.compact_revision);
            watched.canceled = true;
        }
        if is_progress {
            watch.items.push((now, Item::Progress(revision)));
            watched.next = watched.next.max(revision + 1);
        }
    }
}
