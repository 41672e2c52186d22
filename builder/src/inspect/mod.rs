//! `slipway inspect`: what is in an image, without root and without mounting.
//!
//! Start with [`run`] (a command and where its output goes) or [`image::OpenImage`] (an image
//! for other parts of the builder). Images may be hostile: a broken one is an error that names
//! the structure and its offset, and no field of it decides how much memory or time is spent.
//! Nothing here writes to an image.

mod boot;
mod diff;
mod entry;
mod error;
mod extract;
mod files;
pub mod image;
mod list;
mod overview;
mod shown;
mod uki;
mod verify;
mod version;
mod volume;

use clap::Subcommand;
use serde_json::Value;
use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use volume::Volume;

pub use entry::BootEntry;
pub use error::{EntryProblem, InspectError, Place, UkiProblem};
pub use files::Files;
pub use image::OpenImage;

/// What to look at.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

/// An image, and the partition of it that holds the paths.
#[derive(Debug, clap::Args)]
struct Where {
    /// The image, raw or qcow2
    image: PathBuf,
    /// Label or number of the partition [default: the first slot with content]
    #[arg(long, short)]
    partition: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List a directory
    Ls {
        #[command(flatten)]
        place: Where,
        /// The directory, or a file
        #[arg(default_value = "/")]
        path: OsString,
        /// Show type and mode, links, owner, group, size and time as well
        #[arg(long, short)]
        long: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Write a file's content to stdout
    Cat {
        #[command(flatten)]
        place: Where,
        /// The file; symbolic links are followed within the image
        path: OsString,
    },
    /// Show everything below a directory
    Tree {
        #[command(flatten)]
        place: Where,
        /// The directory
        #[arg(default_value = "/")]
        path: OsString,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show all about an entry, or, without a path, about the disk and its partitions
    Stat {
        #[command(flatten)]
        place: Where,
        /// The entry; a symbolic link is not followed
        path: Option<OsString>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Copy a file or a directory out of the image
    ///
    /// Modes come without setuid and setgid, owners and extended attributes not at all. Devices,
    /// fifos and sockets are left out and named.
    Extract {
        #[command(flatten)]
        place: Where,
        /// The file or directory in the image
        path: OsString,
        /// The copy; must not exist yet
        output: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show the boot entries, the next to boot first, with their counters and UKI sections
    Boot {
        /// The image, raw or qcow2
        image: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Check the partition tables, the file systems, and each slot against its UKI's root hash
    ///
    /// Exit code 1 when there is damage.
    Verify {
        /// The image, raw or qcow2
        image: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what differs between two images: partitions, files, UKI sections
    ///
    /// Exit code 0 when the disks are the same, 1 when they differ, 2 on trouble.
    Diff {
        /// The old image
        a: PathBuf,
        /// The new image
        b: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// What a command came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It did what was asked.
    Done,
    /// `diff`: the disks are the same.
    Same,
    /// `diff`: they differ.
    Different,
    /// `verify`: there is damage.
    Damaged,
}

impl Verdict {
    /// 0, or 1 for a difference or damage.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Done | Self::Same => 0,
            Self::Different | Self::Damaged => 1,
        }
    }
}

impl Args {
    /// Whether the exit code alone is an answer, as of `verify` and `diff`.
    pub fn is_judgement(&self) -> bool {
        matches!(self.command, Command::Verify { .. } | Command::Diff { .. })
    }
}

/// Runs a command; its output goes to `out`. That `out` is a pipe nobody reads any more ends the
/// output and is no error.
///
/// # Errors
/// The image is absent or broken, there is no such path, or an output cannot be written.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<Verdict, InspectError> {
    let mut out = Output(out);
    let done = match &args.command {
        Command::Ls { place, path, long, json } => {
            let volume = place.open()?;
            list::ls(&volume, path.as_bytes(), *long, *json, &mut out)
        }
        Command::Cat { place, path } => list::cat(&place.open()?, path.as_bytes(), &mut out),
        Command::Tree { place, path, json } => list::tree(&place.open()?, path.as_bytes(), *json, &mut out),
        Command::Stat { place, path: Some(path), json } => {
            list::stat(&place.open()?, path.as_bytes(), *json, &mut out)
        }
        Command::Stat { place, path: None, json } => {
            let image = OpenImage::open(&place.image)?;
            let chosen = place.partition.as_deref().map(|wanted| image.choose(Some(wanted))).transpose()?;
            overview::show(&image, chosen, *json, &mut out)
        }
        Command::Extract { place, path, output, json } => {
            extract::extract(&place.open()?, path.as_bytes(), output, *json, &mut out)
        }
        Command::Boot { image, json } => boot::show(&OpenImage::open(image)?, *json, &mut out),
        Command::Verify { image, json } => verify::verify(&OpenImage::open(image)?, *json, &mut out),
        Command::Diff { a, b, json } => {
            diff::diff(&OpenImage::open(a)?, &OpenImage::open(b)?, *json, &mut out)
        }
    };
    match done {
        Err(InspectError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Verdict::Done),
        done => done,
    }
}

impl Where {
    fn open(&self) -> Result<Volume, InspectError> {
        let image = OpenImage::open(&self.image)?;
        Volume::open(&image, image.choose(self.partition.as_deref())?)
    }
}

/// Where data goes; its failures are not the image's.
struct Output<'a>(&'a mut dyn Write);

impl Output<'_> {
    fn bytes(&mut self, bytes: &[u8]) -> Result<(), InspectError> {
        self.0.write_all(bytes).map_err(InspectError::Output)
    }

    fn line(&mut self, line: &str) -> Result<(), InspectError> {
        self.bytes(line.as_bytes())?;
        self.bytes(b"\n")
    }

    fn json(&mut self, value: &Value) -> Result<(), InspectError> {
        self.line(&format!("{value:#}"))
    }
}
