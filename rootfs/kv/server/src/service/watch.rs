//! etcd's service Watch: one task for a client's stream, with all its watchers.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kv_api::etcdserverpb as pb;
use kv_api::mvccpb;
use kv_core::{Caller, Changes, Event, Policy};
use prost::Message as _;
use tokio::sync::{mpsc, watch};
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::answer;
use crate::auth::Credentials;
use crate::auth::gate::deny;
use crate::hub::{Outbox, Wish};
use crate::member::{Member, blocking};
use crate::metrics;

/// Answers that wait for the client; what comes then waits in the hub, or is read later.
const AHEAD: usize = 4;
/// Events that a watcher from the past reads in one go, and then whole revisions.
const READ_EVENTS: usize = 64;
/// Bytes of keys and values after which it has read enough, and then whole revisions.
const READ_BYTES: usize = 256 << 10;
/// How often watchers that asked for it are told how far the store is (etcd has the same).
const PROGRESS: Duration = Duration::from_mins(10);
/// Above the largest request and this an answer is split, for those who ask for that (as etcd).
const FRAGMENT_MORE_BYTES: usize = 512;
/// The id in answers that are about no watcher.
const NOBODY: i64 = -1;

/// The service.
#[derive(Debug)]
pub struct Watch(pub Member);

#[tonic::async_trait]
impl pb::watch_server::Watch for Watch {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<pb::WatchResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<Streaming<pb::WatchRequest>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let (send, answers) = mpsc::channel(AHEAD);
        let session = Session {
            credentials: Credentials::of(&request),
            readers: BTreeMap::new(),
            policies: self.0.shared.auth.changes(),
            member: self.0.clone(),
            outbox: Arc::default(),
            watchers: BTreeMap::new(),
            next_id: 0,
            send,
        };
        tokio::spawn(session.run(request.into_inner()));
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }
}

/// The client has gone.
struct Gone;

#[derive(Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "etcd's own, each for itself")]
struct Watcher {
    prev_kv: bool,
    fragment: bool,
    progress_notify: bool,
    /// Whether it was told something since the last round of progress.
    told: bool,
}

/// Who a watcher is for, and what it reads: that may cease to be permitted.
struct Reader {
    user: String,
    key: Bytes,
    range_end: Bytes,
}

struct Session {
    member: Member,
    credentials: Credentials,
    readers: BTreeMap<i64, Reader>,
    policies: watch::Receiver<Arc<Policy>>,
    outbox: Arc<Outbox>,
    watchers: BTreeMap<i64, Watcher>,
    next_id: i64,
    send: mpsc::Sender<Result<pb::WatchResponse, Status>>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.member.shared.hub.remove_all(&self.outbox);
    }
}

impl Session {
    async fn run(mut self, mut requests: Streaming<pb::WatchRequest>) {
        let mut progress = tokio::time::interval_at(tokio::time::Instant::now() + PROGRESS, PROGRESS);
        let outbox = Arc::clone(&self.outbox);
        let closed = self.send.clone();
        let mut busy = false;
        // A client may say all that it wants and close its side: it still watches, as in etcd.
        let mut asks = true;
        loop {
            let done = tokio::select! {
                biased;
                () = closed.closed() => Err(Gone),
                Ok(()) = self.policies.changed() => self.check_readers().await,
                request = requests.message(), if asks => match request {
                    Ok(Some(request)) => self.request(request).await,
                    Ok(None) => {
                        asks = false;
                        Ok(())
                    }
                    Err(_) => Err(Gone),
                },
                _ = progress.tick() => self.report().await,
                () = std::future::ready(()), if busy => match self.round().await {
                    Ok(more) => {
                        busy = more;
                        Ok(())
                    }
                    Err(gone) => Err(gone),
                },
                () = outbox.filled(), if !busy => {
                    busy = true;
                    Ok(())
                }
            };
            if done.is_err() {
                return;
            }
        }
    }

    async fn tell(&self, answer: pb::WatchResponse) -> Result<(), Gone> {
        self.send.send(Ok(answer)).await.map_err(|_| Gone)
    }

    async fn request(&mut self, request: pb::WatchRequest) -> Result<(), Gone> {
        use pb::watch_request::RequestUnion;
        match request.request_union {
            Some(RequestUnion::CreateRequest(create)) => self.create(create).await,
            Some(RequestUnion::CancelRequest(cancel)) => {
                let watch_id = cancel.watch_id;
                if !self.member.shared.hub.remove(&self.outbox, watch_id) {
                    return Ok(());
                }
                self.forget(watch_id);
                let header = Some(self.member.header_now());
                self.tell(pb::WatchResponse { header, watch_id, canceled: true, ..Default::default() }).await
            }
            Some(RequestUnion::ProgressRequest(_)) => {
                // As etcd since 3.4.25: only when it is true of all watchers of the stream.
                let revision = loop {
                    if let Some(revision) = self.outbox.progress(&self.member.shared.hub) {
                        break revision;
                    }
                    self.round().await?;
                };
                // Not the newest by now: what came since may be waiting.
                let header = Some(self.member.header(revision));
                self.tell(pb::WatchResponse { header, watch_id: NOBODY, ..Default::default() }).await
            }
            // etcd passes over a request that it does not know, too.
            None => Ok(()),
        }
    }

