//! etcd's service Lease, and the task that ends leases.

use std::hash::{BuildHasher as _, RandomState};
use std::pin::Pin;
use std::sync::Arc;

use kv_api::Fault;
use kv_api::etcdserverpb as pb;
use kv_api::kvpb::command::Change;
use kv_core::{MAX_TTL_S, Outcome};
use tokio::task::JoinSet;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status, Streaming};

use crate::lessor::MIN_TTL_S;
use crate::member::{Member, blocking, mixed_up};
use crate::replica::ask::{Answer, Ask};

/// Leases that are ended at a time.
const EXPIRING: usize = 256;

/// The service.
#[derive(Debug)]
pub struct Lease(pub Member);

/// Ends leases when they are due; returns never.
pub async fn expire(member: Member) {
    loop {
        let (term, due) = member.shared.lessor.due().await;
        let mut under_way = JoinSet::new();
        for id in due {
            // One that cannot be revoked now comes again, so nobody looks at what comes of it.
            if under_way.len() == EXPIRING {
                let _ = under_way.join_next().await;
            }
            let consensus = Arc::clone(&member.consensus);
            under_way.spawn(async move { consensus.expire(term, id).await });
        }
        while under_way.join_next().await.is_some() {}
    }
}

/// A positive id that nobody can guess, as `RandomState` has keys of its own each time.
fn random_id() -> i64 {
    ((RandomState::new().hash_one(0) >> 1) as i64).max(1)
}

#[tonic::async_trait]
impl pb::lease_server::Lease for Lease {
    async fn lease_grant(
        &self,
        request: Request<pb::LeaseGrantRequest>,
    ) -> Result<Response<pb::LeaseGrantResponse>, Status> {
        let mut request = request.into_inner();
        if request.ttl > MAX_TTL_S {
            return Err(Fault::LeaseTtlTooLarge.into());
        }
        self.0.check_room()?;
        request.ttl = request.ttl.max(MIN_TTL_S);
        if request.id == 0 {
            request.id = random_id();
        }
        let (revision, outcome) = self.0.change(Change::LeaseGrant(request)).await?;
        let Outcome::LeaseGrant { id, ttl_s } = outcome else { return Err(mixed_up()) };
        let header = Some(self.0.header(revision));
        Ok(Response::new(pb::LeaseGrantResponse { header, id, ttl: ttl_s, error: String::new() }))
    }

    async fn lease_revoke(
        &self,
        request: Request<pb::LeaseRevokeRequest>,
    ) -> Result<Response<pb::LeaseRevokeResponse>, Status> {
        let (revision, _) = self.0.change(Change::LeaseRevoke(request.into_inner())).await?;
        Ok(Response::new(pb::LeaseRevokeResponse { header: Some(self.0.header(revision)) }))
    }

    type LeaseKeepAliveStream =
        Pin<Box<dyn Stream<Item = Result<pb::LeaseKeepAliveResponse, Status>> + Send>>;

    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<pb::LeaseKeepAliveRequest>>,
    ) -> Result<Response<Self::LeaseKeepAliveStream>, Status> {
        let member = self.0.clone();
        let answers = request.into_inner().then(move |request| {
            let member = member.clone();
            async move {
                let id = request?.id;
                let answer = member.consensus.ask_leader(Ask::KeepAlive(id)).await?;
                let Answer::Seconds(ttl) = answer else { return Err(mixed_up()) };
                Ok(pb::LeaseKeepAliveResponse { header: Some(member.header_now()), id, ttl })
            }
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn lease_time_to_live(
        &self,
        request: Request<pb::LeaseTimeToLiveRequest>,
    ) -> Result<Response<pb::LeaseTimeToLiveResponse>, Status> {
        let request = request.into_inner();
        let id = request.id;
        let answer = self.0.consensus.ask_leader(Ask::Left(id)).await?;
        let Answer::Left(left) = answer else { return Err(mixed_up()) };
        let view = self.0.view(false).await?;
        let mut response = pb::LeaseTimeToLiveResponse {
            header: Some(self.0.header_now()),
            id,
            ttl: -1,
            ..Default::default()
        };
        if left.there {
            response.ttl = left.left_s;
            response.granted_ttl = left.granted_s;
            if request.keys {
                response.keys = blocking(move || view.lease_keys(id)).await?;
            }
        }
        Ok(Response::new(response))
    }

    async fn lease_leases(
        &self,
        _: Request<pb::LeaseLeasesRequest>,
    ) -> Result<Response<pb::LeaseLeasesResponse>, Status> {
        self.0.consensus.read_barrier().await?;
        let leases = self.0.shared.lessor.all().into_iter().map(|id| pb::LeaseStatus { id }).collect();
        Ok(Response::new(pb::LeaseLeasesResponse { header: Some(self.0.header_now()), leases }))
    }
}
