//! The checksum of a PE file (Microsoft "PE Format", optional header, `CheckSum`):
//! the ones' complement sum of its 16-bit words plus its length.

/// Takes in a file piece by piece; each piece but the last has an even length.
#[derive(Default)]
pub(super) struct Checksum {
    words: u64,
    length: u64,
}

impl Checksum {
    pub(super) fn take_in(&mut self, bytes: &[u8]) {
        let (pairs, rest) = bytes.as_chunks::<2>();
        // 2^48 words fit, more than a PE file can have.
        self.words += pairs.iter().map(|pair| u64::from(u16::from_le_bytes(*pair))).sum::<u64>();
        self.words += rest.first().map_or(0, |byte| u64::from(*byte));
        self.length += bytes.len() as u64;
    }

    /// The sum, for a file whose `CheckSum` field was zero when taken in.
    pub(super) fn finish(self) -> u32 {
        let mut sum = self.words;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        (sum as u32).wrapping_add(self.length as u32)
    }
}
