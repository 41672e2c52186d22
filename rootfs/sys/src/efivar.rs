//! EFI variables of the boot loader, read through efivarfs. The Boot Loader Interface
//! (systemd.io/BOOT_LOADER_INTERFACE) names them and gives their meaning.

use std::io;
use std::path::Path;

/// Where efivarfs is mounted.
pub const MOUNT_POINT: &str = "/sys/firmware/efi/efivars";

/// The vendor GUID of the Boot Loader Interface.
const VENDOR: &str = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";

/// Reads a text variable of the boot loader (`LoaderBootCountPath`). `None`: it is not set, or
/// the machine was not started through UEFI.
///
/// # Errors
/// The kernel's, or `InvalidData` when the value is no text.
pub fn read_loader(name: &str) -> io::Result<Option<String>> {
    let path = Path::new(MOUNT_POINT).join(format!("{name}-{VENDOR}"));
    match std::fs::read(path) {
        Ok(bytes) => decode(&bytes).map(Some).ok_or_else(|| io::ErrorKind::InvalidData.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// efivarfs gives four bytes of attributes before the value; the value is UTF-16LE, ended by NUL.
fn decode(bytes: &[u8]) -> Option<String> {
    let (units, rest) = bytes.get(4..)?.as_chunks::<2>();
    let units: Vec<u16> = units.iter().map(|unit| u16::from_le_bytes(*unit)).collect();
    let text = units.strip_suffix(&[0]).unwrap_or(&units);
    rest.is_empty().then(|| String::from_utf16(text).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_utf_16_after_the_attributes() {
        assert_eq!(decode(b"\x06\0\0\0\\\0E\0\0\0").as_deref(), Some("\\E"));
        assert_eq!(decode(b"\x06\0\0\0E\0").as_deref(), Some("E"));
        assert_eq!(decode(b"\x06\0\0\0").as_deref(), Some(""));
        assert_eq!(decode(b"\x06\0\0\0E"), None);
        assert_eq!(decode(b"\x06\0\0\0\0\xd8"), None);
        assert_eq!(decode(b"\x06"), None);
    }
}
