//! The whole slot, read through dm-verity.

use super::BlessError;
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use std::fs::File;
use std::io::Read;
use std::path::Path;

const PIECE: usize = 1 << 20;
/// The kernel's own default (`VM_READAHEAD_PAGES`).
const READ_AHEAD_BYTES: u32 = 128 << 10;

/// Reads every block of the device that the root is on. What was read is dropped from memory, for
/// nobody asked for it. The boot is over: from now on whole files are read more often than pages here
/// and there, so stage 1's short read-ahead of the device ends.
pub(super) fn read_through() -> Result<(), BlessError> {
    let device = sys::mount::device_of(Path::new("/")).map_err(BlessError::NoSlot)?;
    let mut file = File::open(&device).map_err(BlessError::file("open", &device))?;
    sys::block::set_read_ahead(&file, READ_AHEAD_BYTES)
        .map_err(BlessError::file("set the read-ahead of", &device))?;
    let mut piece = vec![0; PIECE];
    let mut done = 0;
    loop {
        let count = file.read(&mut piece).map_err(BlessError::file("read", &device))?;
        if count == 0 {
            return Ok(());
        }
        // Advice; without it the blocks stay until their memory is wanted.
        let _ = posix_fadvise(&file, done, count as i64, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
        done += count as i64;
    }
}
