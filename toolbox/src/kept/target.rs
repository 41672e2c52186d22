//! Where a kept box is written to.

use super::BoxError;
use std::path::PathBuf;

/// What is written, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A tar archive.
    Tar(PathBuf, Packing),
    /// A tar archive on standard output.
    Output,
    /// An OCI image layout, with a name in it.
    Layout(PathBuf, String),
    /// The store, by a name.
    Store(String),
}

/// How an archive is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// It is not.
    Plain,
    /// With gzip.
    Gzip,
    /// With zstd.
    Zstd,
}

impl Target {
    /// Reads what a person wrote.
    ///
    /// # Errors
    /// What would be right, in words.
    pub fn parse(text: &str) -> Result<Self, BoxError> {
        if text == "-" {
            return Ok(Self::Output);
        }
        if let Some(rest) = text.strip_prefix("oci:") {
            let (folder, tag) = match rest.rsplit_once(':') {
                Some((folder, tag)) if !tag.contains('/') => (folder, tag),
                _ => (rest, "latest"),
            };
            if !folder.is_empty() && !tag.is_empty() {
                return Ok(Self::Layout(folder.into(), tag.to_owned()));
            }
        } else {
            for (ending, packing) in
                [(".tar", Packing::Plain), (".tar.gz", Packing::Gzip), (".tar.zst", Packing::Zstd)]
            {
                if text.ends_with(ending) {
                    return Ok(Self::Tar(text.into(), packing));
                }
            }
            if !text.is_empty() && !text.starts_with(['/', '.']) && !text.ends_with('/') {
                return Ok(Self::Store(text.to_owned()));
            }
        }
        Err(BoxError::Name(format!(
            "`{text}` is no place for an image: FILE.tar, FILE.tar.gz, FILE.tar.zst, oci:FOLDER[:TAG], a name in \
             the store, or - for a tar archive on standard output"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_told_by_their_form() {
        let good = [
            ("-", Target::Output),
            ("a.tar", Target::Tar("a.tar".into(), Packing::Plain)),
            ("/x/a.tar.gz", Target::Tar("/x/a.tar.gz".into(), Packing::Gzip)),
            ("a.tar.zst", Target::Tar("a.tar.zst".into(), Packing::Zstd)),
            ("oci:x", Target::Layout("x".into(), "latest".to_owned())),
            ("oci:/x:y/z:1", Target::Layout("/x:y/z".into(), "1".to_owned())),
            ("oci:/x:y/z", Target::Layout("/x:y/z".into(), "latest".to_owned())),
            ("tools:1", Target::Store("tools:1".to_owned())),
        ];
        for (text, target) in good {
            assert_eq!(Target::parse(text).unwrap(), target, "{text}");
        }
        for wrong in ["", "./a", "/a.zip", "oci:", "oci::x", "oci:x:", "a/"] {
            assert!(Target::parse(wrong).unwrap_err().to_string().contains("FILE.tar.zst"), "{wrong}");
        }
    }
}
