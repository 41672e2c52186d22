//! What stage 1 found, for the set-up and the status table.

/// The slot that stage 1 chose, and when it got how far. Times are milliseconds of
/// `CLOCK_BOOTTIME`, that is since the kernel started its clock; each is the *end* of its stage.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Label of the slot's partition (`SLOT-A`).
    pub slot: String,
    /// The partition (`/dev/vda2`).
    pub device: String,
    /// The disk that it lies on (`/dev/vda`).
    pub disk: String,
    /// Root hash of the slot's verity tree, 64 hexadecimal digits.
    pub root_hash: String,
    /// Stage 1 begins: the kernel is done.
    pub kernel_ms: u64,
    /// All modules of the initramfs are loaded.
    pub modules_ms: u64,
    /// The boot disk is there and the slot is chosen.
    pub slot_ms: u64,
    /// The slot is mapped by dm-verity and mounted; switching root follows.
    pub verity_ms: u64,
}
