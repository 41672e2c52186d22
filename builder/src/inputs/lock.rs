//! `image.lock`: each input with the SHA-256 that it must have.

use super::cache::Hash;
use document::{Fields, Node, Problem, Problems};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

/// A pinned package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LockedPackage {
    /// Name as the spec has it; may be a meta-package's.
    pub requested: String,
    /// Name of the package that is used.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its architecture.
    pub architecture: String,
    /// Its length in bytes.
    pub size: u64,
    /// The hash of the `.deb` file.
    pub sha256: Hash,
    /// Packages that it depends on, where dependencies follow.
    pub depends: Vec<String>,
}

/// A pinned file of the host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LockedFile {
    /// Its path as the spec has it, relative to the spec's folder.
    pub path: String,
    /// Its hash.
    pub sha256: Hash,
}

/// All pins of a spec.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lock {
    /// Packages, by requested name.
    pub packages: Vec<LockedPackage>,
    /// Files of the host, by path.
    pub files: Vec<LockedFile>,
}

impl Lock {
    /// Reads a lock file's text.
    ///
    /// # Errors
    /// Every problem of the text, in its order.
    pub fn read(text: &str) -> Result<Self, Vec<Problem>> {
        let root = document::read(text).map_err(|problem| vec![problem])?;
        let problems = Problems::default();
        let p = &problems;
        let lock = root.fields(p).map(|fields| {
            let packages = fields.items("packages").iter().filter_map(|node| package(node, p)).collect();
            let files = fields.items("files").iter().filter_map(|node| file(node, p)).collect();
            fields.finish();
            Self { packages, files }
        });
        match lock {
            Some(lock) if problems.is_empty() => Ok(lock),
            _ => Err(problems.into_sorted()),
        }
    }

    /// The file's text: sorted, one field a line, so that a change of one input is a small diff.
    pub fn text(&self) -> String {
        let mut text = String::from(
            "# Made by `slipway lock`. Names, versions and hashes of what the image is built from.\n",
        );
        let mut packages = self.packages.clone();
        packages.sort();
        text += if packages.is_empty() { "packages: []\n" } else { "packages:\n" };
        for package in packages {
            let LockedPackage { requested, name, version, architecture, size, sha256, depends } = package;
            let [requested, name, architecture] = [requested, name, architecture].map(word);
            let version = quoted(version);
            let _ = write!(
                text,
                "  - requested: {requested}\n    name: {name}\n    version: {version}\n    architecture: {architecture}\n    size: {size}\n    sha256: {sha256}\n"
            );
            if !depends.is_empty() {
                let depends: Vec<String> = depends.into_iter().map(word).collect();
                let _ = writeln!(text, "    depends: [{}]", depends.join(", "));
            }
        }
        let mut files = self.files.clone();
        files.sort();
        text += if files.is_empty() { "files: []\n" } else { "files:\n" };
        for LockedFile { path, sha256 } in files {
            let path = quoted(path);
            let _ = write!(text, "  - path: {path}\n    sha256: {sha256}\n");
        }
        text
    }

    /// The pin of a package by the name in the spec.
    pub fn package(&self, requested: &str) -> Option<&LockedPackage> {
        self.packages.iter().find(|package| package.requested == requested)
    }

    /// The packages that those of `names` need and that are not among them, without those of `without` and
    /// what only they need; by name.
    pub fn dependencies(&self, names: &[&str], without: &[String]) -> BTreeSet<String> {
        let mut open: Vec<&str> = names.to_vec();
        let mut found = BTreeSet::new();
        while let Some(name) = open.pop() {
            for next in self.package(name).map_or(&[][..], |package| &package.depends) {
                if !without.contains(next) && !names.contains(&next.as_str()) && found.insert(next.clone()) {
                    open.push(next);
                }
            }
        }
        found
    }

    /// The pin of a file by the path in the spec.
    pub fn file(&self, path: &Path) -> Option<&LockedFile> {
        self.files.iter().find(|file| Path::new(&file.path) == path)
    }
}

/// A double-quoted scalar: YAML's has all of JSON's escapes. What YAML does not print, JSON
/// leaves as it is (YAML 1.2, 5.1).
fn quoted(text: String) -> String {
    let json = serde_json::Value::from(text).to_string();
    let hidden = |c: char| {
        matches!(c, '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
    };
    json.chars().fold(String::new(), |mut out, c| {
        if hidden(c) {
            let _ = write!(out, "\\u{:04x}", c as u32);
        } else {
            out.push(c);
        }
        out
    })
}

/// A name: bare when it is one as Debian has them, which YAML takes for nothing else.
fn word(text: String) -> String {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte);
    let starts = text.starts_with(|first: char| first.is_ascii_lowercase());
    if starts && text != "null" && text.bytes().all(plain) { text } else { quoted(text) }
}

