//! The machine's disks, and which of their partitions may be the slot.

use formats::gpt::{self, Gpt, ReadError};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// One partition of a [`Disk`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Its node (`/dev/vda2`).
    pub device: PathBuf,
    /// The node of its disk (`/dev/vda`).
    pub disk: PathBuf,
    /// Its entry in the partition table.
    pub entry: gpt::Partition,
}

/// A disk with its partitions, in the order of their numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// Its node (`/dev/vda`).
    pub device: PathBuf,
    /// Its partitions.
    pub partitions: Vec<Partition>,
}

/// Why a disk has no partitions.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// It cannot be opened.
    #[error("cannot open {}: {cause}", device.display())]
    Open {
        /// Its node.
        device: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// It has no readable partition table.
    #[error("{}: {cause}", device.display())]
    Table {
        /// Its node.
        device: PathBuf,
        /// Why.
        cause: ReadError,
    },
}

impl Disk {
    /// Reads the partition table of the disk at `device`.
    ///
    /// # Errors
    /// See [`DiskError`].
    pub fn read(device: &Path) -> Result<Self, DiskError> {
        let file =
            File::open(device).map_err(|cause| DiskError::Open { device: device.to_owned(), cause })?;
        let table =
            Gpt::read(&file).map_err(|cause| DiskError::Table { device: device.to_owned(), cause })?;
        Ok(Self::new(device, table.partitions))
    }

    fn new(device: &Path, entries: Vec<gpt::Partition>) -> Self {
        let partition = |entry: gpt::Partition| Partition {
            device: partition_device(device, entry.number),
            disk: device.to_owned(),
            entry,
        };
        Self { device: device.to_owned(), partitions: entries.into_iter().map(partition).collect() }
    }
}

/// The nodes of all disks, in the order of their names. Block devices without hardware behind
/// them (loop, ram, dm) are none.
///
/// # Errors
/// sysfs cannot be read.
pub fn devices() -> io::Result<Vec<PathBuf>> {
    let mut devices = Vec::new();
    for entry in fs::read_dir("/sys/block")? {
        let entry = entry?;
        if entry.path().join("device").exists() {
            // sysfs writes a slash in a device's name as an exclamation mark.
            let name = entry.file_name().to_string_lossy().replace('!', "/");
            devices.push(Path::new("/dev").join(name));
        }
    }
    devices.sort_unstable();
    Ok(devices)
}

/// The kernel's name for a partition: a `p` goes before the number if the disk's name ends with
/// a digit (block/partitions/core.c, `add_partition`).
fn partition_device(disk: &Path, number: u32) -> PathBuf {
    let name = disk.to_string_lossy();
    let separator = if name.ends_with(|last: char| last.is_ascii_digit()) { "p" } else { "" };
    PathBuf::from(format!("{name}{separator}{number}"))
}

/// Partitions to examine.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Candidates<'a> {
    /// Root partitions in the order in which to examine them.
    pub(super) partitions: Vec<&'a Partition>,
    /// A disk that is yet to appear could change this.
    pub(super) may_grow: bool,
}

/// Which partitions may be the slot: those of type root on the disk that has `boot_partition`
/// (its unique GUID), or on any disk when that is not known.
pub(super) fn candidates<'a>(disks: &'a [Disk], boot_partition: Option<&str>) -> Candidates<'a> {
    let is_boot_disk = |disk: &&Disk| {
        let wanted = |guid: &str| {
            disk.partitions.iter().any(|it| it.entry.unique_guid.to_string().eq_ignore_ascii_case(guid))
        };
        boot_partition.is_none_or(wanted)
    };
    let boot_disks: Vec<&Disk> = disks.iter().filter(is_boot_disk).collect();
    Candidates {
        may_grow: boot_partition.is_none() || boot_disks.is_empty(),
        partitions: boot_disks
            .into_iter()
            .flat_map(|disk| &disk.partitions)
            .filter(|it| it.entry.type_guid == gpt::ROOT_X86_64)
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk whose partitions have unique GUIDs that end with `id` and their number.
    fn disk(device: &str, id: u8) -> Disk {
        let types = [gpt::ESP, gpt::ROOT_X86_64, gpt::ROOT_X86_64, gpt::VAR];
        let entry = |(number, type_guid): (u32, _)| gpt::Partition {
            number,
            label: String::new(),
            type_guid,
            unique_guid: format!("00000000-0000-0000-0000-abcdef{id:03x}{number:03x}").parse().unwrap(),
            attributes: 0,
            offset: u64::from(number) << 20,
            size: 1 << 20,
        };
        Disk::new(Path::new(device), (1..).zip(types).map(entry).collect())
    }

    fn devices(candidates: &Candidates) -> Vec<String> {
        candidates.partitions.iter().map(|it| it.device.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn without_a_boot_disk_every_root_partition_counts() {
        let disks = [disk("/dev/nvme0n1", 1), disk("/dev/vda", 2)];
        let found = candidates(&disks, None);
        assert_eq!(devices(&found), ["/dev/nvme0n1p2", "/dev/nvme0n1p3", "/dev/vda2", "/dev/vda3"]);
        assert!(found.may_grow);
    }

    #[test]
    fn the_boot_disk_is_the_one_with_the_boot_partition() {
        let disks = [disk("/dev/vda", 1), disk("/dev/vdb", 2)];
        let found = candidates(&disks, Some("00000000-0000-0000-0000-ABCDEF002001"));
        assert_eq!(devices(&found), ["/dev/vdb2", "/dev/vdb3"]);
        assert!(!found.may_grow);
    }

    #[test]
    fn a_boot_disk_that_is_not_there_yet_is_waited_for() {
        let disks = [disk("/dev/vda", 1)];
        let found = candidates(&disks, Some("00000000-0000-0000-0000-ABCDEF002001"));
        assert_eq!(found, Candidates { partitions: vec![], may_grow: true });
    }
}
