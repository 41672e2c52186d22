//! Debian's docker-registry on loopback, filled by skopeo: open, with a password, with TLS. And a
//! registry of our own making that asks for tokens, breaks off, and lies.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where something is wrong")]

mod common;

use common::{Tar, keep, run};
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use toolbox_store::{Digest, OciError, Reference, Registries, RegistryError, Source, Store, StoreError};

/// A docker-registry that ends with the value.
struct Debian(Child, u16);

impl Drop for Debian {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Debian {
    fn start(folder: &Path, more: &str) -> Self {
        let port = free_port();
        let config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {0}/data}}}}\nhttp:\n  addr: 127.0.0.1:{port}\n{more}",
            folder.display()
        );
        fs::write(folder.join("registry.yml"), config).unwrap();
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(folder.join("registry.yml"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("docker-registry (install it with apt-get)");
        let registry = Self(child, port);
        // It says nowhere that it listens; a connection is the event.
        for _ in 0..1000 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return registry;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("docker-registry does not listen");
    }
}

/// A layout with one image, `layout:one`.
fn layout(folder: &Path) {
    let script = r"
        set -e
        umoci init --layout layout; umoci new --image layout:one; umoci unpack --image layout:one bundle
        echo hello > bundle/rootfs/file; head -c 300000 /dev/urandom > bundle/rootfs/random
        umoci repack --image layout:one bundle; rm -rf bundle
    ";
    run("sh", &["-c", script], folder);
}

fn source(text: &str) -> Source {
    Source::parse_with(text, |_| false).unwrap()
}

