//! The content-addressed cache: `sha256/HEX` holds the bytes of that hash, `unpacked/HEX` says
//! which blob is the unpacked form of the package with that hash.
//!
//! A blob appears under its name by one rename after its bytes are on disk, so any number of
//! builds may share the cache, and one that is killed leaves at most a file in `tmp`.

use sha2::{Digest, Sha256};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// A SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(pub [u8; 32]);

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Hash {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut hash = [0; 32];
        if text.len() != 64 || !text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(format!("`{text}` is no SHA-256: 64 lower-case hexadecimal digits are needed"));
        }
        for (byte, digits) in hash.iter_mut().zip(text.as_bytes().chunks(2)) {
            let digits = std::str::from_utf8(digits).unwrap_or_default();
            *byte = u8::from_str_radix(digits, 16).map_err(|error| error.to_string())?;
        }
        Ok(Self(hash))
    }
}

/// The hash and the length of what a reader gives.
///
/// # Errors
/// The reader's.
pub fn hash_of(mut reader: impl Read) -> io::Result<(Hash, u64)> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    let mut length = 0;
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok((Hash(hasher.finalize().into()), length)),
            count => {
                hasher.update(&buffer[..count]);
                length += count as u64;
            }
        }
    }
}

/// A cache folder.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// Opens a cache, making its folders.
    ///
    /// # Errors
    /// A folder cannot be made.
    pub fn open(root: &Path) -> io::Result<Self> {
        for folder in ["sha256", "unpacked", "tmp", "builds"] {
            fs::create_dir_all(root.join(folder))?;
        }
        Ok(Self { root: root.to_owned() })
    }

    /// The cache's own folder `name`, made by [`Cache::open`].
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// A new temporary folder on the cache's file system.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn temporary(&self) -> io::Result<tempfile::TempDir> {
        tempfile::Builder::new().prefix("in-").tempdir_in(self.root.join("tmp"))
    }

    /// The path of a blob, when it is there and its bytes still have that hash. A blob that
    /// was damaged is deleted, so that it is fetched anew.
    ///
    /// # Errors
    /// The blob cannot be read.
    pub fn blob(&self, hash: Hash) -> io::Result<Option<PathBuf>> {
        let path = self.root.join("sha256").join(hash.to_string());
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        if hash_of(file)?.0 == hash {
            return Ok(Some(path));
        }
        fs::remove_file(&path)?;
        Ok(None)
    }

    /// Puts what `fill` writes into the cache.
    ///
    /// # Errors
    /// `fill` fails, or the disk does; then nothing appears under the blob's name.
    pub fn add<E: From<io::Error>>(
        &self,
        fill: impl FnOnce(&mut File) -> Result<(), E>,
    ) -> Result<(Hash, PathBuf), E> {
        let mut file = tempfile::Builder::new().prefix("blob-").tempfile_in(self.root.join("tmp"))?;
        fill(file.as_file_mut())?;
        file.as_file_mut().flush()?;
        file.as_file().sync_all()?;
        let (hash, _) = hash_of(File::open(file.path())?)?;
        let path = self.root.join("sha256").join(hash.to_string());
        file.persist(&path).map_err(|error| error.error)?;
        Ok((hash, path))
    }

    /// The blob that is the unpacked form of the package with this hash, when known and sound.
    ///
    /// # Errors
    /// The cache cannot be read.
    pub fn unpacked(&self, package: Hash) -> io::Result<Option<PathBuf>> {
        match fs::read_to_string(self.root.join("unpacked").join(package.to_string())) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
            Ok(text) => text.trim().parse().map_or(Ok(None), |hash| self.blob(hash)),
        }
    }

    /// Remembers the unpacked form of a package.
    ///
    /// # Errors
    /// The cache cannot be written.
    pub fn set_unpacked(&self, package: Hash, blob: Hash) -> io::Result<()> {
        let mut file = tempfile::Builder::new().prefix("note-").tempfile_in(self.root.join("tmp"))?;
        writeln!(file, "{blob}")?;
        file.persist(self.root.join("unpacked").join(package.to_string())).map_err(|error| error.error)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_blob_is_not_given() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        let (hash, path) = cache.add::<io::Error>(|file| file.write_all(b"content")).unwrap();
        assert_eq!(cache.blob(hash).unwrap(), Some(path.clone()));
        fs::write(&path, b"c0ntent").unwrap();
        assert_eq!(cache.blob(hash).unwrap(), None);
        assert!(!path.exists());
    }

    #[test]
    fn a_failed_fill_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        let failed = cache.add::<io::Error>(|file| {
            file.write_all(b"half")?;
            Err(io::ErrorKind::StorageFull.into())
        });
        assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::StorageFull);
        for name in ["sha256", "tmp"] {
            assert_eq!(fs::read_dir(folder.path().join(name)).unwrap().count(), 0);
        }
    }
}
