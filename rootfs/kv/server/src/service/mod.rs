//! etcd's services, each on a [`crate::member::Member`].

mod cluster;
mod health;
mod kv;
mod lease;
mod maintenance;
mod watch;

use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::get;
use kv_api::Fault;
use kv_api::etcdserverpb::cluster_server::ClusterServer;
use kv_api::etcdserverpb::kv_server::KvServer;
use kv_api::etcdserverpb::lease_server::LeaseServer;
use kv_api::etcdserverpb::maintenance_server::MaintenanceServer;
use kv_api::etcdserverpb::watch_server::WatchServer;
use kv_api::health::health_server::HealthServer;
use tonic::service::Routes;

use crate::consensus::REQUEST_BYTES;
use crate::member::{API_VERSION, Member};

pub use lease::expire;

/// The largest message that is read (etcd: the largest request and 512 KiB).
const MESSAGE_BYTES: usize = REQUEST_BYTES + (512 << 10);

/// All that is served on a client address: gRPC, and `/health` and `/version` for those without.
pub fn routes(member: &Member) -> Routes {
    let kv = KvServer::new(kv::Kv(member.clone())).max_decoding_message_size(MESSAGE_BYTES);
    let watch = WatchServer::new(watch::Watch(member.clone())).max_decoding_message_size(MESSAGE_BYTES);
    let lease = LeaseServer::new(lease::Lease(member.clone())).max_decoding_message_size(MESSAGE_BYTES);
    let routes = Routes::new(kv)
        .add_service(watch)
        .add_service(lease)
        .add_service(ClusterServer::new(cluster::Cluster(member.clone())))
        .add_service(MaintenanceServer::new(maintenance::Maintenance(member.clone())))
        .add_service(HealthServer::new(health::Health(member.clone())));
    let health = member.clone();
    let version = format!("{{\"etcdserver\":\"{API_VERSION}\",\"etcdcluster\":\"{API_VERSION}\"}}");
    let router = routes
        .into_axum_router()
        .route("/health", get(move || async move { health::page(&health).await }))
        .route("/version", get(move || async move { version }))
        .layer(from_fn_with_state(member.clone(), need_leader));
    Routes::from(router)
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
