//! Reading an image by position.

use std::io::{self, Read};
use std::sync::{Mutex, PoisonError};

use flate2::{Decompress, FlushDecompress, Status};

use super::header::{Compression, HEADER_SIZE, Header, HeaderError};
use super::{COMPRESSED, OFFSET_MASK, SECTOR, compressed_offset_bits};
use crate::read_at::ReadAt;

/// Largest zstd window, as a power of two: that of the largest cluster.
const MAX_WINDOW_LOG: u32 = 21;

/// Why an image cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum Qcow2Error {
    /// The file cannot be read.
    #[error("cannot read qcow2 header: {0}")]
    Read(#[from] io::Error),
    /// The header is no good.
    #[error(transparent)]
    Header(#[from] HeaderError),
}

/// Why a cluster cannot be read; inside the [`io::Error`] that reading gives.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClusterError {
    /// A table or a cluster is not where one can be.
    #[error("qcow2 {what} for disk byte {position} has place {found:#x}, outside of the file's {file_size}")]
    Place {
        /// L2 table or cluster.
        what: &'static str,
        /// First byte of the disk that it is for.
        position: u64,
        /// The place in the file.
        found: u64,
        /// Bytes of the file.
        file_size: u64,
    },
    /// What is stored does not decompress to a cluster.
    #[error("qcow2 compressed cluster for disk byte {position}, at byte {offset}, is corrupt")]
    Corrupt {
        /// First byte of the disk that it is for.
        position: u64,
        /// Its place in the file.
        offset: u64,
    },
}

/// An open image; reads as the disk in it. Memory: one L2 table and one cluster.
pub struct Qcow2<R> {
    file: R,
    header: Header,
    cache: Mutex<Cache>,
}

/// What was needed last.
#[derive(Default)]
struct Cache {
    /// Place and bytes of an L2 table.
    l2: Option<(u64, Vec<u8>)>,
    /// L2 entry and bytes of a decompressed cluster.
    cluster: Option<(u64, Vec<u8>)>,
}

/// Where a cluster's bytes are.
enum Place {
    Zero,
    At(u64),
    Compressed { entry: u64, offset: u64, length: u64 },
}

impl<R: ReadAt> Qcow2<R> {
    /// Reads the header of the image in `file`.
    ///
    /// # Errors
    /// See [`Qcow2Error`].
    pub fn open(file: R) -> Result<Self, Qcow2Error> {
        let mut raw = vec![0; file.size().min(HEADER_SIZE as u64) as usize];
        file.read_exact_at(&mut raw, 0)?;
        let header = Header::decode(&raw, file.size())?;
        Ok(Self { file, header, cache: Mutex::default() })
    }

    fn cluster_size(&self) -> u64 {
        1 << self.header.cluster_bits
    }

    /// Looks the cluster up that has the disk's byte `position`.
    fn place(&self, cache: &mut Cache, position: u64) -> io::Result<Place> {
        let (bits, file_size) = (self.header.cluster_bits, self.file.size());
        let bad =
            |what, found| Err(io::Error::other(ClusterError::Place { what, position, found, file_size }));
        let mut raw = [0; 8];
        // Within the L1 table, since the header was checked to have one entry for each L2 table.
        self.file.read_exact_at(&mut raw, self.header.l1_offset + (position >> (2 * bits - 3)) * 8)?;
        let table = u64::from_be_bytes(raw) & OFFSET_MASK;
        if table == 0 {
            return Ok(Place::Zero);
        }
        let size = self.cluster_size();
        if !table.is_multiple_of(size) || table.saturating_add(size) > file_size {
            return bad("L2 table", table);
        }
        if cache.l2.as_ref().is_none_or(|(place, _)| *place != table) {
            let mut bytes = cache.l2.take().map_or_else(|| vec![0; size as usize], |(_, bytes)| bytes);
            self.file.read_exact_at(&mut bytes, table)?;
            cache.l2 = Some((table, bytes));
        }
        let index = (position >> bits) % (size / 8);
        let entries = cache.l2.as_ref().map_or(&[][..], |(_, bytes)| bytes.as_chunks::<8>().0);
        let entry = u64::from_be_bytes(*entries.get(index as usize).unwrap_or(&[0; 8]));

        if entry & COMPRESSED != 0 {
            let offset_bits = compressed_offset_bits(bits);
            let offset = entry & ((1 << offset_bits) - 1);
            let sectors = 1 + ((entry & (COMPRESSED - 1)) >> offset_bits);
            // The last sector may reach beyond the end of the file.
            let end = (offset / SECTOR).saturating_add(sectors).saturating_mul(SECTOR).min(file_size);
            return match end.checked_sub(offset) {
                Some(length) if length > 0 => Ok(Place::Compressed { entry, offset, length }),
                _ => bad("compressed cluster", offset),
            };
        }
        let offset = entry & OFFSET_MASK;
        if offset == 0 || (self.header.has_zero_flag && entry & 1 != 0) {
            return Ok(Place::Zero);
        }
        if !offset.is_multiple_of(size) || offset >= file_size {
            return bad("cluster", offset);
        }
        Ok(Place::At(offset))
    }

    fn decompress(&self, input: &[u8], output: &mut [u8]) -> Option<()> {
        match self.header.compression {
            Compression::Zlib => {
                let mut inflate = Decompress::new(false);
                let status = inflate.decompress(input, output, FlushDecompress::Finish).ok()?;
                let full = inflate.total_out() == output.len() as u64;
                (full && matches!(status, Status::StreamEnd | Status::Ok)).then_some(())
            }
            Compression::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(input).ok()?;
                decoder.window_log_max(MAX_WINDOW_LOG).ok()?;
                decoder.single_frame().read_exact(output).ok()
            }
        }
    }
}

impl<R: ReadAt> ReadAt for Qcow2<R> {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64);
        if end.is_none_or(|end| end > self.header.size) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut buffer, mut position) = (buffer, offset);
        let size = self.cluster_size();
        while !buffer.is_empty() {
            let within = position % size;
            let (now, rest) = buffer.split_at_mut((buffer.len() as u64).min(size - within) as usize);
            let start = position - within;
            match self.place(&mut cache, start)? {
                Place::Zero => now.fill(0),
                Place::At(place) => self.file.read_exact_at(now, place + within)?,
                Place::Compressed { entry, offset, length } => {
                    if cache.cluster.as_ref().is_none_or(|(cached, _)| *cached != entry) {
                        let mut input = vec![0; length as usize];
                        self.file.read_exact_at(&mut input, offset)?;
                        let old = cache.cluster.take();
                        let mut bytes = old.map_or_else(|| vec![0; size as usize], |(_, bytes)| bytes);
                        self.decompress(&input, &mut bytes).ok_or_else(|| {
                            io::Error::other(ClusterError::Corrupt { position: start, offset })
                        })?;
                        cache.cluster = Some((entry, bytes));
                    }
                    let bytes = cache.cluster.as_ref().map_or(&[][..], |(_, bytes)| bytes);
                    now.copy_from_slice(&bytes[within as usize..within as usize + now.len()]);
                }
            }
            position += now.len() as u64;
            buffer = rest;
        }
        Ok(())
    }

    fn size(&self) -> u64 {
        self.header.size
    }
}
