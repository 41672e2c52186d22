//! Calls and answers between the history's types and the wire's.

use kv_api::Fault;
use kv_api::etcdserverpb as pb;
use kv_api::etcdserverpb::kv_client::KvClient;
use kv_api::etcdserverpb::lease_client::LeaseClient;
use kv_api::mvccpb;
use tonic::Status;

use super::Service;
use crate::history::{
    Answer, Body, Call, Compare, End, Event, Given, How, Kv, Refusal, Span, Step, Test, Txn,
};

/// Does a call.
pub async fn ask(service: impl Service, call: &Call, serializable: bool) -> End {
    match asked(service, call, serializable).await {
        Ok(answer) => End::Answered(answer),
        Err(status) => outcome(&status),
    }
}

/// What an error says: that nothing was done, or that nobody knows.
fn outcome(status: &Status) -> End {
    let found = Fault::ALL.iter().find(|fault| fault.text() == status.message());
    End::Refused(match found {
        Some(Fault::Compacted) => Refusal::Compacted,
        Some(Fault::FutureRev) => Refusal::Future,
        Some(
            Fault::LeaseNotFound
            | Fault::LeaseExist
            | Fault::NoSpace
            | Fault::KeyNotFound
            | Fault::DuplicateKey
            | Fault::RequestTooManyRequests
            | Fault::NotSupportedForLearner,
        ) => Refusal::Other,
        _ => return End::Unknown,
    })
}

fn header(header: Option<pb::ResponseHeader>) -> i64 {
    header.map_or(0, |header| header.revision)
}

fn steps(revision: i64, given: Given) -> Answer {
    Answer { revision, body: Body::Steps { succeeded: true, given: vec![given] } }
}

async fn asked(service: impl Service, call: &Call, serializable: bool) -> Result<Answer, Status> {
    match call {
        Call::Step(Step::Put { key, value, lease }) => {
            let answer = KvClient::new(service).put(put(key, value, *lease)).await?.into_inner();
            Ok(steps(header(answer.header), Given::Put(answer.prev_kv.map(kv))))
        }
        Call::Step(Step::Delete(span)) => {
            let answer = KvClient::new(service).delete_range(delete(span)).await?.into_inner();
            Ok(steps(header(answer.header), Given::Deleted(kvs(answer.prev_kvs))))
        }
        Call::Step(Step::Get(span)) => {
            let request = pb::RangeRequest { serializable, ..range(span) };
            let answer = KvClient::new(service).range(request).await?.into_inner();
            Ok(steps(header(answer.header), Given::Got(kvs(answer.kvs))))
        }
        Call::ReadAt(span, revision) => {
            let request = pb::RangeRequest { serializable, revision: *revision, ..range(span) };
            let answer = KvClient::new(service).range(request).await?.into_inner();
            Ok(steps(header(answer.header), Given::Got(kvs(answer.kvs))))
        }
        Call::Txn(Txn { compare, then, otherwise }) => {
            let request = pb::TxnRequest {
                compare: compare.iter().map(comparison).collect(),
                success: then.iter().map(operation).collect(),
                failure: otherwise.iter().map(operation).collect(),
            };
            let answer = KvClient::new(service).txn(request).await?.into_inner();
            let given = answer.responses.into_iter().map(given).collect();
            Ok(Answer {
                revision: header(answer.header),
                body: Body::Steps { succeeded: answer.succeeded, given },
            })
        }
        Call::Compact(revision) => {
            let request = pb::CompactionRequest { revision: *revision, physical: false };
            let answer = KvClient::new(service).compact(request).await?.into_inner();
            Ok(Answer { revision: header(answer.header), body: Body::Done })
        }
        Call::Grant { lease, seconds } => {
            let request = pb::LeaseGrantRequest { id: *lease, ttl: *seconds };
            let answer = LeaseClient::new(service).lease_grant(request).await?.into_inner();
            Ok(Answer { revision: header(answer.header), body: Body::Alive(answer.ttl) })
        }
        Call::Revoke(lease) => {
            let request = pb::LeaseRevokeRequest { id: *lease };
            let answer = LeaseClient::new(service).lease_revoke(request).await?.into_inner();
            Ok(Answer { revision: header(answer.header), body: Body::Done })
        }
        Call::KeepAlive(lease) => {
            let request = tokio_stream::once(pb::LeaseKeepAliveRequest { id: *lease });
            let mut answers = LeaseClient::new(service).lease_keep_alive(request).await?.into_inner();
            let answer = answers.message().await?.ok_or_else(|| Status::unknown("no answer"))?;
            Ok(Answer { revision: header(answer.header), body: Body::Alive(answer.ttl) })
        }
    }
}

