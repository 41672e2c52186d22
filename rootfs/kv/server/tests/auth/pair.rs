//! Debian's etcd and `kv`, each fresh, and Debian's `etcdctl` asking both the same: exit code,
//! stdout and stderr.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::steps::{DIFFERENCES, STEPS};

/// A server that runs until it is dropped.
struct Server {
    child: Child,
    _folder: TempDir,
    client: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already; the assertions have spoken by then.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_url() -> String {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    format!("http://127.0.0.1:{port}")
}

impl Server {
    fn start(program: &Path, ready: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let (client, peer) = (free_url(), free_url());
        let mut child = clean(program)
            .args(["--name", "m", "--bcrypt-cost", "4", "--data-dir"])
            .arg(folder.path().join("data"))
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("m={peer}")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}; apt-get install etcd-server", program.display()));
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let mut log = String::new();
        while !log.contains(ready) {
            let read = lines.read_line(&mut log).unwrap();
            assert!(read > 0, "{} has ended:\n{log}", program.display());
        }
        // Without a reader it would stop at a full pipe.
        std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        Self { child, _folder: folder, client }
    }

    /// Without its scheme: with it, this etcdctl asks single members under a name that is none.
    fn endpoint(&self) -> &str {
        self.client.trim_start_matches("http://")
    }

    /// Does a step: words, and behind `<<` what stdin has, where `\n` is a new line.
    fn step(&self, line: &str) -> String {
        let (words, stdin) = line.split_once(" << ").unwrap_or((line, ""));
        let mut child = clean(Path::new("etcdctl"))
            .env("ETCDCTL_API", "3")
            .arg(format!("--endpoints={}", self.endpoint()))
            .args(words.split(' '))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("etcdctl does not start; apt-get install etcd-client");
        let mut input = child.stdin.take().unwrap();
        // A command that reads nothing has closed it.
        let _ = input.write_all(format!("{}\n", stdin.replace("\\n", "\n")).as_bytes());
        drop(input);
        let output = child.wait_with_output().unwrap();
        let mut said = format!("[{:?}] ", output.status.code());
        said.push_str(&String::from_utf8_lossy(&output.stdout));
        for line in String::from_utf8_lossy(&output.stderr).lines() {
            // etcdctl logs what it tries again, with times and addresses; the error comes behind.
            if !line.starts_with('{') {
                writeln!(said, "stderr: {line}").unwrap();
            }
        }
        said.replace(self.endpoint(), "SERVER")
    }
}

/// No variables of who runs the tests.
fn clean(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

/// Ids and terms are each cluster's own.
fn mask(said: &str) -> String {
    let mut masked = said.to_owned();
    for name in ["\"cluster_id\":", "\"member_id\":", "\"raft_term\":"] {
        while let Some(at) = masked.find(name) {
            let digits = masked[at + name.len()..].find(|letter: char| !letter.is_ascii_digit()).unwrap();
            masked.replace_range(at..at + name.len() + digits, "#");
        }
    }
    masked
}

/// Does all steps on both.
pub(crate) fn compare() {
    let etcd = Server::start(Path::new("etcd"), "ready to serve client requests");
    let kv = Server::start(Path::new(env!("CARGO_BIN_EXE_kv")), "serving clients on");
    let mut wrong = String::new();
    for step in STEPS {
        let (theirs, ours) = (mask(&etcd.step(step)), mask(&kv.step(step)));
        let known = DIFFERENCES.iter().find(|difference| difference.step == *step);
        let as_known = known.is_some_and(|known| theirs.contains(known.theirs) && ours.contains(known.ours));
        if (theirs == ours) == known.is_some() || (known.is_some() && !as_known) {
            writeln!(wrong, "{step}\netcd: {theirs}\nkv: {ours}\n").unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
