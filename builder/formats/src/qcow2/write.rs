//! Writing an image: data in the order of the disk, the tables behind it, the header last.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::ops::Range;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use super::header::{COMPRESSION, HEADER_SIZE, MAGIC};
use super::{COMPRESSED, COPIED, SECTOR, compressed_offset_bits};
use crate::read_at::ReadAt;

const CLUSTER_BITS: u32 = 16;
const CLUSTER: u64 = 1 << CLUSTER_BITS;
/// Entries of 8 bytes in a table of one cluster.
const TABLE_ENTRIES: u64 = CLUSTER / 8;
/// Reference counts of 16 bits in a block of one cluster.
const COUNTS_PER_BLOCK: u64 = CLUSTER / 2;
/// Clusters that a thread takes at once.
const BATCH: u64 = 16;
const MAX_THREADS: usize = 4;
const LEVEL: i32 = 3;

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// A disk has whole sectors.
    #[error("a disk of {size} bytes is not a multiple of {SECTOR}")]
    Unaligned {
        /// Its size.
        size: u64,
    },
    /// There is no disk.
    #[error("a disk has no bytes")]
    Empty,
    /// The disk cannot be read, or the image not written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A cluster as it will be stored.
enum Cluster {
    Zero,
    Plain(Vec<u8>),
    Compressed(Vec<u8>),
}

/// Writes the disk `source` as an image. Outside of `data` (ascending ranges, for example
/// [`crate::sparse::data_ranges`]) the disk is known to be zero and is not read; which
/// ranges are given does not change the image. Several threads compress.
///
/// # Errors
/// See [`WriteError`].
pub fn write<R: ReadAt + Sync + ?Sized>(
    source: &R,
    data: &[Range<u64>],
    out: &mut (impl Write + Seek),
) -> Result<(), WriteError> {
    let size = source.size();
    if !size.is_multiple_of(SECTOR) {
        return Err(WriteError::Unaligned { size });
    }
    if size == 0 {
        return Err(WriteError::Empty);
    }
    let start = out.stream_position()?;
    let mut image = Image::new(BufWriter::with_capacity(1 << 20, out));
    image.pad(CLUSTER)?;
    let batches = batches(data, size);
    thread::scope(|scope| {
        // Thread k does batches k, k + n, …; asking them in turn keeps the order.
        let threads = thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
        let mut results = Vec::new();
        for first in 0..threads {
            let (sender, receiver) = sync_channel(2);
            let mine = batches.iter().skip(first).step_by(threads);
            scope.spawn(move || compress_all(source, mine, &sender));
            results.push(receiver);
        }
        for (index, batch) in batches.iter().enumerate() {
            let clusters =
                results[index % threads].recv().map_err(|_| io::Error::other("a thread died"))??;
            for (number, cluster) in batch.clone().zip(clusters) {
                image.put(number, cluster)?;
            }
        }
        io::Result::Ok(())
    })?;
    image.finish(start, size)?;
    Ok(())
}

/// The clusters that have data, in runs of at most [`BATCH`].
fn batches(data: &[Range<u64>], size: u64) -> Vec<Range<u64>> {
    let mut batches: Vec<Range<u64>> = Vec::new();
    let mut next = 0;
    for range in data {
        let end = range.end.min(size).div_ceil(CLUSTER);
        let mut first = next.max(range.start / CLUSTER);
        while first < end {
            let last = end.min((first / BATCH + 1) * BATCH);
            match batches.last_mut() {
                Some(batch) if batch.end == first && batch.start / BATCH == first / BATCH => batch.end = last,
                _ => batches.push(first..last),
            }
            first = last;
        }
        next = next.max(end);
    }
    batches
}

/// Reads and compresses batches until the receiver has enough.
fn compress_all<'b, R: ReadAt + ?Sized>(
    source: &R,
    batches: impl Iterator<Item = &'b Range<u64>>,
    results: &SyncSender<io::Result<Vec<Cluster>>>,
) {
    let mut bytes = vec![0; (BATCH * CLUSTER) as usize];
    let mut compress = |batch: &Range<u64>| {
        let mut compressor = zstd::bulk::Compressor::new(LEVEL)?;
        let length = (batch.end - batch.start) * CLUSTER;
        let there = length.min(source.size() - batch.start * CLUSTER) as usize;
        let bytes = &mut bytes[..length as usize];
        source.read_exact_at(&mut bytes[..there], batch.start * CLUSTER)?;
        // The disk may end within its last cluster.
        bytes[there..].fill(0);
        bytes
            .chunks_exact(CLUSTER as usize)
            .map(|plain| {
                if plain.iter().all(|byte| *byte == 0) {
                    return Ok(Cluster::Zero);
                }
                let small = compressor.compress(plain)?;
                let shorter = small.len() < plain.len();
                Ok(if shorter { Cluster::Compressed(small) } else { Cluster::Plain(plain.to_vec()) })
            })
            .collect()
    };
    for batch in batches {
        if results.send(compress(batch)).is_err() {
            return;
        }
    }
}

