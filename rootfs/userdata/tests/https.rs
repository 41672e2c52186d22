//! https against Debian's OpenSSL: a document and keys from a server that is trusted, and the words
//! for each fault of a certificate.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test's failure is a panic")]

mod authority;

use authority::Authority;
use cloudconfig::import::Import;
use init::setup::Imports;
use std::fs;
use std::path::Path;
use std::time::Duration;
use userdata::{Client, Failure, Method, Shell, State, Web, import};

const NAME: &str = "IP:127.0.0.1";
const PAST: &str = "20200101000000Z";
const FUTURE: &str = "20491231235959Z";
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGvcLRmK4Jf8GuTgqh2vGkYBSXgx9oPE7DHxyQ+xJ7Eh";

fn get(bundle: &Path, url: &str) -> Result<(u16, String), Failure> {
    let reply = Web::trusting(bundle).ask(Method::Get, url, &[])?;
    Ok((reply.status, String::from_utf8(reply.body).unwrap()))
}

#[test]
fn a_document_comes_from_a_server_that_is_trusted() {
    let authority = Authority::new("Test");
    authority.file("doc", "200 OK", "#cloud-config\n");
    for version in ["-tls1_2", "-tls1_3"] {
        let server = authority.server(NAME, PAST, FUTURE, &[version]);
        let answer = get(&authority.bundle(), &format!("{}/doc", server.base));
        assert_eq!(answer.unwrap(), (200, "#cloud-config\n".to_owned()), "{version}");
    }
}

#[test]
fn the_fault_of_a_certificate_is_named() {
    let authority = Authority::new("Test");
    authority.file("doc", "200 OK", "x");
    let stranger = Authority::new("Stranger");
    let missing = authority.bundle().with_file_name("none");
    for (name, from, until, bundle, passes, words) in [
        (NAME, PAST, "20200201000000Z", authority.bundle(), true, "it has expired, by this machine's clock"),
        (NAME, "20480101000000Z", FUTURE, authority.bundle(), true, "it is not valid yet, by this"),
        ("DNS:a.example", PAST, FUTURE, authority.bundle(), false, "it is not for 127.0.0.1, but for"),
        (NAME, PAST, FUTURE, stranger.bundle(), false, "its issuer is unknown: /"),
        (NAME, PAST, FUTURE, missing, false, "its issuer is unknown: the built-in list (Mozilla's)"),
    ] {
        let server = authority.server(name, from, until, &[]);
        let failure = get(&bundle, &format!("{}/doc", server.base)).unwrap_err();
        assert_eq!(matches!(failure, Failure::Passing { .. }), passes, "{words}: {failure}");
        assert!(failure.to_string().contains(words), "{words}: {failure}");
    }
    let empty = authority.bundle().with_file_name("empty");
    fs::write(&empty, "").unwrap();
    let failure = get(&empty, "https://127.0.0.1:1/").unwrap_err();
    assert!(failure.to_string().ends_with("/empty holds no certificate of an authority"), "{failure}");
    // TLS 1.1 and older are not spoken.
    let server = authority.server(NAME, PAST, FUTURE, &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]);
    let failure = get(&authority.bundle(), &format!("{}/doc", server.base)).unwrap_err();
    assert!(failure.to_string().contains("TLS:"), "{failure}");
}

#[test]
fn nobody_is_led_from_https_to_http() {
    let authority = Authority::new("Test");
    authority.file("away", "302 Found\r\nLocation: http://127.0.0.1:1/", "");
    authority.file("round", "302 Found\r\nLocation: /doc", "");
    authority.file("doc", "200 OK", "x");
    let server = authority.server(NAME, PAST, FUTURE, &[]);
    let answer = get(&authority.bundle(), &format!("{}/round", server.base));
    assert_eq!(answer.unwrap(), (200, "x".to_owned()));
    let failure = get(&authority.bundle(), &format!("{}/away", server.base)).unwrap_err();
    assert!(matches!(failure, Failure::Final { .. }), "{failure}");
    assert!(failure.to_string().contains("which is without TLS"), "{failure}");
}

/// Notes what is said; at a pause, does what is to happen meanwhile.
struct Notes<F: FnMut()> {
    lines: Vec<String>,
    rows: Vec<String>,
    meanwhile: F,
}

impl<F: FnMut()> Shell for Notes<F> {
    fn log(&mut self, line: &str) {
        self.lines.push(line.to_owned());
    }

    fn show(&mut self, row: &str) {
        self.rows.push(row.to_owned());
    }

