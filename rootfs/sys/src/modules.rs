//! Kernel modules: finit_module(2), and the dependencies of modules.dep(5).

use nix::kmod::{ModuleInitFlags, finit_module};
use nix::sys::utsname::uname;
use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// What came of inserting a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserted {
    /// It is in the kernel now.
    Created,
    /// It was there already (`EEXIST`).
    Unchanged,
    /// The machine has no such hardware (`ENODEV`).
    NoDevice,
}

/// A module that could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum ModuleError {
    /// The file cannot be opened.
    #[error("cannot open module {}: {cause}", path.display())]
    Open {
        /// The module.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// The kernel refused it.
    #[error("kernel refused module {}: {cause}", path.display())]
    Refused {
        /// The module.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// uname(2) failed.
    #[error("cannot ask for the kernel's release: {0}")]
    Release(io::Error),
    /// The list of dependencies cannot be read.
    #[error("cannot read {}: {cause}", path.display())]
    Dependencies {
        /// modules.dep.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// The image has no such module.
    #[error("no module {name} in {}", path.display())]
    Unknown {
        /// Its name.
        name: String,
        /// modules.dep.
        path: PathBuf,
    },
}

/// Inserts the module in the file at `path`, with `options` as of its parameters.
///
/// # Errors
/// [`ModuleError::Open`], [`ModuleError::Refused`].
pub fn insert(path: &Path, options: &CStr) -> Result<Inserted, ModuleError> {
    let file = File::open(path).map_err(|cause| ModuleError::Open { path: path.into(), cause })?;
    match finit_module(file, options, ModuleInitFlags::empty()) {
        Ok(()) => Ok(Inserted::Created),
        Err(nix::Error::EEXIST) => Ok(Inserted::Unchanged),
        Err(nix::Error::ENODEV) => Ok(Inserted::NoDevice),
        Err(cause) => Err(ModuleError::Refused { path: path.into(), cause: cause.into() }),
    }
}

/// Loads module `name` and, before it, all it depends on, from `/usr/lib/modules/$(uname -r)`.
/// As for modprobe(8), `-` and `_` are the same. A name that the kernel says is live or built in
/// (a folder in /sys/module) is `Unchanged`.
///
/// # Errors
/// See [`ModuleError`].
pub fn load(name: &str) -> Result<Inserted, ModuleError> {
    if Path::new("/sys/module").join(name.replace('-', "_")).exists() {
        return Ok(Inserted::Unchanged);
    }
    let running = uname().map_err(|cause| ModuleError::Release(cause.into()))?;
    let folder = Path::new("/usr/lib/modules").join(running.release());
    let path = folder.join("modules.dep");
    let text =
        fs::read_to_string(&path).map_err(|cause| ModuleError::Dependencies { path: path.clone(), cause })?;
    let order =
        load_order(&text, name).ok_or_else(|| ModuleError::Unknown { name: name.to_owned(), path })?;
    let settings = settings();
    let mut inserted = Inserted::Unchanged;
    for module in order {
        let options = CString::new(options(&settings, stem(module))).unwrap_or_default();
        inserted = insert(&folder.join(module), &options)?;
    }
    Ok(inserted)
}

/// The texts of modprobe.d(5), in the order of their files' names; of two with one name /etc's counts, then
/// /run's. What cannot be read is left out.
fn settings() -> Vec<String> {
    let mut files = BTreeMap::new();
    for folder in ["/usr/lib/modprobe.d", "/run/modprobe.d", "/etc/modprobe.d"] {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.path().extension().is_some_and(|extension| extension == "conf") {
                files.insert(entry.file_name(), entry.path());
            }
        }
    }
    files.values().filter_map(|path| fs::read_to_string(path).ok()).collect()
}

/// The parameters that `options` lines give a module, all of them. Other commands of modprobe.d(5) are not for
/// modules that are asked for by name.
fn options(settings: &[String], name: &str) -> String {
    let mut found = Vec::new();
    for text in settings {
        let joined = text.replace("\\\n", " ");
        for line in joined.lines() {
            let mut words = line.split_whitespace();
            if words.next() == Some("options") && words.next().is_some_and(|module| same(module, name)) {
                found.extend(words.map(str::to_owned));
            }
        }
    }
    found.join(" ")
}

/// The name of the module in a file, as `dm-mod` of `kernel/drivers/md/dm-mod.ko.xz`.
fn stem(path: &str) -> &str {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split('.').next().unwrap_or(file)
}

fn same(name: &str, other: &str) -> bool {
    name.replace('-', "_") == other.replace('-', "_")
}

/// Paths to insert for `name`, in order, from the text of a modules.dep(5). It lists a module's
/// dependencies in the reverse of the order in which they are needed.
fn load_order<'a>(modules_dep: &'a str, name: &str) -> Option<Vec<&'a str>> {
    let (module, needs) = modules_dep
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(path, _)| same(stem(path), name))?;
    Some(needs.split_whitespace().rev().chain([module]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_those_of_all_lines() {
        let texts = [
            "# bonding has one\noptions bonding max_bonds=0\nblacklist bonding\n".to_owned(),
            "options dm-mod a=1 \\\n  b=2\noptions dm_mod c\noptions other x=1\noptions\n".to_owned(),
        ];
        assert_eq!(options(&texts, "bonding"), "max_bonds=0");
        assert_eq!(options(&texts, "dm_mod"), "a=1 b=2 c");
        assert_eq!(options(&texts, "none"), "");
    }

    const MODULES_DEP: &str = "\
kernel/drivers/virtio/virtio_ring.ko:
kernel/drivers/virtio/virtio_pci.ko: kernel/drivers/virtio/virtio.ko kernel/drivers/virtio/virtio_ring.ko
kernel/drivers/md/dm-verity.ko: kernel/drivers/md/dm-bufio.ko kernel/drivers/md/dm-mod.ko
";

    #[test]
    fn dependencies_come_first_the_deepest_before_all() {
        assert_eq!(
            load_order(MODULES_DEP, "virtio-pci").unwrap(),
            [
                "kernel/drivers/virtio/virtio_ring.ko",
                "kernel/drivers/virtio/virtio.ko",
                "kernel/drivers/virtio/virtio_pci.ko"
            ]
        );
        assert_eq!(load_order(MODULES_DEP, "dm_verity").unwrap().len(), 3);
        assert_eq!(load_order(MODULES_DEP, "virtio"), None);
    }
}
