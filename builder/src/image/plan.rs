//! From a spec and its inputs to all that is needed to write the image, or a root alone. Reads files, writes none.

use super::fresh::Seen;
use super::ids::Ids;
use super::modules::{Modules, modules_alias, modules_dep};
use super::root::RootBuilder;
use crate::inputs::lock::{LockedFile, LockedPackage};
use crate::inputs::{InputError, Store};
use crate::progress::Progress;
use crate::spec::{Boot, ImageSource, KernelInput, LoaderInput, Package, PackageInput, Placed, Source, Spec};
use document::{Place, Problem, Problems};
use formats::tree::{Content, Entry, Kind, Tree};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why there is no plan.
#[derive(Debug)]
pub struct PlanError {
    /// All problems, in the spec's order.
    pub problems: Vec<Problem>,
    /// What to try, without repeats.
    pub hints: Vec<&'static str>,
}

/// An image, decided.
#[derive(Debug)]
pub struct Plan {
    /// The root.
    pub root: Tree,
    /// What starts it, when it is a machine's.
    pub boot: Option<BootPlan>,
    /// `/usr/lib/os-release`, also in the UKI.
    pub os_release: String,
    /// Packages that went in.
    pub packages: Vec<LockedPackage>,
    /// Pinned files that went in.
    pub files: Vec<LockedFile>,
    /// Every path of the host that was looked at.
    pub seen: Seen,
}

/// What starts a machine, decided.
#[derive(Debug)]
pub struct BootPlan {
    /// The initramfs.
    pub initramfs: Tree,
    /// The kernel's release, as `uname -r` says it.
    pub kernel_release: String,
    /// The kernel, a bzImage.
    pub kernel: Content,
    /// systemd-boot.
    pub loader: Content,
    /// systemd's stub.
    pub stub: Content,
    /// Command line words, without the root hash.
    pub command_line: Vec<String>,
    /// Attempts of the boot entry.
    pub tries: u32,
    /// Seconds that the menu is shown.
    pub timeout_s: u32,
}

/// Makes the plan of an image.
///
/// # Errors
/// Everything that is wrong with the spec in this world: absent files, inputs that are not
/// locked or differ, modules that the kernel does not have, entries that clash.
pub fn plan(
    spec: &Spec,
    store: &Store<'_>,
    programs: &[PathBuf],
    progress: &Progress,
) -> Result<Plan, PlanError> {
    let problems = Problems::default();
    let mut planner = Planner {
        spec,
        store,
        progress,
        problems: &problems,
        hints: Vec::new(),
        packages: Vec::new(),
        files: Vec::new(),
    };
    let made = planner.plan(programs);
    let (hints, packages, files) = (planner.hints, planner.packages, planner.files);
    match made {
        Some(plan) if problems.is_empty() => Ok(Plan { packages, files, ..plan }),
        _ => Err(PlanError { problems: problems.into_sorted(), hints }),
    }
}

struct Planner<'a> {
    spec: &'a Spec,
    store: &'a Store<'a>,
    progress: &'a Progress,
    problems: &'a Problems,
    hints: Vec<&'static str>,
    packages: Vec<LockedPackage>,
    files: Vec<LockedFile>,
}

type Entries = Vec<(Vec<u8>, Entry)>;

