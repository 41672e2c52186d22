//! A root alone as a tar archive (POSIX.1-2001 interchange format, pax(1)), compressed with zstd. Its bytes
//! depend on the tree alone: entries by their paths, hard links behind all else.

use super::outputs::zstd_encoder;
use super::sink::Interrupt;
use crate::progress::Stage;
use formats::tree::{Entry, Kind, Tree};
use std::fs::File;
use std::io::{self, Read, Write};
use tar::{EntryType, Header};

/// Writes a tree.
///
/// # Errors
/// A file of the tree cannot be read, the archive cannot be written, or the build was interrupted.
pub fn tar_zst(tree: &Tree, out: &File, stage: &Stage, interrupt: &Interrupt) -> io::Result<()> {
    let mut archive = tar::Builder::new(zstd_encoder(out, None)?);
    let is_link = |entry: &Entry| matches!(entry.kind, Kind::HardLink(_));
    for late in [false, true] {
        for (path, entry) in tree.entries.iter().filter(|(_, entry)| is_link(entry) == late) {
            interrupt.check()?;
            append(&mut archive, path, entry)?;
            stage.advance(1);
        }
    }
    archive.into_inner()?.finish().map(drop)
}

fn append(archive: &mut tar::Builder<impl Write>, path: &[u8], entry: &Entry) -> io::Result<()> {
    let directory = entry.kind == Kind::Directory;
    let end: &[u8] = if directory && !path.is_empty() { b"/" } else { b"" };
    let name = [b"./", path, end].concat();
    let mut header = Header::new_ustar();
    header.set_mode(u32::from(entry.mode));
    header.set_uid(entry.uid.into());
    header.set_gid(entry.gid.into());
    header.set_mtime(u64::try_from(entry.mtime).unwrap_or_default());
    header.set_size(0);
    // What a header has no room for goes before it, as records of the same meaning.
    let mut records: Vec<(String, &[u8])> = Vec::new();
    let mut target = Vec::new();
    let mut content = None;
    let kind = match &entry.kind {
        Kind::Directory => EntryType::Directory,
        Kind::File(bytes) => {
            header.set_size(bytes.len());
            content = Some(bytes);
            EntryType::Regular
        }
        Kind::Symlink(to) => {
            target.clone_from(to);
            EntryType::Symlink
        }
        Kind::HardLink(to) => {
            target = [b"./", to.as_slice()].concat();
            EntryType::Link
        }
        Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } => {
            header.set_device_major(*major)?;
            header.set_device_minor(*minor)?;
            if matches!(entry.kind, Kind::CharDevice { .. }) { EntryType::Char } else { EntryType::Block }
        }
        Kind::Fifo => EntryType::Fifo,
        // No archive holds one: it comes to be when a program binds it.
        Kind::Socket => return Ok(()),
    };
    header.set_entry_type(kind);
    let fields = header.as_ustar_mut().ok_or(io::ErrorKind::InvalidData)?;
    if !put(&mut fields.name, &name) {
        records.push(("path".into(), &name));
    }
    if !put(&mut fields.linkname, &target) {
        records.push(("linkpath".into(), &target));
    }
    for (key, value) in &entry.xattrs {
        records.push((format!("SCHILY.xattr.{}", String::from_utf8_lossy(key)), value));
    }
    if !records.is_empty() {
        archive.append_pax_extensions(records.iter().map(|(key, value)| (key.as_str(), *value)))?;
    }
    header.set_cksum();
    match content {
        None => archive.append(&header, io::empty()),
        Some(content) => {
            archive.append(&header, Bytes { content: &content.open()?, length: content.len(), at: 0 })
        }
    }
}

/// Fills a field of a header, as far as it goes; whether it went in whole.
fn put(field: &mut [u8], value: &[u8]) -> bool {
    let length = value.len().min(field.len());
    field[..length].copy_from_slice(&value[..length]);
    length == value.len()
}

/// Content from its first byte to its last.
struct Bytes<'a> {
    content: &'a formats::tree::ContentReader<'a>,
    length: u64,
    at: u64,
}

impl Read for Bytes<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.length - self.at).unwrap_or(usize::MAX);
        let count = left.min(buffer.len());
        self.content.read_exact_at(&mut buffer[..count], self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}
