//! Work on a box's layer, where its files' ids are mapped.

use super::session::image_of;
use super::target::{Packing, Target};
use super::{BoxError, Kept};
use crate::images::Images;
use crate::plan::Ids;
use crate::run::mapped;
use rustix::fs::{FlockOperation, RenameFlags, flock, renameat_with};
use std::fs::{DirBuilder, File};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use toolbox_store::commit::{ChangeKind, CommitError, Overlay, Owners, write_layout};
use toolbox_store::{Config, Progress, Source};

/// Removes a folder of a box.
///
/// # Errors
/// A file of it cannot be removed.
pub(super) fn remove(folder: &Path, ids: Option<&Ids>) -> Result<(), BoxError> {
    mapped::within(ids, || {
        toolbox_store::tree::remove(folder)
            .map(|()| Vec::new())
            .map_err(|error| format!("cannot remove {}: {error}", folder.display()))
    })
    .map(drop)
    .map_err(BoxError::Layer)
}

/// Bytes on the disk of a box's layer.
///
/// # Errors
/// A folder of it cannot be read.
pub fn size_bytes(kept: &Kept, ids: Option<&Ids>) -> Result<u64, BoxError> {
    let upper = kept.folder.join("upper");
    let size = mapped::within(ids, || {
        let mut seen = std::collections::HashSet::new();
        let size = size_of(&upper, &mut seen)
            .map_err(|error| format!("cannot read {}: {error}", upper.display()))?;
        Ok(size.to_ne_bytes().to_vec())
    });
    let bytes = size.map_err(BoxError::Layer)?;
    Ok(u64::from_ne_bytes(bytes.try_into().unwrap_or_default()))
}

fn size_of(top: &Path, seen: &mut std::collections::HashSet<(u64, u64)>) -> io::Result<u64> {
    let mut waiting = vec![top.to_owned()];
    let mut bytes = 0;
    while let Some(folder) = waiting.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            // A running box may take it away meanwhile.
            let Ok(meta) = entry.metadata() else { continue };
            if meta.nlink() == 1 || seen.insert((meta.dev(), meta.ino())) {
                bytes += meta.blocks() * 512;
            }
            if meta.is_dir() {
                waiting.push(entry.path());
            }
        }
    }
    Ok(bytes)
}

/// The changes of a box, a line each: `A PATH`, `C PATH`, `D PATH`. Bytes that would break a line are escaped.
///
/// # Errors
/// The image is gone, or the layer cannot be read.
pub fn diff(kept: &Kept, images: &Images, ids: Option<&Ids>) -> Result<Vec<u8>, BoxError> {
    let (image, _held) = image_of(kept, images, &mut |_| {})?;
    let upper = kept.folder.join("upper");
    mapped::within(ids, || {
        let changes =
            Overlay { lower: &image.tree, upper: Some(&upper) }.diff().map_err(|error| error.to_string())?;
        let mut text = Vec::new();
        for change in changes {
            text.extend(match change.kind {
                ChangeKind::Added => b"A /",
                ChangeKind::Changed => b"C /",
                ChangeKind::Removed => b"D /",
            });
            for byte in change.path {
                match byte {
                    b'\\' | 0..0x20 | 0x7f => text.extend(std::ascii::escape_default(byte)),
                    _ => text.push(byte),
                }
            }
            text.push(b'\n');
        }
        Ok(text)
    })
    .map_err(BoxError::Layer)
}

