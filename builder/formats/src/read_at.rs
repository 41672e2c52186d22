//! Positioned reading of an image: a file, a block device, or bytes in memory.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::FileExt;

/// Something of a known size that is read by position.
pub trait ReadAt {
    /// Fills `buffer` from byte `offset` on.
    ///
    /// # Errors
    /// `UnexpectedEof` when the bytes end before `buffer` is full; whatever the device says otherwise.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// Size in bytes; 0 when it cannot be found.
    fn size(&self) -> u64;
}

impl ReadAt for File {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, buffer, offset)
    }

    /// A block device has no length in its metadata, but its end can be sought.
    /// That moves the file's cursor, which positioned reads do not use.
    fn size(&self) -> u64 {
        match self.metadata() {
            Ok(metadata) if metadata.is_file() => metadata.len(),
            _ => {
                let mut file = self;
                file.seek(SeekFrom::End(0)).unwrap_or(0)
            }
        }
    }
}

impl ReadAt for [u8] {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let source = usize::try_from(offset)
            .ok()
            .and_then(|start| self.get(start..start.checked_add(buffer.len())?))
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(source);
        Ok(())
    }

    fn size(&self) -> u64 {
        self.len() as u64
    }
}

impl ReadAt for Vec<u8> {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        ReadAt::read_exact_at(self.as_slice(), buffer, offset)
    }

    fn size(&self) -> u64 {
        self.len() as u64
    }
}

impl<R: ReadAt + ?Sized> ReadAt for &R {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        (**self).read_exact_at(buffer, offset)
    }

    fn size(&self) -> u64 {
        (**self).size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn memory_and_file_agree_up_to_and_beyond_their_end() {
        let bytes = (0..=255).collect::<Vec<u8>>();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        let readers: [&dyn ReadAt; 2] = [&bytes, &file];
        for reader in readers {
            assert_eq!(reader.size(), 256);
            let mut buffer = [0; 6];
            reader.read_exact_at(&mut buffer, 250).unwrap();
            assert_eq!(buffer, [250, 251, 252, 253, 254, 255]);
            for offset in [251, 256, 300] {
                let error = reader.read_exact_at(&mut buffer, offset).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
            }
        }
        let error = ReadAt::read_exact_at(&bytes, &mut [0; 6], u64::MAX).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
