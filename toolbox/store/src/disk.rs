//! Disks as files: raw or qcow2, whole or one partition of them.

use formats::gpt::{self, Gpt, Partition};
use formats::qcow2::{self, Qcow2, Qcow2Error};
use formats::read_at::ReadAt;
use formats::window::Window;
use std::fs::File;
use std::io;
use std::sync::Arc;

/// A disk, or a part of one, that several readers share.
#[derive(Clone)]
pub(crate) struct Disk(Arc<dyn ReadAt + Send + Sync>);

/// Why there is no file system to read.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The qcow2 file is broken.
    #[error(transparent)]
    Qcow2(#[from] Qcow2Error),
    /// There is no good partition table.
    #[error(transparent)]
    Gpt(#[from] gpt::ReadError),
    /// It cannot be read.
    #[error("reading at byte {offset}: {source}")]
    Io {
        /// Of the disk.
        offset: u64,
        /// The system's answer.
        source: io::Error,
    },
    /// No such partition.
    #[error("there is no partition `{wanted}`; there are: {}", labels.join(", "))]
    NoPartition {
        /// As asked for.
        wanted: String,
        /// Of all partitions.
        labels: Vec<String>,
    },
    /// No partition at all has an ext4 file system.
    #[error("no partition has an ext4 file system")]
    NoFileSystem,
    /// Something else is there.
    #[error("{0} has no ext4 file system")]
    NotExt4(String),
}

impl ReadAt for Disk {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }

    fn size(&self) -> u64 {
        self.0.size()
    }
}

impl Disk {
    /// Of any bytes.
    pub(crate) fn of(reader: impl ReadAt + Send + Sync + 'static) -> Self {
        Self(Arc::new(reader))
    }

    /// Of a file, whose first bytes say whether it is a qcow2 one.
    pub(crate) fn open(file: File) -> Result<Self, DiskError> {
        let mut magic = [0; qcow2::MAGIC.len()];
        let is_qcow2 = ReadAt::read_exact_at(&file, &mut magic, 0).is_ok() && magic == qcow2::MAGIC;
        Ok(if is_qcow2 { Self(Arc::new(Qcow2::open(file)?)) } else { Self(Arc::new(file)) })
    }

    /// The file system in the wanted partition, by label or number. Without one: the disk itself if
    /// it has one, else the first root partition that has, else the first other one.
    pub(crate) fn file_system(self, wanted: Option<&str>) -> Result<Self, DiskError> {
        if wanted.is_none() && self.is_ext4()? {
            return Ok(self);
        }
        let table = Gpt::read(&self)?;
        let part = |partition: &Partition| {
            Self(Arc::new(Window::new(self.clone(), partition.offset, partition.size)))
        };
        let Some(wanted) = wanted else {
            let (roots, others): (Vec<_>, Vec<_>) =
                table.partitions.iter().partition(|partition| partition.type_guid == gpt::ROOT_X86_64);
            for partition in roots.into_iter().chain(others) {
                let part = part(partition);
                if part.is_ext4()? {
                    return Ok(part);
                }
            }
            return Err(DiskError::NoFileSystem);
        };
        let number = wanted.parse().ok();
        let numbered = || table.partitions.iter().find(|partition| Some(partition.number) == number);
        let Some(partition) = table.by_label(wanted).or_else(numbered) else {
            let label = |partition: &Partition| match partition.label.as_str() {
                "" => partition.number.to_string(),
                label => label.escape_default().to_string(),
            };
            let labels = table.partitions.iter().map(label).collect();
            return Err(DiskError::NoPartition { wanted: wanted.to_owned(), labels });
        };
        let part = part(partition);
        if part.is_ext4()? { Ok(part) } else { Err(DiskError::NotExt4(format!("partition `{wanted}`"))) }
    }

    /// Whether there is a superblock's magic (Documentation/filesystems/ext4: at 1024 + 0x38).
    pub(crate) fn is_ext4(&self) -> Result<bool, DiskError> {
        let mut magic = [0; 2];
        let offset = 1024 + 0x38;
        if self.size() < offset + 2 {
            return Ok(false);
        }
        self.read_exact_at(&mut magic, offset).map_err(|source| DiskError::Io { offset, source })?;
        Ok(magic == [0x53, 0xef])
    }
}
