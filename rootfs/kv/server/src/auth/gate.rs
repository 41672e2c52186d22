//! Finding out who asks, and refusing who may not, for all services of a member.

use kv_api::Fault;
use kv_core::{Caller, Denial, ROOT};
use tonic::{Request, Status};

use super::{Credentials, Known};
use crate::member::{Member, blocking};
use crate::wire;

/// The answer to a denial.
pub fn deny(denial: Denial) -> Status {
    wire::auth::fault(denial).into()
}

/// What is done with the keys of leases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// They are told.
    Read,
    /// They are kept alive.
    Write,
}

impl Member {
    /// Who asks, as of now; nobody while authentication is off, or without token and certificate.
    ///
    /// # Errors
    /// [`Fault::InvalidAuthToken`].
    pub async fn caller(&self, credentials: &Credentials) -> Result<Caller, Status> {
        let auth = &self.shared.auth;
        // Before the token is looked for: what changes meanwhile makes the caller's revision old.
        let policy = auth.policy();
        if !policy.enabled() {
            return Ok(Caller::default());
        }
        let mut revision = policy.revision();
        let user = match (&credentials.token, &credentials.common_name) {
            (Some(token), _) => {
                let mut known = auth.tokens.find(token);
                if known == Known::Ahead {
                    self.consensus.read_barrier().await?;
                    revision = auth.policy().revision();
                    known = auth.tokens.find(token);
                }
                let Known::User(user) = known else { return Err(Fault::InvalidAuthToken.into()) };
                user
            }
            (None, Some(name)) => name.0.to_string(),
            (None, None) => return Ok(Caller::default()),
        };
        Ok(Caller { user, revision })
    }

    /// Who the member itself is: its own changes (leases that end) are always permitted.
    pub fn own_caller(&self) -> Caller {
        Caller { user: ROOT.to_owned(), revision: self.shared.auth.policy().revision() }
    }

    /// Who asks, if they have shown it.
    ///
    /// # Errors
    /// [`Fault::UserEmpty`] and those of [`Member::caller`].
    pub async fn known_caller(&self, credentials: &Credentials) -> Result<Caller, Status> {
        let caller = self.caller(credentials).await?;
        self.shared.auth.policy().check_known(&caller).map_err(deny)?;
        Ok(caller)
    }

    /// Lets pass only who has shown who it is.
    ///
    /// # Errors
    /// As [`Member::known_caller`].
    pub async fn check_known<T: Sync>(&self, request: &Request<T>) -> Result<Caller, Status> {
        self.known_caller(&Credentials::of(request)).await
    }

    /// Lets pass only who has the role `root`.
    ///
    /// # Errors
    /// As [`kv_core::Policy::check_admin`], and those of [`Member::caller`].
    pub async fn check_admin<T: Sync>(&self, request: &Request<T>) -> Result<Caller, Status> {
        let caller = self.caller(&Credentials::of(request)).await?;
        self.shared.auth.policy().check_admin(&caller).map_err(deny)?;
        Ok(caller)
    }

    /// Lets pass only who may read, or write, all keys that hang on some leases.
    ///
    /// # Errors
    /// As [`kv_core::Policy::check_read`], and what the database fails with.
    pub async fn check_leases(&self, caller: &Caller, ids: Vec<i64>, access: Access) -> Result<(), Status> {
        let policy = self.shared.auth.policy();
        if policy.check_admin(caller).is_ok() {
            return Ok(());
        }
        let caller = caller.clone();
        let view = self.view(true).await?;
        let checked = blocking(move || {
            let none = bytes::Bytes::new();
            for id in ids {
                for key in view.lease_keys(id)? {
                    let checked = match access {
                        Access::Read => policy.check_read(&caller, &key, &none),
                        Access::Write => policy.check_write(&caller, &key, &none),
                    };
                    if checked.is_err() {
                        return Ok(checked);
                    }
                }
            }
            Ok(Ok(()))
        });
        checked.await?.map_err(deny)
    }
}

#[cfg(test)]
mod tests {
    use kv_api::etcdserverpb as pb;
    use kv_api::kvpb::command::Change;

    use super::*;
    use crate::auth::CommonName;
    use crate::flags::{Wanted, parse};
    use crate::listen::Peer;
    use crate::server::Server;

    fn enabling() -> [Change; 4] {
        let add = |name: &str| pb::AuthUserAddRequest { name: name.into(), ..Default::default() };
        let root = pb::AuthUserGrantRoleRequest { user: "root".into(), role: "root".into() };
        [
            Change::AuthUserAdd(add("root")),
            Change::AuthUserAdd(add("cert")),
            Change::AuthUserGrantRole(root),
            Change::AuthEnable(pb::AuthEnableRequest {}),
        ]
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_certificates_name_is_a_user_and_a_token_comes_first() {
        let folder = tempfile::tempdir().unwrap();
        let words = format!(
            "--data-dir {} --listen-client-urls http://127.0.0.1:0 --listen-peer-urls http://127.0.0.1:0",
            folder.path().display()
        );
        let words = words.split(' ').map(str::to_owned);
        let Wanted::Serve(flags) = parse(words, []).unwrap() else { panic!("it is asked to serve") };
        let server = Server::open(&flags).await.unwrap();
        let member = server.member().clone();
        let mut credentials = Credentials { token: None, common_name: Some(CommonName("cert".into())) };
        assert_eq!(member.caller(&credentials).await.unwrap(), Caller::default(), "it does not matter yet");
        for change in enabling() {
            member.change(change).await.unwrap();
        }
        let revision = member.shared.auth.policy().revision();
        let caller = Caller { user: "cert".to_owned(), revision };
        assert_eq!(member.caller(&credentials).await.unwrap(), caller);
        credentials.token = Some("abc.1".to_owned());
        let refused = member.caller(&credentials).await.unwrap_err();
        assert_eq!(refused.message(), Fault::InvalidAuthToken.text());
        let mut request = Request::new(());
        assert_eq!(member.check_known(&request).await.unwrap_err().message(), Fault::UserEmpty.text());
        request.extensions_mut().insert(Peer { address: None, common_name: Some("cert".into()) });
        assert_eq!(member.check_known(&request).await.unwrap(), caller);
        assert_eq!(member.check_admin(&request).await.unwrap_err().message(), Fault::PermissionDenied.text());
        request.extensions_mut().insert(Peer { address: None, common_name: Some("root".into()) });
        assert_eq!(member.check_admin(&request).await.unwrap().user, "root");
        // The member's own changes are root's.
        let own = member.change_as(member.own_caller(), Change::AuthDisable(pb::AuthDisableRequest {})).await;
        own.unwrap();
        drop(member);
        server.serve(std::future::ready(())).await.unwrap();
    }
}
