//! The header of an image.

/// The first bytes of every image.
pub const MAGIC: [u8; 4] = *b"QFI\xfb";
/// Bytes of a header with the compression type, and of the longest read here.
pub(super) const HEADER_SIZE: usize = 112;
/// Bytes of a version 2 header.
const HEADER_V2_SIZE: usize = 72;

/// Incompatible feature: reference counts may be wrong (they are not needed for reading).
const DIRTY: u64 = 1;
/// Incompatible feature: the compression type is not zlib.
pub(super) const COMPRESSION: u64 = 1 << 3;

/// How clusters are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    Zlib,
    Zstd,
}

/// The fields that reading needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) cluster_bits: u32,
    /// Bytes of the disk.
    pub(super) size: u64,
    pub(super) l1_offset: u64,
    pub(super) compression: Compression,
    /// Version 3 has clusters that read as zeros without being absent.
    pub(super) has_zero_flag: bool,
}

/// Why a header cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Too short, or another kind of file.
    #[error("no qcow2 image: it does not begin with \"QFI\\xfb\"")]
    Magic,
    /// Neither 2 nor 3.
    #[error("qcow2 version {found} is not supported (only 2 and 3)")]
    Version {
        /// The version.
        found: u32,
    },
    /// Shorter than its version's header.
    #[error("qcow2 header ends after {length} bytes")]
    Short {
        /// Bytes there.
        length: usize,
    },
    /// Something that this reader cannot do.
    #[error("qcow2 image has {what}, which is not supported")]
    Unsupported {
        /// What.
        what: &'static str,
    },
    /// Feature bits unknown here.
    #[error("qcow2 image needs unknown features {bits:#x}")]
    Features {
        /// The bits.
        bits: u64,
    },
    /// A field has a value that cannot be.
    #[error("qcow2 header: {field} at byte {offset} is {found}")]
    Field {
        /// The field as the specification names it.
        field: &'static str,
        /// Its place.
        offset: usize,
        /// Its value.
        found: u64,
    },
}

impl Header {
    /// Decodes the first bytes (up to 112) of a file of `file_size` bytes.
    pub(super) fn decode(raw: &[u8], file_size: u64) -> Result<Self, HeaderError> {
        if !raw.starts_with(&MAGIC) {
            return Err(HeaderError::Magic);
        }
        let length = raw.len();
        let mut padded = [0; HEADER_SIZE];
        padded[..length.min(HEADER_SIZE)].copy_from_slice(&raw[..length.min(HEADER_SIZE)]);
        let u32_at = |at: usize| u32::from_be_bytes(std::array::from_fn(|index| padded[at + index]));
        let u64_at = |at: usize| u64::from_be_bytes(std::array::from_fn(|index| padded[at + index]));
        let version = u32_at(4);
        let least = match version {
            2 => HEADER_V2_SIZE,
            3 => 104,
            found => return Err(HeaderError::Version { found }),
        };
        if length < least {
            return Err(HeaderError::Short { length });
        }
        let (features, header_length) = if version == 3 { (u64_at(72), u32_at(100)) } else { (0, 72) };
        let compression_type = if header_length > 104 { padded[104] } else { 0 };
        for (present, what) in [
            (u64_at(8) != 0, "a backing file"),
            (u32_at(32) != 0, "encryption"),
            (features & 1 << 1 != 0, "been marked corrupt"),
            (features & 1 << 2 != 0, "an external data file"),
            (features & 1 << 4 != 0, "sub-clusters"),
        ] {
            if present {
                return Err(HeaderError::Unsupported { what });
            }
        }
        if features & !(DIRTY | COMPRESSION) != 0 {
            return Err(HeaderError::Features { bits: features & !(DIRTY | COMPRESSION) });
        }
        let field = |field, offset, found| Err(HeaderError::Field { field, offset, found });
        let compression = match (compression_type, features & COMPRESSION != 0) {
            (0, false) => Compression::Zlib,
            (1, true) => Compression::Zstd,
            (found, _) => return field("compression_type", 104, found.into()),
        };
        let (cluster_bits, size) = (u32_at(20), u64_at(24));
        let (l1_size, l1_offset) = (u64::from(u32_at(36)), u64_at(40));
        if !(9..=21).contains(&cluster_bits) {
            return field("cluster_bits", 20, cluster_bits.into());
        }
        if size > i64::MAX as u64 {
            return field("size", 24, size);
        }
        // An L2 table is a cluster of entries, each for a cluster.
        if l1_size < size.div_ceil(1 << (2 * cluster_bits - 3)) {
            return field("l1_size", 36, l1_size);
        }
        let l1_end = l1_offset.checked_add(l1_size * 8);
        if l1_offset % (1 << cluster_bits) != 0 || l1_end.is_none_or(|end| end > file_size) {
            return field("l1_table_offset", 40, l1_offset);
        }
        Ok(Self { cluster_bits, size, l1_offset, compression, has_zero_flag: version == 3 })
    }
}