/// Writes a box's image with its changes; gives what it is called now.
///
/// # Errors
/// The image is gone; something is there where it is to be written; it cannot be written: then nothing of it is
/// left.
pub fn commit(
    kept: &Kept,
    images: &Images,
    ids: Option<&Ids>,
    target: &Target,
    progress: &mut dyn FnMut(Progress),
) -> Result<String, BoxError> {
    let (image, held) = image_of(kept, images, progress)?;
    let config = held.as_ref().map_or_else(Config::default, |held| held.image.config.clone());
    let upper = kept.folder.join("upper");
    let overlay = Overlay { lower: &image.tree, upper: Some(&upper) };
    let wrong = |error: &CommitError| match error {
        CommitError::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
            format!("{error}; nothing was left of it: write it where there is room")
        }
        error => error.hint().map_or_else(|| error.to_string(), |hint| format!("{error}; {hint}")),
    };
    let layout = |folder: &Path, tag: &str| {
        let write = || {
            let digest = write_layout(&overlay, &config, tag, folder, Owners::Keep);
            digest.map(|digest| digest.to_string().into_bytes()).map_err(|error| wrong(&error))
        };
        let digest = mapped::within(ids, write).map_err(BoxError::Layer)?;
        Ok(String::from_utf8_lossy(&digest).into_owned())
    };
    match target {
        Target::Output => {
            if io::stdout().is_terminal() {
                return Err(BoxError::Name("an archive is not written to a terminal".to_owned()));
            }
            let write = || {
                let out = BufWriter::with_capacity(256 << 10, io::stdout().lock());
                let mut out = overlay.write_tar(out, Owners::Keep).map_err(|error| wrong(&error))?;
                out.flush().map_err(|error| format!("cannot write to standard output: {error}"))?;
                Ok(Vec::new())
            };
            mapped::within(ids, write).map_err(BoxError::Layer)?;
            Ok(String::new())
        }
        Target::Tar(path, packing) => {
            whole(path, |file| {
                let write = || match write_packed(&overlay, file, *packing) {
                    Ok(()) => Ok(Vec::new()),
                    Err(error) => Err(format!("{}: {}", path.display(), wrong(&error))),
                };
                mapped::within(ids, write).map(drop).map_err(BoxError::Layer)
            })?;
            Ok(path.display().to_string())
        }
        Target::Layout(folder, tag) => {
            if folder.symlink_metadata().is_ok() {
                return Err(BoxError::Exists(folder.clone()));
            }
            layout(folder, tag)
        }
        Target::Store(name) => {
            // Beside the store's own unpackings, where a collection finds what the dead left behind.
            let scratch = images.store().root().join("tmp").join(&super::random_name()?[1..]);
            let failed = BoxError::io("cannot make", &scratch);
            DirBuilder::new().mode(0o700).create(&scratch).map_err(&failed)?;
            let lock = File::open(&scratch).map_err(&failed)?;
            flock(&lock, FlockOperation::LockExclusive).map_err(|error| failed(error.into()))?;
            let place = scratch.join("layout");
            let named = layout(&place, "latest").and_then(|_| {
                let held = images.take(
                    &Source::Oci(place.clone(), None),
                    &format!("box {}", kept.name),
                    progress,
                )?;
                let id = held.image.id.as_ref().map_or("", |id| id.as_str()).to_owned();
                if let Some(id) = &held.image.id {
                    images.store().name(id, name).map_err(crate::images::ImageError::from)?;
                }
                Ok(id)
            });
            let cleared =
                toolbox_store::tree::remove(&scratch).map_err(BoxError::io("cannot remove", &scratch));
            let id = named?;
            cleared.map(|()| id)
        }
    }
}

/// Writes the merged tree, compressed, and has it on the disk.
fn write_packed(overlay: &Overlay<'_>, file: &File, packing: Packing) -> Result<(), CommitError> {
    let failed = |source| CommitError::Output { path: PathBuf::from("the archive"), source };
    let out = BufWriter::with_capacity(256 << 10, file);
    let out = match packing {
        Packing::Plain => overlay.write_tar(out, Owners::Keep)?,
        Packing::Gzip => {
            let out = flate2::write::GzEncoder::new(out, flate2::Compression::default());
            overlay.write_tar(out, Owners::Keep)?.finish().map_err(failed)?
        }
        Packing::Zstd => {
            let out = zstd::Encoder::new(out, zstd::DEFAULT_COMPRESSION_LEVEL).map_err(failed)?;
            overlay.write_tar(out, Owners::Keep)?.finish().map_err(failed)?
        }
    };
    out.into_inner().map_err(|error| failed(error.into_error()))?.sync_all().map_err(failed)
}

/// Makes a file that appears when it is whole, and replaces none.
fn whole(path: &Path, fill: impl FnOnce(&File) -> Result<(), BoxError>) -> Result<(), BoxError> {
    if path.symlink_metadata().is_ok() {
        return Err(BoxError::Exists(path.to_owned()));
    }
    let failed = BoxError::io("cannot write", path);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let partial = folder.join(format!("{}.partial", super::random_name()?));
    let file = File::create_new(&partial).map_err(&failed)?;
    let done = fill(&file).and_then(|()| {
        let (from, to) = (rustix::fs::CWD, rustix::fs::CWD);
        match renameat_with(from, &partial, to, path, RenameFlags::NOREPLACE) {
            Err(rustix::io::Errno::EXIST) => Err(BoxError::Exists(path.to_owned())),
            other => other.map_err(|error| failed(error.into())),
        }?;
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(&failed)
    });
    if done.is_err() {
        // What failed is what is told.
        let _ = std::fs::remove_file(&partial);
    }
    done
}

/// Bytes of standard input as a file beside the store's own unpackings, gone with what is returned.
///
/// # Errors
/// It cannot be read, or not be written.
pub fn spool(images: &Images, mut input: impl io::Read) -> Result<Spooled, BoxError> {
    let folder = images.store().root().join("tmp").join(&super::random_name()?[1..]);
    let failed = BoxError::io("cannot write", &folder);
    DirBuilder::new().mode(0o700).create(&folder).map_err(&failed)?;
    let spooled = Spooled { lock: File::open(&folder).map_err(&failed)?, folder };
    flock(&spooled.lock, FlockOperation::LockExclusive).map_err(|error| failed(error.into()))?;
    let path = spooled.path();
    let mut file = File::create_new(&path).map_err(&failed)?;
    io::copy(&mut input, &mut file).map_err(BoxError::io("cannot write what is read to", &path))?;
    Ok(spooled)
}

/// A file that is removed with this.
#[derive(Debug)]
pub struct Spooled {
    lock: File,
    folder: PathBuf,
}

impl Spooled {
    /// The file.
    pub fn path(&self) -> PathBuf {
        self.folder.join("stdin")
    }
}

impl Drop for Spooled {
    fn drop(&mut self) {
        // What stays is found by a collection.
        let _ = toolbox_store::tree::remove(&self.folder);
    }
}