/// An image while it grows.
struct Image<W: Write + Seek> {
    out: BufWriter<W>,
    /// Bytes written, the header's cluster included.
    end: u64,
    /// L2 tables by their number; only those with an entry.
    tables: BTreeMap<u64, Vec<u64>>,
    /// Reference counts of the clusters of the file.
    counts: Vec<u16>,
}

impl<W: Write + Seek> Image<W> {
    fn new(out: BufWriter<W>) -> Self {
        Self { out, end: 0, tables: BTreeMap::new(), counts: vec![1] }
    }

    fn put(&mut self, number: u64, cluster: Cluster) -> io::Result<()> {
        let entry = match cluster {
            Cluster::Zero => return Ok(()),
            Cluster::Plain(bytes) => self.append(&bytes)? | COPIED,
            Cluster::Compressed(bytes) => {
                let offset = self.end;
                self.out.write_all(&bytes)?;
                self.end += bytes.len() as u64;
                let last = self.end - 1;
                for cluster in offset / CLUSTER..=last / CLUSTER {
                    self.refer(cluster);
                }
                let further = last / SECTOR - offset / SECTOR;
                COMPRESSED | further << compressed_offset_bits(CLUSTER_BITS) | offset
            }
        };
        let table = self.tables.entry(number / TABLE_ENTRIES);
        table.or_insert_with(|| vec![0; TABLE_ENTRIES as usize])[(number % TABLE_ENTRIES) as usize] = entry;
        Ok(())
    }

    /// Writes whole clusters at the next cluster's start.
    fn append(&mut self, bytes: &[u8]) -> io::Result<u64> {
        let fill = self.end.next_multiple_of(CLUSTER) - self.end;
        self.pad(fill)?;
        let offset = self.end;
        self.out.write_all(bytes)?;
        self.end += bytes.len() as u64;
        let fill = self.end.next_multiple_of(CLUSTER) - self.end;
        self.pad(fill)?;
        for cluster in offset / CLUSTER..self.end / CLUSTER {
            self.refer(cluster);
        }
        Ok(offset)
    }

    fn pad(&mut self, count: u64) -> io::Result<()> {
        self.out.write_all(&vec![0; count as usize])?;
        self.end += count;
        Ok(())
    }

    fn refer(&mut self, cluster: u64) {
        let cluster = cluster as usize;
        self.counts.resize(self.counts.len().max(cluster + 1), 0);
        // A compressed cluster takes at least ten bytes, so no count comes near 2^16.
        self.counts[cluster] += 1;
    }

    /// Writes the tables, then the header at `start`.
    fn finish(mut self, start: u64, size: u64) -> io::Result<()> {
        let l1_size = size.div_ceil(CLUSTER * TABLE_ENTRIES);
        let mut l1 = vec![0; l1_size as usize];
        for (number, entries) in std::mem::take(&mut self.tables) {
            l1[number as usize] = self.append(&big_endian(&entries))? | COPIED;
        }
        let l1_offset = self.append(&big_endian(&l1))?;

        // The counts count themselves: grow them until they cover all.
        let before = self.end.div_ceil(CLUSTER);
        let (mut blocks, mut table_clusters) = (1, 1);
        while blocks * COUNTS_PER_BLOCK < before + blocks + table_clusters {
            blocks += 1;
            table_clusters = blocks.div_ceil(TABLE_ENTRIES);
        }
        let table_offset = before * CLUSTER;
        let first_block = before + table_clusters;
        let places: Vec<_> = (first_block..first_block + blocks).map(|cluster| cluster * CLUSTER).collect();
        self.append(&big_endian(&places))?;
        self.counts.resize((blocks * COUNTS_PER_BLOCK) as usize, 0);
        self.counts[before as usize..(first_block + blocks) as usize].fill(1);
        let counts: Vec<u8> = self.counts.iter().flat_map(|count| count.to_be_bytes()).collect();
        self.out.write_all(&counts)?;

        let mut header = [0; HEADER_SIZE];
        let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &MAGIC);
        put(4, &3_u32.to_be_bytes());
        put(20, &CLUSTER_BITS.to_be_bytes());
        put(24, &size.to_be_bytes());
        put(36, &(l1_size as u32).to_be_bytes());
        put(40, &l1_offset.to_be_bytes());
        put(48, &table_offset.to_be_bytes());
        put(56, &(table_clusters as u32).to_be_bytes());
        put(72, &COMPRESSION.to_be_bytes());
        put(96, &4_u32.to_be_bytes());
        put(100, &(HEADER_SIZE as u32).to_be_bytes());
        put(104, &[1]);
        self.out.seek(SeekFrom::Start(start))?;
        self.out.write_all(&header)?;
        self.out.flush()
    }
}

fn big_endian(entries: &[u64]) -> Vec<u8> {
    entries.iter().flat_map(|entry| entry.to_be_bytes()).collect()
}
