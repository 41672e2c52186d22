//! The boot sector with its BIOS parameter block (specification, "Boot Sector and BPB").

/// A boot sector that was checked: all offsets below lie in the volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootSector {
    /// Bytes in a sector.
    pub sector_size: u64,
    /// Bytes in a cluster.
    pub cluster_size: u64,
    /// First byte of the first allocation table.
    pub table_offset: u64,
    /// Bytes in one allocation table.
    pub table_size: u64,
    /// Copies of the table, 1 or 2.
    pub table_count: u8,
    /// First byte of cluster 2.
    pub data_offset: u64,
    /// Clusters; their numbers are 2 and on.
    pub cluster_count: u32,
    /// First cluster of the root folder.
    pub root_cluster: u32,
    /// Sector of the `FSInfo` structure.
    pub fsinfo_sector: u16,
    /// Serial number.
    pub volume_id: u32,
    /// Label, without the blanks behind it.
    pub label: String,
}

/// Why a boot sector is no good.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BootSectorError {
    /// Offset 510.
    #[error("no FAT boot sector: signature at byte 510 is {found:02x?} instead of 55 aa")]
    Signature {
        /// Bytes in its place.
        found: [u8; 2],
    },
    /// A field has a value that FAT32 does not allow.
    #[error("FAT boot sector: {field} at byte {offset} is {found}")]
    Field {
        /// The field as the specification names it.
        field: &'static str,
        /// Its place in the sector.
        offset: usize,
        /// Its value.
        found: u64,
    },
    /// The volume says that it is larger than its partition.
    #[error("FAT volume of {claimed} bytes is larger than its partition of {available}")]
    TooLarge {
        /// Bytes by the boot sector.
        claimed: u64,
        /// Bytes that are there.
        available: u64,
    },
    /// The type of a FAT is decided by its count of clusters alone.
    #[error("FAT volume has {clusters} clusters: that is FAT12 or FAT16, not FAT32")]
    NotFat32 {
        /// The count.
        clusters: u64,
    },
    /// The table has no place for every cluster.
    #[error("FAT of {entries} entries is too short for {clusters} clusters")]
    TableTooShort {
        /// Entries in the table.
        entries: u64,
        /// Clusters in the volume.
        clusters: u64,
    },
}

/// Fewest clusters of FAT32, and the first number that is no cluster any more.
const CLUSTERS: std::ops::Range<u64> = 65_525..0x0fff_fff5;

impl BootSector {
    /// Decodes the first 512 bytes of a volume in a partition of `available` bytes.
    ///
    /// # Errors
    /// See [`BootSectorError`].
    pub fn decode(raw: &[u8; 512], available: u64) -> Result<Self, BootSectorError> {
        let u16_at = |at: usize| u64::from(u16::from_le_bytes([raw[at], raw[at + 1]]));
        let u32_at = |at: usize| u32::from_le_bytes(std::array::from_fn(|index| raw[at + index]));
        let found = [raw[510], raw[511]];
        if found != [0x55, 0xaa] {
            return Err(BootSectorError::Signature { found });
        }
        let sector_size = u16_at(11);
        let per_cluster = u64::from(raw[13]);
        let reserved = u16_at(14);
        let table_count = raw[16];
        let total = u64::from(u32_at(32));
        let table_sectors = u64::from(u32_at(36));
        let root_cluster = u32_at(44);
        let fsinfo_sector = u16_at(48);
        let checks = [
            ("BytsPerSec", 11, sector_size, [512, 1024, 2048, 4096].contains(&sector_size)),
            ("SecPerClus", 13, per_cluster, per_cluster.is_power_of_two()),
            ("RsvdSecCnt", 14, reserved, reserved >= 2),
            ("NumFATs", 16, table_count.into(), (1..=2).contains(&table_count)),
            ("RootEntCnt", 17, u16_at(17), u16_at(17) == 0),
            ("TotSec16", 19, u16_at(19), u16_at(19) == 0),
            ("FATSz16", 22, u16_at(22), u16_at(22) == 0),
            ("TotSec32", 32, total, total > 0),
            ("FATSz32", 36, table_sectors, table_sectors > 0),
            // A table that is not mirrored may hide behind the one that is read.
            ("ExtFlags", 40, u16_at(40), u16_at(40) & 0x80 == 0),
            ("FSVer", 42, u16_at(42), u16_at(42) == 0),
            ("FSInfo", 48, fsinfo_sector, (1..reserved).contains(&fsinfo_sector)),
            ("BootSig", 66, raw[66].into(), raw[66] == 0x29),
        ];
        if let Some((field, offset, found, _)) = checks.into_iter().find(|(_, _, _, good)| !good) {
            return Err(BootSectorError::Field { field, offset, found });
        }

        // All factors are below 2^33, so no product overflows.
        let claimed = total * sector_size;
        if claimed > available {
            return Err(BootSectorError::TooLarge { claimed, available });
        }
        let data_sector = reserved + u64::from(table_count) * table_sectors;
        let Some(data_sectors) = total.checked_sub(data_sector) else {
            return Err(BootSectorError::Field { field: "FATSz32", offset: 36, found: table_sectors });
        };
        let clusters = data_sectors / per_cluster;
        if !CLUSTERS.contains(&clusters) {
            return Err(BootSectorError::NotFat32 { clusters });
        }
        let table_size = table_sectors * sector_size;
        if table_size / 4 < clusters + 2 {
            return Err(BootSectorError::TableTooShort { entries: table_size / 4, clusters });
        }
        if !(2..clusters + 2).contains(&u64::from(root_cluster)) {
            return Err(BootSectorError::Field { field: "RootClus", offset: 44, found: root_cluster.into() });
        }
        Ok(Self {
            sector_size,
            cluster_size: per_cluster * sector_size,
            table_offset: reserved * sector_size,
            table_size,
            table_count,
            data_offset: data_sector * sector_size,
            cluster_count: clusters as u32,
            root_cluster,
            fsinfo_sector: fsinfo_sector as u16,
            volume_id: u32_at(67),
            label: raw[71..82].trim_ascii_end().escape_ascii().to_string(),
        })
    }

    pub(super) fn has_cluster(&self, cluster: u32) -> bool {
        cluster >= 2 && cluster - 2 < self.cluster_count
    }

    /// First byte of a cluster that the volume has.
    pub(super) fn cluster_offset(&self, cluster: u32) -> u64 {
        self.data_offset + u64::from(cluster.saturating_sub(2)) * self.cluster_size
    }
}
