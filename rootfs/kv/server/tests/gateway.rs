//! The JSON gateway, held against Debian's etcd: the same bodies, the same answers.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test a panic is the message")]

mod front;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;

use front::{Etcd, Kv, http};
use serde_json::{Value, json};

/// What differs by nature: who answers.
const MASKED: [&str; 5] = ["cluster_id", "member_id", "raft_term", "clientURLs", "peerURLs"];

fn masked(value: Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .map(|(name, value)| {
                // Leases here have short ids, members have long ones.
                let long = name == "ID" && value.as_str().is_some_and(|id| id.len() > 4);
                let value = if long || MASKED.contains(&name.as_str()) { "*".into() } else { masked(value) };
                (name, value)
            })
            .collect(),
        Value::Array(values) => values.into_iter().map(masked).collect(),
        other => other,
    }
}

fn read(text: &str) -> Value {
    masked(serde_json::from_str(text).unwrap_or_else(|_| panic!("no JSON: {text}")))
}

/// Paths with bodies. Keys are in base64: `YQ==` is a, `Yg==` b, `Yw==` c.
const STEPS: &[(&str, &str)] = &[
    ("kv/put", r#"{"key":"YQ==","value":"MQ=="}"#),
    ("kv/put", r#"{"key":"YQ==","value":"Mg==","prev_kv":true}"#),
    ("kv/put", r#"{"key":"Yg==","value":"MQ=="}"#),
    ("kv/put", r#"{"value":"MQ=="}"#),
    ("kv/put", r#"{"key":"Yg==","lease":"99"}"#),
    ("kv/put", ""),
    ("kv/range", r#"{"key":"YQ==","range_end":"AA==","sort_order":"DESCEND"}"#),
    ("kv/range", r#"{"key":"YQ==","rangeEnd":"Yw==","count_only":true}"#),
    ("kv/range", r#"{"key":"YQ==","revision":2,"serializable":true}"#),
    ("kv/range", r#"{"key":"YQ==","revision":"99"}"#),
    ("kv/range", r#"{"key":"eg=="}"#),
    (
        "kv/txn",
        r#"{"compare":[{"key":"YQ==","target":"VERSION","version":"2"}],
            "success":[{"request_put":{"key":"Yw==","value":"Mw=="}},{"request_range":{"key":"YQ=="}}],
            "failure":[{"request_delete_range":{"key":"YQ=="}}]}"#,
    ),
    ("kv/txn", r#"{"success":[{"requestPut":{"key":"Yw=="}},{"requestPut":{"key":"Yw=="}}]}"#),
    ("kv/deleterange", r#"{"key":"Yg==","prev_kv":true}"#),
    ("lease/grant", r#"{"ID":"7","TTL":"1000"}"#),
    ("lease/grant", r#"{"ID":8,"TTL":1000}"#),
    ("kv/put", r#"{"key":"bA==","value":"MQ==","lease":7}"#),
    ("lease/keepalive", r#"{"ID":"7"}"#),
    ("lease/keepalive", r#"{"ID":"7"}{"ID":"99"} {"ID":8}"#),
    ("lease/revoke", r#"{"ID":"8"}"#),
    ("kv/lease/revoke", r#"{"ID":"8"}"#),
    ("lease/leases", "{}"),
    ("kv/lease/leases", ""),
    ("lease/timetolive", r#"{"ID":"99"}"#),
    ("cluster/member/list", "{}"),
    ("lock/lock", r#"{"name":"bG9jaw==","lease":"7"}"#),
    ("lock/unlock", r#"{"key":"bG9jay83"}"#),
    ("lock/lock", r#"{"name":"bG9jaw==","lease":"99"}"#),
    ("election/leader", r#"{"name":"eg=="}"#),
    ("election/resign", "{}"),
    ("election/campaign", r#"{"name":"ZQ==","value":"MQ==","lease":"7"}"#),
    ("election/leader", r#"{"name":"ZQ=="}"#),
    ("election/proclaim", r#"{"leader":{"name":"ZQ==","key":"ZS83","rev":"9","lease":"7"},"value":"Mg=="}"#),
    ("election/resign", r#"{"leader":{"name":"ZQ==","key":"ZS83","rev":"9","lease":"7"}}"#),
    ("kv/compaction", r#"{"revision":"5","physical":true}"#),
    ("kv/range", r#"{"key":"YQ==","revision":"2"}"#),
    ("kv/compaction", r#"{"revision":"5"}"#),
    ("kv/range", r#"{"key":"YQ==","range_end":"AA=="}"#),
];

#[tokio::test]
async fn answers_are_those_of_etcd() {
    let (kv, etcd) = (Kv::start(&[]), Etcd::start());
    let mut differences = Vec::new();
    for (path, body) in STEPS {
        let mut both = Vec::new();
        for url in [kv.url(), &etcd.url] {
            let (status, kind, text) = http("POST", format!("{url}/v3/{path}"), Some(body)).await;
            let lines: Vec<Value> = if text.starts_with("{\"result\"") {
                text.lines().map(read).collect()
            } else {
                vec![read(&text)]
            };
            both.push((status, kind, lines));
        }
        if both[0] != both[1] {
            differences.push(format!("{path} {body}\n  ours   {:?}\n  theirs {:?}", both[0], both[1]));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[tokio::test]
async fn what_cannot_be_answered_says_so_as_json() {
    let kv = Kv::start(&[]);
    for (method, path, body, status, code) in [
        ("POST", "kv/range", "{", 400, 3),
        ("POST", "kv/range", r#"{"key":5}"#, 400, 3),
        ("POST", "kv/nothing", "{}", 404, 5),
        ("GET", "kv/range", "", 501, 12),
        ("POST", "election/leader", r#"{"name":"eA=="}"#, 500, 2),
    ] {
        let (got, kind, text) = http(method, format!("{}/v3/{path}", kv.url()), Some(body)).await;
        assert_eq!((got, kind.as_str()), (status, "application/json"), "{method} {path}: {text}");
        assert_eq!(read(&text)["code"], code, "{method} {path}");
    }
    // Its text is read whole: a text that is cut off cannot be answered surely.
    let large = format!(r#"{{"key":"YQ==","value":"{}"}}"#, "A".repeat(2_200_000));
    let (status, _, text) = http("POST", format!("{}/v3/kv/put", kv.url()), Some(&large)).await;
    assert_eq!((status, &read(&text)["message"]), (400, &json!("etcdserver: request is too large")));
}

/// The headers that an HTTP/1.1 request is answered with.
fn headers(url: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(url.trim_start_matches("http://")).unwrap();
    write!(stream, "{request}\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    std::io::Read::read_to_string(&mut stream, &mut text).unwrap();
    text.split("\r\n\r\n").next().unwrap().to_lowercase()
}

#[test]
fn browsers_are_told_what_they_may_read() {
    let all = Kv::start(&[]);
    for request in ["OPTIONS /v3/kv/range HTTP/1.1", "GET /health HTTP/1.1"] {
        let told = headers(all.url(), request);
        assert!(told.starts_with("http/1.1 200 ok"), "{told}");
        assert!(told.contains("access-control-allow-origin: *"), "{told}");
        assert!(told.contains("access-control-allow-methods: post, get, options, put, delete"), "{told}");
    }
    let one = Kv::start(&["--cors", "https://a.example"]);
    let told = headers(one.url(), "GET /health HTTP/1.1\r\nOrigin: https://a.example");
    assert!(told.contains("access-control-allow-origin: https://a.example"), "{told}");
    let told = headers(one.url(), "GET /health HTTP/1.1\r\nOrigin: https://b.example");
    assert!(!told.contains("access-control"), "{told}");
}

/// An HTTP/1.1 request that stays open, and the lines of JSON of its answer.
struct Lines(BufReader<TcpStream>);

impl Lines {
    fn of(url: &str, path: &str, body: &str) -> Self {
        let mut stream = TcpStream::connect(url.trim_start_matches("http://")).unwrap();
        let length = body.len();
        write!(stream, "POST /v3/{path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}")
            .unwrap();
        Self(BufReader::new(stream))
    }

    fn next(&mut self) -> Value {
        loop {
            let mut line = String::new();
            assert_ne!(self.0.read_line(&mut line).unwrap(), 0, "the answer has ended");
            // Beside them there are headers and the lengths of chunks.
            if line.starts_with('{') {
                return read(&line);
            }
        }
    }
}

#[tokio::test]
async fn watches_go_on_after_their_request() {
    let (kv, etcd) = (Kv::start(&[]), Etcd::start());
    let mut both = Vec::new();
    for url in [kv.url(), &etcd.url] {
        let put = |value: &'static str| {
            let body = format!(r#"{{"key":"YQ==","value":"{value}"}}"#);
            let url = format!("{url}/v3/kv/put");
            async move { assert_eq!(http("POST", url, Some(&body)).await.0, 200) }
        };
        put("MQ==").await;
        let create = r#"{"create_request":{"key":"YQ==","start_revision":"2","prev_kv":true}}"#;
        let mut watch = Lines::of(url, "watch", create);
        let mut lines = vec![watch.next(), watch.next()];
        put("Mg==").await;
        lines.push(watch.next());
        let compact = format!("{url}/v3/kv/compaction");
        assert_eq!(http("POST", compact, Some(r#"{"revision":"3"}"#)).await.0, 200);
        let mut late = Lines::of(url, "watch", create);
        lines.extend([late.next(), late.next()]);
        let mut observed = Lines::of(url, "election/observe", r#"{"name":"YQ=="}"#);
        let grant = http("POST", format!("{url}/v3/lease/grant"), Some(r#"{"ID":"7","TTL":"100"}"#)).await;
        assert_eq!(grant.0, 200);
        let campaign = r#"{"name":"YQ==","value":"MQ==","lease":"7"}"#;
        assert_eq!(http("POST", format!("{url}/v3/election/campaign"), Some(campaign)).await.0, 200);
        lines.push(observed.next());
        both.push(lines);
    }
    assert_eq!(both[0], both[1]);
}

#[tokio::test]
async fn a_stream_that_is_no_json_ends_with_an_error() {
    let kv = Kv::start(&[]);
    let mut watch = Lines::of(kv.url(), "watch", r#"{"create_request":{"key":"YQ=="}}{x"#);
    let mut last = watch.next();
    if last["error"].is_null() {
        assert_eq!(last["result"]["created"], true);
        last = watch.next();
    }
    assert_eq!(last["error"]["code"], 3, "{last}");
    let (status, _, text) = http("POST", format!("{}/v3/maintenance/snapshot", kv.url()), Some("{}")).await;
    let lines: Vec<Value> = text.lines().map(read).collect();
    assert_eq!(status, 200);
    assert!(lines.len() > 1 && lines.iter().all(|line| line["result"]["blob"].is_string()));
}
