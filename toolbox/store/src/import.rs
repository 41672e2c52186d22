//! From each kind of source to a tree.

use crate::disk::Disk;
use crate::error::{StoreError, io_error};
use crate::layer::{self, Whiteouts};
use crate::store::{Built, Config, Progress, Stage};
use crate::tree::Writer;
use crate::unpacked::{Packing, Slice, Unpacked};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes between two calls of a progress function.
const STEP: u64 = 1 << 20;

/// Tells of progress, but not of every byte.
pub(crate) struct Ticker<'p> {
    progress: &'p mut dyn FnMut(Progress),
    stage: Stage,
    pub(crate) done: Arc<AtomicU64>,
    total: Option<u64>,
    told: u64,
}

impl<'p> Ticker<'p> {
    pub(crate) fn new(progress: &'p mut dyn FnMut(Progress), stage: Stage, total: Option<u64>) -> Self {
        progress(Progress { stage, done: 0, total });
        Self { progress, stage, done: Arc::default(), total, told: 0 }
    }

    pub(crate) fn tick(&mut self) {
        let done = self.done.load(Ordering::Relaxed);
        if done >= self.told.saturating_add(STEP) || (Some(done) == self.total && done != self.told) {
            self.told = done;
            (self.progress)(Progress { stage: self.stage, done, total: self.total });
        }
    }
}

/// The first bytes of a file.
pub(crate) fn head(file: &File) -> std::io::Result<Vec<u8>> {
    let mut head = vec![0; 8];
    let count = file.read_at(&mut head, 0)?;
    head.truncate(count);
    Ok(head)
}

/// A tar archive; its digest is that of its bytes.
pub(crate) fn tar(
    path: &Path,
    file: &File,
    mut writer: Writer,
    progress: &mut dyn FnMut(Progress),
) -> Result<Built, StoreError> {
    let failed = io_error("cannot read", path);
    let size = file.metadata().map_err(&failed)?.len();
    let packing = Packing::detect(&head(file).map_err(&failed)?);
    let mut ticker = Ticker::new(progress, Stage::Unpack, Some(size));
    let input = Slice::new(Arc::new(file.try_clone().map_err(&failed)?), 0, u64::MAX);
    let input = Unpacked::start(input, packing, false, ticker.done.clone()).map_err(&failed)?;
    let input = layer::apply(input, &mut writer, Whiteouts::Literal, &mut || ticker.tick())
        .map_err(|source| archive_error(path, source))?;
    let finished =
        input.finish().map_err(|source| StoreError::Decompress { path: path.to_owned(), source })?;
    ticker.tick();
    let (notes, size_bytes) =
        writer.finish().map_err(|source| StoreError::Unpack { path: path.to_owned(), source })?;
    Ok(Built { digest: finished.digest, config: Config::default(), notes, size_bytes })
}

/// A file system in a file or in a partition; its digest is that of its entries.
pub(crate) fn ext4(
    path: &Path,
    file: &File,
    partition: Option<&str>,
    mut writer: Writer,
    progress: &mut dyn FnMut(Progress),
) -> Result<Built, StoreError> {
    let failed = |source| StoreError::Disk { path: path.to_owned(), source };
    let file = file.try_clone().map_err(io_error("cannot open", path))?;
    let disk = Disk::open(file).and_then(|disk| disk.file_system(partition)).map_err(failed)?;
    // How much of it is in use is not known before.
    let mut ticker = Ticker::new(progress, Stage::Unpack, None);
    let digest = crate::ext4::apply(disk, &mut writer, &mut |bytes| {
        ticker.done.fetch_add(bytes, Ordering::Relaxed);
        ticker.tick();
    })
    .map_err(|source| StoreError::Ext4 { path: path.to_owned(), source })?;
    let (notes, size_bytes) =
        writer.finish().map_err(|source| StoreError::Unpack { path: path.to_owned(), source })?;
    Ok(Built { digest, config: Config::default(), notes, size_bytes })
}

/// A broken stream is the compression's fault, or the disk's.
pub(crate) fn archive_error(path: &Path, source: layer::ApplyError) -> StoreError {
    match source {
        layer::ApplyError::Tar(crate::tar::TarError { problem: crate::tar::Problem::Io(source), .. }) => {
            StoreError::Decompress { path: path.to_owned(), source }
        }
        source => StoreError::Archive { path: path.to_owned(), source },
    }
}
