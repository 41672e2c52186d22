//! Hashing an image on its way through.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use super::superblock::{MAX_SALT, Superblock};
use super::{BLOCK, BLOCK_SIZE, DIGESTS_PER_BLOCK, Digest32, Salted, hash_area_blocks, salted};
use crate::stream::ImageSink;

/// Blocks handed to a worker at once: 1 MiB.
const BATCH_BLOCKS: usize = 256;
/// More workers than this would wait for the one thread that feeds them.
const MAX_WORKERS: usize = 4;

/// What the tree does not take from the data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Hashed before each block; at most 256 bytes.
    pub salt: Vec<u8>,
    /// UUID of the hash area.
    pub uuid: [u8; 16],
}

/// What a finished tree needs to be mapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerityInfo {
    /// Digest of the tree's top block.
    pub root_hash: Digest32,
    /// Data blocks of 4096 bytes.
    pub data_blocks: u64,
    /// First block of the tree, counted from the start of the data; the superblock is the block before.
    pub hash_start_block: u64,
    /// Blocks in the tree, without the superblock's.
    pub tree_blocks: u64,
    /// The salt used.
    pub salt: Vec<u8>,
    /// The UUID used.
    pub uuid: [u8; 16],
}

/// Why there is no tree.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The salt does not fit the superblock.
    #[error("verity salt of {length} bytes is longer than {MAX_SALT}")]
    SaltTooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// Nothing was written.
    #[error("there is no data to make a verity tree of")]
    NoData,
    /// The data does not end at a block's end.
    #[error("verity data of {length} bytes does not end at a multiple of {BLOCK_SIZE}")]
    Unaligned {
        /// Its length in bytes.
        length: u64,
    },
    /// The sink refused, or a hashing thread died.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Passes a file system on to `sink` and puts its verity superblock and tree behind it.
///
/// Data is hashed by other threads in pieces of 1 MiB; a run of zeros costs nothing but
/// its place in the tree. Memory: 32 bytes for each data block, and some MiB of pieces.
pub struct VerityWriter<S> {
    sink: S,
    options: Options,
    zero_digest: Digest32,
    /// Digest of each block begun so far; that of a block still being hashed is the zero block's.
    leaves: Vec<Digest32>,
    batch: Batch,
    workers: Workers,
}

/// Blocks on their way to a worker and back.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    /// Which block each 4096 bytes are.
    blocks: Vec<usize>,
    digests: Vec<Digest32>,
}

impl<S: ImageSink> VerityWriter<S> {
    /// Starts a tree over whatever is written next.
    ///
    /// # Errors
    /// [`Error::SaltTooLong`], or a thread cannot be started.
    pub fn new(sink: S, options: Options) -> Result<Self, Error> {
        if options.salt.len() > MAX_SALT {
            return Err(Error::SaltTooLong { length: options.salt.len() });
        }
        let hasher = salted(&options.salt);
        Ok(Self {
            sink,
            options,
            zero_digest: hasher.digest(&[0; BLOCK]),
            leaves: Vec::new(),
            batch: Batch::default(),
            workers: Workers::start(&hasher)?,
        })
    }

    /// Writes the superblock and the tree behind the data.
    ///
    /// # Errors
    /// [`Error::NoData`], [`Error::Unaligned`], and what the sink says.
    pub fn finish(mut self) -> Result<VerityInfo, Error> {
        let partial = self.batch.bytes.len() % BLOCK;
        if partial != 0 {
            let length = (self.leaves.len() as u64 - 1) * BLOCK_SIZE + partial as u64;
            return Err(Error::Unaligned { length });
        }
        if self.leaves.is_empty() {
            return Err(Error::NoData);
        }
        self.workers.submit(std::mem::take(&mut self.batch))?;
        while let Some(batch) = self.workers.next_done()? {
            store(&mut self.leaves, &batch);
        }

        let data_blocks = self.leaves.len() as u64;
        let hasher = salted(&self.options.salt);
        let mut levels = vec![self.leaves];
        while let Some(below) = levels.last().filter(|level| level.len() > 1) {
            let above = hash_blocks(below).map(|block| hasher.digest(&block)).collect();
            levels.push(above);
        }
        let root_hash = levels.pop().and_then(|top| top.first().copied()).ok_or(Error::NoData)?;

        let superblock = Superblock { uuid: self.options.uuid, data_blocks, salt: self.options.salt.clone() };
        let mut first = [0; BLOCK];
        let raw = superblock.encode();
        first[..raw.len()].copy_from_slice(&raw);
        self.sink.write(&first)?;
        for level in levels.iter().rev() {
            for block in hash_blocks(level) {
                self.sink.write(&block)?;
            }
        }
        Ok(VerityInfo {
            root_hash,
            data_blocks,
            hash_start_block: data_blocks + 1,
            tree_blocks: hash_area_blocks(data_blocks) - 1,
            salt: self.options.salt,
            uuid: self.options.uuid,
        })
    }

