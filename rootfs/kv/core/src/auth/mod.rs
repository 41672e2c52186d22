//! Users, roles and what they may do (etcd v3 API: `Auth`): part of the state, so that
//! all members decide alike.
//!
//! [`Policy`] is all of it as plain data. [`AuthChange`] makes one policy into the next;
//! [`Policy::check`] says whether a [`Caller`] may have a command carried out. That is asked
//! when the command is applied, whatever was asked before: permissions may have changed
//! since. Passwords are opaque hashes here, tokens and certificates are the server's.

mod change;
mod check;
mod permission;
mod table;

use std::collections::BTreeMap;

use bytes::Bytes;

pub use change::AuthChange;
pub use permission::{Permission, PermissionKind};

pub(crate) use permission::Granted;
pub(crate) use table::{load, load_written, restore, save};

/// The user without whom authentication is not switched on, and the role that may do everything.
pub const ROOT: &str = "root";

/// Why something about users and roles was refused. The texts are etcd's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Denial {
    /// Switching on without the user `root`.
    #[error("root user does not exist")]
    RootUserNotExist,
    /// Switching on while the user `root` does not have the role `root`.
    #[error("root user does not have root role")]
    RootRoleNotExist,
    /// A user's name is taken.
    #[error("user name already exists")]
    UserAlreadyExist,
    /// No name was given, or nobody has asked.
    #[error("user name is empty")]
    UserEmpty,
    /// No such user.
    #[error("user name not found")]
    UserNotFound,
    /// A role's name is taken.
    #[error("role name already exists")]
    RoleAlreadyExist,
    /// No such role.
    #[error("role name not found")]
    RoleNotFound,
    /// No name was given.
    #[error("role name is empty")]
    RoleEmpty,
    /// Unknown user, or one without a password.
    #[error("authentication failed, invalid user ID or password")]
    AuthFailed,
    /// A grant without a permission.
    #[error("permission not given")]
    PermissionNotGiven,
    /// The user may not.
    #[error("permission denied")]
    PermissionDenied,
    /// The user does not have the role.
    #[error("role is not granted to the user")]
    RoleNotGranted,
    /// The role does not have the permission.
    #[error("permission is not granted to the role")]
    PermissionNotGranted,
    /// There is no authentication.
    #[error("authentication is not enabled")]
    AuthNotEnabled,
    /// The root user or role would go, or a range that cannot be granted.
    #[error("invalid auth management")]
    InvalidAuthMgmt,
    /// What the caller was checked against has changed since.
    #[error("revision of auth store is old")]
    AuthOldRevision,
}

/// Who asks, and as of which revision of the policy that was found out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// The user; empty for nobody.
    pub user: String,
    /// The policy's revision; 0 for nobody.
    pub revision: u64,
}

/// A user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// The hash of the password; empty if there is none.
    pub password: Bytes,
    /// Whether the user comes by certificate only.
    pub no_password: bool,
    /// The roles, sorted, each once.
    pub roles: Vec<String>,
}

impl User {
    /// Whether the user may do everything.
    pub fn is_root(&self) -> bool {
        self.has(ROOT)
    }

    /// Whether the user has a role.
    pub fn has(&self, role: &str) -> bool {
        self.roles.binary_search_by(|have| have.as_str().cmp(role)).is_ok()
    }
}

/// What a role may do: permissions by key, those of one key in the order of their grants.
pub type Role = Vec<Permission>;

/// All users and roles, and whether they count.
#[derive(Clone, Debug)]
pub struct Policy {
    enabled: bool,
    revision: u64,
    users: BTreeMap<String, User>,
    roles: BTreeMap<String, Role>,
    /// What the users' roles come to.
    granted: BTreeMap<String, Granted>,
}

impl Default for Policy {
    /// Nobody, and all may do everything. etcd's first revision is 1, too.
    fn default() -> Self {
        Self::new(false, 1, BTreeMap::new(), BTreeMap::new())
    }
}

impl PartialEq for Policy {
    fn eq(&self, other: &Self) -> bool {
        (self.enabled, self.revision) == (other.enabled, other.revision)
            && self.users == other.users
            && self.roles == other.roles
    }
}

impl Eq for Policy {}

impl Policy {
    pub(crate) fn new(
        enabled: bool,
        revision: u64,
        users: BTreeMap<String, User>,
        roles: BTreeMap<String, Role>,
    ) -> Self {
        let mut policy = Self { enabled, revision, users, roles, granted: BTreeMap::new() };
        policy.merge();
        policy
    }

    /// Whether who asks is looked at at all.
    pub fn enabled(&self) -> bool {
        self.enabled
    }

    /// Goes up by one with each change; 1 at first.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// A user.
    pub fn user(&self, name: &str) -> Option<&User> {
        self.users.get(name)
    }

    /// The users' names, sorted.
    pub fn users(&self) -> impl Iterator<Item = &str> {
        self.users.keys().map(String::as_str)
    }

    /// A role.
    pub fn role(&self, name: &str) -> Option<&Role> {
        self.roles.get(name)
    }

    /// The roles' names, sorted.
    pub fn roles(&self) -> impl Iterator<Item = &str> {
        self.roles.keys().map(String::as_str)
    }

    /// Puts together what each user's roles come to.
    fn merge(&mut self) {
        let granted = |user: &User| Granted::of(&user.roles.iter().filter_map(|role| self.roles.get(role)));
        self.granted = self.users.iter().map(|(name, user)| (name.clone(), granted(user))).collect();
    }
}
