//! Members as processes of their own, on loopback.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kv_api::etcdserverpb as pb;
use pb::cluster_client::ClusterClient;
use pb::kv_client::KvClient;
use pb::lease_client::LeaseClient;
use pb::maintenance_client::MaintenanceClient;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

/// After this a test has failed. What is waited for takes seconds at most.
pub const LIMIT: Duration = Duration::from_secs(60);

/// A member, which ends with this.
pub struct Member {
    pub name: String,
    pub client: String,
    pub peer: String,
    pub folder: PathBuf,
    flags: Vec<String>,
    child: Option<Child>,
}

/// An address on loopback that nobody listens on.
pub fn free() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

impl Member {
    /// One that is not started yet, with a data directory below `folder`.
    pub fn new(name: &str, folder: &std::path::Path) -> Self {
        let folder = folder.join(name);
        Self { name: name.to_owned(), client: free(), peer: free(), folder, flags: Vec::new(), child: None }
    }

    /// What `--initial-cluster` says of it.
    pub fn place(&self) -> String {
        format!("{}={}", self.name, self.peer)
    }

    /// Starts it with further flags, which it is started with from then on.
    pub async fn start(&mut self, flags: &[&str]) {
        self.spawn(flags);
        until("it serves clients", async || self.channel().await.ok()).await;
    }

    /// Starts it as [`Self::start`], and does not wait.
    pub fn spawn(&mut self, flags: &[&str]) {
        if !flags.is_empty() {
            self.flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_kv"));
        command.args(["--name", &self.name, "--data-dir"]).arg(&self.folder);
        command.args(["--listen-client-urls", &self.client, "--advertise-client-urls", &self.client]);
        command.args(["--listen-peer-urls", &self.peer, "--initial-advertise-peer-urls", &self.peer]);
        command.args(&self.flags).env_clear().stdin(Stdio::null());
        self.child = Some(command.spawn().unwrap());
    }

    /// As if the machine's power went, for the process.
    pub fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Asks it to end, and waits for that.
    pub fn stop(&mut self) {
        self.signal("TERM");
        assert!(self.child.take().unwrap().wait().unwrap().success(), "{} ends in order", self.name);
    }

    /// Waits until it has ended by itself; whether it says that all is well.
    pub fn ended(&mut self) -> bool {
        self.child.take().unwrap().wait().unwrap().success()
    }

    pub fn signal(&self, signal: &str) {
        let pid = self.child.as_ref().unwrap().id().to_string();
        let sent = Command::new("kill").args(["-s", signal, &pid]).status().unwrap();
        assert!(sent.success());
    }

    pub async fn channel(&self) -> Result<Channel, tonic::transport::Error> {
        Endpoint::from_shared(self.client.clone()).unwrap().connect().await
    }

    async fn get_channel(&self) -> Result<Channel, Status> {
        self.channel().await.map_err(|error| Status::unavailable(error.to_string()))
    }

    pub async fn put(&self, key: &str, value: &str) -> Result<(), Status> {
        let request = pb::PutRequest {
            key: key.to_owned().into(),
            value: value.to_owned().into(),
            ..pb::PutRequest::default()
        };
        KvClient::new(self.get_channel().await?).put(request).await.map(|_| ())
    }

    pub async fn get(&self, key: &str, serializable: bool) -> Result<Option<String>, Status> {
        let request =
            pb::RangeRequest { key: key.to_owned().into(), serializable, ..pb::RangeRequest::default() };
        let answer = KvClient::new(self.get_channel().await?).range(request).await?.into_inner();
        Ok(answer.kvs.into_iter().next().map(|kv| String::from_utf8(kv.value.to_vec()).unwrap()))
    }

    pub async fn status(&self) -> Result<pb::StatusResponse, Status> {
        let mut client = MaintenanceClient::new(self.get_channel().await?);
        Ok(client.status(pb::StatusRequest {}).await?.into_inner())
    }

    pub async fn id(&self) -> u64 {
        self.status().await.unwrap().header.unwrap().member_id
    }

    pub async fn move_leader(&self, target_id: u64) -> Result<(), Status> {
        let mut client = MaintenanceClient::new(self.get_channel().await?);
        client.move_leader(pb::MoveLeaderRequest { target_id }).await.map(|_| ())
    }

    pub async fn cluster(&self) -> ClusterClient<Channel> {
        ClusterClient::new(self.channel().await.unwrap())
    }

    pub async fn leases(&self) -> LeaseClient<Channel> {
        LeaseClient::new(self.channel().await.unwrap())
    }

    pub async fn members(&self) -> Result<Vec<pb::Member>, Status> {
        let mut client = ClusterClient::new(self.get_channel().await?);
        let list = client.member_list(pb::MemberListRequest { linearizable: true }).await?;
        Ok(list.into_inner().members)
    }

    pub async fn add(&self, peer: &str, is_learner: bool) -> Result<u64, Status> {
        let request = pb::MemberAddRequest { peer_ur_ls: vec![peer.to_owned()], is_learner };
        let answer = self.cluster().await.member_add(request).await?.into_inner();
        Ok(answer.member.unwrap().id)
    }

    pub async fn remove(&self, id: u64) -> Result<Vec<pb::Member>, Status> {
        Ok(self.cluster().await.member_remove(pb::MemberRemoveRequest { id }).await?.into_inner().members)
    }

    pub async fn promote(&self, id: u64) -> Result<(), Status> {
        self.cluster().await.member_promote(pb::MemberPromoteRequest { id }).await.map(|_| ())
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Tries until there is something; it fails the test after [`LIMIT`].
pub async fn until<T>(what: &str, mut get: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = get().await {
            return found;
        }
        assert!(began.elapsed() < LIMIT, "in vain until {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Starts members as one cluster that begins.
pub async fn found(folder: &std::path::Path, names: &[&str], flags: &[&str]) -> Vec<Member> {
    let mut members: Vec<_> = names.iter().map(|name| Member::new(name, folder)).collect();
    let all: Vec<_> = members.iter().map(Member::place).collect();
    let all = all.join(",");
    for member in &mut members {
        member.start(&[&["--initial-cluster", all.as_str()], flags].concat()).await;
    }
    members
}

/// Which of the members leads, by the word of one that runs.
pub async fn leader(members: &[Member], asked: &Member) -> usize {
    let ids = async {
        let mut ids = Vec::new();
        for member in members {
            ids.push(member.status().await.ok().map(|status| status.header.unwrap().member_id));
        }
        ids
    };
    let ids = ids.await;
    until("there is a leader", async || {
        let leader = asked.status().await.ok()?.leader;
        ids.iter().position(|id| *id == Some(leader) && leader != 0)
    })
    .await
}
