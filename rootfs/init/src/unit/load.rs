//! From a name to a [`Unit`]: the search path, drop-ins, templates, aliases, masks
//! (systemd.unit(5), "Unit File Load Path" and "Description").

use super::config::{BadSetting, LoadState, Relation, Unit};
use super::name::UnitName;
use super::specifier::Facts;
use super::{Fault, Kind, Problem, directive, far};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The largest unit file or drop-in read.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// Reads units from folders.
#[derive(Clone, Debug)]
pub struct Loader {
    /// The folders, the one that wins first.
    pub folders: Vec<PathBuf>,
    /// What specifiers expand to.
    pub facts: Facts,
    /// What is in the folders, when that is to be known beforehand.
    index: Option<Index>,
}

/// The names in each folder of the search path. Most of what a unit may have beside its file is not
/// there: asking the kernel for each of it takes longer than reading what is.
type Index = Vec<HashSet<String>>;

/// A unit, and the other names under which it was found.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The unit, under its own name.
    pub unit: Unit,
    /// The name that was asked for, if it is a link to another unit's file.
    pub alias: Option<UnitName>,
}

/// What the search path holds for a name.
enum Found {
    Nothing,
    Masked(PathBuf),
    Fragment(PathBuf),
    Alias(UnitName),
}

impl Loader {
    /// Reads units from these folders.
    pub fn new(folders: Vec<PathBuf>, facts: Facts) -> Self {
        Self { folders, facts, index: None }
    }

    /// The same loader with the folders as they are now: for loading many units at once.
    #[must_use]
    pub fn indexed(&self) -> Self {
        let index = self.folders.iter().map(|folder| entries(folder).collect()).collect();
        Self { index: Some(index), ..self.clone() }
    }

    /// The folders of the search path that may have an entry of that name, each with its path.
    fn with<'a>(&'a self, name: &'a str) -> impl Iterator<Item = PathBuf> + 'a {
        let known = |at: usize| self.index.as_ref().is_none_or(|index| index[at].contains(name));
        let folders = self.folders.iter().enumerate().filter(move |(at, _)| known(*at));
        folders.map(move |(_, folder)| folder.join(name))
    }

    /// The folders of the appliance: /etc, then /run, then /usr/lib.
    pub fn system(facts: Facts) -> Self {
        let folders = ["/etc", "/run", "/usr/lib"].map(|base| Path::new(base).join("systemd/system"));
        Self::new(folders.into(), facts)
    }

    /// Loads a unit. There is always one: what is wrong with it is in its load state.
    pub fn load(&self, name: &UnitName) -> Loaded {
        let mut own = name.clone();
        let mut found = self.find(&own);
        for _ in 0..8 {
            match found {
                Found::Alias(next) => {
                    own = next;
                    found = self.find(&own);
                }
                _ => break,
            }
        }
        let mut unit = Unit::new(own.clone(), LoadState::Loaded);
        match found {
            Found::Masked(path) => {
                unit.load_state = LoadState::Masked;
                unit.fragment = Some(path);
            }
            // These are what their name says, with or without a file.
            Found::Nothing | Found::Alias(_) if matches!(own.kind(), Kind::Slice | Kind::Device) => {
                unit.ignore_on_isolate = true;
                // These two are there as long as PID 1 is.
                unit.default_dependencies = !matches!(own.as_str(), "-.slice" | "system.slice");
            }
            Found::Nothing | Found::Alias(_) => unit.load_state = LoadState::NotFound,
            Found::Fragment(path) => self.read_into(&mut unit, &path),
        }
        if unit.load_state != LoadState::Masked {
            for path in self.drop_ins(&own, name) {
                self.read_into(&mut unit, &path);
                unit.drop_ins.push(path);
            }
            // A unit that exists only as drop-ins of a missing file is still missing; but what
            // hangs in the folders of a target is wanted all the same.
            for (suffix, relation) in
                [("wants", Relation::Wants), ("requires", Relation::Requires), ("upholds", Relation::Upholds)]
            {
                for wanted in self.linked(&own, name, suffix) {
                    unit.relate(relation, wanted);
                }
            }
        }
        unit.finish();
        let alias = (own != *name).then(|| name.clone());
        Loaded { unit, alias }
    }

    /// Every name that a file in the search path has, templates included, sorted.
    pub fn names(&self) -> BTreeSet<UnitName> {
        self.folders
            .iter()
            .flat_map(|folder| entries(folder))
            .filter_map(|name| UnitName::parse(&name).ok())
            .collect()
    }

    /// The file or link of a name as it stands in the folder that wins.
    pub fn file_of(&self, name: &UnitName) -> Option<PathBuf> {
        self.with(name.as_str()).find(|path| path.symlink_metadata().is_ok())
    }

    fn find(&self, name: &UnitName) -> Found {
        let template = name.template();
        for candidate in [Some(name), template.as_ref()].into_iter().flatten() {
            let Some(path) = self.file_of(candidate) else { continue };
            if is_mask(&path) {
                return Found::Masked(path);
            }
            if let Ok(target) = fs::read_link(&path) {
                let base = target.file_name().and_then(|base| base.to_str()).unwrap_or("");
                if let Ok(other) = UnitName::parse(base)
                    && other != *candidate
                    && other.kind() == name.kind()
                {
                    let instance = name.instance().filter(|instance| !instance.is_empty());
                    return match (other.is_template(), instance) {
                        // `a@x.service -> b@.service`: the instance goes along.
                        (true, Some(instance)) if other != name.template().unwrap_or(other.clone()) => {
                            other.instantiate(instance).map_or(Found::Nothing, Found::Alias)
                        }
                        (true, _) => Found::Fragment(path),
                        (false, _) => Found::Alias(other),
                    };
                }
            }
            return Found::Fragment(path);
        }
        Found::Nothing
    }

