//! The queue under a name: one key for each who waits, in the order in which they were made.

use crate::keys::prefix_end;
use crate::{Client, Error, Keys, Watch};
use bytes::Bytes;
use kv_api::etcdserverpb as pb;
use kv_api::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use kv_api::etcdserverpb::range_request::{SortOrder, SortTarget};
use kv_api::etcdserverpb::request_op::Request;
use kv_api::mvccpb::event::EventType;

/// Whether a key was made at this revision; 0: is not there.
pub(crate) fn created_at(key: &str, revision: i64) -> pb::Compare {
    pb::Compare {
        result: CompareResult::Equal.into(),
        target: CompareTarget::Create.into(),
        key: Bytes::copy_from_slice(key.as_bytes()),
        target_union: Some(TargetUnion::CreateRevision(revision)),
        ..Default::default()
    }
}

pub(crate) fn put(key: &str, value: Bytes, lease: i64) -> pb::RequestOp {
    let key = Bytes::copy_from_slice(key.as_bytes());
    pb::RequestOp {
        request: Some(Request::RequestPut(pb::PutRequest { key, value, lease, ..Default::default() })),
    }
}

pub(crate) fn get(key: &str) -> pb::RequestOp {
    let key = Bytes::copy_from_slice(key.as_bytes());
    pb::RequestOp { request: Some(Request::RequestRange(pb::RangeRequest { key, ..Default::default() })) }
}

/// The revision at which the caller's key was made: by this transaction, or found by it.
pub(crate) fn place(answer: &pb::TxnResponse) -> Result<i64, Error> {
    let header = answer.header.as_ref().ok_or(Error::Answer("its header"))?;
    if answer.succeeded {
        return Ok(header.revision);
    }
    match answer.responses.first().and_then(|response| response.response.as_ref()) {
        Some(pb::response_op::Response::ResponseRange(range)) => {
            range.kvs.first().map(|kv| kv.create_revision).ok_or(Error::Answer("the caller's key"))
        }
        _ => Err(Error::Answer("the caller's key")),
    }
}

/// Waits until every key under `prefix` that was made before `revision` is gone. Waits for
/// the last of them only, so that one who goes wakes one who waits.
pub(crate) async fn until_first(
    client: &Client,
    prefix: &str,
    revision: i64,
) -> Result<pb::ResponseHeader, Error> {
    let key = Bytes::copy_from_slice(prefix.as_bytes());
    loop {
        let before = pb::RangeRequest {
            range_end: prefix_end(&key),
            key: key.clone(),
            limit: 1,
            sort_order: SortOrder::Descend.into(),
            sort_target: SortTarget::Create.into(),
            max_create_revision: revision - 1,
            keys_only: true,
            ..Default::default()
        };
        let answer = client.range(before).await?;
        let header = answer.header.ok_or(Error::Answer("its header"))?;
        let Some(last) = answer.kvs.into_iter().next() else {
            return Ok(header);
        };
        let watch = Watch { start_revision: header.revision, ..Watch::of(Keys::one(last.key)) };
        let mut watcher = client.watch(watch);
        loop {
            match watcher.next().await {
                Ok(batch) if batch.events.iter().any(|event| event.r#type == EventType::Delete as i32) => {
                    break;
                }
                Ok(_) => {}
                // What was missed is seen by asking again.
                Err(Error::Compacted(_)) => break,
                Err(error) => return Err(error),
            }
        }
    }
}