fn hash(fields: &Fields<'_>, problems: &Problems) -> Option<Hash> {
    let node = fields.required("sha256")?;
    node.text(problems)?.parse().map_err(|message: String| problems.add(node.place, message)).ok()
}

fn required(fields: &Fields<'_>, key: &'static str, problems: &Problems) -> Option<String> {
    fields.required(key)?.text(problems).map(str::to_owned)
}

fn package(node: &Node, problems: &Problems) -> Option<LockedPackage> {
    let fields = node.fields(problems)?;
    let package = (
        required(&fields, "requested", problems),
        required(&fields, "name", problems),
        required(&fields, "version", problems),
        required(&fields, "architecture", problems),
        fields.required("size").and_then(|node| node.number(problems)),
        hash(&fields, problems),
        fields.texts("depends"),
    );
    fields.finish();
    Some(LockedPackage {
        requested: package.0?,
        name: package.1?,
        version: package.2?,
        architecture: package.3?,
        size: package.4?,
        sha256: package.5?,
        depends: package.6,
    })
}

fn file(node: &Node, problems: &Problems) -> Option<LockedFile> {
    let fields = node.fields(problems)?;
    let (path, sha256) = (required(&fields, "path", problems), hash(&fields, problems));
    fields.finish();
    Some(LockedFile { path: path?, sha256: sha256? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let lock = Lock {
            packages: vec![LockedPackage {
                requested: "linux-image-cloud-amd64".into(),
                name: "linux-image-6.1.0-56-cloud-amd64".into(),
                version: "1:6.1.192-2".into(),
                architecture: "amd64".into(),
                size: 62_000_000,
                sha256: Hash([7; 32]),
                depends: vec!["libc6".into(), "null".into()],
            }],
            files: vec![LockedFile { path: "inputs/a \"b\".deb".into(), sha256: Hash([0xab; 32]) }],
        };
        assert_eq!(Lock::read(&lock.text()).unwrap(), lock);
        assert_eq!(Lock::read(&Lock::default().text()).unwrap(), Lock::default());
    }

    #[test]
    fn any_text_is_written_so_that_it_is_read_again() {
        let odd =
            ["6\".1", "null", "", "- a", "a: b", "# x", "\n\u{1}\u{7f}\u{85}\u{2028}\u{feff}", "1e5", "a b "];
        let package = |text: &str| LockedPackage {
            requested: text.into(),
            name: text.into(),
            version: text.into(),
            architecture: text.into(),
            size: 1,
            sha256: Hash([7; 32]),
            depends: vec![text.into()],
        };
        for text in odd {
            let lock = Lock { packages: vec![package(text)], files: Vec::new() };
            assert_eq!(Lock::read(&lock.text()), Ok(lock), "{text:?}");
        }
    }

    #[test]
    fn dependencies_follow_one_another() {
        let package = |name: &str, depends: &[&str]| LockedPackage {
            requested: name.into(),
            name: name.into(),
            version: "1".into(),
            architecture: "amd64".into(),
            size: 1,
            sha256: Hash([7; 32]),
            depends: depends.iter().map(|name| (*name).to_owned()).collect(),
        };
        let packages = vec![
            package("curl", &["libcurl4", "libc6"]),
            package("libcurl4", &["libc6", "debconf", "curl"]),
            package("debconf", &["perl"]),
            package("perl", &[]),
            package("stray", &["libc6"]),
            package("libc6", &["libgcc"]),
            package("libgcc", &["libc6"]),
        ];
        let lock = Lock { packages, files: Vec::new() };
        let of = |names: &[&str], without: &[&str]| {
            let without: Vec<String> = without.iter().map(|name| (*name).to_owned()).collect();
            lock.dependencies(names, &without).into_iter().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(of(&["curl"], &[]), "debconf libc6 libcurl4 libgcc perl");
        assert_eq!(of(&["curl"], &["debconf"]), "libc6 libcurl4 libgcc");
        assert_eq!(of(&["curl", "perl"], &["libcurl4"]), "libc6 libgcc");
        assert_eq!(of(&["unknown"], &[]), "");
    }

    #[test]
    fn a_broken_pin_has_a_place() {
        let problems = Lock::read("files:\n  - path: a\n    sha256: abc\n").unwrap_err();
        assert_eq!(
            problems[0].to_string(),
            "3:13: `abc` is no SHA-256: 64 lower-case hexadecimal digits are needed"
        );
    }
}
