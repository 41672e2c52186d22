//! Whether anything changed since the last build, by what `stat(2)` says of every path that the
//! build looked at. Only a hint to save work: with any doubt the image is built.

use crate::inputs::cache::{Cache, hash_of};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What tells two states of a file apart: inode, size, modification and change time in nanoseconds.
type Stat = (u64, u64, i128, i128);

fn stat(path: &Path) -> Option<Stat> {
    Some(state(&fs::symlink_metadata(path).ok()?))
}

fn state(meta: &Metadata) -> Stat {
    let time = |seconds: i64, nanos: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    (meta.ino(), meta.size(), time(meta.mtime(), meta.mtime_nsec()), time(meta.ctime(), meta.ctime_nsec()))
}

/// The paths that a build looked at, each with its state at that time.
#[derive(Debug, Default)]
pub struct Seen(RefCell<BTreeMap<PathBuf, Option<Stat>>>);

impl Seen {
    /// Notes a path; a symbolic link and what it leads to are two.
    pub fn add(&self, path: &Path) {
        let mut seen = self.0.borrow_mut();
        if let Ok(real) = fs::canonicalize(path)
            && real != path
        {
            let state = stat(&real);
            seen.entry(real).or_insert(state);
        }
        seen.entry(path.to_owned()).or_insert_with(|| stat(path));
    }

    /// Notes a canonical path of which lstat(2) says `meta`.
    pub fn add_known(&self, path: PathBuf, meta: &Metadata) {
        self.0.borrow_mut().entry(path).or_insert_with(|| Some(state(meta)));
    }

    /// Both together.
    #[must_use]
    pub fn joined(self, other: Self) -> Self {
        let mut all = self.0.into_inner();
        all.extend(other.0.into_inner());
        Self(RefCell::new(all))
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    /// What was asked for, beside the spec's own text.
    request: String,
    inputs: Vec<(PathBuf, Option<Stat>)>,
    outputs: Vec<(PathBuf, Option<Stat>)>,
    manifest: serde_json::Value,
}

/// Where the last build of a spec into a folder is remembered.
#[derive(Debug)]
pub struct Memory {
    file: PathBuf,
    request: String,
}

impl Memory {
    /// The memory of builds of `spec` into `folder` with these options.
    ///
    /// # Errors
    /// The folders cannot be resolved.
    pub fn new(cache: &Cache, spec: &Path, folder: &Path, options: &str) -> io::Result<Self> {
        let mut key = fs::canonicalize(spec)?.into_os_string();
        key.push("\0");
        key.push(fs::canonicalize(folder)?);
        let name = hash_of(key.as_bytes())?.0;
        Ok(Self { file: cache.folder("builds").join(format!("{name}.json")), request: options.to_owned() })
    }

    /// The manifest of the last build, when nothing changed since.
    pub fn unchanged(&self) -> Option<serde_json::Value> {
        let record: Record = serde_json::from_slice(&fs::read(&self.file).ok()?).ok()?;
        let same = |list: &[(PathBuf, Option<Stat>)]| {
            list.iter().all(|(path, before)| before.is_some() && stat(path) == *before)
        };
        let fits = record.request == self.request && same(&record.inputs) && same(&record.outputs);
        fits.then_some(record.manifest)
    }

    /// Remembers a build that started at `start`. When an input changed about that time, a
    /// later change could have the same stamps, so then nothing is remembered.
    ///
    /// # Errors
    /// The memory cannot be written.
    pub fn keep(
        &self,
        start: SystemTime,
        seen: Seen,
        outputs: &[PathBuf],
        manifest: serde_json::Value,
    ) -> io::Result<()> {
        let since =
            start.duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(Duration::from_millis(20));
        let inputs: Vec<_> = seen.0.into_inner().into_iter().collect();
        let young =
            |state: &Option<Stat>| state.is_none_or(|stat| stat.2.max(stat.3) >= since.as_nanos() as i128);
        if inputs.iter().any(|(_, state)| young(state)) {
            return Ok(());
        }
        let outputs = outputs.iter().map(|path| (path.clone(), stat(path))).collect();
        let record = Record { request: self.request.clone(), inputs, outputs, manifest };
        let folder = self.file.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(&serde_json::to_vec(&record)?)?;
        file.persist(&self.file).map_err(|error| error.error)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_input_or_output_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let cache = Cache::open(&at("cache")).unwrap();
        for name in ["spec", "input", "output"] {
            fs::write(at(name), name).unwrap();
        }
        let memory = Memory::new(&cache, &at("spec"), folder.path(), "raw").unwrap();
        let keep = |start| {
            let seen = Seen::default();
            seen.add(&at("input"));
            memory.keep(start, seen, &[at("output")], serde_json::json!({"a": 1})).unwrap();
        };
        // An input as young as the build cannot be told from one changed right after it.
        keep(SystemTime::now() - Duration::from_mins(1));
        assert_eq!(memory.unchanged(), None);
        keep(SystemTime::now() + Duration::from_mins(1));
        assert_eq!(memory.unchanged(), Some(serde_json::json!({"a": 1})));
        let other = Memory::new(&cache, &at("spec"), folder.path(), "raw,qcow2").unwrap();
        assert_eq!(other.unchanged(), None);
        fs::write(at("output"), "longer than before").unwrap();
        assert_eq!(memory.unchanged(), None);
        keep(SystemTime::now() + Duration::from_mins(1));
        assert!(memory.unchanged().is_some());
        fs::write(at("input"), "1nput").unwrap();
        assert_eq!(memory.unchanged(), None);
    }
}
