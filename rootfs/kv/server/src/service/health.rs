//! gRPC's health service.

use std::pin::Pin;

use kv_api::health as pb;
use pb::health_check_response::ServingStatus;
use tokio_stream::Stream;
use tonic::{Request, Response, Status};

use crate::member::Member;

/// The service.
#[derive(Debug)]
pub struct Health(pub Member);

/// Whether the member could answer a linearizable read now.
async fn is_well(member: &Member) -> bool {
    member.view(false).await.is_ok() && !member.shared.no_space.load(std::sync::atomic::Ordering::Relaxed)
}

#[tonic::async_trait]
impl pb::health_server::Health for Health {
    async fn check(
        &self,
        request: Request<pb::HealthCheckRequest>,
    ) -> Result<Response<pb::HealthCheckResponse>, Status> {
        if !request.into_inner().service.is_empty() {
            return Err(Status::not_found("unknown service"));
        }
        let status = if is_well(&self.0).await { ServingStatus::Serving } else { ServingStatus::NotServing };
        Ok(Response::new(pb::HealthCheckResponse { status: status.into() }))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<pb::HealthCheckResponse, Status>> + Send>>;

    async fn watch(&self, _: Request<pb::HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("kv: ask with Check; health is not streamed yet"))
    }
}
