//! The part of a child's plan that sets it apart: namespaces, mounts, filters, scheduling.

use super::gather::{Files, content};
use super::spawn::{SpawnError, c, path_c};
use super::{Manager, accounts};
use crate::engine::UnitId;
use crate::unit::config::{Context, DIRECTORIES, DirectoryKind};
use crate::unit::execution::Execution;
use crate::unit::isolation::{self, Facts};
use crate::unit::sandbox::Sandbox;
use crate::unit::seccomp;
use nix::libc::CLONE_NEWUTS;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use sys::isolation::{File, Hidden, Isolation, Keyring};
use sys::process::Step;

/// Where a service finds its credentials.
pub(super) const CREDENTIALS: &str = "/run/credentials";

/// Who the process is going to be, and what of the context holds for it.
pub(super) struct Who {
    /// User and group by number.
    pub(super) owner: (u32, u32),
    /// `+`: neither sandbox nor user.
    pub(super) unconfined: bool,
}

/// What an [`Isolation`] asks of the rest of the plan.
pub(super) struct Isolated {
    pub(super) isolation: Isolation,
    /// `PR_SET_NO_NEW_PRIVS` is implied.
    pub(super) no_new_privileges: bool,
    /// Taken out of the bounding set.
    pub(super) dropped: u64,
}

impl Manager {
    pub(super) fn isolate(
        &self,
        id: UnitId,
        context: &Context,
        who: &Who,
        files: &Files,
    ) -> Result<Isolated, SpawnError> {
        let unit = self.engine.unit(id).name.as_str();
        let mut isolation = Isolation { keyring: Keyring::Private, ..Isolation::default() };
        if let Some(execution) = &context.execution {
            schedule(execution, &mut isolation)?;
            isolation.credentials = credentials(execution, unit, files)?;
        }
        let nothing = Isolated { isolation: Isolation::default(), no_new_privileges: false, dropped: 0 };
        let Some(sandbox) = context.sandbox.as_deref() else {
            return Ok(Isolated { isolation, ..nothing });
        };
        if sandbox.dynamic_user {
            isolation.hidden = hidden(context)?;
        }
        if who.unconfined {
            return Ok(Isolated { isolation, ..nothing });
        }
        isolation.join = self.joined(id, sandbox)?;
        isolation.namespaces = if sandbox.protect_hostname { CLONE_NEWUTS } else { 0 };
        if sandbox.private_users {
            let map = |id: u32| {
                let own = if id == 0 { String::new() } else { format!("{id} {id} 1\n") };
                c(format!("0 0 1\n{own}"), "a number")
            };
            isolation.user_namespace = Some((map(who.owner.0)?, map(who.owner.1)?));
        }
        let facts = self.facts(context, sandbox, self.tmp_owner(id))?;
        isolation.mounts = isolation::mounts(sandbox, &facts)?;
        isolation.filters = seccomp::programs(sandbox);
        // Without CAP_SYS_ADMIN a filter can only be loaded with it (seccomp(2)); that filters
        // imply it for other users than root is systemd.exec(5)'s word too.
        let implied = sandbox.dynamic_user || !isolation.filters.is_empty() && who.owner.0 != 0;
        let dropped = isolation::dropped_capabilities(sandbox);
        Ok(Isolated { isolation, no_new_privileges: implied, dropped })
    }

    fn facts(&self, context: &Context, sandbox: &Sandbox, tmp_owner: &str) -> Result<Facts, SpawnError> {
        let covers = self.covers()?;
        let mut facts = Facts { covers, ..Facts::default() };
        for (_, kind, parent, _) in DIRECTORIES {
            let Some(entry) = context.directories.get(&kind) else { continue };
            for name in &entry.names {
                if kind == DirectoryKind::ConfigurationDirectory {
                    continue; // not the service's to write to
                }
                if sandbox.dynamic_user && is_private(kind) {
                    facts.private_folders.push(Path::new(parent).join("private").join(name));
                } else {
                    facts.folders.push(Path::new(parent).join(name));
                }
            }
        }
        if sandbox.private_tmp || sandbox.dynamic_user {
            facts.tmp =
                Some((self.private_tmp("/tmp", tmp_owner)?, self.private_tmp("/var/tmp", tmp_owner)?));
        }
        Ok(facts)
    }

    /// The nodes that stand over what may not be opened.
    fn covers(&self) -> io::Result<(PathBuf, PathBuf)> {
        let folder = self.paths.runtime.join("inaccessible");
        let (cover, file) = (folder.join("dir"), folder.join("reg"));
        if !file.exists() {
            fs::create_dir_all(&cover)?;
            fs::set_permissions(&cover, fs::Permissions::from_mode(0o000))?;
            fs::write(&file, "")?;
            fs::set_permissions(&file, fs::Permissions::from_mode(0o000))?;
        }
        Ok((cover, file))
    }

