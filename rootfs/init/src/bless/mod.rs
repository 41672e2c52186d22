//! Blessing: the booted version is good, so its boot entry gets its full count of tries back.
//!
//! A boot reads a small part of its slot, and dm-verity checks what is read. So the whole slot is
//! read first: damage anywhere resets the machine (`panic_on_corruption`) before it is blessed.
//!
//! Boot counting is the Boot Loader Specification's (UAPI.1): `NAME+LEFT-DONE.efi`. Unlike its
//! automatic boot assessment, the counter is never dropped: every entry stays armed, so that a
//! version that was good for a month and then stops booting falls back too.

mod counter;
mod slot;

pub use counter::{BootCounter, EntryName};

use crate::stage1::CommandLine;
use crate::stage1::disk::{self, Disk};
use nix::sched::{CloneFlags, unshare};
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use sys::modules::ModuleError;
use sys::mount::{Flags, Mount, MountError};

/// Where the ESP is mounted for the moment it takes, seen by this process only.
const MOUNT_POINT: &str = "/efi";

/// Whether the slot is read before its version is blessed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// Every block of it.
    WholeSlot,
    /// What the boot has read; for a machine that is being switched off.
    BootOnly,
}

/// What [`run`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The machine was not started by a boot entry with a counter (a direct kernel boot).
    NotCounted,
    /// The entry has its full count already.
    Unchanged {
        /// File name of the entry.
        name: String,
    },
    /// The entry was renamed.
    Restored {
        /// Its name before.
        from: String,
        /// Its name now.
        to: String,
    },
}

impl fmt::Display for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotCounted => out.write_str("no boot entry was counted"),
            Self::Unchanged { name } => write!(out, "{name} has its full count"),
            Self::Restored { from, to } => write!(out, "{from} is {to} again"),
        }
    }
}

