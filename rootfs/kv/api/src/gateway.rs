//! What etcd's JSON gateway is made of: which path stands for which method, how
//! messages and errors look there. Serving it is the server's part.
//!
//! A request is a POST whose body is the method's message as JSON ([`Method::request`]);
//! what it gives goes to `Method::grpc_path` as the message of an ordinary gRPC call.
//! The messages that come back are [`Method::answer`]. A method with a stream of
//! requests takes JSON messages one after the other ([`crate::json::next`]); one with
//! a stream of answers gives each on a line of its own as `{"result":…}`, and an
//! error as `{"error":…}` ([`streamed_error`]).

use bytes::Bytes;
use prost_reflect::MethodDescriptor;
use serde_json::json;
use tonic::{Code, Status};

use crate::json::{self, JsonError};

/// The paths below `/v3/` with their methods, as etcd 3.6 has them; all of them take POST.
pub const ROUTES: &[(&str, &str)] = &[
    ("/v3/auth/authenticate", "etcdserverpb.Auth.Authenticate"),
    ("/v3/auth/disable", "etcdserverpb.Auth.AuthDisable"),
    ("/v3/auth/enable", "etcdserverpb.Auth.AuthEnable"),
    ("/v3/auth/role/add", "etcdserverpb.Auth.RoleAdd"),
    ("/v3/auth/role/delete", "etcdserverpb.Auth.RoleDelete"),
    ("/v3/auth/role/get", "etcdserverpb.Auth.RoleGet"),
    ("/v3/auth/role/grant", "etcdserverpb.Auth.RoleGrantPermission"),
    ("/v3/auth/role/list", "etcdserverpb.Auth.RoleList"),
    ("/v3/auth/role/revoke", "etcdserverpb.Auth.RoleRevokePermission"),
    ("/v3/auth/status", "etcdserverpb.Auth.AuthStatus"),
    ("/v3/auth/user/add", "etcdserverpb.Auth.UserAdd"),
    ("/v3/auth/user/changepw", "etcdserverpb.Auth.UserChangePassword"),
    ("/v3/auth/user/delete", "etcdserverpb.Auth.UserDelete"),
    ("/v3/auth/user/get", "etcdserverpb.Auth.UserGet"),
    ("/v3/auth/user/grant", "etcdserverpb.Auth.UserGrantRole"),
    ("/v3/auth/user/list", "etcdserverpb.Auth.UserList"),
    ("/v3/auth/user/revoke", "etcdserverpb.Auth.UserRevokeRole"),
    ("/v3/cluster/member/add", "etcdserverpb.Cluster.MemberAdd"),
    ("/v3/cluster/member/list", "etcdserverpb.Cluster.MemberList"),
    ("/v3/cluster/member/promote", "etcdserverpb.Cluster.MemberPromote"),
    ("/v3/cluster/member/remove", "etcdserverpb.Cluster.MemberRemove"),
    ("/v3/cluster/member/update", "etcdserverpb.Cluster.MemberUpdate"),
    ("/v3/election/campaign", "v3electionpb.Election.Campaign"),
    ("/v3/election/leader", "v3electionpb.Election.Leader"),
    ("/v3/election/observe", "v3electionpb.Election.Observe"),
    ("/v3/election/proclaim", "v3electionpb.Election.Proclaim"),
    ("/v3/election/resign", "v3electionpb.Election.Resign"),
    ("/v3/kv/compaction", "etcdserverpb.KV.Compact"),
    ("/v3/kv/deleterange", "etcdserverpb.KV.DeleteRange"),
    ("/v3/kv/lease/leases", "etcdserverpb.Lease.LeaseLeases"),
    ("/v3/kv/lease/revoke", "etcdserverpb.Lease.LeaseRevoke"),
    ("/v3/kv/lease/timetolive", "etcdserverpb.Lease.LeaseTimeToLive"),
    ("/v3/kv/put", "etcdserverpb.KV.Put"),
    ("/v3/kv/range", "etcdserverpb.KV.Range"),
    ("/v3/kv/txn", "etcdserverpb.KV.Txn"),
    ("/v3/lease/grant", "etcdserverpb.Lease.LeaseGrant"),
    ("/v3/lease/keepalive", "etcdserverpb.Lease.LeaseKeepAlive"),
    ("/v3/lease/leases", "etcdserverpb.Lease.LeaseLeases"),
    ("/v3/lease/revoke", "etcdserverpb.Lease.LeaseRevoke"),
    ("/v3/lease/timetolive", "etcdserverpb.Lease.LeaseTimeToLive"),
    ("/v3/lock/lock", "v3lockpb.Lock.Lock"),
    ("/v3/lock/unlock", "v3lockpb.Lock.Unlock"),
    ("/v3/maintenance/alarm", "etcdserverpb.Maintenance.Alarm"),
    ("/v3/maintenance/defragment", "etcdserverpb.Maintenance.Defragment"),
    ("/v3/maintenance/downgrade", "etcdserverpb.Maintenance.Downgrade"),
    ("/v3/maintenance/hash", "etcdserverpb.Maintenance.Hash"),
    ("/v3/maintenance/hashkv", "etcdserverpb.Maintenance.HashKV"),
    ("/v3/maintenance/snapshot", "etcdserverpb.Maintenance.Snapshot"),
    ("/v3/maintenance/status", "etcdserverpb.Maintenance.Status"),
    ("/v3/maintenance/transfer-leadership", "etcdserverpb.Maintenance.MoveLeader"),
    ("/v3/watch", "etcdserverpb.Watch.Watch"),
];

