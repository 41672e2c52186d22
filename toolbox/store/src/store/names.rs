//! Names of images: one file, replaced as a whole.

use super::image::ImageId;
use super::{Store, temporary};
use crate::error::{StoreError, io_error};
use rustix::fs::FlockOperation;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};

/// Longest name.
const MAX_NAME: usize = 512;

impl Store {
    /// Gives an image a name; an image that had it before loses it.
    ///
    /// # Errors
    /// No such name can be, or there is no such image.
    pub fn name(&self, id: &ImageId, name: &str) -> Result<(), StoreError> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:@+".contains(&byte);
        if name.is_empty()
            || name.len() > MAX_NAME
            || !name.bytes().all(is_plain)
            || ImageId::parse(name).is_some()
        {
            return Err(StoreError::Name { name: name.chars().take(MAX_NAME).collect() });
        }
        let _lock = self.lock(FlockOperation::LockExclusive)?;
        if !self.root.join("images").join(id.as_str()).exists() {
            return Err(StoreError::Unknown { name: id.to_string() });
        }
        let mut names = self.names()?;
        names.insert(name.to_owned(), id.clone());
        self.write_names(&names)
    }

    /// The id behind a name, an id, or the unambiguous beginning of one (of 8 digits or more).
    ///
    /// # Errors
    /// There is none, or there are several.
    pub fn find(&self, name: &str) -> Result<ImageId, StoreError> {
        if let Some(id) = self.names()?.remove(name) {
            return Ok(id);
        }
        let unknown = || StoreError::Unknown { name: name.to_owned() };
        let digits = name.strip_prefix("sha256:").unwrap_or(name);
        if digits.len() < 8 {
            return Err(unknown());
        }
        let mut found = self.ids()?.into_iter().filter(|id| id.as_str().starts_with(digits));
        let first = found.next().ok_or_else(unknown)?;
        if first.as_str() != digits && found.next().is_some() {
            return Err(StoreError::Ambiguous { name: name.to_owned() });
        }
        Ok(first)
    }

    pub(super) fn names(&self) -> Result<BTreeMap<String, ImageId>, StoreError> {
        let path = self.root.join("names.json");
        match super::read_bounded(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|source| StoreError::Record { path, source }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
            Err(error) => Err(io_error("cannot read", &path)(error)),
        }
    }

    /// The caller holds the store's lock exclusively.
    pub(super) fn write_names(&self, names: &BTreeMap<String, ImageId>) -> Result<(), StoreError> {
        let path = self.root.join("names.json");
        let failed = io_error("cannot write", &path);
        let new = temporary::random_name().map_err(&failed)?;
        let new = self.root.join("tmp").join(new);
        let text = serde_json::to_vec_pretty(names)
            .map_err(|source| StoreError::Record { path: path.clone(), source })?;
        let write = || {
            let mut file = File::create_new(&new)?;
            file.write_all(&text)?;
            file.sync_all()?;
            std::fs::rename(&new, &path)?;
            File::open(&self.root)?.sync_all()
        };
        write().map_err(|error| {
            // Only there if the rename was not reached; what failed is what is told.
            let _ = std::fs::remove_file(&new);
            failed(error)
        })
    }
}
