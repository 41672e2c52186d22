//! Preset files: which units are enabled when nobody says so (systemd.preset(5)).

use super::config::Install;
use super::install::{self, Change, InstallError};
use super::load::Loader;
use super::{LoadState, UnitName, condition::glob};
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// What a preset says about a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// `enable`; of a template with the instances to enable.
    Enable(Vec<String>),
    /// `disable`.
    Disable,
    /// `ignore`.
    Ignore,
}

/// The rules of all preset files, the one that wins first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Presets {
    rules: Vec<(String, Verdict)>,
    /// Lines that mean nothing: path, line from 1, text.
    pub malformed: Vec<(PathBuf, usize, String)>,
}

/// The largest preset file read.
const MAX_FILE_BYTES: u64 = 1 << 20;

impl Presets {
    /// Reads `*.preset` in the folders, of which the first wins for files of one name; files apply
    /// in the order of their names.
    pub fn read(folders: &[PathBuf]) -> Self {
        let mut files: BTreeMap<String, PathBuf> = BTreeMap::new();
        for folder in folders {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                if name.rsplit_once('.').is_some_and(|(_, kind)| kind == "preset") {
                    files.entry(name).or_insert_with(|| entry.path());
                }
            }
        }
        let mut found = Self::default();
        for path in files.into_values() {
            let mut text = String::new();
            let file =
                fs::File::open(&path).ok().filter(|file| file.metadata().is_ok_and(|meta| meta.is_file()));
            if let Some(file) = file
                && file.take(MAX_FILE_BYTES).read_to_string(&mut text).is_ok()
            {
                found.add(&path, &text);
            }
        }
        found
    }

    /// The folders of the appliance.
    pub fn system() -> Self {
        Self::read(&["/etc", "/run", "/usr/lib"].map(|base| Path::new(base).join("systemd/system-preset")))
    }

    /// Adds the rules of a file behind those that are there.
    pub fn add(&mut self, path: &Path, text: &str) {
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            let mut words = line.split_whitespace();
            let (verb, pattern) = (words.next().unwrap_or(""), words.next());
            let instances: Vec<String> = words.map(str::to_owned).collect();
            let verdict = match verb {
                "enable" => Some(Verdict::Enable(instances)),
                "disable" if instances.is_empty() => Some(Verdict::Disable),
                "ignore" if instances.is_empty() => Some(Verdict::Ignore),
                _ => None,
            };
            match pattern.zip(verdict) {
                Some((pattern, verdict)) => self.rules.push((pattern.to_owned(), verdict)),
                None => self.malformed.push((path.to_owned(), index + 1, line.to_owned())),
            }
        }
    }

    /// The verdict on a unit: of the first rule that fits, else to enable it.
    pub fn of(&self, name: &UnitName) -> Verdict {
        let fits = |pattern: &str| glob(pattern.as_bytes(), name.as_str().as_bytes());
        let rule = self.rules.iter().find(|(pattern, verdict)| {
            let template = name.template();
            match (verdict, template) {
                // `enable getty@.service tty1` speaks of getty@tty1.service too.
                (Verdict::Enable(instances), Some(template)) if !instances.is_empty() => {
                    glob(pattern.as_bytes(), template.as_str().as_bytes())
                        && instances.iter().any(|one| Some(one.as_str()) == name.instance())
                }
                _ => fits(pattern),
            }
        });
        rule.map_or(Verdict::Enable(Vec::new()), |(_, verdict)| verdict.clone())
    }
}

/// Enables or disables a unit as the presets say (`systemctl preset`), with links below `folder`.
///
/// # Errors
/// See [`InstallError`]; links made or removed before the error stay so.
pub fn apply(
    loader: &Loader,
    presets: &Presets,
    name: &UnitName,
    folder: &Path,
) -> Result<Vec<Change>, InstallError> {
    match presets.of(name) {
        Verdict::Ignore => Ok(Vec::new()),
        Verdict::Disable => install::disable(loader, name, folder),
        Verdict::Enable(instances) if name.is_template() && !instances.is_empty() => {
            let mut changes = Vec::new();
            for instance in instances {
                let unit = name
                    .instantiate(&instance)
                    .map_err(|error| InstallError::Name { unit: name.clone(), error })?;
                changes.extend(install::enable(loader, &unit, folder)?);
            }
            Ok(changes)
        }
        Verdict::Enable(_) => install::enable(loader, name, folder),
    }
}

/// The units that enabling has an effect on (`systemctl preset-all`).
pub fn installable(loader: &Loader) -> Vec<UnitName> {
    let has_install = |name: &UnitName| {
        let loaded = loader.load(name);
        let install = &loaded.unit.install;
        let bare = name.is_template() && install.default_instance.is_none();
        loaded.alias.is_none()
            && loaded.unit.load_state == LoadState::Loaded
            && *install != Install::default()
            && !bare
    };
    loader.names().into_iter().filter(has_install).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_that_fits_decides() {
        let mut presets = Presets::default();
        presets.add(
            Path::new("x"),
            "# comment\nenable ssh.*\ndisable ssh*\nenable getty@.service tty1 tty2\nignore odd?.service\n\
             frob x\ndisable a b\ndisable *.timer\n",
        );
        let of = |name: &str| presets.of(&UnitName::parse(name).unwrap());
        assert_eq!(of("ssh.service"), Verdict::Enable(vec![]));
        assert_eq!(of("sshd.service"), Verdict::Disable);
        assert_eq!(of("getty@.service"), Verdict::Enable(vec!["tty1".into(), "tty2".into()]));
        assert_eq!(of("getty@tty2.service"), Verdict::Enable(vec!["tty1".into(), "tty2".into()]));
        assert_eq!(of("odd1.service"), Verdict::Ignore);
        assert_eq!(of("x.timer"), Verdict::Disable);
        assert_eq!(of("other.service"), Verdict::Enable(vec![]));
        assert_eq!(presets.malformed.len(), 2);
    }
}
