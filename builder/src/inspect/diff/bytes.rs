//! Whether two things that are read by position have the same bytes.

use formats::read_at::ReadAt;
use std::io;

const CHUNK: u64 = 1 << 20;

/// Compares two readers of the same size. An error comes with its offset.
pub(super) fn same(a: &dyn ReadAt, b: &dyn ReadAt) -> Result<bool, (u64, io::Error)> {
    let size = a.size();
    if b.size() != size {
        return Ok(false);
    }
    let mut buffers = [vec![0; CHUNK.min(size) as usize], vec![0; CHUNK.min(size) as usize]];
    for offset in (0..size).step_by(CHUNK as usize) {
        let count = CHUNK.min(size - offset) as usize;
        for (buffer, reader) in buffers.iter_mut().zip([a, b]) {
            reader.read_exact_at(&mut buffer[..count], offset).map_err(|source| (offset, source))?;
        }
        if buffers[0][..count] != buffers[1][..count] {
            return Ok(false);
        }
    }
    Ok(true)
}