    fn pause(&mut self, _: Duration) {
        assert!(self.rows.len() < 20, "{:?}", self.lines);
        (self.meanwhile)();
    }
}

/// A machine whose core wants these keys.
fn machine(wanted: &[Import]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("run/slipway");
    fs::create_dir_all(&path).unwrap();
    let text = cloudconfig::import::write(wanted.iter().map(|import| ("core", import)));
    fs::write(path.join("ssh-imports"), text).unwrap();
    root
}

#[test]
fn keys_are_imported_kept_and_taken_back() {
    let authority = Authority::new("Test");
    // OpenSSL's server takes what is asked for as a file's name.
    let path = "users/octocat/keys?per_page=100";
    let lines = format!("{KEY} me@home\ncommand=\"x\" {KEY}\n");
    authority.file("mine", "200 OK", &lines);
    let server = authority.server(NAME, PAST, FUTURE, &[]);
    let url = format!("{}/mine", server.base);
    let wanted = [Import::GitHub("octocat".to_owned()), Import::Url(url.clone())];
    let root = machine(&wanted);
    let laid = root.path().join("etc/ssh/authorized_keys.d/core.d/imported");
    let kept = root.path().join("var/lib/slipway/imported-keys/core");
    let imports = Imports::at(root.path());
    let web = Web::trusting(&authority.bundle());
    let json = format!("[{{\"id\":1,\"key\":\"{KEY}\"}}]");

    // Busy at first.
    authority.file(path, "503 Busy", "");
    let meanwhile = || authority.file(path, "200 OK", &json);
    let mut notes = Notes { lines: Vec::new(), rows: Vec::new(), meanwhile };
    let jobs = import(&web, &imports, &server.base, &mut notes).unwrap();
    assert!(jobs.iter().all(|job| job.state == State::Done(1)), "{jobs:?}");
    let seen = format!("waiting for core, github octocat: status 503; core, url {url}: 1 key");
    assert_eq!(notes.rows, [seen, format!("core, github octocat: 1 key; core, url {url}: 1 key")]);
    assert!(
        notes
            .lines
            .iter()
            .any(|line| line.contains("a key is left out: it is no key, or stands behind options")),
        "{:?}",
        notes.lines
    );
    let text = fs::read_to_string(&laid).unwrap();
    assert_eq!(text, fs::read_to_string(&kept).unwrap());
    assert_eq!(text.lines().filter(|line| *line == KEY).count(), 2, "{text}");

    // Another boot: one source refuses and keeps what it had, the other has no keys any more.
    authority.file(path, "404 Not Found", "{\"message\":\"Not Found\"}");
    authority.file("mine", "200 OK", "[]");
    let mut notes = Notes { lines: Vec::new(), rows: Vec::new(), meanwhile: || unreachable!() };
    let jobs = import(&web, &imports, &server.base, &mut notes).unwrap();
    assert_eq!(jobs[0].state, State::Failed("status 404".to_owned()));
    assert_eq!(notes.rows, [format!("FAILED for core, github octocat: status 404; core, url {url}: 0 keys")]);
    let expected = format!("# imported from github octocat\n{KEY}\n# imported from url {url}\n");
    // The order is that of the first answers.
    let mut lines: Vec<String> = fs::read_to_string(&laid).unwrap().lines().map(str::to_owned).collect();
    let mut wanted: Vec<String> = expected.lines().map(str::to_owned).collect();
    lines.sort();
    wanted.sort();
    assert_eq!(lines, wanted);
}

#[test]
fn a_password_in_a_url_is_sent_and_not_shown() {
    struct Asked(std::cell::RefCell<Vec<String>>);
    impl Client for Asked {
        fn ask(
            &self,
            _: Method,
            url: &str,
            headers: &[userdata::Header],
        ) -> Result<userdata::Reply, Failure> {
            self.0.borrow_mut().push(format!("{url} {headers:?}"));
            Ok(userdata::Reply { status: 401, body: Vec::new() })
        }
    }
    let root = machine(&[Import::Url("https://token:x%2Dy@ghe.example/keys".to_owned())]);
    let asked = Asked(Vec::new().into());
    let mut notes = Notes { lines: Vec::new(), rows: Vec::new(), meanwhile: || unreachable!() };
    import(&asked, &Imports::at(root.path()), userdata::GITHUB, &mut notes).unwrap();
    assert_eq!(notes.rows, ["FAILED for core, url https://ghe.example/keys: status 401"]);
    let expected = "https://ghe.example/keys [(\"Authorization\", \"Basic dG9rZW46eC15\")]";
    assert_eq!(asked.0.into_inner(), [expected]);
}
