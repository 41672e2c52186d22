//! Reading a table that may be damaged or hostile: each copy has its own verdict.

use std::io::{self, Cursor};

use gpt::header::{Header, HeaderError, read_header_from_arbitrary_device};
use uuid::Uuid;

use super::{Partition, SECTOR_SIZE, SECTORS};
use crate::read_at::ReadAt;

/// Bytes that a header says it has; later revisions of the format would say more.
const HEADER_SIZE: u32 = 92;
const ENTRY_SIZE: u32 = 128;
/// More entries than any tool makes; 128 KiB of table.
const MAX_ENTRIES: u32 = 1024;
const SECTOR: usize = SECTOR_SIZE as usize;

/// A table as found on a disk.
#[derive(Debug)]
pub struct Gpt {
    /// Which disk it is.
    pub disk_guid: Uuid,
    /// Used entries in the order of their numbers, from the primary copy if that is good.
    pub partitions: Vec<Partition>,
    /// Bytes of the disk.
    pub disk_size: u64,
    /// Verdict on the protective MBR.
    pub protective_mbr: Result<(), MbrError>,
    /// Verdict on the copy at the disk's start.
    pub primary: Result<(), CopyError>,
    /// Verdict on the copy at the disk's end.
    pub backup: Result<(), CopyError>,
}

/// Why sector 0 does not protect the disk from programs that know no GPT.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MbrError {
    /// Offset 510.
    #[error("protective MBR at byte 0 has signature {found:02x?} instead of 55 aa")]
    Signature {
        /// Bytes in its place.
        found: [u8; 2],
    },
    /// No record of type 0xee.
    #[error("MBR at byte 0 has no protective partition (type ee), but types {types:02x?}")]
    NotProtective {
        /// The four records' types.
        types: [u8; 4],
    },
}

/// Why one copy of the table is no good.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// It cannot be read.
    #[error("cannot read partition table at byte {offset}: {source}")]
    Read {
        /// First byte wanted.
        offset: u64,
        /// Why not.
        source: io::Error,
    },
    /// No "EFI PART" there.
    #[error("no partition table header at byte {offset}")]
    Signature {
        /// Where it should be.
        offset: u64,
    },
    /// The header's own CRC is wrong.
    #[error("partition table header at byte {offset} has a wrong CRC")]
    HeaderCrc {
        /// Where the header is.
        offset: u64,
    },
    /// A field of the header has a value that cannot be.
    #[error("partition table header at byte {offset}: {field} is {found}")]
    Field {
        /// Where the header is.
        offset: u64,
        /// The field as the specification names it.
        field: &'static str,
        /// Its value.
        found: u64,
    },
    /// The entries' CRC is wrong.
    #[error("partition entries at byte {offset} have a wrong CRC")]
    EntriesCrc {
        /// Where the entries are.
        offset: u64,
    },
    /// A partition ends before it starts, or outside of the usable part of the disk.
    #[error("partition {number} has sectors {first}-{last}, outside of {usable_first}-{usable_last}")]
    Bounds {
        /// Which one.
        number: u32,
        /// Its first sector.
        first: u64,
        /// Its last sector.
        last: u64,
        /// The first sector that it may have.
        usable_first: u64,
        /// The last sector that it may have.
        usable_last: u64,
    },
    /// Two partitions share sectors.
    #[error("partitions {first} and {second} overlap")]
    Overlap {
        /// The one that starts first.
        first: u32,
        /// The other.
        second: u32,
    },
    /// Both copies are good in themselves, but this one says other things than the primary.
    #[error("backup partition table differs from the primary")]
    Differs,
    /// The disk is larger than the table knows.
    #[error("backup partition table is at byte {offset}, not at the disk's end at byte {end}")]
    NotAtEnd {
        /// Where its header is.
        offset: u64,
        /// Where it should be.
        end: u64,
    },
}

