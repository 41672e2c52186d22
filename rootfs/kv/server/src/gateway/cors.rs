//! Which pages in browsers may read the gateway and the pages (`--cors`; etcd's default is all), as
//! etcd says so.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

const ALLOWED: [(HeaderName, &str); 2] = [
    (header::ACCESS_CONTROL_ALLOW_METHODS, "POST, GET, OPTIONS, PUT, DELETE"),
    (header::ACCESS_CONTROL_ALLOW_HEADERS, "accept, content-type, authorization"),
];

/// A layer around what browsers ask.
pub async fn allow(State(origins): State<Arc<[String]>>, request: Request, next: Next) -> Response {
    let asks = request.method() == Method::OPTIONS;
    let origin = request.headers().get(header::ORIGIN).cloned();
    let mut response = if asks { StatusCode::OK.into_response() } else { next.run(request).await };
    let named = |origin: &HeaderValue| origins.iter().any(|known| known.as_bytes() == origin.as_bytes());
    let allowed = if origins.iter().any(|origin| origin == "*") {
        Some(HeaderValue::from_static("*"))
    } else {
        origin.filter(named)
    };
    if let Some(allowed) = allowed {
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        for (name, value) in ALLOWED {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    response
}
