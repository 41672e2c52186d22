//! The store: a folder of images, each unpacked once and used by many.
//!
//! ```text
//! ROOT/format             `1`
//! ROOT/lock               flock: shared while something gets a name, exclusive while one is taken away
//! ROOT/images/ID/tree     the files; ID/image.json what is known of them
//! ROOT/tmp/RANDOM         an image coming together, or going away; locked while somebody is at it
//! ROOT/index/KEY          which image a file was, and the lock of those who want the same
//! ROOT/names.json         names of images
//! ```
//!
//! An image gets its final name by rename(2), after syncfs(2): after a power cut it is whole or not
//! there. A session holds the image's folder with a shared lock ([`Held`]); removal takes it
//! exclusively.

mod gc;
mod image;
mod index;
mod lock;
mod names;
mod temporary;

pub use gc::Freed;
pub use image::{Config, Image, ImageId};
pub(crate) use lock::lock_file;
pub(crate) use temporary::random_name;

use crate::error::{StoreError, io_error};
use crate::oci::{Blobs, OciError, Resolved};
use crate::registry::{Reference, Registries};
use crate::source::Source;
use crate::tree::{Notes, Policy, Writer};
use image::Record;
use index::{Identity, Slot};
use rustix::fd::OwnedFd;
use rustix::fs::{FlockOperation, Mode};
use std::fs::File;
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use temporary::Temporary;

/// `format`: what this program reads and writes.
const FORMAT: &str = "1\n";
/// Largest record of the store that is read.
const MAX_RECORD: u64 = 16 << 20;

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub stage: Stage,
    /// Bytes of the source that are done.
    pub done: u64,
    /// Of so many, when that is known.
    pub total: Option<u64>,
}

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Blobs come from a registry.
    Download,
    /// Files are made.
    Unpack,
}

/// An image in use: it is not removed as long as this lives, or a process that inherited it.
#[derive(Debug)]
pub struct Held {
    /// The image.
    pub image: Image,
    lock: Option<OwnedFd>,
}

impl Held {
    /// The open folder whose shared lock holds the image; none of a directory used in place. A copy
    /// of it (dup(2), or one inherited by a child) holds the image just as well.
    pub fn lock(&self) -> Option<&OwnedFd> {
        self.lock.as_ref()
    }
}

/// What came of unpacking, before it has a name.
pub(crate) struct Built {
    pub(crate) digest: crate::digest::Digest,
    pub(crate) config: Config,
    pub(crate) notes: Notes,
    pub(crate) size_bytes: u64,
}

/// A store of images.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    registries: Registries,
    /// What is told of where images came from, in place of their source.
    origin: Option<String>,
}

