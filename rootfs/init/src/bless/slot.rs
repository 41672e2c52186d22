//! The whole slot, read through dm-verity.

use super::BlessError;
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

const PIECE: usize = 1 << 20;

/// Reads every block of the device that the root is on. What was read is dropped from memory, for
/// nobody asked for it.
pub(super) fn read_through() -> Result<(), BlessError> {
    let root = Path::new("/");
    let number = root.metadata().map_err(BlessError::file("stat", root))?.dev();
    let (major, minor) = (nix::sys::stat::major(number), nix::sys::stat::minor(number));
    let link = fs::read_link(format!("/sys/dev/block/{major}:{minor}")).map_err(BlessError::NoSlot)?;
    let device = Path::new("/dev").join(link.file_name().unwrap_or_default());
    let mut file = File::open(&device).map_err(BlessError::file("open", &device))?;
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
