//! A watch that outlives its connection: after a break it goes on where it was, at another
//! endpoint, and tells when the events in between are compacted.

use crate::call::bounded;
use crate::retry::Outcome;
use crate::{Client, Error, Keys};
use kv_api::Fault;
use kv_api::etcdserverpb::watch_client::WatchClient;
use kv_api::etcdserverpb::watch_request::RequestUnion;
use kv_api::etcdserverpb::{
    ResponseHeader, WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse,
};
use kv_api::mvccpb::Event;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

/// The watch id of an answer to a request for progress (etcd `clientv3.InvalidWatchID`).
const ALL_WATCHES: i64 = -1;

/// What to watch.
#[derive(Debug, Clone)]
pub struct Watch {
    /// Which keys.
    pub keys: Keys,
    /// The first revision; 0: from now on.
    pub start_revision: i64,
    /// Whether events carry what was before.
    pub prev_kv: bool,
    /// Kinds of events to leave out, as etcd's `FilterType` numbers them.
    pub filters: Vec<i32>,
}

impl Watch {
    /// From now on, all events.
    pub fn of(keys: Keys) -> Self {
        Self { keys, start_revision: 0, prev_kv: false, filters: Vec::new() }
    }
}

/// Events that came together; none where progress was asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Of the member that sent it.
    pub header: ResponseHeader,
    /// In the order of their revisions, all of a revision together.
    pub events: Vec<Event>,
}

/// A watch that goes on over broken connections.
#[derive(Debug)]
pub struct Watcher {
    client: Client,
    watch: Watch,
    /// The first revision that has not been given out; 0: not known yet.
    next: i64,
    open: Option<Open>,
    failures: u32,
}

#[derive(Debug)]
struct Open {
    turn: usize,
    requests: mpsc::Sender<WatchRequest>,
    answers: Streaming<WatchResponse>,
}

impl Client {
    /// Watches keys. Nothing is sent before the first [`Watcher::next`].
    pub fn watch(&self, watch: Watch) -> Watcher {
        Watcher { client: self.clone(), next: watch.start_revision, watch, open: None, failures: 0 }
    }
}

impl Watcher {
    /// Waits until the server has made the watch: events from here on are not missed, and
    /// `start_revision` 0 means now.
    ///
    /// # Errors
    /// As [`Self::next`].
    pub async fn ready(&mut self) -> Result<(), Error> {
        while self.open.is_none() {
            self.reopen().await?;
        }
        Ok(())
    }

    /// The next events. Waits for as long as it takes, also for a member to serve; an answer
    /// that is given up while it is awaited loses nothing.
    ///
    /// # Errors
    /// [`Error::Compacted`] when the next events are gone; [`Error::WatchCancelled`];
    /// [`Error::Refused`].
    pub async fn next(&mut self) -> Result<Batch, Error> {
        loop {
            let Some(open) = &mut self.open else {
                self.reopen().await?;
                continue;
            };
            let answer = match open.answers.message().await {
                Ok(Some(answer)) => answer,
                Ok(None) => {
                    self.broken(&Status::unavailable("the stream has ended"))?;
                    continue;
                }
                Err(status) => {
                    self.broken(&status)?;
                    continue;
                }
            };
            self.failures = 0;
            if let Some(batch) = self.take(answer)? {
                return Ok(batch);
            }
        }
    }

    /// Asks the server how far it is: [`Self::next`] gives a batch without events. Does
    /// nothing while there is no connection.
    pub async fn request_progress(&mut self) {
        if let Some(open) = &self.open {
            let request = RequestUnion::ProgressRequest(WatchProgressRequest {});
            // A stream that is broken is noticed by `next`.
            let _broken = open.requests.send(WatchRequest { request_union: Some(request) }).await;
        }
    }

    fn take(&mut self, answer: WatchResponse) -> Result<Option<Batch>, Error> {
        if answer.compact_revision != 0 {
            self.open = None;
            return Err(Error::Compacted(answer.compact_revision));
        }
        if answer.canceled {
            if Fault::NoLeader.text() == answer.cancel_reason {
                return self.broken(&Status::from(Fault::NoLeader)).map(|()| None);
            }
            self.open = None;
            return Err(Error::WatchCancelled(answer.cancel_reason));
        }
        let header = answer.header.ok_or(Error::Answer("its header"))?;
        if answer.created {
            if self.next == 0 {
                self.next = header.revision + 1;
            }
            return Ok(None);
        }
        let asked = answer.watch_id == ALL_WATCHES;
        match answer.events.last().and_then(|event| event.kv.as_ref()) {
            Some(kv) => self.next = self.next.max(kv.mod_revision + 1),
            // Everything up to here has been sent; asked answers may run ahead of events.
            None if !asked => self.next = self.next.max(header.revision + 1),
            None => {}
        }
        if answer.events.is_empty() && !asked {
            return Ok(None);
        }
        Ok(Some(Batch { header, events: answer.events }))
    }

    fn broken(&mut self, status: &Status) -> Result<(), Error> {
        let turn = self.open.take().map(|open| open.turn);
        self.failed(turn, status)
    }

    /// What a failure means: the end, or another attempt, before which [`Self::reopen`] pauses.
    fn failed(&mut self, turn: Option<usize>, status: &Status) -> Result<(), Error> {
        if Outcome::of(status) == Outcome::Refused {
            return Err(Error::refused(status.clone()));
        }
        if let Some(turn) = turn {
            self.client.pass(turn);
        }
        self.failures = self.failures.saturating_add(1);
        Ok(())
    }

    async fn reopen(&mut self) -> Result<(), Error> {
        if let Some(attempt) = self.failures.checked_sub(1) {
            sleep(self.client.settings().backoff.pause(attempt)).await;
        }
        let (turn, _, channel) = self.client.turn();
        let client = self.client.clone();
        let (requests, receiver) = mpsc::channel(4);
        let create = WatchCreateRequest {
            key: self.watch.keys.key.clone(),
            range_end: self.watch.keys.range_end.clone(),
            start_revision: self.next,
            // So that a quiet watch does not fall behind compaction.
            progress_notify: true,
            filters: self.watch.filters.clone(),
            prev_kv: self.watch.prev_kv,
            ..Default::default()
        };
        let create = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
        let mut number = 0;
        let opening = async {
            let (request, token) = client.authorised(&channel, ReceiverStream::new(receiver)).await?;
            number = token;
            requests.send(create).await.map_err(|_| Status::unavailable("the stream has ended"))?;
            let mut answers = bounded(WatchClient::new(channel.clone())).watch(request).await?.into_inner();
            // The first answer says that the watch is made, or why not.
            let first =
                answers.message().await?.ok_or_else(|| Status::unavailable("the stream has ended"))?;
            Ok::<_, Status>((answers, first))
        };
        let opened = timeout(client.settings().request_timeout, opening).await;
        match opened.unwrap_or_else(|_| Err(Status::unavailable("no answer in time"))) {
            Ok((answers, first)) => {
                if first.canceled && Fault::InvalidAuthToken.text() == first.cancel_reason {
                    client.forget_token(number).await;
                    return self.failed(None, &Status::from(Fault::InvalidAuthToken));
                }
                self.open = Some(Open { turn, requests, answers });
                // A created watch may be cancelled in the same answer.
                self.take(first).map(drop)
            }
            Err(status) => {
                if Outcome::of(&status) == Outcome::Token {
                    client.forget_token(number).await;
                }
                self.failed(Some(turn), &status)
            }
        }
    }
}
