//! GUID partition table (UEFI specification 2.10, section 5), sectors of 512 bytes.
//!
//! A [`GptLayout`] is planned from sizes, and its two ends come out as plain bytes, so
//! that the image between them is written once and stays sparse. [`Gpt::read`] judges
//! both copies of a table that may be hostile; [`grow_last`] plans the move of a table to
//! a larger disk. Bytes are made and decoded by crate `gpt`, which is never given a
//! size or a place that was not checked here first.

mod grow;
mod layout;
mod read;

use uuid::{Uuid, uuid};

pub use grow::{GrowError, Growth, grow_last};
pub use layout::{GptLayout, HEAD_SIZE, LayoutError, Options, PartitionSpec, TAIL_SIZE};
pub use read::{CopyError, Gpt, MbrError, ReadError};

/// Type of the EFI system partition (UEFI 2.10, table 5-7).
pub const ESP: Uuid = uuid!("c12a7328-f81f-11d2-ba4b-00a0c93ec93b");
/// Type of a root file system for x86-64 (UAPI.2).
pub const ROOT_X86_64: Uuid = uuid!("4f68bce3-e8cd-4db1-96e7-fbcaf984b709");
/// Type of `/var` (UAPI.2): the appliance's STATE.
pub const VAR: Uuid = uuid!("4d21b016-b534-45c2-a9fb-5c16e091fd2d");

/// Every partition starts and every planned disk ends at a multiple of this.
pub const ALIGNMENT: u64 = 1 << 20;
/// Bytes in a sector (logical block).
pub const SECTOR_SIZE: u64 = 512;

const SECTORS: gpt::disk::LogicalBlockSize = gpt::disk::LogicalBlockSize::Lb512;
/// UTF-16 units in a partition's label.
const MAX_LABEL: usize = 36;

/// One partition of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Its place in the table, from 1, as in `/dev/vda1`.
    pub number: u32,
    /// Label, at most 36 UTF-16 units.
    pub label: String,
    /// What is in it.
    pub type_guid: Uuid,
    /// Which one it is.
    pub unique_guid: Uuid,
    /// Attribute bits (UEFI table 5-8 and the type's own).
    pub attributes: u64,
    /// First byte on the disk.
    pub offset: u64,
    /// Size in bytes.
    pub size: u64,
}

impl Partition {
    /// First byte behind it.
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(self.size)
    }
}
