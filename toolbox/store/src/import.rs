//! From each kind of source to a tree.

use crate::digest::Digest;
use crate::disk::Disk;
use crate::error::{StoreError, io_error};
use crate::layer::{self, Whiteouts};
use crate::store::{Built, Config, Progress, Stage};
use crate::tar::{Entry, Kind};
use crate::tree::Writer;
use crate::unpacked::{Packing, Slice, Unpacked};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
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

/// Debian packages over one another, below a merged /usr; the digest is that of their digests.
/// Their scripts are not run.
pub(crate) fn debs(
    packages: &[(PathBuf, File)],
    mut writer: Writer,
    progress: &mut dyn FnMut(Progress),
) -> Result<Built, StoreError> {
    let total = packages.iter().map(|(_, file)| file.metadata().map_or(0, |metadata| metadata.len())).sum();
    let mut ticker = Ticker::new(progress, Stage::Unpack, Some(total));
    let here = PathBuf::from("/");
    for name in ["bin", "sbin", "lib", "lib64"] {
        for (path, kind) in [
            (format!("usr/{name}"), Kind::Directory),
            (name.to_owned(), Kind::Symlink(format!("usr/{name}").into())),
        ] {
            let entry = Entry {
                path: path.into_bytes(),
                kind,
                mode: 0o755,
                uid: 0,
                gid: 0,
                mtime: (0, 0),
                xattrs: Vec::new(),
                size: 0,
                pieces: None,
            };
            writer.make(&entry).map_err(|source| StoreError::Unpack { path: here.clone(), source })?;
        }
    }
    let mut digests = String::new();
    for (path, file) in packages {
        let failed = io_error("cannot read", path);
        let (offset, length) =
            deb::data_member(&mut &*file).map_err(|source| StoreError::Deb { path: path.clone(), source })?;
        let file = Arc::new(file.try_clone().map_err(&failed)?);
        let mut head = vec![0; length.min(8) as usize];
        file.read_exact_at(&mut head, offset).map_err(&failed)?;
        let input = Slice::new(file.clone(), offset, length);
        let input =
            Unpacked::start(input, Packing::detect(&head), false, ticker.done.clone()).map_err(&failed)?;
        let input = layer::apply(input, &mut writer, Whiteouts::Literal, &mut || ticker.tick())
            .map_err(|source| archive_error(path, source))?;
        let finished =
            input.finish().map_err(|source| StoreError::Decompress { path: path.clone(), source })?;
        digests.push_str(&finished.digest.hex());
    }
    let (notes, size_bytes) = writer.finish().map_err(|source| StoreError::Unpack { path: here, source })?;
    Ok(Built { digest: Digest::of(digests.as_bytes()), config: Config::default(), notes, size_bytes })
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