impl Planner<'_> {
    fn plan(&mut self, programs: &[PathBuf]) -> Option<Plan> {
        let spec = self.spec;
        let start = Place { line: 1, column: 1 };
        // All inputs are looked at before the first absence ends the plan: every problem is told at once.
        let boot = spec.boot.as_ref().map(|boot| (self.kernel(boot), self.loader(boot), boot));
        let mut root = RootBuilder::new(self.problems, programs, spec.epoch);
        self.packages(&mut root);

        let started = match boot {
            None => None,
            Some((kernel, loader, boot)) => {
                let (image, release, modules) = kernel?;
                self.root_modules(&mut root, &modules, &release, boot);
                let early = self.initramfs(programs, &modules, boot);
                Some((image, release, loader, early, boot))
            }
        };

        let os_release = os_release(spec);
        let entry = root.entry(Kind::File(Content::bytes(os_release.as_bytes())), 0o644);
        root.put(start, b"usr/lib/os-release".to_vec(), entry);
        for tree in &spec.trees {
            root.folder(tree);
        }
        root.own_entries(spec);
        root.merge_usr();
        root.accounts(start, &spec.groups, &spec.users);
        self.user_data(&mut root);
        let mut seen = std::mem::take(&mut root.seen);
        for image in &spec.images {
            seen = seen.joined(self.image(&mut root, programs, image));
        }

        let boot = match started {
            None => None,
            Some((kernel, kernel_release, loader, early, boot)) => {
                let mut command_line = spec.command_line.clone();
                command_line.push(format!("slipway.tries={}", boot.loader.tries));
                let (loader, stub) = loader?;
                seen = seen.joined(early.seen);
                Some(BootPlan {
                    initramfs: early.tree,
                    kernel_release,
                    kernel,
                    loader,
                    stub,
                    command_line,
                    tries: boot.loader.tries,
                    timeout_s: boot.loader.timeout_s,
                })
            }
        };
        Some(Plan { root: root.tree, boot, os_release, packages: Vec::new(), files: Vec::new(), seen })
    }

    /// The packages of the root: first what they depend on, then they in the spec's order.
    fn packages(&mut self, root: &mut RootBuilder<'_>) {
        let spec = self.spec;
        let everywhere = spec.dependencies.as_ref().map_or(&[][..], |dependencies| &dependencies.exclude);
        for name in super::pin::dependencies_of(spec, self.store.lock) {
            let place = Place { line: 1, column: 1 };
            let entries = self.package(place, &name).unwrap_or_default();
            let package =
                Package { place, input: PackageInput::Name(name), include: vec![], exclude: vec![] };
            root.package(&package, everywhere, entries);
        }
        for package in &spec.packages {
            let entries = match &package.input {
                PackageInput::Name(name) => self.package(package.place, name),
                PackageInput::Path(path) => self.package_file(package.place, path),
            };
            root.package(package, everywhere, entries.unwrap_or_default());
        }
    }

    fn root_modules(&mut self, root: &mut RootBuilder<'_>, modules: &Modules, release: &str, boot: &Boot) {
        let start = Place { line: 1, column: 1 };
        let root_modules = self.resolve(modules, &self.spec.root_modules, boot.kernel_place());
        let folder = format!("usr/lib/modules/{release}");
        for module in &root_modules {
            let entry = root.entry(Kind::File(module.content.clone()), 0o644);
            root.put(start, format!("{folder}/{}", module.path).into_bytes(), entry);
        }
        for (name, text) in
            [("modules.dep", modules_dep(&root_modules)), ("modules.alias", modules_alias(&root_modules))]
        {
            let entry = root.entry(Kind::File(Content::bytes(text.into_bytes())), 0o644);
            root.put(start, format!("{folder}/{name}").into_bytes(), entry);
        }
    }

    fn initramfs<'b>(&mut self, programs: &'b [PathBuf], modules: &Modules, boot: &Boot) -> RootBuilder<'b>
    where
        Self: 'b,
    {
        let start = Place { line: 1, column: 1 };
        let early_modules = self.resolve(modules, &self.spec.initramfs_modules, boot.kernel_place());
        let mut early = RootBuilder::new(self.problems, programs, 0);
        for folder in ["dev", "proc", "run", "sys", "sysroot"] {
            let entry = early.entry(Kind::Directory, 0o755);
            early.put(start, folder.into(), entry);
        }
        let mut list = String::new();
        for module in &early_modules {
            let path = format!("modules.d/{}.ko", module.name);
            list.extend(["/", &path, "\n"]);
            let entry = early.entry(Kind::File(module.content.clone()), 0o644);
            early.put(start, path.into_bytes(), entry);
        }
        let entry = early.entry(Kind::File(Content::bytes(list.into_bytes())), 0o644);
        early.put(start, b"modules".to_vec(), entry);
        if let Some((init, _)) = early.source(self.spec.init.place, &self.spec.init.value) {
            let entry = early.entry(Kind::File(init), 0o755);
            early.put(start, b"init".to_vec(), entry);
        }
        early
    }

    /// Lays the root of another spec into this one's; gives the paths that were looked at.
    fn image(&mut self, root: &mut RootBuilder<'_>, programs: &[PathBuf], image: &ImageSource) -> Seen {
        let seen = Seen::default();
        seen.add(&image.spec);
        seen.add(&super::lock_path(&image.spec));
        let told = |text: String| text.lines().for_each(|line| self.problems.add(image.place, line));
        let read = super::read_spec(&image.spec).and_then(|spec| Ok((spec, super::read_lock(&image.spec)?)));
        let (spec, lock) = match read {
            Ok(read) => read,
            Err(error) => {
                told(format!("image {}: {}", image.spec.display(), super::with_causes(&error)));
                for hint in
                    error.hints().into_iter().filter(|hint| !self.hints.contains(hint)).collect::<Vec<_>>()
                {
                    self.hints.push(hint);
                }
                return seen;
            }
        };
        if spec.boot.is_some() {
            told(format!("image {} is a machine's: it has a kernel", image.spec.display()));
            return seen;
        }
        for path in super::pin::pinned_files_of(&spec) {
            seen.add(&path);
        }
        let store = Store { lock: &lock, folder: super::folder_of(&image.spec), ..*self.store };
        match plan(&spec, &store, programs, self.progress) {
            Ok(plan) => {
                root.image(image.place, &image.path, plan.root);
                let new: Vec<_> =
                    plan.packages.into_iter().filter(|pin| !self.packages.contains(pin)).collect();
                self.packages.extend(new);
                self.files.extend(plan.files);
                seen.joined(plan.seen)
            }
            Err(error) => {
                let file = image.spec.display();
                error.problems.iter().for_each(|problem| told(format!("image {file}:{problem}")));
                for hint in
                    error.hints.into_iter().filter(|hint| !self.hints.contains(hint)).collect::<Vec<_>>()
                {
                    self.hints.push(hint);
                }
                seen
            }
        }
    }

    /// Notes a problem with an input.
    fn failed<T>(&mut self, place: Place, error: &InputError) -> Option<T> {
        self.problems.add(place, error.to_string());
        if let Some(hint) = error.hint().filter(|hint| !self.hints.contains(hint)) {
            self.hints.push(hint);
        }
        None
    }

    fn package(&mut self, place: Place, name: &str) -> Option<Entries> {
        let stage = self.progress.stage("fetch", None);
        stage.note(name);
        let (pin, path) = match self.store.package(name) {
            Ok((pin, path)) => (pin.clone(), path),
            Err(error) => return self.failed(place, &error),
        };
        drop(stage);
        let stage = self.progress.stage("unpack", None);
        stage.note(name);
        let entries = match self.store.entries(&pin.name, &path, pin.sha256, self.spec.epoch) {
            Ok(entries) => entries,
            Err(error) => return self.failed(place, &error),
        };
        if !self.packages.contains(&pin) {
            self.packages.push(pin);
        }
        Some(entries)
    }

    fn package_file(&mut self, place: Place, path: &Path) -> Option<Entries> {
        let (pin, found) = match self.store.file(path) {
            Ok(found) => found,
            Err(error) => return self.failed(place, &error),
        };
        match self.store.entries(&pin.path, &found, pin.sha256, self.spec.epoch) {
            Ok(entries) => {
                self.files.push(pin);
                Some(entries)
            }
            Err(error) => self.failed(place, &error),
        }
    }

    fn file(&mut self, file: &Placed<PathBuf>) -> Option<Content> {
        match self.store.file(&file.value) {
            Ok((pin, path)) => {
                self.files.push(pin);
                let length = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
                Some(Content::Slice { path: Arc::from(path), offset: 0, length })
            }
            Err(error) => self.failed(file.place, &error),
        }
    }

    /// The kernel, its release and its modules.
    fn kernel(&mut self, boot: &Boot) -> Option<(Content, String, Modules)> {
        let made = match &boot.kernel {
            KernelInput::Package(package) => {
                let entries = self.package(package.place, &package.value)?;
                let image = entries.iter().find_map(|(path, entry)| match &entry.kind {
                    Kind::File(content) if path.starts_with(b"boot/vmlinuz-") => Some((
                        String::from_utf8_lossy(&path[b"boot/vmlinuz-".len()..]).into_owned(),
                        content.clone(),
                    )),
                    _ => None,
                });
                let Some((release, image)) = image else {
                    let name = package.value.clone();
                    return self.failed(package.place, &InputError::NoKernel { name });
                };
                let prefix = format!("usr/lib/modules/{release}/");
                let below = entries
                    .iter()
                    .filter_map(|(path, entry)| Some((path.strip_prefix(prefix.as_bytes())?, entry)));
                Modules::new(below).map(|modules| (image, release, modules))
            }
            KernelInput::Paths { image, modules } => {
                let content = self.file(image)?;
                let release = modules.value.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let mut folder = RootBuilder::new(self.problems, &[], 0);
                let source = crate::spec::TreeSource {
                    place: modules.place,
                    source: modules.value.clone(),
                    path: Vec::new(),
                };
                folder.folder(&source);
                let entries = folder.tree.entries;
                Modules::new(entries.iter().map(|(path, entry)| (path.as_slice(), entry)))
                    .map(|modules| (content, release, modules))
            }
        };
        match made {
            Ok(made) => Some(made),
            Err(error) => self.failed(boot.kernel_place(), &InputError::Cache(error)),
        }
    }

    fn resolve(
        &mut self,
        modules: &Modules,
        wanted: &[Placed<String>],
        place: Place,
    ) -> Vec<super::modules::Module> {
        match modules.resolve(wanted, self.problems) {
            Ok(modules) => modules,
            Err(error) => self.failed(place, &InputError::Cache(error)).unwrap_or_default(),
        }
    }

    /// systemd-boot and its stub.
    fn loader(&mut self, boot: &Boot) -> Option<(Content, Content)> {
        const LOADER: &[u8] = b"usr/lib/systemd/boot/efi/systemd-bootx64.efi";
        const STUB: &[u8] = b"usr/lib/systemd/boot/efi/linuxx64.efi.stub";
        match &boot.loader.input {
            LoaderInput::Package(package) => {
                let entries = self.package(package.place, &package.value)?;
                let find = |wanted: &[u8]| {
                    let found = entries.iter().find_map(|(path, entry)| match &entry.kind {
                        Kind::File(content) if path == wanted => Some(content.clone()),
                        _ => None,
                    });
                    if found.is_none() {
                        let wanted = String::from_utf8_lossy(wanted);
                        self.problems
                            .add(package.place, format!("package `{}` has no /{wanted}", package.value));
                    }
                    found
                };
                find(LOADER).zip(find(STUB))
            }
            LoaderInput::Paths { loader, stub } => {
                let (loader, stub) = (self.file(loader), self.file(stub));
                loader.zip(stub)
            }
        }
    }

    /// The default user-data goes in only when it would be accepted at boot.
    fn user_data(&self, root: &mut RootBuilder<'_>) {
        let Some(Placed { place, value }) = &self.spec.user_data else { return };
        let Some((content, _)) = root.source(*place, value) else { return };
        let name = match value {
            Source::Path(path) => path.display().to_string(),
            Source::Program(name) => format!("@{name}"),
            Source::Inline(_) | Source::Joined(_) => "user-data".to_owned(),
        };
        let mut bytes = vec![0; content.len().min(1 << 20) as usize];
        let read = content.open().and_then(|reader| reader.read_exact_at(&mut bytes, 0));
        if let Err(error) = read {
            self.problems.add(*place, format!("{name}: {error}"));
        } else {
            for problem in root.judge_user_data(&bytes) {
                self.problems.add(*place, format!("{name}:{problem}"));
            }
        }
        let entry = root.entry(Kind::File(content), 0o644);
        root.put(*place, b"usr/lib/slipway/user-data".to_vec(), entry);
    }
}

impl Boot {
    /// Where the kernel stands in the spec.
    fn kernel_place(&self) -> Place {
        match &self.kernel {
            KernelInput::Package(package) => package.place,
            KernelInput::Paths { image, .. } => image.place,
        }
    }
}

impl Spec {
    /// The source of the image's identities.
    pub fn ids(&self) -> Ids<'_> {
        Ids { name: &self.name, version: self.version.as_str() }
    }
}

/// os-release(5). systemd-boot shows `PRETTY_NAME` and sorts by `IMAGE_ID` and `IMAGE_VERSION`.
fn os_release(spec: &Spec) -> String {
    let Spec { name, version, .. } = spec;
    format!(
        "NAME=\"Slipway\"\nID=slipway\nVERSION_ID={version}\nPRETTY_NAME=\"{name} {version}\"\nIMAGE_ID={name}\nIMAGE_VERSION={version}\n"
    )
}
