//! Who a member is: two ids, kept in a file of the data directory from its first
//! start on, with the members with which its cluster began (docs/FORMATS.md, "The
//! store's data directory"). They are computed as
//! etcd computes them, so that members that are started with the same flags agree
//! without having talked, but with SHA-256.

use std::collections::BTreeMap;
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
    /// The member's name. It may be another one with each start.
    pub name: String,
    /// The members with which the cluster began, and their peer addresses; empty for a member that
    /// joined later.
    pub founders: BTreeMap<u64, Vec<String>>,
}

/// A name and peer addresses, as `--initial-cluster` has them.
pub type Initial = BTreeMap<String, Vec<String>>;

/// The id of a member that begins with a cluster.
pub fn founder_id(peer_urls: &[String], token: &str) -> u64 {
    id(&[sorted(peer_urls).concat().as_bytes(), token.as_bytes()])
}

/// The id of a member that is added at a time, nanoseconds since 1970: another one each time.
pub fn added_id(peer_urls: &[String], cluster: u64, time_ns: u128) -> u64 {
    id(&[sorted(peer_urls).concat().as_bytes(), &cluster.to_be_bytes(), &time_ns.to_be_bytes()])
}

fn sorted(urls: &[String]) -> Vec<String> {
    let mut urls = urls.to_vec();
    urls.sort();
    urls
}

impl Identity {
    /// One of the members that begin a cluster: each computes the same.
    ///
    /// # Errors
    /// [`Error::Initial`]: it is not among them, two of them are the same.
    pub fn founder(name: &str, initial: &Initial, token: &str) -> Result<Self, Error> {
        let mut founders = BTreeMap::new();
        for (other, urls) in initial {
            if founders.insert(founder_id(urls, token), sorted(urls)).is_some() {
                return Err(Error::Initial(format!("{other} has the addresses of another member")));
            }
        }
        let Some(own) = initial.get(name) else {
            let why = format!("--initial-cluster has no member named {name} (--name)");
            return Err(Error::Initial(why));
        };
        let ids: Vec<u8> = founders.keys().flat_map(|id| id.to_be_bytes()).collect();
        Ok(Self { cluster: id(&[&ids]), member: founder_id(own, token), name: name.to_owned(), founders })
    }

    /// The identity that a data directory has.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Identity`].
    pub fn load(folder: &Path, name: &str) -> Result<Option<Self>, Error> {
        let path = folder.join(FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
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
        let mut founders = BTreeMap::new();
        for line in lines {
            let mut words =
                line.strip_prefix("founder ").ok_or_else(|| damaged("a line that is none"))?.split(' ');
            let id = words.next().and_then(|id| u64::from_str_radix(id, 16).ok());
            let id = id.ok_or_else(|| damaged("a founder without an id"))?;
            founders.insert(id, words.map(str::to_owned).collect());
        }
        Ok(Some(Self { cluster, member, name: name.to_owned(), founders }))
    }

    /// Writes the identity into a data directory, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn keep(&self, folder: &Path) -> Result<(), Error> {
        let doing = || format!("write {}", folder.join(FILE).display());
        keep(folder, self).map_err(|source| Error::Io { doing: doing(), source })
    }
}

const HEAD: &str = "slipway kv member 1";

/// Whole or not at all.
fn keep(folder: &Path, identity: &Identity) -> io::Result<()> {
    let beside = folder.join("member.new");
    let mut file = File::create(&beside)?;
    writeln!(file, "{HEAD}\ncluster {:016x}\nmember {:016x}", identity.cluster, identity.member)?;
    for (id, urls) in &identity.founders {
        writeln!(file, "founder {id:016x} {}", urls.join(" "))?;
    }
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

    fn initial() -> Initial {
        let urls = |port: u16| vec![format!("http://127.0.0.1:{port}")];
        BTreeMap::from([("a".to_owned(), urls(1)), ("b".to_owned(), urls(2))])
    }

    #[test]
    fn founders_agree_without_talking() {
        let a = Identity::founder("a", &initial(), "t").unwrap();
        let b = Identity::founder("b", &initial(), "t").unwrap();
        assert_eq!((a.cluster, &a.founders), (b.cluster, &b.founders));
        assert_ne!(a.member, b.member);
        assert!(a.founders.contains_key(&a.member) && a.founders.contains_key(&b.member));
        assert_ne!(Identity::founder("a", &initial(), "u").unwrap().cluster, a.cluster);
        assert!(
            Identity::founder("c", &initial(), "t").unwrap_err().to_string().contains("no member named c")
        );
        let urls = vec!["http://127.0.0.1:1".to_owned()];
        assert_ne!(added_id(&urls, 1, 1), added_id(&urls, 1, 2));
    }

    #[test]
    fn an_identity_is_kept_and_a_damaged_one_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Identity::load(folder.path(), "a").unwrap(), None);
        let first = Identity::founder("a", &initial(), "t").unwrap();
        first.keep(folder.path()).unwrap();
        assert_eq!(Identity::load(folder.path(), "a").unwrap(), Some(first.clone()));
        assert_eq!(Identity::load(folder.path(), "b").unwrap().unwrap().name, "b");
        let joined = Identity { founders: BTreeMap::new(), ..first };
        joined.keep(folder.path()).unwrap();
        assert_eq!(Identity::load(folder.path(), "a").unwrap(), Some(joined));
        fs::write(folder.path().join(FILE), "slipway kv member 1\ncluster 12\n").unwrap();
        let error = Identity::load(folder.path(), "a").unwrap_err();
        assert!(error.to_string().contains("no member id in line 3"), "{error}");
    }
}
