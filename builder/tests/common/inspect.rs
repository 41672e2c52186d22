//! Commands of `slipway inspect` run in this process, on an image in a folder of its own.

use super::{Disk, Made};
use clap::Parser;
use slipway::inspect::{Args, InspectError, Verdict, run};
use std::fs::File;
use std::path::PathBuf;
use tempfile::TempDir;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    inspect: Args,
}

pub(crate) fn inspect(arguments: &[&str]) -> (Result<Verdict, InspectError>, Vec<u8>) {
    let cli = Cli::try_parse_from([&["inspect"], arguments].concat()).unwrap();
    let mut out = Vec::new();
    let verdict = run(&cli.inspect, &mut out);
    (verdict, out)
}

/// What a person sees of a command.
pub(crate) fn session(arguments: &[&str]) -> String {
    let (verdict, out) = inspect(arguments);
    let out = String::from_utf8(out).unwrap();
    match verdict {
        Ok(verdict) => format!("{out}[{verdict:?}]\n"),
        Err(error) => {
            let hint = error.hint().map(|hint| format!("hint: {hint}\n")).unwrap_or_default();
            format!("{out}error: {error}\n{hint}")
        }
    }
}

pub(crate) struct Fixture {
    pub(crate) folder: TempDir,
    pub(crate) made: Made,
}

impl Fixture {
    pub(crate) fn new(disk: &Disk) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let made = disk.write(&folder.path().join("a.raw"));
        Self { folder, made }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn image(&self) -> String {
        self.path("a.raw").to_str().unwrap().to_owned()
    }

    pub(crate) fn file(&self) -> File {
        File::options().read(true).write(true).open(self.path("a.raw")).unwrap()
    }
}
