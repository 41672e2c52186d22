//! The machine's disks and their partitions, from sysfs.

use std::fs;
use std::path::{Path, PathBuf};

/// One partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Its node (`/dev/vda2`).
    pub device: PathBuf,
    /// The node of its disk (`/dev/vda`).
    pub disk: PathBuf,
    /// Its number.
    pub number: u32,
    /// Its label in the GPT.
    pub label: String,
}

/// Partitions to examine.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    pub(super) partitions: Vec<Partition>,
    pub(super) unreadable: Vec<String>,
    /// No disk that may appear later could change the outcome.
    pub(super) complete: bool,
}

pub(super) fn scan() -> Vec<Partition> {
    let mut found = Vec::new();
    let names = |path: &Path| -> Vec<String> {
        let Ok(folder) = fs::read_dir(path) else { return Vec::new() };
        let mut names: Vec<String> =
            folder.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort_unstable();
        names
    };
    let sys = Path::new("/sys/block");
    for disk in names(sys) {
        for name in names(&sys.join(&disk)) {
            let folder = sys.join(&disk).join(&name);
            let number = fs::read_to_string(folder.join("partition")).ok();
            let Some(number) = number.and_then(|text| text.trim().parse().ok()) else { continue };
            let uevent = fs::read_to_string(folder.join("uevent")).unwrap_or_default();
            let label = uevent.lines().find_map(|line| line.strip_prefix("PARTNAME=")).unwrap_or_default();
            found.push(Partition {
                device: Path::new("/dev").join(&name),
                disk: Path::new("/dev").join(&disk),
                number,
                label: label.to_owned(),
            });
        }
    }
    found
}

pub(super) fn candidates(partitions: Vec<Partition>, _boot_partition: Option<&str>) -> Candidates {
    Candidates { partitions, ..Candidates::default() }
}
