//! Servers for the tests of what stands in front of the store: processes of their own, on
//! loopback, with folders of their own, ended by their ids.
#![allow(dead_code, reason = "each test takes what it needs")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test a panic is the message")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use kv_api::etcdserverpb as pb;
use pb::kv_client::KvClient;
use pb::watch_client::WatchClient;
use tonic::transport::{Channel, Endpoint};

/// Our server.
pub struct Kv {
    child: Child,
    _folder: tempfile::TempDir,
    /// What it has said, URL by URL.
    pub urls: Vec<String>,
}

impl Drop for Kv {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until a member leads: a linearizable read is answered then.
fn lead(address: &str) {
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let body = "{\"key\":\"AA==\"}";
    write!(
        stream,
        "POST /v3/kv/range HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

impl Kv {
    /// Starts one on a free port of 127.0.0.1.
    pub fn start(words: &[&str]) -> Self {
        Self::on("http://127.0.0.1:0", words)
    }

    /// Starts one that listens on a URL.
    pub fn on(url: &str, words: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_kv"))
            .args(["--data-dir", folder.path().to_str().unwrap(), "--listen-client-urls", url])
            .args(["--listen-peer-urls", "http://127.0.0.1:0"])
            .args(words)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut urls = Vec::new();
        let wanted = if words.contains(&"--listen-metrics-urls") { 2 } else { 1 };
        while urls.len() < wanted {
            let mut line = String::new();
            assert_ne!(said.read_line(&mut line).unwrap(), 0, "it has ended: {urls:?}");
            match line.trim().split_once(" on ") {
                Some((_, url)) if line.contains("serving") => urls.push(url.to_owned()),
                _ => panic!("{line}"),
            }
        }
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::stderr()));
        if let Some(address) = urls[0].strip_prefix("http://") {
            lead(address);
        }
        Self { child, _folder: folder, urls }
    }

    /// Where clients are served.
    pub fn url(&self) -> &str {
        &self.urls[0]
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A connection.
    pub async fn channel(&self) -> Channel {
        Endpoint::from_shared(self.url().to_owned()).unwrap().connect().await.unwrap()
    }
}

/// Debian's etcd.
pub struct Etcd {
    child: Child,
    _folder: tempfile::TempDir,
    /// Where clients are served.
    pub url: String,
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Etcd {
    /// Starts one on free ports.
    pub fn start() -> Self {
        let ports = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [client, peer] = ports.map(|port| format!("http://{}", port.local_addr().unwrap()));
        let folder = tempfile::tempdir().unwrap();
        let child = Command::new("/usr/bin/etcd")
            .args(["--data-dir", folder.path().to_str().unwrap()])
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("default={peer}")])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = child.expect("Debian's etcd is wanted: apt-get install etcd-server");
        let mut said = BufReader::new(child.stderr.take().unwrap());
        loop {
            let mut line = String::new();
            assert_ne!(said.read_line(&mut line).unwrap(), 0, "etcd has ended");
            if line.contains("ready to serve client requests") {
                break;
            }
        }
        std::thread::spawn(move || {
            let mut rest = Vec::new();
            said.read_to_end(&mut rest)
        });
        // It says so a moment before its socket answers.
        while std::net::TcpStream::connect(client.trim_start_matches("http://")).is_err() {
            std::thread::yield_now();
        }
        Self { child, _folder: folder, url: client }
    }
}

/// The keys with a prefix.
pub async fn keys(channel: &Channel, prefix: &str) -> Vec<String> {
    let range = pb::RangeRequest {
        key: prefix.to_owned().into(),
        range_end: [prefix.as_bytes(), b"\xff"].concat().into(),
        ..Default::default()
    };
    let response = KvClient::new(channel.clone()).range(range).await.unwrap().into_inner();
    response.kvs.into_iter().map(|kv| String::from_utf8(kv.key.to_vec()).unwrap()).collect()
}

/// Waits until there are that many keys with a prefix, by a watch.
pub async fn wait_for_keys(channel: &Channel, prefix: &str, count: usize) {
    let create = pb::WatchCreateRequest {
        key: prefix.to_owned().into(),
        range_end: [prefix.as_bytes(), b"\xff"].concat().into(),
        ..Default::default()
    };
    let union = pb::watch_request::RequestUnion::CreateRequest(create);
    let first = tokio_stream::once(pb::WatchRequest { request_union: Some(union) });
    let requests = tokio_stream::StreamExt::chain(first, tokio_stream::pending());
    let mut events = WatchClient::new(channel.clone()).watch(requests).await.unwrap().into_inner();
    loop {
        // The first answer says that the watch is there, and so misses nothing.
        events.message().await.unwrap().unwrap();
        if keys(channel, prefix).await.len() == count {
            return;
        }
    }
}

/// A request over HTTP/1.1: the status, the type and the text of the answer.
pub async fn http(method: &str, url: String, body: Option<&str>) -> (u16, String, String) {
    let request = ureq::http::Request::builder().method(method).uri(url);
    let body = body.unwrap_or_default().to_owned();
    let ask = move || {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .allow_non_standard_methods(true)
            .build()
            .into();
        let mut answer = if body.is_empty() {
            agent.run(request.body(()).unwrap()).unwrap()
        } else {
            agent.run(request.body(body).unwrap()).unwrap()
        };
        let kind = answer.headers().get("content-type").map(|kind| kind.to_str().unwrap().to_owned());
        (answer.status().as_u16(), kind.unwrap_or_default(), answer.body_mut().read_to_string().unwrap())
    };
    tokio::task::spawn_blocking(ask).await.unwrap()
}