fn put(key: &bytes::Bytes, value: &bytes::Bytes, lease: i64) -> pb::PutRequest {
    pb::PutRequest { key: key.clone(), value: value.clone(), lease, prev_kv: true, ..Default::default() }
}

fn delete(span: &Span) -> pb::DeleteRangeRequest {
    pb::DeleteRangeRequest { key: span.key.clone(), range_end: span.end.clone(), prev_kv: true }
}

fn range(span: &Span) -> pb::RangeRequest {
    pb::RangeRequest { key: span.key.clone(), range_end: span.end.clone(), ..Default::default() }
}

fn operation(step: &Step) -> pb::RequestOp {
    use pb::request_op::Request;
    let request = match step {
        Step::Put { key, value, lease } => Request::RequestPut(put(key, value, *lease)),
        Step::Delete(span) => Request::RequestDeleteRange(delete(span)),
        Step::Get(span) => Request::RequestRange(range(span)),
    };
    pb::RequestOp { request: Some(request) }
}

fn comparison(compare: &Compare) -> pb::Compare {
    use pb::compare::{CompareResult, CompareTarget, TargetUnion};
    let result = match compare.how {
        How::Equal => CompareResult::Equal,
        How::Unequal => CompareResult::NotEqual,
        How::Greater => CompareResult::Greater,
        How::Less => CompareResult::Less,
    };
    let (target, union) = match &compare.test {
        Test::Version(number) => (CompareTarget::Version, TargetUnion::Version(*number)),
        Test::Create(number) => (CompareTarget::Create, TargetUnion::CreateRevision(*number)),
        Test::Modified(number) => (CompareTarget::Mod, TargetUnion::ModRevision(*number)),
        Test::Value(value) => (CompareTarget::Value, TargetUnion::Value(value.clone())),
        Test::Lease(number) => (CompareTarget::Lease, TargetUnion::Lease(*number)),
    };
    pb::Compare {
        result: result.into(),
        target: target.into(),
        key: compare.key.clone(),
        target_union: Some(union),
        ..Default::default()
    }
}

fn given(response: pb::ResponseOp) -> Given {
    use pb::response_op::Response;
    match response.response {
        Some(Response::ResponsePut(answer)) => Given::Put(answer.prev_kv.map(kv)),
        Some(Response::ResponseDeleteRange(answer)) => Given::Deleted(kvs(answer.prev_kvs)),
        Some(Response::ResponseRange(answer)) => Given::Got(kvs(answer.kvs)),
        // Nothing that was asked for: no model gives that.
        Some(Response::ResponseTxn(_)) | None => Given::Got(vec![Kv::default()]),
    }
}

fn kvs(kvs: Vec<mvccpb::KeyValue>) -> Vec<Kv> {
    kvs.into_iter().map(kv).collect()
}

fn kv(kv: mvccpb::KeyValue) -> Kv {
    Kv {
        key: kv.key,
        value: kv.value,
        create: kv.create_revision,
        modified: kv.mod_revision,
        version: kv.version,
        lease: kv.lease,
    }
}

/// An event of a watch.
pub fn event(event: mvccpb::Event) -> Event {
    Event {
        deleted: event.r#type == i32::from(mvccpb::event::EventType::Delete),
        kv: event.kv.map(kv).unwrap_or_default(),
        prev: event.prev_kv.map(kv),
    }
}

/// Asks for a watch.
pub fn create(span: &Span, start: i64) -> pb::WatchRequest {
    let create = pb::WatchCreateRequest {
        key: span.key.clone(),
        range_end: span.end.clone(),
        start_revision: start,
        prev_kv: true,
        ..Default::default()
    };
    let request = pb::watch_request::RequestUnion::CreateRequest(create);
    pb::WatchRequest { request_union: Some(request) }
}

/// Asks how far all was told.
pub fn progress() -> pb::WatchRequest {
    let request = pb::watch_request::RequestUnion::ProgressRequest(pb::WatchProgressRequest {});
    pb::WatchRequest { request_union: Some(request) }
}
