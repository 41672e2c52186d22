//! How an image comes out: once, in ascending order, with its holes named.
//!
//! A writer that emits its image in order can be teed into the dm-verity hasher and the
//! output file in one pass, without reading anything back.

use std::io::{self, SeekFrom};

/// Receives an image from its first byte to its last.
pub trait ImageSink {
    /// The next bytes.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// The next `count` bytes are zero and must read as zero.
    fn zeros(&mut self, count: u64) -> io::Result<()>;

    /// The next `count` bytes belong to nothing. An image file leaves them as zeros (the
    /// default); a formatter of a device may leave what is there.
    fn skip(&mut self, count: u64) -> io::Result<()> {
        self.zeros(count)
    }
}

/// Where a seek from `position` in a file of `size` bytes leads.
///
/// # Errors
/// Before the start, or beyond what a number holds.
pub(crate) fn sought(to: SeekFrom, position: u64, size: u64) -> io::Result<u64> {
    let target = match to {
        SeekFrom::Start(position) => Some(position),
        SeekFrom::End(by) => size.checked_add_signed(by),
        SeekFrom::Current(by) => position.checked_add_signed(by),
    };
    Ok(target.ok_or(io::ErrorKind::InvalidInput)?)
}

impl<S: ImageSink + ?Sized> ImageSink for &mut S {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        (**self).write(bytes)
    }
    fn zeros(&mut self, count: u64) -> io::Result<()> {
        (**self).zeros(count)
    }
    fn skip(&mut self, count: u64) -> io::Result<()> {
        (**self).skip(count)
    }
}

impl ImageSink for Vec<u8> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.extend_from_slice(bytes);
        Ok(())
    }
    fn zeros(&mut self, count: u64) -> io::Result<()> {
        let length = self.len() + usize::try_from(count).map_err(|_| io::ErrorKind::OutOfMemory)?;
        self.resize(length, 0);
        Ok(())
    }
}
