//! etcd's services, each on a [`crate::member::Member`].

mod auth;
mod cluster;
mod election;
mod health;
mod kv;
mod lease;
mod lock;
mod maintenance;
mod session;
mod watch;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use kv_api::Fault;
use kv_api::etcdserverpb::auth_server::AuthServer;
use kv_api::etcdserverpb::cluster_server::ClusterServer;
use kv_api::etcdserverpb::kv_server::KvServer;
use kv_api::etcdserverpb::lease_server::LeaseServer;
use kv_api::etcdserverpb::maintenance_server::MaintenanceServer;
use kv_api::etcdserverpb::watch_server::WatchServer;
use kv_api::health::health_server::HealthServer;
use kv_api::v3electionpb::election_server::ElectionServer;
use kv_api::v3lockpb::lock_server::LockServer;
use tonic::service::Routes;

use crate::gateway;
use crate::limits::ANSWER_BYTES;
use crate::member::Member;
use crate::metrics;
use crate::pages;

pub use lease::expire;

/// All that is served on a client address: gRPC, and the pages for those without.
pub fn routes(member: &Member) -> Routes {
    let message = member.limits.message_bytes();
    let kv = KvServer::new(kv::Kv(member.clone()))
        .max_decoding_message_size(message)
        .max_encoding_message_size(ANSWER_BYTES);
    let watch = WatchServer::new(watch::Watch(member.clone())).max_decoding_message_size(message);
    let lease = LeaseServer::new(lease::Lease(member.clone())).max_decoding_message_size(message);
    let services = Routes::new(kv).add_service(watch).add_service(lease);
    let local = session::Local::new(services.clone());
    let routes = services
        .add_service(AuthServer::new(auth::Auth(member.clone())).max_decoding_message_size(message))
        .add_service(LockServer::new(lock::Lock(local.clone())).max_decoding_message_size(message))
        .add_service(ElectionServer::new(election::Election(local)).max_decoding_message_size(message))
        .add_service(ClusterServer::new(cluster::Cluster(member.clone())))
        .add_service(MaintenanceServer::new(maintenance::Maintenance(member.clone())))
        .add_service(HealthServer::new(health::Health(member.clone())));
    let counted = routes
        .into_axum_router()
        .layer(from_fn_with_state(member.clone(), need_leader))
        .layer(from_fn(metrics::grpc::count));
    // The largest text of a message that is read: the same in base64, with room for the rest.
    let json = gateway::router(&Routes::from(counted.clone()), message * 2);
    let cors = from_fn_with_state(Arc::clone(&member.origins), gateway::cors::allow);
    Routes::from(counted.merge(json.merge(pages::router(member)).layer(cors)))
}

/// A client that asks for it is refused at once where there is no leader, so that it goes to another
/// member (etcd: `clientv3.WithRequireLeader`).
async fn need_leader(State(member): State<Member>, request: Request, next: Next) -> Response {
    let needs = request.headers().get("hasleader").is_some_and(|value| value == "true");
    if needs && member.consensus.status().leader == 0 {
        return tonic::Status::from(Fault::NoLeader).into_http();
    }
    next.run(request).await
}
