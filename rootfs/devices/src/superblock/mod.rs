//! What a block device holds, told by its first blocks: type, label and UUID as blkid(8) gives them.
//!
//! Bytes are hostile: every field is looked at only where the device has it, nothing is followed
//! further than one step, and nothing read decides how much is read.

mod ext;
mod fat;
mod iso9660;
mod others;

use std::fs::File;
use std::os::unix::fs::FileExt;

/// Something to read from.
pub trait Source {
    /// `length` bytes at `offset`; `None` when they are not there.
    fn read(&self, offset: u64, length: usize) -> Option<Vec<u8>>;
}

impl Source for File {
    fn read(&self, offset: u64, length: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.read_exact_at(&mut bytes, offset).ok()?;
        Some(bytes)
    }
}

impl Source for Vec<u8> {
    fn read(&self, offset: u64, length: usize) -> Option<Vec<u8>> {
        let start = usize::try_from(offset).ok()?;
        Some(self.get(start..start.checked_add(length)?)?.to_vec())
    }
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Probe {
    /// `ext4`, `vfat` … as mount(8) takes it where it is a file system.
    pub kind: &'static str,
    /// `filesystem`, `crypto`, `other` (swap).
    pub usage: &'static str,
    /// Label; empty when there is none.
    pub label: String,
    /// UUID or serial number, as blkid writes it; empty when there is none.
    pub uuid: String,
    /// UUID of this member of a file system over several devices.
    pub uuid_sub: String,
    /// Version of the format.
    pub version: String,
}

impl Probe {
    fn new(kind: &'static str, usage: &'static str) -> Self {
        Self { kind, usage, ..Self::default() }
    }
}

type Prober = fn(&dyn Source) -> Option<Probe>;

/// Formats with a magic that is not there by chance: two of them at once are an old one that was
/// not wiped and a new one, and nobody can say which is which.
const STRONG: [Prober; 8] = [
    ext::probe,
    others::xfs,
    others::btrfs,
    others::squashfs,
    others::erofs,
    others::swap,
    others::luks,
    others::verity,
];
/// Formats that share a device with others.
const WEAK: [Prober; 2] = [iso9660::probe, fat::probe];

/// Looks at a device. `None`: it holds nothing that is known, or more than one thing.
pub fn probe(source: &dyn Source) -> Option<Probe> {
    let mut strong = STRONG.iter().filter_map(|prober| prober(source));
    match (strong.next(), strong.next()) {
        (Some(found), None) => Some(found),
        (Some(_), Some(_)) => None,
        (None, _) => WEAK.iter().find_map(|prober| prober(source)),
    }
}

/// A field of fixed length: up to its NUL, without white space at the end.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).trim_end().to_owned()
}

/// A UUID in its usual form; empty when it is all zeros.
fn uuid(bytes: &[u8]) -> String {
    if bytes.iter().all(|byte| *byte == 0) {
        return String::new();
    }
    let mut text = String::with_capacity(36);
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.extend([format!("{byte:02x}")]);
    }
    text
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |chunk| u16::from_le_bytes(*chunk))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |chunk| u32::from_le_bytes(*chunk))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn two_formats_at_once_are_none() {
        let mut device = vec![0; 1 << 20];
        device[1024 + 0x38..1024 + 0x3a].copy_from_slice(b"\x53\xef");
        assert_eq!(probe(&device).unwrap().kind, "ext2");
        device[..4].copy_from_slice(b"XFSB");
        assert_eq!(probe(&device), None);
        assert_eq!(probe(&Vec::new()), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..4096), magic in 0_usize..6) {
            let mut device = vec![0; 70_000];
            device[..bytes.len()].copy_from_slice(&bytes);
            match magic {
                0 => device[510..512].copy_from_slice(b"\x55\xaa"),
                1 => device[32769..32774].copy_from_slice(b"CD001"),
                2 => device[1080..1082].copy_from_slice(b"\x53\xef"),
                3 => device[65600..65608].copy_from_slice(b"_BHRfS_M"),
                4 => device[4086..4096].copy_from_slice(b"SWAPSPACE2"),
                _ => {}
            }
            let found = probe(&device);
            prop_assert!(found.is_none_or(|probe| probe.label.len() <= 1024));
        }
    }
}
