//! The parts of an image by name: files of a folder, or members of an archive that stays packed.

use super::OciError;
use super::document::MAX_DOCUMENT;
use crate::digest::Digest;
use crate::tar;
use crate::unpacked::{Packing, Slice, decoder};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

/// Most members of an archive that are remembered.
const MAX_MEMBERS: usize = 100_000;

/// A part of an image: a range of a file.
pub(crate) struct Blob {
    file: Arc<File>,
    offset: u64,
    pub(crate) length: u64,
}

impl Blob {
    /// A file as a whole.
    pub(crate) fn whole(file: File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        Ok(Self { file: Arc::new(file), offset: 0, length })
    }

    pub(crate) fn reader(&self) -> impl Read + Send + 'static + use<> {
        Slice::new(self.file.clone(), self.offset, self.length)
    }

    pub(crate) fn head(&self) -> io::Result<Vec<u8>> {
        let mut head = vec![0; self.length.min(8) as usize];
        self.file.read_exact_at(&mut head, self.offset)?;
        Ok(head)
    }

    /// All of it, which is a document.
    pub(crate) fn document(&self, name: &str) -> Result<Vec<u8>, OciError> {
        if self.length > MAX_DOCUMENT {
            let name = name.to_owned();
            return Err(OciError::TooLarge { name, size: self.length, limit: MAX_DOCUMENT });
        }
        let mut bytes = vec![0; self.length as usize];
        let failed = |source| OciError::Io { name: name.to_owned(), source };
        self.file.read_exact_at(&mut bytes, self.offset).map_err(failed)?;
        Ok(bytes)
    }
}

/// Where parts are looked up.
pub(crate) enum Blobs {
    Folder(PathBuf),
    Archive { file: Arc<File>, members: BTreeMap<Vec<u8>, Member> },
}

pub(crate) enum Member {
    File(u64, u64),
    /// `docker save` of old links a layer that two images have.
    Link(Vec<u8>),
}

impl Blobs {
    /// Lists an archive. A compressed one is first unpacked into `scratch`, an empty file.
    pub(crate) fn archive(
        file: File,
        scratch: impl FnOnce() -> io::Result<File>,
        limit: u64,
    ) -> io::Result<Self> {
        let packing = Packing::detect(&crate::import::head(&file)?);
        let file = if packing == Packing::None {
            file
        } else {
            let mut plain = scratch()?;
            let mut input = decoder(file, packing)?.take(limit);
            io::copy(&mut input, &mut plain)?;
            plain.flush()?;
            plain
        };
        let file = Arc::new(file);
        let length = file.metadata()?.len();
        let input = BufReader::with_capacity(64 << 10, Slice::new(file.clone(), 0, length));
        let mut reader = tar::Reader::new(input, u64::MAX);
        let mut members = BTreeMap::new();
        while let Some(entry) = reader.entry().map_err(io::Error::other)? {
            let name = clean(&entry.path, b"");
            let member = match entry.kind {
                tar::Kind::File if entry.pieces.is_none() => Member::File(reader.position(), entry.size),
                tar::Kind::Symlink(target) => {
                    let folder =
                        name.iter().rposition(|byte| *byte == b'/').map_or(&b""[..], |at| &name[..at]);
                    Member::Link(clean(&target, folder))
                }
                tar::Kind::HardLink(target) => Member::Link(clean(&target, b"")),
                _ => continue,
            };
            if members.len() == MAX_MEMBERS {
                return Err(io::Error::other("the archive has more than 100000 members"));
            }
            members.insert(name, member);
        }
        Ok(Self::Archive { file, members })
    }

    /// The part of this name.
    pub(crate) fn open(&self, name: &str) -> Result<Blob, OciError> {
        let missing = || OciError::Missing(name.chars().take(200).collect());
        match self {
            Self::Folder(folder) => match File::open(folder.join(name)).and_then(Blob::whole) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Err(missing()),
                blob => blob.map_err(|source| OciError::Io { name: name.to_owned(), source }),
            },
            Self::Archive { file, members } => {
                let mut at = clean(name.as_bytes(), b"");
                for _ in 0..8 {
                    match members.get(&at).ok_or_else(missing)? {
                        Member::File(offset, length) => {
                            return Ok(Blob { file: file.clone(), offset: *offset, length: *length });
                        }
                        Member::Link(target) => at.clone_from(target),
                    }
                }
                Err(missing())
            }
        }
    }

    /// A document named by its digest, which it must have.
    pub(crate) fn document(&self, digest: &Digest) -> Result<Vec<u8>, OciError> {
        let name = blob_name(digest);
        let bytes = self.open(&name)?.document(&name)?;
        match Digest::of(&bytes) {
            found if found == *digest => Ok(bytes),
            found => Err(OciError::Mismatch { name, expected: *digest, found }),
        }
    }
}

/// Where a layout has a blob: digests are checked text, so that no path leads out.
pub(crate) fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// A path without `.` and `..`, from a folder; only ever looked up among names.
fn clean(path: &[u8], folder: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = Vec::new();
    let start = if path.starts_with(b"/") { &b""[..] } else { folder };
    for part in start.split(|byte| *byte == b'/').chain(path.split(|byte| *byte == b'/')) {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join(&b'/')
}
