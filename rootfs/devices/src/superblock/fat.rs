//! FAT12, FAT16 and FAT32: Microsoft, "FAT32 File System Specification".

use super::{Probe, Source, text, u16_at, u32_at};

/// Entries of the root directory that are searched for a label: it is one of the first.
const ENTRIES: usize = 512;
const ATTR_VOLUME_ID: u8 = 0x08;
const ATTR_LONG_NAME: u8 = 0x0f;

pub(super) fn probe(source: &dyn Source) -> Option<Probe> {
    let sector = source.read(0, 512)?;
    let sector_size = u64::from(u16_at(&sector, 11)); // BPB_BytsPerSec
    let cluster_sectors = u64::from(sector[13]); // BPB_SecPerClus
    let reserved = u64::from(u16_at(&sector, 14)); // BPB_RsvdSecCnt
    let fats = u64::from(sector[16]); // BPB_NumFATs
    let media = sector[21]; // BPB_Media
    let is_fat = sector[510..] == *b"\x55\xaa"
        && matches!(sector_size, 512 | 1024 | 2048 | 4096)
        && cluster_sectors.is_power_of_two()
        && reserved != 0
        && fats != 0
        && (media >= 0xf8 || media == 0xf0);
    if !is_fat {
        return None;
    }
    let fat16_sectors = u64::from(u16_at(&sector, 22)); // BPB_FATSz16
    let root_entries = usize::from(u16_at(&sector, 17)); // BPB_RootEntCnt
    let mut found = Probe::new("vfat", "filesystem");
    let (fields, root, count) = if fat16_sectors == 0 {
        if &sector[82..87] != b"FAT32" {
            return None;
        }
        let fat_sectors = u64::from(u32_at(&sector, 36)); // BPB_FATSz32
        let cluster = u64::from(u32_at(&sector, 44)).checked_sub(2)?; // BPB_RootClus
        let first = reserved + fats * fat_sectors;
        "FAT32".clone_into(&mut found.version);
        let count = (cluster_sectors * sector_size / 32) as usize;
        (67, (first + cluster * cluster_sectors) * sector_size, count)
    } else {
        if &sector[54..57] != b"FAT" {
            return None;
        }
        found.version = text(&sector[54..62]);
        (39, (reserved + fats * fat16_sectors) * sector_size, root_entries)
    };
    let serial = u32_at(&sector, fields);
    if serial != 0 {
        found.uuid = format!("{:04X}-{:04X}", serial >> 16, serial & 0xffff);
    }
    let named = |name: String| (!name.is_empty() && name != "NO NAME").then_some(name);
    let in_root = label_in(source, root, count.min(ENTRIES)).and_then(named);
    // The boot sector's own label is what is left when the directory has none.
    found.label = in_root.or_else(|| named(text(&sector[fields + 4..fields + 15]))).unwrap_or_default();
    Some(found)
}

/// The label in a directory of so many entries.
fn label_in(source: &dyn Source, offset: u64, count: usize) -> Option<String> {
    let bytes = source.read(offset, count * 32)?;
    let entries = bytes.chunks_exact(32).take_while(|entry| entry[0] != 0);
    let mut labels = entries.filter(|entry| {
        entry[0] != 0xe5 && entry[11] & ATTR_LONG_NAME != ATTR_LONG_NAME && entry[11] & 0x18 == ATTR_VOLUME_ID
    });
    labels.next().map(|entry| text(&entry[..11]))
}
