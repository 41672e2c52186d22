//! The spec's text into a [`Spec`], with all of its problems.

use super::{
    Attributes, Boot, BootLoader, Dependencies, DirectorySpec, FileSpec, GroupSpec, ImageSource, KernelInput,
    LinkSpec, LoaderInput, Output, Package, PackageInput, Placed, Sizes, Source, Spec, TreeSource, UnitSpec,
    UserSpec, Version, image_path,
};
use crate::capability;
use document::{Fields, Node, Place, Problem, Problems, Value};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const MIB: u64 = 1 << 20;
/// 2026-01-01 00:00:00 UTC.
const DEFAULT_EPOCH: i64 = 1_767_225_600;
/// FAT counts time from 1980; ext4's first epoch ends in 2038 and its extended one in 2446.
const EPOCHS: std::ops::Range<i64> = 315_532_800..15_032_385_536;

impl Spec {
    /// Reads a spec's text; `file` is where relative paths start and what errors name.
    ///
    /// # Errors
    /// Every problem of the text, in its order.
    pub fn read(text: &str, file: &Path) -> Result<Self, Vec<Problem>> {
        let root = document::read(text).map_err(|problem| vec![problem])?;
        let problems = Problems::default();
        let reader = SpecReader { problems: &problems, folder: file.parent().unwrap_or(Path::new("")) };
        let spec = root.fields(&problems).and_then(|fields| reader.spec(fields, file));
        match spec {
            Some(spec) if problems.is_empty() => Ok(spec),
            _ => Err(problems.into_sorted()),
        }
    }
}

struct SpecReader<'a> {
    problems: &'a Problems,
    folder: &'a Path,
}

impl<'a> SpecReader<'a> {
    fn spec(&self, fields: Fields<'a>, file: &Path) -> Option<Spec> {
        let p = self.problems;
        let name = fields.required("name").and_then(|node| self.name(node));
        let version = fields.required("version").and_then(|node| self.parsed::<Version>(node));
        let epoch = fields.get("epoch").map_or(Some(DEFAULT_EPOCH), |node| {
            let epoch = node.number::<i64>(p)?;
            if !EPOCHS.contains(&epoch) {
                p.add(
                    node.place,
                    format!("epoch {epoch} is outside of 1980 to 2446, which the file systems can hold"),
                );
            }
            Some(epoch)
        });
        let boot = self.boot(&fields);
        let modules = fields.get("modules").and_then(|node| node.fields(p));
        let (initramfs_modules, root_modules) = modules.map_or_else(Default::default, |modules| {
            let lists = (self.placed_texts(&modules, "initramfs"), self.placed_texts(&modules, "root"));
            modules.finish();
            lists
        });
        let init = match fields.get("init") {
            Some(node) => self.source_text(node).map(|value| Placed { place: node.place, value }),
            None => Some(Placed { place: fields.place, value: Source::Program("init".into()) }),
        };
        let spec = Spec {
            file: file.to_owned(),
            name: name.unwrap_or_default(),
            version: version?,
            epoch: epoch?,
            boot,
            command_line: self.command_line(&fields),
            initramfs_modules,
            root_modules,
            init: init?,
            packages: self.each(&fields, "packages", Self::package),
            dependencies: fields.get("dependencies").and_then(|node| self.dependencies(node)),
            images: self.each(&fields, "images", Self::image),
            trees: self.each(&fields, "trees", Self::tree),
            files: self.each(&fields, "files", Self::file),
            directories: self.each(&fields, "directories", Self::directory),
            links: fields.items("links").iter().flat_map(|node| self.links(node)).collect(),
            groups: self.each(&fields, "groups", Self::group),
            users: self.each(&fields, "users", Self::user),
            units: self.each(&fields, "units", Self::unit),
            sizes: self.sizes(&fields),
            outputs: self.outputs(&fields),
            user_data: fields
                .get("user_data")
                .and_then(|node| Some(Placed { place: node.place, value: self.source_text(node)? })),
        };
        fields.finish();
        Some(spec)
    }

