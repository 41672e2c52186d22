//! Answers of keys, watches and leases.

use super::{Forms, Text, json};
use crate::Done;
use crate::context::Context;
use crate::go::quote;
use kv_client::Batch;
use kv_client::api::etcdserverpb as pb;
use kv_client::api::etcdserverpb::response_op::Response;
use kv_client::api::mvccpb::event::EventType;
use prost::Message as _;

impl Context {
    pub(crate) fn show_get(&self, answer: &pb::RangeResponse, how: Get) -> Done {
        let simple = |text: &mut Text| get(text, answer, self.globals.hex, how);
        self.show_message(answer, &simple, Some(&|text| get_fields(text, answer)))
    }

    pub(crate) fn show_put(&self, answer: &pb::PutResponse) -> Done {
        self.show_message(
            answer,
            &|text| put(text, answer, self.globals.hex),
            Some(&|text| put_fields(text, answer)),
        )
    }

    pub(crate) fn show_del(&self, answer: &pb::DeleteRangeResponse) -> Done {
        self.show_message(
            answer,
            &|text| del(text, answer, self.globals.hex),
            Some(&|text| del_fields(text, answer)),
        )
    }

    pub(crate) fn show_txn(&self, answer: &pb::TxnResponse) -> Done {
        let simple = |text: &mut Text| {
            text.line(if answer.succeeded { "SUCCESS" } else { "FAILURE" });
            let hex = self.globals.hex;
            for response in &answer.responses {
                text.line("");
                match &response.response {
                    Some(Response::ResponseRange(one)) => get(text, one, hex, Get::default()),
                    Some(Response::ResponsePut(one)) => put(text, one, hex),
                    Some(Response::ResponseDeleteRange(one)) => del(text, one, hex),
                    Some(Response::ResponseTxn(_)) | None => text.line("unexpected response"),
                }
            }
        };
        let fields = |text: &mut Text| {
            text.header(answer.header.as_ref());
            text.field("Succeeded", answer.succeeded);
            for response in &answer.responses {
                match &response.response {
                    Some(Response::ResponseRange(one)) => get_fields(text, one),
                    Some(Response::ResponsePut(one)) => put_fields(text, one),
                    Some(Response::ResponseDeleteRange(one)) => del_fields(text, one),
                    Some(Response::ResponseTxn(_)) | None => text.field("Unknown", "\"\""),
                }
            }
        };
        self.show_message(answer, &simple, Some(&fields))
    }

