//! dm-verity: the hash tree and its superblock, as `veritysetup` writes them.
//!
//! Only what the image uses: superblock version 1, hash type 1 (salt before data),
//! SHA-256, data and hash blocks of 4096 bytes, the hash area right behind the data.
//! The superblock takes the first hash block; the tree follows, its top level first
//! (cryptsetup `lib/verity/verity_hash.c`, kernel `admin-guide/device-mapper/verity`).
//!
//! [`VerityWriter`] makes the tree while an image passes through it; [`verify`] walks a
//! finished one; [`top_matches`] tells in one hash whether a tree belongs to a root hash.

mod superblock;
mod verify;
mod writer;

use sha2::{Digest, Sha256};

pub use superblock::{MAX_SALT, SUPERBLOCK_SIZE, Superblock, SuperblockError};
pub use verify::{VerifyError, verify};
pub use writer::{Error, Options, VerityInfo, VerityWriter};

/// Bytes in a data block and in a hash block.
pub const BLOCK_SIZE: u64 = 4096;
const BLOCK: usize = BLOCK_SIZE as usize;
/// Bytes in a SHA-256 digest.
pub const DIGEST_SIZE: usize = 32;
/// Digests in a hash block.
const DIGESTS_PER_BLOCK: u64 = BLOCK_SIZE / DIGEST_SIZE as u64;

/// A SHA-256 digest; that of the tree's top block is the root hash.
pub type Digest32 = [u8; DIGEST_SIZE];

/// Blocks in each level of the tree over `data_blocks` blocks, lowest level first; none
/// when there is one data block, whose digest then is the root hash.
pub fn level_blocks(data_blocks: u64) -> Vec<u64> {
    let mut levels = Vec::new();
    let mut below = data_blocks;
    while below > 1 {
        below = below.div_ceil(DIGESTS_PER_BLOCK);
        levels.push(below);
    }
    levels
}

/// Blocks in the hash area over `data_blocks` blocks: the superblock's and the tree's.
pub fn hash_area_blocks(data_blocks: u64) -> u64 {
    level_blocks(data_blocks).iter().fold(1, |sum, level| u64::saturating_add(sum, *level))
}

/// Whether the tree whose top block is `top_block` has this root hash. The top block is
/// the one right behind the superblock, see [`Superblock::top_block_offset`].
pub fn top_matches(superblock: &Superblock, top_block: &[u8], root_hash: &Digest32) -> bool {
    top_block.len() == BLOCK && salted(&superblock.salt).digest(top_block) == *root_hash
}

/// A digest in lower-case hexadecimal, as `roothash=` carries it.
pub fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| char::from(DIGITS[usize::from(value & 15)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

/// The digest that 64 hexadecimal digits stand for; `None` when they are anything else.
pub fn digest_from_hex(text: &str) -> Option<Digest32> {
    let text = text.as_bytes();
    let mut digest = [0; DIGEST_SIZE];
    if text.len() != 2 * DIGEST_SIZE {
        return None;
    }
    let value = |digit: u8| char::from(digit).to_digit(16);
    for (byte, pair) in digest.iter_mut().zip(text.chunks_exact(2)) {
        *byte = u8::try_from(value(pair[0])? << 4 | value(pair[1])?).ok()?;
    }
    Some(digest)
}

/// SHA-256 with the salt already taken in.
#[derive(Clone)]
struct Salted(Sha256);

fn salted(salt: &[u8]) -> Salted {
    Salted(Sha256::new_with_prefix(salt))
}

impl Salted {
    fn digest(&self, block: &[u8]) -> Digest32 {
        let mut hasher = self.0.clone();
        hasher.update(block);
        hasher.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_those_of_veritysetup() {
        assert_eq!(level_blocks(1), []);
        assert_eq!(level_blocks(2), [1]);
        assert_eq!(level_blocks(128), [1]);
        assert_eq!(level_blocks(129), [2, 1]);
        assert_eq!(level_blocks(12288), [96, 1]);
        assert_eq!(level_blocks(128 * 128 + 1), [129, 2, 1]);
        // A 48 MiB root has a hash area of 98 blocks: veritysetup's own figure.
        assert_eq!(hash_area_blocks(12288) * BLOCK_SIZE, 401_408);
        assert!(hash_area_blocks(u64::MAX) > u64::MAX / 128);
    }

    #[test]
    fn digests_round_trip_through_hexadecimal() {
        let digest: Digest32 = std::array::from_fn(|index| index as u8 * 7);
        assert_eq!(digest_from_hex(&to_hex(&digest)), Some(digest));
        assert_eq!(digest_from_hex(&to_hex(&digest).to_uppercase()), Some(digest));
        assert_eq!(digest_from_hex("00"), None);
        assert_eq!(digest_from_hex(&"é".repeat(32)), None);
    }
}
