//! Names of images in registries (distribution/reference: `reference.go`, "Grammar").

use crate::digest::{Digest, DigestError};
use std::fmt;
use std::str::FromStr;

/// What names without a registry mean.
const DEFAULT: &str = "docker.io";

/// `REGISTRY/REPOSITORY[:TAG][@DIGEST]`, in full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// `HOST[:PORT]`
    pub registry: String,
    /// `library/alpine`
    pub repository: String,
    /// `latest` where neither tag nor digest was given.
    pub tag: Option<String>,
    /// Decides alone when it is there.
    pub digest: Option<Digest>,
}

/// Why a text names no image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// A character or a form that names do not have.
    #[error("`{text}` is no image's name: {what}")]
    Form {
        /// As written.
        text: String,
        /// What is wrong.
        what: &'static str,
    },
    /// The digest is none.
    #[error(transparent)]
    Digest(#[from] DigestError),
}

impl Reference {
    /// What the registry is asked for.
    pub(super) fn manifest(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => "latest".to_owned(),
        }
    }

    /// Where requests go: Docker's registry has another name than its images.
    pub(super) fn host(&self) -> &str {
        if self.registry == DEFAULT { "registry-1.docker.io" } else { &self.registry }
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let wrong = |what| ReferenceError::Form { text: text.chars().take(200).collect(), what };
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest.parse()?)),
            None => (text, None),
        };
        // A colon before the last slash is a port's.
        let slash = name.rfind('/').map_or(0, |at| at + 1);
        let (name, tag) = match name[slash..].find(':') {
            Some(at) => (&name[..slash + at], Some(&name[slash + at + 1..])),
            None => (name, None),
        };
        let (registry, repository) = match name.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => {
                (first, rest.to_owned())
            }
            Some(_) => (DEFAULT, name.to_owned()),
            None => (DEFAULT, format!("library/{name}")),
        };
        let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
        let starts = registry.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '[');
        if !starts || !registry.bytes().all(is_host) {
            return Err(wrong("its registry is no host"));
        }
        if repository.len() > 255 || !repository.split('/').all(is_component) {
            return Err(wrong("its parts may have a-z, 0-9 and, between those, . _ -"));
        }
        if let Some(tag) = tag {
            let is_tag = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            if tag.is_empty() || tag.len() > 128 || tag.starts_with(['.', '-']) || !tag.bytes().all(is_tag) {
                return Err(wrong("its tag may have up to 128 letters, digits, . _ -"));
            }
        }
        let tag = tag.map(ToOwned::to_owned).or_else(|| digest.is_none().then(|| "latest".to_owned()));
        Ok(Self { registry: registry.to_owned(), repository, tag, digest })
    }
}

fn is_component(part: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    let outer =
        |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    outer(part.bytes().next()) && outer(part.bytes().last()) && part.bytes().all(inner)
}

impl fmt::Display for Reference {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(to, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(to, "@{digest}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_full() {
        let digest = Digest::of(b"");
        for (text, full) in [
            ("alpine", "docker.io/library/alpine:latest".to_owned()),
            ("alpine:3.20", "docker.io/library/alpine:3.20".to_owned()),
            ("user/x", "docker.io/user/x:latest".to_owned()),
            ("ghcr.io/x/y", "ghcr.io/x/y:latest".to_owned()),
            ("localhost/x", "localhost/x:latest".to_owned()),
            ("localhost:5000/x:1", "localhost:5000/x:1".to_owned()),
            (&format!("quay.io/a/b@{digest}"), format!("quay.io/a/b@{digest}")),
            (&format!("a:1@{digest}"), format!("docker.io/library/a:1@{digest}")),
        ] {
            assert_eq!(text.parse::<Reference>().unwrap().to_string(), full);
        }
        for text in [
            "",
            "A",
            "a b",
            "a:",
            "a:.x",
            "a//b",
            "../a",
            "a/..",
            "-a",
            "a@sha256:1",
            "a@md5:1",
            "http://x/y",
            "x.y:5/é",
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text}");
        }
    }
}
