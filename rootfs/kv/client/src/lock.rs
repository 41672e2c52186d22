//! A lock: the first key under its name. The way is that of etcd's own clients.

use crate::wait::{created_at, get, place, put, until_first};
use crate::{Error, Repeat, Session};
use bytes::Bytes;
use kv_api::etcdserverpb as pb;

/// A lock that is held for as long as its session lives.
#[derive(Debug)]
pub struct Lock<'a> {
    session: &'a Session,
    /// The key that stands for it, to be compared in transactions under the lock.
    pub key: String,
    /// The revision at which that key was made: fences off holders before.
    pub create_revision: i64,
    /// Of the answer by which it was held.
    pub header: pb::ResponseHeader,
}

impl Session {
    /// Waits for the lock of this name. Given up while waiting, the place in the queue ends
    /// with the session; [`Self::leave`] gives it up at once.
    ///
    /// # Errors
    /// [`Error::LeaseLost`] when the session ends first; as [`crate::Client::call`].
    pub async fn lock(&self, name: &str) -> Result<Lock<'_>, Error> {
        let key = self.key(name);
        let request = pb::TxnRequest {
            compare: vec![created_at(&key, 0)],
            success: vec![put(&key, Bytes::new(), self.lease())],
            failure: vec![get(&key)],
        };
        // Twice is as once: the second finds the first's key.
        let answer = self.client.txn(Repeat::Always, request).await?;
        let create_revision = place(&answer)?;
        let prefix = format!("{name}/");
        let held = tokio::select! {
            held = until_first(&self.client, &prefix, create_revision) => held,
            () = self.lost() => Err(Error::LeaseLost(self.lease())),
        };
        match held {
            Ok(header) => Ok(Lock { session: self, key, create_revision, header }),
            Err(error) => {
                // The first failure counts; the lease ends the key in any case.
                let _second = self.leave(name).await;
                Err(error)
            }
        }
    }

    /// Gives up this session's key under a name, held or waiting.
    ///
    /// # Errors
    /// As [`crate::Client::call`].
    pub async fn leave(&self, name: &str) -> Result<(), Error> {
        self.give_up(&self.key(name)).await
    }

    pub(crate) async fn give_up(&self, key: &str) -> Result<(), Error> {
        let request = pb::TxnRequest { compare: Vec::new(), success: vec![delete(key)], failure: Vec::new() };
        self.client.txn(Repeat::Always, request).await.map(drop)
    }
}

pub(crate) fn delete(key: &str) -> pb::RequestOp {
    let key = Bytes::copy_from_slice(key.as_bytes());
    let request = pb::DeleteRangeRequest { key, ..Default::default() };
    pb::RequestOp { request: Some(pb::request_op::Request::RequestDeleteRange(request)) }
}

impl Lock<'_> {
    /// Gives it to the next.
    ///
    /// # Errors
    /// As [`crate::Client::call`]; it then ends with its session.
    pub async fn unlock(self) -> Result<(), Error> {
        self.session.give_up(&self.key).await
    }
}
