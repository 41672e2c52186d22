//! Kernel modules: finit_module(2), and the dependencies of modules.dep(5).

use nix::kmod::{ModuleInitFlags, finit_module};
use nix::sys::utsname::uname;
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

/// Inserts the module in the file at `path`.
///
/// # Errors
/// [`ModuleError::Open`], [`ModuleError::Refused`].
pub fn insert(path: &Path) -> Result<Inserted, ModuleError> {
    let file = File::open(path).map_err(|cause| ModuleError::Open { path: path.into(), cause })?;
    match finit_module(file, c"", ModuleInitFlags::empty()) {
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
    let mut inserted = Inserted::Unchanged;
    for module in order {
        inserted = insert(&folder.join(module))?;
    }
    Ok(inserted)
}

/// Paths to insert for `name`, in order, from the text of a modules.dep(5). It lists a module's
/// dependencies in the reverse of the order in which they are needed.
fn load_order<'a>(modules_dep: &'a str, name: &str) -> Option<Vec<&'a str>> {
    let same = |path: &str| {
        let file = path.rsplit('/').next().unwrap_or(path);
        file.split('.').next().is_some_and(|stem| stem.replace('-', "_") == name.replace('-', "_"))
    };
    let (module, needs) =
        modules_dep.lines().filter_map(|line| line.split_once(':')).find(|(path, _)| same(path))?;
    Some(needs.split_whitespace().rev().chain([module]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

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
