//! TLS of the client addresses: trust both ways, rotation without a restart, and who it was.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test a panic is the message")]

mod front;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use front::Kv;
use hyper_util::rt::TokioIo;
use kv::listen::{self, Endpoint, Files, Tls, peer_common_name};
use kv_api::etcdserverpb as pb;
use pb::kv_client::KvClient;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tls::rustls::pki_types::pem::PemObject as _;
use tls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tls::rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;
use tonic::transport::server::Connected as _;
use tonic::transport::{Channel, Endpoint as Client};

/// An authority, and the folder in which its certificates are.
struct Authority {
    folder: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
    ca: String,
}

impl Authority {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = params.self_signed(&key).unwrap().pem();
        std::fs::write(folder.path().join("ca.pem"), &ca).unwrap();
        Self { folder, issuer: Issuer::new(params, key), ca }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A certificate for 127.0.0.1 and localhost, written as `NAME.pem` and `NAME.key`.
    fn issue(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let hosts = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
        let mut params = CertificateParams::new(hosts).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let pem = params.signed_by(&key, &self.issuer).unwrap().pem();
        // Renamed into place, as those do who renew certificates.
        for (end, text) in [("key", &key.serialize_pem()), ("pem", &pem)] {
            let new = self.path("new");
            std::fs::write(&new, text).unwrap();
            std::fs::rename(&new, self.path(&format!("{name}.{end}"))).unwrap();
        }
        (pem, key.serialize_pem())
    }

    fn files(&self, name: &str, trusted: bool) -> Files {
        Files {
            prefix: "",
            cert: self.path(&format!("{name}.pem")),
            key: self.path(&format!("{name}.key")),
            trusted_ca: trusted.then(|| self.path("ca.pem")),
        }
    }

    fn serve(&self, more: &[&str]) -> Kv {
        let (cert, key) = (self.path("server.pem"), self.path("server.key"));
        let words = ["--cert-file", cert.to_str().unwrap(), "--key-file", key.to_str().unwrap()];
        Kv::on("https://127.0.0.1:0", &[&words, more].concat())
    }
}

async fn connect(kv: &Kv, ca: &str, identity: Option<&(String, String)>) -> Result<Channel, String> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(tls::provider());
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => {
            let chain = vec![CertificateDer::from_pem_slice(cert.as_bytes()).unwrap()];
            builder
                .with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap())
                .unwrap()
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    let connector = TlsConnector::from(Arc::new(config));
    let address = kv.url().trim_start_matches("https://").to_owned();
    let connect = tower::service_fn(move |_| {
        let (connector, address) = (connector.clone(), address.clone());
        async move {
            let stream = tokio::net::TcpStream::connect(address).await?;
            let stream = connector.connect("127.0.0.1".try_into().unwrap(), stream).await?;
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
            Ok::<_, std::io::Error>(TokioIo::new(stream))
        }
    });
    let client = Client::from_static("http://127.0.0.1").connect_with_connector(connect).await;
    client.map_err(|error| format!("{error:?}"))
}

async fn put(channel: Channel) -> Result<(), tonic::Status> {
    let put = pb::PutRequest { key: "a".into(), value: "1".into(), ..Default::default() };
    KvClient::new(channel).put(put).await.map(|_| ())
}

#[tokio::test]
async fn clients_are_served_and_trust_whom_they_should() {
    let authority = Authority::new();
    authority.issue("server");
    let kv = authority.serve(&[]);
    assert!(kv.url().starts_with("https://127.0.0.1:"));
    put(connect(&kv, &authority.ca, None).await.unwrap()).await.unwrap();
    let stranger = Authority::new();
    let refused = connect(&kv, &stranger.ca, None).await.unwrap_err();
    assert!(refused.contains("InvalidCertificate"), "{refused}");

    // A second opinion, and HTTP/1.1 on the same port.
    let ca = authority.path("ca.pem");
    assert_eq!(etcdctl(&kv, &["--cacert", ca.to_str().unwrap()]), "a\n1\n");
    let health = https(&kv, &authority.ca).await;
    assert_eq!(health, "{\"health\":\"true\",\"reason\":\"\"}");
    // Plain text on a port of TLS gets no answer.
    let mut stream = tokio::net::TcpStream::connect(kv.url().trim_start_matches("https://")).await.unwrap();
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    // The connection may be reset.
    let _ = stream.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"));
}

fn etcdctl(kv: &Kv, words: &[&str]) -> String {
    let run = Command::new("etcdctl")
        .env("ETCDCTL_API", "3")
        .args(["--endpoints", kv.url()])
        .args(words)
        .args(["get", "a"])
        .output();
    let run = run.expect("Debian's etcdctl is wanted: apt-get install etcd-client");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    String::from_utf8(run.stdout).unwrap()
}

async fn https(kv: &Kv, ca: &str) -> String {
    let url = format!("{}/health", kv.url());
    let root = ureq::tls::Certificate::from_pem(ca.as_bytes()).unwrap();
    let ask = move || {
        let tls = ureq::tls::TlsConfig::builder()
            .root_certs(ureq::tls::RootCerts::from([root]))
            .unversioned_rustls_crypto_provider(tls::provider())
            .build();
        let agent: ureq::Agent = ureq::Agent::config_builder().tls_config(tls).build().into();
        agent.get(url).call().unwrap().body_mut().read_to_string().unwrap()
    };
    tokio::task::spawn_blocking(ask).await.unwrap()
}

