//! A part of something that is read by position: a partition of a disk.

use std::io;

use crate::read_at::ReadAt;

/// `size` bytes of `reader` from byte `offset` on. Reading beyond them is an error, even
/// where the reader has more.
#[derive(Debug, Clone, Copy)]
pub struct Window<R> {
    reader: R,
    offset: u64,
    size: u64,
}

impl<R: ReadAt> Window<R> {
    /// A window that may reach beyond the reader's end; reading there fails.
    pub fn new(reader: R, offset: u64, size: u64) -> Self {
        Self { reader, offset, size }
    }
}

impl<R: ReadAt> ReadAt for Window<R> {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64).filter(|end| *end <= self.size);
        let start = self.offset.checked_add(offset).filter(|_| end.is_some());
        self.reader.read_exact_at(buffer, start.ok_or(io::ErrorKind::UnexpectedEof)?)
    }

    fn size(&self) -> u64 {
        self.size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_outside_is_read() {
        let bytes = (0..100).collect::<Vec<u8>>();
        let window = Window::new(bytes, 10, 20);
        let mut buffer = [0; 20];
        window.read_exact_at(&mut buffer, 0).unwrap();
        assert_eq!(buffer, std::array::from_fn(|index| index as u8 + 10));
        assert!(window.read_exact_at(&mut buffer, 1).is_err());
        assert!(window.read_exact_at(&mut buffer, u64::MAX).is_err());
        let wild = Window::new([0_u8; 4].to_vec(), u64::MAX, u64::MAX);
        assert!(wild.read_exact_at(&mut [0; 2], 5).is_err());
    }
}
