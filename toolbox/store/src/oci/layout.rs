//! From an image layout or a docker archive to the parts of one image.

use super::blobs::{Blobs, blob_name};
use super::document::{self, Index, Manifest, Saved};
use super::{Layer, OciError, Resolved};
use crate::digest::Digest;

/// Indexes within one another.
const MAX_INDEXES: usize = 4;

/// The image of this name in a layout.
pub(crate) fn layout(blobs: &Blobs, reference: Option<&str>) -> Result<Resolved, OciError> {
    let text = blobs.open("index.json")?.document("index.json")?;
    let index: Index = document::parse("index.json", &text)?;
    let mut descriptor = index.choose(reference)?.clone();
    for _ in 0..MAX_INDEXES {
        let digest: Digest = descriptor.digest.parse()?;
        let text = blobs.document(&digest)?;
        if !Index::is_index(&descriptor) {
            return manifest(blobs, digest, &text);
        }
        let index: Index = document::parse("index", &text)?;
        descriptor = index.for_machine()?.clone();
    }
    Err(OciError::Unsupported(format!("an index in more than {MAX_INDEXES} others")))
}

fn manifest(blobs: &Blobs, digest: Digest, text: &[u8]) -> Result<Resolved, OciError> {
    let manifest: Manifest = document::parse("manifest", text)?;
    let (config, _) = document::config(&blobs.document(&manifest.config.digest.parse()?)?)?;
    let layers = manifest.layers.iter().map(|layer| {
        let digest: Digest = layer.digest.parse()?;
        let name = blob_name(&digest);
        Ok(Layer { blob: blobs.open(&name)?, name, digest: Some(digest), diff_id: None })
    });
    Ok(Resolved { digest, config, layers: layers.collect::<Result<_, OciError>>()? })
}

/// The image of this name in what `docker save` wrote. Its layers have names without a meaning;
/// what they are is in the configuration.
pub(crate) fn docker_archive(blobs: &Blobs, reference: Option<&str>) -> Result<Resolved, OciError> {
    let text = blobs.open("manifest.json")?.document("manifest.json")?;
    let saved: Vec<Saved> = document::parse("manifest.json", &text)?;
    let names = || saved.iter().flat_map(|image| image.repo_tags.iter().cloned()).collect::<Vec<_>>();
    let image = match (reference, saved.as_slice()) {
        (None, [only]) => only,
        (None, []) => return Err(OciError::Missing("any image".to_owned())),
        (None, _) => return Err(OciError::Several(names())),
        (Some(wanted), images) => {
            let short = |tag: &str| tag.rsplit_once('/').map_or(tag.to_owned(), |(_, name)| name.to_owned());
            let is =
                |tag: &String| tag == wanted || short(tag) == wanted || tag.ends_with(&format!("/{wanted}"));
            images
                .iter()
                .find(|image| image.repo_tags.iter().any(is))
                .ok_or_else(|| OciError::NoReference { wanted: wanted.to_owned(), names: names() })?
        }
    };
    let text = blobs.open(&image.config)?.document(&image.config)?;
    let (config, diff_ids) = document::config(&text)?;
    if diff_ids.len() != image.layers.len() {
        return Err(OciError::Layers { layers: image.layers.len(), diff_ids: diff_ids.len() });
    }
    let layers = image.layers.iter().zip(&diff_ids).map(|(name, diff_id)| {
        let diff_id = Some(diff_id.parse()?);
        Ok(Layer { name: name.clone(), blob: blobs.open(name)?, digest: None, diff_id })
    });
    Ok(Resolved { digest: Digest::of(&text), config, layers: layers.collect::<Result<_, OciError>>()? })
}
