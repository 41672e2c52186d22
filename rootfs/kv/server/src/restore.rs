//! A snapshot into the data directory of a new member (etcd: `etcdutl snapshot restore`).
//! The new cluster has its own ids and an empty log, so that no old member can take it for
//! its own. The directory is made beside its place, and gets its name when it is whole.

use std::fs::{self, DirBuilder, File};
use std::io::{self, BufReader, Read, Seek as _, SeekFrom};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use kv_core::{Options, State};
use kv_log::disk::RealDisk;
use kv_log::{Log, LogId};
use sha2::{Digest as _, Sha256};

use crate::error::Error;
use crate::flags::{self, Flags, Wanted};
use crate::machine::{BEGINNING, Machine};
use crate::server;

/// Flags of etcdutl's restore that say which member of which cluster it will be.
const MEMBER_FLAGS: &[&str] =
    &["name", "data-dir", "initial-cluster", "initial-cluster-token", "initial-advertise-peer-urls"];
/// A snapshot is filled up to whole sectors; the SHA-256 of all that is behind it.
const SECTOR_BYTES: u64 = 512;
const HASH_BYTES: u64 = 32;

/// What is wrong with the command line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// Not `restore`.
    #[error("{0:?} is not served: kv snapshot has restore alone (etcdctl saves snapshots)")]
    Verb(String),
    /// No file, or two.
    #[error("name one snapshot file")]
    File,
    /// etcdutl asks for both, too.
    #[error("--mark-compacted needs --bump-revision")]
    MarkWithoutBump,
    /// A flag of the member's.
    #[error(transparent)]
    Flag(#[from] flags::Wrong),
}

/// A restore that can be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restore {
    file: PathBuf,
    flags: Flags,
    skip_hash_check: bool,
    bump_revision: u32,
    mark_compacted: bool,
}

/// What is in the new data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The store's revision.
    pub revision: i64,
    /// Live keys.
    pub keys: u64,
}

/// Reads the words behind `snapshot`.
///
/// # Errors
/// [`Wrong`]; the program ends with 2 then.
pub fn parse(words: &[String]) -> Result<Restore, Wrong> {
    let (verb, words) = words.split_first().ok_or_else(|| Wrong::Verb(String::new()))?;
    if verb != "restore" {
        return Err(Wrong::Verb(verb.clone()));
    }
    let mut member = Vec::new();
    let (mut file, mut skip_hash_check, mut bump_revision, mut mark_compacted) = (None, false, 0, false);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let Some(flag) = word.strip_prefix("--") else {
            if file.replace(PathBuf::from(word)).is_some() {
                return Err(Wrong::File);
            }
            continue;
        };
        let (flag, given) =
            flag.split_once('=').map_or((flag, None), |(flag, value)| (flag, Some(value.to_owned())));
        match flag {
            "skip-hash-check" => skip_hash_check = given.as_deref() != Some("false"),
            "mark-compacted" => mark_compacted = given.as_deref() != Some("false"),
            "bump-revision" => {
                let value = given.or_else(|| words.next().cloned()).unwrap_or_default();
                bump_revision = value.parse().map_err(|_| flags::Wrong::Value {
                    flag: "bump-revision",
                    value,
                    why: "it must be a number of revisions up to 4294967295",
                })?;
            }
            _ if MEMBER_FLAGS.contains(&flag) => {
                let value = given.or_else(|| words.next().cloned());
                let value = value.ok_or_else(|| flags::Wrong::Valueless(flag.to_owned()))?;
                member.push(format!("--{flag}={value}"));
            }
            _ => return Err(flags::Wrong::Unknown(flag.to_owned()).into()),
        }
    }
    if mark_compacted && bump_revision == 0 {
        return Err(Wrong::MarkWithoutBump);
    }
    let file = file.ok_or(Wrong::File)?;
    let Wanted::Serve(flags) = flags::parse(member, [])? else { return Err(Wrong::File) };
    Ok(Restore { file, flags: *flags, skip_hash_check, bump_revision, mark_compacted })
}

fn failed(doing: &str, path: &Path) -> impl FnOnce(io::Error) -> Error + use<> {
    let doing = format!("{doing} {}", path.display());
    move |source| Error::Io { doing, source }
}

