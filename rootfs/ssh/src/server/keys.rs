//! Finding a user's keys in files that only those may have written who could log in anyway.

use crate::account::Account;
use crate::authorized::{self, Authorized};
use crate::config::Config;
use nix::libc::{O_NOFOLLOW, O_NONBLOCK};
use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The most files of one drop-in folder that are read.
const FILES_MAX: usize = 256;

/// A user's keys, and what is wrong with the files, for the journal. A file that is missing is fine.
pub(super) fn find(root: &Path, config: &Config, account: &Account) -> (Vec<Authorized>, Vec<String>) {
    let mut keys = Vec::new();
    let mut faults = Vec::new();
    for pattern in &config.authorized_keys {
        let path = expand(pattern, account);
        let files = match path.strip_suffix("/*") {
            Some(folder) => files(&root.join(folder.trim_start_matches('/'))),
            None => vec![root.join(path.trim_start_matches('/'))],
        };
        for file in files {
            match read(&file, account.uid) {
                Ok((text, trusted)) => {
                    let (good, bad) = authorized::parse(&text, trusted);
                    keys.extend(good);
                    faults.extend(
                        bad.iter().map(|(line, error)| format!("{}: line {line}: {error}", file.display())),
                    );
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => faults.push(format!("{}: {error}", file.display())),
            }
        }
    }
    (keys, faults)
}

/// `%u`, `%h`, `%%`; what does not begin with `/` is in the home folder (`sshd_config`(5)).
fn expand(pattern: &str, account: &Account) -> String {
    let mut path = String::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match (c, c == '%') {
            (_, true) => match chars.next() {
                Some('u') => path += &account.name,
                Some('h') => path += &account.home,
                Some(other) => path.push(other),
                None => {}
            },
            (c, false) => path.push(c),
        }
    }
    if path.starts_with('/') { path } else { format!("{}/{path}", account.home) }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return vec![] };
    let hidden = |path: &Path| path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
    let paths = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let mut paths: Vec<PathBuf> = paths.filter(|path| !hidden(path)).take(FILES_MAX).collect();
    paths.sort();
    paths
}

/// A file's text, and whether only root can have written it. The user's own is read too, when
/// nobody else can have written it; its folders are the user's own affair.
fn read(path: &Path, uid: u32) -> io::Result<(String, bool)> {
    // Not through a link, and without waiting for whoever opens the other end of a FIFO.
    let file = OpenOptions::new().read(true).custom_flags(O_NOFOLLOW | O_NONBLOCK).open(path)?;
    let about = file.metadata()?;
    let refused = |why: &str| Err(io::Error::new(io::ErrorKind::PermissionDenied, why.to_owned()));
    if !about.is_file() {
        return refused("it is not a file");
    }
    if about.mode() & 0o022 != 0 {
        return refused("others can write it");
    }
    if about.uid() != 0 && about.uid() != uid {
        return refused("it belongs to somebody else");
    }
    let mut text = String::new();
    file.take(authorized::SIZE_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > authorized::SIZE_MAX {
        return refused("it is too large");
    }
    Ok((text, about.uid() == 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ\n";

    fn account() -> Account {
        Account { name: "core".into(), uid: 500, gid: 500, home: "/home/core".into(), shell: String::new() }
    }

    #[test]
    fn the_file_the_folder_and_the_home() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        fs::create_dir_all(at("etc/ssh/authorized_keys.d/core.d")).unwrap();
        fs::create_dir_all(at("home/core/.ssh")).unwrap();
        fs::write(at("etc/ssh/authorized_keys.d/core"), KEY).unwrap();
        fs::write(at("etc/ssh/authorized_keys.d/core.d/b"), format!("no-pty {KEY}x\n")).unwrap();
        fs::write(at("etc/ssh/authorized_keys.d/core.d/.a"), "hidden").unwrap();
        fs::write(at("home/core/.ssh/authorized_keys"), format!("environment=\"A=b\" {KEY}{KEY}")).unwrap();
        chown(at("home/core/.ssh/authorized_keys"), Some(500), None).expect("run as root");
        let mut config = Config::default();
        let (keys, faults) = find(root.path(), &config, &account());
        assert_eq!((keys.len(), keys[1].grant.pty), (2, false));
        assert!(faults.len() == 1 && faults[0].ends_with("core.d/b: line 2: no public key"), "{faults:?}");
        config.authorized_keys = vec![".ssh/authorized_keys".to_owned()];
        let (keys, faults) = find(root.path(), &config, &account());
        assert_eq!((keys.len(), faults.len()), (1, 1), "{faults:?}");
        assert!(find(root.path(), &config, &Account { home: "/none".into(), ..account() }).0.is_empty());
    }

    #[test]
    fn files_that_others_could_have_written_are_not_read() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("etc/ssh/authorized_keys.d");
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("core");
        let faults = || find(root.path(), &Config::default(), &account()).1.join("");
        fs::write(&file, KEY).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o664)).unwrap();
        assert!(faults().ends_with("others can write it"));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        chown(&file, Some(501), None).expect("run as root");
        assert!(faults().ends_with("it belongs to somebody else"));
        fs::remove_file(&file).unwrap();
        symlink("/etc/passwd", &file).unwrap();
        assert!(!faults().is_empty());
        fs::remove_file(&file).unwrap();
        nix::unistd::mkfifo(&file, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
        assert!(faults().ends_with("it is not a file"));
    }
}
