//! The machine's own keys: made at the first start, kept on STATE in OpenSSH's form.

use crate::config::HostKey;
use nix::fcntl::{AT_FDCWD, OFlag, RenameFlags, open, renameat2};
use russh::keys::PrivateKey;
use russh::keys::ssh_key::{Algorithm, EcdsaCurve, LineEnding};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum HostKeyError {
    /// Reading or writing failed.
    #[error("{path}: {error}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A key that others can read is none.
    #[error("{path} has mode {mode:o}, others can read it; not used", path = path.display())]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// Not a key, or not of its name's kind.
    #[error("{path}: {why}", path = path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

/// The keys of `kinds` in `folder`; those that are missing are made. What was made is told too.
///
/// # Errors
/// See [`HostKeyError`]. A key that is damaged is never replaced: clients know it.
pub fn load(folder: &Path, kinds: &[HostKey]) -> Result<Vec<(PrivateKey, bool)>, HostKeyError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| HostKeyError::Io { path: folder.to_owned(), error })?;
    kinds.iter().map(|kind| one(folder, *kind)).collect()
}

fn one(folder: &Path, kind: HostKey) -> Result<(PrivateKey, bool), HostKeyError> {
    let (name, algorithm) = match kind {
        HostKey::Ed25519 => ("ssh_host_ed25519_key", Algorithm::Ed25519),
        HostKey::EcdsaP256 => ("ssh_host_ecdsa_key", Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 }),
    };
    let path = folder.join(name);
    let fail = |error| HostKeyError::Io { path: path.clone(), error };
    let form = |why: String| HostKeyError::Form { path: path.clone(), why };
    match fs::read_to_string(&path) {
        Ok(text) => {
            let mode = fs::metadata(&path).map_err(fail)?.mode() & 0o777;
            if mode & 0o077 != 0 {
                return Err(HostKeyError::Mode { path, mode });
            }
            let key = PrivateKey::from_openssh(&text).map_err(|error| form(error.to_string()))?;
            if key.algorithm() != algorithm {
                return Err(form(format!("it is a key of the kind {}", key.algorithm())));
            }
            Ok((key, false))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let key = PrivateKey::random(&mut russh::keys::key::safe_rng(), algorithm)
                .map_err(|error| form(error.to_string()))?;
            let text = key.to_openssh(LineEnding::LF).map_err(|error| form(error.to_string()))?;
            let public = key.public_key().to_openssh().map_err(|error| form(error.to_string()))?;
            write(folder, &format!("{name}.pub"), format!("{public}\n").as_bytes(), 0o644, true)
                .map_err(fail)?;
            write(folder, name, text.as_bytes(), 0o600, false).map_err(fail)?;
            Ok((key, true))
        }
        Err(error) => Err(fail(error)),
    }
}

/// Writes a file whole, on disk, or not at all.
fn write(folder: &Path, name: &str, content: &[u8], mode: u32, replace: bool) -> io::Result<()> {
    let (new, path) = (folder.join(format!(".{name}.new")), folder.join(name));
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&new)?;
    file.write_all(content)?;
    file.sync_all()?;
    let flags = if replace { RenameFlags::empty() } else { RenameFlags::RENAME_NOREPLACE };
    renameat2(AT_FDCWD, &new, AT_FDCWD, &path, flags)?;
    let folder =
        open(folder, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, nix::sys::stat::Mode::empty())?;
    File::from(folder).sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn keys_are_made_once_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("lib/ssh");
        let kinds = [HostKey::Ed25519, HostKey::EcdsaP256];
        let first = load(&folder, &kinds).unwrap();
        assert!(first.iter().all(|(_, made)| *made));
        let second = load(&folder, &kinds).unwrap();
        for ((a, _), (b, made)) in first.iter().zip(&second) {
            assert!(!made && a.public_key() == b.public_key());
        }
        let path = folder.join("ssh_host_ed25519_key");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        // ssh-keygen derives the same public key.
        let run = std::process::Command::new("ssh-keygen").arg("-yf").arg(&path).output();
        let derived = run.expect("apt-get install openssh-client").stdout;
        let derived = String::from_utf8(derived).unwrap();
        assert_eq!(
            derived.trim(),
            fs::read_to_string(folder.join("ssh_host_ed25519_key.pub")).unwrap().trim()
        );
    }

    #[test]
    fn a_key_that_is_damaged_or_open_is_refused_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        load(folder.path(), &[HostKey::Ed25519]).unwrap();
        let path = folder.path().join("ssh_host_ed25519_key");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(
            load(folder.path(), &[HostKey::Ed25519]),
            Err(HostKeyError::Mode { mode: 0o640, .. })
        ));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "nonsense").unwrap();
        assert!(matches!(load(folder.path(), &[HostKey::Ed25519]), Err(HostKeyError::Form { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "nonsense");
    }
}
