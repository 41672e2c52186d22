//! Keys that are fetched when the machine runs: which, for the service that fetches them, and those
//! that it fetched in an earlier boot, laid where sshd reads them before any unit starts. So a
//! machine that was reached by such a key is reached without the network that the key came from.

use super::{AUTHORIZED_KEYS, apply};
use crate::setup::{SetupError, etc};
use cloudconfig::User;
use cloudconfig::import::{self, Import};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What is to be fetched; the service is not started without.
const WANTED: &str = "run/slipway/ssh-imports";
/// What was fetched, a file a user.
const KEPT: &str = "var/lib/slipway/imported-keys";

/// The files of imports below a root.
#[derive(Debug, Clone)]
pub struct Imports {
    root: PathBuf,
}

impl Imports {
    /// Those of a machine whose root is here.
    pub fn at(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Notes what is wanted, and lays out what is kept.
    pub(super) fn install(&self, users: &[User]) -> Result<(), SetupError> {
        let wanted = users.iter().flat_map(|user| user.imports.iter().map(|one| (user.name.as_str(), one)));
        let text = import::write(wanted);
        if text.is_empty() {
            return Ok(());
        }
        for user in users.iter().filter(|user| !user.imports.is_empty()) {
            let kept = self.kept(&user.name)?;
            if !kept.is_empty() {
                self.lay(&user.name, &kept)?;
            }
        }
        // A URL may hold a password.
        replace(&self.root.join(WANTED), text.as_bytes(), 0o600)
    }

    /// Users and where their keys come from.
    ///
    /// # Errors
    /// [`SetupError::File`].
    pub fn wanted(&self) -> Result<Vec<(String, Import)>, SetupError> {
        let text = read(&self.root.join(WANTED))?;
        Ok(import::parse(&String::from_utf8_lossy(&text)))
    }

    /// What was kept for a user; empty when nothing was.
    ///
    /// # Errors
    /// [`SetupError::File`].
    pub fn kept(&self, user: &str) -> Result<Vec<u8>, SetupError> {
        read(&self.root.join(KEPT).join(user))
    }

    /// Keeps a user's keys, a text in the form of `authorized_keys`, and lays them where sshd reads
    /// them.
    ///
    /// # Errors
    /// [`SetupError::File`].
    pub fn keep(&self, user: &str, text: &str) -> Result<(), SetupError> {
        self.lay(user, text.as_bytes())?;
        replace(&self.root.join(KEPT).join(user), text.as_bytes(), 0o600)
    }

    fn lay(&self, user: &str, text: &[u8]) -> Result<(), SetupError> {
        let folder = self.root.join(AUTHORIZED_KEYS.trim_start_matches('/')).join(format!("{user}.d"));
        replace(&folder.join("imported"), text, 0o644)
    }
}

fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), SetupError> {
    apply::make_parents(path)?;
    SetupError::writing(path, etc::replace(path, bytes, mode))
}

fn read(path: &Path) -> Result<Vec<u8>, SetupError> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => SetupError::reading(path, other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_is_laid_out_for_who_still_wants_it() {
        let text =
            "#cloud-config\nusers:\n  - name: core\n    coreos-ssh-import-github: octocat\n  - name: anna\n";
        let context =
            cloudconfig::Context { facts: &cloudconfig::Facts::default(), check_unit: &|_, _| Vec::new() };
        let users = cloudconfig::parse(text.as_bytes(), &context).unwrap().users;
        let root = tempfile::tempdir().unwrap();
        let imports = Imports::at(root.path());
        imports.install(&users[1..]).unwrap();
        assert!(imports.wanted().unwrap().is_empty());
        assert!(!root.path().join(WANTED).exists());
        imports.install(&users).unwrap();
        assert_eq!(imports.wanted().unwrap(), [("core".to_owned(), Import::GitHub("octocat".to_owned()))]);
        let laid = root.path().join("etc/ssh/authorized_keys.d/core.d/imported");
        assert!(!laid.exists());
        imports.keep("core", "a key\n").unwrap();
        assert_eq!(fs::read_to_string(&laid).unwrap(), "a key\n");
        // The next boot: /etc and /run are new.
        fs::remove_dir_all(root.path().join("etc")).unwrap();
        fs::remove_dir_all(root.path().join("run")).unwrap();
        imports.install(&users).unwrap();
        assert_eq!(fs::read_to_string(&laid).unwrap(), "a key\n");
    }
}