#[tokio::test]
async fn clients_must_show_a_certificate_where_that_is_wanted() {
    let authority = Authority::new();
    authority.issue("server");
    let someone = authority.issue("someone");
    let ca = authority.path("ca.pem");
    let kv = authority.serve(&["--client-cert-auth", "--trusted-ca-file", ca.to_str().unwrap()]);
    put(connect(&kv, &authority.ca, Some(&someone)).await.unwrap()).await.unwrap();
    let (cert, key) = (authority.path("someone.pem"), authority.path("someone.key"));
    let words =
        ["--cacert", ca.to_str().unwrap(), "--cert", cert.to_str().unwrap(), "--key", key.to_str().unwrap()];
    assert_eq!(etcdctl(&kv, &words), "a\n1\n");
    let stranger = Authority::new().issue("someone");
    for identity in [None, Some(&stranger)] {
        // With TLS 1.3 the refusal may come after the handshake.
        if let Ok(channel) = connect(&kv, &authority.ca, identity).await {
            put(channel).await.unwrap_err();
        }
    }
}

#[tokio::test]
async fn changed_files_are_taken_by_the_next_connection() {
    let old = Authority::new();
    old.issue("server");
    let kv = old.serve(&[]);
    let kept = connect(&kv, &old.ca, None).await.unwrap();
    put(kept.clone()).await.unwrap();

    let new = Authority::new();
    new.issue("server");
    // First the certificate without its key: what was there before serves on.
    rename(&new.path("server.pem"), &old.path("server.pem"));
    put(connect(&kv, &old.ca, None).await.unwrap()).await.unwrap();
    rename(&new.path("server.key"), &old.path("server.key"));
    put(connect(&kv, &new.ca, None).await.unwrap()).await.unwrap();
    connect(&kv, &old.ca, None).await.unwrap_err();
    put(kept).await.unwrap();
}

fn rename(from: &Path, to: &Path) {
    std::fs::copy(from, to.with_extension("copy")).unwrap();
    std::fs::rename(to.with_extension("copy"), to).unwrap();
}

#[tokio::test]
async fn two_members_know_each_other() {
    let authority = Authority::new();
    authority.issue("one");
    authority.issue("two");
    let [one, two] = ["one", "two"].map(|name| Arc::new(Tls::new(authority.files(name, true)).unwrap()));
    let anywhere = Endpoint { address: "127.0.0.1:0".parse().unwrap(), tls: true };
    let listener = listen::bind(anywhere, Some(&one), "listen-peer-urls").await.unwrap();
    let address = listener.endpoint().unwrap().address;
    let mut incoming = listen::incoming(listener);
    let (outward, inward) = tokio::join!(
        listen::connect(address, Some((&two, "127.0.0.1"))),
        tokio_stream::StreamExt::next(&mut incoming)
    );
    let (mut outward, mut inward) = (outward.unwrap(), inward.unwrap().unwrap());
    assert_eq!(outward.peer().common_name.as_deref(), Some("one"));
    assert_eq!(inward.connect_info().common_name.as_deref(), Some("two"));
    outward.write_all(b"hello").await.unwrap();
    outward.flush().await.unwrap();
    let mut heard = [0; 5];
    inward.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"hello");
    let mut request = tonic::Request::new(());
    assert_eq!(peer_common_name(&request), None);
    request.extensions_mut().insert(inward.connect_info());
    assert_eq!(peer_common_name(&request), Some("two"));
    let other = Tls::new(authority.files("one", false)).unwrap();
    let refused = listen::connect(address, Some((&other, "127.0.0.1"))).await.unwrap_err().to_string();
    assert!(refused.contains("trusted-ca-file"), "{refused}");
    // Under another name than the certificate's there is no trust.
    listen::connect(address, Some((&two, "example.org"))).await.unwrap_err();
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let authority = Authority::new();
    authority.issue("a");
    authority.issue("b");
    let said = |files: Files| {
        let error = Tls::new(files).unwrap_err();
        kv::member::chain(&error)
    };
    let mixed = Files { key: authority.path("b.key"), ..authority.files("a", false) };
    assert!(said(mixed).contains("cannot be used together"));
    let missing = Files { prefix: "peer-", cert: "/nowhere".into(), ..authority.files("a", false) };
    assert!(said(missing).starts_with("cannot use /nowhere (--peer-cert-file): "));
    let empty = authority.path("empty");
    std::fs::write(&empty, "").unwrap();
    let nobody = Files { trusted_ca: Some(empty), ..authority.files("a", false) };
    assert!(said(nobody).ends_with("empty (--trusted-ca-file) holds no certificate"));
}

/// Debian's etcdctl sends an endpoint's scheme as part of `:authority`, which HTTP/2 does not have.
#[test]
fn etcdctl_may_name_the_scheme() {
    let kv = Kv::start(&[]);
    for words in
        [&["put", "k", "v"][..], &["get", "k"], &["endpoint", "status"], &["endpoint", "hashkv"], &["defrag"]]
    {
        let output = Command::new("etcdctl")
            .env("ETCDCTL_API", "3")
            .arg(format!("--endpoints={}", kv.url()))
            .args(words)
            .output()
            .expect("etcdctl does not start; apt-get install etcd-client");
        assert!(output.status.success(), "{words:?}: {output:?}");
    }
}
