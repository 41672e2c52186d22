//! What a spec pins: its packages with all that they depend on, and its files.

use super::{BuildError, Context, folder_of, lock_path, read_lock, read_spec};
use crate::inputs::cache::Cache;
use crate::inputs::lock::{Lock, LockedPackage};
use crate::inputs::{InputError, Store, pin_file, pin_package};
use crate::progress::Progress;
use crate::spec::{KernelInput, LoaderInput, PackageInput, Spec};
use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Names of the packages that a spec asks for; the flag tells a kernel.
fn packages_of(spec: &Spec) -> BTreeSet<(String, bool)> {
    let mut wanted = BTreeSet::new();
    if let Some(boot) = &spec.boot {
        if let KernelInput::Package(package) = &boot.kernel {
            wanted.insert((package.value.clone(), true));
        }
        if let LoaderInput::Package(package) = &boot.loader.input {
            wanted.insert((package.value.clone(), false));
        }
    }
    for package in &spec.packages {
        if let PackageInput::Name(name) = &package.input {
            wanted.insert((name.clone(), false));
        }
    }
    wanted
}

/// Paths of the pinned files that a spec asks for.
pub(super) fn pinned_files_of(spec: &Spec) -> BTreeSet<PathBuf> {
    let mut wanted = BTreeSet::new();
    if let Some(boot) = &spec.boot {
        if let KernelInput::Paths { image, .. } = &boot.kernel {
            wanted.insert(image.value.clone());
        }
        if let LoaderInput::Paths { loader, stub } = &boot.loader.input {
            wanted.extend([loader.value.clone(), stub.value.clone()]);
        }
    }
    wanted.extend(spec.packages.iter().filter_map(|package| match &package.input {
        PackageInput::Path(path) => Some(path.clone()),
        PackageInput::Name(_) => None,
    }));
    wanted
}

/// Names of the locked packages that follow those of a spec's root.
pub(super) fn dependencies_of(spec: &Spec, lock: &Lock) -> BTreeSet<String> {
    let Some(dependencies) = &spec.dependencies else { return BTreeSet::new() };
    let roots: Vec<&str> = spec
        .packages
        .iter()
        .filter_map(|package| match &package.input {
            PackageInput::Name(name) => Some(name.as_str()),
            PackageInput::Path(_) => None,
        })
        .collect();
    lock.dependencies(&roots, &dependencies.without)
}

/// Pins the newest of every package that a spec asks for, and of what those of the root depend on.
fn pin_all(spec: &Spec, cache: &Cache, progress: &Progress) -> Result<Lock, InputError> {
    let mut lock = Lock::default();
    let pin = |name: &str, kernel: bool| -> Result<LockedPackage, InputError> {
        let stage = progress.stage("fetch", None);
        stage.note(name);
        let pin = pin_package(cache, name, kernel)?;
        Ok(if spec.dependencies.is_some() { pin } else { LockedPackage { depends: Vec::new(), ..pin } })
    };
    for (name, kernel) in packages_of(spec) {
        lock.packages.push(pin(&name, kernel)?);
    }
    // Each pin may bring names that are not pinned yet.
    loop {
        let wanted = dependencies_of(spec, &lock);
        let Some(next) = wanted.iter().find(|name| lock.package(name).is_none()) else { return Ok(lock) };
        let pinned = pin(next, false).map_err(|source| {
            let dependents = lock.packages.iter().filter(|package| package.depends.contains(next));
            let by = dependents.map(|package| package.name.clone()).collect::<Vec<_>>().join(", ");
            InputError::Dependency { by, source: Box::new(source) }
        })?;
        lock.packages.push(pinned);
    }
}

/// Pins the newest inputs of a spec and writes its lock file; gives the file and the pins.
///
/// # Errors
/// The spec has problems, an input cannot be had, or the file cannot be written.
pub fn lock(file: &Path, cache: &Cache, progress: &Progress) -> Result<(PathBuf, Lock), BuildError> {
    let spec = read_spec(file)?;
    let mut lock = pin_all(&spec, cache, progress)?;
    for path in pinned_files_of(&spec) {
        lock.files.push(pin_file(folder_of(file), &path)?);
    }
    let path = lock_path(file);
    let written = tempfile::NamedTempFile::new_in(if folder_of(file).as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder_of(file)
    })
    .and_then(|mut temporary| {
        use std::os::unix::fs::PermissionsExt as _;
        temporary.write_all(lock.text().as_bytes())?;
        temporary.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
        temporary.as_file().sync_all()?;
        temporary.persist(&path).map_err(|error| error.error)
    });
    written.map_err(|source| BuildError::File { path: path.clone(), source })?;
    Ok((path, lock))
}

/// Brings every pinned package of a spec, and of the specs that are laid into it, into the cache; gives how
/// many there are.
///
/// # Errors
/// As [`super::build`]'s for its inputs.
pub fn fetch(file: &Path, context: &Context<'_>) -> Result<usize, BuildError> {
    let spec = read_spec(file)?;
    let lock = read_lock(file)?;
    let store =
        Store { cache: context.cache, lock: &lock, folder: folder_of(file), offline: context.offline };
    let mut wanted = dependencies_of(&spec, &lock);
    wanted.extend(packages_of(&spec).into_iter().map(|(name, _)| name));
    for name in &wanted {
        let stage = context.progress.stage("fetch", None);
        stage.note(name);
        store.package(name)?;
    }
    let mut count = wanted.len();
    for image in &spec.images {
        // One that is a machine's is refused when the image is built.
        count += fetch(&image.spec, context)?;
    }
    Ok(count)
}
