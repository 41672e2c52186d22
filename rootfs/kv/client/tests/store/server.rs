//! A server of either kind, on loopback ports of its own, ended by its own id.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

#[derive(Debug, Clone, Copy)]
pub enum Kind {
    Etcd,
    Kv,
}

pub struct Server {
    kind: Kind,
    child: Option<Child>,
    client: String,
    peer: String,
    /// `host:port`.
    pub endpoint: String,
    folder: TempDir,
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn program(kind: Kind) -> PathBuf {
    match kind {
        Kind::Etcd => "etcd".into(),
        Kind::Kv => {
            // Tests lie in the folder `deps` beside the programs.
            let own = std::env::current_exe().unwrap();
            let path = own.parent().unwrap().parent().unwrap().join("kv");
            assert!(path.exists(), "{} is not there: cargo build --release -p kv", path.display());
            path
        }
    }
}

impl Server {
    pub fn start(kind: Kind) -> Self {
        let endpoint = format!("127.0.0.1:{}", free_port());
        let client = format!("http://{endpoint}");
        let peer = format!("http://127.0.0.1:{}", free_port());
        let folder = tempfile::tempdir().unwrap();
        let mut server = Self { kind, child: None, client, peer, endpoint, folder };
        server.restart();
        server
    }

    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Starts it on the same folder and ports, and waits until it serves.
    pub fn restart(&mut self) {
        let mut child = Command::new(program(self.kind))
            .args(["--name", "default", "--data-dir"])
            .arg(self.folder.path().join("data"))
            .args(["--listen-client-urls", &self.client, "--advertise-client-urls", &self.client])
            .args(["--listen-peer-urls", &self.peer, "--initial-advertise-peer-urls", &self.peer])
            .args(["--initial-cluster", &format!("default={}", self.peer)])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("etcd must be installed: apt-get install etcd-server");
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut seen = String::new();
        let ready = match self.kind {
            Kind::Etcd => "ready to serve client requests",
            Kind::Kv => "serving clients on",
        };
        while !seen.lines().next_back().is_some_and(|line| line.contains(ready)) {
            assert!(log.read_line(&mut seen).unwrap() > 0, "the server ended before it served:\n{seen}");
        }
        // It must not stop at a full pipe.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        self.child = Some(child);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
