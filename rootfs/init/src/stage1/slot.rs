//! Whether a partition is the slot: decided by its content alone.
//!
//! A slot is an ext4 file system, the verity superblock right behind its last block, and the
//! hash tree behind that. If the tree's top block, salted as the superblock says, hashes to the
//! root hash, then dm-verity lets through exactly the content that the root hash stands for.

use formats::read_at::ReadAt;
use formats::verity::{self, Digest32, SUPERBLOCK_SIZE, Superblock, SuperblockError};
use std::fs::File;
use std::io;
use std::path::Path;
use sys::dm::Target;

const BLOCK_SIZE: u64 = 4096;
const SECTOR_SIZE: u64 = 512;

/// A partition whose content was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    superblock: Superblock,
}

/// Why a partition is not the slot.
#[derive(Debug, thiserror::Error)]
pub enum SlotError {
    /// Its bytes cannot be read.
    #[error("cannot read {what} at byte {offset}: {cause}")]
    Read {
        /// Which structure.
        what: &'static str,
        /// Where, from the partition's start.
        offset: u64,
        /// Why.
        cause: io::Error,
    },
    /// It has no file system.
    #[error("no ext4 file system")]
    NoFileSystem,
    /// The file system's size makes no sense in this place.
    #[error("ext4 of {file_system} bytes does not leave room for a verity tree in {partition}")]
    Size {
        /// Bytes of the file system as its superblock says.
        file_system: u128,
        /// Bytes of the partition.
        partition: u64,
    },
    /// There is no usable verity superblock behind the file system.
    #[error(transparent)]
    Superblock(#[from] SuperblockError),
    /// The tree is another file system's.
    #[error("verity tree covers {verity} bytes but the ext4 has {file_system}")]
    Coverage {
        /// Bytes under the tree.
        verity: u64,
        /// Bytes of the file system.
        file_system: u64,
    },
    /// It is a slot, but with other content, or its tree is damaged at the top.
    #[error("its verity tree has another root hash")]
    RootHash,
}

impl Slot {
    /// Examines a block device.
    ///
    /// # Errors
    /// See [`SlotError`].
    pub fn examine_device(device: &Path, root_hash: &Digest32) -> Result<Self, SlotError> {
        let file =
            File::open(device).map_err(|cause| SlotError::Read { what: "the device", offset: 0, cause })?;
        Self::examine(&file, root_hash)
    }

    /// Examines a partition's content.
    ///
    /// # Errors
    /// See [`SlotError`].
    pub fn examine(partition: &impl ReadAt, root_hash: &Digest32) -> Result<Self, SlotError> {
        let read = |what, offset, bytes: &mut [u8]| {
            partition.read_exact_at(bytes, offset).map_err(|cause| SlotError::Read { what, offset, cause })
        };
        let mut ext4 = [0; 1024];
        read("the ext4 superblock", 1024, &mut ext4)?;
        let claimed = file_system_size(&ext4).ok_or(SlotError::NoFileSystem)?;
        let partition_size = partition.size();
        let file_system = u64::try_from(claimed)
            .ok()
            .filter(|size| partition_size.checked_sub(*size).is_some_and(|rest| rest >= BLOCK_SIZE))
            .ok_or(SlotError::Size { file_system: claimed, partition: partition_size })?;
        let mut raw = [0; SUPERBLOCK_SIZE];
        read("the verity superblock", file_system, &mut raw)?;
        let superblock = Superblock::decode(&raw)?;
        if superblock.data_size() != file_system {
            return Err(SlotError::Coverage { verity: superblock.data_size(), file_system });
        }
        let mut top = [0; BLOCK_SIZE as usize];
        read("the top of the verity tree", superblock.top_block_offset(), &mut top)?;
        if !verity::top_matches(&superblock, &top, root_hash) {
            return Err(SlotError::RootHash);
        }
        Ok(Self { superblock })
    }

    /// The dm-verity target that maps this slot. Documentation/admin-guide/device-mapper/verity.rst.
    ///
    /// In dm-verity's default mode a damaged block only gives its reader an error, and a damaged
    /// slot would be blessed; hence `panic_on_corruption`.
    pub fn verity_target(&self, device: &Path, root_hash: &Digest32) -> Target {
        let device = device.display();
        let blocks = self.superblock.data_blocks;
        let hash_start = blocks.saturating_add(1);
        let root_hash = verity::to_hex(root_hash);
        let salt = match self.superblock.salt.as_slice() {
            [] => "-".to_owned(),
            salt => verity::to_hex(salt),
        };
        Target {
            sectors: self.superblock.data_size() / SECTOR_SIZE,
            target_type: "verity",
            parameters: format!(
                "1 {device} {device} {BLOCK_SIZE} {BLOCK_SIZE} {blocks} {hash_start} sha256 {root_hash} {salt} \
                 1 panic_on_corruption"
            ),
        }
    }
}

/// Bytes of the file system, from its superblock (kernel.org, "ext4 Data Structures and
/// Algorithms", super block); `None` when it is none. A wrong size is harmless: it only leads to
/// a place without a verity superblock that has the root hash.
fn file_system_size(superblock: &[u8; 1024]) -> Option<u128> {
    let u32_at = |at: usize| u32::from_le_bytes(std::array::from_fn(|index| superblock[at + index]));
    let is_ext4 = superblock[0x38..0x3a] == [0x53, 0xef];
    let is_64bit = u32_at(0x60) & 0x80 != 0;
    let high = if is_64bit { u32_at(0x150) } else { 0 };
    let blocks = (u64::from(high) << 32) | u64::from(u32_at(0x4));
    let block_size = 1024_u128.checked_shl(u32_at(0x18)).filter(|size| *size <= 65536)?;
    is_ext4.then_some(u128::from(blocks) * block_size)
}

#[cfg(test)]
#[path = "slot_test.rs"]
mod tests;
