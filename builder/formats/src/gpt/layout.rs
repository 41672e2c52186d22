//! Planning a table and putting it into bytes.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom, Write};

use gpt::mbr::ProtectiveMBR;
use uuid::Uuid;

use super::{ALIGNMENT, MAX_LABEL, Partition, SECTOR_SIZE, SECTORS};
use crate::stream::sought;

/// Bytes at the disk's start: protective MBR, header, 128 entries.
pub const HEAD_SIZE: u64 = 34 * SECTOR_SIZE;
/// Bytes at the disk's end: 128 entries, header.
pub const TAIL_SIZE: u64 = 33 * SECTOR_SIZE;
/// Entries in a table; the specification's least.
const MAX_PARTITIONS: usize = 128;

/// A partition that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionSpec {
    /// Label, at most 36 UTF-16 units.
    pub label: String,
    /// What is in it.
    pub type_guid: Uuid,
    /// Which one it is.
    pub unique_guid: Uuid,
    /// Size in bytes, rounded up to [`ALIGNMENT`].
    pub size: u64,
    /// Attribute bits.
    pub attributes: u64,
}

/// What the table does not take from its partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Which disk it is.
    pub disk_guid: Uuid,
}

/// A planned disk: partitions one behind the other, the first at 1 MiB, and 1 MiB at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GptLayout {
    /// Which disk it is.
    pub disk_guid: Uuid,
    /// The partitions in the order of the plan, numbered from 1.
    pub partitions: Vec<Partition>,
    /// Bytes of the whole disk.
    pub disk_size: u64,
}

/// Why there is no table.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// A label does not fit its field.
    #[error("partition label \"{label}\" has {units} UTF-16 units, more than {MAX_LABEL}")]
    LabelTooLong {
        /// The label.
        label: String,
        /// Its length.
        units: usize,
    },
    /// A label that a reader would cut short.
    #[error("partition label \"{}\" has a NUL in it", .label.escape_default())]
    LabelNul {
        /// The label.
        label: String,
    },
    /// A partition without bytes.
    #[error("partition {label} has no size")]
    Empty {
        /// Its label.
        label: String,
    },
    /// The sizes do not fit 64 bits.
    #[error("partition {label} of {size} bytes is beyond any disk")]
    TooLarge {
        /// Its label.
        label: String,
        /// Its size in bytes.
        size: u64,
    },
    /// More than the table's entries.
    #[error("{count} partitions do not fit a table of {MAX_PARTITIONS}")]
    TooMany {
        /// How many.
        count: usize,
    },
    /// Two partitions that nothing could tell apart.
    #[error("partitions {first} and {second} have the same GUID {guid}")]
    SameGuid {
        /// Label of the one.
        first: String,
        /// Label of the other.
        second: String,
        /// Their GUID.
        guid: Uuid,
    },
    /// Crate `gpt` refused.
    #[error("cannot encode the partition table: {0}")]
    Encode(#[from] gpt::GptError),
}

impl GptLayout {
    /// Gives every partition its place.
    ///
    /// # Errors
    /// See [`LayoutError`]; [`LayoutError::Encode`] is not among them.
    pub fn plan(specs: &[PartitionSpec], options: &Options) -> Result<Self, LayoutError> {
        if specs.len() > MAX_PARTITIONS {
            return Err(LayoutError::TooMany { count: specs.len() });
        }
        let mut partitions = Vec::with_capacity(specs.len());
        let mut seen = BTreeMap::new();
        let mut offset = ALIGNMENT;
        for (number, spec) in (1..).zip(specs) {
            let label = spec.label.clone();
            let units = label.encode_utf16().count();
            if units > MAX_LABEL {
                return Err(LayoutError::LabelTooLong { label, units });
            }
            if label.contains('\0') {
                return Err(LayoutError::LabelNul { label });
            }
            if spec.size == 0 {
                return Err(LayoutError::Empty { label });
            }
            let guid = spec.unique_guid;
            if let Some(first) = seen.insert(guid, label.clone()) {
                return Err(LayoutError::SameGuid { first, second: label, guid });
            }
            let end = spec.size.checked_next_multiple_of(ALIGNMENT).and_then(|size| offset.checked_add(size));
            // The disk's last sector must have a place in a signed file offset.
            let Some(end) = end.filter(|end| *end < i64::MAX as u64 - ALIGNMENT) else {
                return Err(LayoutError::TooLarge { label, size: spec.size });
            };
            partitions.push(Partition {
                number,
                label,
                type_guid: spec.type_guid,
                unique_guid: guid,
                attributes: spec.attributes,
                offset,
                size: end - offset,
            });
            offset = end;
        }
        Ok(Self { disk_guid: options.disk_guid, partitions, disk_size: offset + ALIGNMENT })
    }

