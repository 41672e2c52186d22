//! An image file, open: the disk in it, its partition table, and what its firmware would start.

use super::entry::{self, BootEntry};
use super::error::{InspectError, Place};
use super::shown;
use super::uki::Uki;
use formats::fat::Fat;
use formats::gpt::{self, Gpt, Partition};
use formats::qcow2::{self, Qcow2};
use formats::read_at::ReadAt;
use formats::window::Window;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes at a partition's start that decide whether it has content.
const PROBE: u64 = 64 << 10;
/// Most bytes of a UKI's kernel and of its initramfs.
const MAX_PAYLOAD: u64 = 256 << 20;
/// Most bytes of each of its texts.
pub(super) const MAX_TEXT: u64 = 64 << 10;

/// A disk that several readers share.
#[derive(Clone)]
pub struct Shared(Arc<dyn ReadAt + Send + Sync>);

impl ReadAt for Shared {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }

    fn size(&self) -> u64 {
        self.0.size()
    }
}

/// A partition's bytes.
pub type PartitionReader = Window<Shared>;

/// What a partition begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Its first 64 KiB are zero.
    Empty,
    /// An ext4 superblock's magic.
    Ext4,
    /// A boot sector with FAT's mark, in a partition of the ESP's type.
    Fat,
    /// Something else.
    Unknown,
}

impl Content {
    /// One word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Ext4 => "ext4",
            Self::Fat => "FAT32",
            Self::Unknown => "unknown",
        }
    }
}

/// An image whose partition table could be read.
pub struct OpenImage {
    path: PathBuf,
    format: &'static str,
    disk: Shared,
    gpt: Gpt,
}

/// What a UKI gives to a start without firmware.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UkiParts {
    /// The kernel, a bzImage.
    pub linux: Vec<u8>,
    /// The initramfs.
    pub initrd: Vec<u8>,
    /// The kernel's command line.
    pub command_line: String,
    /// os-release(5) of the root.
    pub os_release: String,
    /// The kernel's release.
    pub uname: String,
}

impl OpenImage {
    /// Opens a raw or qcow2 image, told apart by the first bytes, and reads its partition table.
    ///
    /// # Errors
    /// The file cannot be read, is compressed as a whole, or has no good copy of the table.
    pub fn open(path: &Path) -> Result<Self, InspectError> {
        let extension = path.extension().unwrap_or_default().to_str().unwrap_or_default();
        for (compressed, hint) in [
            ("zst", "decompress it first: zstd -d IMAGE.raw.zst"),
            ("xz", "decompress it first: xz -dk IMAGE.raw.xz"),
        ] {
            if extension == compressed {
                return Err(InspectError::Compressed { path: path.to_owned(), hint });
            }
        }
        let failed = |source| InspectError::File { path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        if file.metadata().map_err(failed)?.is_dir() {
            return Err(failed(io::ErrorKind::IsADirectory.into()));
        }
        let mut magic = [0; qcow2::MAGIC.len()];
        // A file too short for the magic is a raw one, and too short for that as well.
        let is_qcow2 = ReadAt::read_exact_at(&file, &mut magic, 0).is_ok() && magic == qcow2::MAGIC;
        let (format, disk): (_, Arc<dyn ReadAt + Send + Sync>) = if is_qcow2 {
            let qcow2 = |source| InspectError::Qcow2 { path: path.to_owned(), source };
            ("qcow2", Arc::new(Qcow2::open(file).map_err(qcow2)?))
        } else {
            ("raw", Arc::new(file))
        };
        let disk = Shared(disk);
        let gpt = Gpt::read(&disk).map_err(|source| InspectError::Gpt { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), format, disk, gpt })
    }

