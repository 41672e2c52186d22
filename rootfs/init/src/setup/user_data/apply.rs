//! Writing what a plan asks for.

use crate::setup::SetupError;
use cloudconfig::{Account, File, Owner, Plan, Unit};
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

/// Names of users and groups, passwd(5) and group(5).
#[derive(Debug)]
pub(super) struct Accounts {
    passwd: String,
    group: String,
}

impl Accounts {
    pub(super) fn read(passwd: &Path, group: &Path) -> Result<Self, SetupError> {
        let read = |path: &Path| match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            other => SetupError::reading(path, other),
        };
        Ok(Self { passwd: read(passwd)?, group: read(group)? })
    }

    /// What the plan names and the machine does not know, each with its place.
    pub(super) fn unknown(&self, plan: &Plan) -> Vec<String> {
        let owners = plan.files.iter().filter_map(|file| file.owner.as_ref());
        owners
            .filter(|owner| self.resolve(owner).is_none())
            .map(|owner| format!("{}: no such user or group on this machine", owner.place))
            .collect()
    }

    /// Numbers of user and group.
    fn resolve(&self, owner: &Owner) -> Option<(u32, u32)> {
        let row = |table: &'_ str, name: &str| -> Option<Vec<String>> {
            let rows = table.lines().map(|line| line.split(':').map(str::to_owned).collect::<Vec<_>>());
            rows.into_iter().find(|row| row.first().is_some_and(|first| first == name))
        };
        let number = |row: &[String], field: usize| row.get(field)?.parse::<u32>().ok();
        let (uid, own_group) = match &owner.user {
            Account::Id(id) => {
                let is_it = |line: &&str| line.split(':').nth(2) == Some(&id.to_string());
                let line = self.passwd.lines().find(is_it);
                (*id, line.and_then(|line| line.split(':').nth(3)?.parse().ok()).unwrap_or(*id))
            }
            Account::Name(name) => {
                let row = row(&self.passwd, name)?;
                (number(&row, 2)?, number(&row, 3)?)
            }
        };
        let gid = match &owner.group {
            None => own_group,
            Some(Account::Id(id)) => *id,
            Some(Account::Name(name)) => number(&row(&self.group, name)?, 2)?,
        };
        Some((uid, gid))
    }
}

/// Writes one file below `root`, and the folders above it that are missing.
pub(super) fn write_file(root: &Path, file: &File, accounts: &Accounts) -> Result<(), SetupError> {
    let path = below(root, &file.path);
    make_parents(&path)?;
    SetupError::writing(&path, crate::setup::etc::replace(&path, &file.content, file.mode.into()))?;
    let Some((uid, gid)) = file.owner.as_ref().and_then(|owner| accounts.resolve(owner)) else {
        return Ok(());
    };
    SetupError::writing(&path, chown(&path, Some(uid), Some(gid)))?;
    // chown(2) drops setuid and setgid.
    let mode = fs::Permissions::from_mode(file.mode.into());
    SetupError::writing(&path, fs::set_permissions(&path, mode))
}

/// Writes the files of one unit below `root`.
pub(super) fn write_unit(root: &Path, unit: &Unit) -> Result<(), SetupError> {
    let folder = below(root, if unit.runtime { "/run/systemd/system" } else { "/etc/systemd/system" });
    let path = folder.join(&unit.name);
    if unit.mask {
        make_parents(&path)?;
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => SetupError::writing(&path, other)?,
        }
        return SetupError::writing(&path, symlink("/dev/null", &path));
    }
    let replace = |path: &Path, text: &str| {
        make_parents(path)?;
        SetupError::writing(path, crate::setup::etc::replace(path, text.as_bytes(), 0o644))
    };
    if let Some(content) = &unit.content {
        replace(&path, content)?;
    }
    for drop_in in &unit.drop_ins {
        replace(&folder.join(format!("{}.d", unit.name)).join(&drop_in.name), &drop_in.content)?;
    }
    Ok(())
}

fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

fn make_parents(path: &Path) -> Result<(), SetupError> {
    path.parent().map_or(Ok(()), |parent| SetupError::creating(parent, fs::create_dir_all(parent)))
}

#[cfg(test)]
#[path = "apply_test.rs"]
mod tests;
