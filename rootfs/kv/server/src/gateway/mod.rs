//! etcd's JSON gateway: the paths below `/v3/` on the client addresses. A request becomes a call of
//! the gRPC services of this member, without a connection, under the name and with the certificate
//! of whoever sent it; which path is which method, and how messages look, is in [`kv_api::gateway`].

mod codec;
pub mod cors;
mod stream;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header, request::Parts};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use kv_api::gateway::{self, Method};
use kv_api::json::JsonError;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::{AsciiMetadataValue, MetadataMap};
use tonic::service::Routes;
use tonic::{Code, Extensions, Status};

use codec::Encoded;

/// Metadata that may come as a header `Grpc-Metadata-NAME`.
const PASSED_ON: [&str; 3] = ["authorization", "token", "hasleader"];

/// The gateway to these services. A request's text is at most `limit` bytes, or each of its messages,
/// where there are many.
pub fn router(services: &Routes, limit: usize) -> Router {
    let mut router = Router::new();
    for (path, _) in gateway::ROUTES {
        let services = services.clone();
        let serve = move |request| serve(services.clone(), path, request, limit);
        router = router.route(path, post(serve).fallback(no_such_method));
    }
    router.route("/v3/{*path}", axum::routing::any(no_such_path))
}

async fn no_such_path() -> Response {
    refuse(&Status::not_found("Not Found"))
}

async fn no_such_method() -> Response {
    refuse(&Status::unimplemented("Method Not Allowed"))
}

async fn serve(services: Routes, http_path: &'static str, request: Request, limit: usize) -> Response {
    match call(services, http_path, request, limit).await {
        Ok(response) => response,
        Err(status) => refuse(&status),
    }
}

async fn call(
    services: Routes,
    path: &'static str,
    request: Request,
    limit: usize,
) -> Result<Response, Status> {
    let unknown = || Status::internal(format!("{path} is not among the methods that were built in"));
    let method = Method::find(path).ok_or_else(unknown)?;
    let grpc_path = PathAndQuery::try_from(method.grpc_path()).map_err(|_| unknown())?;
    let (parts, body) = request.into_parts();
    let mut client = Grpc::new(services).max_decoding_message_size(usize::MAX);
    // Services are always ready.
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    if method.streams_requests() {
        let (messages, broken) = stream::messages(body, method.clone(), limit);
        let request = with_caller(&parts, messages);
        let answers = client.streaming(request, grpc_path, Encoded).await?.into_inner();
        return Ok(lines(stream::lines(answers, method, Some(broken))));
    }
    let too_large = |_| Status::from(kv_api::Fault::RequestTooLarge);
    let text = to_bytes(body, limit).await.map_err(too_large)?;
    let message = method.request(&text).map_err(misread)?;
    if method.streams_answers() {
        let request = with_caller(&parts, message);
        let answers = client.server_streaming(request, grpc_path, Encoded).await?.into_inner();
        return Ok(lines(stream::lines(answers, method, None)));
    }
    let answer = client.unary(with_caller(&parts, message), grpc_path, Encoded).await?.into_inner();
    Ok(json(StatusCode::OK, method.answer(&answer).map_err(misread)?))
}

/// A call under the name of whoever sent the HTTP request.
fn with_caller<T>(parts: &Parts, message: T) -> tonic::Request<T> {
    let mut metadata = MetadataMap::new();
    for name in PASSED_ON {
        let long = format!("grpc-metadata-{name}");
        let short = parts.headers.get(name).filter(|_| name == "authorization");
        let value = short.or_else(|| parts.headers.get(long));
        if let Some(value) = value.and_then(|value| AsciiMetadataValue::try_from(value.as_bytes()).ok()) {
            metadata.insert(name, value);
        }
    }
    let extensions: Extensions = parts.extensions.clone();
    tonic::Request::from_parts(metadata, extensions, message)
}

/// The client's fault, or ours.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn misread(error: JsonError) -> Status {
    match error {
        JsonError::Text(_) => Status::invalid_argument(error.to_string()),
        _ => Status::internal(error.to_string()),
    }
}

fn refuse(status: &Status) -> Response {
    let (number, _) = gateway::http_status(status.code());
    let number = StatusCode::from_u16(number).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = json(number, gateway::error(status));
    if status.code() == Code::Unauthenticated {
        // As etcd's gateway: the reason once more, for those who look at headers alone.
        let mut headers = HeaderMap::new();
        if let Ok(reason) = status.message().parse() {
            headers.insert(header::WWW_AUTHENTICATE, reason);
        }
        response.headers_mut().extend(headers);
    }
    response
}

fn json(number: StatusCode, text: Vec<u8>) -> Response {
    (number, [(header::CONTENT_TYPE, "application/json")], text).into_response()
}

fn lines(body: Body) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}
