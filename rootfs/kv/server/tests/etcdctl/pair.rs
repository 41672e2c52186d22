//! Debian's etcd and `kv`, each fresh and on ports of its own, and Debian's `etcdctl` asking both.
//!
//! A step is one line, as in a shell but without expansion: words, `'…'` around a word with
//! blanks, `<<` before the last word, which then is stdin (`\n` is a new line). `{0}` is the first
//! lease that a step has granted, `{dir}` a folder of the server's own.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use tempfile::TempDir;

use crate::mask;

/// What a step says: exit code, stdout and stderr, masked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said(pub String);

/// A server that runs until it is dropped.
pub(crate) struct Server {
    child: Child,
    folder: TempDir,
    client_port: u16,
    peer_port: u16,
    leases: Vec<String>,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already; the assertions have spoken by then.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Server {
    /// Debian's.
    pub fn etcd(flags: &[&str]) -> Self {
        Self::start(Path::new("etcd"), "ready to serve client requests", flags)
    }

    /// Ours.
    pub fn kv(flags: &[&str]) -> Self {
        Self::start(Path::new(env!("CARGO_BIN_EXE_kv")), "serving clients on", flags)
    }

    fn start(program: &Path, ready: &str, flags: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let (client_port, peer_port) = (free_port(), free_port());
        let (client, peer) =
            (format!("http://127.0.0.1:{client_port}"), format!("http://127.0.0.1:{peer_port}"));
        let mut child = clean(program)
            .args(["--name", "m", "--data-dir"])
            .arg(folder.path().join("data"))
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("m={peer}")])
            .args(flags)
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
        thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        Self { child, folder, client_port, peer_port, leases: Vec::new() }
    }

    /// Does a step.
    pub fn step(&mut self, line: &str) -> Said {
        let (words, stdin) = words(&self.fill(line));
        let mut child = self.etcdctl(&words);
        let mut input = child.stdin.take().unwrap();
        // A command that reads nothing has closed it.
        let _ = input.write_all(stdin.as_bytes());
        drop(input);
        let output = child.wait_with_output().unwrap();
        let stdout = if words.iter().any(|word| word == "protobuf") {
            mask::protobuf(&words[0], &output.stdout)
        } else {
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        let granted = stdout.strip_prefix("lease ").and_then(|rest| rest.split_once(" granted"));
        if let Some((id, _)) = granted {
            self.leases.push(id.to_owned());
        }
        self.said(
            &output.status.code().map_or("killed".to_owned(), |code| code.to_string()),
            &stdout,
            &output.stderr,
        )
    }

    /// Does a step that never ends (a watch): reads until a line has `last` in it, having done the
    /// `meanwhile` steps once a line with `first` was there.
    pub fn until(&mut self, line: &str, first: &str, meanwhile: &[&str], last: &str) -> Said {
        let (words, stdin) = words(&self.fill(line));
        let mut child = self.etcdctl(&words);
        let mut input = child.stdin.take().unwrap();
        input.write_all(stdin.as_bytes()).unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut text = String::new();
        let mut done = first.is_empty();
        if done {
            self.steps(meanwhile);
        }
        loop {
            let mut line = String::new();
            if lines.read_line(&mut line).unwrap() == 0 {
                let mut errors = String::new();
                child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
                panic!("{words:?} has ended before {last:?}:\n{text}{errors}");
            }
            text.push_str(&line);
            if !done && line.contains(first) {
                self.steps(meanwhile);
                done = true;
            }
            if done && line.contains(last) {
                break;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        self.said("killed", &text, &[])
    }

    fn steps(&mut self, lines: &[&str]) {
        for line in lines {
            self.step(line);
        }
    }

    /// Compacts at the newest revision.
    pub fn compact_all(&mut self) {
        let said = self.step("get nothing -w json").0;
        let revision = said.split("\"revision\":").nth(1).and_then(|rest| rest.split(',').next()).unwrap();
        let said = self.step(&format!("compaction {revision} --physical"));
        assert!(said.0.contains("compacted revision"), "{}", said.0);
    }

    fn etcdctl(&self, words: &[String]) -> Child {
        clean(Path::new("etcdctl"))
            .env("ETCDCTL_API", "3")
            .arg(format!("--endpoints=127.0.0.1:{}", self.client_port))
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("etcdctl does not start; apt-get install etcd-client")
    }

    fn fill(&self, line: &str) -> String {
        let mut line = line.replace("{dir}", self.folder.path().to_str().unwrap());
        for (number, id) in self.leases.iter().enumerate() {
            line = line.replace(&format!("{{{number}}}"), id);
        }
        line
    }

    fn said(&self, code: &str, stdout: &str, stderr: &[u8]) -> Said {
        let mut text = String::new();
        write!(text, "[{code}]\n{stdout}").unwrap();
        let stderr = String::from_utf8_lossy(stderr);
        if !stderr.is_empty() {
            write!(text, "\nstderr: {stderr}").unwrap();
        }
        text = text.replace(self.folder.path().to_str().unwrap(), "DIR");
        text = text.replace(&format!("127.0.0.1:{}", self.client_port), "CLIENT");
        text = text.replace(&format!("127.0.0.1:{}", self.peer_port), "PEER");
        for (number, id) in self.leases.iter().enumerate() {
            text = text.replace(id.as_str(), &format!("LEASE{number}"));
            let decimal = i64::from_str_radix(id, 16).unwrap().to_string();
            text = text.replace(&decimal, &format!("LEASE{number}"));
        }
        Said(mask::mask(&text))
    }
}

/// No variables of who runs the tests.
fn clean(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

fn words(line: &str) -> (Vec<String>, String) {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quoted = false;
    for letter in line.chars() {
        match letter {
            '\'' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            ' ' if !quoted => words.extend(word.take()),
            letter => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    let mut stdin = String::new();
    if let Some(at) = words.iter().position(|word| word == "<<") {
        stdin = words[at + 1].replace("\\n", "\n");
        words.truncate(at);
    }
    (words, stdin)
}

/// What differs between the two, and whether that is known.
#[derive(Default)]
pub(crate) struct Verdict {
    differs: BTreeMap<String, (Said, Said)>,
    pub steps: usize,
}

impl Verdict {
    pub fn note(&mut self, step: &str, theirs: Said, ours: Said) {
        self.steps += 1;
        if theirs != ours {
            self.differs.insert(step.to_owned(), (theirs, ours));
        }
    }

    /// What differs must be just what is known to: the step, and a part of what each side says.
    pub fn judge(mut self, known: &[(&str, &str, &str, &str)]) {
        let mut wrong = String::new();
        for (step, theirs, ours, _reason) in known {
            match self.differs.remove(*step) {
                None => writeln!(wrong, "{step}: does not differ any more").unwrap(),
                Some((they, we)) if they.0.contains(theirs) && we.0.contains(ours) => {}
                Some((they, we)) => {
                    writeln!(wrong, "{step}: differs otherwise\n{}\n---\n{}", they.0, we.0).unwrap();
                }
            }
        }
        for (step, (they, we)) in &self.differs {
            writeln!(wrong, "{step}\netcd: {}\nkv: {}\n", they.0, we.0).unwrap();
        }
        assert!(wrong.is_empty(), "of {} steps:\n{wrong}", self.steps);
    }
}
