//! Whether two things that are read by position have the same bytes.

use formats::read_at::ReadAt;
use std::io;

const CHUNK: u64 = 1 << 20;

/// A failure to read one of two things.
pub(super) struct Unreadable {
    /// Whether it is the second of them.
    pub(super) second: bool,
    pub(super) offset: u64,
    pub(super) source: io::Error,
}

impl Unreadable {
    /// The one of two that it is about.
    pub(super) fn of<T>(&self, first: T, second: T) -> T {
        if self.second { second } else { first }
    }
}

/// Compares what two readers have, sizes first.
pub(super) fn same(a: &dyn ReadAt, b: &dyn ReadAt) -> Result<bool, Unreadable> {
    let size = a.size();
    if b.size() != size {
        return Ok(false);
    }
    let [mut one, mut other] = [(); 2].map(|()| vec![0; CHUNK.min(size) as usize]);
    for offset in (0..size).step_by(CHUNK as usize) {
        let count = CHUNK.min(size - offset) as usize;
        for (second, buffer, reader) in [(false, &mut one, a), (true, &mut other, b)] {
            reader.read_exact_at(&mut buffer[..count], offset).map_err(|source| Unreadable {
                second,
                offset,
                source,
            })?;
        }
        if one[..count] != other[..count] {
            return Ok(false);
        }
    }
    Ok(true)
}
