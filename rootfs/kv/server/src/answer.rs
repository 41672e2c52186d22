//! What the store answers, from the state machine's types onto the wire.

use kv_api::etcdserverpb as pb;
use kv_api::mvccpb;
use kv_core::{DeleteRangeReply, Event, EventKind, KeyValue, OperationReply, PutReply, RangeReply, TxnReply};

/// A key.
pub fn key_value(kv: KeyValue) -> mvccpb::KeyValue {
    mvccpb::KeyValue {
        key: kv.key,
        create_revision: kv.create_revision,
        mod_revision: kv.mod_revision,
        version: kv.version,
        value: kv.value,
        lease: kv.lease,
    }
}

/// A change.
pub fn event(event: Event, with_prev_kv: bool) -> mvccpb::Event {
    let kind = match event.kind {
        EventKind::Put => mvccpb::event::EventType::Put,
        EventKind::Delete => mvccpb::event::EventType::Delete,
    };
    mvccpb::Event {
        r#type: kind.into(),
        kv: Some(key_value(event.kv)),
        prev_kv: event.prev_kv.filter(|_| with_prev_kv).map(key_value),
    }
}

/// A range's answer under a header.
pub fn range(reply: RangeReply, header: pb::ResponseHeader) -> pb::RangeResponse {
    pb::RangeResponse {
        header: Some(header),
        kvs: reply.kvs.into_iter().map(key_value).collect(),
        more: reply.more,
        count: reply.count,
    }
}

/// A put's answer under a header.
pub fn put(reply: PutReply, header: pb::ResponseHeader) -> pb::PutResponse {
    pb::PutResponse { header: Some(header), prev_kv: reply.prev_kv.map(key_value) }
}

/// A deletion's answer under a header.
pub fn delete_range(reply: DeleteRangeReply, header: pb::ResponseHeader) -> pb::DeleteRangeResponse {
    pb::DeleteRangeResponse {
        header: Some(header),
        deleted: reply.deleted,
        prev_kvs: reply.prev_kvs.into_iter().map(key_value).collect(),
    }
}

/// A transaction's answer under a header; the answers in it have only revisions in theirs.
pub fn txn(reply: TxnReply, header: pb::ResponseHeader) -> pb::TxnResponse {
    pb::TxnResponse {
        header: Some(header),
        succeeded: reply.succeeded,
        responses: reply.responses.into_iter().map(operation).collect(),
    }
}

fn operation(reply: OperationReply) -> pb::ResponseOp {
    use pb::response_op::Response;
    let at = |revision| pb::ResponseHeader { revision, ..Default::default() };
    let response = match reply {
        OperationReply::Range(reply) => {
            let header = at(reply.revision);
            Response::ResponseRange(range(reply, header))
        }
        OperationReply::Put(reply) => {
            let header = at(reply.revision);
            Response::ResponsePut(put(reply, header))
        }
        OperationReply::DeleteRange(reply) => {
            let header = at(reply.revision);
            Response::ResponseDeleteRange(delete_range(reply, header))
        }
        OperationReply::Txn(reply) => {
            let header = at(reply.revision);
            Response::ResponseTxn(txn(reply, header))
        }
    };
    pb::ResponseOp { response: Some(response) }
}
