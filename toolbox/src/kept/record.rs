//! What is written down of a box: `box.json` for good, and how to join it while it runs.

use super::BoxError;
use crate::namespace::Namespace;
use crate::plan::Ids;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use toolbox_store::ImageId;

/// The largest record that is read.
const LARGEST: u64 = 1 << 20;
/// What this program reads and writes.
pub const FORMAT: u32 = 1;

/// `box.json`: how a box was made. It does not change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// 1.
    pub format: u32,
    /// What `--from` said, with paths made absolute.
    pub source: String,
    /// The image in the store, when it is there.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub image: Option<ImageId>,
    /// The options as they were given, `--from` left out.
    pub options: Vec<String>,
    /// Whose it is.
    pub uid: u32,
    /// The ids that its layer's files have, when they are not the host's.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ids: Option<Ids>,
    /// Its layer's marks are those of a user namespace (`userxattr`).
    pub user_marks: bool,
    /// When it was made, seconds since 1970.
    pub created: u64,
}

/// In the box's `lock` file: the box's first process, and what is needed to join it. It is believed only while the box's
/// lock says that it runs, and while all of it is so.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Running {
    /// The machine's boot, as of `/proc/sys/kernel/random/boot_id`.
    pub boot: String,
    /// The pid namespace in which the numbers are meant.
    pub pid_namespace: u64,
    /// The box's first process.
    pub pid: i32,
    /// Its start, in clock ticks since the boot: field 22 of `proc_pid_stat(5)`.
    pub start_ticks: u64,
    /// The process that ends it.
    pub keeper: u32,
    /// Namespaces of the box's own.
    pub namespaces: Vec<Namespace>,
    /// Its cgroup.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cgroup: Option<PathBuf>,
}

/// Why a running box is not what was written down.
#[derive(Debug, thiserror::Error)]
pub enum Mismatch {
    /// Of an earlier boot.
    #[error("its record is of another boot of the machine")]
    Boot,
    /// Another container's numbers.
    #[error("it was started in another pid namespace, from where alone it can be entered")]
    PidNamespace,
    /// The number is another's by now.
    #[error("process {0} is not the one that was started")]
    Process(i32),
    /// It cannot be looked at.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl Running {
    /// Of a child of this process, and of this process as its keeper.
    ///
    /// # Errors
    /// procfs is not there.
    pub fn of(pid: i32, namespaces: &[Namespace], cgroup: Option<&Path>) -> io::Result<Self> {
        Ok(Self {
            boot: boot()?,
            pid_namespace: pid_namespace()?,
            pid,
            start_ticks: start_ticks(pid)?,
            keeper: std::process::id(),
            namespaces: namespaces.to_vec(),
            cgroup: cgroup.map(Path::to_owned),
        })
    }

    /// A descriptor of the very process (`pidfd_open(2)`).
    ///
    /// # Errors
    /// It is not that process; nothing is done by its number alone.
    pub fn open(&self) -> Result<OwnedFd, Mismatch> {
        if self.boot != boot()? {
            return Err(Mismatch::Boot);
        }
        if self.pid_namespace != pid_namespace()? {
            return Err(Mismatch::PidNamespace);
        }
        let gone = |_| Mismatch::Process(self.pid);
        let process = sys::process::watch_exit(self.pid).map_err(gone)?;
        // The descriptor is of whoever has the number now; it keeps it if its start is the right one.
        if start_ticks(self.pid).map_err(gone)? != self.start_ticks {
            return Err(Mismatch::Process(self.pid));
        }
        Ok(process)
    }
}

fn boot() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

fn pid_namespace() -> io::Result<u64> {
    Ok(fs::metadata("/proc/self/ns/pid")?.ino())
}

/// The moment of a process's start, in ticks since the boot: field 22 of `/proc/PID/stat`, proc(5). Another process
/// that has its number by then has another.
///
/// # Errors
/// The process has ended.
pub fn start_ticks(pid: i32) -> io::Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name may have spaces and parentheses; the third field follows its last parenthesis.
    let field = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(19)?.parse().ok());
    field.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Writes a record as a whole: a temporary name, fsync(2), rename(2).
///
/// # Errors
/// [`BoxError::Io`].
pub fn write<T: Serialize>(folder: &Path, name: &str, record: &T) -> Result<(), BoxError> {
    let path = folder.join(name);
    let failed = BoxError::io("cannot write", &path);
    let new = folder.join(format!(".{name}.{}", std::process::id()));
    let put = || -> io::Result<()> {
        let text = serde_json::to_vec_pretty(record)?;
        // Of a process of this number that was killed.
        let _ = fs::remove_file(&new);
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        File::open(folder)?.sync_all()
    };
    put().map_err(|error| {
        // What failed is what is told.
        let _ = fs::remove_file(&new);
        failed(error)
    })
}

/// Reads a record.
///
/// # Errors
/// [`BoxError::Io`], [`BoxError::Record`].
pub fn read<T: DeserializeOwned>(folder: &Path, name: &str) -> Result<T, BoxError> {
    let path = folder.join(name);
    let mut text = Vec::new();
    File::open(&path)
        .and_then(|file| file.take(LARGEST).read_to_end(&mut text))
        .map_err(BoxError::io("cannot read", &path))?;
    serde_json::from_slice(&text).map_err(|source| BoxError::Record { path, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_more_than_its_number() {
        let own = Running::of(std::process::id() as i32, &[], None).unwrap();
        own.open().unwrap();
        let changed = |change: fn(&mut Running)| {
            let mut other = own.clone();
            change(&mut other);
            other.open().unwrap_err()
        };
        assert!(matches!(changed(|other| other.start_ticks += 1), Mismatch::Process(_)));
        assert!(matches!(changed(|other| other.pid = i32::MAX), Mismatch::Process(_)));
        assert!(matches!(changed(|other| other.boot.clear()), Mismatch::Boot));
        assert!(matches!(changed(|other| other.pid_namespace += 1), Mismatch::PidNamespace));
    }

    #[test]
    fn records_are_read_as_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        let own = Running::of(std::process::id() as i32, &[Namespace::Pid], Some(Path::new("/x"))).unwrap();
        write(folder.path(), "box.json", &own).unwrap();
        assert_eq!(read::<Running>(folder.path(), "box.json").unwrap(), own);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        fs::write(folder.path().join("box.json"), "{").unwrap();
        let error = read::<Running>(folder.path(), "box.json").unwrap_err();
        assert!(error.to_string().contains("box.json"), "{error}");
    }
}
