//! File systems that carry user-data are known by their labels.

use super::super::SetupError;
use sys::mount::{Flags, Mount};

/// Bytes at the start of a device that tell.
pub(super) const HEAD: usize = 32808 + 32;

/// A file system that carries user-data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seed {
    /// How to mount it.
    pub(super) fs_type: &'static str,
    /// Its kind in a reader's words.
    pub(super) kind: &'static str,
    /// The document in it.
    pub(super) document: &'static str,
    /// The metadata in it.
    pub(super) metadata: &'static str,
}

/// What the label says, for a device that begins with `head`.
///
/// Labels: ECMA-119 8.4.7 (volume identifier), Microsoft's FAT specification (`BS_VolLab`).
/// Their case is not kept by all tools. Meanings: cloud-init's NoCloud, `OpenStack`'s config drive.
pub(super) fn seed(head: &[u8]) -> Option<Seed> {
    let at = |offset: usize, length: usize| head.get(offset..offset + length);
    let (fs_type, label) = if at(32769, 5) == Some(b"CD001") {
        ("iso9660", at(32808, 32)?)
    } else if at(510, 2) != Some(b"\x55\xaa") {
        return None;
    } else if at(82, 8) == Some(b"FAT32   ") {
        ("vfat", at(71, 11)?)
    } else if at(54, 3) == Some(b"FAT") {
        ("vfat", at(43, 11)?)
    } else {
        return None;
    };
    let label = label.trim_ascii_end().to_ascii_lowercase();
    let (kind, document, metadata) = match label.as_slice() {
        b"cidata" => ("NoCloud disk", "user-data", "meta-data"),
        b"config-2" => ("config drive", "openstack/latest/user_data", "openstack/latest/meta_data.json"),
        _ => return None,
    };
    Some(Seed { fs_type, kind, document, metadata })
}

impl Seed {
    /// The mount of `device` at `target`, its modules loaded.
    pub(super) fn mount(self, device: &std::path::Path, target: &str) -> Result<Mount, SetupError> {
        let modules: &[&str] = match self.fs_type {
            "vfat" => &["vfat", "nls_cp437", "nls_ascii"],
            _ => &["isofs"],
        };
        for module in modules {
            sys::modules::load(module)?;
        }
        let locked = Flags::MS_RDONLY | Flags::MS_NOSUID | Flags::MS_NODEV | Flags::MS_NOEXEC;
        let options = if self.fs_type == "vfat" { "iocharset=ascii,codepage=437" } else { "" };
        Ok(Mount::new(device, target, self.fs_type).flags(locked).options(options))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(parts: &[(usize, &[u8])]) -> Vec<u8> {
        let mut head = vec![0; HEAD];
        for (offset, bytes) in parts {
            head[*offset..offset + bytes.len()].copy_from_slice(bytes);
        }
        head
    }

    #[test]
    fn labels_are_found_in_every_form_whatever_their_case() {
        let fat16 = head(&[(510, b"\x55\xaa"), (54, b"FAT16   "), (43, b"CIDATA     ")]);
        let fat32 = head(&[(510, b"\x55\xaa"), (82, b"FAT32   "), (71, b"CONFIG-2   ")]);
        let iso = head(&[(32769, b"CD001"), (32808, b"cidata                          ")]);
        let found = |head: &[u8]| seed(head).map(|seed| (seed.fs_type, seed.document));
        assert_eq!(found(&fat16), Some(("vfat", "user-data")));
        assert_eq!(found(&fat32), Some(("vfat", "openstack/latest/user_data")));
        assert_eq!(found(&iso), Some(("iso9660", "user-data")));
    }

    #[test]
    fn other_devices_are_no_seeds() {
        assert_eq!(seed(&head(&[(510, b"\x55\xaa"), (54, b"FAT16   "), (43, b"DATA       ")])), None);
        assert_eq!(seed(&head(&[(510, b"\x55\xaa")])), None);
        assert_eq!(seed(b"short"), None);
    }
}
