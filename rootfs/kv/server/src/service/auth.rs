//! etcd's service Auth.

use kv_api::Fault;
use kv_api::etcdserverpb as pb;
use kv_api::kvpb::command::Change;
use kv_api::kvpb::{Authenticate, Command, Header};
use kv_core::{Caller, Denial, Outcome, Refusal};
use tonic::{Request, Response, Status};

use crate::auth::gate::deny;
use crate::auth::{Credentials, Tokens};
use crate::member::{Member, mixed_up};
use crate::wire;

/// The service.
#[derive(Debug)]
pub struct Auth(pub Member);

impl Auth {
    /// Makes a change for who asks; who may not is refused when it is applied.
    async fn change(&self, caller: Caller, change: Change) -> Result<Option<pb::ResponseHeader>, Status> {
        // What no member could read must not come into the log.
        wire::auth::change(change.clone())?;
        let (revision, _) = self.0.change_as(caller, change).await?;
        Ok(Some(self.0.header(revision)))
    }

    async fn ask<T: Sync>(&self, request: &Request<T>) -> Result<Caller, Status> {
        self.0.caller(&Credentials::of(request)).await
    }

    /// Who asks, as of all that was acknowledged.
    async fn ask_now<T: Sync>(&self, request: &Request<T>) -> Result<Caller, Status> {
        self.0.consensus.read_barrier().await?;
        self.ask(request).await
    }

    /// The hash of a password for the log. Who may not set one gets none hashed.
    async fn hashed(&self, caller: &Caller, password: String) -> Result<String, Status> {
        let auth = &self.0.shared.auth;
        auth.policy().check_admin(caller).map_err(deny)?;
        Ok(wire::auth::hashed(&auth.hash(password).await?))
    }

    /// Whether a password is right; as of which revision of the policy.
    async fn check_password(&self, name: &str, password: String) -> Result<u64, Status> {
        let auth = &self.0.shared.auth;
        let policy = auth.policy();
        if !policy.enabled() {
            return Err(Fault::AuthNotEnabled.into());
        }
        let user = policy.user(name).ok_or(Fault::AuthFailed)?;
        if user.no_password {
            // etcd has this text outside of its table of errors.
            return Err(Status::unknown(
                "auth: authentication failed, password was given for no password user",
            ));
        }
        if !auth.verify(password, user.password.clone()).await? {
            return Err(Fault::AuthFailed.into());
        }
        Ok(policy.revision())
    }
}

#[tonic::async_trait]
impl pb::auth_server::Auth for Auth {
    async fn auth_enable(
        &self,
        request: Request<pb::AuthEnableRequest>,
    ) -> Result<Response<pb::AuthEnableResponse>, Status> {
        let caller = self.ask(&request).await?;
        let header = self.change(caller, Change::AuthEnable(request.into_inner())).await?;
        Ok(Response::new(pb::AuthEnableResponse { header }))
    }

    async fn auth_disable(
        &self,
        request: Request<pb::AuthDisableRequest>,
    ) -> Result<Response<pb::AuthDisableResponse>, Status> {
        let caller = self.ask(&request).await?;
        let header = self.change(caller, Change::AuthDisable(request.into_inner())).await?;
        Ok(Response::new(pb::AuthDisableResponse { header }))
    }

    async fn auth_status(
        &self,
        request: Request<pb::AuthStatusRequest>,
    ) -> Result<Response<pb::AuthStatusResponse>, Status> {
        // As in etcd anybody may ask, but not with a token that is not good.
        self.ask_now(&request).await?;
        let policy = self.0.shared.auth.policy();
        Ok(Response::new(pb::AuthStatusResponse {
            header: Some(self.0.header_now()),
            enabled: policy.enabled(),
            auth_revision: policy.revision(),
        }))
    }

    /// The password is checked here, and what was checked again when the entry is applied: if
    /// anything has changed since, all begins anew.
    async fn authenticate(
        &self,
        request: Request<pb::AuthenticateRequest>,
    ) -> Result<Response<pb::AuthenticateResponse>, Status> {
        let pb::AuthenticateRequest { name, password } = request.into_inner();
        self.0.consensus.read_barrier().await?;
        loop {
            let auth_revision = self.check_password(&name, password.clone()).await?;
            let simple_token = Tokens::random()
                .map_err(|error| Status::internal(format!("the system has no randomness: {error}")))?;
            let change = Change::Authenticate(Authenticate { name: name.clone(), simple_token });
            let header = Some(Header { user: name.clone(), auth_revision });
            let command = Command { header, change: Some(change), ..Command::default() };
            let reply = self.0.consensus.propose(command).await?;
            match reply.result {
                Ok(Outcome::Authenticated { token }) => {
                    let header = Some(self.0.header(reply.revision));
                    return Ok(Response::new(pb::AuthenticateResponse { header, token }));
                }
                Ok(_) => return Err(mixed_up()),
                Err(Refusal::Auth(Denial::AuthOldRevision)) => {}
                Err(refusal) => return Err(wire::fault(refusal).into()),
            }
        }
    }

    async fn user_add(
        &self,
        request: Request<pb::AuthUserAddRequest>,
    ) -> Result<Response<pb::AuthUserAddResponse>, Status> {
        let caller = self.ask_now(&request).await?;
        let mut request = request.into_inner();
        let password = std::mem::take(&mut request.password);
        request.hashed_password = if request.options.is_some_and(|options| options.no_password) {
            String::new()
        } else {
            self.hashed(&caller, password).await?
        };
        let header = self.change(caller, Change::AuthUserAdd(request)).await?;
        Ok(Response::new(pb::AuthUserAddResponse { header }))
    }

