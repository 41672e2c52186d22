//! What Lock and Election do on behalf of a caller: etcd's own requests (transactions,
//! ranges, watches, leases), sent to the services of this member without a connection,
//! under the caller's name, so that each is checked as if the caller had sent it.

use std::future::Future;

use bytes::Bytes;
use kv_api::etcdserverpb as pb;
use kv_api::etcdserverpb::kv_client::KvClient;
use kv_api::etcdserverpb::lease_client::LeaseClient;
use kv_api::etcdserverpb::watch_client::WatchClient;
use kv_api::mvccpb;
use tokio::sync::oneshot;
use tokio_stream::StreamExt as _;
use tonic::metadata::MetadataMap;
use tonic::service::Routes;
use tonic::{Code, Extensions, Request, Status, Streaming};

/// How long a lease lives that is granted to a caller who names none, seconds (etcd has the same).
const LEASE_S: i64 = 60;
/// What of a caller's metadata says who that is and what must hold.
const PASSED_ON: [&str; 3] = ["authorization", "token", "hasleader"];

/// The services KV, Watch and Lease of this member.
#[derive(Clone, Debug)]
pub struct Local(Routes);

impl Local {
    /// Takes the services, with no layers around them.
    pub fn new(services: Routes) -> Self {
        Self(services)
    }

    /// A session of whoever sent a request; gives its message back.
    pub fn session<T>(&self, request: Request<T>) -> (Session, T) {
        let (metadata, extensions, message) = request.into_parts();
        let mut kept = MetadataMap::new();
        for name in PASSED_ON {
            if let Some(value) = metadata.get(name) {
                kept.insert(name, value.clone());
            }
        }
        (Session { local: self.0.clone(), metadata: kept, extensions }, message)
    }
}

/// One caller's requests.
#[derive(Clone, Debug)]
pub struct Session {
    local: Routes,
    metadata: MetadataMap,
    extensions: Extensions,
}

impl Session {
    fn request<T>(&self, message: T) -> Request<T> {
        Request::from_parts(self.metadata.clone(), self.extensions.clone(), message)
    }

    fn kv(&self) -> KvClient<Routes> {
        KvClient::new(self.local.clone()).max_decoding_message_size(usize::MAX)
    }

    /// The lease with the id, or for 0 a new one of [`LEASE_S`].
    pub async fn lease(&self, id: i64) -> Result<i64, Status> {
        if id != 0 {
            return Ok(id);
        }
        let grant = pb::LeaseGrantRequest { ttl: LEASE_S, id: 0 };
        let mut client = LeaseClient::new(self.local.clone());
        Ok(client.lease_grant(self.request(grant)).await.map_err(plain)?.into_inner().id)
    }

    /// A range.
    pub async fn range(&self, range: pb::RangeRequest) -> Result<pb::RangeResponse, Status> {
        Ok(self.kv().range(self.request(range)).await.map_err(plain)?.into_inner())
    }

    /// A transaction.
    pub async fn txn(&self, txn: pb::TxnRequest) -> Result<pb::TxnResponse, Status> {
        Ok(self.kv().txn(self.request(txn)).await.map_err(plain)?.into_inner())
    }

    /// A deletion of one key.
    pub async fn delete(&self, key: Bytes) -> Result<pb::DeleteRangeResponse, Status> {
        let delete = pb::DeleteRangeRequest { key, ..Default::default() };
        Ok(self.kv().delete_range(self.request(delete)).await.map_err(plain)?.into_inner())
    }

    /// The changes of a key, or of all that begin with it, from a revision on.
    pub async fn watch(&self, key: Bytes, is_prefix: bool, from: i64) -> Result<Events, Status> {
        let range_end = if is_prefix { prefix_end(&key) } else { Bytes::new() };
        let create = pb::WatchCreateRequest { key, range_end, start_revision: from, ..Default::default() };
        let union = pb::watch_request::RequestUnion::CreateRequest(create);
        let first = pb::WatchRequest { request_union: Some(union) };
        // The watch lives for as long as its requests do not end.
        let requests = tokio_stream::once(first).chain(tokio_stream::pending());
        let mut client = WatchClient::new(self.local.clone()).max_decoding_message_size(usize::MAX);
        Ok(Events(client.watch(self.request(requests)).await.map_err(plain)?.into_inner()))
    }

    /// Waits until no key of a prefix is older than a create revision.
    pub async fn wait_for_older(&self, prefix: &Bytes, revision: i64) -> Result<(), Status> {
        loop {
            let mut range = one_of(prefix, pb::range_request::SortOrder::Descend);
            range.max_create_revision = revision - 1;
            let response = self.range(range).await?;
            let Some(kv) = response.kvs.into_iter().next() else { return Ok(()) };
            let from = response.header.map_or(0, |header| header.revision);
            let mut events = self.watch(kv.key, false, from).await?;
            loop {
                let (_, changes) = events.next().await?;
                if changes.iter().any(is_delete) {
                    break;
                }
            }
        }
    }
}

