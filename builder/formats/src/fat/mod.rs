//! A strict reader of FAT32 (Microsoft "FAT32 File System Specification" 1.03).
//!
//! It is for images that may be hostile: every field is checked before it is used, every
//! chain of clusters is bounded, and whatever is wrong is an error that says where. It
//! reads FAT32 only; the ESP of an image is nothing else. [`crate::esp`] writes one.

mod boot_sector;
mod check;
mod directory;

use std::io;

pub use boot_sector::{BootSector, BootSectorError};
pub use directory::DirEntry;

use crate::read_at::ReadAt;

/// Deepest path that [`Fat::walk`] follows.
const MAX_DEPTH: usize = 32;
/// Largest folder (specification: 65,536 entries of 32 bytes).
const MAX_DIRECTORY_BYTES: u64 = 65_536 * 32;
/// Most entries that one walk gives.
const MAX_WALK: usize = 1 << 17;

/// What is wrong with a volume.
#[derive(Debug, thiserror::Error)]
pub enum FatError {
    /// The boot sector is no good.
    #[error(transparent)]
    BootSector(#[from] BootSectorError),
    /// The image cannot be read.
    #[error("cannot read FAT volume at byte {offset}: {source}")]
    Read {
        /// First byte wanted, in the volume.
        offset: u64,
        /// Why not.
        source: io::Error,
    },
    /// A chain leads to a cluster that does not exist or is free or bad.
    #[error("cluster chain from {first} leads to {found:#x} after {after}")]
    Chain {
        /// Where the chain starts.
        first: u32,
        /// The cluster whose entry is wrong; `first` itself when it is no cluster.
        after: u32,
        /// What the entry says.
        found: u32,
    },
    /// A chain is longer than what it holds may be: a loop, most likely.
    #[error("cluster chain from {first} is longer than {limit} clusters")]
    ChainTooLong {
        /// Where the chain starts.
        first: u32,
        /// Most clusters that it may have.
        limit: u64,
    },
    /// A chain ends before its file does.
    #[error("file of {size} bytes has only {clusters} clusters, from {first}")]
    ChainTooShort {
        /// Where the chain starts.
        first: u32,
        /// The file's size in bytes.
        size: u64,
        /// Clusters in its chain.
        clusters: u64,
    },
    /// A directory record is malformed.
    #[error("directory record at byte {offset}: {problem}")]
    Record {
        /// Where it is in the volume.
        offset: u64,
        /// What is wrong.
        problem: &'static str,
    },
    /// Two files share a cluster, or a folder contains itself.
    #[error("cluster {cluster} of {path} is in use elsewhere too")]
    CrossLinked {
        /// The shared cluster.
        cluster: u32,
        /// The second user's path.
        path: String,
    },
    /// The copies of the allocation table differ.
    #[error("FAT copies differ at byte {offset}")]
    CopiesDiffer {
        /// Byte within each copy.
        offset: u64,
    },
    /// Clusters are marked as used but belong to nothing.
    #[error("{count} clusters belong to no file, the first is {first}")]
    Lost {
        /// How many.
        count: u64,
        /// The first of them.
        first: u32,
    },
    /// Folders in folders without end.
    #[error("{path} is nested deeper than {MAX_DEPTH} folders")]
    TooDeep {
        /// The path.
        path: String,
    },
    /// More entries than are worth a look.
    #[error("volume has more than {MAX_WALK} entries")]
    TooMany,
    /// No such path.
    #[error("no {path} in the FAT volume")]
    NotFound {
        /// The path.
        path: String,
    },
    /// A folder stands where a file is wanted, or the other way round.
    #[error("{path} is {is}")]
    WrongKind {
        /// The path.
        path: String,
        /// What it is.
        is: &'static str,
    },
}

/// An open volume.
pub struct Fat<'a> {
    reader: &'a dyn ReadAt,
    boot: BootSector,
}

impl<'a> Fat<'a> {
    /// Reads the boot sector.
    ///
    /// # Errors
    /// [`FatError::BootSector`], [`FatError::Read`].
    pub fn open(reader: &'a dyn ReadAt) -> Result<Self, FatError> {
        let mut sector = [0; 512];
        reader.read_exact_at(&mut sector, 0).map_err(|source| FatError::Read { offset: 0, source })?;
        Ok(Self { reader, boot: BootSector::decode(&sector, reader.size())? })
    }

    /// What the boot sector says.
    pub fn boot_sector(&self) -> &BootSector {
        &self.boot
    }

    /// The entries of the root folder.
    ///
    /// # Errors
    /// A chain or a record is malformed.
    pub fn root(&self) -> Result<Vec<DirEntry>, FatError> {
        self.folder(self.boot.root_cluster)
    }

    /// The entries of a folder.
    ///
    /// # Errors
    /// A chain or a record is malformed; `entry` is a file.
    pub fn list(&self, entry: &DirEntry) -> Result<Vec<DirEntry>, FatError> {
        if !entry.is_directory {
            return Err(FatError::WrongKind { path: entry.name.clone(), is: "a file" });
        }
        self.folder(entry.first_cluster)
    }

    /// The entry at a path of names between slashes; case does not matter to FAT.
    ///
    /// # Errors
    /// [`FatError::NotFound`] also when a part of the path is a file.
    pub fn find(&self, path: &str) -> Result<DirEntry, FatError> {
        let not_found = || FatError::NotFound { path: path.to_owned() };
        let mut names = path.split('/').filter(|name| !name.is_empty()).peekable();
        let mut folder = self.root()?;
        while let Some(name) = names.next() {
            let wanted = name.to_lowercase();
            let found = folder.into_iter().find(|entry| entry.name.to_lowercase() == wanted);
            let entry = found.ok_or_else(not_found)?;
            if names.peek().is_none() {
                return Ok(entry);
            }
            if !entry.is_directory {
                return Err(not_found());
            }
            folder = self.list(&entry)?;
        }
        Err(not_found())
    }

