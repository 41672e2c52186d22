//! An election: whose key is the first under a name leads. The way is that of etcd's own
//! clients.

use crate::lock::delete;
use crate::wait::{created_at, get, place, put, until_first};
use crate::{Batch, Client, Error, Keys, Repeat, Session, Watch, Watcher, prefix_end};
use bytes::Bytes;
use kv_api::etcdserverpb as pb;
use kv_api::etcdserverpb::range_request::{SortOrder, SortTarget};
use kv_api::mvccpb::KeyValue;
use kv_api::mvccpb::event::EventType;

/// Leads for as long as its session lives.
#[derive(Debug)]
pub struct Leadership<'a> {
    session: &'a Session,
    /// The key that stands for it, to be compared in transactions of the leader.
    pub key: String,
    /// The revision at which that key was made.
    pub create_revision: i64,
}

impl Session {
    /// Waits until this session leads, and says `value` of itself.
    ///
    /// # Errors
    /// [`Error::LeaseLost`] when the session ends first; as [`Client::call`].
    pub async fn campaign(&self, name: &str, value: impl Into<Bytes>) -> Result<Leadership<'_>, Error> {
        let key = self.key(name);
        let value: Bytes = value.into();
        let request = pb::TxnRequest {
            compare: vec![created_at(&key, 0)],
            success: vec![put(&key, value.clone(), self.lease())],
            failure: vec![get(&key)],
        };
        let answer = self.client.txn(Repeat::Always, request).await?;
        let leadership = Leadership { session: self, create_revision: place(&answer)?, key };
        let led = async {
            if !answer.succeeded {
                leadership.proclaim(value).await?;
            }
            let prefix = format!("{name}/");
            tokio::select! {
                led = until_first(&self.client, &prefix, leadership.create_revision) => led.map(drop),
                () = self.lost() => Err(Error::LeaseLost(self.lease())),
            }
        };
        match led.await {
            Ok(()) => Ok(leadership),
            Err(error) => {
                // The first failure counts; the lease ends the key in any case.
                let _second = self.leave(name).await;
                Err(error)
            }
        }
    }
}

impl Leadership<'_> {
    /// Says something else of itself.
    ///
    /// # Errors
    /// [`Error::NotLeader`] when it leads no longer; as [`Client::call`].
    pub async fn proclaim(&self, value: impl Into<Bytes>) -> Result<(), Error> {
        let request = pb::TxnRequest {
            compare: vec![created_at(&self.key, self.create_revision)],
            success: vec![put(&self.key, value.into(), self.session.lease())],
            failure: Vec::new(),
        };
        let answer = self.session.client.txn(Repeat::Always, request).await?;
        if answer.succeeded { Ok(()) } else { Err(Error::NotLeader) }
    }

    /// Lets the next one lead.
    ///
    /// # Errors
    /// As [`Client::call`]; it then ends with its session.
    pub async fn resign(self) -> Result<(), Error> {
        let request = pb::TxnRequest {
            compare: vec![created_at(&self.key, self.create_revision)],
            success: vec![delete(&self.key)],
            failure: Vec::new(),
        };
        self.session.client.txn(Repeat::Always, request).await.map(drop)
    }
}

impl Client {
    /// Who leads now, if anybody: the first key under the name.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn leader(&self, name: &str) -> Result<(pb::ResponseHeader, Option<KeyValue>), Error> {
        let key = Bytes::from(format!("{name}/"));
        let request = pb::RangeRequest {
            range_end: prefix_end(&key),
            key,
            limit: 1,
            sort_order: SortOrder::Ascend.into(),
            sort_target: SortTarget::Create.into(),
            ..Default::default()
        };
        let answer = self.range(request).await?;
        Ok((answer.header.ok_or(Error::Answer("its header"))?, answer.kvs.into_iter().next()))
    }

    /// Follows who leads.
    pub fn observe(&self, name: &str) -> Observer {
        Observer { client: self.clone(), name: name.to_owned(), state: State::Ask }
    }
}

/// Follows who leads.
#[derive(Debug)]
pub struct Observer {
    client: Client,
    name: String,
    state: State,
}

#[derive(Debug)]
enum State {
    Ask,
    /// Nobody leads: any key under the name.
    Nobody(Watcher),
    /// This key does, until it is deleted.
    Leader(Watcher),
}

impl Observer {
    /// The next leader, or what the leader says anew of itself.
    ///
    /// # Errors
    /// As [`Client::call`] and [`Watcher::next`].
    pub async fn next(&mut self) -> Result<(pb::ResponseHeader, KeyValue), Error> {
        loop {
            match &mut self.state {
                State::Ask => {
                    let (header, leader) = self.client.leader(&self.name).await?;
                    let from = |keys| Watch { start_revision: header.revision + 1, ..Watch::of(keys) };
                    match leader {
                        Some(kv) => {
                            let watcher = self.client.watch(from(Keys::one(kv.key.clone())));
                            self.state = State::Leader(watcher);
                            return Ok((header, kv));
                        }
                        None => {
                            let keys = Keys::prefix(format!("{}/", self.name));
                            self.state = State::Nobody(self.client.watch(from(keys)));
                        }
                    }
                }
                State::Nobody(watcher) => match watcher.next().await {
                    Ok(_) | Err(Error::Compacted(_)) => self.state = State::Ask,
                    Err(error) => return Err(error),
                },
                State::Leader(watcher) => match watcher.next().await {
                    Ok(batch) => match newest(batch) {
                        Some(said) => return Ok(said),
                        None => self.state = State::Ask,
                    },
                    Err(Error::Compacted(_)) => self.state = State::Ask,
                    Err(error) => return Err(error),
                },
            }
        }
    }
}

/// What the leader said last; `None`: it leads no longer.
fn newest(batch: Batch) -> Option<(pb::ResponseHeader, KeyValue)> {
    if batch.events.iter().any(|event| event.r#type == EventType::Delete as i32) {
        return None;
    }
    let header = batch.header;
    batch.events.into_iter().next_back().and_then(|event| event.kv).map(|kv| (header, kv))
}
