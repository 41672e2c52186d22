//! Members as processes behind proxies.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tonic::transport::{Channel, Endpoint};

use super::proxy::Proxy;

static SESSIONS: AtomicU64 = AtomicU64::new(1);

/// A member, which ends with this.
pub struct Member {
    /// The way to its peer address.
    pub proxy: Proxy,
    client: SocketAddr,
    command: Mutex<Command>,
    child: Mutex<Option<Child>>,
    session: AtomicU64,
    channel: Channel,
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Starts members that begin a cluster, and waits until each serves clients.
pub async fn found(folder: &Path, count: usize) -> Vec<Arc<Member>> {
    let mut places = Vec::new();
    for number in 0..count {
        let (client, peer) = (free(), free());
        places.push((format!("m{number}"), client, peer, Proxy::new(peer).await));
    }
    let initial: Vec<_> =
        places.iter().map(|(name, _, _, proxy)| format!("{name}=http://{}", proxy.address)).collect();
    let initial = initial.join(",");
    let members = places.into_iter().map(|(name, client, peer, proxy)| {
        let data: PathBuf = folder.join(&name);
        let mut command = Command::new(env!("CARGO_BIN_EXE_kv"));
        let (client_url, peer_url) = (format!("http://{client}"), format!("http://{peer}"));
        let advertised = format!("http://{}", proxy.address);
        command.args(["--name", &name, "--data-dir"]).arg(data);
        command.args(["--listen-client-urls", &client_url, "--advertise-client-urls", &client_url]);
        command.args(["--listen-peer-urls", &peer_url, "--initial-advertise-peer-urls", &advertised]);
        // A snapshot and a purge from time to time.
        command.args(["--initial-cluster", &initial, "--snapshot-count", "200"]);
        command.env_clear().stdin(Stdio::null());
        let channel = Endpoint::from_shared(client_url).unwrap().connect_timeout(Duration::from_secs(1));
        Arc::new(Member {
            proxy,
            client,
            command: Mutex::new(command),
            child: Mutex::default(),
            session: AtomicU64::default(),
            channel: channel.connect_lazy(),
        })
    });
    let members: Vec<_> = members.collect();
    for member in &members {
        member.start();
    }
    for member in &members {
        let served = async {
            while tokio::net::TcpStream::connect(member.client).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_mins(1), served).await.expect("a member does not start");
    }
    members
}

impl Member {
    /// Which life of which process it is.
    pub fn session(&self) -> u64 {
        self.session.load(Ordering::Relaxed)
    }

    /// A way for clients.
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// Starts it; it does not wait.
    pub fn start(&self) {
        self.session.store(SESSIONS.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        *self.child.lock().unwrap() = Some(self.command.lock().unwrap().spawn().unwrap());
    }

    /// Kills it.
    pub fn kill(&self) {
        let mut child = self.child.lock().unwrap().take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: &str) {
        let pid = self.child.lock().unwrap().as_ref().unwrap().id().to_string();
        let sent = Command::new("kill").args(["-s", signal, &pid]).status().unwrap();
        assert!(sent.success());
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.lock().unwrap().take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
