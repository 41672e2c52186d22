//! Moving a table to the end of a larger disk.

use super::layout::{LayoutError, TAIL_SIZE, encode};
use super::read::{Gpt, ReadError};
use super::{ALIGNMENT, Partition};
use crate::read_at::ReadAt;

/// What to write so that the last partition fills the disk. Write and sync `tail` first:
/// until `head` is written the old primary copy stays true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Growth {
    /// For byte 0.
    pub head: Vec<u8>,
    /// For byte `tail_offset`.
    pub tail: Vec<u8>,
    /// Where the new backup copy starts.
    pub tail_offset: u64,
    /// The last partition as it will be.
    pub partition: Partition,
}

/// Why a table cannot be grown.
#[derive(Debug, thiserror::Error)]
pub enum GrowError {
    /// There is no table to start from.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// There is nothing to grow.
    #[error("the partition table has no partitions")]
    NoPartitions,
    /// Rewriting would give a partition another number.
    #[error("partition numbers have a gap before {number}; only a table without gaps is grown")]
    Gap {
        /// The partition after the gap.
        number: u32,
    },
    /// The new table cannot be encoded.
    #[error(transparent)]
    Encode(#[from] LayoutError),
}

/// Plans a table for the whole of `reader`, whose last partition (by place) then ends at
/// the last multiple of 1 MiB before the backup copy. `None`: that is so already, and both
/// copies are good. No partition ever gets smaller or moves.
///
/// # Errors
/// See [`GrowError`].
pub fn grow_last(reader: &dyn ReadAt) -> Result<Option<Growth>, GrowError> {
    let gpt = Gpt::read(reader)?;
    let mut partitions = gpt.partitions;
    if let Some((_, gap)) = (1..).zip(&partitions).find(|(number, partition)| *number != partition.number) {
        return Err(GrowError::Gap { number: gap.number });
    }
    let last =
        partitions.iter_mut().max_by_key(|partition| partition.offset).ok_or(GrowError::NoPartitions)?;
    // A table was read, so the disk is longer than two of them.
    let usable_end = gpt.disk_size / super::SECTOR_SIZE * super::SECTOR_SIZE - TAIL_SIZE;
    let end = (usable_end / ALIGNMENT * ALIGNMENT).max(last.end());
    let good = gpt.protective_mbr.is_ok() && gpt.primary.is_ok() && gpt.backup.is_ok();
    if end == last.end() && good {
        return Ok(None);
    }
    last.size = end - last.offset;
    let partition = last.clone();
    let disk_size = usable_end + TAIL_SIZE;
    let (head, tail) = encode(disk_size, gpt.disk_guid, &partitions)?;
    Ok(Some(Growth { head, tail, tail_offset: usable_end, partition }))
}
