//! Fetching from a real server on the loopback: documents, metadata with and without tokens,
//! faults that pass and faults that do not.

#![expect(clippy::unwrap_used, reason = "a test's failure is a panic")]

use init::setup::Network;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use userdata::{Failure, Patience, Web, fetch};

/// Answers by request line and, where one is wanted, token; the last answer of a list stays.
struct Server {
    base: String,
    asked: Arc<Mutex<Vec<String>>>,
}

type Answers = BTreeMap<&'static str, Vec<(u16, &'static str)>>;

impl Server {
    fn start(token: Option<&'static str>, mut answers: Answers) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&asked);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let Some(Ok(first)) = lines.next() else { continue };
                let headers: Vec<String> =
                    lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
                let request = first.trim_end_matches(" HTTP/1.1").to_owned();
                noted.lock().unwrap().push(request.clone());
                let has = |name: &str, value: &str| {
                    headers.iter().any(|line| {
                        line.split_once(": ").is_some_and(|(n, v)| n.eq_ignore_ascii_case(name) && v == value)
                    })
                };
                let is_put = request.starts_with("PUT");
                let is_known = match token {
                    Some(token) if is_put => {
                        has("X-aws-ec2-metadata-token-ttl-seconds", "60") && !token.is_empty()
                    }
                    Some(token) => has("X-aws-ec2-metadata-token", token),
                    None => true,
                };
                let (status, body) = match answers.get_mut(request.as_str()) {
                    _ if !is_known => (401, ""),
                    Some(list) if list.len() > 1 => list.remove(0),
                    Some(list) => list[0],
                    None => (404, "nothing"),
                };
                let answer = format!(
                    "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                    body.len()
                );
                let _ = stream.write_all(answer.as_bytes());
                let _ = stream.shutdown(std::net::Shutdown::Write);
                let _ = stream.read(&mut [0; 16]);
            }
        });
        Self { base, asked }
    }
}

fn patience() -> Patience {
    Patience {
        deadline: Instant::now() + Duration::from_secs(20),
        first_pause: Duration::from_millis(1),
        longest_pause: Duration::from_millis(5),
    }
}

fn run(network: &Network) -> (Result<userdata::Found, Failure>, Vec<String>) {
    let mut lines = Vec::new();
    let found = fetch(&Web::default(), network, patience(), &mut |line| lines.push(line.to_owned()));
    (found, lines)
}

fn document(url: String) -> Network {
    Network { document: Some(url), metadata: None }
}

#[test]
fn a_document_is_fetched_after_faults_that_pass() {
    let answers =
        Answers::from([("GET /doc", vec![(503, ""), (503, ""), (500, ""), (200, "#cloud-config\n")])]);
    let server = Server::start(None, answers);
    let (found, lines) = run(&document(format!("{}/doc", server.base)));
    assert_eq!(found.unwrap().document, b"#cloud-config\n");
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].ends_with("/doc: status 503; trying again"), "{lines:?}");
    assert_eq!(server.asked.lock().unwrap().len(), 4);
}

#[test]
fn what_will_not_pass_is_not_tried_again() {
    let server = Server::start(None, Answers::new());
    let (found, _) = run(&document(format!("{}/none", server.base)));
    assert!(matches!(found, Err(Failure::Final { .. })), "{found:?}");
    assert_eq!(server.asked.lock().unwrap().len(), 1);
    for url in ["ftp://example.org/x", "x"] {
        let (found, _) = run(&document(url.to_owned()));
        let why = found.unwrap_err().to_string();
        assert!(why.contains("begins with https:// or http://"), "{why}");
    }
}

#[test]
fn a_body_without_end_is_cut_off() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while stream.write_all(&[b'x'; 4096]).is_ok() {}
    });
    let (found, _) = run(&document(url));
    assert!(matches!(found, Err(Failure::Final { .. })), "{:?}", found.map(|found| found.document.len()));
}

const METADATA: [(&str, &str); 6] = [
    ("GET /latest/meta-data/local-ipv4", "10.0.0.5"),
    ("GET /latest/meta-data/public-ipv4", "192.0.2.5\n"),
    ("GET /latest/meta-data/hostname", "node-5.example"),
    ("GET /latest/meta-data/public-keys/", "0=mine\n1=yours"),
    ("GET /latest/meta-data/public-keys/0/openssh-key", "ssh-ed25519 A mine\n"),
    ("GET /latest/user-data", "#cloud-config\nhostname: x\n"),
];

#[test]
fn metadata_is_read_with_a_token_and_without() {
    for token in [Some("secret"), None] {
        let mut answers: Answers = METADATA.map(|(request, body)| (request, vec![(200, body)])).into();
        if token.is_some() {
            answers.insert("PUT /latest/api/token", vec![(200, "secret")]);
        }
        let server = Server::start(token, answers);
        let network = Network { document: None, metadata: Some(format!("{}/", server.base)) };
        let (found, lines) = run(&network);
        let found = found.unwrap();
        assert!(lines.is_empty(), "{lines:?}");
        assert_eq!(found.document, b"#cloud-config\nhostname: x\n");
        assert_eq!(found.facts.hostname.as_deref(), Some("node-5.example"));
        assert_eq!(found.facts.keys, ["ssh-ed25519 A mine"]);
        let expected = [("COREOS_PRIVATE_IPV4", "10.0.0.5"), ("COREOS_PUBLIC_IPV4", "192.0.2.5")];
        assert_eq!(
            found.facts.environment(),
            expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
    }
}
