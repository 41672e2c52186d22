//! What to do with the partition, from what is on it.

use formats::ext4::superblock::{self, Backup, SuperblockReadError};
use formats::read_at::ReadAt;
use std::io;

/// At byte 0 while a formatting is under way. ext4 leaves the first 1024 bytes alone.
pub(super) const MARKER: &[u8; 32] = b"slipway: formatting STATE\0\0\0\0\0\0\0";
/// What must be zero for a partition to count as never used.
const EMPTY_HEAD: u64 = 1 << 20;

/// What to do with STATE.
#[derive(Debug)]
pub(super) enum Action {
    /// It holds a file system.
    Take {
        /// The kernel has met errors in it.
        errors: bool,
        /// Formatting was cut off after its last step but one: only the marker is left to clear.
        unfinished: bool,
    },
    /// It holds nothing, or the beginnings of a formatting.
    Format,
    /// Its superblock is damaged, but there is a copy.
    Restore(Box<Backup>),
    /// It holds what nobody knows.
    Refuse(SuperblockReadError),
}

/// Decides.
///
/// A formatting writes, each step durable before the next: the marker, all but the superblock,
/// the superblock, zeros over the marker. So a good superblock means a whole file system, with
/// or without a marker, and a marker without one means that there was nothing to lose.
pub(super) fn decide(partition: &impl ReadAt) -> io::Result<Action> {
    let mut marker = [0; MARKER.len()];
    partition.read_exact_at(&mut marker, 0)?;
    let is_marked = marker == *MARKER;
    let cause = match superblock::read(partition) {
        Ok(found) => return Ok(Action::Take { errors: found.errors, unfinished: is_marked }),
        Err(SuperblockReadError::Io { source, .. }) => return Err(source),
        Err(cause) => cause,
    };
    if is_marked || is_empty(partition)? {
        return Ok(Action::Format);
    }
    let backup = superblock::find_backup(partition, partition.size())?;
    Ok(backup.map_or(Action::Refuse(cause), |backup| Action::Restore(Box::new(backup))))
}

fn is_empty(partition: &impl ReadAt) -> io::Result<bool> {
    const PIECE: usize = 64 << 10;
    static ZEROS: [u8; PIECE] = [0; PIECE];
    let mut piece = vec![0; PIECE];
    let end = EMPTY_HEAD.min(partition.size());
    for offset in (0..end).step_by(PIECE) {
        let length = (end - offset).min(PIECE as u64) as usize;
        partition.read_exact_at(&mut piece[..length], offset)?;
        if piece[..length] != ZEROS[..length] {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
#[path = "decide_test.rs"]
mod tests;
