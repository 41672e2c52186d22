//! `extract`: out of an image that nobody vouches for, into a place that did not exist before.
//!
//! Every entry is made by this program, new, under the open descriptor of the directory it goes
//! into; a name that is taken is an error. So no symbolic link of the image, or of somebody who
//! changes the output meanwhile, can lead a write elsewhere.

use super::error::{EntryProblem, InspectError};
use super::volume::{Kind, Node, Volume, Walk};
use super::{Output, Verdict, shown};
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::{Mode, fchmod, mkdirat};
use nix::unistd::symlinkat;
use serde_json::json;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

const CHUNK: usize = 256 << 10;
/// A run of zeros of this many bytes is left a hole.
const PAGE: usize = 4096;

/// A directory that is being filled.
struct Open {
    descriptor: OwnedFd,
    /// In the image.
    path: Vec<u8>,
    mode: u16,
}

struct Extraction<'a> {
    volume: &'a Volume,
    output: &'a Path,
    /// Bytes of the first entry's path, which the output stands for.
    base: usize,
    /// From the top to the one being filled.
    open: Vec<Open>,
    bytes: u64,
    entries: u64,
    skipped: Vec<(String, &'static str)>,
}

pub(super) fn extract(
    volume: &Volume,
    path: &[u8],
    output: &Path,
    json: bool,
    out: &mut Output<'_>,
) -> Result<Verdict, InspectError> {
    let root = volume.resolve(path, true)?;
    let base = root.path.len();
    let mut extraction =
        Extraction { volume, output, base, open: Vec::new(), bytes: 0, entries: 0, skipped: Vec::new() };
    for node in Walk::new(volume, root) {
        extraction.entry(&node?)?;
    }
    extraction.close_down_to(0)?;
    let Extraction { entries, bytes, skipped, .. } = extraction;
    if json {
        let skipped = skipped.iter().map(|(path, kind)| json!({ "path": path, "type": kind }));
        out.json(&json!({ "entries": entries, "bytes": bytes, "skipped": skipped.collect::<Vec<_>>() }))?;
        return Ok(Verdict::Done);
    }
    for (path, kind) in skipped {
        out.line(&format!("left out {path}: {kind}"))?;
    }
    let noun = if entries == 1 { "entry" } else { "entries" };
    out.line(&format!("extracted {entries} {noun} of {bytes} bytes to {}", output.display()))?;
    Ok(Verdict::Done)
}

impl Extraction<'_> {
    fn entry(&mut self, node: &Node) -> Result<(), InspectError> {
        // The walk comes back from a directory when the next entry is not in it.
        let inside = |open: &Open| {
            open.path.is_empty()
                || node.path.strip_prefix(open.path.as_slice()).is_some_and(|rest| rest.starts_with(b"/"))
        };
        let depth = self.open.iter().take_while(|open| inside(open)).count();
        self.close_down_to(depth)?;
        let failed = |source: io::Error| InspectError::Extract { path: self.shown(node), source };
        match &node.kind {
            Kind::Directory => {
                let descriptor = self.make_directory(node).map_err(failed)?;
                // The owner must be able to fill it; its own mode comes at the end.
                let mode = node.unix.as_ref().map_or(0o755, |unix| unix.mode);
                self.open.push(Open { descriptor, path: node.path.clone(), mode });
            }
            Kind::File => self.file(node)?,
            Kind::Symlink(target) => {
                let made = match self.open.last() {
                    Some(open) => {
                        symlinkat(OsStr::from_bytes(target), &open.descriptor, OsStr::from_bytes(node.name()))
                    }
                    None => symlinkat(OsStr::from_bytes(target), AT_FDCWD, self.output),
                };
                made.map_err(|error| failed(error.into()))?;
            }
            other if self.open.is_empty() => {
                return Err(self.volume.problem(&node.path, EntryProblem::NotFile(other.name())));
            }
            other => {
                self.skipped.push((shown::path(&node.path), other.name()));
                return Ok(());
            }
        }
        self.entries += 1;
        Ok(())
    }

    fn make_directory(&self, node: &Node) -> io::Result<OwnedFd> {
        let (parent, name) = self.place(node);
        mkdirat(parent, name, Mode::S_IRWXU)?;
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        Ok(openat(parent, name, flags, Mode::empty())?)
    }

    fn file(&mut self, node: &Node) -> Result<(), InspectError> {
        let limit = self.volume.content_limit();
        let bytes = self.bytes.saturating_add(node.size);
        if bytes > limit {
            return Err(self.volume.problem(&node.path, EntryProblem::ContentTooLarge { bytes, limit }));
        }
        let mut content = self.volume.open_file(node)?;
        let failed = |source: io::Error| InspectError::Extract { path: self.shown(node), source };
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let (parent, name) = self.place(node);
        let descriptor = openat(parent, name, flags, Mode::S_IRUSR | Mode::S_IWUSR);
        let mut file = File::from(descriptor.map_err(|error| failed(error.into()))?);
        let mut buffer = vec![0; CHUNK];
        loop {
            let count = content.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            for page in buffer[..count].chunks(PAGE) {
                write_or_skip(&mut file, page).map_err(failed)?;
            }
        }
        finish_file(&file, node).map_err(failed)?;
        self.bytes = bytes;
        Ok(())
    }

    /// The directory that an entry goes into, and its name there.
    fn place<'n>(&'n self, node: &'n Node) -> (std::os::fd::BorrowedFd<'n>, &'n OsStr) {
        match self.open.last() {
            Some(open) => (open.descriptor.as_fd(), OsStr::from_bytes(node.name())),
            None => (AT_FDCWD, self.output.as_os_str()),
        }
    }

    /// Leaves directories that are filled and gives them their modes.
    fn close_down_to(&mut self, depth: usize) -> Result<(), InspectError> {
        while self.open.len() > depth {
            let Some(open) = self.open.pop() else { break };
            fchmod(&open.descriptor, Mode::from_bits_truncate(u32::from(open.mode & 0o777))).map_err(
                |error| InspectError::Extract { path: self.output_path(&open.path), source: error.into() },
            )?;
        }
        Ok(())
    }

    fn shown(&self, node: &Node) -> PathBuf {
        self.output_path(&node.path)
    }

    fn output_path(&self, path: &[u8]) -> PathBuf {
        let below = path.get(self.base..).unwrap_or_default();
        let below = below.strip_prefix(b"/").unwrap_or(below);
        if below.is_empty() { self.output.to_owned() } else { self.output.join(shown::name(below)) }
    }
}

fn write_or_skip(file: &mut File, page: &[u8]) -> io::Result<()> {
    use std::io::Seek as _;
    if page.iter().all(|byte| *byte == 0) {
        file.seek_relative(page.len() as i64)
    } else {
        file.write_all(page)
    }
}

fn finish_file(file: &File, node: &Node) -> io::Result<()> {
    file.set_len(node.size)?;
    let Some(unix) = &node.unix else {
        return Ok(fchmod(file, Mode::from_bits_truncate(0o644))?);
    };
    let distance = Duration::from_secs(unix.mtime.unsigned_abs());
    let epoch = SystemTime::UNIX_EPOCH;
    let time = if unix.mtime < 0 { epoch.checked_sub(distance) } else { epoch.checked_add(distance) };
    if let Some(time) = time {
        file.set_modified(time)?;
    }
    Ok(fchmod(file, Mode::from_bits_truncate(u32::from(unix.mode & 0o777)))?)
}