    /// The folder of a unit that is its /tmp, which all its processes share until it is down. The
    /// one above it keeps others out.
    fn private_tmp(&self, base: &str, unit: &str) -> io::Result<PathBuf> {
        let outer = Path::new(base).join(self.private_tmp_name(unit));
        match DirBuilder::new().mode(0o700).create(&outer) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        // Everybody may write to /tmp: what stands there must be ours.
        let meta = outer.symlink_metadata()?;
        if !meta.is_dir() || std::os::unix::fs::MetadataExt::uid(&meta) != 0 {
            return Err(io::Error::other(format!("{} is not root's folder", outer.display())));
        }
        let inner = outer.join("tmp");
        match DirBuilder::new().create(&inner) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        fs::set_permissions(&inner, fs::Permissions::from_mode(0o1777))?;
        Ok(inner)
    }

    fn private_tmp_name(&self, unit: &str) -> String {
        format!("systemd-private-{}-{unit}", self.loader.facts.boot_id)
    }

    /// What was made for a unit and goes with it, but for its runtime folders.
    pub(super) fn forget_isolation(&mut self, id: UnitId) {
        let shared = self.unshare(id);
        let unit = self.engine.unit(id);
        let Some(context) = unit.service.as_ref().map(|service| &service.context) else { return };
        let mut gone = Vec::new();
        if let Some(shared) = shared {
            let name = self.private_tmp_name(&shared.name);
            gone.extend([Path::new("/tmp").join(&name), Path::new("/var/tmp").join(&name)]);
        }
        if context.execution.as_ref().is_some_and(|execution| !execution.credentials.is_empty()) {
            gone.push(Path::new(CREDENTIALS).join(unit.name.as_str()));
        }
        // Moved aside, so that the unit can start again at once, and removed by a thread: it may hold anything.
        let mut aside = Vec::new();
        for (number, path) in gone.into_iter().enumerate() {
            let other =
                path.with_file_name(format!(".gone-{}-{number}-{}", super::now().as_nanos(), unit.name));
            if fs::rename(&path, &other).is_ok() {
                aside.push(other);
            }
        }
        if !aside.is_empty() {
            let remove = move || {
                for path in &aside {
                    let _ = fs::remove_dir_all(path);
                }
            };
            // Without a thread they stay until the next boot: /tmp and /run are not kept.
            let _ = std::thread::Builder::new().stack_size(128 << 10).name("remove".into()).spawn(remove);
        }
    }
}

/// First and last user number of `DynamicUser=` (systemd.exec(5); reserved by systemd's UIDS-GIDS).
const DYNAMIC_USERS: std::ops::RangeInclusive<u32> = 61_184..=65_519;

/// A number for a name: by its hash, so that it is the same in every boot, or the next one that is free.
fn dynamic_user(name: &str, taken: impl Fn(u32) -> bool) -> Option<u32> {
    // FNV-1a: fixed for ever, unlike std's hasher.
    let hash =
        name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let (first, last) = (*DYNAMIC_USERS.start(), *DYNAMIC_USERS.end());
    let count = last - first + 1;
    (0..count).map(|step| first + (hash.wrapping_add(step)) % count).find(|uid| !taken(*uid))
}

impl Manager {
    /// Reserves a user for a service with `DynamicUser=`, until it is down.
    pub(super) fn reserve_user(&mut self, id: UnitId) -> Result<(), SpawnError> {
        let unit = self.engine.unit(id);
        let Some(context) = unit.service.as_ref().map(|service| &service.context) else { return Ok(()) };
        if self.dynamic_users.contains_key(&id)
            || !context.sandbox.as_ref().is_some_and(|sandbox| sandbox.dynamic_user)
        {
            return Ok(());
        }
        let name = context.user.clone().unwrap_or_else(|| user_name(unit.name.prefix()));
        if accounts::user(&name).is_some() {
            return Ok(()); // a user that exists is that user
        }
        let taken =
            |uid: u32| self.dynamic_users.values().any(|(_, other)| *other == uid) || accounts::is_taken(uid);
        let uid = dynamic_user(&name, taken).ok_or(SpawnError::NoUserLeft)?;
        self.dynamic_users.insert(id, (name, uid));
        Ok(())
    }

    /// The user that was reserved.
    pub(super) fn dynamic_user(&self, id: UnitId) -> Option<accounts::User> {
        let (name, uid) = self.dynamic_users.get(&id)?;
        let (name, home, shell) = (name.clone(), "/".to_owned(), "/usr/sbin/nologin".to_owned());
        Some(accounts::User { name, uid: *uid, gid: *uid, home, shell })
    }
}