    async fn user_get(
        &self,
        request: Request<pb::AuthUserGetRequest>,
    ) -> Result<Response<pb::AuthUserGetResponse>, Status> {
        let caller = self.ask_now(&request).await?;
        let name = request.into_inner().name;
        let policy = self.0.shared.auth.policy();
        policy.check_user_get(&caller, &name).map_err(deny)?;
        let roles = policy.user(&name).ok_or(Fault::UserNotFound)?.roles.clone();
        Ok(Response::new(pb::AuthUserGetResponse { header: Some(self.0.header_now()), roles }))
    }

    async fn user_list(
        &self,
        request: Request<pb::AuthUserListRequest>,
    ) -> Result<Response<pb::AuthUserListResponse>, Status> {
        let caller = self.ask_now(&request).await?;
        let policy = self.0.shared.auth.policy();
        policy.check_admin(&caller).map_err(deny)?;
        let users = policy.users().map(str::to_owned).collect();
        Ok(Response::new(pb::AuthUserListResponse { header: Some(self.0.header_now()), users }))
    }

    async fn user_delete(
        &self,
        request: Request<pb::AuthUserDeleteRequest>,
    ) -> Result<Response<pb::AuthUserDeleteResponse>, Status> {
        let caller = self.ask(&request).await?;
        let header = self.change(caller, Change::AuthUserDelete(request.into_inner())).await?;
        Ok(Response::new(pb::AuthUserDeleteResponse { header }))
    }

    /// Without a password a client gives the hash itself, in base64, as in etcd.
    async fn user_change_password(
        &self,
        request: Request<pb::AuthUserChangePasswordRequest>,
    ) -> Result<Response<pb::AuthUserChangePasswordResponse>, Status> {
        let caller = self.ask_now(&request).await?;
        let mut request = request.into_inner();
        let password = std::mem::take(&mut request.password);
        if !password.is_empty() {
            request.hashed_password = self.hashed(&caller, password).await?;
        }
        let header = self.change(caller, Change::AuthUserChangePassword(request)).await?;
        Ok(Response::new(pb::AuthUserChangePasswordResponse { header }))
    }

    async fn user_grant_role(
        &self,
        request: Request<pb::AuthUserGrantRoleRequest>,
    ) -> Result<Response<pb::AuthUserGrantRoleResponse>, Status> {
        let caller = self.ask(&request).await?;
        let header = self.change(caller, Change::AuthUserGrantRole(request.into_inner())).await?;
        Ok(Response::new(pb::AuthUserGrantRoleResponse { header }))
    }

    async fn user_revoke_role(
        &self,
        request: Request<pb::AuthUserRevokeRoleRequest>,
    ) -> Result<Response<pb::AuthUserRevokeRoleResponse>, Status> {
        let caller = self.ask(&request).await?;
        let header = self.change(caller, Change::AuthUserRevokeRole(request.into_inner())).await?;
        Ok(Response::new(pb::AuthUserRevokeRoleResponse { header }))
    }

    async fn role_add(
        &self,
        request: Request<pb::AuthRoleAddRequest>,
    ) -> Result<Response<pb::AuthRoleAddResponse>, Status> {
        let caller = self.ask(&request).await?;
        let header = self.change(caller, Change::AuthRoleAdd(request.into_inner())).await?;
        Ok(Response::new(pb::AuthRoleAddResponse { header }))
    }

    async fn role_get(
        &self,
        request: Request<pb::AuthRoleGetRequest>,
    ) -> Result<Response<pb::AuthRoleGetResponse>, Status> {
        let caller = self.ask_now(&request).await?;
        let name = request.into_inner().role;
        let policy = self.0.shared.auth.policy();
        policy.check_role_get(&caller, &name).map_err(deny)?;
        let role = policy.role(&name).ok_or(Fault::RoleNotFound)?;
        let perm = if name == kv_core::ROOT {
            vec![wire::auth::everything()]
        } else {
            role.iter().map(wire::auth::granted).collect()
        };
        Ok(Response::new(pb::AuthRoleGetResponse { header: Some(self.0.header_now()), perm }))
    }

    async fn role_list(
        &self,
        request: Request<pb::AuthRoleListRequest>,
    ) -> Result<Response<pb::AuthRoleListResponse>, Status> {
        let caller = self.ask_now(&request).await?;
        let policy = self.0.shared.auth.policy();
        policy.check_admin(&caller).map_err(deny)?;
        let roles = policy.roles().map(str::to_owned).collect();
        Ok(Response::new(pb::AuthRoleListResponse { header: Some(self.0.header_now()), roles }))
    }

    async fn role_delete(
        &self,
        request: Request<pb::AuthRoleDeleteRequest>,
    ) -> Result<Response<pb::AuthRoleDeleteResponse>, Status> {
        let caller = self.ask(&request).await?;
        let header = self.change(caller, Change::AuthRoleDelete(request.into_inner())).await?;
        Ok(Response::new(pb::AuthRoleDeleteResponse { header }))
    }

    async fn role_grant_permission(
        &self,
        request: Request<pb::AuthRoleGrantPermissionRequest>,
    ) -> Result<Response<pb::AuthRoleGrantPermissionResponse>, Status> {
        let caller = self.ask(&request).await?;
        let header = self.change(caller, Change::AuthRoleGrantPermission(request.into_inner())).await?;
        Ok(Response::new(pb::AuthRoleGrantPermissionResponse { header }))
    }

    async fn role_revoke_permission(
        &self,
        request: Request<pb::AuthRoleRevokePermissionRequest>,
    ) -> Result<Response<pb::AuthRoleRevokePermissionResponse>, Status> {
        let caller = self.ask(&request).await?;
        let header = self.change(caller, Change::AuthRoleRevokePermission(request.into_inner())).await?;
        Ok(Response::new(pb::AuthRoleRevokePermissionResponse { header }))
    }
}
