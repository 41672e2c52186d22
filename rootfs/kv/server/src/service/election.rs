//! etcd's service Election. A candidate has a key `NAME/LEASE` with what it says of itself;
//! the oldest of them leads.

use std::pin::Pin;

use bytes::Bytes;
use kv_api::etcdserverpb as etcd;
use kv_api::v3electionpb as pb;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::session::{self, Local, Session};

/// Leaders that wait for a client that observes; further ones wait in its watch.
const AHEAD: usize = 4;

/// The service.
#[derive(Debug)]
pub struct Election(pub Local);

type Header = Option<etcd::ResponseHeader>;

#[tonic::async_trait]
impl pb::election_server::Election for Election {
    async fn campaign(
        &self,
        request: Request<pb::CampaignRequest>,
    ) -> Result<Response<pb::CampaignResponse>, Status> {
        let (session, request) = self.0.session(request);
        let after = session.clone();
        let response = session::unbroken(
            |mut gone| async move {
                let lease = session.lease(request.lease).await?;
                let (prefix, key) = session::key_of(&request.name, lease);
                let (rev, header) = enter(&session, &key, request.value, lease).await?;
                let waited = tokio::select! {
                    waited = session.wait_for_older(&prefix, rev) => waited,
                    _ = &mut gone => {
                        // What cannot be removed ends with its lease.
                        let _ = resign(&session, &key, rev).await;
                        Err(kv_api::Fault::Canceled.into())
                    }
                };
                waited?;
                let leader = pb::LeaderKey { name: request.name, key, rev, lease };
                Ok(pb::CampaignResponse { header, leader: Some(leader) })
            },
            move |response: &pb::CampaignResponse| {
                let leader = response.leader.clone().unwrap_or_default();
                async move {
                    let _ = resign(&after, &leader.key, leader.rev).await;
                }
            },
        );
        Ok(Response::new(response.await?))
    }

    async fn proclaim(
        &self,
        request: Request<pb::ProclaimRequest>,
    ) -> Result<Response<pb::ProclaimResponse>, Status> {
        let (session, request) = self.0.session(request);
        let leader = request.leader.ok_or_else(no_leader_given)?;
        let lease = session.lease(leader.lease).await?;
        let header = proclaim(&session, &leader.key, leader.rev, request.value, lease).await?;
        Ok(Response::new(pb::ProclaimResponse { header }))
    }

    async fn leader(
        &self,
        request: Request<pb::LeaderRequest>,
    ) -> Result<Response<pb::LeaderResponse>, Status> {
        let (session, request) = self.0.session(request);
        let (prefix, _) = session::key_of(&request.name, 0);
        let response = session.range(oldest(&prefix)).await?;
        let kv = response.kvs.into_iter().next();
        let kv = kv.ok_or_else(|| Status::unknown("election: no leader"))?;
        Ok(Response::new(pb::LeaderResponse { header: response.header, kv: Some(kv) }))
    }

    type ObserveStream = Pin<Box<dyn Stream<Item = Result<pb::LeaderResponse, Status>> + Send>>;

    async fn observe(
        &self,
        request: Request<pb::LeaderRequest>,
    ) -> Result<Response<Self::ObserveStream>, Status> {
        let (session, request) = self.0.session(request);
        let (prefix, _) = session::key_of(&request.name, 0);
        let (send, leaders) = mpsc::channel(AHEAD);
        tokio::spawn(async move {
            let reason = tokio::select! {
                reason = observe(&session, &prefix, &send) => reason.err(),
                () = send.closed() => None,
            };
            if let Some(status) = reason {
                // The client may have gone in this moment.
                let _ = send.send(Err(status)).await;
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(leaders))))
    }

    async fn resign(
        &self,
        request: Request<pb::ResignRequest>,
    ) -> Result<Response<pb::ResignResponse>, Status> {
        let (session, request) = self.0.session(request);
        let leader = request.leader.ok_or_else(no_leader_given)?;
        let header = resign(&session, &leader.key, leader.rev).await?;
        Ok(Response::new(pb::ResignResponse { header }))
    }
}

fn no_leader_given() -> Status {
    Status::unknown("\"leader\" field must be provided")
}

fn oldest(prefix: &Bytes) -> etcd::RangeRequest {
    session::one_of(prefix, etcd::range_request::SortOrder::Ascend)
}

/// Makes the key, or finds it and says the new value in it. Returns its create revision.
async fn enter(session: &Session, key: &Bytes, value: Bytes, lease: i64) -> Result<(i64, Header), Status> {
    let own = etcd::RangeRequest { key: key.clone(), ..Default::default() };
    let txn = etcd::TxnRequest {
        compare: vec![session::created_at(key, 0)],
        success: vec![session::put(key, value.clone(), lease)],
        failure: vec![session::get(own)],
    };
    let response = session.txn(txn).await?;
    let made = response.header.map_or(0, |header| header.revision);
    let Some(found) = session::first_read(&response, 0) else { return Ok((made, response.header)) };
    if found.value != value
        && let Err(status) = proclaim(session, key, found.create_revision, value, lease).await
    {
        let _ = resign(session, key, found.create_revision).await;
        return Err(status);
    }
    Ok((found.create_revision, response.header))
}

async fn proclaim(
    session: &Session,
    key: &Bytes,
    revision: i64,
    value: Bytes,
    lease: i64,
) -> Result<Header, Status> {
    let txn = etcd::TxnRequest {
        compare: vec![session::created_at(key, revision)],
        success: vec![session::put(key, value, lease)],
        failure: Vec::new(),
    };
    let response = session.txn(txn).await?;
    if !response.succeeded {
        return Err(Status::unknown("election: not leader"));
    }
    Ok(response.header)
}

async fn resign(session: &Session, key: &Bytes, revision: i64) -> Result<Header, Status> {
    let txn = etcd::TxnRequest {
        compare: vec![session::created_at(key, revision)],
        success: vec![session::delete(key)],
        failure: Vec::new(),
    };
    Ok(session.txn(txn).await?.header)
}

/// Tells the leader of now, what it says from then on, and the leaders after it.
async fn observe(
    session: &Session,
    prefix: &Bytes,
    send: &mpsc::Sender<Result<pb::LeaderResponse, Status>>,
) -> Result<(), Status> {
    let gone = |_| Status::from(kv_api::Fault::Canceled);
    loop {
        let response = session.range(oldest(prefix)).await?;
        let (mut header, mut leader) = (response.header, response.kvs.into_iter().next());
        if leader.is_none() {
            let from = header.map_or(0, |header| header.revision);
            let mut events = session.watch(prefix.clone(), true, from).await?;
            while leader.is_none() {
                let (at, changes) = events.next().await?;
                header = at;
                leader =
                    changes.into_iter().find(|event| !session::is_delete(event)).and_then(|event| event.kv);
            }
            // Further changes may have come with it: they are watched from the next revision on.
            if let (Some(header), Some(leader)) = (&mut header, &leader) {
                header.revision = leader.mod_revision;
            }
        }
        let from = header.map_or(0, |header| header.revision) + 1;
        let key = leader.as_ref().map(|leader| leader.key.clone()).unwrap_or_default();
        send.send(Ok(pb::LeaderResponse { header, kv: leader })).await.map_err(gone)?;
        let mut events = session.watch(key, false, from).await?;
        'leads: loop {
            let (header, changes) = events.next().await?;
            for event in changes {
                if session::is_delete(&event) {
                    break 'leads;
                }
                send.send(Ok(pb::LeaderResponse { header, kv: event.kv })).await.map_err(gone)?;
            }
        }
    }
}