/// A method that a path of the gateway stands for.
#[derive(Debug, Clone)]
pub struct Method(MethodDescriptor);

impl Method {
    /// The method for a path such as `/v3/kv/range`. `None`: there is no such path.
    pub fn find(http_path: &str) -> Option<Self> {
        let (_, name) = ROUTES.iter().find(|(path, _)| *path == http_path)?;
        let (service, method) = name.rsplit_once('.')?;
        let service = json::pool().ok()?.get_service_by_name(service)?;
        service.methods().find(|of| of.name() == method).map(Self)
    }

    /// The path of the gRPC call, such as `/etcdserverpb.KV/Range`.
    pub fn grpc_path(&self) -> String {
        let service = self.0.parent_service().full_name();
        format!("/{service}/{}", self.0.name())
    }

    /// Whether the body holds any number of messages rather than one.
    pub fn streams_requests(&self) -> bool {
        self.0.is_client_streaming()
    }

    /// Whether any number of answers comes, each on a line of its own.
    pub fn streams_answers(&self) -> bool {
        self.0.is_server_streaming()
    }

    /// A request's JSON as the encoded message.
    pub fn request(&self, text: &[u8]) -> Result<Bytes, JsonError> {
        json::encoded(self.0.input(), text)
    }

    /// An encoded answer as JSON: the message, or of a stream `{"result":message}`
    /// with a line feed behind it.
    pub fn answer(&self, message: &[u8]) -> Result<Vec<u8>, JsonError> {
        if !self.streams_answers() {
            return json::written(self.0.output(), message, Vec::new());
        }
        let mut text = json::written(self.0.output(), message, br#"{"result":"#.to_vec())?;
        text.extend_from_slice(b"}\n");
        Ok(text)
    }
}

/// The body of an answer that is an error. Has the fields that etcd 3.6 gives
/// (`code`, `message`) and the one that 3.4 and 3.5 add (`error`).
pub fn error(status: &Status) -> Vec<u8> {
    json!({
        "error": status.message(),
        "message": status.message(),
        "code": status.code() as i32,
    })
    .to_string()
    .into_bytes()
}

/// The last line of a stream that ends with an error. Has the fields that etcd 3.6
/// gives (`code`, `message`) and those of 3.4 and 3.5 (all but `code`).
pub fn streamed_error(status: &Status) -> Vec<u8> {
    let (number, phrase) = http_status(status.code());
    let mut line = json!({"error": {
        "code": status.code() as i32,
        "message": status.message(),
        "grpc_code": status.code() as i32,
        "http_code": number,
        "http_status": phrase,
    }})
    .to_string()
    .into_bytes();
    line.push(b'\n');
    line
}

/// The HTTP status for a gRPC code: number and phrase. etcd 3.6's, which follows
/// google.rpc.Code (etcd 3.4 gives 412 for `FailedPrecondition`, 408 for `Cancelled`).
pub const fn http_status(code: Code) -> (u16, &'static str) {
    match code {
        Code::Ok => (200, "OK"),
        Code::Cancelled => (499, "Client Closed Request"),
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => (400, "Bad Request"),
        Code::DeadlineExceeded => (504, "Gateway Timeout"),
        Code::NotFound => (404, "Not Found"),
        Code::AlreadyExists | Code::Aborted => (409, "Conflict"),
        Code::PermissionDenied => (403, "Forbidden"),
        Code::Unauthenticated => (401, "Unauthorized"),
        Code::ResourceExhausted => (429, "Too Many Requests"),
        Code::Unimplemented => (501, "Not Implemented"),
        Code::Unavailable => (503, "Service Unavailable"),
        Code::Unknown | Code::Internal | Code::DataLoss => (500, "Internal Server Error"),
    }
}
