//! Debian packages: `ar` members, `tar` inside, compressed with xz, zstd or gzip (deb(5)).
//!
//! Nothing is ever unpacked as files: the data archive is decompressed once into one blob,
//! and the members become slices of it. Owners, modes and attributes thus survive without root.

use formats::tree::{Content, Entry, Kind};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;
use thiserror::Error;

/// Decompressed bytes past which a package is refused.
const DATA_MAX: u64 = 8 << 30;
/// Decompressed bytes past which the control archive is refused.
const CONTROL_MAX: u64 = 16 << 20;

/// Why a package cannot be read.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum DebError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("no ar archive: it does not start with `!<arch>`")]
    NotAr,
    #[error("ar member header at byte {offset}: {what}")]
    ArHeader { offset: u64, what: &'static str },
    #[error("no member `{0}.tar`")]
    NoMember(&'static str),
    #[error("member `{0}` has a compression that is none of xz, zst, gz")]
    Compression(String),
    #[error("member `{member}` unpacks to more than {limit} bytes")]
    TooLarge { member: &'static str, limit: u64 },
    #[error("control file: {0}")]
    Control(&'static str),
    #[error("archive entry `{path}`: {what}")]
    Entry { path: String, what: String },
}

/// What a package says of itself (deb-control(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// `Package`
    pub package: String,
    /// `Version`
    pub version: String,
    /// `Architecture`
    pub architecture: String,
    /// Names in `Pre-Depends` and `Depends`, each alternative's first, without versions.
    pub depends: Vec<String>,
}

/// Where the two inner archives lie: name, first byte, length.
struct Member {
    name: String,
    offset: u64,
    length: u64,
}

fn members(package: &mut (impl Read + Seek)) -> Result<Vec<Member>, DebError> {
    let end = package.seek(SeekFrom::End(0))?;
    package.seek(SeekFrom::Start(0))?;
    let mut magic = [0; 8];
    package.read_exact(&mut magic).map_err(|_| DebError::NotAr)?;
    if &magic != b"!<arch>\n" {
        return Err(DebError::NotAr);
    }
    let mut found = Vec::new();
    let mut offset = 8;
    while offset < end && found.len() < 64 {
        let fail = |what| DebError::ArHeader { offset, what };
        let mut header = [0; 60];
        package.seek(SeekFrom::Start(offset))?;
        package.read_exact(&mut header).map_err(|_| fail("the file ends in it"))?;
        if &header[58..] != b"`\n" {
            return Err(fail("its end mark is missing"));
        }
        let text =
            |range: std::ops::Range<usize>| std::str::from_utf8(&header[range]).unwrap_or("").trim_end();
        let name = text(0..16).trim_end_matches('/').to_owned();
        let length: u64 = text(48..58).parse().map_err(|_| fail("its size is no number"))?;
        if length > end - offset - 60 {
            return Err(fail("its size reaches past the end of the file"));
        }
        found.push(Member { name, offset: offset + 60, length });
        offset += 60 + length + length % 2;
    }
    Ok(found)
}

/// Decompresses the member `NAME.tar…` into `out`.
fn unpack(
    package: &mut (impl Read + Seek),
    name: &'static str,
    limit: u64,
    out: &mut impl Write,
) -> Result<(), DebError> {
    let members = members(package)?;
    let prefix = format!("{name}.tar");
    let member =
        members.iter().find(|member| member.name.starts_with(&prefix)).ok_or(DebError::NoMember(name))?;
    package.seek(SeekFrom::Start(member.offset))?;
    let packed = package.by_ref().take(member.length);
    let mut reader: Box<dyn Read + '_> = match &member.name[prefix.len()..] {
        "" => Box::new(packed),
        ".xz" => Box::new(xz2::read::XzDecoder::new_multi_decoder(packed)),
        ".zst" => Box::new(zstd::Decoder::new(packed)?),
        ".gz" => Box::new(flate2::read::MultiGzDecoder::new(packed)),
        _ => return Err(DebError::Compression(member.name.clone())),
    };
    let copied = io::copy(&mut reader.by_ref().take(limit + 1), out)?;
    if copied > limit {
        return Err(DebError::TooLarge { member: name, limit });
    }
    Ok(())
}

/// Reads a package's control file.
///
/// # Errors
/// The package is broken, or its control file has no name, version or architecture.
pub fn control(package: &mut (impl Read + Seek)) -> Result<Control, DebError> {
    let mut archive = Vec::new();
    unpack(package, "control", CONTROL_MAX, &mut archive)?;
    let mut text = None;
    for entry in tar::Archive::new(archive.as_slice()).entries()? {
        let mut entry = entry?;
        if matches!(&*entry.path_bytes(), b"./control" | b"control") {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes)?;
            text = Some(String::from_utf8(bytes).map_err(|_| DebError::Control("it is not UTF-8"))?);
            break;
        }
    }
    let text = text.ok_or(DebError::Control("there is none"))?;
    let field = |name: &str| {
        let mut lines = text.lines();
        let first = lines.find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })?;
        // A field goes on in lines that start with a space (deb822(5)).
        let more = lines.take_while(|line| line.starts_with([' ', '\t']));
        Some(more.fold(first, |all, line| all + " " + line.trim()))
    };
    let depends =
        [field("Pre-Depends"), field("Depends")].into_iter().flatten().collect::<Vec<_>>().join(",");
    let depends = depends.split(',').filter_map(|group| {
        let first = group.split('|').next()?.trim();
        let name = first.split([' ', '(', ':']).next()?;
        (!name.is_empty()).then(|| name.to_owned())
    });
    Ok(Control {
        package: field("Package").ok_or(DebError::Control("it has no Package field"))?,
        version: field("Version").ok_or(DebError::Control("it has no Version field"))?,
        architecture: field("Architecture").ok_or(DebError::Control("it has no Architecture field"))?,
        depends: depends.collect(),
    })
}

