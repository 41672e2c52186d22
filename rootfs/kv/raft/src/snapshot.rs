//! Snapshots as bytes: where they are read from, and where one that arrives is kept.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

/// A finished snapshot.
pub trait SnapshotSource: Send + Sync + 'static {
    /// Its length in bytes.
    fn length(&self) -> u64;
    /// `length` bytes from `offset` on. Blocks.
    fn read_at(&self, offset: u64, length: usize) -> io::Result<Bytes>;
    /// The one to read instead, while it is sent once: for a snapshot whose bytes are made when a
    /// member needs them. It may have applied more than the position that goes with it, if the machine
    /// passes over what it gets twice. Blocks.
    fn freeze(&self) -> io::Result<Option<Arc<dyn SnapshotSource>>> {
        Ok(None)
    }
}

/// A snapshot that arrives.
pub trait SnapshotSink: Send {
    /// The next bytes. Blocks.
    fn write(&mut self, data: &[u8]) -> io::Result<()>;
    /// All have come.
    fn finish(self: Box<Self>) -> io::Result<Arc<dyn SnapshotSource>>;
}

/// Where snapshots that arrive are kept until the machine has installed them.
pub trait Spool: Send + Sync + 'static {
    /// An empty one.
    fn sink(&self) -> io::Result<Box<dyn SnapshotSink>>;
}

/// Keeps them in memory: for tests, and for small machines.
#[derive(Clone, Copy, Debug, Default)]
pub struct MemorySpool;

struct MemorySink(Vec<u8>);

impl Spool for MemorySpool {
    fn sink(&self) -> io::Result<Box<dyn SnapshotSink>> {
        Ok(Box::new(MemorySink(Vec::new())))
    }
}

impl SnapshotSink for MemorySink {
    fn write(&mut self, data: &[u8]) -> io::Result<()> {
        self.0.extend_from_slice(data);
        Ok(())
    }

    fn finish(self: Box<Self>) -> io::Result<Arc<dyn SnapshotSource>> {
        Ok(Arc::new(Bytes::from(self.0)))
    }
}

impl SnapshotSource for Bytes {
    fn length(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        match start.checked_add(length) {
            Some(end) if end <= self.len() => Ok(self.slice(start..end)),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// Keeps them in a folder, one file at a time, in a file that has no name as soon as it is open: so a
/// crash leaves nothing behind. It is not synced: the machine's own state is, once installed.
#[derive(Clone, Debug)]
pub struct FolderSpool {
    folder: PathBuf,
}

impl FolderSpool {
    /// A spool in `folder`, which must be there, on a disk with room for a snapshot, and this
    /// process's alone.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }
}

impl Spool for FolderSpool {
    fn sink(&self) -> io::Result<Box<dyn SnapshotSink>> {
        let path = self.folder.join("incoming-snapshot");
        // One of an earlier process that was killed between the two steps below.
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = File::options().read(true).write(true).create_new(true).open(&path)?;
        std::fs::remove_file(&path)?;
        Ok(Box::new(FileSink { file, length: 0 }))
    }
}

struct FileSink {
    file: File,
    length: u64,
}

impl SnapshotSink for FileSink {
    fn write(&mut self, data: &[u8]) -> io::Result<()> {
        self.file.write_all_at(data, self.length)?;
        self.length += data.len() as u64;
        Ok(())
    }

    fn finish(self: Box<Self>) -> io::Result<Arc<dyn SnapshotSource>> {
        Ok(Arc::new(FileSource { file: self.file, length: self.length }))
    }
}

/// A snapshot in a file.
#[derive(Debug)]
pub struct FileSource {
    file: File,
    length: u64,
}

impl FileSource {
    /// The whole of `file`.
    pub fn new(file: File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        Ok(Self { file, length })
    }
}

impl SnapshotSource for FileSource {
    fn length(&self) -> u64 {
        self.length
    }

    fn read_at(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        let mut data = vec![0; length];
        self.file.read_exact_at(&mut data, offset)?;
        Ok(data.into())
    }
}
