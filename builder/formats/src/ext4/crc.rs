//! crc32c as ext4 uses it: seeded, and without the final inversion.
//!
//! Source: Documentation/filesystems/ext4, "Checksums".

/// The checksum of `bytes` continued from `seed`.
pub(super) fn crc(seed: u32, bytes: &[u8]) -> u32 {
    !crc32c::crc32c_append(!seed, bytes)
}

/// The seed of a whole file system's metadata checksums, from its UUID.
pub(super) fn file_system_seed(uuid: &[u8; 16]) -> u32 {
    crc(!0, uuid)
}

/// The seed of the checksums of one inode and of its blocks. Generation is `i_generation`.
pub(super) fn inode_seed(file_system_seed: u32, inode: u32, generation: u32) -> u32 {
    crc(crc(file_system_seed, &inode.to_le_bytes()), &generation.to_le_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn continues_like_one_pass() {
        assert_eq!(!crc(!0, b"123456789"), 0xe306_9283);
        assert_eq!(crc(crc(!0, b"1234"), b"56789"), crc(!0, b"123456789"));
    }
}