/// The unit's name if it can be a user's, else its hash (systemd.exec(5), `DynamicUser=`).
fn user_name(prefix: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let first = prefix.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    if first && prefix.len() <= 31 && prefix.chars().all(plain) {
        return prefix.to_owned();
    }
    let hash = prefix.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("_du{hash:016x}")
}

/// Folders that `DynamicUser=` keeps below `private/` (systemd.exec(5)).
pub(super) fn is_private(kind: DirectoryKind) -> bool {
    matches!(
        kind,
        DirectoryKind::StateDirectory | DirectoryKind::CacheDirectory | DirectoryKind::LogsDirectory
    )
}

fn hidden(context: &Context) -> Result<Vec<Hidden>, SpawnError> {
    let mut found = Vec::new();
    for (_, kind, parent, _) in DIRECTORIES {
        let step = match kind {
            DirectoryKind::StateDirectory => Step::StateDirectory,
            DirectoryKind::CacheDirectory => Step::CacheDirectory,
            DirectoryKind::LogsDirectory => Step::LogsDirectory,
            _ => continue,
        };
        for name in context.directories.get(&kind).map_or(&[][..], |entry| &entry.names) {
            let up = "../".repeat(name.matches('/').count());
            found.push(Hidden {
                private: c(format!("{parent}/private"), "a path")?,
                old: c(format!("{parent}/{name}"), "a path")?,
                new: c(format!("{parent}/private/{name}"), "a path")?,
                text: c(format!("{up}private/{name}"), "a path")?,
                step,
            });
        }
    }
    Ok(found)
}

fn schedule(execution: &Execution, isolation: &mut Isolation) -> Result<(), SpawnError> {
    isolation.keyring = execution.keyring;
    isolation.secure_bits = execution.secure_bits;
    isolation.timer_slack_ns = execution.timer_slack_ns;
    isolation.personality = execution.personality;
    isolation.terminal = (execution.tty_reset, execution.tty_hangup);
    if !execution.cpu_affinity.is_empty() {
        let mut mask = vec![0_u64; 128];
        for cpu in &execution.cpu_affinity {
            if let Some(word) = mask.get_mut(*cpu as usize / 64) {
                *word |= 1 << (cpu % 64);
            }
        }
        isolation.affinity = Some(mask);
    }
    if execution.policy.is_some() || execution.reset_on_fork {
        let policy = execution.policy.unwrap_or(0);
        let priority = match policy {
            1 | 2 => execution.priority.max(1),
            _ => 0,
        };
        let reset = if execution.reset_on_fork { nix::libc::SCHED_RESET_ON_FORK } else { 0 };
        isolation.scheduler = Some((policy | reset, priority));
    }
    isolation.io_priority = match (execution.io_class, execution.io_priority) {
        (None, None) => None,
        // Best effort, and its middle, are the defaults (ioprio_set(2)).
        (class, level) => Some((class.unwrap_or(2), if class == Some(3) { 0 } else { level.unwrap_or(4) })),
    };
    isolation.coredump_filter =
        execution.coredump_filter.map(|mask| c(format!("{mask:#x}"), "a number")).transpose()?;
    Ok(())
}

type Credentials = Option<(std::ffi::CString, Vec<File>)>;

fn credentials(execution: &Execution, unit: &str, read: &Files) -> Result<Credentials, SpawnError> {
    if execution.credentials.is_empty() {
        return Ok(None);
    }
    let folder = Path::new(CREDENTIALS).join(unit);
    let mut files = Vec::new();
    for credential in &execution.credentials {
        let loaded = match &credential.path {
            None => None,
            Some(path) => match content(read, Path::new(path)) {
                Ok(content) => Some(content.to_vec()),
                Err(_) if credential.text.is_some() => None,
                Err(error) => {
                    let id = credential.id.clone();
                    return Err(SpawnError::Credential { id, path: path.clone(), error });
                }
            },
        };
        if let Some(content) = loaded.or_else(|| credential.text.clone()) {
            files.push(File { path: path_c(&folder.join(&credential.id))?, content });
        }
    }
    Ok(Some((path_c(&folder)?, files)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dynamic_user_is_stable_in_range_and_never_shared() {
        let first = dynamic_user("chrony-wait", |_| false).unwrap();
        assert_eq!(dynamic_user("chrony-wait", |_| false), Some(first));
        assert!(DYNAMIC_USERS.contains(&first));
        let second = dynamic_user("chrony-wait", |uid| uid == first).unwrap();
        assert!(DYNAMIC_USERS.contains(&second) && second != first);
        assert_eq!(dynamic_user("x", |_| true), None);
        assert_eq!(user_name("chrony-wait"), "chrony-wait");
        assert!(user_name("9lives").starts_with("_du"));
    }
}