    fn take_in(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let filled = self.batch.bytes.len();
            if filled == BATCH_BLOCKS * BLOCK {
                let next = self.workers.free_batch()?;
                store(&mut self.leaves, &next);
                self.workers.submit(std::mem::replace(&mut self.batch, next.emptied()))?;
                continue;
            }
            if filled.is_multiple_of(BLOCK) {
                self.batch.blocks.push(self.leaves.len());
                self.leaves.push(self.zero_digest);
            }
            let (now, rest) = bytes.split_at(bytes.len().min(BLOCK - filled % BLOCK));
            self.batch.bytes.extend_from_slice(now);
            bytes = rest;
        }
        Ok(())
    }
}

impl<S: ImageSink> ImageSink for VerityWriter<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sink.write(bytes)?;
        self.take_in(bytes)
    }

    /// Also stands for `skip`: the tree fixes every byte under it.
    fn zeros(&mut self, count: u64) -> io::Result<()> {
        const ZEROS: [u8; BLOCK] = [0; BLOCK];
        self.sink.zeros(count)?;
        let to_block_end = (BLOCK - self.batch.bytes.len() % BLOCK) % BLOCK;
        let head = count.min(to_block_end as u64);
        self.take_in(&ZEROS[..head as usize])?;
        let blocks = usize::try_from((count - head) / BLOCK_SIZE).map_err(|_| io::ErrorKind::OutOfMemory)?;
        self.leaves.resize(self.leaves.len() + blocks, self.zero_digest);
        self.take_in(&ZEROS[..((count - head) % BLOCK_SIZE) as usize])
    }
}

impl Batch {
    fn emptied(mut self) -> Self {
        self.bytes.clear();
        self.blocks.clear();
        self.digests.clear();
        self
    }
}

/// Puts the digests that a worker found into their places.
fn store(leaves: &mut [Digest32], batch: &Batch) {
    for (block, digest) in batch.blocks.iter().zip(&batch.digests) {
        leaves[*block] = *digest;
    }
}

/// A level's digests as hash blocks, the last filled up with zeros.
fn hash_blocks(digests: &[Digest32]) -> impl Iterator<Item = [u8; BLOCK]> {
    digests.chunks(DIGESTS_PER_BLOCK as usize).map(|digests| {
        let mut block = [0; BLOCK];
        let bytes = digests.as_flattened();
        block[..bytes.len()].copy_from_slice(bytes);
        block
    })
}

/// Threads that fill in digests. Batches come back in any order; at most two for each
/// worker exist, which bounds the memory.
struct Workers {
    jobs: Option<Sender<Batch>>,
    done: Receiver<Batch>,
    threads: Vec<JoinHandle<()>>,
    in_flight: usize,
}

impl Workers {
    fn start(hasher: &Salted) -> io::Result<Self> {
        let count = thread::available_parallelism().map_or(1, usize::from).min(MAX_WORKERS);
        let (jobs, queue) = channel::<Batch>();
        let queue = Arc::new(Mutex::new(queue));
        let (results, done) = channel();
        let mut workers = Self { jobs: Some(jobs), done, threads: Vec::new(), in_flight: 0 };
        for _ in 0..count {
            let (queue, results, hasher) = (Arc::clone(&queue), results.clone(), hasher.clone());
            let body = move || {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(mut batch) = next else { return };
                    batch.digests.extend(batch.bytes.chunks_exact(BLOCK).map(|block| hasher.digest(block)));
                    if results.send(batch).is_err() {
                        return;
                    }
                }
            };
            workers.threads.push(thread::Builder::new().name("verity".into()).spawn(body)?);
        }
        Ok(workers)
    }

    fn submit(&mut self, batch: Batch) -> io::Result<()> {
        let sent = self.jobs.as_ref().is_some_and(|jobs| jobs.send(batch).is_ok());
        self.in_flight += 1;
        if sent { Ok(()) } else { Err(died()) }
    }

    /// A finished batch, or a new one while there may be more.
    fn free_batch(&mut self) -> io::Result<Batch> {
        if self.in_flight < 2 * self.threads.len() {
            return Ok(Batch { bytes: Vec::with_capacity(BATCH_BLOCKS * BLOCK), ..Batch::default() });
        }
        self.in_flight -= 1;
        self.done.recv().map_err(|_| died())
    }

    /// The next finished batch; none when all have come back.
    fn next_done(&mut self) -> io::Result<Option<Batch>> {
        if self.in_flight == 0 {
            return Ok(None);
        }
        self.in_flight -= 1;
        self.done.recv().map(Some).map_err(|_| died())
    }
}

fn died() -> io::Error {
    io::Error::other("a verity hashing thread died")
}

impl Drop for Workers {
    /// Ends the threads; on an error path too, none outlives its writer.
    fn drop(&mut self) {
        self.jobs = None;
        for thread in self.threads.drain(..) {
            // A panic in a worker was seen as a closed channel already.
            let _ = thread.join();
        }
    }
}
