//! Kept boxes: a name, an image, the options that it was made with, and a layer that stays.
//!
//! ```text
//! STORE/boxes/.lock               flock: held while a box gets or loses its name
//! STORE/boxes/NAME/box.json       how it was made (`record::Record`)
//! STORE/boxes/NAME/upper, work    its layer, as overlayfs has it
//! STORE/boxes/NAME/lock           who is at it (`lock::Lock`), and its first process (`record::Running`)
//! STORE/boxes/.RANDOM             a box on its way in or out
//! ```
//! A running box belongs to its *keeper*, a process that no session is the parent of. Every session, the first
//! one too, joins it, and it ends with its last session. Start with [`session::prepare`].

mod error;
pub mod layer;
pub mod lock;
pub mod record;
pub mod session;
pub mod target;
pub mod verbs;
pub mod words;

pub use error::BoxError;

use crate::plan::Ids;
use lock::Lock;
use record::{FORMAT, Record, Running};
use rustix::fs::{FlockOperation, RenameFlags, flock, renameat_with};
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use toolbox_store::ImageId;

/// The kept boxes of a store.
#[derive(Debug)]
pub struct Boxes {
    folder: PathBuf,
}

/// A kept box.
#[derive(Debug)]
pub struct Kept {
    /// Its name.
    pub name: String,
    /// Its folder.
    pub folder: PathBuf,
    /// How it was made.
    pub record: Record,
}

impl Boxes {
    /// Those of the store at `root`.
    ///
    /// # Errors
    /// [`BoxError::Io`], [`BoxError::Path`].
    pub fn open(root: &Path) -> Result<Self, BoxError> {
        let folder = root.join("boxes");
        if folder.as_os_str().to_string_lossy().contains([':', ',', '\\']) {
            return Err(BoxError::Path(folder));
        }
        let mut make = DirBuilder::new();
        make.recursive(true).mode(0o700).create(&folder).map_err(BoxError::io("cannot make", &folder))?;
        // Programs with setuid may lie in layers.
        toolbox_store::close(&folder).map_err(BoxError::io("cannot close to other users", &folder))?;
        // In a box there is no other path to it than the true one.
        let folder = folder.canonicalize().map_err(BoxError::io("cannot open", &folder))?;
        Ok(Self { folder })
    }

