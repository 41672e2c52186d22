//! An OCI image layout of one image with one layer (OCI image specification, "Image Layout").

use super::{CommitError, Overlay, Owners};
use crate::digest::{Digest, Hasher};
use crate::oci::document::architecture;
use crate::store::Config;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// Writes the merged tree as a layout in `folder`, which must not exist; it appears as a whole.
/// `reference` is the image's name in it. Gives the manifest's digest.
///
/// # Errors
/// A file of the tree cannot be read, or the layout not be written.
pub fn write_layout(
    overlay: &Overlay<'_>,
    config: &Config,
    reference: &str,
    folder: &Path,
    owners: Owners,
) -> Result<Digest, CommitError> {
    let failed = |source| CommitError::Output { path: folder.to_owned(), source };
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let random = crate::store::random_name().map_err(failed)?;
    let partial = parent.join(format!(".{random}.partial"));
    let done = fill(overlay, config, reference, &partial, owners).and_then(|digest| {
        // Without replacing what is there; an empty folder would be.
        let flags = rustix::fs::RenameFlags::NOREPLACE;
        let (from, to) = (rustix::fs::CWD, rustix::fs::CWD);
        rustix::fs::renameat_with(from, &partial, to, folder, flags).map_err(|error| failed(error.into()))?;
        File::open(parent).and_then(|parent| parent.sync_all()).map_err(failed)?;
        Ok(digest)
    });
    if done.is_err() {
        // What failed first is what is told.
        let _ = crate::tree::remove(&partial);
    }
    done
}

fn fill(
    overlay: &Overlay<'_>,
    config: &Config,
    reference: &str,
    folder: &Path,
    owners: Owners,
) -> Result<Digest, CommitError> {
    let failed = |source| CommitError::Output { path: folder.to_owned(), source };
    let blobs = folder.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).map_err(failed)?;
    let path = blobs.join("layer");
    let file = BufWriter::with_capacity(256 << 10, File::create_new(&path).map_err(failed)?);
    let stored = Hashing { inner: file, hasher: Hasher::default(), count: 0 };
    // Gzip is what every reader of images knows.
    let packed = flate2::write::GzEncoder::new(stored, flate2::Compression::fast());
    let plain = Hashing { inner: packed, hasher: Hasher::default(), count: 0 };
    let plain = overlay.write_tar(plain, owners)?;
    let diff_id = plain.hasher.finish();
    let stored = plain.inner.finish().map_err(failed)?;
    let (layer, size) = (stored.hasher.finish(), stored.count);
    let file = stored.inner.into_inner().map_err(|error| failed(error.into_error()))?;
    file.sync_all().map_err(failed)?;
    std::fs::rename(&path, blobs.join(layer.hex())).map_err(failed)?;
    let blob = |document: &Value| -> Result<Value, CommitError> {
        let text = document.to_string();
        let digest = Digest::of(text.as_bytes());
        write_synced(&blobs.join(digest.hex()), text.as_bytes()).map_err(failed)?;
        Ok(json!({ "digest": digest, "size": text.len() }))
    };
    let config = blob(&json!({
        "architecture": architecture(),
        "os": "linux",
        "config": {
            "Env": config.env,
            "Entrypoint": config.entrypoint,
            "Cmd": config.cmd,
            "WorkingDir": config.working_dir.as_deref().unwrap_or_default(),
            "User": config.user.as_deref().unwrap_or_default(),
            "Labels": config.labels,
        },
        "rootfs": { "type": "layers", "diff_ids": [diff_id] },
    }))?;
    let with_type = |mut descriptor: Value, kind: &str| {
        descriptor["mediaType"] = json!(format!("application/vnd.oci.image.{kind}"));
        descriptor
    };
    let layer = json!({ "digest": layer, "size": size });
    let manifest = blob(&json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": with_type(config, "config.v1+json"),
        "layers": [with_type(layer, "layer.v1.tar+gzip")],
    }))?;
    let mut manifest = with_type(manifest, "manifest.v1+json");
    let digest = manifest["digest"].as_str().and_then(|digest| digest.parse().ok());
    manifest["annotations"] = json!({ "org.opencontainers.image.ref.name": reference });
    let index = json!({ "schemaVersion": 2, "manifests": [manifest] }).to_string();
    write_synced(&folder.join("index.json"), index.as_bytes()).map_err(failed)?;
    write_synced(&folder.join("oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#).map_err(failed)?;
    digest.ok_or_else(|| failed(io::ErrorKind::InvalidData.into()))
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Hashes and counts what is written through it.
struct Hashing<W> {
    inner: W,
    hasher: Hasher,
    count: u64,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.count += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