/// A watch's answers.
#[derive(Debug)]
pub struct Events(Streaming<pb::WatchResponse>);

impl Events {
    /// The next changes, under their header.
    ///
    /// # Errors
    /// The watch has ended: its reason, or that there is none.
    pub async fn next(&mut self) -> Result<(Option<pb::ResponseHeader>, Vec<mvccpb::Event>), Status> {
        let response = self.0.message().await.map_err(plain)?;
        let lost = || Status::unknown("lost watcher waiting for delete");
        let response = response.ok_or_else(lost)?;
        if response.compact_revision != 0 {
            return Err(plain(kv_api::Fault::Compacted.into()));
        }
        if response.canceled {
            return Err(Status::unknown(response.cancel_reason));
        }
        Ok((response.header, response.events))
    }
}

/// Whether a change is a deletion.
pub fn is_delete(event: &mvccpb::Event) -> bool {
    event.r#type == i32::from(mvccpb::event::EventType::Delete)
}

/// The first or the last key of a prefix by its creation.
pub fn one_of(prefix: &Bytes, order: pb::range_request::SortOrder) -> pb::RangeRequest {
    pb::RangeRequest {
        key: prefix.clone(),
        range_end: prefix_end(prefix),
        limit: 1,
        sort_order: order.into(),
        sort_target: pb::range_request::SortTarget::Create.into(),
        ..Default::default()
    }
}

/// The comparison that a key is there since a revision; 0 for one that is not there.
pub fn created_at(key: &Bytes, revision: i64) -> pb::Compare {
    pb::Compare {
        result: pb::compare::CompareResult::Equal.into(),
        target: pb::compare::CompareTarget::Create.into(),
        key: key.clone(),
        target_union: Some(pb::compare::TargetUnion::CreateRevision(revision)),
        range_end: Bytes::new(),
    }
}

/// A put under a lease.
pub fn put(key: &Bytes, value: Bytes, lease: i64) -> pb::RequestOp {
    let put = pb::PutRequest { key: key.clone(), value, lease, ..Default::default() };
    pb::RequestOp { request: Some(pb::request_op::Request::RequestPut(put)) }
}

/// A range as a part of a transaction.
pub fn get(range: pb::RangeRequest) -> pb::RequestOp {
    pb::RequestOp { request: Some(pb::request_op::Request::RequestRange(range)) }
}

/// A deletion as a part of a transaction.
pub fn delete(key: &Bytes) -> pb::RequestOp {
    let delete = pb::DeleteRangeRequest { key: key.clone(), ..Default::default() };
    pb::RequestOp { request: Some(pb::request_op::Request::RequestDeleteRange(delete)) }
}

/// The first key that a part of a transaction has read.
pub fn first_read(response: &pb::TxnResponse, part: usize) -> Option<&mvccpb::KeyValue> {
    match response.responses.get(part)?.response.as_ref()? {
        pb::response_op::Response::ResponseRange(range) => range.kvs.first(),
        _ => None,
    }
}

/// The prefix of a name, and in it the key of a lease: `NAME/LEASE`, the lease in hexadecimal.
pub fn key_of(name: &[u8], lease: i64) -> (Bytes, Bytes) {
    let prefix = [name, b"/"].concat();
    // As etcd writes a number that is signed.
    let sign = if lease < 0 { "-" } else { "" };
    let key = [prefix.as_slice(), format!("{sign}{:x}", lease.unsigned_abs()).as_bytes()].concat();
    (prefix.into(), key.into())
}

/// The first key behind all those with a prefix, which never is all `0xff`.
fn prefix_end(prefix: &[u8]) -> Bytes {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if let Some(next) = last.checked_add(1) {
            end.push(next);
            return end.into();
        }
    }
    Bytes::from_static(&[0])
}

/// etcd's errors lose their code on this way: clients know them by the text.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn plain(status: Status) -> Status {
    Status::new(Code::Unknown, status.message())
}

/// Runs the work of a request to its end though the caller may go: then `gone` is done, and the
/// work must leave nothing behind. Its last step, `undo`, is for an answer that found nobody.
pub async fn unbroken<T, W, U>(
    work: impl FnOnce(oneshot::Receiver<()>) -> W,
    undo: impl FnOnce(&T) -> U + Send + 'static,
) -> Result<T, Status>
where
    T: Send + 'static,
    W: Future<Output = Result<T, Status>> + Send + 'static,
    U: Future<Output = ()> + Send + 'static,
{
    // Dropped with this future; nothing is ever sent.
    let (_here, gone) = oneshot::channel();
    let (tell, told) = oneshot::channel();
    let work = work(gone);
    tokio::spawn(async move {
        let result = work.await;
        if let Err(Ok(unwanted)) = tell.send(result) {
            undo(&unwanted).await;
        }
    });
    told.await.unwrap_or_else(|_| Err(kv_api::Fault::Stopped.into()))
}
