//! Formats that are told by one block each.

use super::{Probe, Source, text, u32_at, uuid};

/// XFS: xfs.org, "XFS Algorithms & Data Structures", superblocks (`sb_magicnum`, `sb_uuid`, `sb_fname`).
pub(super) fn xfs(source: &dyn Source) -> Option<Probe> {
    let block = source.read(0, 120)?;
    (&block[..4] == b"XFSB").then(|| Probe {
        label: text(&block[108..120]),
        uuid: uuid(&block[32..48]),
        ..Probe::new("xfs", "filesystem")
    })
}

/// Btrfs: btrfs.readthedocs.io, "On-disk format", superblock.
pub(super) fn btrfs(source: &dyn Source) -> Option<Probe> {
    let block = source.read(0x1_0000, 0x22b)?;
    (&block[0x40..0x48] == b"_BHRfS_M").then(|| Probe {
        label: text(&block[0x12b..0x22b]),
        uuid: uuid(&block[0x20..0x30]),
        uuid_sub: uuid(&block[0x10b..0x11b]),
        ..Probe::new("btrfs", "filesystem")
    })
}

/// Squashfs, little-endian: kernel.org, "Squashfs".
pub(super) fn squashfs(source: &dyn Source) -> Option<Probe> {
    let block = source.read(0, 32)?;
    let version = |at: usize| u16::from_le_bytes([block[at], block[at + 1]]);
    (&block[..4] == b"hsqs").then(|| Probe {
        version: format!("{}.{}", version(28), version(30)),
        ..Probe::new("squashfs", "filesystem")
    })
}

/// EROFS: kernel.org, "EROFS", superblock at 1024.
pub(super) fn erofs(source: &dyn Source) -> Option<Probe> {
    let block = source.read(1024, 80)?;
    (u32_at(&block, 0) == 0xe0f5_e1e2).then(|| Probe {
        uuid: uuid(&block[48..64]),
        label: text(&block[64..80]),
        ..Probe::new("erofs", "filesystem")
    })
}

/// Swap: linux/swap.h, `union swap_header`; the magic ends the first page, of whichever size.
pub(super) fn swap(source: &dyn Source) -> Option<Probe> {
    let is_swap = |page: u64| source.read(page - 10, 10).is_some_and(|magic| magic == b"SWAPSPACE2");
    if ![4096, 8192, 16384, 32768, 65536].into_iter().any(is_swap) {
        return None;
    }
    let header = source.read(1024, 44)?;
    let mut found = Probe::new("swap", "other");
    if u32_at(&header, 0) == 1 {
        found.uuid = uuid(&header[12..28]);
        found.label = text(&header[28..44]);
    }
    "1".clone_into(&mut found.version);
    Some(found)
}

/// LUKS: "LUKS1 On-Disk Format Specification" and "LUKS2 On-Disk Format Specification".
pub(super) fn luks(source: &dyn Source) -> Option<Probe> {
    let header = source.read(0, 208)?;
    if &header[..6] != b"LUKS\xba\xbe" {
        return None;
    }
    let version = u16::from_be_bytes([header[6], header[7]]);
    Some(Probe {
        uuid: text(&header[168..208]),
        label: if version == 2 { text(&header[24..72]) } else { String::new() },
        version: version.to_string(),
        ..Probe::new("crypto_LUKS", "crypto")
    })
}

/// dm-verity's hash tree: gitlab.com/cryptsetup, `DMVerity`, superblock.
pub(super) fn verity(source: &dyn Source) -> Option<Probe> {
    let header = source.read(0, 32)?;
    (&header[..8] == b"verity\0\0").then(|| Probe {
        uuid: uuid(&header[16..32]),
        version: u32_at(&header, 8).to_string(),
        ..Probe::new("DM_verity_hash", "crypto")
    })
}