/// Why there is no table to work with.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Too short for even an empty table.
    #[error("an image of {size} bytes is too short for a partition table")]
    TooShort {
        /// Its size.
        size: u64,
    },
    /// Sector 0 cannot be read.
    #[error("cannot read sector 0: {0}")]
    Read(io::Error),
    /// Neither copy is good.
    #[error("no good partition table: {primary}; {backup}")]
    BothBad {
        /// What is wrong with the primary.
        primary: CopyError,
        /// What is wrong with the backup.
        backup: CopyError,
    },
}

impl Gpt {
    /// Reads the table from whichever copy is good, the primary first, and judges both.
    ///
    /// # Errors
    /// See [`ReadError`]; a single bad copy is not one of them.
    pub fn read(reader: &dyn ReadAt) -> Result<Self, ReadError> {
        let disk_size = reader.size();
        let Some(end_lba) = (disk_size / SECTOR_SIZE).checked_sub(1).filter(|last| *last >= 67) else {
            return Err(ReadError::TooShort { size: disk_size });
        };
        let mut mbr = [0; SECTOR];
        reader.read_exact_at(&mut mbr, 0).map_err(ReadError::Read)?;

        let primary = Copy::read(reader, 1, end_lba);
        let backup_lba = primary.as_ref().map_or(end_lba, |copy| copy.header.backup_lba);
        let backup = Copy::read(reader, backup_lba, end_lba);
        let (copy, primary, backup) = match (primary, backup) {
            (Ok(primary), Ok(backup)) => {
                let same = primary.header.disk_guid == backup.header.disk_guid
                    && primary.partitions == backup.partitions
                    && backup.header.backup_lba == 1;
                let backup = match (same, backup_lba == end_lba) {
                    (false, _) => Err(CopyError::Differs),
                    (true, false) => Err(CopyError::NotAtEnd {
                        offset: backup_lba * SECTOR_SIZE,
                        end: end_lba * SECTOR_SIZE,
                    }),
                    (true, true) => Ok(()),
                };
                (primary, Ok(()), backup)
            }
            (Ok(primary), Err(error)) => (primary, Ok(()), Err(error)),
            (Err(error), Ok(backup)) => (backup, Err(error), Ok(())),
            (Err(primary), Err(backup)) => return Err(ReadError::BothBad { primary, backup }),
        };
        Ok(Self {
            disk_guid: copy.header.disk_guid,
            partitions: copy.partitions,
            disk_size,
            protective_mbr: check_mbr(&mbr),
            primary,
            backup,
        })
    }

    /// The first partition with this label.
    pub fn by_label(&self, label: &str) -> Option<&Partition> {
        self.partitions.iter().find(|partition| partition.label == label)
    }
}

/// One copy that is good in itself.
struct Copy {
    header: Header,
    partitions: Vec<Partition>,
}

impl Copy {
    fn read(reader: &dyn ReadAt, lba: u64, end_lba: u64) -> Result<Self, CopyError> {
        let header = read_header(reader, lba, end_lba)?;
        let entries = read_entries(reader, &header)?;
        let (usable_first, usable_last) = (header.first_usable, header.last_usable);
        let mut partitions = Vec::with_capacity(entries.len());
        for (number, entry) in entries {
            let (first, last) = (entry.first_lba, entry.last_lba);
            if first > last || first < usable_first || last > usable_last {
                return Err(CopyError::Bounds { number, first, last, usable_first, usable_last });
            }
            // Both are sectors of this disk, so their bytes have a place in 64 bits.
            partitions.push(Partition {
                number,
                label: entry.name,
                type_guid: entry.part_type_guid.guid,
                unique_guid: entry.part_guid,
                attributes: entry.flags,
                offset: first * SECTOR_SIZE,
                size: (last - first + 1) * SECTOR_SIZE,
            });
        }
        let mut by_place = partitions.iter().collect::<Vec<_>>();
        by_place.sort_by_key(|partition| partition.offset);
        for pair in by_place.windows(2) {
            if pair[0].end() > pair[1].offset {
                return Err(CopyError::Overlap { first: pair[0].number, second: pair[1].number });
            }
        }
        Ok(Self { header, partitions })
    }
}

