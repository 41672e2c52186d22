//! Directory records: short names, and long names in the records before them
//! (specification, "FAT Directory Structure" and "FAT Long Directory Entries").

use super::{Extent, FatError, read};
use crate::read_at::ReadAt;

const RECORD: usize = 32;
const LONG_NAME: u8 = 0x0f;
const VOLUME_LABEL: u8 = 0x08;
const DIRECTORY: u8 = 0x10;
const FREE: u8 = 0xe5;
/// Records of one long name: 20 times 13 units.
const MAX_LONG_RECORDS: u8 = 20;

/// A file or a folder; `.`, `..` and the volume's label are not listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    /// Its long name, or the short one when it has no other.
    pub name: String,
    /// Whether it is a folder.
    pub is_directory: bool,
    /// Attribute bits.
    pub attributes: u8,
    /// Size in bytes; 0 of a folder.
    pub size: u32,
    /// First cluster; 0 of an empty file.
    pub first_cluster: u32,
}

/// A long name while its records come in, last part first.
struct LongName {
    offset: u64,
    checksum: u8,
    /// The record expected next.
    next: u8,
    units: Vec<u16>,
}

/// The entries in a folder's clusters, up to the first record that was never used.
pub(super) fn read_all(reader: &dyn ReadAt, extents: &[Extent]) -> Result<Vec<DirEntry>, FatError> {
    let mut entries = Vec::new();
    let mut long: Option<LongName> = None;
    let mut chunk = vec![0; 4096];
    for extent in extents {
        for start in (0..extent.length).step_by(chunk.len()) {
            let length = (extent.length - start).min(chunk.len() as u64) as usize;
            let chunk_offset = extent.offset + start;
            read(reader, &mut chunk[..length], chunk_offset)?;
            for (index, raw) in chunk[..length].as_chunks::<RECORD>().0.iter().enumerate() {
                let offset = chunk_offset + (index * RECORD) as u64;
                match raw[0] {
                    0 => return no_dangling(long.as_ref()).map(|()| entries),
                    FREE => no_dangling(long.take().as_ref())?,
                    _ if raw[11] & 0x3f == LONG_NAME => {
                        long = Some(take_long(long.take(), raw, offset)?);
                    }
                    _ if raw[11] & VOLUME_LABEL != 0 => no_dangling(long.take().as_ref())?,
                    _ => entries.extend(take_short(long.take(), raw, offset)?),
                }
            }
        }
    }
    no_dangling(long.as_ref()).map(|()| entries)
}

fn no_dangling(long: Option<&LongName>) -> Result<(), FatError> {
    long.map_or(Ok(()), |long| Err(bad(long.offset, "long name without a short one")))
}

fn take_long(long: Option<LongName>, raw: &[u8; RECORD], offset: u64) -> Result<LongName, FatError> {
    let (order, checksum) = (raw[0], raw[13]);
    let mut long = if order & 0x40 == 0 {
        let long = long.ok_or_else(|| bad(offset, "long name without its last part"))?;
        if order != long.next || checksum != long.checksum {
            return Err(bad(offset, "long name's parts are out of order"));
        }
        long
    } else {
        no_dangling(long.as_ref())?;
        let next = order & 0x3f;
        if next == 0 || next > MAX_LONG_RECORDS {
            return Err(bad(offset, "long name has an impossible count of parts"));
        }
        LongName { offset, checksum, next, units: vec![0; usize::from(next) * 13] }
    };
    let places = (1..11).step_by(2).chain((14..26).step_by(2)).chain((28..32).step_by(2));
    let start = usize::from(long.next - 1) * 13;
    for (unit, place) in long.units[start..start + 13].iter_mut().zip(places) {
        *unit = u16::from_le_bytes([raw[place], raw[place + 1]]);
    }
    long.next -= 1;
    Ok(long)
}

fn take_short(long: Option<LongName>, raw: &[u8; RECORD], offset: u64) -> Result<Option<DirEntry>, FatError> {
    let name = match long {
        Some(long) => {
            let sum = raw[..11].iter().fold(0_u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte));
            if long.next != 0 || sum != long.checksum {
                return Err(bad(long.offset, "long name belongs to another record"));
            }
            let end = long.units.iter().position(|unit| *unit == 0).unwrap_or(long.units.len());
            if long.units[end..].iter().skip(1).any(|unit| *unit != 0xffff) {
                return Err(bad(long.offset, "long name has something behind its end"));
            }
            String::from_utf16(&long.units[..end]).map_err(|_| bad(long.offset, "long name is not UTF-16"))?
        }
        None => short_name(raw),
    };
    let is_directory = raw[11] & DIRECTORY != 0;
    if is_directory && (raw[..11] == *b".          " || raw[..11] == *b"..         ") {
        return Ok(None);
    }
    // What cannot be in a name would turn into another path for whoever uses it.
    if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\\', '\0']) {
        return Err(bad(offset, "name is no file name"));
    }
    let size = u32::from_le_bytes([raw[28], raw[29], raw[30], raw[31]]);
    let first_cluster = u32::from_le_bytes([raw[26], raw[27], raw[20], raw[21]]);
    if is_directory && (size != 0 || first_cluster == 0) {
        return Err(bad(offset, "folder has a size, or no cluster"));
    }
    if !is_directory && (size == 0) != (first_cluster == 0) {
        return Err(bad(offset, "file's size and first cluster do not agree"));
    }
    Ok(Some(DirEntry { name, is_directory, attributes: raw[11], size, first_cluster }))
}

/// `NAME.EXT`, with the parts in lower case that Windows NT marks so (byte 12).
fn short_name(raw: &[u8; RECORD]) -> String {
    let part = |bytes: &[u8], lower: bool| {
        let text = bytes.trim_ascii_end().iter().map(|byte| match byte {
            b' '..=b'~' => char::from(*byte),
            _ => char::REPLACEMENT_CHARACTER,
        });
        let text = text.collect::<String>();
        if lower { text.to_ascii_lowercase() } else { text }
    };
    let (name, extension) = (part(&raw[..8], raw[12] & 0x08 != 0), part(&raw[8..11], raw[12] & 0x10 != 0));
    if extension.is_empty() { name } else { format!("{name}.{extension}") }
}

fn bad(offset: u64, problem: &'static str) -> FatError {
    FatError::Record { offset, problem }
}
