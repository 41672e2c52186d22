//! Walking a whole tree, top down.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use super::superblock::{SUPERBLOCK_SIZE, Superblock, SuperblockError};
use super::{
    BLOCK, BLOCK_SIZE, DIGEST_SIZE, DIGESTS_PER_BLOCK, Digest32, Salted, level_blocks, salted, to_hex,
};
use crate::read_at::ReadAt;

/// What is wrong with a tree or the data under it.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// There is no usable superblock.
    #[error("at byte {offset}: {source}")]
    Superblock {
        /// Where it should be.
        offset: u64,
        /// What is wrong with it.
        source: SuperblockError,
    },
    /// The superblock claims more than there is.
    #[error("verity {what} of {size} bytes at byte {offset} ends beyond {available}")]
    Bounds {
        /// Data or hash area.
        what: &'static str,
        /// First byte.
        offset: u64,
        /// Bytes claimed.
        size: u64,
        /// Bytes that the image has.
        available: u64,
    },
    /// The tree belongs to another root hash.
    #[error("verity root hash is {} but the tree's top has {}", to_hex(.expected), to_hex(.found))]
    RootHash {
        /// What was asked for.
        expected: Digest32,
        /// What the top block hashes to.
        found: Digest32,
    },
    /// A block of the tree does not have the digest that the block above says.
    #[error("verity hash block {block} of level {level} at byte {offset} is corrupt")]
    HashBlock {
        /// 0 is the level right above the data.
        level: usize,
        /// Block within the level.
        block: u64,
        /// First byte of the block.
        offset: u64,
    },
    /// A data block does not have the digest that the tree says.
    #[error("verity data block {block} at byte {offset} is corrupt")]
    DataBlock {
        /// Block within the data.
        block: u64,
        /// First byte of the block.
        offset: u64,
    },
    /// The image cannot be read.
    #[error("cannot read at byte {offset}: {source}")]
    Read {
        /// First byte wanted.
        offset: u64,
        /// Why not.
        source: io::Error,
    },
}

/// Checks every block of the tree whose superblock is at byte `hash_offset` against
/// `root_hash`, then every block of the data at byte `data_offset`; the first bad block
/// is the error. Several threads read and hash; each holds half a MiB.
///
/// # Errors
/// See [`VerifyError`].
pub fn verify<R: ReadAt + Sync + ?Sized>(
    reader: &R,
    data_offset: u64,
    hash_offset: u64,
    root_hash: &Digest32,
) -> Result<Superblock, VerifyError> {
    let mut raw = [0; SUPERBLOCK_SIZE];
    read(reader, &mut raw, hash_offset)?;
    let superblock =
        Superblock::decode(&raw).map_err(|source| VerifyError::Superblock { offset: hash_offset, source })?;
    let available = reader.size();
    for (what, offset, size) in [
        ("data", data_offset, superblock.data_size()),
        ("hash area", hash_offset, superblock.hash_area_size()),
    ] {
        if offset.checked_add(size).is_none_or(|end| end > available) {
            return Err(VerifyError::Bounds { what, offset, size, available });
        }
    }

    let hasher = salted(&superblock.salt);
    let levels = level_blocks(superblock.data_blocks);
    let mut top = [0; BLOCK];
    let mut parents = hash_offset + BLOCK_SIZE;
    read(reader, &mut top, if levels.is_empty() { data_offset } else { parents })?;
    let found = hasher.digest(&top);
    if found != *root_hash {
        return Err(VerifyError::RootHash { expected: *root_hash, found });
    }
    for (level, blocks) in levels.iter().enumerate().rev() {
        // Sums stay within the hash area, which was checked above.
        let below = match level.checked_sub(1) {
            Some(below) => {
                Children { offset: parents + blocks * BLOCK_SIZE, count: levels[below], level: Some(below) }
            }
            None => Children { offset: data_offset, count: superblock.data_blocks, level: None },
        };
        below.check_all(reader, &hasher, parents)?;
        parents = below.offset;
    }
    Ok(superblock)
}

/// The blocks that one level of the tree has the digests of.
struct Children {
    offset: u64,
    count: u64,
    /// Their level in the tree; none for the data.
    level: Option<usize>,
}

impl Children {
    /// Checks all of them against the hash blocks that start at byte `parents`.
    fn check_all<R: ReadAt + Sync + ?Sized>(
        &self,
        reader: &R,
        hasher: &Salted,
        parents: u64,
    ) -> Result<(), VerifyError> {
        let groups = self.count.div_ceil(DIGESTS_PER_BLOCK);
        let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
        // Groups are handed out in ascending order and each is finished, so the lowest
        // failure of all threads is the first one of the level.
        let work = || {
            let mut buffer = vec![0; BLOCK * DIGESTS_PER_BLOCK as usize];
            while !stop.load(Ordering::Relaxed) {
                let group = next.fetch_add(1, Ordering::Relaxed);
                if group >= groups {
                    break;
                }
                if let Err(error) = self.check_group(reader, hasher, parents, group, &mut buffer) {
                    stop.store(true, Ordering::Relaxed);
                    return Err((group, error));
                }
            }
            Ok(())
        };
        let count = thread::available_parallelism().map_or(1, usize::from).min(4) as u64;
        let failures = thread::scope(|scope| {
            let threads = (1..count.min(groups)).map(|_| scope.spawn(work)).collect::<Vec<_>>();
            let mut results = vec![work()];
            for thread in threads {
                results.push(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            }
            results
        });
        let first = failures.into_iter().filter_map(Result::err).min_by_key(|(group, _)| *group);
        first.map_or(Ok(()), |(_, error)| Err(error))
    }

    /// Checks those children whose digests are in one hash block.
    fn check_group<R: ReadAt + ?Sized>(
        &self,
        reader: &R,
        hasher: &Salted,
        parents: u64,
        group: u64,
        buffer: &mut [u8],
    ) -> Result<(), VerifyError> {
        let mut digests = [0; BLOCK];
        read(reader, &mut digests, parents + group * BLOCK_SIZE)?;
        let first = group * DIGESTS_PER_BLOCK;
        let count = DIGESTS_PER_BLOCK.min(self.count - first);
        let children = &mut buffer[..count as usize * BLOCK];
        read(reader, children, self.offset + first * BLOCK_SIZE)?;
        let pairs = children.chunks_exact(BLOCK).zip(digests.chunks_exact(DIGEST_SIZE));
        for (block, (bytes, digest)) in (first..).zip(pairs) {
            if hasher.digest(bytes) != digest {
                let offset = self.offset + block * BLOCK_SIZE;
                return Err(match self.level {
                    Some(level) => VerifyError::HashBlock { level, block, offset },
                    None => VerifyError::DataBlock { block, offset },
                });
            }
        }
        Ok(())
    }
}

fn read<R: ReadAt + ?Sized>(reader: &R, buffer: &mut [u8], offset: u64) -> Result<(), VerifyError> {
    reader.read_exact_at(buffer, offset).map_err(|source| VerifyError::Read { offset, source })
}
