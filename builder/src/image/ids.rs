//! Every UUID, salt and seed of an image, from its name and version alone.
//!
//! The rule: SHA-256 over `slipway-id`, the image's name, its version and the purpose, each
//! followed by a NUL byte. A salt is the whole hash; a UUID its first 16 bytes with the version
//! bits of UUIDv8 (RFC 9562, 5.8); a FAT volume id its first 4. Two builds of one version thus
//! agree, and two versions never share a file system's identity.

use sha2::{Digest, Sha256};

/// The source of an image's identities.
#[derive(Debug, Clone, Copy)]
pub struct Ids<'a> {
    /// Image name.
    pub name: &'a str,
    /// Image version.
    pub version: &'a str,
}

impl Ids<'_> {
    /// 32 bytes for a purpose.
    pub fn salt(&self, purpose: &str) -> [u8; 32] {
        let mut hash = Sha256::new();
        for part in ["slipway-id", self.name, self.version, purpose] {
            hash.update(part.as_bytes());
            hash.update([0]);
        }
        hash.finalize().into()
    }

    /// A UUID for a purpose, its bytes in the order in which they are printed.
    pub fn uuid(&self, purpose: &str) -> [u8; 16] {
        let mut uuid = [0; 16];
        uuid.copy_from_slice(&self.salt(purpose)[..16]);
        uuid[6] = uuid[6] & 0x0f | 0x80;
        uuid[8] = uuid[8] & 0x3f | 0x80;
        uuid
    }

    /// A FAT volume id for a purpose.
    pub fn volume_id(&self, purpose: &str) -> u32 {
        let [a, b, c, d, ..] = self.salt(purpose);
        u32::from_be_bytes([a, b, c, d])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_stays() {
        let ids = Ids { name: "slipway", version: "0.1.0" };
        // printf 'slipway-id\0slipway\0%s\0disk\0' 0.1.0 | sha256sum
        let digits: String = ids.salt("disk").iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(digits, EXPECTED);
        assert_eq!(ids.uuid("disk")[6] >> 4, 8);
        assert_ne!(ids.uuid("disk"), Ids { version: "0.1.1", ..ids }.uuid("disk"));
        assert_ne!(ids.uuid("disk"), ids.uuid("esp"));
    }

    const EXPECTED: &str = "f22212ab210ee893bc7fb653751dfa5f8a2228ebf38bda1bf17e6a4323146f5f";
}
