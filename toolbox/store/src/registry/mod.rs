//! Images from registries (OCI distribution specification v1.1, "Pull").
//!
//! [`reference`] reads names, [`auth`] credentials and challenges, both pure; [`client`] asks. A
//! manifest decides everything by digest, and every blob is checked against its own before use.
//! Downloads go on where they stopped, in this try or the next.

mod auth;
mod client;
mod reference;

pub use auth::auth_files;
pub use reference::{Reference, ReferenceError};

use crate::digest::Digest;
use crate::error::{StoreError, io_error};
use crate::import::Ticker;
use crate::oci::document::{self, Descriptor, Index, Manifest};
use crate::oci::{Blob, Layer, OciError, Resolved};
use crate::store::lock_file;
use crate::store::{Progress, Stage};
use client::{Client, Fetched};
use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How often one thing is asked for before it is given up.
const TRIES: u32 = 5;
/// Before the second try; doubled each time.
const PAUSE: Duration = Duration::from_millis(200);

/// How registries are spoken to. The default: https with the public roots, no credentials.
#[derive(Debug, Clone, Default)]
pub struct Registries {
    /// Registries (`HOST[:PORT]`) that are asked without TLS.
    pub insecure: Vec<String>,
    /// Files with credentials, the first that has some for a registry wins; see [`auth_files`].
    pub auth_files: Vec<PathBuf>,
    /// Certificates in PEM that are trusted instead of the public roots.
    pub roots_pem: Option<Vec<u8>>,
    /// `http://HOST:PORT` of a proxy.
    pub proxy: Option<String>,
}

/// Why a registry gives no image.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The name is none.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// No answer.
    #[error("{url}: {reason}")]
    Connection {
        /// What was asked for.
        url: String,
        /// What came instead.
        reason: String,
        /// Whether asking again may help: the connection broke, or took too long.
        passes: bool,
    },
    /// Another answer than the one hoped for.
    #[error("{url}: the registry answers {status}{}", detail.as_ref().map_or(String::new(), |detail| format!(": {detail}")))]
    Status {
        /// What was asked for.
        url: String,
        /// Of HTTP.
        status: u16,
        /// The registry's own words.
        detail: Option<String>,
    },
    /// The registry wants to know who asks.
    #[error("{registry} wants credentials for {repository}, {}", if *given { "and refuses those that it got" } else { "and there are none" })]
    Unauthorized {
        /// The registry.
        registry: String,
        /// What was asked for.
        repository: String,
        /// Whether there were any.
        given: bool,
    },
    /// A way of authentication that is not known.
    #[error("{registry} asks for authentication in a way that is not understood")]
    Challenge {
        /// The registry.
        registry: String,
    },
    /// A credentials file is broken.
    #[error("{}: {reason}", path.display())]
    AuthFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// What came is another image, or none.
    #[error(transparent)]
    Image(#[from] OciError),
    /// A blob has more or less bytes.
    #[error("{digest} has {found} bytes instead of {expected}")]
    Size {
        /// The blob.
        digest: Digest,
        /// As the manifest says.
        expected: u64,
        /// What came.
        found: u64,
    },
    /// A certificate is none.
    #[error("the certificates to trust are no PEM: {0}")]
    Roots(String),
    /// The proxy's URL is none.
    #[error("`{0}` is no proxy's URL")]
    Proxy(String),
    /// It cannot be kept.
    #[error("cannot keep a download: {0}")]
    Io(#[from] io::Error),
}

impl RegistryError {
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Connection { .. } => {
                Some("without a network, use an archive (tar:, oci:) or the built-in tools image")
            }
            Self::Unauthorized { .. } => {
                Some("log in with `skopeo login` or `docker login`, or name the file in REGISTRY_AUTH_FILE")
            }
            Self::Status { status: 404, .. } => Some("check the image's name and tag"),
            Self::Status { status: 429, .. } => Some("the registry limits how often one may ask: try later"),
            Self::Image(source) => source.hint(),
            _ => None,
        }
    }
}

/// An image whose layers are downloaded.
pub(crate) struct Pulled {
    pub(crate) image: Resolved,
    pub(crate) files: Files,
}

/// Downloaded files; their locks keep others from them.
pub(crate) struct Files(Vec<(PathBuf, File)>);

