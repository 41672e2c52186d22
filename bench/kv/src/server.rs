//! The servers that are measured: Debian's etcd and `kv`, by one command line.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tonic::transport::{Channel, Endpoint};

use crate::Result;

/// A cluster on loopback, ended when it is dropped.
pub(crate) struct Cluster {
    program: PathBuf,
    ready: &'static str,
    folder: PathBuf,
    ports: Vec<(u16, u16)>,
    children: Vec<Child>,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in &mut self.children {
            // It may have ended.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

impl Cluster {
    /// Starts so many members, whose data is in a folder.
    pub fn start(program: &Path, folder: &Path, nodes: usize) -> Result<Self> {
        let is_etcd = program == Path::new("etcd");
        let ready = if is_etcd { "ready to serve client requests" } else { "serving clients on" };
        let ports = (0..nodes).map(|_| Ok((free_port()?, free_port()?))).collect::<Result<_>>()?;
        let folder = folder.join(program.file_name().unwrap_or_default());
        fs::create_dir_all(&folder)?;
        let mut cluster = Self { program: program.to_owned(), ready, folder, ports, children: Vec::new() };
        cluster.run()?;
        Ok(cluster)
    }

    /// Starts all members; returns when they serve.
    fn run(&mut self) -> Result<()> {
        let initial = self.ports.iter().enumerate();
        let initial = initial.map(|(number, (_, peer))| format!("m{number}=http://127.0.0.1:{peer}"));
        let initial = initial.collect::<Vec<_>>().join(",");
        let mut waiting = Vec::new();
        for (number, (client, peer)) in self.ports.iter().enumerate() {
            let (client, peer) = (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
            let mut child = Command::new(&self.program)
                .env_clear()
                .env("PATH", std::env::var_os("PATH").unwrap_or_default())
                .args(["--name", &format!("m{number}"), "--data-dir"])
                .arg(self.folder.join(number.to_string()))
                .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
                .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
                .args(["--initial-cluster", &initial, "--quota-backend-bytes", "-1"])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .map_err(|error| {
                    format!("{}: {error}; apt-get install etcd-server", self.program.display())
                })?;
            waiting.extend(child.stderr.take());
            self.children.push(child);
        }
        for stderr in waiting {
            let mut lines = BufReader::new(stderr);
            let mut log = String::new();
            while !log.contains(self.ready) {
                if lines.read_line(&mut log)? == 0 {
                    return Err(format!("{} has ended:\n{log}", self.program.display()).into());
                }
            }
            // Without a reader it would stop at a full pipe.
            thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        }
        Ok(())
    }

    /// Kills all members, starts them again, and says how long it took until they served.
    pub fn restart(&mut self) -> Result<Duration> {
        for child in &mut self.children {
            child.kill()?;
            child.wait()?;
        }
        self.children.clear();
        let begun = Instant::now();
        self.run()?;
        Ok(begun.elapsed())
    }

    /// So many connections, over all members in turn.
    pub async fn connect(&self, connections: usize) -> Result<Vec<Channel>> {
        let mut channels = Vec::new();
        for number in 0..connections {
            let (port, _) = self.ports[number % self.ports.len()];
            let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{port}"))?;
            channels.push(endpoint.tcp_nodelay(true).connect().await?);
        }
        Ok(channels)
    }

    /// What the first member holds of memory, bytes.
    pub fn memory(&self) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.children[0].id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
        Ok(kib.ok_or("no VmRSS in /proc")? * 1024.0)
    }

    /// CPU time of the first member, seconds.
    pub fn cpu(&self) -> Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.children[0].id()))?;
        let (_, fields) = stat.rsplit_once(") ").ok_or("no name in /proc/stat")?;
        let ticks = fields.split(' ').skip(11).take(2).filter_map(|field| field.parse::<f64>().ok());
        Ok(ticks.sum::<f64>() / rustix::param::clock_ticks_per_second() as f64)
    }
}