    async fn create(&mut self, create: pb::WatchCreateRequest) -> Result<(), Gone> {
        let filtered = |kind: pb::watch_create_request::FilterType| create.filters.contains(&kind.into());
        let wish = Wish {
            no_put: filtered(pb::watch_create_request::FilterType::Noput),
            no_delete: filtered(pb::watch_create_request::FilterType::Nodelete),
            key: if create.key.is_empty() { Bytes::from_static(&[0]) } else { create.key },
            range_end: create.range_end,
        };
        let hub = Arc::clone(&self.member.shared.hub);
        let empty = !matches!(wish.range_end.as_ref(), [] | [0]) && wish.range_end <= wish.key;
        let mut user = String::new();
        let refused = match self.permit(&wish).await {
            Err(status) => Some(reason(&status)),
            Ok(_) if empty => Some("mvcc: watcher range is empty".to_owned()),
            Ok(_) if create.watch_id != 0 && self.outbox.has(create.watch_id) => {
                Some("mvcc: duplicate watch ID provided on the WatchStream".to_owned())
            }
            Ok(caller) => {
                user = caller.user;
                self.member.limits.full_of_watchers(self.watchers.len())
            }
        };
        if let Some(cancel_reason) = refused {
            return self
                .tell(pb::WatchResponse {
                    header: Some(self.member.header_now()),
                    watch_id: NOBODY,
                    created: true,
                    canceled: true,
                    cancel_reason,
                    ..Default::default()
                })
                .await;
        }
        let watch_id = if create.watch_id == 0 { self.free_id() } else { create.watch_id };
        let watcher = Watcher {
            prev_kv: create.prev_kv,
            fragment: create.fragment,
            progress_notify: create.progress_notify,
            told: false,
        };
        self.watchers.insert(watch_id, watcher);
        let reader = Reader { user, key: wish.key.clone(), range_end: wish.range_end.clone() };
        self.readers.insert(watch_id, reader);
        let revision = hub.add(&self.outbox, watch_id, wish, create.start_revision.max(0));
        let header = Some(self.member.header(revision));
        self.tell(pb::WatchResponse { header, watch_id, created: true, ..Default::default() }).await
    }

    /// Who asks for a watcher, if they may have it.
    async fn permit(&self, wish: &Wish) -> Result<Caller, Status> {
        let caller = self.member.caller(&self.credentials).await?;
        let policy = self.member.shared.auth.policy();
        policy.check_read(&caller, &wish.key, &wish.range_end).map_err(deny)?;
        Ok(caller)
    }

    /// Between taking changes and telling them: the policy that goes with them is known by then.
    async fn check_policy(&mut self) -> Result<(), Gone> {
        // The member, which has the other end, is there as long as this.
        if self.policies.has_changed().unwrap_or(false) { self.check_readers().await } else { Ok(()) }
    }

    /// The policy is another: ends the watchers of those who may no longer read what they watch.
    async fn check_readers(&mut self) -> Result<(), Gone> {
        let policy = Arc::clone(&self.policies.borrow_and_update());
        // Of whom nobody asked who they are, while that did not matter.
        let now = self.member.caller(&self.credentials).await.unwrap_or_default();
        let mut ended = Vec::new();
        for (watch_id, reader) in &mut self.readers {
            if reader.user.is_empty() {
                reader.user.clone_from(&now.user);
            }
            // Nobody has no revision.
            let revision = if reader.user.is_empty() { 0 } else { policy.revision() };
            let caller = Caller { user: reader.user.clone(), revision };
            if let Err(denial) = policy.check_read(&caller, &reader.key, &reader.range_end) {
                ended.push((*watch_id, reason(&deny(denial))));
            }
        }
        for (watch_id, cancel_reason) in ended {
            self.forget(watch_id);
            let header = Some(self.member.header_now());
            self.tell(pb::WatchResponse {
                header,
                watch_id,
                canceled: true,
                cancel_reason,
                ..Default::default()
            })
            .await?;
        }
        Ok(())
    }

    fn forget(&mut self, watch_id: i64) {
        self.member.shared.hub.remove(&self.outbox, watch_id);
        self.watchers.remove(&watch_id);
        self.readers.remove(&watch_id);
    }

