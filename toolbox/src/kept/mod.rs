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

pub mod layer;
pub mod lock;
pub mod record;
pub mod session;
pub mod verbs;
pub mod words;

use crate::images::ImageError;
use crate::plan::{Ids, Refusal};
use crate::run::RunError;
use lock::Lock;
use record::{FORMAT, Mismatch, Record, Running};
use rustix::fs::{FlockOperation, RenameFlags, flock, renameat_with};
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use toolbox_store::ImageId;
use toolbox_store::commit::CommitError;

/// Why something with a kept box was not done.
#[derive(Debug, thiserror::Error)]
pub enum BoxError {
    /// The system refused.
    #[error("{what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// Its answer.
        source: io::Error,
    },
    /// A record that is none.
    #[error("{}: {source}", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// A record's options that this program does not have.
    #[error("box `{name}` was made with options that this program does not know: {text}")]
    Options {
        /// The box.
        name: String,
        /// What the parser says.
        text: String,
    },
    /// A name that cannot be one.
    #[error("{0}")]
    Name(String),
    /// There is none.
    #[error("there is no kept box `{0}`")]
    Unknown(String),
    /// A new box without an image.
    #[error("there is no kept box `{0}`, and no image is named to make it of")]
    NoSource(String),
    /// A box that is there is otherwise.
    #[error("box `{name}` is not so: {}", differences.join("; "))]
    Differs {
        /// The box.
        name: String,
        /// What was asked for, and what is.
        differences: Vec<String>,
    },
    /// Its owner is another.
    #[error("box `{name}` was made by user {was}, and this is user {is}")]
    Owner {
        /// The box.
        name: String,
        /// Its maker's id.
        was: u32,
        /// The caller's id.
        is: u32,
    },
    /// The ids of its files cannot be mapped any more.
    #[error(
        "the files of box `{name}` have {count} ids from {first} on, which cannot be mapped here any more"
    )]
    IdsGone {
        /// The box.
        name: String,
        /// The first id outside.
        first: u32,
        /// How many.
        count: u32,
    },
    /// The image is not there, nor where it came from.
    #[error("the image {id} of box `{name}` is gone, and {source_text} {}", cause.as_deref().unwrap_or("has another by now"))]
    ImageGone {
        /// The box.
        name: String,
        /// The image.
        id: ImageId,
        /// Where it came from.
        source_text: String,
        /// Why that gives none.
        cause: Option<String>,
    },
    /// It runs.
    #[error("box `{name}` runs, with {sessions} sessions")]
    Runs {
        /// The box.
        name: String,
        /// Its sessions.
        sessions: u64,
        /// Who keeps it.
        keeper: Option<u32>,
    },
    /// It runs, and cannot be joined.
    #[error("box `{name}` runs and cannot be entered: {cause}")]
    Foreign {
        /// The box.
        name: String,
        /// Why.
        cause: Mismatch,
    },
    /// A name of two things.
    #[error("both a kept box and an image are called `{0}`")]
    Both(String),
    /// An image that a box needs.
    #[error("the kept box `{name}` needs image `{image}`")]
    Needed {
        /// The image, as asked for.
        image: String,
        /// The box.
        name: String,
    },
    /// A place that overlayfs cannot have.
    #[error("{}: overlayfs cannot take a path with `:`, `,` or `\\`", .0.display())]
    Path(PathBuf),
    /// Something that is to be written is there.
    #[error("{} is there already", .0.display())]
    Exists(PathBuf),
    /// A work on its files failed, where their ids are mapped.
    #[error("{0}")]
    Layer(String),
    /// A tree cannot be told or written.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The image.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The plan.
    #[error(transparent)]
    Refusal(#[from] Refusal),
    /// The session.
    #[error(transparent)]
    Run(#[from] RunError),
}

impl BoxError {
    pub(crate) fn io(what: &'static str, path: &Path) -> impl Fn(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { what, path: path.clone(), source }
    }

    /// What can be tried.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Unknown(name) => {
                format!("`toolbox ls` lists them; `toolbox --keep {name} --from SOURCE` makes it")
            }
            Self::NoSource(name) => format!("toolbox --keep {name} --from SOURCE"),
            Self::Differs { name, .. } => format!(
                "`toolbox enter {name}` takes it as it is; for another, take another name, or remove it with \
                 `toolbox rm {name}`"
            ),
            Self::Owner { was, .. } => format!("enter it as user {was}"),
            Self::IdsGone { first, count, .. } => format!(
                "give the range back in /etc/subuid and /etc/subgid: {first}:{count}, with newuidmap and newgidmap"
            ),
            Self::ImageGone { name, .. } => format!(
                "bring the image back with `toolbox import FILE`; `toolbox rm {name}` gives the box up"
            ),
            Self::Runs { keeper, .. } => match keeper {
                Some(keeper) => format!("leave its sessions, or end it with all of them: kill {keeper}"),
                None => "leave its sessions".to_owned(),
            },
            Self::Foreign { cause: Mismatch::PidNamespace, .. } => {
                "enter it from where it was started".to_owned()
            }
            Self::Record { path, .. } => {
                format!("put {} right; the box's files are in `upper` beside it", path.display())
            }
            Self::Options { .. } => "enter it with the version that made it".to_owned(),
            Self::Both(name) => {
                format!("`toolbox rm --box {name}` removes the box; `toolbox images` has the image's id")
            }
            Self::Needed { name, .. } => format!("`toolbox rm {name}` gives the box up"),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                "free space there; nothing was left of it".to_owned()
            }
            Self::Exists(_) => "name another place, or remove it first".to_owned(),
            Self::Image(error) => return error.hint().map(str::to_owned),
            Self::Commit(error) => return error.hint().map(str::to_owned),
            _ => return None,
        })
    }

    /// The exit code that says so.
    pub fn code(&self) -> u8 {
        match self {
            Self::Run(error) => error.code(),
            _ => crate::run::code::FAILED,
        }
    }
}

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