    /// `raw` or `qcow2`, as QEMU calls them.
    pub fn format(&self) -> &'static str {
        self.format
    }

    /// The image's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The disk.
    pub fn reader(&self) -> &(dyn ReadAt + Sync) {
        &self.disk
    }

    /// The partition table, with the verdicts on its copies.
    pub fn gpt(&self) -> &Gpt {
        &self.gpt
    }

    /// A partition's bytes.
    pub fn partition(&self, partition: &Partition) -> PartitionReader {
        Window::new(self.disk.clone(), partition.offset, partition.size)
    }

    /// The first partition of the EFI system type.
    ///
    /// # Errors
    /// There is none.
    pub fn esp(&self) -> Result<&Partition, InspectError> {
        self.gpt
            .partitions
            .iter()
            .find(|partition| partition.type_guid == gpt::ESP)
            .ok_or(InspectError::NoEsp)
    }

    /// The partitions that a root can be in.
    pub fn slots(&self) -> impl Iterator<Item = &Partition> {
        self.gpt.partitions.iter().filter(|partition| partition.type_guid == gpt::ROOT_X86_64)
    }

    /// The partition with this label or number; without one, the first slot that is not empty.
    ///
    /// # Errors
    /// There is none such, or the image cannot be read.
    pub fn choose(&self, wanted: Option<&str>) -> Result<&Partition, InspectError> {
        let Some(wanted) = wanted else {
            for slot in self.slots() {
                if self.content(slot)? != Content::Empty {
                    return Ok(slot);
                }
            }
            return Err(InspectError::NoSlot);
        };
        let number = wanted.parse().ok();
        let numbered = || self.gpt.partitions.iter().find(|partition| Some(partition.number) == number);
        self.gpt.by_label(wanted).or_else(numbered).ok_or_else(|| InspectError::NoPartition {
            wanted: wanted.to_owned(),
            labels: self.gpt.partitions.iter().map(label).collect(),
        })
    }

    /// What a partition begins with.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn content(&self, partition: &Partition) -> Result<Content, InspectError> {
        let mut start = vec![0; PROBE.min(partition.size) as usize];
        self.partition(partition).read_exact_at(&mut start, 0).map_err(|source| InspectError::Read {
            place: self.place(partition),
            offset: 0,
            source,
        })?;
        let has = |at: usize, bytes: [u8; 2]| start.get(at..at + 2) == Some(&bytes);
        Ok(if has(1024 + 0x38, [0x53, 0xef]) {
            Content::Ext4
        } else if partition.type_guid == gpt::ESP && has(510, [0x55, 0xaa]) {
            Content::Fat
        } else if start.iter().all(|byte| *byte == 0) {
            Content::Empty
        } else {
            Content::Unknown
        })
    }

    /// The boot entries in the order in which systemd-boot would take them, as far as the file
    /// names and the UKIs decide it (a `default` in `loader.conf` and EFI variables come before).
    /// Files that it would not show come last, with their problem.
    ///
    /// # Errors
    /// The EFI system partition cannot be read.
    pub fn entries(&self) -> Result<Vec<BootEntry>, InspectError> {
        self.with_esp(entry::read_all)
    }

    /// The parts of the entry that would boot.
    ///
    /// # Errors
    /// There is no entry, or its UKI lacks a part or has one beyond all bounds.
    pub fn uki(&self) -> Result<UkiParts, InspectError> {
        let entries = self.entries()?;
        let entry = entries.first().ok_or(InspectError::NoBootEntry)?;
        self.with_uki(entry, |uki| {
            Ok(UkiParts {
                linux: uki.bytes(".linux", MAX_PAYLOAD)?,
                initrd: uki.bytes(".initrd", MAX_PAYLOAD)?,
                command_line: uki.text(".cmdline")?,
                os_release: uki.text(".osrel")?,
                uname: uki.text(".uname")?,
            })
        })
    }

    /// Opens the UKI of an entry.
    pub(super) fn with_uki<T>(
        &self,
        entry: &BootEntry,
        work: impl FnOnce(&Uki<'_>) -> Result<T, InspectError>,
    ) -> Result<T, InspectError> {
        self.with_esp(|esp, place| {
            let fat = |source| InspectError::Fat { place: place.clone(), source };
            let file = esp.find(&format!("{}/{}", entry::FOLDER, entry.file_name)).map_err(fat)?;
            let file = esp.open_file(&file).map_err(fat)?;
            work(&Uki::open(&file, place, &entry.file_name)?)
        })
    }

    /// A partition in messages.
    pub(super) fn place(&self, partition: &Partition) -> Place {
        Place::new(self.path.clone(), label(partition), partition.offset)
    }

    fn with_esp<T>(
        &self,
        work: impl FnOnce(&Fat<'_>, &Place) -> Result<T, InspectError>,
    ) -> Result<T, InspectError> {
        let partition = self.esp()?;
        let place = self.place(partition);
        let reader = self.partition(partition);
        let fat = Fat::open(&reader).map_err(|source| InspectError::Fat { place: place.clone(), source })?;
        work(&fat, &place)
    }
}

/// A partition's label for a terminal, or its number if it has none.
pub(super) fn label(partition: &Partition) -> String {
    match partition.label.as_str() {
        "" => partition.number.to_string(),
        label => shown::name(label.as_bytes()),
    }
}
