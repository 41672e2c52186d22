//! Configuration files of the services: `NAME.conf` and its drop-ins (systemd's
//! `resolved.conf(5)`, "Configuration directories and precedence").

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// One `KEY=VALUE` with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The file, for messages.
    pub file: PathBuf,
    /// Its line, from 1.
    pub line: usize,
    /// The section that it stands in, without brackets; empty before the first.
    pub section: String,
    /// Key.
    pub key: String,
    /// Value, trimmed.
    pub value: String,
}

impl Entry {
    /// A message about this entry, with its place.
    pub fn problem(&self, what: &str) -> String {
        format!("{}:{}: {what}", self.file.display(), self.line)
    }
}

/// The entries of a text. Lines that are neither a section, a comment nor `KEY=VALUE` are
/// reported in the second list.
pub fn parse(file: &Path, text: &str) -> (Vec<Entry>, Vec<String>) {
    let (mut entries, mut problems) = (Vec::new(), Vec::new());
    let mut section = String::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            name.clone_into(&mut section);
        } else if let Some((key, value)) = line.split_once('=') {
            entries.push(Entry {
                file: file.to_owned(),
                line: index + 1,
                section: section.clone(),
                key: key.trim().to_owned(),
                value: value.trim().to_owned(),
            });
        } else {
            problems.push(format!("{}:{}: neither a section nor KEY=VALUE", file.display(), index + 1));
        }
    }
    (entries, problems)
}

/// Reads `NAME` (such as `resolved.conf`) of the first of `/etc`, `/run`, `/usr/local/lib` and
/// `/usr/lib` (each with `/systemd`) that has it, then all drop-ins `NAME.d/*.conf` by file name,
/// where a name in an earlier folder hides the same name in a later. `root` stands before all of
/// them. What cannot be read is reported in the second list.
pub fn load(root: &Path, name: &str) -> (Vec<Entry>, Vec<String>) {
    let folders = ["etc", "run", "usr/local/lib", "usr/lib"].map(|top| root.join(top).join("systemd"));
    let mut files: Vec<PathBuf> =
        folders.iter().map(|folder| folder.join(name)).find(|path| path.exists()).into_iter().collect();
    let mut drop_ins = BTreeMap::new();
    for folder in &folders {
        let Ok(listing) = fs::read_dir(folder.join(format!("{name}.d"))) else { continue };
        for path in listing.flatten().map(|entry| entry.path()) {
            if let Some(base) = path.file_name().filter(|_| path.extension().is_some_and(|end| end == "conf"))
            {
                drop_ins.entry(base.to_owned()).or_insert(path);
            }
        }
    }
    files.extend(drop_ins.into_values());
    let (mut entries, mut problems) = (Vec::new(), Vec::new());
    for file in files {
        match read(&file) {
            Ok(text) => {
                let (more, wrong) = parse(&file, &text);
                entries.extend(more);
                problems.extend(wrong);
            }
            Err(error) => problems.push(format!("{}: {error}", file.display())),
        }
    }
    (entries, problems)
}

/// A link to `/dev/null` masks a file, as an empty one would.
fn read(path: &Path) -> io::Result<String> {
    const SIZE_MAX: u64 = 1 << 20;
    let about = fs::metadata(path)?;
    if !about.is_file() {
        return if fs::canonicalize(path)? == Path::new("/dev/null") {
            Ok(String::new())
        } else {
            Err(io::Error::other("is no file"))
        };
    }
    if about.len() > SIZE_MAX {
        return Err(io::Error::other("is larger than 1 MiB"));
    }
    fs::read_to_string(path)
}

/// `yes`, `true`, `on`, `1` and their contraries (systemd.syntax(7)).
pub fn boolean(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "yes" | "true" | "on" | "1" | "y" | "t" => Some(true),
        "no" | "false" | "off" | "0" | "n" | "f" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_have_places_and_nonsense_is_told() {
        let (entries, problems) =
            parse(Path::new("a.conf"), "# c\n[Time]\n NTP = a b \nnonsense\n;x=1\nNTP=\n");
        let seen: Vec<_> = entries.iter().map(|e| (e.line, &*e.section, &*e.key, &*e.value)).collect();
        assert_eq!(seen, [(3, "Time", "NTP", "a b"), (6, "Time", "NTP", "")]);
        assert_eq!(problems, ["a.conf:4: neither a section nor KEY=VALUE"]);
    }

    #[test]
    fn drop_ins_come_by_name_and_etc_hides_usr() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("etc/systemd/x.conf", "A=etc");
        write("usr/lib/systemd/x.conf", "A=usr");
        write("usr/lib/systemd/x.conf.d/10.conf", "A=hidden");
        write("etc/systemd/x.conf.d/10.conf", "A=10");
        write("run/systemd/x.conf.d/20.conf", "A=20");
        write("run/systemd/x.conf.d/20.text", "A=not read");
        std::os::unix::fs::symlink("/dev/null", root.path().join("etc/systemd/x.conf.d/20.conf")).unwrap();
        let (entries, problems) = load(root.path(), "x.conf");
        assert_eq!(entries.iter().map(|e| &*e.value).collect::<Vec<_>>(), ["etc", "10"]);
        assert!(problems.is_empty(), "{problems:?}");
    }
}
