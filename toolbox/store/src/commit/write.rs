//! Entries into a tar archive: POSIX extended headers for attributes and fractions of seconds,
//! GNU's for long names, which every tar reads.

use super::CommitError;
use super::merge::Node;
use crate::tree::shown;
use rustix::fs::FileType;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Whose files are written as whose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owners {
    /// By the numbers that they have here.
    Keep,
    /// All as root's: for trees that belong to the caller whatever the image said.
    Root,
}

pub(super) struct TarWriter<W: Write> {
    archive: tar::Builder<W>,
    owners: Owners,
    /// The first name of each file that has several.
    linked: HashMap<(u64, u64), Vec<u8>>,
}

impl<W: Write> TarWriter<W> {
    pub(super) fn new(out: W, owners: Owners) -> Self {
        Self { archive: tar::Builder::new(out), owners, linked: HashMap::new() }
    }

    pub(super) fn finish(self) -> Result<W, CommitError> {
        self.archive.into_inner().map_err(output)
    }

    /// `a/b` is gone: `a/.wh.b`.
    pub(super) fn whiteout(&mut self, path: &[u8]) -> Result<(), CommitError> {
        let start = path.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
        let name = [&path[..start], b".wh.", &path[start..]].concat();
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_mode(0);
        header.set_size(0);
        self.archive.append_data(&mut header, as_path(&name), io::empty()).map_err(output)
    }

    pub(super) fn add(&mut self, node: &Node<'_>) -> Result<(), CommitError> {
        let stat = &node.stat;
        let name = if node.path.is_empty() { b"./" } else { node.path };
        let mut header = tar::Header::new_gnu();
        header.set_mode(stat.st_mode & 0o7777);
        let (uid, gid) = match self.owners {
            Owners::Keep => (stat.st_uid, stat.st_gid),
            Owners::Root => (0, 0),
        };
        header.set_uid(uid.into());
        header.set_gid(gid.into());
        header.set_mtime(u64::try_from(stat.st_mtime).unwrap_or(0));
        header.set_size(0);
        let file_type = node.file_type();
        if file_type != FileType::Directory && stat.st_nlink > 1 {
            let key = (stat.st_dev, stat.st_ino);
            if let Some(first) = self.linked.get(&key) {
                header.set_entry_type(tar::EntryType::Link);
                return self.archive.append_link(&mut header, as_path(name), as_path(first)).map_err(output);
            }
            self.linked.insert(key, name.to_vec());
        }
        match file_type {
            FileType::Directory => {
                let file = node.open()?;
                self.extend(node, Some(&file))?;
                header.set_entry_type(tar::EntryType::Directory);
                self.archive.append_data(&mut header, as_path(name), io::empty()).map_err(output)
            }
            FileType::RegularFile => {
                let file = node.open()?;
                self.extend(node, Some(&file))?;
                header.set_entry_type(tar::EntryType::Regular);
                // A file that grows meanwhile is cut, one that shrinks is refused.
                let size = file.metadata().map_or(0, |metadata| metadata.len());
                header.set_size(size);
                let mut content = Exact { file: &file, left: size };
                self.archive
                    .append_data(&mut header, as_path(name), &mut content)
                    .map_err(|source| CommitError::Io { what: "cannot copy", path: shown(node.path), source })
            }
            FileType::Symlink => {
                self.extend(node, None)?;
                header.set_entry_type(tar::EntryType::Symlink);
                let target = node.target()?;
                self.archive.append_link(&mut header, as_path(name), as_path(&target)).map_err(output)
            }
            FileType::Fifo | FileType::CharacterDevice | FileType::BlockDevice => {
                self.extend(node, None)?;
                header.set_entry_type(match file_type {
                    FileType::Fifo => tar::EntryType::Fifo,
                    FileType::CharacterDevice => tar::EntryType::Char,
                    _ => tar::EntryType::Block,
                });
                header.set_device_major(rustix::fs::major(stat.st_rdev)).map_err(output)?;
                header.set_device_minor(rustix::fs::minor(stat.st_rdev)).map_err(output)?;
                self.archive.append_data(&mut header, as_path(name), io::empty()).map_err(output)
            }
            // A socket is nothing without the process that made it.
            _ => Ok(()),
        }
    }

    /// What the header has no place for.
    fn extend(&mut self, node: &Node<'_>, file: Option<&File>) -> Result<(), CommitError> {
        let mut records: Vec<(String, Vec<u8>)> = Vec::new();
        let stat = &node.stat;
        if stat.st_mtime < 0 || stat.st_mtime_nsec != 0 {
            // Seconds and nanoseconds are added, so that before 1970 the fraction counts back.
            let nanoseconds = i128::from(stat.st_mtime) * 1_000_000_000 + i128::from(stat.st_mtime_nsec);
            let sign = if nanoseconds < 0 { "-" } else { "" };
            let size = nanoseconds.unsigned_abs();
            let text = format!("{sign}{}.{:09}", size / 1_000_000_000, size % 1_000_000_000);
            records.push(("mtime".to_owned(), text.into_bytes()));
        }
        if let Some(file) = file {
            records.extend(attributes(file).map_err(|source| CommitError::Io {
                what: "cannot read the attributes of",
                path: shown(node.path),
                source,
            })?);
        }
        if records.is_empty() {
            return Ok(());
        }
        let records = records.iter().map(|(key, value)| (key.as_str(), value.as_slice()));
        self.archive.append_pax_extensions(records).map_err(output)
    }
}

/// `user.*` without overlayfs's own, and file capabilities.
fn attributes(file: &File) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut names = vec![0; 64 << 10];
    let count = match rustix::fs::flistxattr(file, &mut names) {
        Err(rustix::io::Errno::OPNOTSUPP) => 0,
        count => count?,
    };
    let mut found = Vec::new();
    for name in names[..count].split(|byte| *byte == 0) {
        let Ok(text) = std::str::from_utf8(name) else { continue };
        if (text.starts_with("user.") && !text.starts_with("user.overlay.")) || text == "security.capability"
        {
            let mut value = vec![0; 64 << 10];
            let count = rustix::fs::fgetxattr(file, text, &mut value)?;
            value.truncate(count);
            found.push((format!("SCHILY.xattr.{text}"), value));
        }
    }
    found.sort();
    Ok(found)
}

fn as_path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

fn output(source: io::Error) -> CommitError {
    CommitError::Output { path: PathBuf::from("the archive"), source }
}

/// So many bytes and not less.
struct Exact<'f> {
    file: &'f File,
    left: u64,
}

impl io::Read for Exact<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = self.left.min(buffer.len() as u64) as usize;
        if wanted == 0 {
            return Ok(0);
        }
        match self.file.read(&mut buffer[..wanted])? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => {
                self.left -= count as u64;
                Ok(count)
            }
        }
    }
}