/// Why a boot was not blessed.
#[derive(Debug, thiserror::Error)]
pub enum BlessError {
    /// A variable of the boot loader cannot be read.
    #[error("cannot read EFI variable {name}: {cause}")]
    Variable {
        /// Its name.
        name: &'static str,
        /// Why.
        cause: io::Error,
    },
    /// The boot loader counted this start, but not in a form of UAPI.1.
    #[error("boot entry {0:?} has no counter of the form +LEFT-DONE")]
    Counter(String),
    /// No disk has the partition that the boot loader was started from.
    #[error("no partition {guid:?}, which the boot loader was started from")]
    NoPartition {
        /// Its unique GUID; empty when the boot loader did not say.
        guid: String,
    },
    /// The booted entry is gone.
    #[error("no entry {stem}+…{suffix} in {}", folder.display())]
    NoEntry {
        /// Where it was.
        folder: PathBuf,
        /// Its name before the counter.
        stem: String,
        /// Its name behind the counter.
        suffix: String,
    },
    /// The ESP's driver cannot be loaded.
    #[error(transparent)]
    Module(#[from] ModuleError),
    /// The ESP cannot be mounted or unmounted.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// The root is not on a block device.
    #[error("the root is not on a block device: {0}")]
    NoSlot(io::Error),
    /// The entry cannot be renamed, or something on the way to it cannot be read.
    #[error("cannot {verb} {}: {cause}", path.display())]
    File {
        /// What was tried.
        verb: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
}

impl BlessError {
    fn file(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |cause| Self::File { verb, path: path.to_owned(), cause }
    }
}

/// Gives the booted entry its full count of tries back, once its slot has proven itself.
///
/// To be called in a process of its own: it gets a mount namespace of its own.
///
/// # Errors
/// See [`BlessError`]. The entry then has its old name, or the new one if only unmounting failed.
pub fn run(proof: Proof) -> Result<Outcome, BlessError> {
    if proof == Proof::WholeSlot {
        slot::read_through()?;
    }
    let variable = |name: &'static str| {
        sys::efivar::read_loader(name).map_err(|cause| BlessError::Variable { name, cause })
    };
    let Some(counted) = variable("LoaderBootCountPath")? else { return Ok(Outcome::NotCounted) };
    let guid = variable("LoaderDevicePartUUID")?.unwrap_or_default();
    let path = Path::new("/proc/cmdline");
    let command_line = CommandLine::parse(&fs::read_to_string(path).map_err(BlessError::file("read", path))?);
    let (folder, entry) = split(&counted).ok_or_else(|| BlessError::Counter(counted.clone()))?;

    let mount_point = Path::new(MOUNT_POINT);
    let esp = esp(&guid)?;
    for module in ["vfat", "nls_cp437", "nls_ascii"] {
        sys::modules::load(module)?;
    }
    unshare(CloneFlags::CLONE_NEWNS)
        .map_err(|cause| BlessError::file("leave the mount namespace for", mount_point)(cause.into()))?;
    sys::mount::make_private()?;
    Mount::new(esp, mount_point, "vfat")
        .flags(Flags::MS_NOSUID | Flags::MS_NODEV | Flags::MS_NOEXEC)
        .options("iocharset=ascii,codepage=437,umask=0077")
        .mount()?;
    let outcome = rearm(&mount_point.join(folder), &entry, command_line.tries);
    let unmounted = sys::mount::unmount(mount_point);
    let outcome = outcome?;
    unmounted?;
    Ok(outcome)
}

/// Folder on the ESP and name of the entry, from `\EFI\Linux\NAME+LEFT-DONE.efi`.
fn split(counted: &str) -> Option<(String, EntryName)> {
    let path = counted.trim_start_matches('\\').replace('\\', "/");
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
    Some((folder.to_owned(), EntryName::parse(name)?))
}

fn esp(guid: &str) -> Result<PathBuf, BlessError> {
    let missing = || BlessError::NoPartition { guid: guid.to_owned() };
    let devices = disk::devices().map_err(BlessError::file("read", Path::new("/sys/block")))?;
    let disks = devices.iter().filter_map(|device| Disk::read(device).ok());
    let mut partitions = disks.flat_map(|disk| disk.partitions);
    let is_it = |it: &disk::Partition| it.entry.unique_guid.to_string().eq_ignore_ascii_case(guid);
    partitions.find(is_it).map(|it| it.device).ok_or_else(missing)
}

/// What to do with the entry, from the names in its folder. The name under which it was started
/// may be gone: blessing twice in one boot is allowed.
fn plan(names: &[String], booted: &EntryName, tries: u32) -> Option<Outcome> {
    let is_it = |name: &&String| {
        EntryName::parse(name)
            .is_some_and(|it| (it.stem, it.suffix) == (booted.stem.clone(), booted.suffix.clone()))
    };
    let from = names.iter().find(is_it)?;
    let to = booted.rearmed(tries).to_string();
    Some(if *from == to {
        Outcome::Unchanged { name: to }
    } else {
        Outcome::Restored { from: from.clone(), to }
    })
}

/// Renames the entry in `folder`, durably.
fn rearm(folder: &Path, booted: &EntryName, tries: u32) -> Result<Outcome, BlessError> {
    let entries = fs::read_dir(folder).map_err(BlessError::file("read", folder))?;
    let names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    let outcome = plan(&names, booted, tries).ok_or_else(|| BlessError::NoEntry {
        folder: folder.to_owned(),
        stem: booted.stem.clone(),
        suffix: booted.suffix.clone(),
    })?;
    if let Outcome::Restored { from, to } = &outcome {
        let path = folder.join(from);
        fs::rename(&path, folder.join(to)).map_err(BlessError::file("rename", &path))?;
        let sync = || nix::unistd::syncfs(File::open(folder)?).map_err(io::Error::from);
        sync().map_err(BlessError::file("sync", folder))?;
    }
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(names: &[&str]) -> Option<Outcome> {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        plan(&names, &EntryName::parse("s_1.2.0+2-1.efi").unwrap(), 3)
    }

    #[test]
    fn the_booted_entry_gets_its_tries_back() {
        let restored =
            |from: &str| Some(Outcome::Restored { from: from.to_owned(), to: "s_1.2.0+3.efi".to_owned() });
        assert_eq!(outcome(&["s_1.1.0+3.efi", "s_1.2.0+2-1.efi"]), restored("s_1.2.0+2-1.efi"));
        assert_eq!(outcome(&["s_1.2.0+0-4.efi"]), restored("s_1.2.0+0-4.efi"));
    }

    #[test]
    fn blessing_twice_changes_nothing() {
        assert_eq!(
            outcome(&["s_1.2.0+3.efi"]),
            Some(Outcome::Unchanged { name: "s_1.2.0+3.efi".to_owned() })
        );
    }

    #[test]
    fn other_entries_are_left_alone() {
        assert_eq!(outcome(&["s_1.2.0.efi", "s_1.1.0+2-1.efi", "s_1.2.0+2-1.conf"]), None);
    }

    #[test]
    fn the_loaders_path_comes_apart() {
        let (folder, entry) = split(r"\EFI\Linux\s_1.2.0+2-1.efi").unwrap();
        assert_eq!((folder.as_str(), entry.to_string().as_str()), ("EFI/Linux", "s_1.2.0+2-1.efi"));
        assert_eq!(split(r"\EFI\Linux\s.efi"), None);
    }

    #[test]
    fn renaming_is_seen_in_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("s+1-2.efi"), "uki").unwrap();
        let booted = EntryName::parse("s+1-2.efi").unwrap();
        let first = rearm(folder.path(), &booted, 3).unwrap();
        assert_eq!(first, Outcome::Restored { from: "s+1-2.efi".to_owned(), to: "s+3.efi".to_owned() });
        assert_eq!(fs::read(folder.path().join("s+3.efi")).unwrap(), b"uki");
        assert_eq!(
            rearm(folder.path(), &booted, 3).unwrap(),
            Outcome::Unchanged { name: "s+3.efi".to_owned() }
        );
        fs::remove_file(folder.path().join("s+3.efi")).unwrap();
        assert!(matches!(rearm(folder.path(), &booted, 3), Err(BlessError::NoEntry { .. })));
    }
}
