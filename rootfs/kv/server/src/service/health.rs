//! gRPC's health service, and the page `/health`.

use std::pin::Pin;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response as Answer};
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

/// `{"health":"true"}`, as etcd says it, or `false` with 503.
pub async fn page(member: &Member) -> Answer {
    let (code, text) = if is_well(member).await {
        (StatusCode::OK, "{\"health\":\"true\",\"reason\":\"\"}")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "{\"health\":\"false\",\"reason\":\"no reads, or an alarm\"}")
    };
    (code, [(header::CONTENT_TYPE, "application/json")], text).into_response()
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
