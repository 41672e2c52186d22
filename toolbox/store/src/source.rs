//! Where images come from: what a person writes, and what a file turns out to be.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::unpacked::{Packing, decoder};

/// Entries of an archive that are looked at for what it is.
const MAX_LOOK: usize = 20_000;

/// A source of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// `dir:PATH`: used where it is; nothing is copied.
    Directory(PathBuf),
    /// `tar:PATH`, with or without gzip, xz or zstd.
    Tar(PathBuf),
    /// `oci:PATH[:TAG]`: an image layout, as a folder or a tar of one.
    Oci(PathBuf, Option<String>),
    /// `docker-archive:PATH[:NAME:TAG]`: what `docker save` writes.
    DockerArchive(PathBuf, Option<String>),
    /// `ext4:PATH`: a file system in a file or block device.
    Ext4(PathBuf),
    /// `disk:PATH[#PARTITION]`: a partition of a raw or qcow2 disk by label or number; without
    /// one, the first root partition with a file system.
    Disk(PathBuf, Option<String>),
    /// `deb:A.deb,B.deb`: unpacked over one another.
    Debs(Vec<PathBuf>),
    /// `docker://NAME[:TAG][@DIGEST]`, or that without the prefix: from a registry.
    Registry(String),
    /// `PATH[#PARTITION]`: what it is, its content says.
    Path(PathBuf),
}

/// Why there is no source.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Nothing was written.
    #[error("the source `{0}` names nothing")]
    Empty(String),
    /// It cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// None of what is known.
    #[error("{}: this is no directory, tar archive, OCI or docker image, ext4 or disk image, or Debian package", path.display())]
    Unknown {
        /// The file.
        path: PathBuf,
    },
    /// Something that is known but not read.
    #[error("{}: {what} is not supported", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
}

impl SourceError {
    /// What a person can try.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Empty(_) => Some("for example: tools.tar.zst, dir:/srv/root, disk.qcow2#SLOT-A, debian:12"),
            Self::Unsupported { .. } => Some("pack it again with zstd, xz or gzip"),
            Self::Unknown { .. } | Self::Io { .. } => None,
        }
    }
}

impl Source {
    /// Reads what a person wrote. Text without a prefix is a path if it looks like one or is
    /// there, else a reference to a registry.
    ///
    /// # Errors
    /// Nothing is named.
    pub fn parse(text: &str) -> Result<Self, SourceError> {
        Self::parse_with(text, Path::exists)
    }

    /// As [`Source::parse`], told which paths are there.
    ///
    /// # Errors
    /// As [`Source::parse`].
    pub fn parse_with(text: &str, exists: impl Fn(&Path) -> bool) -> Result<Self, SourceError> {
        let empty = || SourceError::Empty(text.to_owned());
        let path = |rest: &str| if rest.is_empty() { Err(empty()) } else { Ok(PathBuf::from(rest)) };
        if let Some(rest) = text.strip_prefix("docker://") {
            return if rest.is_empty() { Err(empty()) } else { Ok(Self::Registry(rest.to_owned())) };
        }
        if let Some((kind, rest)) = text.split_once(':') {
            let tagged = |rest: &str| -> Result<(PathBuf, Option<String>), SourceError> {
                // A colon behind the last slash, unless the path as a whole is there.
                let colon = rest.find('/').map_or(0, |_| rest.rfind('/').unwrap_or(0));
                let colon = rest[colon..].find(':').map(|at| at + colon);
                match colon {
                    Some(at) if !exists(Path::new(rest)) => {
                        let tag = &rest[at + 1..];
                        Ok((path(&rest[..at])?, (!tag.is_empty()).then(|| tag.to_owned())))
                    }
                    _ => Ok((path(rest)?, None)),
                }
            };
            match kind {
                "dir" => return Ok(Self::Directory(path(rest)?)),
                "tar" => return Ok(Self::Tar(path(rest)?)),
                "ext4" => return Ok(Self::Ext4(path(rest)?)),
                "oci" => return tagged(rest).map(|(path, tag)| Self::Oci(path, tag)),
                "docker-archive" => {
                    return tagged_archive(rest, &exists, &path);
                }
                "disk" => {
                    let (rest, partition) = partition(rest, &exists);
                    return Ok(Self::Disk(path(rest)?, partition));
                }
                "deb" => {
                    let debs = rest.split(',').map(path).collect::<Result<_, _>>()?;
                    return Ok(Self::Debs(debs));
                }
                _ => {}
            }
        }
        let (file, partition) = partition(text, &exists);
        let looks_like = |text: &str| text.starts_with(['/', '.', '~']);
        if file.is_empty() {
            return Err(empty());
        }
        if partition.is_some() {
            return Ok(Self::Disk(file.into(), partition));
        }
        if looks_like(file) || exists(Path::new(file)) {
            return Ok(Self::Path(file.into()));
        }
        Ok(Self::Registry(text.to_owned()))
    }

