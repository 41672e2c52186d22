//! Who a member is: two ids, kept in a file of the data directory from its first
//! start on (docs/FORMATS.md, "The store's data directory"). They are computed as
//! etcd computes them, so that members that are started with the same flags agree
//! without having talked, but with SHA-256.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::error::Error;

/// The file's name in the data directory.
pub const FILE: &str = "member";

/// Who a member is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster's id.
    pub cluster: u64,
    /// The member's id.
    pub member: u64,
    /// The member's name.
    pub name: String,
    /// Where its peers reach it.
    pub peer_urls: Vec<String>,
}

impl Identity {
    /// The first member of a cluster of one.
    pub fn of_one(name: &str, peer_urls: &[String], token: &str) -> Self {
        let mut urls = peer_urls.to_vec();
        urls.sort();
        let member = id(&[urls.concat().as_bytes(), token.as_bytes()]);
        let cluster = id(&[&member.to_be_bytes()]);
        Self { cluster, member, name: name.to_owned(), peer_urls: urls }
    }

    /// Reads the identity that a data directory has, or gives it `new`. The name and the addresses
    /// are those of `new` in any case: they may change.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Identity`].
    pub fn load_or_keep(folder: &Path, new: Self) -> Result<Self, Error> {
        let path = folder.join(FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                keep(folder, &new)
                    .map_err(|source| Error::Io { doing: format!("write {}", path.display()), source })?;
                return Ok(new);
            }
            Err(source) => return Err(Error::Io { doing: format!("read {}", path.display()), source }),
        };
        let damaged = |what| Error::Identity { path: path.clone(), what };
        let mut lines = text.lines();
        if lines.next() != Some(HEAD) {
            return Err(damaged("its first line is not that of format 1"));
        }
        let mut number = |name: &str| {
            let line = lines.next()?.strip_prefix(name)?;
            u64::from_str_radix(line, 16).ok()
        };
        let cluster = number("cluster ").ok_or_else(|| damaged("no cluster id in line 2"))?;
        let member = number("member ").ok_or_else(|| damaged("no member id in line 3"))?;
        Ok(Self { cluster, member, ..new })
    }
}

const HEAD: &str = "slipway kv member 1";

/// Whole or not at all.
fn keep(folder: &Path, identity: &Identity) -> io::Result<()> {
    let beside = folder.join("member.new");
    let mut file = File::create(&beside)?;
    writeln!(file, "{HEAD}\ncluster {:016x}\nmember {:016x}", identity.cluster, identity.member)?;
    file.sync_all()?;
    fs::rename(&beside, folder.join(FILE))?;
    File::open(folder)?.sync_all()
}

fn id(parts: &[&[u8]]) -> u64 {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&hash.finalize()[..8]);
    u64::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_kept_and_a_damaged_one_refused() {
        let folder = tempfile::tempdir().unwrap();
        let first = Identity::of_one("a", &["http://127.0.0.1:1".to_owned()], "t");
        let other = Identity::of_one("b", &["http://127.0.0.1:2".to_owned()], "t");
        assert_ne!(first.member, other.member);
        assert_eq!(Identity::load_or_keep(folder.path(), first.clone()).unwrap(), first);
        let again = Identity::load_or_keep(folder.path(), other).unwrap();
        assert_eq!((again.cluster, again.member, again.name.as_str()), (first.cluster, first.member, "b"));
        fs::write(folder.path().join(FILE), "slipway kv member 1\ncluster 12\n").unwrap();
        let error = Identity::load_or_keep(folder.path(), first).unwrap_err();
        assert!(error.to_string().contains("no member id in line 3"), "{error}");
    }
}
