//! The root's file tree, layer upon layer: packages, modules, folders, then the spec's own
//! entries. What comes later replaces what came before; a folder never silently becomes a file.

use super::fresh::Seen;
use crate::spec::{Attributes, GroupSpec, LinkSpec, Package, Source, Spec, TreeSource, UserSpec};
use document::{Place, Problems};
use formats::tree::{Content, Entry, Kind, Tree};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Metadata};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A tree under construction; what is wrong is noted and the work goes on.
#[derive(Debug)]
pub struct RootBuilder<'a> {
    /// The tree so far.
    pub tree: Tree,
    problems: &'a Problems,
    /// The folders that `@NAME` programs are looked for in.
    programs: &'a [PathBuf],
    epoch: i64,
    /// Every path of the host that was looked at.
    pub seen: Seen,
}

impl<'a> RootBuilder<'a> {
    /// A tree with nothing but its root.
    pub fn new(problems: &'a Problems, programs: &'a [PathBuf], epoch: i64) -> Self {
        let mut tree = Tree::default();
        tree.entries.insert(Vec::new(), Entry { mtime: epoch, ..Entry::new(Kind::Directory, 0o755) });
        Self { tree, problems, programs, epoch, seen: Seen::default() }
    }

    /// An entry of root's with the image's time.
    pub fn entry(&self, kind: Kind, mode: u16) -> Entry {
        Entry { mtime: self.epoch, ..Entry::new(kind, mode) }
    }

