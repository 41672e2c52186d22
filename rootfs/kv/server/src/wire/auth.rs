//! Changes of users and roles, from the wire into the state machine's types.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use kv_api::Fault;
use kv_api::authpb;
use kv_api::kvpb::command::Change;
use kv_core::{AuthChange, Denial, Permission, PermissionKind};

/// The change of users and roles that a change in the log stands for; `None` if it is none of
/// those that this version knows.
///
/// # Errors
/// [`Fault::InvalidAuthMgmt`] for a hash that is no base64, or a kind of permission that etcd
/// does not have.
pub fn change(change: Change) -> Result<Option<AuthChange>, Fault> {
    Ok(Some(match change {
        Change::AuthEnable(_) => AuthChange::Enable,
        Change::AuthDisable(_) => AuthChange::Disable,
        Change::Authenticate(request) => {
            AuthChange::Authenticate { user: request.name, token: request.simple_token }
        }
        Change::AuthUserAdd(request) => AuthChange::UserAdd {
            name: request.name,
            password: hash(&request.hashed_password)?,
            no_password: request.options.is_some_and(|options| options.no_password),
        },
        Change::AuthUserDelete(request) => AuthChange::UserDelete { name: request.name },
        Change::AuthUserChangePassword(request) => {
            AuthChange::UserChangePassword { name: request.name, password: hash(&request.hashed_password)? }
        }
        Change::AuthUserGrantRole(request) => {
            AuthChange::UserGrantRole { user: request.user, role: request.role }
        }
        Change::AuthUserRevokeRole(request) => {
            AuthChange::UserRevokeRole { user: request.name, role: request.role }
        }
        Change::AuthRoleAdd(request) => AuthChange::RoleAdd { name: request.name },
        Change::AuthRoleDelete(request) => AuthChange::RoleDelete { name: request.role },
        Change::AuthRoleGrantPermission(request) => AuthChange::RoleGrantPermission {
            role: request.name,
            permission: request.perm.map(permission).transpose()?,
        },
        Change::AuthRoleRevokePermission(request) => AuthChange::RoleRevokePermission {
            role: request.role,
            key: request.key,
            range_end: request.range_end,
        },
        _ => return Ok(None),
    }))
}

/// etcd puts the hash into base64, although it is text.
fn hash(text: &str) -> Result<Bytes, Fault> {
    STANDARD.decode(text).map(Bytes::from).map_err(|_| Fault::InvalidAuthMgmt)
}

/// A password's hash as the log has it.
pub fn hashed(hash: &str) -> String {
    STANDARD.encode(hash)
}

fn permission(permission: authpb::Permission) -> Result<Permission, Fault> {
    use authpb::permission::Type;
    let kind = match Type::try_from(permission.perm_type).map_err(|_| Fault::InvalidAuthMgmt)? {
        Type::Read => PermissionKind::Read,
        Type::Write => PermissionKind::Write,
        Type::Readwrite => PermissionKind::ReadWrite,
    };
    Ok(Permission { kind, key: permission.key, range_end: permission.range_end })
}

/// A permission for the wire.
pub fn granted(permission: &Permission) -> authpb::Permission {
    use authpb::permission::Type;
    let kind = match permission.kind {
        PermissionKind::Read => Type::Read,
        PermissionKind::Write => Type::Write,
        PermissionKind::ReadWrite => Type::Readwrite,
    };
    let (key, range_end) = (permission.key.clone(), permission.range_end.clone());
    authpb::Permission { perm_type: kind.into(), key, range_end }
}

/// etcd's error for a denial.
pub fn fault(denial: Denial) -> Fault {
    match denial {
        Denial::RootUserNotExist => Fault::RootUserNotExist,
        Denial::RootRoleNotExist => Fault::RootRoleNotExist,
        Denial::UserAlreadyExist => Fault::UserAlreadyExist,
        Denial::UserEmpty => Fault::UserEmpty,
        Denial::UserNotFound => Fault::UserNotFound,
        Denial::RoleAlreadyExist => Fault::RoleAlreadyExist,
        Denial::RoleNotFound => Fault::RoleNotFound,
        Denial::RoleEmpty => Fault::RoleEmpty,
        Denial::AuthFailed => Fault::AuthFailed,
        Denial::PermissionNotGiven => Fault::PermissionNotGiven,
        Denial::PermissionDenied => Fault::PermissionDenied,
        Denial::RoleNotGranted => Fault::RoleNotGranted,
        Denial::PermissionNotGranted => Fault::PermissionNotGranted,
        Denial::AuthNotEnabled => Fault::AuthNotEnabled,
        Denial::InvalidAuthMgmt => Fault::InvalidAuthMgmt,
        Denial::AuthOldRevision => Fault::AuthOldRevision,
    }
}

/// What the role `root` may, as etcd tells it.
pub fn everything() -> authpb::Permission {
    let perm_type = authpb::permission::Type::Readwrite.into();
    authpb::Permission { perm_type, key: Bytes::new(), range_end: Bytes::from_static(&[0]) }
}