    fn each<T>(
        &self,
        fields: &Fields<'a>,
        key: &'static str,
        read: impl Fn(&Self, &'a Node) -> Option<T>,
    ) -> Vec<T> {
        fields.items(key).iter().filter_map(|node| read(self, node)).collect()
    }

    fn parsed<T: std::str::FromStr<Err = String>>(&self, node: &Node) -> Option<T> {
        node.text(self.problems)?
            .parse()
            .map_err(|message: String| self.problems.add(node.place, message))
            .ok()
    }

    fn name(&self, node: &Node) -> Option<String> {
        let name = node.text(self.problems)?;
        let fits = name.len() <= 64
            && name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.');
        if !fits {
            let message = format!(
                "`{name}` is no image name: use a-z, 0-9, `-` and `.`, at most 64, a letter or digit first"
            );
            self.problems.add(node.place, message);
        }
        Some(name.to_owned())
    }

    fn path(&self, node: &Node) -> Option<Vec<u8>> {
        image_path(node.text(self.problems)?).map_err(|message| self.problems.add(node.place, message)).ok()
    }

    fn host_path(&self, node: &Node) -> Option<Placed<PathBuf>> {
        let text = node.text(self.problems)?;
        if text.is_empty() {
            self.problems.add(node.place, "an empty path");
        }
        Some(Placed { place: node.place, value: self.folder.join(text) })
    }

    /// A source written as one text: `@NAME` or a path of the host.
    fn source_text(&self, node: &Node) -> Option<Source> {
        let text = node.text(self.problems)?;
        if let Some(name) = text.strip_prefix('@') {
            if name.is_empty() || name.contains('/') {
                self.problems.add(node.place, format!("`{text}` names no program: write @NAME"));
            }
            return Some(Source::Program(name.to_owned()));
        }
        Some(Source::Path(self.host_path(node)?.value))
    }

    /// Either `content` or `source` of a mapping.
    fn source(&self, fields: &Fields<'a>, needed: bool) -> Option<Source> {
        let content = fields.get("content").and_then(|node| node.text(self.problems));
        let source = fields.get("source").and_then(|node| self.source_text(node));
        match (content, source) {
            (Some(_), Some(_)) => {
                self.problems.add(fields.place, "both `content` and `source`: one is needed");
                None
            }
            (Some(content), None) => Some(Source::Inline(content.to_owned())),
            (None, Some(source)) => Some(source),
            (None, None) => {
                if needed {
                    self.problems.add(fields.place, "neither `content` nor `source`: one is needed");
                }
                None
            }
        }
    }

    fn placed_texts(&self, fields: &Fields<'a>, key: &'static str) -> Vec<Placed<String>> {
        let texts = fields.items(key).iter();
        texts
            .filter_map(|node| {
                Some(Placed { place: node.place, value: node.text(self.problems)?.to_owned() })
            })
            .collect()
    }

    fn kernel(&self, node: &'a Node) -> Option<KernelInput> {
        let fields = node.fields(self.problems)?;
        let package = fields.get("package").and_then(|node| self.package_name(node));
        let image = fields.get("image").and_then(|node| self.host_path(node));
        let modules = fields.get("modules").and_then(|node| self.host_path(node));
        fields.finish();
        match (package, image, modules) {
            (Some(package), None, None) => Some(KernelInput::Package(package)),
            (None, Some(image), Some(modules)) => Some(KernelInput::Paths { image, modules }),
            _ => {
                self.problems.add(node.place, "a kernel needs either `package`, or `image` and `modules`");
                None
            }
        }
    }

    /// Both of `kernel` and `boot_loader`, or neither and none of what belongs to them.
    fn boot(&self, fields: &Fields<'a>) -> Option<Boot> {
        let kernel = fields.get("kernel").map(|node| self.kernel(node));
        let loader = fields.get("boot_loader").map(|node| self.boot_loader(node));
        match (kernel, loader) {
            (None, None) => {
                for key in ["command_line", "modules", "init", "partitions", "user_data", "images"] {
                    if let Some(node) = fields.get(key) {
                        let message =
                            format!("`{key}` needs `kernel` and `boot_loader`: this is no machine's image");
                        self.problems.add(node.place, message);
                    }
                }
                None
            }
            (Some(kernel), Some(loader)) => Some(Boot { kernel: kernel?, loader: loader? }),
            (kernel, _) => {
                let (given, missing) =
                    if kernel.is_some() { ("kernel", "boot_loader") } else { ("boot_loader", "kernel") };
                self.problems
                    .add(fields.place, format!("`{given}` without `{missing}`: a machine needs both"));
                None
            }
        }
    }

    fn boot_loader(&self, node: &'a Node) -> Option<BootLoader> {
        let fields = node.fields(self.problems)?;
        let package = fields.get("package").and_then(|node| self.package_name(node));
        let loader = fields.get("loader").and_then(|node| self.host_path(node));
        let stub = fields.get("stub").and_then(|node| self.host_path(node));
        let timeout_s = fields.get("timeout").map_or(Some(0), |node| node.number(self.problems));
        let tries = fields.get("tries").map_or(Some(3), |node| {
            let tries = node.number(self.problems)?;
            if !(1..=9).contains(&tries) {
                self.problems.add(node.place, format!("{tries} tries: 1 to 9 are possible"));
            }
            Some(tries)
        });
        fields.finish();
        let input = match (package, loader, stub) {
            (Some(package), None, None) => LoaderInput::Package(package),
            (None, Some(loader), Some(stub)) => LoaderInput::Paths { loader, stub },
            _ => {
                self.problems.add(node.place, "a boot loader needs either `package`, or `loader` and `stub`");
                return None;
            }
        };
        Some(BootLoader { input, timeout_s: timeout_s?, tries: tries? })
    }

    fn package_name(&self, node: &Node) -> Option<Placed<String>> {
        let name = node.text(self.problems)?;
        // Debian policy 5.6.1; a name never reaches the package client as an option.
        let fits = name.len() >= 2
            && name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b));
        if !fits {
            self.problems.add(node.place, format!("`{name}` is no package name"));
            return None;
        }
        Some(Placed { place: node.place, value: name.to_owned() })
    }

    fn command_line(&self, fields: &Fields<'a>) -> Vec<String> {
        let mut words = Vec::new();
        for node in fields.items("command_line") {
            let Some(word) = node.text(self.problems) else { continue };
            if word.is_empty() || word.bytes().any(|b| !(0x21..0x7f).contains(&b)) {
                self.problems.add(
                    node.place,
                    format!("`{word}` is no word of a kernel command line: printable, without spaces"),
                );
            } else if let Some(name) =
                ["roothash", "slipway.tries"].iter().find(|name| word.split('=').next() == Some(name))
            {
                self.problems
                    .add(node.place, format!("`{name}` is the builder's own word of the command line"));
            } else {
                words.push(word.to_owned());
            }
        }
        words
    }

    fn package(&self, node: &'a Node) -> Option<Package> {
        let place = node.place;
        if let Value::Scalar { .. } = node.value {
            let name = self.package_name(node)?.value;
            return Some(Package {
                place,
                input: PackageInput::Name(name),
                include: vec![],
                exclude: vec![],
            });
        }
        let fields = node.fields(self.problems)?;
        let name = fields.get("name").and_then(|node| self.package_name(node));
        let path = fields.get("path").and_then(|node| self.host_path(node));
        let (include, exclude) = (fields.texts("include"), fields.texts("exclude"));
        fields.finish();
        let input = match (name, path) {
            (Some(name), None) => PackageInput::Name(name.value),
            (None, Some(path)) => PackageInput::Path(path.value),
            _ => {
                self.problems.add(place, "a package needs either `name` or `path`");
                return None;
            }
        };
        Some(Package { place, input, include, exclude })
    }

    fn dependencies(&self, node: &'a Node) -> Option<Dependencies> {
        let fields = node.fields(self.problems)?;
        let without = fields.items("without").iter().filter_map(|node| self.package_name(node));
        let without = without.map(|name| name.value).collect();
        let exclude = fields.texts("exclude");
        fields.finish();
        Some(Dependencies { without, exclude })
    }

    fn image(&self, node: &'a Node) -> Option<ImageSource> {
        let fields = node.fields(self.problems)?;
        let spec = fields.required("spec").and_then(|node| self.host_path(node));
        let path = fields.required("path").and_then(|node| self.path(node));
        let place = fields.place;
        fields.finish();
        Some(ImageSource { place, spec: spec?.value, path: self.not_root(place, path?)? })
    }

    fn tree(&self, node: &'a Node) -> Option<TreeSource> {
        let place = node.place;
        if let Value::Scalar { .. } = node.value {
            return Some(TreeSource { place, source: self.host_path(node)?.value, path: Vec::new() });
        }
        let fields = node.fields(self.problems)?;
        let source = fields.required("source").and_then(|node| self.host_path(node));
        let path = fields.get("path").map_or(Some(Vec::new()), |node| self.path(node));
        fields.finish();
        Some(TreeSource { place, source: source?.value, path: path? })
    }

    /// `mode` and `owner` (`UID` or `UID:GID`).
    fn attributes(&self, fields: &Fields<'a>) -> Attributes {
        let mode = fields.get("mode").and_then(|node| node.mode(self.problems));
        let owner = fields.get("owner").and_then(|node| {
            let text = node.text(self.problems)?;
            let (user, group) = text.split_once(':').unwrap_or((text, text));
            let numbers = user.parse().ok().zip(group.parse().ok());
            if numbers.is_none() {
                self.problems
                    .add(node.place, format!("`{text}` is no owner: write UID or UID:GID in numbers"));
            }
            numbers
        });
        Attributes { mode, owner: owner.unwrap_or((0, 0)) }
    }

    fn file(&self, node: &'a Node) -> Option<FileSpec> {
        let fields = node.fields(self.problems)?;
        let path = fields.required("path").and_then(|node| self.path(node));
        let joined =
            fields.get("join").and_then(|node| Some((node.place, node.text(self.problems)?.to_owned())));
        let source = match (self.source(&fields, joined.is_none()), joined) {
            (source, None) => source,
            (None, Some((_, pattern))) => Some(Source::Joined(pattern)),
            (Some(_), Some((place, _))) => {
                self.problems.add(place, "`join` beside `content` or `source`: one is needed");
                None
            }
        };
        let attributes = self.attributes(&fields);
        let mut xattrs = BTreeMap::new();
        if let Some(pairs) = fields.get("xattrs").map(|node| &node.value) {
            let Value::Mapping(pairs) = pairs else {
                self.problems.add(fields.place, "`xattrs` must map names to values");
                return None;
            };
            for (name, value) in pairs {
                let (Some(name_text), Some(value)) = (name.text(self.problems), value.text(self.problems))
                else {
                    continue;
                };
                if !["user.", "trusted.", "security."].iter().any(|prefix| name_text.starts_with(prefix)) {
                    let message =
                        format!("extended attribute `{name_text}` is in none of user., trusted., security.");
                    self.problems.add(name.place, message);
                }
                xattrs.insert(name_text.as_bytes().to_vec(), value.as_bytes().to_vec());
            }
        }
        let mut capabilities = Vec::new();
        for node in fields.items("capabilities") {
            let Some(name) = node.text(self.problems) else { continue };
            match capability::number(name) {
                Some(number) => capabilities.push(number),
                None => self
                    .problems
                    .add(node.place, format!("`{name}` is no capability, such as cap_net_bind_service")),
            }
        }
        if !capabilities.is_empty() {
            xattrs.insert(b"security.capability".to_vec(), capability::xattr(&capabilities));
        }
        let place = fields.place;
        fields.finish();
        Some(FileSpec { place, path: self.not_root(place, path?)?, source: source?, attributes, xattrs })
    }

    fn not_root(&self, place: Place, path: Vec<u8>) -> Option<Vec<u8>> {
        if path.is_empty() {
            self.problems.add(place, "`/` itself can only be a directory");
            return None;
        }
        Some(path)
    }

    fn directory(&self, node: &'a Node) -> Option<DirectorySpec> {
        let place = node.place;
        if let Value::Scalar { .. } = node.value {
            return Some(DirectorySpec { place, path: self.path(node)?, attributes: Attributes::default() });
        }
        let fields = node.fields(self.problems)?;
        let path = fields.required("path").and_then(|node| self.path(node));
        let attributes = self.attributes(&fields);
        fields.finish();
        Some(DirectorySpec { place, path: path?, attributes })
    }

    /// One link at `path`, or one for each of `names` in `folder`.
    fn links(&self, node: &'a Node) -> Vec<LinkSpec> {
        self.linked(node).unwrap_or_default()
    }

    fn linked(&self, node: &'a Node) -> Option<Vec<LinkSpec>> {
        let fields = node.fields(self.problems)?;
        let many = fields.get("folder").and_then(|node| self.path(node));
        let paths = if let Some(folder) = many {
            let names = fields.items("names").iter().filter_map(|node| self.file_name(node));
            let of = |name: String| [folder.as_slice(), name.as_bytes()].join(&b'/');
            Some(names.map(of).collect())
        } else {
            fields.required("path").and_then(|node| self.path(node)).map(|path| vec![path])
        };
        let hard = fields.get("hard").map_or(Some(false), |node| node.boolean(self.problems));
        let target = fields.required("target").and_then(|node| {
            if hard == Some(true) {
                return self.path(node);
            }
            let text = node.text(self.problems)?;
            if text.is_empty() || text.len() > 4095 || text.contains('\0') {
                self.problems
                    .add(node.place, "a symbolic link's target has 1 to 4095 bytes, none of them NUL");
            }
            Some(text.as_bytes().to_vec())
        });
        let place = fields.place;
        fields.finish();
        let (paths, target, hard) = (paths?, target?, hard?);
        let link =
            |path| Some(LinkSpec { place, path: self.not_root(place, path)?, target: target.clone(), hard });
        Some(paths.into_iter().filter_map(link).collect())
    }

    /// A user's or group's name (useradd(8)).
    fn account(&self, node: &Node) -> Option<String> {
        let name = node.text(self.problems)?;
        let fits = name.len() <= 32
            && name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_');
        if !fits {
            self.problems
                .add(node.place, format!("`{name}` is no account name: use a-z, 0-9, `-`, `_`, at most 32"));
        }
        Some(name.to_owned())
    }

    fn group(&self, node: &'a Node) -> Option<GroupSpec> {
        let fields = node.fields(self.problems)?;
        let name = fields.required("name").and_then(|node| self.account(node));
        let gid = fields.required("gid").and_then(|node| node.number(self.problems));
        let place = fields.place;
        fields.finish();
        Some(GroupSpec { place, name: name?, gid: gid? })
    }

    fn user(&self, node: &'a Node) -> Option<UserSpec> {
        let fields = node.fields(self.problems)?;
        let place = fields.place;
        let name = fields.required("name").and_then(|node| self.account(node));
        let uid = fields.required("uid").and_then(|node| node.number(self.problems));
        let gid = fields.get("gid").map_or(uid, |node| node.number(self.problems));
        let plain = |key: &'static str, default: &str| {
            let text = fields.text(key).unwrap_or(default);
            if text.contains([':', '\n']) {
                self.problems
                    .add(place, format!("`{key}` holds a colon or a line break, which passwd(5) cannot"));
            }
            text.to_owned()
        };
        let gecos = plain("gecos", "");
        let home = plain("home", "/var/empty");
        let shell = plain("shell", "/usr/sbin/nologin");
        let groups = fields.items("groups").iter().filter_map(|node| self.account(node)).collect();
        fields.finish();
        Some(UserSpec { place, name: name?, uid: uid?, gid: gid?, gecos, home, shell, groups })
    }

    fn unit(&self, node: &'a Node) -> Option<UnitSpec> {
        let fields = node.fields(self.problems)?;
        let name = fields.required("name").and_then(|node| self.file_name(node));
        let source = self.source(&fields, false);
        let flag =
            |key: &'static str| fields.get(key).map_or(Some(false), |node| node.boolean(self.problems));
        let (enable, mask) = (flag("enable"), flag("mask"));
        let drop_ins = self.each(&fields, "drop_ins", |this, node| {
            let fields = node.fields(this.problems)?;
            let name = fields.required("name").and_then(|node| this.file_name(node));
            let source = this.source(&fields, true);
            fields.finish();
            if name.as_ref().is_some_and(|name| !name.ends_with(".conf")) {
                this.problems.add(node.place, "a drop-in's name ends in .conf");
            }
            Some((name?, source?))
        });
        let place = fields.place;
        fields.finish();
        Some(UnitSpec { place, name: name?, source, enable: enable?, mask: mask?, drop_ins })
    }

    fn file_name(&self, node: &Node) -> Option<String> {
        let name = node.text(self.problems)?;
        if name.is_empty() || name.len() > 255 || name.contains(['/', '\0']) || name == "." || name == ".." {
            self.problems.add(node.place, format!("`{name}` is no file name"));
        }
        Some(name.to_owned())
    }

    fn sizes(&self, fields: &Fields<'a>) -> Sizes {
        let mut sizes = Sizes {
            esp: 128 * MIB,
            slot: 512 * MIB,
            state: 64 * MIB,
            slot_place: fields.place,
            esp_place: fields.place,
        };
        let Some(given) = fields.get("partitions").and_then(|node| node.fields(self.problems)) else {
            return sizes;
        };
        let read = |key: &'static str, least: u64, size: &mut u64, place: Option<&mut Place>| {
            let Some(node) = given.get(key) else { return };
            let Some(value) = node.size(self.problems) else { return };
            if value < least || value % MIB != 0 {
                let message = format!(
                    "`{key}` is {value} bytes: at least {} MiB and whole MiB are needed",
                    least / MIB
                );
                self.problems.add(node.place, message);
            }
            *size = value;
            if let Some(place) = place {
                *place = node.place;
            }
        };
        read("esp", 34 * MIB, &mut sizes.esp, Some(&mut sizes.esp_place));
        read("slot", MIB, &mut sizes.slot, Some(&mut sizes.slot_place));
        read("state", 16 * MIB, &mut sizes.state, None);
        given.finish();
        sizes
    }

    fn outputs(&self, fields: &Fields<'a>) -> Vec<Output> {
        let boots = fields.get("kernel").is_some();
        let Some(node) = fields.get("outputs") else {
            return vec![if boots { Output::Raw } else { Output::TarZst }];
        };
        let mut outputs = Vec::new();
        for item in node.items(self.problems) {
            let Some(name) = item.text(self.problems) else { continue };
            match Output::ALL.iter().find(|(_, suffix)| *suffix == name) {
                Some((output, _)) if outputs.contains(output) => {
                    self.problems.add(item.place, format!("output `{name}` stands twice"));
                }
                Some((output, _)) if !boots && *output != Output::TarZst => {
                    let message =
                        format!("output `{name}` needs `kernel` and `boot_loader`; without them: tar.zst");
                    self.problems.add(item.place, message);
                }
                Some((output, _)) => outputs.push(*output),
                None => {
                    self.problems.add(
                        item.place,
                        format!("unknown output `{name}`; known: raw, qcow2, raw.zst, raw.xz, tar.zst"),
                    );
                }
            }
        }
        if outputs.is_empty() {
            self.problems
                .add(node.place, "no output: name at least one of raw, qcow2, raw.zst, raw.xz, tar.zst");
        }
        outputs
    }
}
