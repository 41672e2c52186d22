//! Formatting STATE so that cutting the power after any write loses nothing.

use super::StateError;
use super::decide::MARKER;
use formats::ext4::{Error, Layout, Options, Size, superblock};
use formats::read_at::ReadAt;
use formats::stream::ImageSink;
use formats::tree::Tree;
use nix::fcntl::{FallocateFlags, fallocate};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// The part of block 0 that ext4 leaves alone.
const BOOT_AREA: usize = 1024;

/// Formats `device`, open for reading and writing as `file`. `content` gives what it has from the
/// start, for a time in seconds since 1970.
pub(super) fn format(
    file: &File,
    device: &Path,
    content: impl FnOnce(i64) -> Tree,
) -> Result<(), StateError> {
    let random = || sys::random::bytes::<16>().map_err(StateError::device("make a UUID for", device));
    let size = ReadAt::size(file);
    let created = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs() as i64);
    let options = Options {
        size: Size::Exact(size),
        uuid: as_uuid(random()?),
        hash_seed: random()?,
        label: super::LABEL.to_owned(),
        created,
        journal_blocks: Some(journal_blocks(size)),
        resizable: true,
    };
    let tree = content(created);
    let failed = |cause| StateError::Format { device: device.to_owned(), cause };
    let layout = Layout::plan(&tree, &options).map_err(failed)?;
    write(file, |sink| layout.write_with_deferred_superblock(sink)).map_err(failed)
}

/// The steps of [`super::decide::decide`], each durable before the next.
fn write(
    file: &File,
    stream: impl FnOnce(&mut DeviceSink) -> Result<[u8; superblock::SIZE], Error>,
) -> Result<(), Error> {
    file.write_all_at(MARKER, 0).and_then(|()| file.sync_all()).map_err(Error::Sink)?;
    let superblock = stream(&mut DeviceSink { file, position: 0 })?;
    file.sync_all().map_err(Error::Sink)?;
    file.write_all_at(&superblock, superblock::OFFSET).and_then(|()| file.sync_all()).map_err(Error::Sink)?;
    clear_marker(file).map_err(Error::Sink)
}

/// The last step. It need not be durable: a marker beside a good superblock is cleared at the next boot.
pub(super) fn clear_marker(file: &File) -> io::Result<()> {
    file.write_all_at(&[0; MARKER.len()], 0)
}

/// As mke2fs(8) chooses it: from 4 MiB on the smallest disks to 128 MiB, in blocks of 4 KiB.
fn journal_blocks(size: u64) -> u32 {
    match size >> 20 {
        0..128 => 1024,
        128..1024 => 4096,
        1024..2048 => 8192,
        2048..16384 => 16384,
        _ => 32768,
    }
}

/// RFC 9562, section 5.4.
pub(super) fn as_uuid(mut random: [u8; 16]) -> [u8; 16] {
    random[6] = random[6] & 0x0f | 0x40;
    random[8] = random[8] & 0x3f | 0x80;
    random
}

/// Writes a stream to a device, all but the marker's place. What the stream skips keeps its bytes.
struct DeviceSink<'a> {
    file: &'a File,
    position: u64,
}

impl ImageSink for DeviceSink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let kept = usize::try_from(self.position).map_or(0, |position| BOOT_AREA.saturating_sub(position));
        if let Some(rest) = bytes.get(kept..) {
            self.file.write_all_at(rest, self.position + kept as u64)?;
        }
        self.position += bytes.len() as u64;
        Ok(())
    }

    fn zeros(&mut self, count: u64) -> io::Result<()> {
        const CHUNK: usize = 1 << 20;
        let aligned = |value: u64| value.is_multiple_of(4096);
        // The kernel zeroes a range without being handed the zeros, and the disk perhaps without writing them.
        if self.position > 0 && aligned(self.position) && aligned(count) && count > 0 {
            let (offset, length) = (self.position.cast_signed(), count.cast_signed());
            let flags = FallocateFlags::FALLOC_FL_ZERO_RANGE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
            if fallocate(self.file, flags, offset, length).is_ok() {
                self.position += count;
                return Ok(());
            }
        }
        let zeros = vec![0; CHUNK.min(usize::try_from(count).unwrap_or(CHUNK))];
        let mut left = count;
        while left > 0 {
            let length = zeros.len().min(usize::try_from(left).unwrap_or(CHUNK));
            self.write(&zeros[..length])?;
            left -= length as u64;
        }
        Ok(())
    }

    fn skip(&mut self, count: u64) -> io::Result<()> {
        self.position += count;
        Ok(())
    }
}

#[cfg(test)]
#[path = "format_test.rs"]
pub(super) mod tests;
