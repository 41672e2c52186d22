//! The links of `[Install]`: enable, disable, mask, unmask (systemctl(1), systemd.unit(5)).

use super::load::Loader;
use super::name::{NameError, UnitName};
use super::specifier::{UnknownSpecifier, expand};
use super::{LoadState, Unit};
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// What was done to one link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A link was made.
    Created {
        /// The link.
        link: PathBuf,
        /// What it leads to.
        target: PathBuf,
    },
    /// A link was removed.
    Removed(PathBuf),
    /// The link was there already.
    Unchanged(PathBuf),
    /// The unit has no `[Install]` section to act on.
    NoInstall(UnitName),
}

/// Why links could not be made.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// No such unit file.
    #[error("unit file {0} does not exist")]
    NotFound(UnitName),
    /// It is masked.
    #[error("unit file {0} is masked")]
    Masked(UnitName),
    /// A template without `DefaultInstance=` was to be enabled.
    #[error("{0} is a template and names no DefaultInstance=")]
    Template(UnitName),
    /// `[Install]` names something that is no unit.
    #[error("[Install] of {unit}: {error}")]
    Name {
        /// The unit.
        unit: UnitName,
        /// Why.
        error: NameError,
    },
    /// `[Install]` has a specifier that is not known.
    #[error("[Install] of {unit}: {error}")]
    Specifier {
        /// The unit.
        unit: UnitName,
        /// Why.
        error: UnknownSpecifier,
    },
    /// A file stands where the link belongs.
    #[error("{0} is a file, not a link")]
    InTheWay(PathBuf),
    /// The system's error.
    #[error("{path}: {error}")]
    Io {
        /// The path.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// The links that enabling `unit` makes, as (link, target) relative to nothing: a plan.
///
/// # Errors
/// Bad names, specifiers or a template without an instance.
pub fn plan(unit: &Unit, file: &Path, folder: &Path) -> Result<Vec<(PathBuf, PathBuf)>, InstallError> {
    let named = |text: &str, loader_facts: &super::Facts| -> Result<UnitName, InstallError> {
        let text = expand(text, &unit.name, loader_facts)
            .map_err(|error| InstallError::Specifier { unit: unit.name.clone(), error })?;
        UnitName::parse(&text).map_err(|error| InstallError::Name { unit: unit.name.clone(), error })
    };
    let facts = super::Facts::default();
    let name = match (&unit.install.default_instance, unit.name.is_template()) {
        (Some(instance), true) => unit
            .name
            .instantiate(instance)
            .map_err(|error| InstallError::Name { unit: unit.name.clone(), error })?,
        (None, true) if !unit.install.wanted_by.is_empty() || !unit.install.required_by.is_empty() => {
            return Err(InstallError::Template(unit.name.clone()));
        }
        _ => unit.name.clone(),
    };
    let mut links = Vec::new();
    let folders = [
        (&unit.install.wanted_by, "wants"),
        (&unit.install.required_by, "requires"),
        (&unit.install.upheld_by, "upholds"),
    ];
    for (list, suffix) in folders {
        for wanting in list {
            let wanting = named(wanting, &facts)?;
            links.push((folder.join(format!("{wanting}.{suffix}")).join(name.as_str()), file.to_owned()));
        }
    }
    for alias in &unit.install.alias {
        links.push((folder.join(named(alias, &facts)?.as_str()), file.to_owned()));
    }
    Ok(links)
}

/// Makes the links of a unit and of those in its `Also=` below `folder` (/etc/systemd/system, or
/// /run/systemd/system).
///
/// # Errors
/// See [`InstallError`]; links made before the error stay.
pub fn enable(loader: &Loader, name: &UnitName, folder: &Path) -> Result<Vec<Change>, InstallError> {
    let mut changes = Vec::new();
    for (unit, file) in with_also(loader, name)? {
        let links = plan(&unit, &file, folder)?;
        if links.is_empty() && unit.name == *name && unit.install.also.is_empty() {
            changes.push(Change::NoInstall(name.clone()));
        }
        for (link, target) in links {
            changes.push(make_link(link, target)?);
        }
    }
    Ok(changes)
}

/// Removes every link to the unit, and to those in its `Also=`, in folders of `folder`, and its aliases there.
///
/// # Errors
/// See [`InstallError`]; links removed before the error are gone.
pub fn disable(loader: &Loader, name: &UnitName, folder: &Path) -> Result<Vec<Change>, InstallError> {
    let mut changes = Vec::new();
    for (unit, _) in with_also(loader, name)? {
        let names_it = |path: &Path| {
            let base =
                path.file_name().and_then(|base| base.to_str()).and_then(|base| UnitName::parse(base).ok());
            base.is_some_and(|base| base == unit.name || base.template().as_ref() == Some(&unit.name))
        };
        let mut links = Vec::new();
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let text = path.to_string_lossy();
            if is_folder && [".wants", ".requires", ".upholds"].iter().any(|suffix| text.ends_with(suffix)) {
                let inner = fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path());
                links.extend(inner.filter(|path| names_it(path)));
            } else if path.is_symlink()
                && !names_it(&path)
                && fs::read_link(&path).is_ok_and(|to| names_it(&to))
            {
                links.push(path);
            }
        }
        links.sort();
        for link in links {
            fs::remove_file(&link).map_err(|error| InstallError::Io { path: link.clone(), error })?;
            changes.push(Change::Removed(link));
        }
    }
    Ok(changes)
}