    /// Puts an entry into the tree; folders on the way that nobody named are 0755, root's.
    pub fn put(&mut self, place: Place, path: Vec<u8>, entry: Entry) {
        let shown = String::from_utf8_lossy(&path).into_owned();
        for (index, _) in path.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
            let parent = &path[..index];
            match self.tree.entries.get(parent).map(|entry| &entry.kind) {
                Some(Kind::Directory) => {}
                None => {
                    let folder = self.entry(Kind::Directory, 0o755);
                    self.tree.entries.insert(parent.to_vec(), folder);
                }
                Some(_) => {
                    let parent = String::from_utf8_lossy(parent);
                    self.problems.add(place, format!("/{shown} cannot be made: /{parent} is no directory"));
                    return;
                }
            }
        }
        let was_folder = self.tree.entries.get(&path).map(|entry| entry.kind == Kind::Directory);
        if let Some(was_folder) = was_folder
            && was_folder != (entry.kind == Kind::Directory)
        {
            let (before, now) =
                if was_folder { ("a directory", "something else") } else { ("no directory", "one") };
            self.problems.add(place, format!("/{shown} is {before} in an earlier layer and {now} here"));
            return;
        }
        self.tree.entries.insert(path, entry);
    }

    /// The content of a source, with whether its owner may execute it.
    pub fn source(&self, place: Place, source: &Source) -> Option<(Content, bool)> {
        let path = match source {
            Source::Inline(text) => return Some((Content::bytes(text.as_bytes()), false)),
            Source::Joined(pattern) => return self.joined(place, pattern).map(|content| (content, false)),
            Source::Path(path) => path.clone(),
            Source::Program(name) => {
                let mut places = self.programs.iter().map(|folder| folder.join(name));
                let found = places.clone().find(|path| path.is_file());
                // When there is none, the error names the first place.
                found.or_else(|| places.next()).unwrap_or_else(|| PathBuf::from(name))
            }
        };
        let found = fs::metadata(&path)
            .map_err(|error| format!("{}: {error}", path.display()))
            .and_then(|metadata| host_file(&path, &metadata));
        self.seen.add(&path);
        if let Err(message) = &found {
            self.problems.add(place, message.clone());
        }
        found.ok()
    }

    /// The tree's files that match a pattern, one behind the other; each ends its last line.
    fn joined(&self, place: Place, pattern: &str) -> Option<Content> {
        let mut whole = Vec::new();
        let mut found = false;
        for path in self.tree.entries.keys().filter(|path| fits(pattern, path)) {
            let Some(bytes) = self.text(path) else { continue };
            found = true;
            whole.extend_from_slice(&bytes);
            if whole.last().is_some_and(|last| *last != b'\n') {
                whole.push(b'\n');
            }
        }
        if !found {
            self.problems.add(place, format!("`{pattern}` matches no file of the packages and trees"));
        }
        found.then(|| Content::bytes(whole))
    }

    /// Lays the root of another spec below a folder of this one.
    pub fn image(&mut self, place: Place, path: &[u8], tree: Tree) {
        let below = |inner: &[u8]| if inner.is_empty() { path.to_vec() } else { [path, inner].join(&b'/') };
        for (inner, mut entry) in tree.entries {
            if let Kind::HardLink(target) = &mut entry.kind {
                *target = below(target);
            }
            self.put(place, below(&inner), entry);
        }
    }

    /// Lays a package's entries into the tree, through its patterns and those of the whole spec.
    pub fn package(&mut self, package: &Package, everywhere: &[String], entries: Vec<(Vec<u8>, Entry)>) {
        let any = |patterns: &[String], path: &[u8]| patterns.iter().any(|pattern| fits(pattern, path));
        let taken = |path: &[u8]| {
            (package.include.is_empty() || any(&package.include, path))
                && !any(&package.exclude, path)
                && !any(everywhere, path)
        };
        for pattern in &package.include {
            if !entries.is_empty() && !entries.iter().any(|(path, _)| fits(pattern, path)) {
                self.problems.add(package.place, format!("`{pattern}` matches nothing in this package"));
            }
        }
        for (path, entry) in entries {
            // A folder of a package is only as real as what is in it, unless it is all taken.
            if path.is_empty() || !taken(&path) {
                continue;
            }
            if entry.kind == Kind::Directory && self.tree.entries.contains_key(&path) {
                continue;
            }
            self.put(package.place, path, entry);
        }
    }

    /// Lays a folder of the host into the tree.
    pub fn folder(&mut self, spec: &TreeSource) {
        let mut open = vec![(spec.source.clone(), spec.path.clone())];
        while let Some((folder, path)) = open.pop() {
            self.seen.add(&folder);
            let listed = fs::read_dir(&folder).and_then(|entries| {
                entries.map(|entry| entry.map(|entry| entry.file_name())).collect::<Result<Vec<_>, _>>()
            });
            let (names, real) = match listed.and_then(|names| Ok((names, fs::canonicalize(&folder)?))) {
                Ok(found) => found,
                Err(error) => {
                    self.problems.add(spec.place, format!("folder {}: {error}", folder.display()));
                    continue;
                }
            };
            for name in names {
                let from = folder.join(&name);
                let mut to = path.clone();
                if !to.is_empty() {
                    to.push(b'/');
                }
                to.extend_from_slice(name.as_bytes());
                let entry = fs::symlink_metadata(&from)
                    .map_err(|error| format!("{}: {error}", from.display()))
                    .and_then(|metadata| {
                        self.seen.add_known(real.join(&name), &metadata);
                        self.host_entry(&from, &metadata)
                    });
                match entry {
                    Err(message) => self.problems.add(spec.place, message),
                    Ok(entry) => {
                        if entry.kind == Kind::Directory {
                            open.push((from, to.clone()));
                        }
                        self.put(spec.place, to, entry);
                    }
                }
            }
        }
    }

    /// What a file of the host is in the image. Only its type, its content and whether its
    /// owner may execute it count; a umask must not change an image.
    fn host_entry(&self, path: &Path, metadata: &Metadata) -> Result<Entry, String> {
        if metadata.is_dir() {
            return Ok(self.entry(Kind::Directory, 0o755));
        }
        if metadata.is_symlink() {
            let target = fs::read_link(path).map_err(|error| format!("{}: {error}", path.display()))?;
            return Ok(self.entry(Kind::Symlink(target.into_os_string().into_vec()), 0o777));
        }
        let (content, executable) = host_file(path, metadata)?;
        Ok(self.entry(Kind::File(content), if executable { 0o755 } else { 0o644 }))
    }

    /// Lays the spec's own files, directories, links and units into the tree.
    pub fn own_entries(&mut self, spec: &Spec) {
        for directory in &spec.directories {
            let entry = self.attributed(Kind::Directory, directory.attributes, 0o755);
            self.put(directory.place, directory.path.clone(), entry);
        }
        let mut places = BTreeMap::new();
        for file in &spec.files {
            if let Some(first) = places.insert(&file.path, file.place) {
                let path = String::from_utf8_lossy(&file.path).into_owned();
                self.problems.add(file.place, format!("file /{path} stands twice, first at {first}"));
            }
            let Some((content, executable)) = self.source(file.place, &file.source) else { continue };
            if let Source::Joined(pattern) = &file.source {
                self.take_out(pattern);
            }
            let mode = if executable { 0o755 } else { 0o644 };
            let mut entry = self.attributed(Kind::File(content), file.attributes, mode);
            entry.xattrs.clone_from(&file.xattrs);
            self.put(file.place, file.path.clone(), entry);
        }
        self.units(spec);
        for link in &spec.links {
            self.link(link);
        }
    }

    /// Links the folders that programs expect at the top to those below /usr, where they are and
    /// the spec says nothing else (file-hierarchy(7)).
    pub fn merge_usr(&mut self) {
        for name in ["bin", "lib", "lib32", "lib64", "sbin"] {
            let target = format!("usr/{name}");
            if self.has(&target) && !self.has(name) {
                let entry = self.entry(Kind::Symlink(target.into_bytes()), 0o777);
                self.tree.entries.insert(name.as_bytes().to_vec(), entry);
            }
        }
    }

    /// Whether something is at a path, or below it.
    fn has(&self, path: &str) -> bool {
        let below = format!("{path}/").into_bytes();
        self.tree.entries.contains_key(path.as_bytes())
            || self
                .tree
                .entries
                .range(below.clone()..)
                .next()
                .is_some_and(|(path, _)| path.starts_with(&below))
    }

    /// Takes the files that match a pattern out of the tree, and the folders that are then empty.
    fn take_out(&mut self, pattern: &str) {
        let parts: Vec<Vec<u8>> =
            self.tree.entries.keys().filter(|path| fits(pattern, path)).cloned().collect();
        for part in parts {
            if !matches!(self.tree.entries.get(&part).map(|entry| &entry.kind), Some(Kind::File(_))) {
                continue;
            }
            self.tree.entries.remove(&part);
            let mut path = part.as_slice();
            while let Some(slash) = path.iter().rposition(|byte| *byte == b'/') {
                path = &path[..slash];
                let below = [path, b"/"].concat();
                let mut after = self.tree.entries.range(below.clone()..);
                if after.next().is_some_and(|(next, _)| next.starts_with(&below)) {
                    break;
                }
                self.tree.entries.remove(path);
            }
        }
    }

    fn attributed(&self, kind: Kind, attributes: Attributes, mode: u16) -> Entry {
        let (uid, gid) = attributes.owner;
        Entry { uid, gid, ..self.entry(kind, attributes.mode.unwrap_or(mode)) }
    }

    fn link(&mut self, link: &LinkSpec) {
        if !link.hard {
            let entry = self.entry(Kind::Symlink(link.target.clone()), 0o777);
            return self.put(link.place, link.path.clone(), entry);
        }
        let target = String::from_utf8_lossy(&link.target).into_owned();
        match self.tree.entries.get(&link.target).map(|entry| &entry.kind) {
            None => {
                self.problems.add(link.place, format!("hard link to /{target}, which is not in the image"));
            }
            Some(Kind::Directory) => {
                self.problems.add(link.place, format!("hard link to the directory /{target}"));
            }
            Some(Kind::HardLink(_)) => {
                self.problems
                    .add(link.place, format!("hard link to /{target}, which is one itself: name its target"));
            }
            Some(_) => {
                let entry = self.entry(Kind::HardLink(link.target.clone()), 0o644);
                self.put(link.place, link.path.clone(), entry);
            }
        }
    }

    fn units(&mut self, spec: &Spec) {
        const FOLDER: &str = "usr/lib/systemd/system";
        for unit in &spec.units {
            let file = format!("{FOLDER}/{}", unit.name);
            let name = match init::unit::UnitName::parse(&unit.name) {
                Ok(name) => name,
                Err(error) => {
                    self.problems.add(unit.place, error.to_string());
                    continue;
                }
            };
            if unit.mask {
                let entry = self.entry(Kind::Symlink(b"/dev/null".to_vec()), 0o777);
                self.put(unit.place, format!("etc/systemd/system/{name}").into_bytes(), entry);
            }
            if let Some(source) = &unit.source {
                let Some((content, _)) = self.source(unit.place, source) else { continue };
                let entry = self.entry(Kind::File(content), 0o644);
                self.put(unit.place, file.clone().into_bytes(), entry);
            }
            for (drop_in, source) in &unit.drop_ins {
                let Some((content, _)) = self.source(unit.place, source) else { continue };
                let entry = self.entry(Kind::File(content), 0o644);
                self.put(unit.place, format!("{FOLDER}/{name}.d/{drop_in}").into_bytes(), entry);
            }
            let Some(text) = self.text(file.as_bytes()) else {
                self.problems
                    .add(unit.place, format!("unit {name} has no text and no earlier layer brings it"));
                continue;
            };
            let facts = init::unit::Facts::default();
            let mut parsed = init::unit::Unit::new(name.clone(), init::unit::LoadState::Loaded);
            let found = init::unit::load::apply_text(&mut parsed, Path::new(&unit.name), &text, &facts);
            for problem in found.iter().filter(|problem| problem.is_error()) {
                self.problems.add(unit.place, problem.to_string());
            }
            if !unit.enable {
                continue;
            }
            match init::unit::install::plan(&parsed, Path::new(&format!("/{file}")), Path::new(FOLDER)) {
                Ok(links) if links.is_empty() => {
                    self.problems.add(
                        unit.place,
                        format!("unit {name} is to be enabled but has no [Install] section"),
                    );
                }
                Ok(links) => {
                    for (link, target) in links {
                        let target = target.into_os_string().into_vec();
                        let entry = self.entry(Kind::Symlink(target), 0o777);
                        self.put(unit.place, link.into_os_string().into_vec(), entry);
                    }
                }
                Err(error) => self.problems.add(unit.place, error.to_string()),
            }
        }
    }

    /// The bytes of a file in the tree.
    fn text(&self, path: &[u8]) -> Option<Vec<u8>> {
        let Kind::File(content) = &self.tree.entries.get(path)?.kind else { return None };
        let mut bytes = vec![0; usize::try_from(content.len()).ok().filter(|length| *length < 1 << 24)?];
        content.open().and_then(|reader| reader.read_exact_at(&mut bytes, 0)).ok()?;
        Some(bytes)
    }

    /// What is wrong with a user-data document, against what the tree holds so far. Machines of
    /// the image may be told their addresses.
    pub fn judge_user_data(&self, document: &[u8]) -> Vec<cloudconfig::Problem> {
        let text = |path: &[u8]| String::from_utf8_lossy(&self.text(path).unwrap_or_default()).into_owned();
        let [passwd, group, shadow] = [b"etc/passwd".as_slice(), b"etc/group", b"etc/shadow"].map(text);
        let image = init::verdict::Image {
            passwd: &passwd,
            group: &group,
            shadow: &shadow,
            has_program: &|path| self.is_program(path),
        };
        init::verdict::judge(document, &cloudconfig::Facts::assumed(), &image).err().unwrap_or_default()
    }

    /// Whether there is a file at an absolute path, links followed, that may be executed.
    fn is_program(&self, path: &str) -> bool {
        let mut left: Vec<Vec<u8>> = path.split('/').rev().map(|part| part.as_bytes().to_vec()).collect();
        let mut at: Vec<Vec<u8>> = Vec::new();
        let mut links = 0;
        while let Some(part) = left.pop() {
            match part.as_slice() {
                b"" | b"." => continue,
                b".." => {
                    at.pop();
                    continue;
                }
                _ => at.push(part),
            }
            let Some(entry) = self.tree.entries.get(&at.join(&b'/')) else { return false };
            match &entry.kind {
                Kind::Symlink(target) => {
                    links += 1;
                    if links > 40 {
                        return false;
                    }
                    at.pop();
                    if target.starts_with(b"/") {
                        at.clear();
                    }
                    left.extend(target.split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec));
                }
                Kind::Directory => {}
                _ => return left.iter().all(Vec::is_empty) && entry.mode & 0o111 != 0,
            }
        }
        false
    }

    /// Adds the spec's accounts to what `/etc/passwd`, `/etc/group` and `/etc/shadow` hold so far.
    pub fn accounts(&mut self, place: Place, groups: &[GroupSpec], users: &[UserSpec]) {
        if groups.is_empty() && users.is_empty() {
            return;
        }
        let table = |this: &Self, path: &[u8]| -> Vec<Vec<String>> {
            let text = this.text(path).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            text.lines()
                .filter(|line| !line.is_empty())
                .map(|line| line.split(':').map(str::to_owned).collect())
                .collect()
        };
        let mut group_table = table(self, b"etc/group");
        let mut user_table = table(self, b"etc/passwd");
        let mut shadow_table = table(self, b"etc/shadow");
        for group in groups {
            let row = vec![group.name.clone(), "x".into(), group.gid.to_string(), String::new()];
            add_row(&mut group_table, row, group.place, self.problems);
        }
        for user in users {
            let gid = user.gid.to_string();
            if !group_table.iter().any(|row| row.get(2) == Some(&gid)) {
                let row = vec![user.name.clone(), "x".into(), gid.clone(), String::new()];
                add_row(&mut group_table, row, user.place, self.problems);
            }
            for name in &user.groups {
                match group_table
                    .iter_mut()
                    .find(|row| row.first() == Some(name))
                    .and_then(|row| row.get_mut(3))
                {
                    None => self
                        .problems
                        .add(user.place, format!("user {} is in the unknown group `{name}`", user.name)),
                    Some(members) if members.is_empty() => members.clone_from(&user.name),
                    Some(members) => *members = format!("{members},{}", user.name),
                }
            }
            let UserSpec { name, uid, gecos, home, shell, .. } = user;
            let row = vec![
                name.clone(),
                "x".into(),
                uid.to_string(),
                gid,
                gecos.clone(),
                home.clone(),
                shell.clone(),
            ];
            add_row(&mut user_table, row, user.place, self.problems);
            let locked = [name, "!", "", "", "", "", "", "", ""].map(|field: &str| field.to_owned());
            shadow_table.push(locked.to_vec());
        }
        let tables = [
            ("etc/group", group_table, 0o644),
            ("etc/passwd", user_table, 0o644),
            ("etc/shadow", shadow_table, 0o600),
        ];
        for (path, rows, mode) in tables {
            let text: String = rows.iter().map(|row| row.join(":") + "\n").collect();
            let entry = self.entry(Kind::File(Content::bytes(text.into_bytes())), mode);
            self.put(place, path.as_bytes().to_vec(), entry);
        }
    }
}