impl Files {
    /// The layers are in a tree by now.
    pub(crate) fn forget(self) {
        for (path, _lock) in &self.0 {
            // What stays is found by gc.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Finds the manifest of a reference and downloads the layers into `folder`, unless `known` says
/// that the image of this digest is there.
pub(crate) fn pull(
    reference: &Reference,
    registries: &Registries,
    folder: &Path,
    known: &mut dyn FnMut(&Digest) -> Result<bool, StoreError>,
    progress: &mut dyn FnMut(Progress),
) -> Result<(Digest, Option<Pulled>), StoreError> {
    let failed = |source: RegistryError| StoreError::Registry { reference: reference.to_string(), source };
    let mut client = Client::new(reference, registries).map_err(failed)?;
    let (digest, manifest) = manifest(&mut client, reference).map_err(failed)?;
    if known(&digest)? {
        return Ok((digest, None));
    }
    let text = document(&mut client, &manifest.config).map_err(failed)?;
    let (config, _) = document::config(&text).map_err(|error| failed(error.into()))?;
    std::fs::create_dir_all(folder).map_err(io_error("cannot make", folder))?;
    let total = manifest.layers.iter().fold(0_u64, |sum, layer| sum.saturating_add(layer.size));
    let mut ticker = Ticker::new(progress, Stage::Download, Some(total));
    let mut layers = Vec::new();
    let mut files: Vec<(PathBuf, File)> = Vec::new();
    for layer in &manifest.layers {
        let digest: Digest = layer
            .digest
            .parse()
            .map_err(|error: crate::DigestError| failed(RegistryError::Image(error.into())))?;
        let path = folder.join(digest.hex());
        // An image may have a layer twice.
        let file = match files.iter().find(|(known, _)| *known == path) {
            Some((_, file)) => file.try_clone().map_err(|error| failed(error.into()))?,
            None => {
                let file = download(&mut client, layer, &digest, &path, &mut ticker).map_err(failed)?;
                files.push((path, file.try_clone().map_err(|error| failed(error.into()))?));
                file
            }
        };
        let blob = Blob::whole(file).map_err(|error| failed(error.into()))?;
        // The digest was checked just now.
        layers.push(Layer { name: digest.to_string(), blob, digest: None, diff_id: None });
    }
    Ok((digest, Some(Pulled { image: Resolved { digest, config, layers }, files: Files(files) })))
}

fn manifest(client: &mut Client<'_>, reference: &Reference) -> Result<(Digest, Manifest), RegistryError> {
    let mut wanted = reference.digest;
    let mut name = reference.manifest();
    for _ in 0..4 {
        let (text, media_type) = retried(|| client.manifest(&name))?;
        let found = Digest::of(&text);
        if let Some(expected) = wanted
            && expected != found
        {
            return Err(OciError::Mismatch { name, expected, found }.into());
        }
        let own: Descriptor = Descriptor {
            media_type: document::media_type(&text).unwrap_or(media_type),
            digest: found.to_string(),
            size: text.len() as u64,
            annotations: std::collections::BTreeMap::new(),
            platform: None,
        };
        if !Index::is_index(&own) {
            return Ok((found, document::parse("manifest", &text)?));
        }
        let index: Index = document::parse("index", &text)?;
        let digest: Digest = index.for_machine()?.digest.parse().map_err(OciError::from)?;
        (wanted, name) = (Some(digest), digest.to_string());
    }
    Err(OciError::Unsupported("an index in more than 3 others".to_owned()).into())
}

/// A small blob.
fn document(client: &mut Client<'_>, descriptor: &Descriptor) -> Result<Vec<u8>, RegistryError> {
    let expected: Digest = descriptor.digest.parse().map_err(OciError::from)?;
    let text = retried(|| client.document(&expected))?;
    match Digest::of(&text) {
        found if found == expected => Ok(text),
        found => Err(OciError::Mismatch { name: descriptor.digest.clone(), expected, found }.into()),
    }
}

/// A layer into a file, which is locked by the result.
fn download(
    client: &mut Client<'_>,
    layer: &Descriptor,
    digest: &Digest,
    path: &Path,
    ticker: &mut Ticker<'_>,
) -> Result<File, RegistryError> {
    let mut file = lock_file(path)?;
    let begun = file.metadata()?.len();
    if begun > layer.size {
        // Of a time when the manifest said something else: impossible, so it is not trusted.
        file.set_len(0)?;
    }
    ticker.done.fetch_add(begun.min(layer.size), Ordering::Relaxed);
    retried(|| {
        let have = file.seek(SeekFrom::End(0))?;
        if have == layer.size {
            return Ok(());
        }
        let done = ticker.done.load(Ordering::Relaxed);
        let mut tick = |fetched: Fetched| {
            match fetched {
                // The registry does not go on where it was: it begins anew.
                Fetched::FromStart => {
                    ticker.done.store(done.saturating_sub(have), Ordering::Relaxed);
                }
                Fetched::Bytes(count) => {
                    ticker.done.fetch_add(count, Ordering::Relaxed);
                }
            }
            ticker.tick();
        };
        client.blob(digest, &mut file, have, layer.size, &mut tick)?;
        let found = file.metadata()?.len();
        if found == layer.size {
            return Ok(());
        }
        let url = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let reason = format!("the connection ended after {found} of {} bytes", layer.size);
        Err(RegistryError::Connection { url: format!("sha256:{url}"), reason, passes: true })
    })?;
    file.rewind()?;
    let (found, bytes) = crate::digest::HashingReader::new(&file).finish()?;
    if found != *digest {
        // Never gone on with.
        file.set_len(0)?;
        let name = digest.to_string();
        return Err(OciError::Mismatch { name, expected: *digest, found }.into());
    }
    if bytes != layer.size {
        return Err(RegistryError::Size { digest: *digest, expected: layer.size, found: bytes });
    }
    Ok(file)
}

/// Asks again, with pauses, when the network or the registry had a weak moment.
fn retried<T>(mut ask: impl FnMut() -> Result<T, RegistryError>) -> Result<T, RegistryError> {
    let mut pause = PAUSE;
    for _ in 1..TRIES {
        match ask() {
            Err(
                RegistryError::Connection { passes: true, .. }
                | RegistryError::Status { status: 429 | 500..=599, .. },
            ) => {
                std::thread::sleep(pause);
                pause *= 2;
            }
            done => return done,
        }
    }
    ask()
}
