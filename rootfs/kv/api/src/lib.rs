//! The store's API, which is etcd's v3: messages, services (both sides), errors,
//! and the entries of the store's own log.
//!
//! The text in `proto/` is ours; packages, names and numbers are etcd's, so that
//! the wire is the same. `RangeStream`, which came with etcd 3.7, is not there.
//! Nothing here decides anything: see `kv-core` for what requests mean.
//!
//! Names of fields are those that prost makes: `peerURLs` is `peer_ur_ls`.
//! [`error`] has etcd's refusals, [`json`] and [`gateway`] what is said beside gRPC.

pub mod error;
pub mod gateway;
pub mod json;

pub use error::Fault;

/// Keys and events: package `mvccpb`.
#[allow(missing_docs, unused_qualifications, clippy::all, clippy::pedantic, reason = "generated")]
pub mod mvccpb {
    tonic::include_proto!("mvccpb");
}

/// Users, roles and permissions: package `authpb`.
#[allow(missing_docs, unused_qualifications, clippy::all, clippy::pedantic, reason = "generated")]
pub mod authpb {
    tonic::include_proto!("authpb");
}

/// The services KV, Watch, Lease, Cluster, Maintenance and Auth: package `etcdserverpb`.
#[allow(missing_docs, unused_qualifications, clippy::all, clippy::pedantic, reason = "generated")]
pub mod etcdserverpb {
    tonic::include_proto!("etcdserverpb");
}

/// The service Lock: package `v3lockpb`.
#[allow(missing_docs, unused_qualifications, clippy::all, clippy::pedantic, reason = "generated")]
pub mod v3lockpb {
    tonic::include_proto!("v3lockpb");
}

/// The service Election: package `v3electionpb`.
#[allow(missing_docs, unused_qualifications, clippy::all, clippy::pedantic, reason = "generated")]
pub mod v3electionpb {
    tonic::include_proto!("v3electionpb");
}

/// gRPC's own health service: package `grpc.health.v1`.
#[allow(missing_docs, unused_qualifications, clippy::all, clippy::pedantic, reason = "generated")]
pub mod health {
    tonic::include_proto!("grpc.health.v1");
}

/// Entries of the store's log: package `kvpb`, ours alone.
#[allow(missing_docs, unused_qualifications, clippy::all, clippy::pedantic, reason = "generated")]
pub mod kvpb {
    tonic::include_proto!("kvpb");
}

/// All packages as an encoded `google.protobuf.FileDescriptorSet`.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