/// Links the name to /dev/null below `folder`.
///
/// # Errors
/// A unit file of that name stands there.
pub fn mask(name: &UnitName, folder: &Path) -> Result<Change, InstallError> {
    make_link(folder.join(name.as_str()), PathBuf::from("/dev/null"))
}

/// Removes the link to /dev/null.
///
/// # Errors
/// The link cannot be removed.
pub fn unmask(name: &UnitName, folder: &Path) -> Result<Change, InstallError> {
    let path = folder.join(name.as_str());
    if fs::read_link(&path).is_ok_and(|target| target == Path::new("/dev/null")) {
        fs::remove_file(&path).map_err(|error| InstallError::Io { path: path.clone(), error })?;
        return Ok(Change::Removed(path));
    }
    Ok(Change::Unchanged(path))
}

/// `enabled`, `disabled`, `static`, `masked`, `alias` or `indirect`, as `systemctl is-enabled` says it.
pub fn state(loader: &Loader, unit: &Unit) -> &'static str {
    match unit.load_state {
        LoadState::Masked => return "masked",
        LoadState::NotFound => return "not-found",
        _ => {}
    }
    let file = unit.fragment.clone().unwrap_or_default();
    let mut enabled = false;
    for folder in &loader.folders {
        enabled |= plan(unit, &file, folder)
            .is_ok_and(|links| links.iter().any(|(link, _)| link.symlink_metadata().is_ok()));
    }
    match enabled {
        true => "enabled",
        false if unit.install == super::config::Install::default() => "static",
        false if unit.install.wanted_by.is_empty() && unit.install.alias.is_empty() => "indirect",
        false => "disabled",
    }
}

/// The unit and those of its `Also=`, transitively, with their files.
fn with_also(loader: &Loader, name: &UnitName) -> Result<Vec<(Unit, PathBuf)>, InstallError> {
    let mut found: Vec<(Unit, PathBuf)> = Vec::new();
    let mut wanted = vec![name.clone()];
    while let Some(name) = wanted.pop() {
        if found.iter().any(|(unit, _)| unit.name == name) {
            continue;
        }
        let unit = loader.load(&name).unit;
        match unit.load_state {
            LoadState::Masked => return Err(InstallError::Masked(name)),
            LoadState::NotFound => return Err(InstallError::NotFound(name)),
            _ => {}
        }
        for also in unit.install.also.iter().rev() {
            let also = UnitName::parse(also)
                .map_err(|error| InstallError::Name { unit: unit.name.clone(), error })?;
            wanted.push(also);
        }
        let file = unit.fragment.clone().ok_or(InstallError::NotFound(name))?;
        found.push((unit, file));
    }
    Ok(found)
}

fn make_link(link: PathBuf, target: PathBuf) -> Result<Change, InstallError> {
    match fs::read_link(&link) {
        Ok(old) if old == target => return Ok(Change::Unchanged(link)),
        Ok(_) => fs::remove_file(&link).map_err(|error| InstallError::Io { path: link.clone(), error })?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(_) => return Err(InstallError::InTheWay(link)),
    }
    if let Some(parent) = link.parent() {
        fs::create_dir_all(parent).map_err(|error| InstallError::Io { path: parent.to_owned(), error })?;
    }
    symlink(&target, &link).map_err(|error| InstallError::Io { path: link.clone(), error })?;
    Ok(Change::Created { link, target })
}