/// The header in sector `lba`, its fields checked against a disk that ends with sector `end_lba`.
fn read_header(reader: &dyn ReadAt, lba: u64, end_lba: u64) -> Result<Header, CopyError> {
    let offset = lba.saturating_mul(SECTOR_SIZE);
    // Crate gpt reads a header in sector 1, wherever it was.
    let mut sectors = [0; 2 * SECTOR];
    reader
        .read_exact_at(&mut sectors[SECTOR..], offset)
        .map_err(|source| CopyError::Read { offset, source })?;
    let header =
        read_header_from_arbitrary_device(&mut Cursor::new(sectors), SECTORS).map_err(
            |error| match error {
                HeaderError::InvalidCRC32Checksum => CopyError::HeaderCrc { offset },
                HeaderError::InvalidGptSignature => CopyError::Signature { offset },
                other => CopyError::Read { offset, source: io::Error::other(other) },
            },
        )?;

    let entries = u64::from(header.num_parts) * u64::from(ENTRY_SIZE);
    let entries_end = header.part_start.saturating_add(entries.div_ceil(SECTOR_SIZE));
    // The entries lie between their header and the partitions.
    let entries_fit = if lba < header.part_start {
        entries_end <= header.first_usable
    } else {
        header.part_start > header.last_usable && entries_end <= lba
    };
    let checks = [
        ("revision", u64::from(header.revision.0), header.revision == (1, 0)),
        ("header size", header.header_size_le.into(), header.header_size_le == HEADER_SIZE),
        ("own sector", header.current_lba, header.current_lba == lba),
        ("other copy's sector", header.backup_lba, header.backup_lba <= end_lba && header.backup_lba != lba),
        ("last usable sector", header.last_usable, header.last_usable <= end_lba),
        ("first usable sector", header.first_usable, header.first_usable <= header.last_usable),
        ("size of an entry", header.part_size.into(), header.part_size == ENTRY_SIZE),
        ("number of entries", header.num_parts.into(), (1..=MAX_ENTRIES).contains(&header.num_parts)),
        ("first sector of entries", header.part_start, entries_fit),
    ];
    match checks.into_iter().find(|(_, _, good)| !good) {
        Some((field, found, _)) => Err(CopyError::Field { offset, field, found }),
        None => Ok(header),
    }
}

/// The used entries of a checked header with their numbers.
fn read_entries(
    reader: &dyn ReadAt,
    header: &Header,
) -> Result<Vec<(u32, gpt::partition::Partition)>, CopyError> {
    let offset = header.part_start * SECTOR_SIZE;
    let mut table = vec![0; header.num_parts as usize * ENTRY_SIZE as usize];
    reader.read_exact_at(&mut table, offset).map_err(|source| CopyError::Read { offset, source })?;
    let at_start = Header { part_start: 0, ..header.clone() };
    // From memory nothing fails but the CRC.
    let entries = gpt::partition::file_read_partitions(&mut Cursor::new(table), &at_start, SECTORS)
        .map_err(|_| CopyError::EntriesCrc { offset })?;
    Ok(entries.into_iter().filter(|(_, entry)| entry.is_used()).collect())
}

fn check_mbr(sector: &[u8; SECTOR]) -> Result<(), MbrError> {
    let found = [sector[510], sector[511]];
    let types = std::array::from_fn(|record| sector[446 + 16 * record + 4]);
    match (found, types.contains(&0xee)) {
        ([0x55, 0xaa], true) => Ok(()),
        ([0x55, 0xaa], false) => Err(MbrError::NotProtective { types }),
        _ => Err(MbrError::Signature { found }),
    }
}
