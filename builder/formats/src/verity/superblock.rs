//! The verity superblock (cryptsetup wiki `DMVerity`, "Verity superblock format").

use super::{BLOCK_SIZE, hash_area_blocks};

/// Bytes of the superblock that carry something; the rest of its block is zero.
pub const SUPERBLOCK_SIZE: usize = 512;
/// Longest salt in bytes.
pub const MAX_SALT: usize = 256;

const MAGIC: &[u8; 8] = b"verity\0\0";
const VERSION: u32 = 1;
const HASH_TYPE: u32 = 1;
const ALGORITHM: &[u8; 6] = b"sha256";

/// What a verity superblock says. Block sizes and the algorithm are fixed in this format
/// of ours, so they are checked and not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Superblock {
    /// UUID of the hash area.
    pub uuid: [u8; 16],
    /// Data blocks under the tree, of 4096 bytes.
    pub data_blocks: u64,
    /// Hashed before each block; at most [`MAX_SALT`] bytes.
    pub salt: Vec<u8>,
}

/// Why bytes are no superblock that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SuperblockError {
    /// Fewer than 512 bytes.
    #[error("verity superblock needs {SUPERBLOCK_SIZE} bytes but only {length} are there")]
    Short {
        /// Bytes given.
        length: usize,
    },
    /// Offset 0x00.
    #[error("no verity superblock: signature is {found:02x?}")]
    Magic {
        /// Bytes in its place.
        found: [u8; 8],
    },
    /// Offset 0x08.
    #[error("verity superblock version {found} is not supported (only 1)")]
    Version {
        /// The version.
        found: u32,
    },
    /// Offset 0x0c.
    #[error("verity hash type {found} is not supported (only 1)")]
    HashType {
        /// The type.
        found: u32,
    },
    /// Offset 0x20.
    #[error("verity algorithm \"{found}\" is not supported (only sha256)")]
    Algorithm {
        /// The name, control characters escaped.
        found: String,
    },
    /// Offsets 0x40 and 0x44.
    #[error("verity block sizes {data} (data) and {hash} (hash) are not supported (only 4096)")]
    BlockSize {
        /// Data block size in bytes.
        data: u32,
        /// Hash block size in bytes.
        hash: u32,
    },
    /// Offset 0x48: none, or more than a device can hold.
    #[error("verity superblock claims {found} data blocks")]
    DataBlocks {
        /// The count.
        found: u64,
    },
    /// Offset 0x50.
    #[error("verity salt of {found} bytes is longer than {MAX_SALT}")]
    SaltSize {
        /// The size in bytes.
        found: u16,
    },
}

impl Superblock {
    /// Decodes the first [`SUPERBLOCK_SIZE`] bytes of a hash area.
    ///
    /// # Errors
    /// One variant for each field that is wrong, the first in the order of the fields.
    pub fn decode(bytes: &[u8]) -> Result<Self, SuperblockError> {
        let Some(raw) = bytes.first_chunk::<SUPERBLOCK_SIZE>() else {
            return Err(SuperblockError::Short { length: bytes.len() });
        };
        let u32_at = |at: usize| u32::from_le_bytes(std::array::from_fn(|index| raw[at + index]));
        let found = std::array::from_fn(|index| raw[index]);
        if found != *MAGIC {
            return Err(SuperblockError::Magic { found });
        }
        if u32_at(0x08) != VERSION {
            return Err(SuperblockError::Version { found: u32_at(0x08) });
        }
        if u32_at(0x0c) != HASH_TYPE {
            return Err(SuperblockError::HashType { found: u32_at(0x0c) });
        }
        let name = raw[0x20..0x40].split(|byte| *byte == 0).next().unwrap_or_default();
        if name != ALGORITHM {
            return Err(SuperblockError::Algorithm { found: name.escape_ascii().to_string() });
        }
        let (data, hash) = (u32_at(0x40), u32_at(0x44));
        if (u64::from(data), u64::from(hash)) != (BLOCK_SIZE, BLOCK_SIZE) {
            return Err(SuperblockError::BlockSize { data, hash });
        }
        let data_blocks = u64::from_le_bytes(std::array::from_fn(|index| raw[0x48 + index]));
        // Data and hash area together must be addressable in bytes by a signed offset.
        if data_blocks == 0 || data_blocks > (i64::MAX as u64 / BLOCK_SIZE) / 2 {
            return Err(SuperblockError::DataBlocks { found: data_blocks });
        }
        let salt_size = u16::from_le_bytes([raw[0x50], raw[0x51]]);
        let salt = raw[0x58..0x58 + MAX_SALT]
            .get(..usize::from(salt_size))
            .ok_or(SuperblockError::SaltSize { found: salt_size })?;
        Ok(Self { uuid: std::array::from_fn(|index| raw[0x10 + index]), data_blocks, salt: salt.to_vec() })
    }

