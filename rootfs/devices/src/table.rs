//! Partition tables: the ids and names of partitions (UEFI 2.10, section 5; MBR as in its 5.2).

use crate::superblock::Source;

/// Most entries that a GPT may have here; the usual number is 128.
const ENTRIES_MAX: u32 = 1024;

/// A table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// `gpt` or `dos`.
    pub scheme: &'static str,
    /// GUID of the disk, or the MBR's signature in 8 hexadecimal digits.
    pub uuid: String,
}

/// A partition's entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// `gpt` or `dos`.
    pub scheme: &'static str,
    /// `PARTUUID`.
    pub uuid: String,
    /// `PARTLABEL`; empty in an MBR.
    pub name: String,
    /// Type: a GUID, or `0x83`; empty for a logical partition of an MBR.
    pub kind: String,
}

/// The table of a disk with sectors of this many bytes.
pub fn table(disk: &dyn Source, sector_size: u64) -> Option<Table> {
    if let Some(header) = gpt_header(disk, sector_size) {
        return Some(Table { scheme: "gpt", uuid: guid(&header[56..72]) });
    }
    let sector = mbr(disk)?;
    Some(Table { scheme: "dos", uuid: format!("{:08x}", signature(&sector)) })
}

/// The entry of partition `number`, from 1, as the kernel counts.
pub fn partition(disk: &dyn Source, sector_size: u64, number: u32) -> Option<Partition> {
    let index = number.checked_sub(1)?;
    if let Some(header) = gpt_header(disk, sector_size) {
        let [count, size] = [80, 84].map(|at| u32_at(&header, at));
        if index >= count.min(ENTRIES_MAX) || !(128..=4096).contains(&size) {
            return None;
        }
        let first = u64_at(&header, 72).checked_mul(sector_size)?;
        let entry = disk.read(first.checked_add(u64::from(index) * u64::from(size))?, 128)?;
        if entry[..16].iter().all(|byte| *byte == 0) {
            return None;
        }
        let units: Vec<u16> =
            entry[56..128].chunks_exact(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]])).collect();
        let end = units.iter().position(|unit| *unit == 0).unwrap_or(units.len());
        let name = String::from_utf16_lossy(&units[..end]);
        return Some(Partition { scheme: "gpt", uuid: guid(&entry[16..32]), name, kind: guid(&entry[..16]) });
    }
    let sector = mbr(disk)?;
    let kind = match index {
        // Logical partitions are in a chain of their own.
        0..4 => format!("0x{:x}", sector[446 + 16 * index as usize + 4]),
        _ => String::new(),
    };
    let uuid = format!("{:08x}-{number:02x}", signature(&sector));
    Some(Partition { scheme: "dos", uuid, name: String::new(), kind })
}

fn gpt_header(disk: &dyn Source, sector_size: u64) -> Option<Vec<u8>> {
    let header = disk.read(sector_size, 92)?;
    (&header[..8] == b"EFI PART").then_some(header)
}

/// The first sector, when it is a master boot record and not a volume's boot sector.
fn mbr(disk: &dyn Source) -> Option<Vec<u8>> {
    let sector = disk.read(0, 512)?;
    let entries = sector[446..510].chunks_exact(16);
    let is_table = sector[510..] == *b"\x55\xaa"
        && entries.clone().all(|entry| matches!(entry[0], 0 | 0x80))
        && entries.clone().any(|entry| entry[4] != 0);
    (is_table && &sector[54..57] != b"FAT" && &sector[82..85] != b"FAT").then_some(sector)
}

fn signature(sector: &[u8]) -> u32 {
    u32_at(sector, 440)
}

/// A GUID in its mixed byte order (UEFI 2.10, appendix A).
fn guid(bytes: &[u8]) -> String {
    let order = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
    let mut text = String::with_capacity(36);
    for (position, at) in order.into_iter().enumerate() {
        if matches!(position, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.extend([format!("{:02x}", bytes[at])]);
    }
    text
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |chunk| u32::from_le_bytes(*chunk))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |chunk| u64::from_le_bytes(*chunk))
}
