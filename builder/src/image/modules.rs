//! Which kernel modules go where, and in which order they load.
//!
//! Dependencies come from the modules' own `.modinfo` sections, as depmod(8) reads them; the
//! names that the kernel has built in come from `modules.builtin`.

use crate::spec::Placed;
use document::Problems;
use formats::tree::{Content, Entry, Kind};
use object::{Object as _, ObjectSection as _};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read as _};

/// Bytes past which a module is refused.
const MODULE_MAX: u64 = 256 << 20;

/// The modules that a kernel brings.
#[derive(Debug, Default)]
pub struct Modules {
    files: BTreeMap<String, (String, Content)>,
    builtin: BTreeSet<String>,
}

/// One module, resolved.
#[derive(Debug, Clone)]
pub struct Module {
    /// Its name, with underscores.
    pub name: String,
    /// Path below `lib/modules/RELEASE`, without a compression's suffix.
    pub path: String,
    /// The ELF file, never compressed: stage 1 has no decompressor.
    pub content: Content,
    /// Names of the modules that it needs.
    pub depends: Vec<String>,
    /// Patterns of devices and names that it answers to.
    pub aliases: Vec<String>,
}

impl Modules {
    /// Gathers modules from entries whose paths start below `lib/modules/RELEASE/`.
    ///
    /// # Errors
    /// `modules.builtin` cannot be read.
    pub fn new<'a>(entries: impl Iterator<Item = (&'a [u8], &'a Entry)>) -> io::Result<Self> {
        let mut modules = Self::default();
        for (path, entry) in entries {
            let (Ok(path), Kind::File(content)) = (std::str::from_utf8(path), &entry.kind) else { continue };
            if path == "modules.builtin" {
                let text = String::from_utf8_lossy(&read(content)?).into_owned();
                modules.builtin.extend(text.lines().map(name_of));
            } else if [".ko", ".ko.xz", ".ko.zst"].iter().any(|suffix| path.ends_with(suffix)) {
                modules.files.insert(name_of(path), (path.to_owned(), content.clone()));
            }
        }
        Ok(modules)
    }

    /// The wanted modules and all that they need, each after what it needs. What the kernel
    /// has built in needs no file. An unknown name is a problem at its place.
    ///
    /// # Errors
    /// A module cannot be read.
    pub fn resolve(&self, wanted: &[Placed<String>], problems: &Problems) -> io::Result<Vec<Module>> {
        let mut done = Vec::new();
        let mut seen = BTreeSet::new();
        let mut by_alias: Option<Vec<Module>> = None;
        for Placed { place, value } in wanted {
            let name = value.replace('-', "_");
            let found = if self.knows(&name) {
                self.add(&name, &mut seen, &mut done)
            } else {
                if by_alias.is_none() {
                    by_alias =
                        Some(self.files.keys().map(|name| self.load(name)).collect::<io::Result<_>>()?);
                }
                let answers = |module: &&Module| module.aliases.iter().any(|pattern| matches(pattern, value));
                let owners: Vec<String> =
                    by_alias.iter().flatten().filter(answers).map(|module| module.name.clone()).collect();
                if owners.is_empty() {
                    problems
                        .add(*place, format!("no module of this kernel is called or answers to `{value}`"));
                }
                owners.iter().try_for_each(|name| self.add(name, &mut seen, &mut done))
            };
            match found {
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    problems.add(*place, error.to_string());
                }
                other => other?,
            }
        }
        Ok(done)
    }

    fn knows(&self, name: &str) -> bool {
        self.files.contains_key(name) || self.builtin.contains(name)
    }

    fn add(&self, name: &str, seen: &mut BTreeSet<String>, done: &mut Vec<Module>) -> io::Result<()> {
        if !self.files.contains_key(name) || !seen.insert(name.to_owned()) {
            if self.knows(name) {
                return Ok(());
            }
            return Err(invalid(format!("module `{name}` is needed, but this kernel does not have it")));
        }
        let module = self.load(name)?;
        for need in &module.depends {
            self.add(need, seen, done)?;
        }
        done.push(module);
        Ok(())
    }

    fn load(&self, name: &str) -> io::Result<Module> {
        let (path, content) = &self.files[name];
        let packed = read(content)?;
        let (stem, content) = match path.rsplit_once('.') {
            Some((stem, "xz")) => {
                (stem, unpacked(xz2::read::XzDecoder::new_multi_decoder(packed.as_slice()), path)?)
            }
            Some((stem, "zst")) => (stem, unpacked(zstd::Decoder::new(packed.as_slice())?, path)?),
            _ => (path.as_str(), content.clone()),
        };
        let bytes = match &content {
            Content::Bytes(bytes) => bytes.clone(),
            Content::Slice { .. } => packed.into(),
        };
        let info = modinfo(&bytes)
            .ok_or_else(|| invalid(format!("module {path} is no ELF file with a .modinfo section")))?;
        let values = |key: &str| {
            let fields = info.split(|byte| *byte == 0).filter_map(|field| std::str::from_utf8(field).ok());
            fields
                .filter_map(|field| field.split_once('='))
                .filter(|field| field.0 == key)
                .map(|field| field.1.to_owned())
                .collect::<Vec<_>>()
        };
        let depends = values("depends")
            .iter()
            .flat_map(|list| list.split(','))
            .filter(|name| !name.is_empty())
            .map(|name| name.replace('-', "_"))
            .collect();
        Ok(Module {
            name: name.to_owned(),
            path: stem.to_owned(),
            content,
            depends,
            aliases: values("alias"),
        })
    }
}