    /// Where a box of this name is, or would be.
    pub fn folder(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The box of this name, if there is one.
    ///
    /// # Errors
    /// Its record cannot be read.
    pub fn find(&self, name: &str) -> Result<Option<Kept>, BoxError> {
        let name = crate::options::box_name(name).map_err(BoxError::Name)?;
        let folder = self.folder(&name);
        let record: Record = match record::read(&folder, "box.json") {
            Err(BoxError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
            record => record?,
        };
        if record.format != FORMAT {
            let text = format!("format {}, and this program knows {FORMAT}", record.format);
            return Err(BoxError::Options { name, text });
        }
        Ok(Some(Kept { name, folder, record }))
    }

    /// The box of this name.
    ///
    /// # Errors
    /// [`BoxError::Unknown`], and as [`Boxes::find`].
    pub fn get(&self, name: &str) -> Result<Kept, BoxError> {
        self.find(name)?.ok_or_else(|| BoxError::Unknown(name.to_owned()))
    }

    /// All of them, by name; and why others cannot be read.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn all(&self) -> Result<(Vec<Kept>, Vec<BoxError>), BoxError> {
        let (mut all, mut failures) = (Vec::new(), Vec::new());
        for name in self.entries()?.iter().filter(|name| !name.starts_with('.')) {
            match self.find(name) {
                Ok(kept) => all.extend(kept),
                Err(error) => failures.push(error),
            }
        }
        Ok((all, failures))
    }

    /// All of them, where one that cannot be read must not be overlooked.
    ///
    /// # Errors
    /// A box cannot be read: then nobody knows what it needs.
    pub fn every(&self) -> Result<Vec<Kept>, BoxError> {
        let (all, failures) = self.all()?;
        failures.into_iter().next().map_or(Ok(all), Err)
    }

    /// The images that they need.
    ///
    /// # Errors
    /// As [`Boxes::every`].
    pub fn images(&self) -> Result<Vec<ImageId>, BoxError> {
        Ok(self.every()?.into_iter().filter_map(|kept| kept.record.image).collect())
    }

    /// Makes a box, whole or not at all; gives whether it was this call that made it.
    ///
    /// # Errors
    /// [`BoxError::Io`].
    pub fn make(&self, name: &str, record: &Record) -> Result<bool, BoxError> {
        let _lock = self.lock()?;
        let new = self.folder.join(random_name()?);
        let failed = BoxError::io("cannot make", &new);
        let fill = || -> Result<bool, BoxError> {
            let mut make = DirBuilder::new();
            make.mode(0o700).create(&new).map_err(&failed)?;
            make.create(new.join("work")).map_err(&failed)?;
            // It is the box's `/`, which all its users may pass.
            let upper = new.join("upper");
            make.create(&upper).map_err(&failed)?;
            fs::set_permissions(&upper, std::os::unix::fs::PermissionsExt::from_mode(0o755))
                .map_err(&failed)?;
            Lock::make(&new).map_err(&failed)?;
            record::write(&new, "box.json", record)?;
            let folder = self.folder(name);
            let (from, to) = (rustix::fs::CWD, rustix::fs::CWD);
            match renameat_with(from, &new, to, &folder, RenameFlags::NOREPLACE) {
                Ok(()) => {}
                Err(rustix::io::Errno::EXIST) => return Ok(false),
                Err(error) => return Err(BoxError::io("cannot make", &folder)(error.into())),
            }
            File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(&failed)?;
            Ok(true)
        };
        let made = fill();
        if !matches!(made, Ok(true)) {
            // What failed is what is told; what stays is found by `sweep`.
            let _ = toolbox_store::tree::remove(&new);
        }
        made
    }

    /// Removes a box that does not run.
    ///
    /// # Errors
    /// [`BoxError::Runs`]; its files cannot be removed: then the next collection tries again.
    pub fn remove(&self, kept: &Kept, ids: Option<&Ids>) -> Result<(), BoxError> {
        let failed = BoxError::io("cannot remove", &kept.folder);
        let lock = Lock::open(&kept.folder).map_err(&failed)?;
        lock.close_gate().map_err(&failed)?;
        if !lock.is_current() {
            return Err(BoxError::Unknown(kept.name.clone()));
        }
        if lock.is_running().map_err(&failed)? {
            return Err(BoxError::Runs {
                name: kept.name.clone(),
                sessions: lock.sessions().map_err(&failed)?,
                keeper: kept.running().map(|running| running.keeper),
            });
        }
        let folder = File::open(&kept.folder).map_err(&failed)?;
        flock(&folder, FlockOperation::LockExclusive).map_err(|error| failed(error.into()))?;
        let gone = self.folder.join(random_name()?);
        let above = self.lock()?;
        fs::rename(&kept.folder, &gone).map_err(&failed)?;
        File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(&failed)?;
        drop(above);
        layer::remove(&gone, ids)
    }

    /// Removes what interrupted makings and removals left; gives how much of it there was, and what stays.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn sweep(&self, ids: Option<&Ids>) -> Result<(u64, Vec<BoxError>), BoxError> {
        let above = self.lock()?;
        let mut found = Vec::new();
        for name in self.entries()?.into_iter().filter(|name| name.starts_with('.') && name != ".lock") {
            let path = self.folder.join(name);
            // Somebody who removes it has it.
            if let Ok(folder) = File::open(&path)
                && flock(&folder, FlockOperation::NonBlockingLockExclusive).is_ok()
            {
                found.push((folder, path));
            }
        }
        drop(above);
        let (mut count, mut failures) = (0, Vec::new());
        for (_folder, path) in found {
            match layer::remove(&path, ids) {
                Ok(()) => count += 1,
                Err(error) => failures.push(error),
            }
        }
        Ok((count, failures))
    }

    fn entries(&self) -> Result<Vec<String>, BoxError> {
        let failed = BoxError::io("cannot read", &self.folder);
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(&failed)? {
            names.extend(entry.map_err(&failed)?.file_name().into_string());
        }
        names.sort();
        Ok(names)
    }

    fn lock(&self) -> Result<File, BoxError> {
        let path = self.folder.join(".lock");
        let failed = BoxError::io("cannot lock", &path);
        let mut options = File::options();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = file.map_err(&failed)?;
        loop {
            match flock(&file, FlockOperation::LockExclusive) {
                Err(rustix::io::Errno::INTR) => {}
                other => break other.map_err(|error| failed(error.into()))?,
            }
        }
        Ok(file)
    }
}

impl Kept {
    /// Its first process, while it runs and that can be told.
    pub fn running(&self) -> Option<Running> {
        Lock::open(&self.folder).and_then(|lock| lock.running()).ok().flatten()
    }
}

/// A name that is no box's and cannot be guessed.
fn random_name() -> Result<String, BoxError> {
    let path = Path::new("/proc/sys/kernel/random/uuid");
    let text = fs::read_to_string(path).map_err(BoxError::io("cannot read", path))?;
    Ok(format!(".{}", text.trim()))
}
