//! Archives without their compression: one thread reads, hashes and unpacks, the caller takes
//! what comes, so that the one's work and the other's writes go on side by side.

use crate::digest::{Digest, Hasher, HashingReader};
use std::fs::File;
use std::io::{self, BufRead, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

/// Bytes that are handed over at a time.
const CHUNK: usize = 256 << 10;
/// Chunks on their way.
const CHUNKS: usize = 4;
/// Most memory that an xz stream may ask for: `xz -9` needs 65 MiB, `xz -6` 9 MiB.
const XZ_MEMORY: u64 = 256 << 20;

/// How an archive is compressed, by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// Not at all.
    None,
    /// RFC 1952.
    Gzip,
    /// RFC 8878; windows up to 128 MiB (`--long=27`), which then take that much memory; 8 MiB up to -19.
    Zstd,
    /// The .xz file format; dictionaries up to 256 MiB.
    Xz,
}

impl Packing {
    /// What the first bytes say; anything else is not compressed.
    pub fn detect(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, ..] => Self::Gzip,
            // A frame, or a skippable one in front of it.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            _ => Self::None,
        }
    }
}

/// What is known once all was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finished {
    /// Of the archive as it is stored.
    pub digest: Digest,
    /// Bytes of it.
    pub bytes: u64,
    /// Of the archive without compression, when asked for (OCI image specification: `DiffID`).
    pub diff_id: Option<Digest>,
}

type Chunk = io::Result<Vec<u8>>;

/// The bytes without compression.
pub struct Unpacked {
    chunks: Receiver<Chunk>,
    back: SyncSender<Vec<u8>>,
    current: Vec<u8>,
    taken: usize,
    thread: Option<JoinHandle<io::Result<Finished>>>,
}

impl Unpacked {
    /// Reads `input` to its end on a thread of its own. `done` is told how many stored bytes were read.
    ///
    /// # Errors
    /// There can be no thread.
    pub fn start(
        input: impl Read + Send + 'static,
        packing: Packing,
        diff_id: bool,
        done: Arc<AtomicU64>,
    ) -> io::Result<Self> {
        let (to, chunks) = sync_channel(CHUNKS);
        let (back, spare) = sync_channel(CHUNKS + 1);
        let thread = std::thread::Builder::new()
            .name("unpack".to_owned())
            .spawn(move || read(Counted { input, done }, packing, diff_id, &to, &spare))?;
        Ok(Self { chunks, back, current: Vec::new(), taken: 0, thread: Some(thread) })
    }

    /// Reads what is left, and gives the digests.
    ///
    /// # Errors
    /// The archive is broken, or cannot be read.
    pub fn finish(mut self) -> io::Result<Finished> {
        // Bytes behind the archive's end count for its digest.
        loop {
            let count = self.fill_buf()?.len();
            if count == 0 {
                break;
            }
            self.consume(count);
        }
        let thread = self.thread.take().ok_or(io::ErrorKind::BrokenPipe)?;
        thread.join().map_err(|_| io::Error::other("the unpacking thread panicked"))?
    }
}

impl Read for Unpacked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?;
        let count = bytes.len().min(buffer.len());
        buffer[..count].copy_from_slice(&bytes[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Unpacked {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.taken == self.current.len() {
            let spent = std::mem::take(&mut self.current);
            self.taken = 0;
            if spent.capacity() > 0 {
                // Full or gone: then it is simply freed.
                let _ = self.back.try_send(spent);
            }
            // The sender is dropped at the end.
            self.current = self.chunks.recv().unwrap_or(Ok(Vec::new()))?;
        }
        Ok(&self.current[self.taken..])
    }

    fn consume(&mut self, count: usize) {
        self.taken += count;
    }
}

fn read(
    input: impl Read,
    packing: Packing,
    diff_id: bool,
    to: &SyncSender<Chunk>,
    spare: &Receiver<Vec<u8>>,
) -> io::Result<Finished> {
    let mut raw = HashingReader::new(input);
    let mut hasher = diff_id.then(Hasher::default);
    let result = {
        let mut reader = decoder(&mut raw, packing)?;
        pass_on(&mut *reader, hasher.as_mut(), to, spare)
    };
    match result {
        Ok(true) => {}
        // Nobody takes more.
        Ok(false) => return Err(io::ErrorKind::BrokenPipe.into()),
        Err(error) => {
            let again = io::Error::new(error.kind(), error.to_string());
            let _ = to.send(Err(error));
            return Err(again);
        }
    }
    let (digest, bytes) = raw.finish()?;
    Ok(Finished { digest, bytes, diff_id: hasher.map(Hasher::finish) })
}

/// A reader of the bytes without compression, on this thread.
pub(crate) fn decoder<'r>(input: impl Read + 'r, packing: Packing) -> io::Result<Box<dyn Read + 'r>> {
    Ok(match packing {
        Packing::None => Box::new(input),
        Packing::Gzip => {
            Box::new(flate2::bufread::MultiGzDecoder::new(io::BufReader::with_capacity(64 << 10, input)))
        }
        Packing::Zstd => Box::new(zstd::Decoder::new(input)?),
        Packing::Xz => {
            let stream = xz2::stream::Stream::new_stream_decoder(XZ_MEMORY, xz2::stream::CONCATENATED)?;
            Box::new(xz2::read::XzDecoder::new_stream(input, stream))
        }
    })
}

/// Gives whether all was taken.
fn pass_on(
    reader: &mut dyn Read,
    mut hasher: Option<&mut Hasher>,
    to: &SyncSender<Chunk>,
    spare: &Receiver<Vec<u8>>,
) -> io::Result<bool> {
    loop {
        let mut chunk = spare.try_recv().unwrap_or_default();
        chunk.resize(CHUNK, 0);
        let mut filled = 0;
        while filled < CHUNK {
            match reader.read(&mut chunk[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if filled == 0 {
            return Ok(true);
        }
        chunk.truncate(filled);
        if let Some(hasher) = &mut hasher {
            hasher.update(&chunk);
        }
        if to.send(Ok(chunk)).is_err() {
            return Ok(false);
        }
    }
}

struct Counted<R> {
    input: R,
    done: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.done.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// A part of a file, read from its start to its end without the file's own cursor.
pub(crate) struct Slice {
    file: Arc<File>,
    offset: u64,
    left: u64,
}

impl Slice {
    pub(crate) fn new(file: Arc<File>, offset: u64, length: u64) -> Self {
        Self { file, offset, left: length }
    }
}

impl Read for Slice {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = self.left.min(buffer.len() as u64) as usize;
        let count = self.file.read_at(&mut buffer[..wanted], self.offset)?;
        self.offset += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}
