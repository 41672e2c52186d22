//! A disk larger than it was: the partition, then the file system, grow to its end.

use super::{LABEL, StateError};
use crate::setup::SetupError;
use formats::gpt;
use nix::sys::statvfs::statvfs;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Bytes in a block of our file systems.
const BLOCK_SIZE: u64 = 4096;

/// Extends the last partition of `disk` to the disk's end, if that is STATE, and mends a damaged
/// copy of the table. The new backup copy is durable before the primary that refers to it.
pub(super) fn grow_partition(disk: &Path, log: &mut dyn FnMut(&str)) -> Result<(), StateError> {
    let file =
        OpenOptions::new().read(true).write(true).open(disk).map_err(StateError::device("open", disk))?;
    let growth = gpt::grow_last(&file).map_err(|cause| StateError::Table { disk: disk.to_owned(), cause })?;
    let Some(growth) = growth.filter(|growth| growth.partition.label == LABEL) else { return Ok(()) };
    let write = |bytes: &[u8], offset| file.write_all_at(bytes, offset).and_then(|()| file.sync_all());
    write(&growth.tail, growth.tail_offset)
        .and_then(|()| write(&growth.head, 0))
        .map_err(StateError::device("write the partition table of", disk))?;
    let partition = growth.partition;
    sys::block::resize_partition(&file, partition.number, partition.offset, partition.size)
        .map_err(StateError::device("resize the partition of", disk))?;
    log(&format!("STATE: partition now has {} MiB", partition.size >> 20));
    Ok(())
}

/// Grows the file system mounted at `mount_point` to the whole of `device`; whether it did.
pub(super) fn grow_file_system(mount_point: &Path, device: &Path) -> Result<bool, SetupError> {
    let size = || {
        let found = statvfs(mount_point).map_err(std::io::Error::from);
        SetupError::reading(mount_point, found).map(|found| found.blocks())
    };
    let superblock = File::open(device).map_err(StateError::device("open", device))?;
    let blocks = super::size_of_device(device)? / BLOCK_SIZE;
    // What is read behind the mount's back may be old, but it only ever was smaller.
    let is_full = formats::ext4::superblock::read(&superblock).is_ok_and(|found| found.blocks >= blocks);
    if is_full {
        return Ok(false);
    }
    let before = size()?;
    let root = SetupError::reading(mount_point, File::open(mount_point))?;
    sys::block::resize_ext4(&root, blocks).map_err(StateError::device("grow the file system on", device))?;
    Ok(size()? > before)
}