    /// The disk's first [`HEAD_SIZE`] bytes: protective MBR and primary copy.
    ///
    /// # Errors
    /// [`LayoutError::Encode`].
    pub fn head_bytes(&self) -> Result<Vec<u8>, LayoutError> {
        encode(self.disk_size, self.disk_guid, &self.partitions).map(|(head, _)| head)
    }

    /// The disk's last [`TAIL_SIZE`] bytes: the backup copy.
    ///
    /// # Errors
    /// [`LayoutError::Encode`].
    pub fn tail_bytes(&self) -> Result<Vec<u8>, LayoutError> {
        encode(self.disk_size, self.disk_guid, &self.partitions).map(|(_, tail)| tail)
    }
}

/// Head and tail of a disk with these partitions, which are numbered 1, 2, … without gaps.
pub(super) fn encode(
    disk_size: u64,
    disk_guid: Uuid,
    partitions: &[Partition],
) -> Result<(Vec<u8>, Vec<u8>), LayoutError> {
    let mut edges = Edges::new(disk_size);
    // The MBR's partition covers the disk from its second sector, or as much as 32 bits can say.
    let covered = u32::try_from(disk_size / SECTOR_SIZE - 1).unwrap_or(u32::MAX);
    ProtectiveMBR::with_lb_size(covered).overwrite_lba0(&mut edges).map_err(io::Error::other).map_err(io)?;
    let entry = |partition: &Partition| gpt::partition::Partition {
        part_type_guid: partition.type_guid.into(),
        part_guid: partition.unique_guid,
        first_lba: partition.offset / SECTOR_SIZE,
        last_lba: partition.end() / SECTOR_SIZE - 1,
        flags: partition.attributes,
        name: partition.label.clone(),
    };
    let config = gpt::GptConfig::new().writable(true).logical_block_size(SECTORS);
    let mut disk = config.create_from_device(edges, Some(disk_guid))?;
    disk.update_partitions(
        partitions.iter().map(|partition| (partition.number, entry(partition))).collect(),
    )?;
    let edges = disk.write()?;
    Ok((edges.head, edges.tail))
}

fn io(error: io::Error) -> LayoutError {
    LayoutError::Encode(gpt::GptError::Io(error))
}

/// The two ends of a disk; there is nothing between them.
#[derive(Debug)]
struct Edges {
    head: Vec<u8>,
    tail: Vec<u8>,
    size: u64,
    position: u64,
}

impl Edges {
    fn new(size: u64) -> Self {
        Self { head: vec![0; HEAD_SIZE as usize], tail: vec![0; TAIL_SIZE as usize], size, position: 0 }
    }

    fn span(&mut self, length: usize) -> io::Result<&mut [u8]> {
        let start = self.position;
        self.position = start.saturating_add(length as u64);
        let (edge, start) = match start.checked_sub(self.size - TAIL_SIZE) {
            Some(start) => (&mut self.tail, start),
            None => (&mut self.head, start),
        };
        let start = usize::try_from(start).map_err(io::Error::other)?;
        let end = start.checked_add(length).ok_or(io::ErrorKind::InvalidInput)?;
        edge.get_mut(start..end).ok_or_else(|| io::Error::other("partition table beyond the disk's ends"))
    }
}

impl Read for Edges {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        buffer.copy_from_slice(self.span(buffer.len())?);
        Ok(buffer.len())
    }
}

impl Write for Edges {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.span(bytes.len())?.copy_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Edges {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.position = sought(to, self.position, self.size)?;
        Ok(self.position)
    }
}