/// Decompresses a package's data archive.
///
/// # Errors
/// The package is broken, or unpacks to more than 8 GiB.
pub fn unpack_data(package: &mut (impl Read + Seek), out: &mut impl Write) -> Result<(), DebError> {
    unpack(package, "data", DATA_MAX, out)
}

/// Where a package's data archive lies in it: its first byte and its length. How it is compressed,
/// its first bytes say.
///
/// # Errors
/// The package is broken.
pub fn data_member(package: &mut (impl Read + Seek)) -> Result<(u64, u64), DebError> {
    let members = members(package)?;
    let data = members.iter().find(|member| member.name.starts_with("data.tar"));
    data.map(|member| (member.offset, member.length)).ok_or(DebError::NoMember("data"))
}

/// Lists an unpacked data archive as entries of a file tree, in the archive's order, their
/// content being slices of the archive. `epoch` caps their times, as SOURCE_DATE_EPOCH does.
///
/// # Errors
/// A path that leaves the root or is not clean, a sparse or multi-volume entry, a link to nothing.
pub fn entries(archive: &Path, epoch: i64) -> Result<Vec<(Vec<u8>, Entry)>, DebError> {
    let shared: Arc<Path> = archive.into();
    entries_of(File::open(archive)?, &shared, epoch)
}