    fn free_id(&mut self) -> i64 {
        while self.watchers.contains_key(&self.next_id) {
            self.next_id += 1;
        }
        self.next_id += 1;
        self.next_id - 1
    }

    /// Sends one batch to each watcher that has one waiting, and reads on for each that lags;
    /// returns whether there may be more.
    async fn round(&mut self) -> Result<bool, Gone> {
        let hub = Arc::clone(&self.member.shared.hub);
        let deliveries = self.outbox.take(&hub);
        let lagging = self.outbox.lagging();
        let more = !deliveries.is_empty() || !lagging.is_empty();
        self.check_policy().await?;
        for delivery in deliveries {
            self.deliver(delivery.watch_id, delivery.revision, delivery.events).await?;
        }
        for (watch_id, wish, next) in lagging {
            let Some(watcher) = self.watchers.get(&watch_id).copied() else { continue };
            let source = self.member.shared.source.clone();
            let wanted = wish.clone();
            let read = blocking(move || {
                let view = source.view()?;
                let changes = view.changes_within(next, READ_EVENTS, READ_BYTES, watcher.prev_kv, |key| {
                    wanted.covers(key)
                })?;
                Ok((view.revision(), view.compacted(), changes))
            });
            match read.await {
                Ok((revision, _, Ok(Changes { mut events, next }))) => {
                    self.check_policy().await?;
                    events.retain(|event| wish.passes(event.kind));
                    if !events.is_empty() {
                        self.deliver(watch_id, revision, events).await?;
                    }
                    hub.caught_up(&self.outbox, watch_id, next);
                }
                Ok((_, compacted, Err(_))) => self.compacted(watch_id, compacted).await?,
                Err(status) => {
                    // The stream ends with the reason; the client begins anew.
                    let _ = self.send.send(Err(status)).await;
                    return Err(Gone);
                }
            }
        }
        Ok(more)
    }

    /// What a watcher wants to begin with is compacted: it ends, and is told where to begin.
    async fn compacted(&mut self, watch_id: i64, compacted: i64) -> Result<(), Gone> {
        self.forget(watch_id);
        self.tell(pb::WatchResponse {
            // etcd leaves the revision out here.
            header: Some(self.member.header(0)),
            watch_id,
            canceled: true,
            compact_revision: compacted,
            ..Default::default()
        })
        .await
    }

    async fn deliver(&mut self, watch_id: i64, revision: i64, events: Vec<Event>) -> Result<(), Gone> {
        let Some(watcher) = self.watchers.get_mut(&watch_id) else { return Ok(()) };
        watcher.told = true;
        metrics::EVENTS.add(events.len() as u64);
        let watcher = *watcher;
        let header = Some(self.member.header(revision));
        let events = events.into_iter().map(|event| answer::event(event, watcher.prev_kv)).collect();
        let mut parts = if watcher.fragment {
            split(events, self.member.limits.request_bytes + FRAGMENT_MORE_BYTES)
        } else {
            vec![events]
        };
        let last = parts.pop().unwrap_or_default();
        for events in parts {
            self.tell(pb::WatchResponse { header, watch_id, events, fragment: true, ..Default::default() })
                .await?;
        }
        self.tell(pb::WatchResponse { header, watch_id, events: last, ..Default::default() }).await
    }

    /// Tells watchers that asked for it, and have heard nothing for a while, how far the store is.
    async fn report(&mut self) -> Result<(), Gone> {
        let header = Some(self.member.header_now());
        let mut quiet = Vec::new();
        for (watch_id, watcher) in &mut self.watchers {
            if watcher.progress_notify && !watcher.told && self.outbox.is_idle(*watch_id) {
                quiet.push(*watch_id);
            }
            watcher.told = false;
        }
        for watch_id in quiet {
            self.tell(pb::WatchResponse { header, watch_id, ..Default::default() }).await?;
        }
        Ok(())
    }
}

/// A refusal as etcd's clients look for it in a cancelled watch.
fn reason(status: &Status) -> String {
    format!("rpc error: code = {:?} desc = {}", status.code(), status.message())
}

/// Parts of at most so many bytes, or of one event.
fn split(events: Vec<mvccpb::Event>, most: usize) -> Vec<Vec<mvccpb::Event>> {
    let mut parts: Vec<Vec<mvccpb::Event>> = Vec::new();
    let mut bytes = usize::MAX;
    for event in events {
        // A tag, and a length of at most four bytes.
        let length = event.encoded_len() + 5;
        match parts.last_mut() {
            Some(part) if bytes.saturating_add(length) <= most => {
                bytes += length;
                part.push(event);
            }
            _ => {
                bytes = length;
                parts.push(vec![event]);
            }
        }
    }
    parts
}
