//! A user who is in: the session's number, record and cgroup.

use super::Server;
use crate::account::User;
use crate::authorized::Grant;
use crate::cgroup::Scope;
use crate::registry::{self, Record};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What processes have to end by themselves when their session ends.
const FAREWELL: Duration = Duration::from_secs(1);

/// A user with a key that opens.
#[derive(Debug)]
pub(super) struct Login {
    pub user: User,
    pub grant: Grant,
    /// The session's; 0 before [`Login::begin`].
    pub number: u64,
    scope: Option<Scope>,
    record: Mutex<Record>,
}

impl Login {
    pub(super) fn new(user: User, grant: Grant) -> Self {
        Self { user, grant, number: 0, scope: None, record: Mutex::default() }
    }

    /// Makes the session: its cgroup, its record, and the user's home folder if that is missing.
    pub(super) fn begin(mut self, server: &Server, peer: SocketAddr) -> io::Result<Self> {
        let account = &self.user.account;
        self.number = server.next_session();
        let scope = Scope::make(&server.cgroups, account.uid, self.number)
            .map_err(|error| io::Error::other(format!("cgroup: {error}")))?;
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let record = Record {
            session: self.number,
            uid: account.uid,
            user: account.name.clone(),
            tty: None,
            remote_host: peer.ip().to_canonical().to_string(),
            service: "sshd".to_owned(),
            state: "active".to_owned(),
            leader: None,
            scope: format!("session-{}.scope", self.number),
            since_us: since.as_micros() as u64,
        };
        if let Err(error) = make_home(Path::new(&account.home), account.uid, account.gid) {
            server.log(&format!("{}: {error}", account.home));
        }
        registry::write(&server.sessions, &record)?;
        self.scope = Some(scope);
        self.record = Mutex::new(record);
        Ok(self)
    }

    /// Its cgroup.
    pub(super) fn scope(&self) -> Option<&Scope> {
        self.scope.as_ref()
    }

    /// The first process, once there is one.
    pub(super) fn leader(&self) -> Option<i32> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner).leader
    }

    /// Tells the record of a process and its terminal; the first of each stays.
    pub(super) fn tell(&self, server: &Server, leader: i32, tty: Option<&str>) {
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        record.leader.get_or_insert(leader);
        if let Some(tty) = tty {
            record.tty.get_or_insert_with(|| tty.trim_start_matches("/dev/").to_owned());
        }
        if let Err(error) = registry::write(&server.sessions, &record) {
            server.log(&format!("session {}: {error}", self.number));
        }
    }

    /// Ends what is left of the session: a moment after the hangup that its processes have had,
    /// they are killed.
    pub(super) async fn end(&self, server: &Server) {
        {
            let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
            "closing".clone_into(&mut record.state);
            let _ = registry::write(&server.sessions, &record);
        }
        if let Some(scope) = &self.scope
            && tokio::time::timeout(FAREWELL, scope.emptied()).await.is_err()
        {
            if let Err(error) = scope.kill() {
                server.log(&format!("session {}: {error}", self.number));
            }
            let _ = tokio::time::timeout(FAREWELL * 5, scope.emptied()).await;
        }
        self.abandon(server);
        server.log(&format!("Session {} of {} closed", self.number, self.user.account.name));
    }

    /// Forgets a session in which nothing runs.
    pub(super) fn abandon(&self, server: &Server) {
        if let Some(scope) = &self.scope {
            scope.remove();
        }
        registry::remove(&server.sessions, self.number);
    }
}

/// Makes a home folder of mode 0700 that is missing, as `pam_mkhomedir` does.
fn make_home(home: &Path, uid: u32, gid: u32) -> io::Result<()> {
    // A link at its place is followed by whoever uses it, and not by what makes it.
    if home.symlink_metadata().is_ok() || home.parent().is_none() {
        return Ok(());
    }
    if let Some(parent) = home.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::DirBuilder::new().mode(0o700).create(home)?;
    chown(home, Some(uid), Some(gid))
}