impl Restore {
    /// Does it.
    ///
    /// # Errors
    /// [`Error::Snapshot`], [`Error::NotEmpty`], [`Error::Core`] for a damaged snapshot, [`Error::Io`];
    /// the data directory is then as it was.
    pub fn run(&self) -> Result<Restored, Error> {
        let folder = &self.flags.data_dir;
        match fs::read_dir(folder).map(|mut entries| entries.next().is_some()) {
            Ok(true) => return Err(Error::NotEmpty { path: folder.clone() }),
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("read", folder)(error));
            }
            _ => {}
        }
        let mut file = self.checked()?;
        let mut part = folder.as_os_str().to_owned();
        part.push(".restoring");
        let part = PathBuf::from(part);
        remove(&part)?;
        let restored = self.fill(&part, &mut file);
        if restored.is_err() {
            remove(&part)?;
        }
        let restored = restored?;
        // An empty directory of that name gives way.
        fs::rename(&part, folder).map_err(failed("put in place", &part))?;
        let above = match folder.parent() {
            Some(above) if !above.as_os_str().is_empty() => above,
            _ => Path::new("."),
        };
        File::open(above).and_then(|above| above.sync_all()).map_err(failed("sync", above))?;
        Ok(restored)
    }

    /// The snapshot, if its checksum is right.
    fn checked(&self) -> Result<impl Read, Error> {
        let wrong = |what| Error::Snapshot { path: self.file.clone(), what };
        let mut file = File::open(&self.file).map_err(failed("open", &self.file))?;
        let length = file.metadata().map_err(failed("read", &self.file))?.len();
        let mut data = length;
        if length % SECTOR_BYTES == HASH_BYTES {
            data = length - HASH_BYTES;
        } else if !self.skip_hash_check {
            return Err(wrong("it has no checksum at its end; --skip-hash-check restores it all the same"));
        }
        if !self.skip_hash_check {
            let mut hash = Sha256::new();
            let mut expected = Vec::new();
            let copied = io::copy(&mut (&mut file).take(data), &mut Hasher(&mut hash));
            copied.and_then(|_| file.read_to_end(&mut expected)).map_err(failed("read", &self.file))?;
            if hash.finalize()[..] != expected[..] {
                return Err(wrong("its checksum is not that of its content: save it again"));
            }
        }
        file.seek(SeekFrom::Start(0)).map_err(failed("read", &self.file))?;
        Ok(BufReader::new(file.take(data)))
    }

    fn fill(&self, folder: &Path, snapshot: &mut impl Read) -> Result<Restored, Error> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(failed("create", folder))?;
        let mut state = State::restore_file(&folder.join("db"), Options::default(), snapshot)?;
        let identity = server::found(&self.flags)?;
        Machine::begin_cluster(&mut state, &identity.founders, self.bump_revision, self.mark_compacted)?;
        let options = kv_log::Options::new(identity.cluster);
        let (log, _) = Log::open(RealDisk, &folder.join("log"), options)?;
        log.purge(LogId { term: BEGINNING.term, node: 0, index: BEGINNING.index })?;
        identity.keep(folder)?;
        Ok(Restored { revision: state.revision(), keys: state.sizes()?.keys })
    }
}

fn remove(folder: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", folder)(error)),
        _ => Ok(()),
    }
}

struct Hasher<'a>(&'a mut Sha256);

impl io::Write for Hasher<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &str) -> Result<Restore, Wrong> {
        parse(&words.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn the_command_line_is_etcdutls() {
        let restore =
            read("restore f --data-dir d --name=n --bump-revision 1000 --mark-compacted --skip-hash-check")
                .unwrap();
        assert_eq!((restore.file.to_str(), restore.flags.name.as_str()), (Some("f"), "n"));
        assert_eq!(
            (restore.bump_revision, restore.mark_compacted, restore.skip_hash_check),
            (1000, true, true)
        );
        for (words, reason) in [
            ("", "\"\" is not served"),
            ("status f", "\"status\" is not served"),
            ("restore", "name one snapshot file"),
            ("restore a b", "name one snapshot file"),
            ("restore a --wal-dir w", "flag --wal-dir is not served"),
            ("restore a --listen-client-urls http://127.0.0.1:1", "flag --listen-client-urls is not served"),
            ("restore a --name", "flag --name needs a value"),
            ("restore a --bump-revision x", "a number of revisions"),
            ("restore a --mark-compacted", "needs --bump-revision"),
        ] {
            let error = read(words).unwrap_err().to_string();
            assert!(error.contains(reason), "{words}: {error}");
        }
    }
}
