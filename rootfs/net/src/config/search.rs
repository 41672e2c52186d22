//! Where the files are: `/etc`, `/run`, `/usr/local/lib`, `/usr/lib`, each `systemd/network`, in
//! this precedence (systemd.network(5)). A file of the same name in an earlier folder masks a
//! later one; an empty file or a link to `/dev/null` masks without taking its place.

use super::{Fault, Problem, Source};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

const FOLDERS: [&str; 4] = ["etc", "run", "usr/local/lib", "usr/lib"];
/// A file that is larger is no configuration.
const SIZE_MAX: u64 = 1 << 20;

/// All files with their drop-ins, by name; beside them, what cannot be read.
pub fn sources(root: &Path) -> (Vec<Source>, Vec<Problem>) {
    let mut problems = Vec::new();
    let folders: Vec<PathBuf> =
        FOLDERS.iter().map(|folder| root.join(folder).join("systemd/network")).collect();
    let mut found = Vec::new();
    for (name, path) in by_name(&folders, &[".network", ".netdev", ".link"], &mut problems) {
        let Some(text) = read(&path, &mut problems) else { continue };
        let mut texts = vec![(path.clone(), text)];
        let drop_ins: Vec<PathBuf> = folders.iter().map(|folder| folder.join(format!("{name}.d"))).collect();
        for (_, path) in by_name(&drop_ins, &[".conf"], &mut problems) {
            texts.extend(read(&path, &mut problems).map(|text| (path, text)));
        }
        found.push(Source { path, texts });
    }
    (found, problems)
}

/// Files by name, each from the first folder that has it.
fn by_name(folders: &[PathBuf], endings: &[&str], problems: &mut Vec<Problem>) -> BTreeMap<String, PathBuf> {
    let mut found = BTreeMap::new();
    for folder in folders {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                continue;
            }
            Err(error) => {
                problems.push(unreadable(folder, &error));
                continue;
            }
        };
        for entry in entries.flatten() {
            let Ok(name) = entry.file_name().into_string() else { continue };
            if endings.iter().any(|ending| name.ends_with(ending)) && !name.starts_with('.') {
                found.entry(name).or_insert_with(|| entry.path());
            }
        }
    }
    found
}

/// A file's text; `None` when it masks or cannot be read.
fn read(path: &Path, problems: &mut Vec<Problem>) -> Option<Vec<u8>> {
    let take = || -> io::Result<Vec<u8>> {
        let target = fs::canonicalize(path)?;
        if target == Path::new("/dev/null") {
            return Ok(Vec::new());
        }
        // A FIFO would hang the service.
        if !fs::metadata(&target)?.is_file() {
            return Err(io::Error::other("not a file"));
        }
        let mut text = Vec::new();
        fs::File::open(&target)?.take(SIZE_MAX + 1).read_to_end(&mut text)?;
        if text.len() as u64 > SIZE_MAX {
            return Err(io::Error::other("larger than 1 MiB"));
        }
        Ok(text)
    };
    match take() {
        Ok(text) if text.is_empty() => None,
        Ok(text) => Some(text),
        Err(error) => {
            problems.push(unreadable(path, &error));
            None
        }
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Problem {
    Problem { path: path.to_owned(), line: 0, fault: Fault::Unreadable(error.to_string()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn put(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn earlier_folders_mask_later_ones_and_drop_ins_add() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        put(root, "usr/lib/systemd/network/20-b.network", "lib b");
        put(root, "usr/lib/systemd/network/10-a.network", "lib a");
        put(root, "usr/lib/systemd/network/30-c.network", "lib c");
        put(root, "usr/lib/systemd/network/40-d.network", "lib d");
        put(root, "run/systemd/network/20-b.network", "run b");
        put(root, "etc/systemd/network/30-c.network", "");
        symlink("/dev/null", root.join("etc/systemd/network/40-d.network")).unwrap();
        put(root, "usr/lib/systemd/network/10-a.network.d/20.conf", "two");
        put(root, "etc/systemd/network/10-a.network.d/10.conf", "one");
        put(root, "run/systemd/network/10-a.network.d/20.conf", "two of run");
        put(root, "etc/systemd/network/README", "no");
        let (found, problems) = sources(root);
        let texts: Vec<Vec<&str>> = found
            .iter()
            .map(|source| source.texts.iter().map(|(_, text)| std::str::from_utf8(text).unwrap()).collect())
            .collect();
        assert_eq!(texts, [vec!["lib a", "one", "two of run"], vec!["run b"]]);
        assert_eq!(problems, []);
    }

    #[test]
    fn what_is_no_file_is_a_problem_and_no_hang() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("etc/systemd/network");
        fs::create_dir_all(folder.join("a.network")).unwrap();
        let fifo = folder.join("b.network");
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let (found, problems) = sources(root.path());
        assert_eq!((found.len(), problems.len()), (0, 2), "{problems:?}");
    }
}
