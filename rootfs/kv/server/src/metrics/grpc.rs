//! Each gRPC call, counted by method: begun, ended with which code, after how long, and the bytes
//! both ways. Names are those of the usual interceptor for Go.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::Response;
use http_body::Frame;
use tonic::Code;

use super::number::{Counter, Histogram};
use super::text::Text;
use super::{CLIENT_RECEIVED, CLIENT_SENT};

const UNARY: &str = "unary";
const SERVER: &str = "server_stream";
const BOTH: &str = "bidi_stream";

/// Services, with their methods; those that stream are marked.
const SERVICES: &[(&str, &str)] = &[
    ("etcdserverpb.KV", "Range Put DeleteRange Txn Compact"),
    ("etcdserverpb.Watch", "Watch*"),
    ("etcdserverpb.Lease", "LeaseGrant LeaseRevoke LeaseKeepAlive* LeaseTimeToLive LeaseLeases"),
    ("etcdserverpb.Cluster", "MemberAdd MemberRemove MemberUpdate MemberList MemberPromote"),
    ("etcdserverpb.Maintenance", "Alarm Status Defragment Hash HashKV Snapshot+ MoveLeader Downgrade"),
    (
        "etcdserverpb.Auth",
        "AuthEnable AuthDisable AuthStatus Authenticate UserAdd UserGet UserList UserDelete \
         UserChangePassword UserGrantRole UserRevokeRole RoleAdd RoleGet RoleList RoleDelete \
         RoleGrantPermission RoleRevokePermission",
    ),
    ("v3lockpb.Lock", "Lock Unlock"),
    ("v3electionpb.Election", "Campaign Proclaim Leader Observe+ Resign"),
    ("grpc.health.v1.Health", "Check Watch+"),
];

/// The names of gRPC's codes, as they are counted under.
const CODES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

static BOUNDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

#[derive(Debug)]
struct Method {
    service: &'static str,
    name: &'static str,
    kind: &'static str,
    started: Counter,
    handled: [Counter; CODES.len()],
    seconds: Histogram,
}

static METHODS: LazyLock<HashMap<String, Method>> = LazyLock::new(|| {
    let mut methods = HashMap::new();
    for (service, names) in SERVICES {
        for name in names.split_whitespace() {
            let (name, kind) = match (name.strip_suffix('*'), name.strip_suffix('+')) {
                (Some(name), _) => (name, BOTH),
                (_, Some(name)) => (name, SERVER),
                _ => (name, UNARY),
            };
            let method = Method {
                service,
                name,
                kind,
                started: Counter::new(),
                handled: [const { Counter::new() }; CODES.len()],
                seconds: Histogram::new(&BOUNDS),
            };
            methods.insert(format!("/{service}/{name}"), method);
        }
    }
    methods
});

/// Counts a call: a layer around the services.
pub async fn count(request: Request, next: Next) -> Response {
    let Some(method) = METHODS.get(request.uri().path()) else { return next.run(request).await };
    let mut call = Call { method, began: Instant::now(), code: Code::Cancelled };
    method.started.add(1);
    let request = request.map(|body| Body::new(Counted { body, bytes: &CLIENT_RECEIVED, call: None }));
    let response = next.run(request).await;
    call.end(response.headers());
    response.map(|body| Body::new(Counted { body, bytes: &CLIENT_SENT, call: Some(call) }))
}

/// A call that is under way; when it is dropped, it has ended.
struct Call {
    method: &'static Method,
    began: Instant,
    code: Code,
}

impl Call {
    /// Looks whether headers or trailers say how it ended.
    fn end(&mut self, headers: &HeaderMap) {
        if let Some(code) = headers.get("grpc-status") {
            self.code = Code::from_bytes(code.as_bytes());
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if let Some(handled) = self.method.handled.get(self.code as usize) {
            handled.add(1);
        }
        self.method.seconds.observe(self.began.elapsed().as_secs_f64());
    }
}

/// A body whose bytes are counted, and of an answer how it ends.
struct Counted {
    body: Body,
    bytes: &'static Counter,
    call: Option<Call>,
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame {
            if let Some(data) = frame.data_ref() {
                self.bytes.add(data.len() as u64);
            }
            if let (Some(trailers), Some(call)) = (frame.trailers_ref(), &mut self.call) {
                call.end(trailers);
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

/// Methods that nobody has called have no times.
pub(super) fn write(text: &mut Text) {
    let mut methods: Vec<_> = METHODS.values().collect();
    methods.sort_by_key(|method| (method.service, method.name));
    let labels = |method: &Method| {
        [("grpc_method", method.name), ("grpc_service", method.service), ("grpc_type", method.kind)]
    };
    let name = "grpc_server_started_total";
    text.family(name, "counter", "Total number of RPCs started on the server.");
    for method in &methods {
        text.sample(name, &labels(method), method.started.get());
    }
    let name = "grpc_server_handled_total";
    text.family(
        name,
        "counter",
        "Total number of RPCs completed on the server, regardless of success or failure.",
    );
    for method in &methods {
        for (code, count) in CODES.iter().zip(&method.handled) {
            if count.get() != 0 || *code == "OK" {
                let [a, b, c] = labels(method);
                text.sample(name, &[("grpc_code", code), a, b, c], count.get());
            }
        }
    }
    let name = "grpc_server_handling_seconds";
    text.family(
        name,
        "histogram",
        "Seconds until an RPC was handled by the server, streams until their end.",
    );
    for method in methods.iter().filter(|method| method.started.get() != 0) {
        text.buckets(name, &labels(method), &method.seconds);
    }
}
