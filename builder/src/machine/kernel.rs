//! Cutting the ELF kernel out of a bzImage, for a boot without firmware (PVH).
//!
//! A bzImage holds the kernel compressed behind its real-mode code; starting the ELF file
//! itself saves a guest the decompression, which under emulation is half a second.

use thiserror::Error;

/// Bytes past which an unpacked kernel is refused.
const KERNEL_MAX: usize = 1 << 29;

/// Why there is no ELF kernel to be had.
#[derive(Debug, Error, PartialEq, Eq)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum KernelError {
    #[error("the kernel is no bzImage: {0}")]
    NotBzImage(&'static str),
    #[error("the kernel's payload is not compressed with LZ4 (it starts with {0:02x?})")]
    NotLz4(Vec<u8>),
    #[error("the kernel's LZ4 payload is broken: {0}")]
    Broken(&'static str),
}

/// The ELF kernel inside a bzImage with an LZ4 payload.
///
/// Source: the Linux/x86 boot protocol, `setup_sects` (0x1f1), `payload_offset` (0x248) and
/// `payload_length` (0x24c); LZ4's legacy frame format.
///
/// # Errors
/// The bytes are no bzImage of protocol 2.08 or newer, or the payload is of another form.
pub fn vmlinux(image: &[u8]) -> Result<Vec<u8>, KernelError> {
    let word = |offset: usize| -> Option<usize> {
        let bytes: [u8; 4] = image.get(offset..offset + 4)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(bytes)).ok()
    };
    if image.get(0x202..0x206) != Some(b"HdrS") {
        return Err(KernelError::NotBzImage("no boot protocol header"));
    }
    let protocol = u16::from_le_bytes([image[0x206], *image.get(0x207).unwrap_or(&0)]);
    if protocol < 0x208 {
        return Err(KernelError::NotBzImage("its boot protocol is older than 2.08"));
    }
    let sectors = match image[0x1f1] {
        0 => 4,
        sectors => usize::from(sectors),
    };
    let range = word(0x248).zip(word(0x24c)).and_then(|(offset, length)| {
        let start = (sectors + 1).checked_mul(512)?.checked_add(offset)?;
        Some(start..start.checked_add(length)?)
    });
    let payload = range
        .and_then(|range| image.get(range))
        .ok_or(KernelError::NotBzImage("its payload reaches past its end"))?;
    // The last four bytes are the unpacked length, put there by the kernel's build.
    let Some((blocks, length)) =
        payload.strip_prefix(&[0x02, 0x21, 0x4c, 0x18]).and_then(|rest| rest.split_last_chunk::<4>())
    else {
        return Err(KernelError::NotLz4(payload.iter().take(4).copied().collect()));
    };
    let length = u32::from_le_bytes(*length) as usize;
    if length > KERNEL_MAX {
        return Err(KernelError::Broken("it is larger than 512 MiB"));
    }
    let mut unpacked = vec![0; length];
    let (mut rest, mut filled) = (blocks, 0);
    while let Some((size, after)) = rest.split_first_chunk::<4>() {
        let size = u32::from_le_bytes(*size) as usize;
        let block = after.get(..size).ok_or(KernelError::Broken("a block reaches past its end"))?;
        filled += lz4_flex::block::decompress_into(block, &mut unpacked[filled..])
            .map_err(|_| KernelError::Broken("a block does not decompress"))?;
        rest = &after[size..];
    }
    if filled != length || !unpacked.starts_with(b"\x7fELF") {
        return Err(KernelError::Broken("it does not unpack to an ELF file"));
    }
    Ok(unpacked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_bytes_are_refused() {
        assert_eq!(vmlinux(b""), Err(KernelError::NotBzImage("no boot protocol header")));
        let mut image = vec![0; 0x400];
        image[0x202..0x206].copy_from_slice(b"HdrS");
        assert!(matches!(vmlinux(&image), Err(KernelError::NotBzImage(_))));
        image[0x206..0x208].copy_from_slice(&0x20fu16.to_le_bytes());
        image[0x248..0x250].copy_from_slice(&[0xff; 8]);
        assert_eq!(vmlinux(&image), Err(KernelError::NotBzImage("its payload reaches past its end")));
    }
}
