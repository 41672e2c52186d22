//! The host's package client: the one external program that the builder ever runs, and only
//! to fetch what is not in the cache. It brings its own configuration, mirrors and signatures.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use thiserror::Error;

/// Why a package could not be fetched.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum AptError {
    #[error("apt-get cannot be run: {0}")]
    Missing(#[source] io::Error),
    #[error("apt-get download {what}: {output}")]
    Failed { what: String, output: String },
    #[error("apt-get download {what} left {count} .deb files where one was expected")]
    Files { what: String, count: usize },
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl AptError {
    /// What to try.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Missing(_) => "fetch on a Debian host, or give the inputs as paths in the spec",
            Self::Failed { .. } => {
                "run `apt-get update`; when the archive no longer holds the pinned version, `slipway lock` pins the present one"
            }
            Self::Files { .. } | Self::Io(_) => "see whether the cache folder is writable and has room",
        }
    }
}

/// Downloads one package into an empty folder: `version` as pinned, or the newest.
///
/// # Errors
/// apt-get is missing, refuses, or cannot reach its archive.
pub fn download(name: &str, version: Option<&str>, folder: &Path) -> Result<PathBuf, AptError> {
    let what = version.map_or_else(|| name.to_owned(), |version| format!("{name}={version}"));
    let mut command = Command::new("apt-get");
    command.args(["--quiet", "--yes", "-o", "Dpkg::Use-Pty=0"]);
    if nix::unistd::geteuid().is_root() {
        // As root apt downloads as the user _apt, who cannot write into our folder.
        command.args(["-o", "APT::Sandbox::User=root"]);
    }
    command.args(["download", "--", &what]).current_dir(folder).env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
    let output = command.output().map_err(AptError::Missing)?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let tail = lines[lines.len().saturating_sub(3)..].join("; ");
        return Err(AptError::Failed { what, output: tail });
    }
    let mut found: Vec<PathBuf> = fs::read_dir(folder)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .collect();
    match (found.pop(), found.len()) {
        (Some(path), 0) => Ok(path),
        (_, count) => Err(AptError::Files { what, count: count + 1 }),
    }
}