impl Store {
    /// Opens the store at `root`, and makes it if there is none. Its folders are closed to others,
    /// whoever made them, because programs with setuid lie in images ([`close`]).
    ///
    /// # Errors
    /// It cannot be made or closed, or is of another format.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        let mut folder = std::fs::DirBuilder::new();
        folder.recursive(true).mode(0o700);
        folder.create(root).map_err(io_error("cannot make the store", root))?;
        for name in ["images", "tmp", "index"] {
            let path = root.join(name);
            folder.create(&path).map_err(io_error("cannot make", &path))?;
            close(&path).map_err(io_error("cannot close to other users", &path))?;
        }
        let store = Self { root: root.to_owned(), registries: Registries::default(), origin: None };
        let path = root.join("format");
        match std::fs::read_to_string(&path) {
            Ok(found) if found == FORMAT => {}
            // Empty when the power went before its bytes were there; then there are no images either.
            Ok(found) if !found.is_empty() => {
                return Err(StoreError::Format { path, found: found.trim().chars().take(20).collect() });
            }
            Ok(_) => std::fs::write(&path, FORMAT).map_err(io_error("cannot write", &path))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                std::fs::write(&path, FORMAT).map_err(io_error("cannot write", &path))?;
            }
            Err(error) => return Err(io_error("cannot read", &path)(error)),
        }
        Ok(store)
    }

    /// Says how registries are spoken to.
    #[must_use]
    pub fn with_registries(self, registries: Registries) -> Self {
        Self { registries, ..self }
    }

    /// Says where images come from whose source is only there for the moment.
    #[must_use]
    pub fn with_origin(self, origin: &str) -> Self {
        Self { origin: Some(origin.to_owned()), ..self }
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The image of a source: unpacked now, or found. Whoever asks for a source that another is
    /// just unpacking waits for that and takes the result.
    ///
    /// # Errors
    /// See [`StoreError`]; nothing is left of a failed try.
    pub fn get(
        &self,
        source: &Source,
        policy: &Policy,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Held, StoreError> {
        let source = source.clone().detect()?;
        self.get_detected(&source, policy, progress).map_err(|error| error.with_cause(&self.root))
    }

    fn get_detected(
        &self,
        source: &Source,
        policy: &Policy,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Held, StoreError> {
        match source {
            Source::Directory(path) => Self::directory(path),
            Source::Tar(path) => self.file(path, "tar", "", source, policy, |file, writer| {
                crate::import::tar(path, file, writer, progress)
            }),
            Source::Ext4(path) => self.file(path, "ext4", "", source, policy, |file, writer| {
                crate::import::ext4(path, file, None, writer, progress)
            }),
            Source::Disk(path, partition) => {
                let partition = partition.as_deref();
                let detail = partition.unwrap_or_default();
                self.file(path, "disk", detail, source, policy, |file, writer| {
                    crate::import::ext4(path, file, partition, writer, progress)
                })
            }
            Source::Oci(path, reference) => {
                let blobs = self.blobs(path, policy)?;
                let image = crate::oci::layout(&blobs, reference.as_deref());
                self.oci(path, source, policy, image, progress)
            }
            Source::DockerArchive(path, reference) => {
                let blobs = self.blobs(path, policy)?;
                let image = crate::oci::docker_archive(&blobs, reference.as_deref());
                self.oci(path, source, policy, image, progress)
            }
            Source::Debs(paths) => self.debs(paths, source, policy, progress),
            Source::Registry(text) => {
                let reference = Self::reference(text)?;
                if let Some(id) = self.names()?.get(&reference.to_string())
                    && id.is_for(policy.ownership, policy.devices)
                    && let Some(held) = self.hold(id)?
                {
                    return Ok(held);
                }
                self.pull(&reference, policy, progress)
            }
            // `detect` has said what it is.
            Source::Path(path) => {
                Err(StoreError::Source(crate::source::SourceError::Unknown { path: path.clone() }))
            }
        }
    }

    fn reference(text: &str) -> Result<Reference, StoreError> {
        text.parse().map_err(|error: crate::registry::ReferenceError| StoreError::Registry {
            reference: text.chars().take(200).collect(),
            source: error.into(),
        })
    }

    /// Asks the registry for an image, whether the store has one of this name or not; downloads
    /// and unpacks it only if it is another. It gets the reference in full as its name.
    ///
    /// # Errors
    /// See [`StoreError`]; what was downloaded stays for the next try, or for `gc`.
    pub fn pull(
        &self,
        reference: &Reference,
        policy: &Policy,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Held, StoreError> {
        let pulled = self.pull_unnamed(reference, policy, progress);
        let held = pulled.map_err(|error| error.with_cause(&self.root))?;
        if let Some(id) = &held.image.id {
            self.name(id, &reference.to_string())?;
            if let Some(held) = self.hold(id)? {
                return Ok(held);
            }
        }
        Ok(held)
    }

    fn pull_unnamed(
        &self,
        reference: &Reference,
        policy: &Policy,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Held, StoreError> {
        let mut held = None;
        let mut known = |digest: &crate::Digest| {
            held = self.hold(&ImageId::new(digest, policy.ownership, policy.devices))?;
            Ok(held.is_some())
        };
        let downloads = self.root.join("downloads");
        let (_, pulled) =
            crate::registry::pull(reference, &self.registries, &downloads, &mut known, progress)?;
        let Some(pulled) = pulled else {
            return held.ok_or_else(|| StoreError::Unknown { name: reference.to_string() });
        };
        let source = Source::Registry(reference.to_string());
        let path = PathBuf::from(reference.to_string());
        let id = ImageId::new(&pulled.image.digest, policy.ownership, policy.devices);
        let key = crate::Digest::of(format!("image\0{id}").as_bytes());
        let crate::registry::Pulled { image, files } = pulled;
        let held = self.unpack(&key, true, &source, policy, |writer| {
            crate::oci::unpack(&path, image, writer, progress)
        })?;
        files.forget();
        Ok(held)
    }

    fn directory(path: &Path) -> Result<Held, StoreError> {
        let tree = path.canonicalize().map_err(io_error("cannot open", path))?;
        lock::open_folder(&tree).map_err(io_error("cannot open", path))?;
        let image = Image {
            id: None,
            config: Config::default(),
            names: Vec::new(),
            size_bytes: 0,
            created: 0,
            source: tree.display().to_string(),
            notes: Notes::default(),
            tree,
        };
        Ok(Held { image, lock: None })
    }

    fn blobs(&self, path: &Path, policy: &Policy) -> Result<Blobs, StoreError> {
        let failed = io_error("cannot read", path);
        if path.is_dir() {
            return Ok(Blobs::Folder(path.to_owned()));
        }
        let file = File::open(path).map_err(&failed)?;
        let scratch = || {
            let path = self.root.join("tmp").join(random_name()?);
            let file = File::options().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
            std::fs::remove_file(&path).map(|()| file)
        };
        Blobs::archive(file, scratch, policy.limits.bytes).map_err(failed)
    }

    /// An image in layers, whose digest says what it is before anything of them is read.
    fn oci(
        &self,
        path: &Path,
        source: &Source,
        policy: &Policy,
        image: Result<Resolved, OciError>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Held, StoreError> {
        let image = image.map_err(|source| StoreError::Oci { path: path.to_owned(), source })?;
        let id = ImageId::new(&image.digest, policy.ownership, policy.devices);
        let key = crate::Digest::of(format!("image\0{id}").as_bytes());
        self.unpack(&key, true, source, policy, |writer| crate::oci::unpack(path, image, writer, progress))
    }

    fn debs(
        &self,
        paths: &[PathBuf],
        source: &Source,
        policy: &Policy,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Held, StoreError> {
        // As dpkg(1) has it: a folder of a package may be a link to one.
        let policy = Policy { keep_folder_links: true, ..*policy };
        self.files(paths, "deb", "", source, &policy, |files, writer| {
            crate::import::debs(&files, writer, progress)
        })
    }

    /// An image that is made of one file, which is remembered.
    fn file(
        &self,
        path: &Path,
        kind: &str,
        detail: &str,
        source: &Source,
        policy: &Policy,
        build: impl FnOnce(&File, Writer) -> Result<Built, StoreError>,
    ) -> Result<Held, StoreError> {
        self.files(&[path.to_owned()], kind, detail, source, policy, |files, writer| match &files[..] {
            [(_, file)] => build(file, writer),
            _ => Err(io_error("cannot open", path)(io::ErrorKind::NotFound.into())),
        })
    }

    /// An image that is made of files, which are remembered.
    fn files(
        &self,
        paths: &[PathBuf],
        kind: &str,
        detail: &str,
        source: &Source,
        policy: &Policy,
        build: impl FnOnce(Vec<(PathBuf, File)>, Writer) -> Result<Built, StoreError>,
    ) -> Result<Held, StoreError> {
        let started = SystemTime::now();
        let mut files = Vec::new();
        let mut identities = Vec::new();
        // Devices have no times that say anything.
        let mut remember = true;
        for path in paths {
            let failed = io_error("cannot open", path);
            let path = path.canonicalize().map_err(&failed)?;
            let file = File::open(&path).map_err(&failed)?;
            let metadata = file.metadata().map_err(&failed)?;
            if metadata.is_dir() {
                return Err(failed(io::ErrorKind::IsADirectory.into()));
            }
            let identity = Identity::of(&metadata);
            remember &= metadata.is_file() && !identity.is_young(started);
            identities.push(identity);
            files.push((path, file));
        }
        let variant = format!("{detail}\0{:?}\0{}", policy.ownership, policy.devices);
        let all: Vec<&[u8]> = files.iter().map(|(path, _)| path.as_os_str().as_encoded_bytes()).collect();
        let key = Identity::key(kind, &all.join(&0), &identities, &variant);
        self.unpack(&key, remember, source, policy, |writer| {
            let copies = files.iter().map(|(path, file)| Ok((path.clone(), file.try_clone()?)));
            let copies = copies.collect::<io::Result<_>>().map_err(io_error("cannot open", &self.root))?;
            let built = build(copies, writer)?;
            for ((path, file), identity) in files.iter().zip(&identities) {
                let now = file.metadata().map_err(io_error("cannot read", path))?;
                if now.is_file() && Identity::of(&now) != *identity {
                    return Err(StoreError::Changed { path: path.clone() });
                }
            }
            Ok(built)
        })
    }

    /// The image that the index has for `key`, or what `build` makes.
    pub(crate) fn unpack(
        &self,
        key: &crate::digest::Digest,
        remember: bool,
        source: &Source,
        policy: &Policy,
        build: impl FnOnce(Writer) -> Result<Built, StoreError>,
    ) -> Result<Held, StoreError> {
        let index = self.root.join("index");
        let mut slot = Slot::lock(&index, key).map_err(io_error("cannot lock the index in", &index))?;
        if remember
            && let Some(id) = slot.image().map_err(io_error("cannot read the index in", &index))?
            && let Some(held) = self.hold(&id)?
        {
            return Ok(held);
        }
        let tmp = self.root.join("tmp");
        let failed = io_error("cannot make a folder in", &tmp);
        let shared = self.lock(FlockOperation::LockShared)?;
        let temporary = Temporary::new(&tmp).map_err(&failed)?;
        drop(shared);
        let tree = temporary.path().join("tree");
        rustix::fs::mkdirat(temporary.folder(), "tree", Mode::from_raw_mode(0o755))
            .map_err(|error| failed(error.into()))?;
        let scratch = temporary.path().join("times");
        let mut options = File::options();
        let file =
            options.read(true).write(true).create_new(true).mode(0o600).open(&scratch).map_err(&failed)?;
        std::fs::remove_file(&scratch).map_err(&failed)?;
        let writer = Writer::new(lock::open_folder(&tree).map_err(&failed)?, file, *policy);
        let done = build(writer).and_then(|built| self.name_image(temporary, source, policy, built));
        let held = done.map_err(|error| error.with_cause(&self.root))?;
        if remember && let Some(id) = &held.image.id {
            slot.set(id).map_err(io_error("cannot write the index in", &index))?;
        }
        Ok(held)
    }

    /// Puts a whole image under its final name.
    fn name_image(
        &self,
        temporary: Temporary,
        source: &Source,
        policy: &Policy,
        built: Built,
    ) -> Result<Held, StoreError> {
        let id = ImageId::new(&built.digest, policy.ownership, policy.devices);
        if let Some(held) = self.hold(&id)? {
            return Ok(held);
        }
        let created = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let record = Record {
            id: id.clone(),
            source: self.origin.clone().unwrap_or_else(|| source.to_string()),
            config: built.config,
            size_bytes: built.size_bytes,
            created: created.map_or(0, |age| age.as_secs()),
            notes: built.notes,
        };
        let path = temporary.path().join("image.json");
        let text = serde_json::to_vec_pretty(&record)
            .map_err(|source| StoreError::Record { path: path.clone(), source })?;
        std::fs::write(&path, text).map_err(io_error("cannot write", &path))?;
        rustix::fs::syncfs(temporary.folder())
            .map_err(|error| io_error("cannot write to disk", temporary.path())(error.into()))?;
        let images = self.root.join("images");
        let _shared = self.lock(FlockOperation::LockShared)?;
        let folder = match temporary.rename(&images.join(id.as_str())) {
            Ok(folder) => folder,
            // Another source with the same content was quicker.
            Err((_, error))
                if matches!(
                    error.kind(),
                    io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists
                ) =>
            {
                return self.hold(&id)?.ok_or_else(|| io_error("cannot name the image in", &images)(error));
            }
            Err((_, error)) => return Err(io_error("cannot name the image in", &images)(error)),
        };
        let failed = io_error("cannot write to disk", &images);
        File::open(&images).and_then(|folder| folder.sync_all()).map_err(failed)?;
        // Changing a lock may let it go for a moment; nobody removes images meanwhile, because that
        // takes the store's lock exclusively.
        lock::lock(&folder, FlockOperation::LockShared).map_err(io_error("cannot lock", &images))?;
        let image = self.image(record)?;
        Ok(Held { image, lock: Some(folder) })
    }

    /// The image of this id with a shared lock on it, if there is one.
    ///
    /// # Errors
    /// Its record cannot be read.
    pub fn hold(&self, id: &ImageId) -> Result<Option<Held>, StoreError> {
        let path = self.root.join("images").join(id.as_str());
        loop {
            let folder = match lock::open_folder(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                folder => folder.map_err(io_error("cannot open", &path))?,
            };
            lock::lock(&folder, FlockOperation::LockShared).map_err(io_error("cannot lock", &path))?;
            if lock::is_at(&folder, &path).map_err(io_error("cannot open", &path))? {
                let image = self.image(self.record(id)?)?;
                return Ok(Some(Held { image, lock: Some(folder) }));
            }
        }
    }

    /// As [`Store::hold`], of a name, an id or the unambiguous beginning of one.
    ///
    /// # Errors
    /// There is none, or there are several.
    pub fn hold_named(&self, name: &str) -> Result<Held, StoreError> {
        let id = self.find(name)?;
        self.hold(&id)?.ok_or_else(|| StoreError::Unknown { name: name.to_owned() })
    }

    /// All images, by id.
    ///
    /// # Errors
    /// The store cannot be read, or a record in it.
    pub fn images(&self) -> Result<Vec<Image>, StoreError> {
        self.ids()?
            .iter()
            .filter_map(|id| match self.record(id) {
                // Removed meanwhile.
                Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => None,
                record => Some(record.and_then(|record| self.image(record))),
            })
            .collect()
    }

    fn ids(&self) -> Result<Vec<ImageId>, StoreError> {
        let path = self.root.join("images");
        let failed = io_error("cannot read", &path);
        let mut ids = Vec::new();
        for entry in std::fs::read_dir(&path).map_err(&failed)? {
            let name = entry.map_err(&failed)?.file_name();
            ids.extend(name.to_str().and_then(ImageId::parse));
        }
        ids.sort();
        Ok(ids)
    }

    fn record(&self, id: &ImageId) -> Result<Record, StoreError> {
        let path = self.root.join("images").join(id.as_str()).join("image.json");
        let text = read_bounded(&path).map_err(io_error("cannot read", &path))?;
        serde_json::from_slice(&text).map_err(|source| StoreError::Record { path, source })
    }

    fn image(&self, record: Record) -> Result<Image, StoreError> {
        let names = self.names()?;
        let names = names.iter().filter(|(_, id)| **id == record.id).map(|(name, _)| name.clone());
        Ok(Image {
            tree: self.root.join("images").join(record.id.as_str()).join("tree"),
            names: names.collect(),
            config: record.config,
            size_bytes: record.size_bytes,
            created: record.created,
            source: record.source,
            notes: record.notes,
            id: Some(record.id),
        })
    }

    /// The store's own lock.
    fn lock(&self, operation: FlockOperation) -> Result<File, StoreError> {
        let path = self.root.join("lock");
        let mut options = File::options();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = file.open(&path).map_err(io_error("cannot open", &path))?;
        lock::lock(&file, operation).map_err(io_error("cannot lock", &path))?;
        Ok(file)
    }
}

/// Closes a folder to all but its owner, if it is not.
///
/// # Errors
/// stat(2), chmod(2).
pub fn close(folder: &Path) -> io::Result<()> {
    let mut mode = std::fs::metadata(folder)?.permissions();
    if mode.mode() & 0o777 == mode.mode() & 0o700 {
        return Ok(());
    }
    mode.set_mode(0o700);
    std::fs::set_permissions(folder, mode)
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut text = Vec::new();
    File::open(path)?.take(MAX_RECORD).read_to_end(&mut text)?;
    Ok(text)
}
