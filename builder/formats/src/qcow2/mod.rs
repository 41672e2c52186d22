//! qcow2 disk images (QEMU `docs/interop/qcow2.txt`).
//!
//! [`write`] makes version 3 images of clusters of 64 KiB, each compressed with zstd where
//! that is shorter, which QEMU reads since 5.1. [`Qcow2`] reads versions 2 and 3, hostile
//! ones included, with plain, zero and compressed (zlib, zstd) clusters; images with a
//! backing file, an external data file, encryption or sub-clusters are refused by name.

mod header;
mod read;
mod write;

pub use header::{HeaderError, MAGIC};
pub use read::{ClusterError, Qcow2, Qcow2Error};
pub use write::{WriteError, write};

/// Bits of an L1 or L2 entry that are a place in the file.
const OFFSET_MASK: u64 = 0x00ff_ffff_ffff_fe00;
/// The cluster has a reference count of exactly one.
const COPIED: u64 = 1 << 63;
/// The L2 entry is a compressed cluster's.
const COMPRESSED: u64 = 1 << 62;
/// Compressed clusters are counted in sectors of this size.
const SECTOR: u64 = 512;

/// How the rest of a compressed cluster's L2 entry is split: its low bits are the place
/// in the file, those above count further sectors.
fn compressed_offset_bits(cluster_bits: u32) -> u32 {
    62 - (cluster_bits - 8)
}
