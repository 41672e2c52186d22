//! Where the open database lies. A defragmentation puts another in its place while
//! views are taken and read; only who writes has to wait.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use redb::Database;

use crate::error::{At, Error};
use crate::state::Options;

/// An open database.
#[derive(Clone)]
pub(crate) struct Open {
    pub database: Arc<Database>,
    /// The length of its file.
    pub file_bytes: Arc<AtomicU64>,
    /// `None` for a backend that is no file.
    pub path: Option<PathBuf>,
}

/// The open database, whichever it is now.
pub(crate) struct Place {
    open: RwLock<Open>,
    writing: Mutex<()>,
    unsure: AtomicBool,
    pub options: Options,
}

impl Place {
    pub fn new(open: Open, options: Options) -> Self {
        Self { open: RwLock::new(open), writing: Mutex::new(()), unsure: AtomicBool::new(false), options }
    }

    /// What is open now.
    pub fn open(&self) -> Open {
        self.open.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The database to read from, or to write to with [`Place::writing`] held.
    pub fn database(&self) -> Arc<Database> {
        Arc::clone(&self.open.read().unwrap_or_else(PoisonError::into_inner).database)
    }

    /// As long as this is held, no other database is put in place.
    ///
    /// # Errors
    /// [`Error::Unsure`].
    pub fn writing(&self) -> Result<MutexGuard<'_, ()>, Error> {
        let writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.unsure.load(Ordering::Relaxed) { Err(Error::Unsure) } else { Ok(writing) }
    }

    /// Nobody writes any more: which file a start would find is not known.
    pub fn set_unsure(&self) {
        self.unsure.store(true, Ordering::Relaxed);
    }

    /// Says in which file it is.
    pub fn set_path(&self, path: &Path) {
        self.open.write().unwrap_or_else(PoisonError::into_inner).path = Some(path.to_owned());
    }

    /// Moves what lies at the file's end into what is free before it, and makes it shorter.
    pub fn compact(&mut self) -> Result<(), Error> {
        let open = self.open.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(database) = Arc::get_mut(&mut open.database) {
            database.compact().at("making it shorter")?;
        }
        Ok(())
    }

    /// From now on the database is this one. The old one is closed with its last view.
    pub fn replace(&self, new: Open) {
        *self.open.write().unwrap_or_else(PoisonError::into_inner) = new;
    }

    /// The length of the file.
    pub fn file_bytes(&self) -> u64 {
        self.open.read().unwrap_or_else(PoisonError::into_inner).file_bytes.load(Ordering::Relaxed)
    }

    /// What the file takes of the disk: redb makes it longer than it needs, with holes.
    pub fn allocated_bytes(&self) -> u64 {
        let metadata = self.open().path.and_then(|path| fs::metadata(path).ok());
        metadata.map_or_else(|| self.file_bytes(), |metadata| metadata.blocks() * 512)
    }
}

/// What a file's name ends with while a restore makes it, and while a defragmentation does.
pub(crate) const RESTORED: &str = ".new";
pub(crate) const COPIED: &str = ".copy";

/// The name under which a file that is to take the place of `path` is made.
pub(crate) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut new = path.as_os_str().to_owned();
    new.push(ending);
    new.into()
}

/// Removes a file if it is there.
pub(crate) fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Gives a file that is whole and on the disk its name, in place of the one that has it.
pub(crate) fn put_in_place(new: &Path, path: &Path) -> Result<(), Error> {
    rename(new, path)?;
    sync_folder(path)
}

/// Gives a file another's name.
pub(crate) fn rename(new: &Path, path: &Path) -> Result<(), Error> {
    fs::rename(new, path).map_err(failed("put in place", new))
}

/// Puts the names in a file's folder on the disk.
pub(crate) fn sync_folder(path: &Path) -> Result<(), Error> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed("sync", folder))
}

fn failed(doing: &str, path: &Path) -> impl FnOnce(io::Error) -> Error + use<> {
    let doing = format!("cannot {doing} {}", path.display());
    move |source| Error::Io { doing, source }
}