/// Whether a path of the tree matches a pattern of absolute paths.
fn fits(pattern: &str, path: &[u8]) -> bool {
    super::modules::matches(pattern, &format!("/{}", String::from_utf8_lossy(path)))
}

fn add_row(table: &mut Vec<Vec<String>>, row: Vec<String>, place: Place, problems: &Problems) {
    let same = |index: usize| table.iter().any(|known| known.get(index) == row.get(index));
    if same(0) {
        problems.add(place, format!("`{}` is there already", row[0]));
    } else if same(2) {
        problems.add(place, format!("number {} of `{}` is taken", row[2], row[0]));
    } else {
        table.push(row);
    }
}

/// A regular file of the host as content, with whether its owner may execute it.
fn host_file(path: &Path, metadata: &Metadata) -> Result<(Content, bool), String> {
    let shown = path.display();
    if !metadata.is_file() {
        return Err(format!("{shown} is no regular file"));
    }
    // Opened once here, so that a file that cannot be read is found before anything is written.
    fs::File::open(path).map_err(|error| format!("{shown}: {error}"))?;
    let content = Content::Slice { path: PathBuf::from(path).into(), offset: 0, length: metadata.len() };
    Ok((content, metadata.permissions().mode() & 0o100 != 0))
}

/// The first files of a tree by size, for the message that a slot is too small.
pub fn largest(tree: &Tree, count: usize) -> Vec<(String, u64)> {
    let mut sizes: BTreeSet<(u64, &[u8])> = BTreeSet::new();
    for (path, entry) in &tree.entries {
        if let Kind::File(content) = &entry.kind {
            sizes.insert((content.len(), path));
            if sizes.len() > count {
                sizes.pop_first();
            }
        }
    }
    sizes.into_iter().rev().map(|(size, path)| (String::from_utf8_lossy(path).into_owned(), size)).collect()
}
