//! Changes of users and roles (etcd: `server/auth/store.go`): which are refused, and what
//! each comes to. Each that changes something moves the policy's revision on.

use bytes::Bytes;

use super::{Denial, Permission, Policy, ROOT, User};

/// A change of users and roles. Only the hash of a password is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthChange {
    /// Who asks is looked at from now on.
    Enable,
    /// No more.
    Disable,
    /// Lets a user in whose password was checked. It changes no user; its place in the log makes
    /// the token, `TOKEN.INDEX`, and the caller's revision is that of the check.
    Authenticate {
        /// The user.
        user: String,
        /// The token's first part, which nobody can guess.
        token: String,
    },
    /// A new user.
    UserAdd {
        /// The name.
        name: String,
        /// The password's hash.
        password: Bytes,
        /// Whether the user comes by certificate only.
        no_password: bool,
    },
    /// A user goes.
    UserDelete {
        /// The name.
        name: String,
    },
    /// Another password.
    UserChangePassword {
        /// The user.
        name: String,
        /// The password's hash.
        password: Bytes,
    },
    /// A user gets a role.
    UserGrantRole {
        /// The user.
        user: String,
        /// The role.
        role: String,
    },
    /// A user loses a role.
    UserRevokeRole {
        /// The user.
        user: String,
        /// The role.
        role: String,
    },
    /// A new role.
    RoleAdd {
        /// The name.
        name: String,
    },
    /// A role goes, from its users too.
    RoleDelete {
        /// The name.
        name: String,
    },
    /// A role gets a permission; what it had of just that range is replaced.
    RoleGrantPermission {
        /// The role.
        role: String,
        /// The permission.
        permission: Option<Permission>,
    },
    /// A role loses what it has of just that range.
    RoleRevokePermission {
        /// The role.
        role: String,
        /// The key, or the first of the range.
        key: Bytes,
        /// The range's end, as in [`Permission`].
        range_end: Bytes,
    },
}

impl Policy {
    /// Makes a change, whoever asks for it. Returns whether anything is another now.
    ///
    /// # Errors
    /// Why not; then nothing has changed.
    pub fn change(&mut self, change: &AuthChange) -> Result<bool, Denial> {
        let revision = self.revision;
        match change {
            AuthChange::Enable => return self.enable(),
            AuthChange::Disable if !self.enabled => return Ok(false),
            AuthChange::Disable => self.enabled = false,
            AuthChange::Authenticate { user, .. } => return self.let_in(user).map(|()| false),
            AuthChange::UserAdd { name, password, no_password } => {
                if name.is_empty() {
                    return Err(Denial::UserEmpty);
                }
                if self.users.contains_key(name) {
                    return Err(Denial::UserAlreadyExist);
                }
                let password = if *no_password { Bytes::new() } else { password.clone() };
                let user = User { password, no_password: *no_password, roles: Vec::new() };
                self.users.insert(name.clone(), user);
            }
            AuthChange::UserDelete { name } => {
                if self.enabled && name == ROOT {
                    return Err(Denial::InvalidAuthMgmt);
                }
                self.users.remove(name).ok_or(Denial::UserNotFound)?;
            }
            AuthChange::UserChangePassword { name, password } => {
                let user = self.users.get_mut(name).ok_or(Denial::UserNotFound)?;
                user.password = if user.no_password { Bytes::new() } else { password.clone() };
            }
            AuthChange::UserGrantRole { user, role } => {
                let user = self.users.get_mut(user).ok_or(Denial::UserNotFound)?;
                if role != ROOT && !self.roles.contains_key(role) {
                    return Err(Denial::RoleNotFound);
                }
                match user.roles.binary_search(role) {
                    Ok(_) => return Ok(false),
                    Err(place) => user.roles.insert(place, role.clone()),
                }
            }
            AuthChange::UserRevokeRole { user, role } => {
                if self.enabled && user == ROOT && role == ROOT {
                    return Err(Denial::InvalidAuthMgmt);
                }
                let user = self.users.get_mut(user).ok_or(Denial::UserNotFound)?;
                let place = user.roles.binary_search(role).map_err(|_| Denial::RoleNotGranted)?;
                user.roles.remove(place);
            }
            AuthChange::RoleAdd { name } => {
                if name.is_empty() {
                    return Err(Denial::RoleEmpty);
                }
                if self.roles.contains_key(name) {
                    return Err(Denial::RoleAlreadyExist);
                }
                self.roles.insert(name.clone(), Vec::new());
            }
            AuthChange::RoleDelete { name } => {
                if self.enabled && name == ROOT {
                    return Err(Denial::InvalidAuthMgmt);
                }
                self.roles.remove(name).ok_or(Denial::RoleNotFound)?;
                for user in self.users.values_mut() {
                    user.roles.retain(|role| role != name);
                }
            }
            AuthChange::RoleGrantPermission { role, permission } => self.grant(role, permission.as_ref())?,
            AuthChange::RoleRevokePermission { role, key, range_end } => {
                let permissions = self.roles.get_mut(role).ok_or(Denial::RoleNotFound)?;
                let before = permissions.len();
                permissions.retain(|one| one.key != key || one.range_end != range_end);
                if permissions.len() == before {
                    return Err(Denial::PermissionNotGranted);
                }
            }
        }
        self.revision = revision + 1;
        self.merge();
        Ok(true)
    }

    /// etcd leaves the revision as it is here.
    fn enable(&mut self) -> Result<bool, Denial> {
        if self.enabled {
            return Ok(false);
        }
        let root = self.users.get(ROOT).ok_or(Denial::RootUserNotExist)?;
        if !root.is_root() {
            return Err(Denial::RootRoleNotExist);
        }
        self.enabled = true;
        Ok(true)
    }

    fn let_in(&self, name: &str) -> Result<(), Denial> {
        if !self.enabled {
            return Err(Denial::AuthNotEnabled);
        }
        match self.users.get(name) {
            Some(user) if !user.no_password => Ok(()),
            _ => Err(Denial::AuthFailed),
        }
    }

    fn grant(&mut self, role: &str, permission: Option<&Permission>) -> Result<(), Denial> {
        let permission = permission.ok_or(Denial::PermissionNotGiven)?;
        if !permission.is_valid() {
            return Err(Denial::InvalidAuthMgmt);
        }
        let permissions = self.roles.get_mut(role).ok_or(Denial::RoleNotFound)?;
        let same =
            |one: &&mut Permission| (&one.key, &one.range_end) == (&permission.key, &permission.range_end);
        if let Some(one) = permissions.iter_mut().find(same) {
            one.kind = permission.kind;
        } else {
            let place = permissions.partition_point(|one| one.key <= permission.key);
            permissions.insert(place, permission.clone());
        }
        Ok(())
    }
}
