//! Who may do what (etcd: `server/etcdserver/apply/auth.go`). While authentication is off,
//! everybody may do everything.

use bytes::Bytes;

use super::{AuthChange, Caller, Denial, Policy, User};
use crate::command::{Command, DeleteRange, Operation, Put, Txn};
use crate::error::Error;

/// Reads the keys that hang on a lease.
pub(crate) type LeaseKeys<'l> = &'l dyn Fn(i64) -> Result<Vec<Bytes>, Error>;

/// What is asked of the database on the way, and what is decided.
type Verdict = Result<Result<(), Denial>, Error>;

/// Ends a check that was decided.
macro_rules! allow {
    ($check:expr) => {
        if let Err(denial) = $check {
            return Ok(Err(denial));
        }
    };
}

impl Policy {
    /// Whether the caller has shown who it is.
    ///
    /// # Errors
    /// [`Denial::UserEmpty`].
    pub fn check_known(&self, caller: &Caller) -> Result<(), Denial> {
        if self.enabled() && caller.user.is_empty() { Err(Denial::UserEmpty) } else { Ok(()) }
    }

    /// Whether the caller has the role `root`. As in etcd, the caller's revision does not matter here.
    ///
    /// # Errors
    /// [`Denial::UserEmpty`], [`Denial::UserNotFound`], [`Denial::PermissionDenied`].
    pub fn check_admin(&self, caller: &Caller) -> Result<(), Denial> {
        if !self.enabled() {
            return Ok(());
        }
        self.check_known(caller)?;
        let user = self.user(&caller.user).ok_or(Denial::UserNotFound)?;
        if user.is_root() { Ok(()) } else { Err(Denial::PermissionDenied) }
    }

    /// Whether the caller may read all keys of a range (etcd v3 API: `RangeRequest.range_end`).
    ///
    /// # Errors
    /// [`Denial::UserEmpty`], [`Denial::AuthOldRevision`], [`Denial::PermissionDenied`].
    pub fn check_read(&self, caller: &Caller, key: &Bytes, range_end: &Bytes) -> Result<(), Denial> {
        self.check_keys(caller, |policy| {
            policy.granted.get(&caller.user).is_some_and(|granted| granted.reads(key, range_end))
        })
    }

    /// Whether the caller may write all keys of a range.
    ///
    /// # Errors
    /// As [`Policy::check_read`].
    pub fn check_write(&self, caller: &Caller, key: &Bytes, range_end: &Bytes) -> Result<(), Denial> {
        self.check_keys(caller, |policy| {
            policy.granted.get(&caller.user).is_some_and(|granted| granted.writes(key, range_end))
        })
    }

    /// Whether the caller may see a user: root may, and everybody themselves.
    ///
    /// # Errors
    /// As [`Policy::check_admin`].
    pub fn check_user_get(&self, caller: &Caller, name: &str) -> Result<(), Denial> {
        self.check_admin(caller).or_else(|denial| if caller.user == name { Ok(()) } else { Err(denial) })
    }

    /// Whether the caller may see a role: root may, and who has it.
    ///
    /// # Errors
    /// As [`Policy::check_admin`].
    pub fn check_role_get(&self, caller: &Caller, role: &str) -> Result<(), Denial> {
        let has = || self.user(&caller.user).is_some_and(|user: &User| user.has(role));
        self.check_admin(caller).or_else(|denial| if has() { Ok(()) } else { Err(denial) })
    }

    fn check_keys(&self, caller: &Caller, granted: impl Fn(&Self) -> bool) -> Result<(), Denial> {
        if !self.enabled() {
            return Ok(());
        }
        if caller.revision == 0 {
            return Err(Denial::UserEmpty);
        }
        if caller.revision < self.revision() {
            return Err(Denial::AuthOldRevision);
        }
        let user = self.user(&caller.user).ok_or(Denial::PermissionDenied)?;
        if user.is_root() || granted(self) { Ok(()) } else { Err(Denial::PermissionDenied) }
    }

    /// Whether the caller may have a command carried out. Compactions, alarms and the server's
    /// own commands are checked by the server, where it matters who asks.
    ///
    /// # Errors
    /// What the database fails with; inside, the reason why not.
    pub(crate) fn check(&self, caller: &Caller, command: &Command, lease_keys: LeaseKeys<'_>) -> Verdict {
        if !self.enabled() {
            return Ok(Ok(()));
        }
        match command {
            Command::Put(put) => self.check_put(caller, put, lease_keys),
            Command::DeleteRange(delete) => Ok(self.check_delete(caller, delete)),
            Command::Txn(txn) => self.check_txn(caller, txn, lease_keys),
            Command::LeaseRevoke { id } => self.check_lease(caller, *id, lease_keys),
            Command::Auth(AuthChange::Authenticate { .. }) => {
                // The password that was checked must still be the password.
                let old = caller.revision != self.revision();
                Ok(if old { Err(Denial::AuthOldRevision) } else { Ok(()) })
            }
            Command::Auth(_) => Ok(self.check_admin(caller)),
            Command::Nothing
            | Command::Compact { .. }
            | Command::LeaseGrant { .. }
            | Command::LeaseCheckpoint(_)
            | Command::Alarm { .. }
            | Command::Side(_) => Ok(Ok(())),
        }
    }

    fn check_put(&self, caller: &Caller, put: &Put, lease_keys: LeaseKeys<'_>) -> Verdict {
        allow!(self.check_write(caller, &put.key, &Bytes::new()));
        // Who may not end a lease shall not hang keys on it.
        if put.lease != 0 {
            allow!(self.check_lease(caller, put.lease, lease_keys)?);
        }
        if put.prev_kv {
            allow!(self.check_read(caller, &put.key, &Bytes::new()));
        }
        Ok(Ok(()))
    }

    fn check_delete(&self, caller: &Caller, delete: &DeleteRange) -> Result<(), Denial> {
        self.check_write(caller, &delete.key, &delete.range_end)?;
        if delete.prev_kv {
            self.check_read(caller, &delete.key, &delete.range_end)?;
        }
        Ok(())
    }

    /// Both lists count, whichever will be done.
    pub(crate) fn check_txn(&self, caller: &Caller, txn: &Txn, lease_keys: LeaseKeys<'_>) -> Verdict {
        for compare in &txn.compare {
            allow!(self.check_read(caller, &compare.key, &compare.range_end));
        }
        for operation in txn.success.iter().chain(&txn.failure) {
            match operation {
                Operation::Range(range) => allow!(self.check_read(caller, &range.key, &range.range_end)),
                Operation::Put(put) => allow!(self.check_put(caller, put, lease_keys)?),
                Operation::DeleteRange(delete) => allow!(self.check_delete(caller, delete)),
                Operation::Txn(txn) => allow!(self.check_txn(caller, txn, lease_keys)?),
            }
        }
        Ok(Ok(()))
    }

    /// A lease is ended by who may write all keys that hang on it.
    fn check_lease(&self, caller: &Caller, id: i64, lease_keys: LeaseKeys<'_>) -> Verdict {
        if self.check_admin(caller).is_ok() {
            return Ok(Ok(()));
        }
        for key in lease_keys(id)? {
            allow!(self.check_write(caller, &key, &Bytes::new()));
        }
        Ok(Ok(()))
    }
}
