//! Why something with a kept box was not done, and what helps.

use super::record::Mismatch;
use crate::images::ImageError;
use crate::plan::Refusal;
use crate::run::RunError;
use std::io;
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
