//! What is served to those who speak plain HTTP, beside gRPC: `/health`, `/version` and
//! `/metrics`, on the client addresses and on those of `--listen-metrics-urls`.

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use kv_api::etcdserverpb as pb;

use crate::member::{API_VERSION, Member, broken};
use crate::metrics;

const PLAIN: [(HeaderName, &str); 1] = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
const JSON: [(HeaderName, &str); 1] = [(header::CONTENT_TYPE, "application/json")];
/// Prometheus' text format.
const TEXT: [(HeaderName, &str); 1] = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];

/// The pages of a member.
pub fn router(member: &Member) -> Router {
    let version = || async {
        (JSON, format!("{{\"etcdserver\":\"{API_VERSION}\",\"etcdcluster\":\"{API_VERSION}\"}}"))
    };
    Router::new()
        .route("/health", read(get(health)))
        .route("/version", read(get(version)))
        .route("/metrics", read(get(page)))
        .with_state(member.clone())
}

/// What other methods than GET are told.
fn read(route: MethodRouter<Member>) -> MethodRouter<Member> {
    route.fallback(|| async {
        (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET")], "Method Not Allowed\n")
    })
}

async fn page(State(member): State<Member>) -> Response {
    match metrics::page(&member) {
        Ok(text) => (TEXT, text).into_response(),
        Err(status) => {
            (StatusCode::INTERNAL_SERVER_ERROR, PLAIN, status.message().to_owned()).into_response()
        }
    }
}

/// As etcd 3.5: `?serializable=true` asks about this member alone, `?exclude=NOSPACE` passes over
/// an alarm.
async fn health(State(member): State<Member>, RawQuery(query): RawQuery) -> Response {
    let query = query.unwrap_or_default();
    let values = |wanted| {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.filter(move |(name, _)| *name == wanted).map(|(_, value)| value)
    };
    let serializable = values("serializable").next() == Some("true");
    match reason(&member, serializable, |alarm| values("exclude").any(|value| value == alarm)).await {
        None => {
            metrics::HEALTH_GOOD.add(1);
            (PLAIN, "{\"health\":\"true\",\"reason\":\"\"}").into_response()
        }
        Some(reason) => {
            metrics::HEALTH_BAD.add(1);
            let reason = serde_json::json!({"health": "false", "reason": reason}).to_string();
            (StatusCode::SERVICE_UNAVAILABLE, PLAIN, reason + "\n").into_response()
        }
    }
}

/// Why the member is not well; `None` if it is.
async fn reason(member: &Member, serializable: bool, excluded: impl Fn(&str) -> bool) -> Option<String> {
    let failed = |status: tonic::Status| Some(format!("RANGE ERROR:{}", status.message()));
    let view = match member.shared.source.view() {
        Ok(view) => view,
        Err(error) => return failed(broken(error)),
    };
    let alarms = match view.alarms() {
        Ok(alarms) => alarms,
        Err(error) => return failed(broken(error)),
    };
    drop(view);
    for alarm in alarms {
        let kind = pb::AlarmType::try_from(alarm.kind as i32);
        let name = kind.map_or("UNKNOWN", |kind| kind.as_str_name());
        if !excluded(name) {
            return Some(format!("ALARM {name}"));
        }
    }
    if !serializable && member.consensus.status().leader == 0 {
        return Some("RAFT NO LEADER".to_owned());
    }
    member.view(serializable).await.err().and_then(failed)
}
