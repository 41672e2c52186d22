//! `systemctl set-property`, `get-default`, `set-default`: what changes files besides `enable` and its kin.

use super::systemctl::Failure;
use crate::unit::load::{Loader, apply_text};
use crate::unit::{Kind, LoadState, Unit, UnitName};
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// The text of a drop-in that makes the assignments, checked against what the unit takes.
pub(super) fn drop_in(loader: &Loader, name: &UnitName, assignments: &[String]) -> Result<String, Failure> {
    let section = match name.kind() {
        Kind::Service => "Service",
        _ => return Err(Failure::Refused(format!("{name}: properties can be set of services"))),
    };
    let mut unit_lines = String::new();
    let mut lines = format!("[{section}]\n");
    for assignment in assignments {
        let Some((key, value)) = assignment.split_once('=') else {
            return Err(Failure::Usage(format!("`{assignment}` is not KEY=VALUE")));
        };
        if value.contains('\n') || key.contains(['\n', '[', '#', ';']) {
            return Err(Failure::Usage(format!("`{assignment}` is more than a line")));
        }
        // Writing into a string does not fail.
        if matches!(key, "Description" | "Documentation") {
            let _ = writeln!(unit_lines, "{key}={value}");
        } else {
            let _ = writeln!(lines, "{key}={value}");
        }
    }
    let text = if unit_lines.is_empty() { lines } else { format!("[Unit]\n{unit_lines}{lines}") };
    let mut scratch = Unit::new(name.clone(), LoadState::Loaded);
    let problems = apply_text(&mut scratch, Path::new("set-property"), text.as_bytes(), &loader.facts);
    match problems.first() {
        Some(problem) => Err(Failure::Refused(problem.fault.to_string())),
        None => Ok(text),
    }
}

/// Writes it below `base` as `UNIT.d/50-KEY.conf`, whole or not at all; gives its path.
pub(super) fn write_drop_in(base: &Path, name: &UnitName, key: &str, text: &str) -> io::Result<PathBuf> {
    let folder = base.join(format!("{name}.d"));
    fs::create_dir_all(&folder)?;
    let path = folder.join(format!("50-{key}.conf"));
    let new = folder.join(format!(".50-{key}.new"));
    fs::write(&new, format!("# Made by `systemctl set-property`.\n{text}"))?;
    fs::rename(&new, &path)?;
    Ok(path)
}

/// What default.target stands for.
pub(super) fn default_target(loader: &Loader) -> Result<UnitName, Failure> {
    let name = UnitName::parse("default.target")?;
    let loaded = loader.load(&name);
    match loaded.unit.load_state {
        LoadState::NotFound => Err(Failure::Refused("there is no default.target".into())),
        _ => Ok(loaded.unit.name),
    }
}

/// Makes default.target below `base` a link to another target.
pub(super) fn set_default_target(
    loader: &Loader,
    base: &Path,
    wanted: &UnitName,
) -> Result<PathBuf, Failure> {
    if wanted.kind() != Kind::Target {
        return Err(Failure::Usage(format!("{wanted} is no target")));
    }
    let loaded = loader.load(wanted);
    let Some(file) = loaded.unit.fragment.filter(|_| loaded.unit.load_state == LoadState::Loaded) else {
        return Err(Failure::Refused(format!("there is no unit file of {wanted}")));
    };
    fs::create_dir_all(base)?;
    let (link, new) = (base.join("default.target"), base.join(".default.target.new"));
    let _ = fs::remove_file(&new);
    symlink(file, &new)?;
    fs::rename(&new, &link)?;
    Ok(link)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unit::Facts;

    fn loader(folder: &Path) -> Loader {
        Loader::new(vec![folder.to_owned()], Facts::default())
    }

    #[test]
    fn properties_become_a_drop_in_that_the_unit_takes() {
        let folder = tempfile::tempdir().unwrap();
        let loader = loader(folder.path());
        let name = UnitName::parse("a.service").unwrap();
        let words =
            ["MemoryMax=1G".to_owned(), "Description=New words".to_owned(), "CPUQuota=20%".to_owned()];
        let text = drop_in(&loader, &name, &words).unwrap();
        assert_eq!(text, "[Unit]\nDescription=New words\n[Service]\nMemoryMax=1G\nCPUQuota=20%\n");
        let path = write_drop_in(folder.path(), &name, "MemoryMax", &text).unwrap();
        assert_eq!(path, folder.path().join("a.service.d/50-MemoryMax.conf"));
        fs::write(folder.path().join("a.service"), "[Service]\nExecStart=/bin/true\n").unwrap();
        let unit = loader.load(&name).unit;
        assert_eq!((unit.description.as_str(), unit.problems.len()), ("New words", 0));
        for bad in ["MemoryMax=lots", "Memorymax=1", "MemoryMax", "A=b\nc=d"] {
            assert!(drop_in(&loader, &name, &[bad.to_owned()]).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_default_target_is_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let loader = loader(folder.path());
        for name in ["multi-user.target", "rescue.target", "x.service"] {
            fs::write(folder.path().join(name), "[Unit]\nDescription=x\n").unwrap();
        }
        assert!(default_target(&loader).is_err());
        let name = |text: &str| UnitName::parse(text).unwrap();
        set_default_target(&loader, folder.path(), &name("multi-user.target")).unwrap();
        assert_eq!(default_target(&loader).unwrap(), name("multi-user.target"));
        set_default_target(&loader, folder.path(), &name("rescue.target")).unwrap();
        assert_eq!(default_target(&loader).unwrap(), name("rescue.target"));
        assert!(set_default_target(&loader, folder.path(), &name("gone.target")).is_err());
        assert!(set_default_target(&loader, folder.path(), &name("x.service")).is_err());
    }
}
