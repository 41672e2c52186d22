//! Spec to image: read, plan, write, and only then give the files their names.

mod archive;
mod fresh;
mod ids;
mod manifest;
mod modules;
mod outputs;
mod pin;
mod plan;
mod root;
mod sbom;
mod sink;
mod sparse;
mod write;

pub use ids::Ids;
pub use pin::{fetch, lock};
pub use plan::{Plan, PlanError};
pub use sink::Interrupt;

use crate::inputs::cache::Cache;
use crate::inputs::lock::Lock;
use crate::inputs::{InputError, Store};
use crate::progress::Progress;
use crate::spec::{Spec, TreeSource};
use document::Problem;
use fresh::{Memory, Seen};
use nix::fcntl::{Flock, FlockArg};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use thiserror::Error;

/// Why there is no image. Nothing was written under a final name.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum BuildError {
    #[error("{}", shown(file, problems))]
    Document { file: PathBuf, problems: Vec<Problem>, hints: Vec<&'static str> },
    #[error("{path}")]
    File { path: PathBuf, source: io::Error },
    #[error("no lock file {0}")]
    NoLock(PathBuf),
    #[error(transparent)]
    Input(#[from] InputError),
    #[error("root file system")]
    Ext4(#[from] formats::ext4::Error),
    #[error("verity tree")]
    Verity(#[from] formats::verity::Error),
    #[error("partition table")]
    Gpt(#[from] formats::gpt::LayoutError),
    #[error("EFI system partition")]
    Esp(#[from] formats::esp::EspError),
    #[error("UKI")]
    Uki(#[from] formats::uki::UkiError),
    #[error("initramfs")]
    Cpio(#[from] formats::cpio::CpioError),
    #[error("qcow2")]
    Qcow2(#[from] formats::qcow2::WriteError),
    #[error("interrupted")]
    Interrupted,
    #[error("{doing}")]
    Io { doing: &'static str, source: io::Error },
}

impl BuildError {
    /// What to try, one line each.
    pub fn hints(&self) -> Vec<&'static str> {
        match self {
            Self::Document { hints, .. } => hints.clone(),
            Self::NoLock(_) => vec!["run `slipway lock SPEC`, with this spec, to pin the inputs"],
            Self::Input(error) => error.hint().into_iter().collect(),
            error if storage_full(error) => vec!["make room, or choose another folder with --output"],
            _ => Vec::new(),
        }
    }
}

/// Whether a full disk is at the bottom of an error.
fn storage_full(error: &BuildError) -> bool {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::StorageFull) {
            return true;
        }
        next = error.source();
    }
    false
}

/// An error with its causes, for one line of another spec's problems.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

fn shown(file: &Path, problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(|problem| format!("{}:{problem}", file.display())).collect();
    lines.join("\n")
}

/// What a build works with.
#[derive(Debug)]
pub struct Context<'a> {
    /// Fetched and unpacked inputs.
    pub cache: &'a Cache,
    /// The folders with the programs that a spec calls `@NAME`; the first that has one counts.
    pub programs: &'a [PathBuf],
    /// This program, whose change makes every image new.
    pub builder: &'a Path,
    /// Shows how far it is.
    pub progress: &'a Progress,
    /// Ends it early.
    pub interrupt: &'a Interrupt,
    /// Whether the package client must not be asked.
    pub offline: bool,
}

/// A finished build.
#[derive(Debug)]
pub struct Built {
    /// The manifest's content.
    pub manifest: serde_json::Value,
    /// The files, the manifest among them.
    pub files: Vec<PathBuf>,
    /// Whether they were there already and nothing had changed.
    pub unchanged: bool,
}

fn read_file(path: &Path) -> Result<String, BuildError> {
    fs::read_to_string(path).map_err(|source| BuildError::File { path: path.to_owned(), source })
}

/// Reads a spec file.
///
/// # Errors
/// The file cannot be read, or has problems: all of them.
pub fn read_spec(file: &Path) -> Result<Spec, BuildError> {
    let text = read_file(file)?;
    Spec::read(&text, file).map_err(|problems| BuildError::Document {
        file: file.to_owned(),
        problems,
        hints: Vec::new(),
    })
}

/// The lock file of a spec: `image.lock` for `image.yaml`.
pub fn lock_path(spec: &Path) -> PathBuf {
    spec.with_extension("lock")
}

fn read_lock(spec: &Path) -> Result<Lock, BuildError> {
    let file = lock_path(spec);
    let text = match fs::read_to_string(&file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(BuildError::NoLock(file)),
        Err(source) => return Err(BuildError::File { path: file, source }),
        Ok(text) => text,
    };
    Lock::read(&text).map_err(|problems| BuildError::Document {
        file,
        problems,
        hints: vec!["`slipway lock` makes it anew"],
    })
}

fn folder_of(spec: &Path) -> &Path {
    spec.parent().unwrap_or(Path::new(""))
}

/// Builds the image of a spec into a folder, which is made when it is not there.
///
/// # Errors
/// See [`BuildError`]. Whatever the error, no file has a final name that had none before.
pub fn build(file: &Path, folder: &Path, context: &Context<'_>) -> Result<Built, BuildError> {
    let spec = read_spec(file)?;
    let lock = read_lock(file)?;
    refuse_output_in_trees(file, folder, &spec)?;
    let is_new = !folder.exists();
    fs::create_dir_all(folder).map_err(|source| BuildError::File { path: folder.to_owned(), source })?;
    let built = build_into(file, folder, &spec, &lock, context);
    if built.is_err() && is_new {
        // Only when nothing is in it, whosever that may be.
        let _ = fs::remove_dir(folder);
    }
    built
}

/// Outputs that grow in a tree would be part of the next image, and half of this one.
fn refuse_output_in_trees(file: &Path, folder: &Path, spec: &Spec) -> Result<(), BuildError> {
    // A folder that is not there yet comes to be below the part that is.
    let current = Path::new(".");
    let parts = folder.ancestors().map(|part| if part.as_os_str().is_empty() { current } else { part });
    let there = parts.map(fs::canonicalize).find_map(Result::ok);
    let is_in = |tree: &&TreeSource| {
        let tree = fs::canonicalize(folder_of(file).join(&tree.source));
        there.as_ref().is_some_and(|there| tree.is_ok_and(|tree| there.starts_with(tree)))
    };
    let problems: Vec<Problem> = spec
        .trees
        .iter()
        .filter(is_in)
        .map(|tree| Problem {
            place: tree.place,
            message: format!("the output folder {} lies in tree {}", folder.display(), tree.source.display()),
        })
        .collect();
    if problems.is_empty() {
        return Ok(());
    }
    let hints = vec!["choose a folder outside of it with --output"];
    Err(BuildError::Document { file: file.to_owned(), problems, hints })
}

fn build_into(
    file: &Path,
    folder: &Path,
    spec: &Spec,
    lock: &Lock,
    context: &Context<'_>,
) -> Result<Built, BuildError> {
    let start = SystemTime::now();
    let io = |doing| move |source| BuildError::Io { doing, source };
    let request = format!("{} {:?}", context.builder.display(), context.programs);
    let memory = Memory::new(context.cache, file, folder, &request).map_err(io("build memory"))?;
    let outputs = |manifest: &serde_json::Value| -> Vec<PathBuf> {
        let names =
            manifest["outputs"].as_array().into_iter().flatten().filter_map(|output| output["file"].as_str());
        let companions = manifest::companions(spec);
        names.map(str::to_owned).chain(companions).map(|name| folder.join(name)).collect()
    };
    if let Some(manifest) = memory.unchanged() {
        let files = outputs(&manifest);
        return Ok(Built { manifest, files, unchanged: true });
    }

    let store = Store { cache: context.cache, lock, folder: folder_of(file), offline: context.offline };
    let mut plan = plan::plan(spec, &store, context.programs, context.progress).map_err(|error| {
        BuildError::Document { file: file.to_owned(), problems: error.problems, hints: error.hints }
    })?;
    let seen = std::mem::take(&mut plan.seen);
    for path in [file, &lock_path(file), context.builder]
        .into_iter()
        .chain(pin::pinned_files_of(spec).iter().map(PathBuf::as_path))
    {
        seen.add(path);
    }

    let workplace = Workplace::new(folder, spec).map_err(io("temporary folder"))?;
    let manifest = write::write(spec, &plan, &workplace.folder, context)
        .map_err(|error| if context.interrupt.check().is_err() { BuildError::Interrupted } else { error })?;
    let files = outputs(&manifest);
    // The manifest comes last: when it is there, all that it names is.
    for path in &files {
        let name = path.file_name().unwrap_or_default();
        fs::rename(workplace.folder.join(name), path).map_err(io("naming the outputs"))?;
    }
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(io("naming the outputs"))?;
    keep(&memory, start, seen, &files, &manifest);
    Ok(Built { manifest, files, unchanged: false })
}

fn keep(memory: &Memory, start: SystemTime, seen: Seen, files: &[PathBuf], manifest: &serde_json::Value) {
    // Without the memory the next build only takes longer.
    let _ = memory.keep(start, seen, files, manifest.clone());
}

/// The folder in which outputs grow, beside their final place. It is locked while its build
/// lives, so that the next build can tell and delete those of builds that were killed.
#[derive(Debug)]
struct Workplace {
    folder: PathBuf,
    _lock: Flock<File>,
}

impl Workplace {
    fn new(parent: &Path, spec: &Spec) -> io::Result<Self> {
        let prefix = format!(".{}-{}.build-", spec.name, spec.version);
        for entry in fs::read_dir(parent)? {
            let path = entry?.path();
            let ours =
                path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(&prefix));
            if ours
                && let Ok(Ok(_lock)) =
                    File::open(&path).map(|file| Flock::lock(file, FlockArg::LockExclusiveNonblock))
            {
                fs::remove_dir_all(&path)?;
            }
        }
        let folder = tempfile::Builder::new().prefix(&prefix).tempdir_in(parent)?;
        let lock = Flock::lock(File::open(folder.path())?, FlockArg::LockExclusiveNonblock)
            .map_err(|(_, errno)| io::Error::from(errno))?;
        Ok(Self { folder: folder.keep(), _lock: lock })
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        // What cannot be deleted now is deleted by the next build.
        let _ = fs::remove_dir_all(&self.folder);
    }
}