    /// Looks into a file to say what it is; other sources stay what they are.
    ///
    /// # Errors
    /// It cannot be read, or is nothing that is known.
    pub fn detect(self) -> Result<Self, SourceError> {
        let Self::Path(path) = self else { return Ok(self) };
        let failed = |source| SourceError::Io { path: path.clone(), source };
        let metadata = std::fs::metadata(&path).map_err(failed)?;
        if metadata.is_dir() {
            let is_layout = path.join("oci-layout").is_file() && path.join("index.json").is_file();
            return Ok(if is_layout { Self::Oci(path, None) } else { Self::Directory(path) });
        }
        let mut file = File::open(&path).map_err(failed)?;
        let mut head = vec![0; 4096];
        let count = read_some(&file, &mut head).map_err(failed)?;
        head.truncate(count);
        let has = |at: usize, bytes: &[u8]| head.get(at..at + bytes.len()) == Some(bytes);
        if has(0, b"QFI\xfb") || has(512, b"EFI PART") {
            return Ok(Self::Disk(path, None));
        }
        // The superblock is at 1024, its magic at 0x38 (Documentation/filesystems/ext4).
        if has(1024 + 0x38, &[0x53, 0xef]) {
            return Ok(Self::Ext4(path));
        }
        if has(0, b"!<arch>\n") {
            return Ok(Self::Debs(vec![path]));
        }
        for (magic, what) in [(&b"BZh"[..], "bzip2"), (b"\x04\x22\x4d\x18", "lz4"), (b"LZIP", "lzip")] {
            if has(0, magic) {
                return Err(SourceError::Unsupported { path, what });
            }
        }
        let packing = Packing::detect(&head);
        match look(&mut file, packing) {
            Some(Look::Oci) => Ok(Self::Oci(path, None)),
            Some(Look::Docker) => Ok(Self::DockerArchive(path, None)),
            Some(Look::Tar) => Ok(Self::Tar(path)),
            None => Err(SourceError::Unknown { path }),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tag = |tag: &Option<String>| tag.as_ref().map_or(String::new(), |tag| format!(":{tag}"));
        match self {
            Self::Directory(path) => write!(to, "dir:{}", path.display()),
            Self::Tar(path) => write!(to, "tar:{}", path.display()),
            Self::Oci(path, reference) => write!(to, "oci:{}{}", path.display(), tag(reference)),
            Self::DockerArchive(path, reference) => {
                write!(to, "docker-archive:{}{}", path.display(), tag(reference))
            }
            Self::Ext4(path) => write!(to, "ext4:{}", path.display()),
            Self::Disk(path, None) => write!(to, "disk:{}", path.display()),
            Self::Disk(path, Some(partition)) => write!(to, "disk:{}#{partition}", path.display()),
            Self::Debs(paths) => {
                let paths: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
                write!(to, "deb:{}", paths.join(","))
            }
            Self::Registry(reference) => write!(to, "docker://{reference}"),
            Self::Path(path) => write!(to, "{}", path.display()),
        }
    }
}

fn tagged_archive(
    rest: &str,
    exists: &impl Fn(&Path) -> bool,
    path: &impl Fn(&str) -> Result<PathBuf, SourceError>,
) -> Result<Source, SourceError> {
    // A reference may have colons and slashes: the longest beginning that is there is the path.
    let colons = rest.match_indices(':').map(|(at, _)| at);
    let mut ends: Vec<usize> = colons.chain([rest.len()]).collect();
    ends.reverse();
    let end = ends.iter().copied().find(|end| exists(Path::new(&rest[..*end])));
    let end = end.or(ends.last().copied()).unwrap_or(rest.len());
    let reference = rest.get(end + 1..).filter(|reference| !reference.is_empty());
    Ok(Source::DockerArchive(path(&rest[..end])?, reference.map(ToOwned::to_owned)))
}

/// A path, and what is behind its `#` unless that belongs to the name of a file that is there.
fn partition<'t>(text: &'t str, exists: &impl Fn(&Path) -> bool) -> (&'t str, Option<String>) {
    match text.rsplit_once('#') {
        Some((path, label)) if !label.is_empty() && !exists(Path::new(text)) => {
            (path, Some(label.to_owned()))
        }
        _ => (text, None),
    }
}