/// As [`entries`], from any reader; the slices point at `path`.
///
/// # Errors
/// As [`entries`].
pub fn entries_of(
    mut reader: impl Read + Seek,
    path: &Arc<Path>,
    epoch: i64,
) -> Result<Vec<(Vec<u8>, Entry)>, DebError> {
    let end = reader.seek(SeekFrom::End(0))?;
    reader.rewind()?;
    let mut archive = tar::Archive::new(reader);
    let mut found = Vec::new();
    for entry in archive.entries_with_seek()? {
        let mut entry = entry?;
        let raw = entry.path_bytes().into_owned();
        let fail = |what: String| DebError::Entry { path: String::from_utf8_lossy(&raw).into_owned(), what };
        let name = clean(&raw).map_err(|what| fail(what.to_owned()))?;
        if entry.raw_file_position().checked_add(entry.size()).is_none_or(|last| last > end) {
            return Err(fail(format!("its {} bytes reach past the end of the archive", entry.size())));
        }
        let mut xattrs = BTreeMap::new();
        if let Some(extensions) = entry.pax_extensions()? {
            for extension in extensions {
                let extension = extension?;
                if let Some(key) = extension.key_bytes().strip_prefix(b"SCHILY.xattr.") {
                    xattrs.insert(key.to_vec(), extension.value_bytes().to_vec());
                }
            }
        }
        let link = || entry.link_name_bytes().map(std::borrow::Cow::into_owned).unwrap_or_default();
        let header = entry.header();
        let device = || -> io::Result<(u32, u32)> {
            Ok((header.device_major()?.unwrap_or(0), header.device_minor()?.unwrap_or(0)))
        };
        let kind = match header.entry_type() {
            tar::EntryType::Directory => Kind::Directory,
            tar::EntryType::Regular | tar::EntryType::Continuous => Kind::File(Content::Slice {
                path: path.clone(),
                offset: entry.raw_file_position(),
                length: entry.size(),
            }),
            tar::EntryType::Symlink => Kind::Symlink(link()),
            tar::EntryType::Link => Kind::HardLink(clean(&link()).map_err(|what| fail(what.to_owned()))?),
            tar::EntryType::Char => device().map(|(major, minor)| Kind::CharDevice { major, minor })?,
            tar::EntryType::Block => device().map(|(major, minor)| Kind::BlockDevice { major, minor })?,
            tar::EntryType::Fifo => Kind::Fifo,
            other => return Err(fail(format!("tar entry type {other:?} is not supported"))),
        };
        let number = |value: io::Result<u64>, field| {
            value
                .ok()
                .and_then(|value| u32::try_from(value).ok())
                .ok_or_else(|| fail(format!("its {field} is no number")))
        };
        let made = Entry {
            kind,
            mode: (header.mode()? & 0o7777) as u16,
            uid: number(header.uid(), "uid")?,
            gid: number(header.gid(), "gid")?,
            mtime: header.mtime().unwrap_or(0).min(epoch as u64) as i64,
            xattrs,
        };
        found.push((name, made));
    }
    Ok(found)
}

/// `./usr/bin/x/` as `usr/bin/x`; the top folders of an unmerged root go under `usr`.
fn clean(raw: &[u8]) -> Result<Vec<u8>, &'static str> {
    if raw.contains(&0) {
        return Err("its path has a NUL byte");
    }
    let mut parts = Vec::new();
    for part in raw.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return Err("its path has a `..`"),
            part => parts.push(part),
        }
    }
    if let Some(b"bin" | b"sbin" | b"lib" | b"lib32" | b"lib64" | b"libx32") = parts.first().copied() {
        parts.insert(0, b"usr");
    }
    Ok(parts.join(&b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    /// The archive of one file.
    fn archive(content: &[u8]) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        archive.append_data(&mut header, "./bin/tool", content).unwrap();
        archive.into_inner().unwrap()
    }

    #[test]
    fn what_is_listed_lies_in_the_archive() {
        let whole = archive(&[7; 2000]);
        let path: Arc<Path> = Path::new("blob").into();
        let listed = entries_of(Cursor::new(&whole), &path, 0).unwrap();
        assert_eq!(listed[0].0, b"usr/bin/tool");
        let slice = Content::Slice { path: path.clone(), offset: 512, length: 2000 };
        assert_eq!(listed[0].1.kind, Kind::File(slice));
        assert!(entries_of(Cursor::new(&whole[..512 + 2000]), &path, 0).is_ok());
        let error = entries_of(Cursor::new(&whole[..512 + 1999]), &path, 0).unwrap_err();
        assert_eq!(
            error.to_string(),
            "archive entry `bin/tool`: its 2000 bytes reach past the end of the archive"
        );
    }
}
