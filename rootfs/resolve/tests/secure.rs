//! DNS over TLS against Debian's unbound, on the loopback.
//!
//! Needs Debian's unbound and openssl.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test's failure is a panic")]

use hickory_proto::rr::RecordType;
use resolve::config::{Config, Llmnr, name};
use resolve::resolver::{Resolver, Source};
use resolve::secure::Secure;
use resolve::wire::Question;
use std::cell::RefCell;
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command};
use std::rc::Rc;
use std::time::{Duration, Instant};
use tls::Trust;

/// A server with a certificate of an authority of its own, for `dns.test` and 127.0.0.1.
struct Unbound {
    child: Child,
    folder: tempfile::TempDir,
    address: SocketAddr,
}

impl Unbound {
    fn start(tls: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // A port that was free a moment ago, for UDP and TCP alike.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let script = "set -e; openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=ca \
                      -keyout ca.key -out ca.pem 2>/dev/null; \
                      openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=dns -keyout key.pem \
                      -out csr.pem 2>/dev/null; \
                      printf 'subjectAltName=DNS:dns.test,IP:127.0.0.1\\n' > ext; \
                      openssl x509 -req -in csr.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ext \
                      -out cert.pem 2>/dev/null";
        let made = Command::new("sh").args(["-c", script]).current_dir(folder.path()).status().unwrap();
        assert!(made.success(), "install openssl");
        let secure = format!(
            "tls-port: {}\n tls-service-key: {at}/key.pem\n tls-service-pem: {at}/cert.pem",
            address.port(),
            at = folder.path().display()
        );
        let config = format!(
            "server:\n interface: 127.0.0.1@{}\n username: \"\"\n chroot: \"\"\n pidfile: \"\"\n use-syslog: no\n \
             logfile: {at}/log\n do-daemonize: no\n module-config: iterator\n access-control: 127.0.0.0/8 allow\n \
             extended-statistics: yes\n log-queries: yes\n \
             local-zone: \"zone.test.\" static\n local-data: \"www.zone.test. 60 A 10.1.2.3\"\n \
             local-data: \"ftp.zone.test. 60 A 10.1.2.4\"\n {}\nremote-control:\n control-enable: no\n",
            address.port(),
            if tls { &secure } else { "" },
            at = folder.path().display(),
        );
        fs::write(folder.path().join("unbound.conf"), config).unwrap();
        let mut child = Command::new("/usr/sbin/unbound")
            .arg("-c")
            .arg(folder.path().join("unbound.conf"))
            .spawn()
            .expect("install unbound");
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(address).is_err() {
            assert!(
                child.try_wait().unwrap().is_none() && Instant::now() < deadline,
                "unbound does not start"
            );
            std::thread::yield_now();
        }
        Self { child, folder, address }
    }

    fn authority(&self) -> Trust {
        Trust::at(&self.folder.path().join("ca.pem")).unwrap()
    }
}

impl Drop for Unbound {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a question to `server` gives, and what is said.
async fn ask(resolver: &Rc<Resolver>, host: &str) -> Result<String, String> {
    let resolved = resolver.resolve(&Question { name: name(host).unwrap(), kind: RecordType::A }).await;
    match resolved.outcome.answers.first() {
        Some(record) if matches!(resolved.source, Source::Network(_)) => Ok(record.data.to_string()),
        _ => Err(resolved.why.unwrap_or_default()),
    }
}

fn resolver(server: &str, secure: Secure, said: &Rc<RefCell<Vec<String>>>) -> Rc<Resolver> {
    let config = Config {
        servers: vec![server.parse().unwrap()],
        llmnr: Llmnr::No,
        read_hosts: false,
        ..Config::default()
    };
    let said = Rc::clone(said);
    Rc::new(Resolver::with(
        config,
        Ok(Some(secure)),
        Box::new(move |line| said.borrow_mut().push(line.to_owned())),
    ))
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test);
}

#[test]
fn a_certificate_is_to_be_for_the_servers_name_or_address() {
    let unbound = Unbound::start(true);
    let address = unbound.address.to_string();
    let said = Rc::default();
    run(async {
        for server in [address.clone(), format!("{address}#dns.test")] {
            let strict = Secure::with(false, unbound.authority()).unwrap();
            let resolver = resolver(&server, strict, &said);
            assert_eq!(ask(&resolver, "www.zone.test").await.as_deref(), Ok("10.1.2.3"), "{said:?}");
            assert_eq!(ask(&resolver, "ftp.zone.test").await.as_deref(), Ok("10.1.2.4"), "{said:?}");
        }
        let strict = Secure::with(false, unbound.authority()).unwrap();
        let other = resolver(&format!("{address}#other.test"), strict, &said);
        assert!(ask(&other, "www.zone.test").await.unwrap_err().contains("dns.test"));
        let strict = Secure::with(false, Trust::at(Path::new("/no/such")).unwrap()).unwrap();
        let stranger = resolver(&address, strict, &said);
        let why = ask(&stranger, "www.zone.test").await.unwrap_err();
        assert!(why.contains("issuer is unknown"), "{why}");
    });
}

#[test]
fn without_tls_there_is_no_answer_unless_it_is_opportunistic() {
    let plain = Unbound::start(false);
    let secure = Unbound::start(true);
    let said = Rc::default();
    run(async {
        let strict = Secure::with(false, plain.authority()).unwrap();
        let resolver_of = |unbound: &Unbound, secure| resolver(&unbound.address.to_string(), secure, &said);
        ask(&resolver_of(&plain, strict), "www.zone.test").await.unwrap_err();
        let opportunistic = || Secure::with(true, Trust::BuiltIn).unwrap();
        // Anybody's certificate will do.
        let resolver = resolver_of(&secure, opportunistic());
        assert_eq!(ask(&resolver, "www.zone.test").await.as_deref(), Ok("10.1.2.3"));
        // That server has no plain DNS at this port: it was TLS.
        let resolver = resolver_of(&plain, opportunistic());
        assert_eq!(ask(&resolver, "www.zone.test").await.as_deref(), Ok("10.1.2.3"));
        assert_eq!(ask(&resolver, "ftp.zone.test").await.as_deref(), Ok("10.1.2.4"));
    });
}

#[test]
fn a_connection_serves_many_questions_and_a_closed_one_is_made_anew() {
    let unbound = Unbound::start(true);
    run(async {
        let secure = Secure::with(false, unbound.authority()).unwrap();
        let question = |host: &str| Question { name: name(host).unwrap(), kind: RecordType::A };
        let patience = Duration::from_secs(5);
        let connections = || {
            let tcp = fs::read_to_string("/proc/net/tcp").unwrap();
            let port = format!("0100007F:{:04X}", unbound.address.port());
            // Established (01) to the server; those that closed are others.
            let is_one = |line: &&str| {
                let fields: Vec<&str> = line.split_whitespace().collect();
                fields.get(2) == Some(&port.as_str()) && fields.get(3) == Some(&"01")
            };
            tcp.lines().filter(is_one).count()
        };
        for host in ["www.zone.test", "ftp.zone.test", "www.zone.test"] {
            secure.ask(unbound.address, None, &question(host), true, patience).await.unwrap();
        }
        assert_eq!(connections(), 1);
        let address = unbound.address;
        drop(unbound);
        secure.ask(address, None, &question("www.zone.test"), true, patience).await.unwrap_err();
    });
}
