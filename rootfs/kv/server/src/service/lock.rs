//! etcd's service Lock. Who waits has a key `NAME/LEASE`; the oldest of them holds the lock.

use bytes::Bytes;
use kv_api::etcdserverpb as etcd;
use kv_api::v3lockpb as pb;
use tonic::{Request, Response, Status};

use super::session::{self, Local, Session};

/// The service.
#[derive(Debug)]
pub struct Lock(pub Local);

#[tonic::async_trait]
impl pb::lock_server::Lock for Lock {
    async fn lock(&self, request: Request<pb::LockRequest>) -> Result<Response<pb::LockResponse>, Status> {
        let (session, request) = self.0.session(request);
        let after = session.clone();
        let response = session::unbroken(
            |mut gone| async move {
                let lease = session.lease(request.lease).await?;
                let (prefix, key) = session::key_of(&request.name, lease);
                let (revision, holds, header) = enter(&session, &prefix, &key, lease).await?;
                if holds {
                    return Ok((revision, pb::LockResponse { header, key }));
                }
                let waited = tokio::select! {
                    waited = still_there(&session, &prefix, &key, revision) => waited,
                    _ = &mut gone => Err(kv_api::Fault::Canceled.into()),
                };
                match waited {
                    Ok(header) => Ok((revision, pb::LockResponse { header, key })),
                    Err(status) => {
                        leave(&session, &key, revision).await;
                        Err(status)
                    }
                }
            },
            move |(revision, response): &(i64, pb::LockResponse)| {
                let (revision, key) = (*revision, response.key.clone());
                async move { leave(&after, &key, revision).await }
            },
        );
        Ok(Response::new(response.await?.1))
    }

    async fn unlock(
        &self,
        request: Request<pb::UnlockRequest>,
    ) -> Result<Response<pb::UnlockResponse>, Status> {
        let (session, request) = self.0.session(request);
        let header = session.delete(request.key).await?.header;
        Ok(Response::new(pb::UnlockResponse { header }))
    }
}

/// Makes the key, or finds it: its create revision, and whether it is the oldest.
async fn enter(
    session: &Session,
    prefix: &Bytes,
    key: &Bytes,
    lease: i64,
) -> Result<(i64, bool, Option<etcd::ResponseHeader>), Status> {
    let oldest = || session::get(session::one_of(prefix, etcd::range_request::SortOrder::Ascend));
    let own = etcd::RangeRequest { key: key.clone(), ..Default::default() };
    let txn = etcd::TxnRequest {
        compare: vec![session::created_at(key, 0)],
        success: vec![session::put(key, Bytes::new(), lease), oldest()],
        failure: vec![session::get(own), oldest()],
    };
    let response = session.txn(txn).await?;
    let made = response.header.map_or(0, |header| header.revision);
    let found = session::first_read(&response, 0).map_or(made, |kv| kv.create_revision);
    let revision = if response.succeeded { made } else { found };
    let holds = session::first_read(&response, 1).is_none_or(|oldest| oldest.create_revision == revision);
    Ok((revision, holds, response.header))
}

/// Waits for those before, and looks whether the own key has outlived them.
async fn still_there(
    session: &Session,
    prefix: &Bytes,
    key: &Bytes,
    revision: i64,
) -> Result<Option<etcd::ResponseHeader>, Status> {
    session.wait_for_older(prefix, revision).await?;
    let response = session.range(etcd::RangeRequest { key: key.clone(), ..Default::default() }).await?;
    if response.kvs.is_empty() {
        return Err(Status::unknown("mutex: session is expired"));
    }
    Ok(response.header)
}

/// Removes the key, unless it is another's by now. What cannot be removed ends with its lease.
async fn leave(session: &Session, key: &Bytes, revision: i64) {
    let txn = etcd::TxnRequest {
        compare: vec![session::created_at(key, revision)],
        success: vec![session::delete(key)],
        failure: Vec::new(),
    };
    let _ = session.txn(txn).await;
}
