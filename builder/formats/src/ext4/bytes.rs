//! Little-endian fields at an offset.
//!
//! Writing goes into buffers made here, whose length is known. Reading is of hostile bytes:
//! a field beyond the end reads as `None`.

/// Puts a 16-bit field.
pub(super) fn put16(buffer: &mut [u8], offset: usize, value: u16) {
    buffer[offset..offset + 2].copy_from_slice(&value.to_le_bytes());
}

/// Puts a 32-bit field.
pub(super) fn put32(buffer: &mut [u8], offset: usize, value: u32) {
    buffer[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
}

/// Puts the low 32 bits of `value` at one offset and the high at another.
pub(super) fn put_split(buffer: &mut [u8], low: usize, high: usize, value: u64) {
    put32(buffer, low, value as u32);
    put32(buffer, high, (value >> 32) as u32);
}

fn take<const N: usize>(buffer: &[u8], offset: usize) -> Option<[u8; N]> {
    buffer.get(offset..offset.checked_add(N)?)?.try_into().ok()
}

/// Reads a 16-bit field.
pub(super) fn get16(buffer: &[u8], offset: usize) -> Option<u16> {
    take(buffer, offset).map(u16::from_le_bytes)
}

/// Reads a 32-bit field.
pub(super) fn get32(buffer: &[u8], offset: usize) -> Option<u32> {
    take(buffer, offset).map(u32::from_le_bytes)
}