/// `modules.dep` for these modules (modules.dep(5)): each with all that it needs, nearest first.
pub fn modules_dep(modules: &[Module]) -> String {
    let by_name: BTreeMap<&str, &Module> =
        modules.iter().map(|module| (module.name.as_str(), module)).collect();
    let mut lines: Vec<String> = modules
        .iter()
        .map(|module| {
            let mut needs: Vec<&str> = Vec::new();
            let mut open: Vec<&str> = module.depends.iter().map(String::as_str).rev().collect();
            while let Some(name) = open.pop() {
                let Some(need) = by_name.get(name) else { continue };
                // A module that comes again is needed by a later one too: it must load before that.
                needs.retain(|known| *known != need.path);
                needs.push(&need.path);
                open.extend(need.depends.iter().map(String::as_str).rev());
            }
            let needs: String = needs.iter().map(|path| format!(" {path}")).collect();
            format!("{}:{needs}\n", module.path)
        })
        .collect();
    lines.sort();
    lines.concat()
}

/// `modules.alias` for these modules.
pub fn modules_alias(modules: &[Module]) -> String {
    let mut lines: Vec<String> = modules
        .iter()
        .flat_map(|module| module.aliases.iter().map(move |alias| format!("alias {alias} {}\n", module.name)))
        .collect();
    lines.sort();
    lines.concat()
}

/// `kernel/fs/fat/nls_cp437.ko.xz` is called `nls_cp437`.
fn name_of(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split(".ko").next().unwrap_or(file).replace('-', "_")
}

fn read(content: &Content) -> io::Result<Vec<u8>> {
    if content.len() > MODULE_MAX {
        return Err(invalid(format!("a module file of {} bytes is too large", content.len())));
    }
    let mut bytes = vec![0; content.len() as usize];
    content.open()?.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

fn unpacked(reader: impl io::Read, path: &str) -> io::Result<Content> {
    let mut bytes = Vec::new();
    reader.take(MODULE_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MODULE_MAX {
        return Err(invalid(format!("module {path} unpacks to more than {MODULE_MAX} bytes")));
    }
    Ok(Content::bytes(bytes))
}

fn modinfo(bytes: &[u8]) -> Option<Vec<u8>> {
    let file = object::File::parse(bytes).ok()?;
    Some(file.section_by_name(".modinfo")?.data().ok()?.to_vec())
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

/// Whether a pattern with `*`, `?` and `[…]` (fnmatch(3)) matches a text.
pub fn matches(pattern: &str, text: &str) -> bool {
    fn inner(pattern: &[u8], text: &[u8]) -> bool {
        let mut position = (0, 0);
        let mut star: Option<(usize, usize)> = None;
        let (mut p, mut t) = position;
        while t < text.len() {
            let step = match pattern.get(p) {
                Some(b'*') => {
                    star = Some((p + 1, t));
                    p += 1;
                    continue;
                }
                Some(b'?') => Some(1),
                Some(b'[') => set(&pattern[p..], text[t]),
                Some(byte) if *byte == text[t] => Some(1),
                _ => None,
            };
            if let Some(length) = step {
                p += length;
                t += 1;
            } else if let Some((after, from)) = star {
                // The last star takes one byte more.
                star = Some((after, from + 1));
                position = (after, from + 1);
                (p, t) = position;
            } else {
                return false;
            }
        }
        pattern[p..].iter().all(|byte| *byte == b'*')
    }
    inner(pattern.as_bytes(), text.as_bytes())
}

/// The length of the set at the pattern's start, when it holds the byte.
fn set(pattern: &[u8], byte: u8) -> Option<usize> {
    let end = pattern.iter().skip(2).position(|b| *b == b']')? + 2;
    let body = &pattern[1..end];
    let (negated, body) = match body.first() {
        Some(b'!' | b'^') => (true, &body[1..]),
        _ => (false, body),
    };
    let mut held = false;
    let mut i = 0;
    while i < body.len() {
        if i + 2 < body.len() && body[i + 1] == b'-' {
            held |= (body[i]..=body[i + 2]).contains(&byte);
            i += 3;
        } else {
            held |= body[i] == byte;
            i += 1;
        }
    }
    (held != negated).then_some(end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, text) in [
            ("virtio:d00000002v*", "virtio:d00000002v00001AF4"),
            ("a*b*c", "axxbxbyc"),
            ("f[0-9]?", "f3x"),
            ("[!a]", "b"),
            ("*", ""),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("a*b", "abc"), ("f[0-9]", "fx"), ("[!a]", "a"), ("", "a"), ("?", "")] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn dependencies_stand_in_load_order() {
        let module = |name: &str, depends: &[&str]| Module {
            name: name.into(),
            path: format!("kernel/{name}.ko"),
            content: Content::bytes(Vec::new()),
            depends: depends.iter().map(ToString::to_string).collect(),
            aliases: vec![format!("fs-{name}")],
        };
        let set = [module("c", &[]), module("b", &["c"]), module("a", &["c", "b"])];
        assert_eq!(
            modules_dep(&set),
            "kernel/a.ko: kernel/b.ko kernel/c.ko\nkernel/b.ko: kernel/c.ko\nkernel/c.ko:\n"
        );
        assert_eq!(modules_alias(&set), "alias fs-a a\nalias fs-b b\nalias fs-c c\n");
    }
}