fn read_some(file: &File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], filled as u64)? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(filled)
}

enum Look {
    Tar,
    Oci,
    Docker,
}

/// Whether a tar has an image in it: the first name decides whether all of them are looked at.
fn look(file: &mut (impl Read + ?Sized), packing: Packing) -> Option<Look> {
    let input = io::BufReader::with_capacity(64 << 10, decoder(file, packing).ok()?);
    let mut reader = crate::tar::Reader::new(input, u64::MAX);
    let mut found = None;
    for _ in 0..MAX_LOOK {
        let entry = match reader.entry() {
            Ok(Some(entry)) => entry,
            // An empty archive is one.
            Ok(None) => return found.or((reader.position() > 0).then_some(Look::Tar)),
            // Damage further on is told where the archive is unpacked.
            Err(_) => return found,
        };
        let name = entry.path.strip_prefix(b"./").unwrap_or(&entry.path);
        match name {
            b"oci-layout" => return Some(Look::Oci),
            b"manifest.json" => found = Some(Look::Docker),
            _ => {}
        }
        if found.is_none() {
            found = Some(Look::Tar);
            if !is_of_image(name) {
                return found;
            }
        }
    }
    found
}

/// `blobs/…`, `index.json`, `repositories`, or a name of 64 hexadecimal digits.
fn is_of_image(name: &[u8]) -> bool {
    let first = name.split(|byte| matches!(byte, b'/' | b'.')).next().unwrap_or_default();
    matches!(first, b"" | b"blobs" | b"index" | b"repositories")
        || (first.len() == 64 && first.iter().all(u8::is_ascii_hexdigit))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Source {
        let there = ["disk.img", "a#b", "tools.tar", "/x/save.tar", "/x/lay:out"];
        Source::parse_with(text, |path| there.iter().any(|known| Path::new(known) == path)).unwrap()
    }

    #[test]
    fn what_people_write() {
        let tag = |text: &str| Some(text.to_owned());
        for (text, source) in [
            ("tools.tar", Source::Path("tools.tar".into())),
            ("./missing", Source::Path("./missing".into())),
            ("/srv/root", Source::Path("/srv/root".into())),
            ("a#b", Source::Path("a#b".into())),
            ("disk.img#SLOT-A", Source::Disk("disk.img".into(), tag("SLOT-A"))),
            ("disk:disk.img#2", Source::Disk("disk.img".into(), tag("2"))),
            ("disk:disk.img", Source::Disk("disk.img".into(), None)),
            ("dir:/srv/root", Source::Directory("/srv/root".into())),
            ("tar:-x", Source::Tar("-x".into())),
            ("ext4:/dev/vdb", Source::Ext4("/dev/vdb".into())),
            ("oci:/x/layout:1.2", Source::Oci("/x/layout".into(), tag("1.2"))),
            ("oci:/x/lay:out", Source::Oci("/x/lay:out".into(), None)),
            ("oci:layout:1.2", Source::Oci("layout".into(), tag("1.2"))),
            (
                "docker-archive:/x/save.tar:docker.io/library/alpine:3.20",
                Source::DockerArchive("/x/save.tar".into(), tag("docker.io/library/alpine:3.20")),
            ),
            ("docker-archive:gone.tar:a:b", Source::DockerArchive("gone.tar".into(), tag("a:b"))),
            ("deb:a.deb,b.deb", Source::Debs(vec!["a.deb".into(), "b.deb".into()])),
            ("docker://alpine", Source::Registry("alpine".into())),
            ("alpine:3.20", Source::Registry("alpine:3.20".into())),
            ("ghcr.io/x/y", Source::Registry("ghcr.io/x/y".into())),
            ("localhost:5000/x", Source::Registry("localhost:5000/x".into())),
        ] {
            assert_eq!(parse(text), source, "{text}");
        }
        for text in ["", "tar:", "docker://", "deb:a.deb,,b.deb", "#x"] {
            assert!(Source::parse_with(text, |_| false).is_err(), "{text:?}");
        }
    }
}
