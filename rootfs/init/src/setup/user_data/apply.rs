//! Writing what a plan asks for.

use crate::setup::SetupError;
use cloudconfig::accounts::{Accounts, Home};
use cloudconfig::{File, Generated, Script, Unit, User};
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

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
    let folder = below(root, &unit.folder());
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

/// Writes passwd, group and shadow below `root`.
pub(super) fn write_accounts(root: &Path, accounts: &Accounts) -> Result<(), SetupError> {
    let [passwd, group, shadow] = accounts.texts();
    for (path, text, mode) in
        [("/etc/passwd", passwd, 0o644), ("/etc/group", group, 0o644), ("/etc/shadow", shadow, 0o600)]
    {
        let path = below(root, path);
        make_parents(&path)?;
        SetupError::writing(&path, crate::setup::etc::replace(&path, text.as_bytes(), mode))?;
    }
    Ok(())
}

/// Makes a home, unless it is there. One that is root's is given to its user: a boot that was cut
/// short may have left it so.
pub(super) fn make_home(root: &Path, home: &Home) -> Result<(), SetupError> {
    let path = below(root, &home.path);
    make_parents(&path)?;
    match fs::create_dir(&path) {
        Ok(()) => SetupError::writing(&path, fs::set_permissions(&path, fs::Permissions::from_mode(0o700)))?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(cause) => return Err(SetupError::File { verb: "create", path, cause }),
    }
    // A link is not followed: it may be another user's, and lead anywhere.
    let found = SetupError::reading(&path, fs::symlink_metadata(&path))?;
    if !found.is_dir() || found.uid() == home.uid || found.uid() != 0 {
        return Ok(());
    }
    SetupError::writing(&path, chown(&path, Some(home.uid), Some(home.gid)))
}

/// Writes the keys with which a user may log in, where sshd reads them. They are root's, so that
/// nobody adds to them at run time.
pub(super) fn write_keys(root: &Path, user: &str, keys: &[String]) -> Result<(), SetupError> {
    let path = below(root, super::AUTHORIZED_KEYS).join(user);
    make_parents(&path)?;
    let text: String = keys.iter().map(|key| format!("{key}\n")).collect();
    SetupError::writing(&path, crate::setup::etc::replace(&path, text.as_bytes(), 0o644))
}

/// Writes the keys of all users that have any.
pub(super) fn write_all_keys(root: &Path, users: &[User]) -> Result<(), SetupError> {
    users
        .iter()
        .filter(|user| !user.keys.is_empty())
        .try_for_each(|user| write_keys(root, &user.name, &user.keys))
}

/// Writes a file that follows from other keys.
pub(super) fn write_generated(root: &Path, file: &Generated) -> Result<(), SetupError> {
    let path = below(root, &file.path);
    make_parents(&path)?;
    let before = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        other => SetupError::reading(&path, other)?,
    };
    SetupError::writing(&path, crate::setup::etc::replace(&path, file.render(&before).as_bytes(), 0o644))
}

/// Writes a script and the unit that runs it.
pub(super) fn write_script(root: &Path, script: &Script) -> Result<(), SetupError> {
    let unit = Path::new("/run/systemd/system").join(script.unit_name());
    for (path, text, mode) in [
        (script.path(), script.text.clone(), 0o700),
        (unit.to_string_lossy().into_owned(), script.unit(), 0o644),
    ] {
        let path = below(root, &path);
        make_parents(&path)?;
        SetupError::writing(&path, crate::setup::etc::replace(&path, text.as_bytes(), mode))?;
    }
    Ok(())
}

fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

pub(super) fn make_parents(path: &Path) -> Result<(), SetupError> {
    path.parent().map_or(Ok(()), |parent| SetupError::creating(parent, fs::create_dir_all(parent)))
}

#[cfg(test)]
#[path = "apply_test.rs"]
mod tests;
