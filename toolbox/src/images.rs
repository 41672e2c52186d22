//! The images of a session, by way of the store.

use crate::facts::{self, HOST, Image};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use toolbox_store::{Held, Ownership, Policy, Progress, Registries, Source, Store, StoreError};

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The store's own.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What was written.
    #[error(transparent)]
    Source(#[from] toolbox_store::SourceError),
    /// The tree is nothing to work in.
    #[error("{0}")]
    Tree(String),
    /// No place for a store.
    #[error("there is no place for images: HOME is not set")]
    NoHome,
}

impl ImageError {
    /// What can be tried.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Store(error) => error.hint(),
            Self::Source(error) => error.hint(),
            Self::Tree(_) => None,
            Self::NoHome => Some("set HOME or XDG_DATA_HOME"),
        }
    }
}

/// Where a user's images are: /var/lib/toolbox of root, else as the XDG Base Directory Specification says.
///
/// # Errors
/// [`ImageError::NoHome`].
pub fn folder(is_root: bool, environment: &BTreeMap<String, String>) -> Result<PathBuf, ImageError> {
    if is_root {
        return Ok("/var/lib/toolbox".into());
    }
    let of = |name: &str| environment.get(name).filter(|value| value.starts_with('/')).map(PathBuf::from);
    let data = of("XDG_DATA_HOME").or_else(|| of("HOME").map(|home| home.join(".local/share")));
    data.map(|data| data.join("toolbox")).ok_or(ImageError::NoHome)
}

/// A caller's images.
#[derive(Debug)]
pub struct Images {
    store: Store,
    policy: Policy,
}

impl Images {
    /// Opens a caller's store.
    ///
    /// # Errors
    /// It cannot be made or read.
    pub fn open(
        is_root: bool,
        environment: &BTreeMap<String, String>,
        insecure: Vec<String>,
    ) -> Result<Self, ImageError> {
        let value = |name: &str| environment.get(name).cloned();
        let registries = Registries {
            insecure,
            auth_files: toolbox_store::registry::auth_files(value),
            proxy: value("https_proxy").or_else(|| value("HTTPS_PROXY")),
            ..Registries::default()
        };
        let store = Store::open(&folder(is_root, environment)?)?.with_registries(registries);
        let ownership = if is_root { Ownership::Keep } else { Ownership::Own };
        Ok(Self { store, policy: Policy::new(ownership) })
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The image of a source, unpacked if it is not yet; a name of the store comes first.
    ///
    /// # Errors
    /// See [`ImageError`].
    pub fn get(&self, source: &str, progress: &mut dyn FnMut(Progress)) -> Result<Held, ImageError> {
        let is_word = !source.contains(['/', ':']);
        if !source.starts_with(['/', '.'])
            && (is_word || !Path::new(source).exists())
            && let Ok(held) = self.store.hold_named(source)
        {
            return Ok(held);
        }
        Ok(self.store.get(&Source::parse(source)?, &self.policy, progress)?)
    }

    /// The image of a source that is there for the moment only; `origin` is what is told of it.
    ///
    /// # Errors
    /// See [`ImageError`].
    pub fn take(
        &self,
        source: &Source,
        origin: &str,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Held, ImageError> {
        let store = Store::open(self.store.root())?.with_origin(origin);
        Ok(store.get(source, &self.policy, progress)?)
    }

    /// As [`Images::get`], but a registry is asked for its newest.
    ///
    /// # Errors
    /// See [`ImageError`].
    pub fn pull(&self, source: &str, progress: &mut dyn FnMut(Progress)) -> Result<Held, ImageError> {
        match Source::parse(source)? {
            Source::Registry(text) => {
                let reference = text.parse().map_err(|error: toolbox_store::registry::ReferenceError| {
                    StoreError::Registry { reference: text.clone(), source: error.into() }
                })?;
                Ok(self.store.pull(&reference, &self.policy, progress)?)
            }
            other => Ok(self.store.get(&other, &self.policy, progress)?),
        }
    }
}

/// What a plan needs to know of an image, whose tree stays as long as what is returned with it lives.
///
/// # Errors
/// See [`ImageError`].
pub fn image(
    images: &Images,
    source: &str,
    progress: &mut dyn FnMut(Progress),
) -> Result<(Image, Held), ImageError> {
    let held = images.get(source, progress)?;
    let mut image = facts::image(source, &held.image.tree).map_err(ImageError::Tree)?;
    let variables = held.image.config.env.iter().filter_map(|line| line.split_once('='));
    image.environment = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    image.working_dir =
        held.image.config.working_dir.clone().filter(|folder| folder.starts_with('/')).map(PathBuf::from);
    Ok((image, held))
}

/// An image that needs no store: the host's own root, or a folder.
///
/// # Errors
/// See [`ImageError::Tree`].
pub fn in_place(source: &str) -> Option<Result<Image, ImageError>> {
    let tree = match Source::parse(source).and_then(Source::detect) {
        _ if source == HOST => PathBuf::from("/"),
        // One word: a name of the store comes before a folder that happens to be here.
        _ if !source.contains(['/', ':']) => return None,
        Ok(Source::Directory(path)) => path,
        _ => return None,
    };
    Some(facts::image(source, &tree).map_err(ImageError::Tree))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_have_a_place() {
        let of = |pairs: &[(&str, &str)]| {
            let environment =
                pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            folder(false, &environment).ok()
        };
        assert_eq!(of(&[("HOME", "/home/a")]), Some("/home/a/.local/share/toolbox".into()));
        assert_eq!(of(&[("HOME", "/home/a"), ("XDG_DATA_HOME", "/data")]), Some("/data/toolbox".into()));
        assert_eq!(
            of(&[("HOME", "/home/a"), ("XDG_DATA_HOME", "data")]),
            Some("/home/a/.local/share/toolbox".into())
        );
        assert_eq!(of(&[]), None);
        assert_eq!(folder(true, &BTreeMap::new()).unwrap(), Path::new("/var/lib/toolbox"));
    }
}