    pub(crate) fn show_watch(&self, batch: &Batch) -> Done {
        let kind = |number: i32| EventType::try_from(number).map_or("?", |kind| kind.as_str_name());
        let simple = |text: &mut Text| {
            for event in &batch.events {
                text.line(kind(event.r#type));
                for kv in event.prev_kv.iter().chain(&event.kv) {
                    text.pair(kv, self.globals.hex, false);
                }
            }
        };
        let fields = |text: &mut Text| {
            text.header(Some(&batch.header));
            for event in &batch.events {
                text.field("Type", kind(event.r#type));
                if let Some(kv) = &event.prev_kv {
                    text.fields_of("Prev", kv);
                }
                if let Some(kv) = &event.kv {
                    text.fields_of("", kv);
                }
            }
        };
        let json = || {
            let events: Result<Vec<_>, _> = batch.events.iter().map(json::message).collect();
            let events =
                if batch.events.is_empty() { "null".to_owned() } else { format!("[{}]", events?.join(",")) };
            let header = json::message(&batch.header)?;
            let rest = "\"CompactRevision\":0,\"Canceled\":false,\"Created\":false";
            Ok(format!("{{\"Header\":{header},\"Events\":{events},{rest}}}"))
        };
        let protobuf = || {
            let header = Some(batch.header);
            pb::WatchResponse { header, events: batch.events.clone(), ..Default::default() }.encode_to_vec()
        };
        self.show(&Forms {
            simple: &simple,
            fields: Some(&fields),
            table: None,
            json: &json,
            protobuf: Some(&protobuf),
        })
    }

    pub(crate) fn show_grant(&self, answer: &pb::LeaseGrantResponse) -> Done {
        let (id, ttl) = (answer.id, answer.ttl);
        let json = || {
            let header = json::inlined(answer.header.as_ref())?;
            Ok(format!("{{{header}\"ID\":{id},\"TTL\":{ttl},\"Error\":{}}}", json::string(&answer.error)))
        };
        self.show(&Forms {
            simple: &|text| text.line(format!("lease {id:016x} granted with TTL({ttl}s)")),
            fields: Some(&|text| lease_fields(text, answer.header.as_ref(), id, ttl)),
            table: None,
            json: &json,
            protobuf: Some(&|| answer.encode_to_vec()),
        })
    }

    pub(crate) fn show_revoke(&self, id: i64, answer: &pb::LeaseRevokeResponse) -> Done {
        let fields = |text: &mut Text| text.header(answer.header.as_ref());
        self.show_message(answer, &|text| text.line(format!("lease {id:016x} revoked")), Some(&fields))
    }

    pub(crate) fn show_keep_alive(&self, answer: &pb::LeaseKeepAliveResponse) -> Done {
        let (id, ttl) = (answer.id, answer.ttl);
        let json = || {
            let header = json::inlined(answer.header.as_ref())?;
            Ok(format!("{{{header}\"ID\":{id},\"TTL\":{ttl}}}"))
        };
        self.show(&Forms {
            simple: &|text| text.line(format!("lease {id:016x} keepalived with TTL({ttl})")),
            fields: Some(&|text| lease_fields(text, answer.header.as_ref(), id, ttl)),
            table: None,
            json: &json,
            protobuf: Some(&|| answer.encode_to_vec()),
        })
    }

    pub(crate) fn show_time_to_live(&self, answer: &pb::LeaseTimeToLiveResponse, keys: bool) -> Done {
        let (id, ttl, granted) = (answer.id, answer.ttl, answer.granted_ttl);
        let simple = |text: &mut Text| {
            if granted == 0 && ttl == -1 {
                return text.line(format!("lease {id:016x} already expired"));
            }
            let mut line =
                format!("lease {id:016x} granted with TTL({granted}s), remaining({ttl}s)").into_bytes();
            if keys {
                line.extend(b", attached keys([");
                line.extend(answer.keys.join(&b' '));
                line.extend(b"])");
            }
            text.line(line);
        };
        let fields = |text: &mut Text| {
            lease_fields(text, answer.header.as_ref(), id, ttl);
            text.field("GrantedTTL", granted);
            for key in &answer.keys {
                text.field("Key", quote(key));
            }
        };
        let json = || {
            let header = json::inlined(answer.header.as_ref())?;
            let keys: Vec<String> = answer.keys.iter().map(|key| json::bytes_text(key)).collect();
            let keys = if keys.is_empty() { "null".to_owned() } else { format!("[{}]", keys.join(",")) };
            Ok(format!("{{{header}\"id\":{id},\"ttl\":{ttl},\"granted-ttl\":{granted},\"keys\":{keys}}}"))
        };
        self.show(&Forms {
            simple: &simple,
            fields: Some(&fields),
            table: None,
            json: &json,
            protobuf: Some(&|| answer.encode_to_vec()),
        })
    }

    pub(crate) fn show_leases(&self, answer: &pb::LeaseLeasesResponse) -> Done {
        let simple = |text: &mut Text| {
            text.line(format!("found {} leases", answer.leases.len()));
            for lease in &answer.leases {
                text.line(format!("{:016x}", lease.id));
            }
        };
        let fields = |text: &mut Text| {
            text.header(answer.header.as_ref());
            for lease in &answer.leases {
                text.field("ID", lease.id);
            }
        };
        let json = || {
            let header = json::inlined(answer.header.as_ref())?;
            let leases: Vec<String> =
                answer.leases.iter().map(|lease| format!("{{\"id\":{}}}", lease.id)).collect();
            Ok(format!("{{{header}\"leases\":[{}]}}", leases.join(",")))
        };
        self.show(&Forms {
            simple: &simple,
            fields: Some(&fields),
            table: None,
            json: &json,
            protobuf: Some(&|| answer.encode_to_vec()),
        })
    }
}

/// Which parts of a get are written.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Get {
    pub(crate) value_only: bool,
}

fn get(text: &mut Text, answer: &pb::RangeResponse, hex: bool, how: Get) {
    for kv in &answer.kvs {
        text.pair(kv, hex, how.value_only);
    }
}

fn get_fields(text: &mut Text, answer: &pb::RangeResponse) {
    text.header(answer.header.as_ref());
    for kv in &answer.kvs {
        text.fields_of("", kv);
    }
    text.field("More", answer.more);
    text.field("Count", answer.count);
}

fn put(text: &mut Text, answer: &pb::PutResponse, hex: bool) {
    text.line("OK");
    if let Some(kv) = &answer.prev_kv {
        text.pair(kv, hex, false);
    }
}

fn put_fields(text: &mut Text, answer: &pb::PutResponse) {
    text.header(answer.header.as_ref());
    if let Some(kv) = &answer.prev_kv {
        text.fields_of("Prev", kv);
    }
}

fn del(text: &mut Text, answer: &pb::DeleteRangeResponse, hex: bool) {
    text.line(answer.deleted.to_string());
    for kv in &answer.prev_kvs {
        text.pair(kv, hex, false);
    }
}

fn del_fields(text: &mut Text, answer: &pb::DeleteRangeResponse) {
    text.header(answer.header.as_ref());
    text.field("Deleted", answer.deleted);
    for kv in &answer.prev_kvs {
        text.fields_of("Prev", kv);
    }
}

fn lease_fields(text: &mut Text, header: Option<&pb::ResponseHeader>, id: i64, ttl: i64) {
    text.header(header);
    text.field("ID", id);
    text.field("TTL", ttl);
}
