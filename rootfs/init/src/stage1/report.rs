//! What stage 1 tells PID 1, for the status table.

use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::Path;

/// Where stage 1 leaves its [`Report`], as JSON.
pub const REPORT_PATH: &str = "/run/slipway/stage1.json";

/// The slot that stage 1 chose, and when it got how far. Times are milliseconds of
/// `CLOCK_BOOTTIME`, that is since the kernel started its clock; each is the *end* of its stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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

impl Report {
    /// Leaves the report for PID 1.
    ///
    /// # Errors
    /// /run cannot be written.
    pub fn write(&self) -> io::Result<()> {
        let path = Path::new(REPORT_PATH);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(path, serde_json::to_vec(self)?)
    }

    /// What stage 1 left.
    ///
    /// # Errors
    /// There is no report, or it is no JSON of this form (`InvalidData`).
    pub fn read() -> io::Result<Self> {
        Ok(serde_json::from_slice(&fs::read(REPORT_PATH)?)?)
    }
}