#[test]
fn an_open_registry_is_pulled_from_when_it_is_said_to_be_insecure() {
    let folder = tempfile::tempdir().unwrap();
    layout(folder.path());
    let registry = Debian::start(folder.path(), "");
    let host = format!("127.0.0.1:{}", registry.1);
    let name = format!("{host}/some/tools:1");
    let to = format!("docker://{name}");
    run(
        "skopeo",
        &["--insecure-policy", "copy", "-q", "--dest-tls-verify=false", "oci:layout:one", &to],
        folder.path(),
    );
    let root = folder.path().join("store");
    let error = Store::open(&root).unwrap().get(&source(&name), &keep(), &mut |_| ()).unwrap_err();
    assert!(
        matches!(error, StoreError::Registry { source: RegistryError::Connection { .. }, .. }),
        "{error}"
    );
    let registries = Registries { insecure: vec![host.clone()], ..Registries::default() };
    let store = Store::open(&root).unwrap().with_registries(registries);
    let held = store.get(&source(&name), &keep(), &mut |_| ()).unwrap();
    assert_eq!(fs::read_to_string(held.image.tree.join("file")).unwrap(), "hello\n");
    assert_eq!(held.image.names, [name.as_str()]);
    assert_eq!(fs::read_dir(root.join("downloads")).unwrap().count(), 0);
    // By digest, which is the manifest's.
    let digest =
        run("skopeo", &["inspect", "--tls-verify=false", "--format", "{{.Digest}}", &to], folder.path());
    let by_digest = format!("{host}/some/tools@{}", digest.trim());
    assert_eq!(store.get(&source(&by_digest), &keep(), &mut |_| ()).unwrap().image.id, held.image.id);
    assert_eq!(held.image.id.as_ref().unwrap().digest().unwrap().to_string(), digest.trim());
    let error = store.get(&source(&format!("{host}/some/tools:2")), &keep(), &mut |_| ()).unwrap_err();
    assert!(
        matches!(error, StoreError::Registry { source: RegistryError::Status { status: 404, .. }, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("manifest unknown"), "{error}");
    // Known images need no network.
    drop(registry);
    assert!(store.get(&source(&name), &keep(), &mut |_| ()).is_ok());
    assert!(store.pull(&name.parse().unwrap(), &keep(), &mut |_| ()).is_err());
}

#[test]
fn a_registry_with_tls_and_a_password() {
    let folder = tempfile::tempdir().unwrap();
    layout(folder.path());
    let script = r"
        set -e
        htpasswd -Bbn user secret > htpasswd
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout key.pem -out cert.pem \
            -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE 2>/dev/null
    ";
    run("sh", &["-c", script], folder.path());
    let path = folder.path().display();
    let registry = Debian::start(
        folder.path(),
        &format!(
            "  tls: {{certificate: {path}/cert.pem, key: {path}/key.pem}}\nauth: {{htpasswd: {{realm: x, path: {path}/htpasswd}}}}\n"
        ),
    );
    let host = format!("localhost:{}", registry.1);
    let to = format!("docker://{host}/tools:1");
    let copy = [
        "--insecure-policy",
        "copy",
        "-q",
        "--dest-tls-verify=false",
        "--dest-creds=user:secret",
        "oci:layout:one",
        &to,
    ];
    run("skopeo", &copy, folder.path());
    // skopeo writes the file that we read.
    let good = folder.path().join("auth.json");
    let login = [
        "login",
        "--tls-verify=false",
        "--authfile",
        good.to_str().unwrap(),
        "-u",
        "user",
        "-p",
        "secret",
        &host,
    ];
    run("skopeo", &login, folder.path());
    let bad = folder.path().join("bad.json");
    fs::write(&bad, format!(r#"{{"auths":{{"{host}":{{"auth":"dXNlcjp3cm9uZw=="}}}}}}"#)).unwrap();
    let roots_pem = Some(fs::read(folder.path().join("cert.pem")).unwrap());
    let get = |files: &[&PathBuf], roots_pem: &Option<Vec<u8>>| {
        let auth_files = files.iter().map(|path| (*path).clone()).collect();
        let registries = Registries { auth_files, roots_pem: roots_pem.clone(), ..Registries::default() };
        let store = Store::open(&folder.path().join("store")).unwrap().with_registries(registries);
        store.pull(&format!("{host}/tools:1").parse().unwrap(), &keep(), &mut |_| ())
    };
    let refused = |result: Result<toolbox_store::Held, StoreError>| match result.unwrap_err() {
        StoreError::Registry { source, .. } => source,
        other => panic!("{other}"),
    };
    let missing = folder.path().join("missing.json");
    assert!(matches!(refused(get(&[], &roots_pem)), RegistryError::Unauthorized { given: false, .. }));
    assert!(matches!(refused(get(&[&bad], &roots_pem)), RegistryError::Unauthorized { given: true, .. }));
    let error = refused(get(&[&good], &None));
    assert!(
        matches!(error, RegistryError::Connection { .. }) && error.to_string().contains("certificate"),
        "{error}"
    );
    let held = get(&[&missing, &good], &roots_pem).unwrap();
    assert_eq!(fs::read_to_string(held.image.tree.join("file")).unwrap(), "hello\n");
}

/// What the registry of our own making has, and does.
#[derive(Default)]
struct Fake {
    paths: BTreeMap<String, Vec<u8>>,
    /// Bytes of a blob after which the connection ends, so often.
    cuts: usize,
    /// Whether a token is asked for.
    token: bool,
    /// Whether it goes on where it was.
    ranges: bool,
    /// Request lines and what is of interest of their headers.
    log: Vec<String>,
}

const CUT: usize = 100_000;

fn serve(fake: Arc<Mutex<Fake>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let own = host.clone();
    // The thread ends with the test's process.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = answer(&mut stream, &fake, &own);
        }
    });
    host
}

fn answer(stream: &mut TcpStream, fake: &Mutex<Fake>, host: &str) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let line = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    let mut headers = BTreeMap::new();
    for header in lines {
        let header = header?;
        let Some((name, value)) = header.split_once(": ") else { break };
        headers.insert(name.to_lowercase(), value.to_owned());
    }
    let mut fake = fake.lock().unwrap();
    let header = |name: &str| headers.get(name).cloned().unwrap_or_default();
    fake.log.push(format!("{line} [{}] [{}]", header("authorization"), header("range")));
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut send = |head: &str, body: &[u8]| -> std::io::Result<()> {
        write!(stream, "HTTP/1.1 {head}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len())?;
        stream.write_all(body)
    };
    if path.starts_with("/token?") {
        return send("200 OK", br#"{"token":"abc"}"#);
    }
    if fake.token && header("authorization") != "Bearer abc" {
        let challenge = format!(
            "401 Unauthorized\r\nWWW-Authenticate: Bearer realm=\"http://{host}/token\",service=\"s\",scope=\"repository:x:pull\""
        );
        return send(&challenge, b"");
    }
    let Some(body) = fake.paths.get(&path).cloned() else { return send("404 Not Found", b"{}") };
    let start: Option<usize> =
        header("range").strip_prefix("bytes=").and_then(|range| range.strip_suffix('-')?.parse().ok());
    let (status, body) = match start.filter(|_| fake.ranges) {
        Some(start) => {
            let range = format!(
                "206 Partial Content\r\nContent-Range: bytes {start}-{}/{}",
                body.len() - 1,
                body.len()
            );
            (range, body[start..].to_vec())
        }
        None => ("200 OK".to_owned(), body),
    };
    if fake.cuts > 0 && body.len() > CUT {
        fake.cuts -= 1;
        write!(stream, "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len())?;
        stream.write_all(&body[..CUT])?;
        return stream.shutdown(std::net::Shutdown::Both);
    }
    send(&status, &body)
}

/// An image of one large layer; gives the layer's path.
fn image(fake: &mut Fake) -> String {
    let random: Vec<u8> =
        (0..400_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let layer = Tar::default().raw(b'0', b"random", b"", 0o644, &random).end();
    let config = br#"{"config":{"Env":["A=b"]}}"#.to_vec();
    let (layer_digest, config_digest) = (Digest::of(&layer), Digest::of(&config));
    let manifest = format!(
        r#"{{"config":{{"digest":"{config_digest}","size":{}}},"layers":[{{"digest":"{layer_digest}","size":{}}}]}}"#,
        config.len(),
        layer.len()
    );
    let path = format!("/v2/x/blobs/{layer_digest}");
    fake.paths.insert(path.clone(), layer);
    fake.paths.insert(format!("/v2/x/blobs/{config_digest}"), config);
    fake.paths.insert("/v2/x/manifests/latest".into(), manifest.into_bytes());
    path
}

fn pull(host: &str, root: &Path) -> Result<toolbox_store::Held, StoreError> {
    let registries = Registries { insecure: vec![host.to_owned()], ..Registries::default() };
    let store = Store::open(root).unwrap().with_registries(registries);
    let reference: Reference = format!("{host}/x").parse().unwrap();
    store.pull(&reference, &keep(), &mut |_| ())
}

#[test]
fn tokens_are_fetched_and_broken_downloads_go_on() {
    for ranges in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let mut fake = Fake { cuts: 2, token: true, ranges, ..Fake::default() };
        let layer = image(&mut fake);
        let fake = Arc::new(Mutex::new(fake));
        let host = serve(fake.clone());
        let held = pull(&host, folder.path()).unwrap();
        assert_eq!(held.image.tree.join("random").metadata().unwrap().len(), 400_000);
        assert_eq!(held.image.config.env, ["A=b"]);
        let log = fake.lock().unwrap().log.clone();
        assert!(
            log.iter().any(|line| line.contains("/token?")
                && line.contains("scope=repository")
                && line.contains("service=s")),
            "{log:?}"
        );
        let asked: Vec<&String> = log.iter().filter(|line| line.contains(&layer)).collect();
        assert_eq!(asked.len(), 3, "{log:?}");
        assert!(asked[0].ends_with("[Bearer abc] []"), "{asked:?}");
        assert!(asked[1].ends_with(&format!("[bytes={CUT}-]")), "{asked:?}");
    }
}

#[test]
fn what_a_registry_lies_about_is_refused_and_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    let fake = Arc::new(Mutex::new(Fake { ranges: true, ..Fake::default() }));
    let layer = image(&mut fake.lock().unwrap());
    let host = serve(fake.clone());
    let change =
        |path: &str, change: &dyn Fn(&mut Vec<u8>)| change(fake.lock().unwrap().paths.get_mut(path).unwrap());
    let refused = || match pull(&host, folder.path()).unwrap_err() {
        StoreError::Registry { source, .. } => source,
        other => panic!("{other}"),
    };
    change(&layer, &|bytes| bytes[1000] ^= 1);
    assert!(matches!(refused(), RegistryError::Image(OciError::Mismatch { .. })));
    change(&layer, &|bytes| bytes[1000] ^= 1);
    change(&layer, &|bytes| bytes.push(0));
    let error = refused();
    assert!(matches!(error, RegistryError::Size { .. }), "{error}");
    change(&layer, &|bytes| {
        bytes.pop();
    });
    // Nothing of the lies was kept.
    assert!(pull(&host, folder.path()).is_ok());
    let manifest = "/v2/x/manifests/latest";
    for text in [
        "[]",
        r#"{"config":{"digest":"sha256:../x"},"layers":[]}"#,
        r#"{"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#,
        r#"{"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"digest":"sha256:x","platform":{"os":"linux","architecture":"vax"}}]}"#,
    ] {
        change(manifest, &|bytes| *bytes = text.as_bytes().to_vec());
        assert!(matches!(refused(), RegistryError::Image(_)), "{text}");
    }
    change(manifest, &|bytes| *bytes = vec![b' '; 5 << 20]);
    assert!(matches!(refused(), RegistryError::Image(OciError::TooLarge { .. })));
}
