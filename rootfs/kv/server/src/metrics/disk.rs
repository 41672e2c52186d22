//! A disk for the log that counts: how long writes and fdatasyncs take, and how much is written.

use std::io;
use std::path::Path;

use kv_log::disk::{Disk, DiskFile};

use super::{WAL_BYTES, WAL_FSYNC, WAL_WRITE};

/// A disk, with its times taken.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timed<D>(pub D);

/// A file of it.
#[derive(Debug)]
pub struct TimedFile<F>(F);

impl<D: Disk> Disk for Timed<D> {
    type File = TimedFile<D::File>;
    type Lock = D::Lock;

    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        self.0.create_folder(folder)
    }

    fn lock(&self, folder: &Path) -> io::Result<Option<Self::Lock>> {
        self.0.lock(folder)
    }

    fn create(&self, path: &Path) -> io::Result<Self::File> {
        self.0.create(path).map(TimedFile)
    }

    fn open(&self, path: &Path) -> io::Result<Self::File> {
        self.0.open(path).map(TimedFile)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.remove(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        self.0.list(folder)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.0.sync_folder(folder)
    }
}

impl<F: DiskFile> DiskFile for TimedFile<F> {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let _timer = WAL_WRITE.time();
        WAL_BYTES.add(bytes.len() as u64);
        self.0.write_all_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        let _timer = WAL_FSYNC.time();
        self.0.sync_data()
    }

    fn preallocate(&self, size: u64) -> io::Result<()> {
        self.0.preallocate(size)
    }

    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }
}
