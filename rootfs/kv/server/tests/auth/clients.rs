//! A member in this process, and clients of it with and without a token.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kv::error::Error;
use kv::flags::{self, Flags, Wanted};
use kv::server::Server;
use kv_api::authpb;
use kv_api::authpb::permission::Type;
use kv_api::etcdserverpb as pb;
use pb::auth_client::AuthClient;
use pb::cluster_client::ClusterClient;
use pb::kv_client::KvClient;
use pb::lease_client::LeaseClient;
use pb::maintenance_client::MaintenanceClient;
use pb::watch_client::WatchClient;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::metadata::MetadataValue;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

/// Puts a token into each request.
#[derive(Clone)]
pub(crate) struct Token(Option<String>);

impl tonic::service::Interceptor for Token {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            let token = MetadataValue::try_from(token.as_str()).unwrap();
            request.metadata_mut().insert("token", token);
        }
        Ok(request)
    }
}

type Wire = InterceptedService<Channel, Token>;

/// All services for one caller.
#[derive(Clone)]
pub(crate) struct Client {
    pub kv: KvClient<Wire>,
    pub auth: AuthClient<Wire>,
    pub lease: LeaseClient<Wire>,
    pub watch: WatchClient<Wire>,
    pub maintenance: MaintenanceClient<Wire>,
    pub cluster: ClusterClient<Wire>,
}

impl Client {
    pub async fn authenticate(&mut self, name: &str, password: &str) -> Result<String, Status> {
        let request = pb::AuthenticateRequest { name: name.into(), password: password.into() };
        Ok(self.auth.authenticate(request).await?.into_inner().token)
    }
}

/// A member that is open. What an ended one of this process has spawned may hold the database for a moment.
async fn opened(flags: &Flags) -> Server {
    let begin = Instant::now();
    loop {
        match Server::open(flags).await {
            Err(Error::Core(_)) if begin.elapsed() < Duration::from_secs(30) => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            opened => return opened.unwrap(),
        }
    }
}

/// A member that serves.
pub(crate) struct Member {
    folder: TempDir,
    channel: Channel,
    stop: oneshot::Sender<()>,
    served: JoinHandle<Result<(), Arc<Error>>>,
}

impl Member {
    pub async fn start() -> Self {
        Self::open(TempDir::new().unwrap()).await
    }

    async fn open(folder: TempDir) -> Self {
        let words = format!(
            "--name m --data-dir {} --listen-client-urls http://127.0.0.1:0 --listen-peer-urls \
             http://127.0.0.1:0 --bcrypt-cost 4",
            folder.path().join("data").display()
        );
        let words = words.split_whitespace().map(str::to_owned);
        let Wanted::Serve(flags) = flags::parse(words, []).unwrap() else { panic!("it is asked to serve") };
        let server = opened(&flags).await;
        let address = server.client_endpoints()[0].address;
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(server.serve(async {
            // Dropped is stopped, too.
            let _ = stopped.await;
        }));
        let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
        Self { folder, channel, stop, served }
    }

    /// With authentication on: `root` (password `rp`), `u` (`up`), who may read and write `a` to
    /// `c` and read `r`, and `cert`, who has no password. `z` hangs on lease 7.
    pub async fn guarded() -> Self {
        let member = Self::start().await;
        let mut client = member.nobody();
        let auth = &mut client.auth;
        for (name, password, no_password) in [("root", "rp", false), ("u", "up", false), ("cert", "", true)] {
            let options = Some(authpb::UserAddOptions { no_password });
            let (name, password) = (name.into(), password.into());
            let request = pb::AuthUserAddRequest { name, password, options, ..Default::default() };
            auth.user_add(request).await.unwrap();
        }
        auth.role_add(pb::AuthRoleAddRequest { name: "r".into() }).await.unwrap();
        auth.role_grant_permission(grant(Type::Readwrite, "a", "c")).await.unwrap();
        auth.role_grant_permission(grant(Type::Read, "r", "")).await.unwrap();
        for (user, role) in [("root", "root"), ("u", "r")] {
            let request = pb::AuthUserGrantRoleRequest { user: user.into(), role: role.into() };
            auth.user_grant_role(request).await.unwrap();
        }
        client.lease.lease_grant(pb::LeaseGrantRequest { id: 7, ttl: 600 }).await.unwrap();
        client.kv.put(pb::PutRequest { lease: 7, ..put("z", "1") }).await.unwrap();
        client.auth.auth_enable(pb::AuthEnableRequest {}).await.unwrap();
        member
    }

    pub fn nobody(&self) -> Client {
        self.client(None)
    }

    pub fn with_token(&self, token: &str) -> Client {
        self.client(Some(token))
    }

    pub async fn log_in(&self, name: &str, password: &str) -> Client {
        let token = self.nobody().authenticate(name, password).await.unwrap();
        self.with_token(&token)
    }

    fn client(&self, token: Option<&str>) -> Client {
        let wire = || InterceptedService::new(self.channel.clone(), Token(token.map(str::to_owned)));
        Client {
            kv: KvClient::new(wire()),
            auth: AuthClient::new(wire()),
            lease: LeaseClient::new(wire()),
            watch: WatchClient::new(wire()),
            maintenance: MaintenanceClient::new(wire()),
            cluster: ClusterClient::new(wire()),
        }
    }

    /// Every file of the data directory.
    pub fn files(&self) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        read_all(self.folder.path(), &mut all);
        all
    }

    pub async fn restart(self) -> Self {
        let folder = self.stop().await;
        Self::open(folder).await
    }

    pub async fn end(self) {
        self.stop().await;
    }

    async fn stop(self) -> TempDir {
        let Self { folder, channel, stop, served } = self;
        drop(channel);
        stop.send(()).unwrap();
        served.await.unwrap().unwrap();
        folder
    }
}

fn read_all(folder: &Path, all: &mut Vec<Vec<u8>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { read_all(&path, all) } else { all.push(fs::read(path).unwrap()) }
    }
}

pub(crate) fn put(key: &str, value: &str) -> pb::PutRequest {
    let (key, value) = (key.to_owned().into(), value.to_owned().into());
    pb::PutRequest { key, value, ..Default::default() }
}

pub(crate) fn range(key: &str, range_end: &str) -> pb::RangeRequest {
    let (key, range_end) = (key.to_owned().into(), range_end.to_owned().into());
    pb::RangeRequest { key, range_end, ..Default::default() }
}

pub(crate) fn delete(key: &str, range_end: &str) -> pb::DeleteRangeRequest {
    let (key, range_end) = (key.to_owned().into(), range_end.to_owned().into());
    pb::DeleteRangeRequest { key, range_end, ..Default::default() }
}

/// A grant to the role `r`.
pub(crate) fn grant(kind: Type, key: &str, range_end: &str) -> pb::AuthRoleGrantPermissionRequest {
    let (key, range_end) = (key.to_owned().into(), range_end.to_owned().into());
    let perm = Some(authpb::Permission { perm_type: kind.into(), key, range_end });
    pb::AuthRoleGrantPermissionRequest { name: "r".into(), perm }
}

/// What a request was refused with; `ok` if it was not.
pub(crate) fn text<T>(result: Result<T, Status>) -> String {
    result.map_or_else(|status| status.message().to_owned(), |_| "ok".to_owned())
}
