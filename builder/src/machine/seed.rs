//! A NoCloud disk: user-data of any size, on a FAT32 volume labelled CIDATA.

use formats::esp::{Esp, Options};
use formats::stream::ImageSink;
use formats::tree::Content;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

/// Little above the smallest FAT32; most of it is a hole.
const SIZE: u64 = 34 << 20;

/// Writes the disk into an empty file.
///
/// # Errors
/// The document does not fit, or the file cannot be written.
pub fn write_seed(file: &File, user_data: &[u8]) -> io::Result<()> {
    let options = Options { size: SIZE, volume_id: 2, label: "CIDATA".into(), hidden_sectors: 0 };
    let files = [
        ("meta-data".to_owned(), Content::bytes(b"instance-id: slipway\n".as_slice())),
        ("user-data".to_owned(), Content::bytes(user_data)),
    ];
    let volume = Esp::plan(&files, &options).map_err(io::Error::other)?;
    file.set_len(SIZE)?;
    volume.write(&mut Sparse { file, position: 0 })
}

/// A stream into a file that is all zeros.
struct Sparse<'a> {
    file: &'a File,
    position: u64,
}

impl ImageSink for Sparse<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, self.position)?;
        self.zeros(bytes.len() as u64)
    }

    fn zeros(&mut self, count: u64) -> io::Result<()> {
        self.position += count;
        Ok(())
    }
}