    /// Drop-in files in the order in which they apply: by file name; of equal names the folder
    /// that wins.
    fn drop_ins(&self, own: &UnitName, asked: &UnitName) -> Vec<PathBuf> {
        let mut found: BTreeMap<String, PathBuf> = BTreeMap::new();
        for stem in drop_in_stems(own, asked) {
            for folder in self.with(&format!("{stem}.d")) {
                for name in entries(&folder)
                    .filter(|name| name.rsplit_once('.').is_some_and(|(_, kind)| kind == "conf"))
                {
                    found.entry(name.clone()).or_insert_with(|| folder.join(name));
                }
            }
        }
        found.into_values().filter(|path| !is_mask(path)).collect()
    }

    /// The names in `NAME.wants/` or `NAME.requires/` over all folders.
    fn linked(&self, own: &UnitName, asked: &UnitName, suffix: &str) -> BTreeSet<UnitName> {
        let mut found = BTreeSet::new();
        for name in [Some(own.clone()), own.template(), Some(asked.clone())].into_iter().flatten() {
            for folder in self.with(&format!("{name}.{suffix}")) {
                for entry in entries(&folder) {
                    let Ok(entry) = UnitName::parse(&entry) else { continue };
                    // A template in there means the instance of the unit that wants it.
                    match own.instance() {
                        Some(instance) if entry.is_template() => found.extend(entry.instantiate(instance)),
                        _ if entry.is_template() => {}
                        _ => _ = found.insert(entry),
                    }
                }
            }
        }
        found
    }

    fn read_into(&self, unit: &mut Unit, path: &Path) {
        if unit.fragment.is_none() {
            unit.fragment = Some(path.to_owned());
        }
        let bytes = match near(path, read_bounded) {
            Ok(bytes) => bytes,
            Err(error) => {
                let error = BadSetting::Unreadable { path: path.to_owned(), error: error.to_string() };
                unit.load_state = LoadState::BadSetting(error);
                return;
            }
        };
        let problems = apply_text(unit, path, &bytes, &self.facts);
        unit.problems.extend(problems);
    }
}

/// Applies the text of one file to a unit and gives what is wrong in it, in the order of the file.
pub fn apply_text(unit: &mut Unit, path: &Path, bytes: &[u8], facts: &Facts) -> Vec<Problem> {
    let document = inifile::parse(bytes);
    let problem = |line, fault| Problem { path: path.to_owned(), line, fault };
    let mut problems: Vec<_> =
        document.malformed.into_iter().map(|(line, bad)| problem(line, Fault::Malformed(bad))).collect();
    let mut said = BTreeSet::new();
    for entry in &document.entries {
        let Err(fault) = directive::apply(unit, entry, facts) else { continue };
        if !matches!(fault, Fault::UnknownSection(_)) || said.insert(entry.section.clone()) {
            problems.push(problem(entry.line, fault));
        }
    }
    problems.sort_by_key(|problem| problem.line);
    problems
}

/// `foo-bar@x.service`: drop-ins of the type, of each dashed prefix, of the template, of the unit;
/// the most special first (systemd.unit(5), "Description").
fn drop_in_stems(own: &UnitName, asked: &UnitName) -> Vec<String> {
    let suffix = own.kind().suffix();
    let mut stems: Vec<String> = vec![own.as_str().to_owned()];
    if asked != own {
        stems.push(asked.as_str().to_owned());
    }
    stems.extend(own.template().map(|template| template.as_str().to_owned()));
    let prefix = own.prefix();
    let mut dashes: Vec<usize> = prefix.match_indices('-').map(|(at, _)| at + 1).collect();
    dashes.retain(|at| *at > 1 && *at < prefix.len());
    stems.extend(dashes.iter().rev().map(|at| format!("{}.{suffix}", &prefix[..*at])));
    stems.push(suffix.to_owned());
    stems
}

/// What lies in the search path itself is the machine's own; where a link in it leads may not be.
fn near<T: Send + 'static>(path: &Path, work: fn(&Path) -> io::Result<T>) -> io::Result<T> {
    if path.is_symlink() { far::within(path, work) } else { work(path) }
}

fn entries(folder: &Path) -> impl Iterator<Item = String> {
    let names = near(folder, |folder| {
        let entries = fs::read_dir(folder)?.flatten();
        Ok(entries.filter_map(|entry| entry.file_name().into_string().ok()).collect::<Vec<_>>())
    });
    names.unwrap_or_default().into_iter()
}

/// A link to /dev/null or an empty file.
fn is_mask(path: &Path) -> bool {
    fs::read_link(path).is_ok_and(|target| target == Path::new("/dev/null"))
        || near(path, Path::metadata).is_ok_and(|meta| meta.is_file() && meta.len() == 0)
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    // A FIFO in its place must not keep PID 1 waiting.
    let flags = nix::libc::O_NONBLOCK | nix::libc::O_NOCTTY;
    let file = fs::OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(io::Error::other("larger than 4 MiB"));
    }
    Ok(bytes)
}