    /// Every file and folder with its path, folders before their contents, in the order
    /// of the disk. Also proves that no two of them share a cluster.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn walk(&self) -> Result<Vec<(String, DirEntry)>, FatError> {
        self.walk_marking().map(|(entries, _)| entries)
    }

    /// Opens a file for positioned reading.
    ///
    /// # Errors
    /// Its chain is malformed or ends too early; `entry` is a folder.
    pub fn open_file(&self, entry: &DirEntry) -> Result<FatFile<'a>, FatError> {
        if entry.is_directory {
            return Err(FatError::WrongKind { path: entry.name.clone(), is: "a folder" });
        }
        let size = u64::from(entry.size);
        let clusters = size.div_ceil(self.boot.cluster_size);
        let (first, extents) = (entry.first_cluster, self.extents(entry.first_cluster, clusters)?);
        let held: u64 = extents.iter().map(|extent| extent.length).sum();
        let has = held / self.boot.cluster_size;
        if has < clusters {
            return Err(FatError::ChainTooShort { first, size, clusters: has });
        }
        Ok(FatFile { reader: self.reader, size, extents })
    }

    /// A folder's entries from its chain.
    fn folder(&self, first: u32) -> Result<Vec<DirEntry>, FatError> {
        let extents = self.extents(first, MAX_DIRECTORY_BYTES / self.boot.cluster_size)?;
        directory::read_all(self.reader, &extents)
    }

    /// Where the clusters of a chain are, neighbours joined. No cluster 0 means no clusters.
    fn extents(&self, first: u32, limit: u64) -> Result<Vec<Extent>, FatError> {
        let mut extents: Vec<Extent> = Vec::new();
        let mut count = 0;
        self.each_cluster(first, limit, |cluster| {
            let offset = self.boot.cluster_offset(cluster);
            match extents.last_mut() {
                Some(last) if last.offset + last.length == offset => last.length += self.boot.cluster_size,
                _ => {
                    let position = count * self.boot.cluster_size;
                    extents.push(Extent { position, offset, length: self.boot.cluster_size });
                }
            }
            count += 1;
            Ok(())
        })?;
        Ok(extents)
    }

    /// Calls `visit` for each cluster of a chain; each is one of this volume's.
    fn each_cluster(
        &self,
        first: u32,
        limit: u64,
        mut visit: impl FnMut(u32) -> Result<(), FatError>,
    ) -> Result<(), FatError> {
        const END: u32 = 0x0fff_fff8;
        let mut table = TablePage::new(self);
        let mut after = first;
        let mut cluster = if first == 0 { END } else { first };
        for _ in 0..=limit {
            if cluster >= END {
                return Ok(());
            }
            if !self.boot.has_cluster(cluster) {
                return Err(FatError::Chain { first, after, found: cluster });
            }
            after = cluster;
            visit(cluster)?;
            cluster = table.entry(cluster)?;
        }
        Err(FatError::ChainTooLong { first, limit })
    }
}

/// A piece of a file that lies in one piece on the volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// First byte within the file.
    pub position: u64,
    /// First byte within the volume.
    pub offset: u64,
    /// Bytes; the last extent of a file goes on to its cluster's end.
    pub length: u64,
}

/// The allocation table, read 4 KiB at a time.
struct TablePage<'v, 'a> {
    fat: &'v Fat<'a>,
    page: u64,
    bytes: Vec<u8>,
}

impl<'v, 'a> TablePage<'v, 'a> {
    fn new(fat: &'v Fat<'a>) -> Self {
        Self { fat, page: u64::MAX, bytes: Vec::new() }
    }

    /// The entry of a cluster that the volume has.
    fn entry(&mut self, cluster: u32) -> Result<u32, FatError> {
        const PAGE: u64 = 4096;
        let position = u64::from(cluster) * 4;
        if position / PAGE != self.page {
            self.page = position / PAGE;
            let start = self.page * PAGE;
            self.bytes.resize(PAGE.min(self.fat.boot.table_size - start) as usize, 0);
            read(self.fat.reader, &mut self.bytes, self.fat.boot.table_offset + start)?;
        }
        let at = (position % PAGE) as usize;
        let raw = self.bytes.get(at..at + 4).and_then(|raw| raw.try_into().ok()).unwrap_or_default();
        Ok(u32::from_le_bytes(raw) & 0x0fff_ffff)
    }
}

/// A file of a volume.
pub struct FatFile<'a> {
    reader: &'a dyn ReadAt,
    size: u64,
    extents: Vec<Extent>,
}

impl FatFile<'_> {
    /// Where its bytes are.
    pub fn extents(&self) -> &[Extent] {
        &self.extents
    }
}

impl ReadAt for FatFile<'_> {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64);
        if end.is_none_or(|end| end > self.size) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let (mut buffer, mut position) = (buffer, offset);
        let first = self.extents.partition_point(|extent| extent.position + extent.length <= offset);
        for extent in &self.extents[first..] {
            if buffer.is_empty() {
                break;
            }
            let skip = position - extent.position;
            let length = (buffer.len() as u64).min(extent.length - skip) as usize;
            let (now, rest) = buffer.split_at_mut(length);
            self.reader.read_exact_at(now, extent.offset + skip)?;
            buffer = rest;
            position += length as u64;
        }
        Ok(())
    }

    fn size(&self) -> u64 {
        self.size
    }
}

fn read(reader: &dyn ReadAt, buffer: &mut [u8], offset: u64) -> Result<(), FatError> {
    reader.read_exact_at(buffer, offset).map_err(|source| FatError::Read { offset, source })
}
