//! A root tree of a given size, the same each time: sizes as in a Debian root, where half of the
//! files are below 4 KiB and most of the bytes are in a few large ones.

use crate::Result;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

/// Small, the same everywhere, and good enough for sizes (`SplitMix64`).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let word = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// What was made.
pub(crate) struct Made {
    pub files: u64,
    pub bytes: u64,
}

/// Makes a tree of about `bytes` in `folder`.
pub(crate) fn make(folder: &Path, bytes: u64) -> Result<Made> {
    let mut random = Random(bytes);
    let mut made = Made { files: 0, bytes: 0 };
    let mut content = Vec::new();
    while made.bytes < bytes {
        let directory = folder.join(format!("usr/{}/{}", made.files / 1000, made.files / 50 % 20));
        if made.files.is_multiple_of(50) {
            fs::create_dir_all(&directory)?;
        }
        let size = match random.below(100) {
            0..50 => random.below(4 << 10),
            50..85 => random.below(32 << 10),
            85..98 => random.below(256 << 10),
            _ => random.below(4 << 20),
        };
        content.clear();
        while (content.len() as u64) < size {
            content.extend(random.next().to_le_bytes());
        }
        let path = directory.join(format!("file-{}", made.files));
        let mut file = fs::File::create(&path)?;
        file.write_all(&content[..size as usize])?;
        if made.files.is_multiple_of(10) {
            file.set_permissions(fs::Permissions::from_mode(0o755))?;
            symlink(&path, path.with_extension("link"))?;
        }
        made.files += 1;
        made.bytes += size;
    }
    Ok(made)
}