    /// The superblock's bytes; a salt beyond [`MAX_SALT`] is refused when a writer is made.
    pub(super) fn encode(&self) -> [u8; SUPERBLOCK_SIZE] {
        let mut raw = [0; SUPERBLOCK_SIZE];
        let mut put = |at: usize, bytes: &[u8]| raw[at..at + bytes.len()].copy_from_slice(bytes);
        put(0x00, MAGIC);
        put(0x08, &VERSION.to_le_bytes());
        put(0x0c, &HASH_TYPE.to_le_bytes());
        put(0x10, &self.uuid);
        put(0x20, ALGORITHM);
        put(0x40, &(BLOCK_SIZE as u32).to_le_bytes());
        put(0x44, &(BLOCK_SIZE as u32).to_le_bytes());
        put(0x48, &self.data_blocks.to_le_bytes());
        put(0x50, &(self.salt.len() as u16).to_le_bytes());
        put(0x58, &self.salt);
        raw
    }

    /// Bytes of the data.
    pub fn data_size(&self) -> u64 {
        self.data_blocks.saturating_mul(BLOCK_SIZE)
    }

    /// Bytes of the hash area, superblock included.
    pub fn hash_area_size(&self) -> u64 {
        hash_area_blocks(self.data_blocks).saturating_mul(BLOCK_SIZE)
    }

    /// Where the tree's top block is, in bytes from the start of the data when the hash
    /// area is right behind it. (Of a single data block it is that block itself.)
    pub fn top_block_offset(&self) -> u64 {
        if self.data_blocks == 1 { 0 } else { self.data_size().saturating_add(BLOCK_SIZE) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Superblock {
        Superblock { uuid: [7; 16], data_blocks: 12288, salt: (0..32).collect() }
    }

    #[test]
    fn a_good_one_round_trips() {
        assert_eq!(Superblock::decode(&good().encode()), Ok(good()));
        assert_eq!(good().top_block_offset(), 12289 * 4096);
    }

    #[test]
    fn each_poked_field_is_named() {
        use SuperblockError as E;
        let poke = |at: usize, bytes: &[u8]| {
            let mut raw = good().encode();
            raw[at..at + bytes.len()].copy_from_slice(bytes);
            Superblock::decode(&raw).unwrap_err()
        };
        assert_eq!(poke(0, b"V"), E::Magic { found: *b"Verity\0\0" });
        assert_eq!(poke(8, &[2]), E::Version { found: 2 });
        assert_eq!(poke(12, &[0]), E::HashType { found: 0 });
        assert_eq!(poke(32, b"sha1\0"), E::Algorithm { found: "sha1".into() });
        assert_eq!(poke(32, &[0xff; 32]), E::Algorithm { found: r"\xff".repeat(32) });
        assert_eq!(poke(64, &[0, 2]), E::BlockSize { data: 512, hash: 4096 });
        assert_eq!(poke(68, &[0, 2]), E::BlockSize { data: 4096, hash: 512 });
        assert_eq!(poke(72, &[0; 8]), E::DataBlocks { found: 0 });
        assert_eq!(poke(72, &[0xff; 8]), E::DataBlocks { found: u64::MAX });
        assert_eq!(poke(80, &[1, 1]), E::SaltSize { found: 257 });
        assert_eq!(Superblock::decode(&[0; 511]), Err(E::Short { length: 511 }));
    }
}
