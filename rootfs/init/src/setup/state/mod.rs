//! STATE: the one partition that is written to, mounted at /var.
//!
//! At first boot the partition grows to the disk's end and is formatted. What may be anyone's
//! data is never formatted: see [`decide`]. Cutting the power after any write leaves a STATE
//! that the next boot formats anew (it never held anything) or takes as it is.

mod decide;
mod format;
mod grow;

use super::{SetupError, StateOutcome};
use crate::stage1::disk::{Disk, Partition};
use decide::Action;
use formats::ext4::superblock;
use formats::gpt;
use formats::read_at::ReadAt;
use formats::tree::{Content, Entry, Kind, Tree};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use sys::mount::{Flags, Mount};

/// Label of the partition and of its file system.
const LABEL: &str = "STATE";
const MOUNT_POINT: &str = "/var";
/// Folders of /var with their modes: hier(7). The last four are where the slot's links lead.
const FOLDERS: [(&str, u16); 11] = [
    ("cache", 0o755),
    ("lib", 0o755),
    ("lib/slipway", 0o700),
    ("log", 0o755),
    ("log/journal", 0o755),
    ("spool", 0o755),
    ("tmp", 0o1777),
    ("home", 0o755),
    ("opt", 0o755),
    ("roothome", 0o700),
    ("srv", 0o755),
];

/// The machine's id in /var.
pub(super) const MACHINE_ID: &str = "lib/slipway/machine-id";
/// /var/run, hier(7).
const RUN: &str = "../run";

/// Why STATE cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The boot disk has no such partition.
    #[error("no partition {LABEL} of the /var type on {}", disk.display())]
    Missing {
        /// The boot disk.
        disk: PathBuf,
    },
    /// It holds something that is neither a file system nor an unfinished one. It is not
    /// formatted, for it may be data.
    #[error("{} holds no usable file system ({cause}) and no backup of one, but is not empty: left as it is", device.display())]
    Unknown {
        /// The partition.
        device: PathBuf,
        /// What is wrong with its superblock.
        cause: superblock::SuperblockReadError,
    },
    /// It cannot be read or written.
    #[error("cannot {verb} {}: {cause}", device.display())]
    Device {
        /// What was tried.
        verb: &'static str,
        /// The device.
        device: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// No file system of its size can be made.
    #[error("cannot format {}: {cause}", device.display())]
    Format {
        /// The partition.
        device: PathBuf,
        /// Why.
        cause: formats::ext4::Error,
    },
    /// The partition table cannot be grown.
    #[error("cannot grow the partition table of {}: {cause}", disk.display())]
    Table {
        /// The disk.
        disk: PathBuf,
        /// Why.
        cause: gpt::GrowError,
    },
}

impl StateError {
    fn device(verb: &'static str, device: &Path) -> impl FnOnce(io::Error) -> Self {
        move |cause| Self::Device { verb, device: device.to_owned(), cause }
    }
}

/// Makes STATE of the boot disk usable and mounts it at /var.
pub(super) fn set_up(disk: &Path, log: &mut dyn FnMut(&str)) -> Result<StateOutcome, SetupError> {
    grow::grow_partition(disk, log)?;
    let partition = find(&Disk::read(disk)?)?;
    let outcome = prepare(&partition.device, log)?;
    Mount::new(&partition.device, MOUNT_POINT, "ext4").flags(Flags::MS_NODEV).mount()?;
    let grown = grow::grow_file_system(Path::new(MOUNT_POINT), &partition.device)?;
    make_folders(Path::new(MOUNT_POINT))?;
    match (outcome, grown) {
        (StateOutcome::Kept, true) => {
            log("STATE: grown to the end of the disk");
            Ok(StateOutcome::Grown)
        }
        _ => Ok(outcome),
    }
}

fn find(disk: &Disk) -> Result<Partition, StateError> {
    let is_state = |it: &&Partition| it.entry.label == LABEL && it.entry.type_guid == gpt::VAR;
    let found = disk.partitions.iter().find(is_state).cloned();
    found.ok_or_else(|| StateError::Missing { disk: disk.device.clone() })
}

/// Makes the partition hold a file system that can be mounted.
fn prepare(device: &Path, log: &mut dyn FnMut(&str)) -> Result<StateOutcome, StateError> {
    let file =
        OpenOptions::new().read(true).write(true).open(device).map_err(StateError::device("open", device))?;
    let action = decide::decide(&file).map_err(StateError::device("read", device))?;
    match action {
        Action::Take { errors, unfinished } => {
            if errors {
                log("STATE: the kernel has met errors in this file system; back it up");
            }
            if unfinished {
                format::clear_marker(&file).map_err(StateError::device("write", device))?;
                return Ok(StateOutcome::Formatted);
            }
            Ok(StateOutcome::Kept)
        }
        Action::Format => {
            let id = new_machine_id().map_err(StateError::device("make a machine id for", device))?;
            format::format(&file, device, |created| content(&id, created))?;
            Ok(StateOutcome::Formatted)
        }
        Action::Restore(backup) => {
            log(&format!("STATE: superblock restored from its backup at byte {}", backup.offset));
            file.write_all_at(&backup.bytes, superblock::OFFSET)
                .and_then(|()| file.sync_all())
                .map_err(StateError::device("write", device))?;
            Ok(StateOutcome::Repaired)
        }
        Action::Refuse(cause) => Err(StateError::Unknown { device: device.to_owned(), cause }),
    }
}

/// What a new STATE has from the start, all of one time: its folders and the machine's id.
fn content(machine_id: &str, mtime: i64) -> Tree {
    let of = |path: &str, kind, mode| (path.into(), Entry { mtime, ..Entry::new(kind, mode) });
    let folders = FOLDERS.iter().map(|(path, mode)| of(path, Kind::Directory, *mode));
    let others = [
        of("run", Kind::Symlink(RUN.into()), 0o777),
        of(MACHINE_ID, Kind::File(Content::bytes(format!("{machine_id}\n").into_bytes())), 0o444),
    ];
    Tree { entries: folders.chain(others).collect() }
}

/// Makes what a STATE of an earlier version lacks, or what somebody removed.
fn make_folders(var: &Path) -> Result<(), SetupError> {
    for (name, mode) in FOLDERS {
        let path = var.join(name);
        // A link that leads nowhere is somebody's choice as well.
        if fs::symlink_metadata(&path).is_err() {
            SetupError::creating(&path, fs::create_dir(&path))?;
            SetupError::creating(&path, fs::set_permissions(&path, fs::Permissions::from_mode(mode.into())))?;
        }
    }
    let run = var.join("run");
    if fs::symlink_metadata(&run).is_err() {
        SetupError::creating(&run, symlink(RUN, &run))?;
    }
    Ok(())
}

/// A machine-id(5) nobody had before: 32 hexadecimal digits.
pub(super) fn new_machine_id() -> io::Result<String> {
    Ok(formats::verity::to_hex(&format::as_uuid(sys::random::bytes()?)))
}

/// Bytes of the device.
fn size_of_device(device: &Path) -> Result<u64, StateError> {
    Ok(ReadAt::size(&File::open(device).map_err(StateError::device("open", device))?))
}
