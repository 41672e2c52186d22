//! `make-mirror`: all keys of a prefix as of now, then every change, written to another cluster.

use super::bad_args;
use crate::Done;
use crate::context::{Context, arguments, text};
use crate::exit::{ERROR, Exit};
use bytes::Bytes;
use clap::ArgMatches;
use kv_client::api::etcdserverpb as pb;
use kv_client::api::etcdserverpb::request_op::Request;
use kv_client::api::mvccpb::Event;
use kv_client::api::mvccpb::event::EventType;
use kv_client::{Authorities, Client, Keys, Repeat, Security, Settings, User, Watch};
use std::path::PathBuf;
use std::time::Duration;

/// Keys that are read at a time (etcd `mirror.batchLimit`).
const BATCH: i64 = 1000;
/// Time after which the count is printed again.
const REPORT: Duration = Duration::from_secs(30);
/// Operations in one transaction: etcd's own limit (`--max-txn-ops`).
const OPERATIONS: usize = 128;

pub(super) async fn run(context: &Context, matches: &ArgMatches) -> Done {
    let args = arguments(matches);
    let [destination] = &args[..] else { return Err(bad_args("make-mirror takes one destination argument")) };
    let word = |name: &str| matches.get_one::<String>(name).cloned().unwrap_or_default();
    let prefix = word("prefix");
    let none = matches.get_flag("no-dest-prefix");
    let other = word("dest-prefix");
    if none && !other.is_empty() {
        return Err(bad_args(
            "`--dest-prefix` and `--no-dest-prefix` cannot be set at the same time, choose one",
        ));
    }
    let renamed = if none || !other.is_empty() { other } else { prefix.clone() };
    let to = Client::new(destination_settings(context, matches, &text(destination))?)?;
    let mut mirror = Mirror { to, prefix: prefix.clone().into(), renamed: renamed.into(), total: 0 };
    let from = context.client().await?;
    let keys = Keys::prefix(prefix);
    let start = matches.get_one::<i64>("rev").copied().unwrap_or(0);
    let next = if start > 0 { start } else { mirror.base(from, &keys).await? + 1 };

    let watch = Watch { start_revision: next, ..Watch::of(keys) };
    let mut watcher = from.watch(watch);
    let mut report = tokio::time::interval_at(tokio::time::Instant::now() + REPORT, REPORT);
    loop {
        tokio::select! {
            batch = watcher.next() => mirror.changes(batch?.events).await?,
            _ = report.tick() => context.say(&mirror.total.to_string())?,
        }
    }
}

fn destination_settings(context: &Context, matches: &ArgMatches, endpoint: &str) -> Result<Settings, Exit> {
    let word = |name: &str| matches.get_one::<String>(name).cloned().filter(|text| !text.is_empty());
    let insecure = matches.get_flag("dest-insecure-transport");
    let identity = match (word("dest-cert"), word("dest-key")) {
        (Some(certificate), Some(key)) => Some((PathBuf::from(certificate), PathBuf::from(key))),
        (None, None) => None,
        _ => {
            return Err(bad_args(
                "KeyFile and CertFile must both be present: give --dest-cert and --dest-key",
            ));
        }
    };
    let authorities = word("dest-cacert").map_or(Authorities::Machine, |file| Authorities::File(file.into()));
    let secure = !insecure
        || identity.is_some()
        || authorities != Authorities::Machine
        || endpoint.starts_with("https:");
    let user = match (word("dest-user"), word("dest-password")) {
        (None, _) => None,
        (Some(name), Some(password)) => Some(User { name, password }),
        (Some(both), None) => {
            let (name, password) =
                both.split_once(':').ok_or_else(|| bad_args("give the password by --dest-password"))?;
            Some(User { name: name.to_owned(), password: password.to_owned() })
        }
    };
    Ok(Settings {
        endpoints: vec![endpoint.to_owned()],
        security: secure.then_some(Security { authorities, identity, server_name: None }),
        insecure_plaintext: insecure,
        user,
        ..context.globals.settings.clone()
    })
}

struct Mirror {
    to: Client,
    prefix: Bytes,
    renamed: Bytes,
    total: u64,
}

impl Mirror {
    fn rename(&self, key: &Bytes) -> Bytes {
        match key.strip_prefix(&self.prefix[..]) {
            Some(rest) => [&self.renamed, rest].concat().into(),
            None => key.clone(),
        }
    }

    fn put(&self, key: &Bytes, value: Bytes) -> pb::PutRequest {
        pb::PutRequest { key: self.rename(key), value, ..Default::default() }
    }

    /// All as of one revision, which it gives.
    async fn base(&mut self, from: &Client, keys: &Keys) -> Result<i64, Exit> {
        let mut request = pb::RangeRequest {
            key: keys.key.clone(),
            range_end: keys.range_end.clone(),
            limit: BATCH,
            ..Default::default()
        };
        loop {
            let answer = from.range(request.clone()).await?;
            if request.revision == 0 {
                request.revision = answer.header.unwrap_or_default().revision;
            }
            let last = answer.kvs.last().map(|kv| kv.key.clone());
            for kv in answer.kvs {
                // Twice is as once: the same value under the same key.
                let put = pb::RequestOp { request: Some(Request::RequestPut(self.put(&kv.key, kv.value))) };
                self.commit(vec![put]).await?;
            }
            match last {
                Some(last) if answer.more => request.key = [&last[..], &b"\0"[..]].concat().into(),
                _ => return Ok(request.revision),
            }
        }
    }

    /// Changes, those of one revision in one transaction.
    async fn changes(&mut self, events: Vec<Event>) -> Done {
        let mut operations: Vec<pb::RequestOp> = Vec::new();
        let mut revision = 0;
        for event in events {
            let kv = event.kv.unwrap_or_default();
            if !operations.is_empty() && (kv.mod_revision > revision || operations.len() == OPERATIONS) {
                self.commit(std::mem::take(&mut operations)).await?;
            }
            revision = kv.mod_revision;
            let request = if event.r#type == EventType::Delete as i32 {
                Request::RequestDeleteRange(pb::DeleteRangeRequest {
                    key: self.rename(&kv.key),
                    ..Default::default()
                })
            } else {
                Request::RequestPut(self.put(&kv.key, kv.value))
            };
            operations.push(pb::RequestOp { request: Some(request) });
        }
        if operations.is_empty() { Ok(()) } else { self.commit(operations).await }
    }

    async fn commit(&mut self, success: Vec<pb::RequestOp>) -> Done {
        self.total += success.len() as u64;
        let request = pb::TxnRequest { success, ..Default::default() };
        // One mirror writes in order, so that a repetition overwrites nothing newer.
        let done = self.to.txn(Repeat::Always, request).await;
        done.map(drop).map_err(|error| Exit::of(ERROR, &error))
    }
}
