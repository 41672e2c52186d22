//! Devices as sysfs shows them: a folder each, attributes as files (sysfs(5)).

use crate::event::{Properties, uevent_file};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Longest attribute that is read, in bytes: sysfs itself gives a page.
const ATTRIBUTE_MAX: u64 = 4096;

/// A sysfs tree.
#[derive(Debug, Clone)]
pub struct Sysfs {
    root: PathBuf,
}

impl Sysfs {
    /// The tree at `root`, `/sys` but for tests.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The folder of a device.
    pub fn folder(&self, devpath: &str) -> PathBuf {
        self.root.join(devpath.trim_start_matches('/'))
    }

    /// The bytes of an attribute.
    pub fn bytes(&self, devpath: &str, name: &str) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(self.folder(devpath).join(name)).ok()?.take(ATTRIBUTE_MAX).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }

    /// The text of an attribute, without white space around it; `None` when it has none.
    pub fn attribute(&self, devpath: &str, name: &str) -> Option<String> {
        let text = String::from_utf8_lossy(&self.bytes(devpath, name)?).trim().to_owned();
        (!text.is_empty()).then_some(text)
    }

    /// A number in an attribute.
    pub fn number(&self, devpath: &str, name: &str) -> Option<u64> {
        self.attribute(devpath, name)?.parse().ok()
    }

    /// The last part of where a link in the folder leads: `subsystem`, `driver`.
    pub fn link_name(&self, devpath: &str, name: &str) -> Option<String> {
        let target = fs::read_link(self.folder(devpath).join(name)).ok()?;
        target.file_name()?.to_str().map(str::to_owned)
    }

    /// The folders above a device that are devices, the nearest first.
    pub fn parents<'a>(&self, devpath: &'a str) -> Vec<&'a str> {
        let mut parents = Vec::new();
        let mut at = devpath;
        while let Some((parent, _)) = at.rsplit_once('/') {
            if parent.is_empty() {
                break;
            }
            at = parent;
            if self.folder(at).join("uevent").exists() {
                parents.push(at);
            }
        }
        parents
    }

    /// The nearest device above with this subsystem.
    pub fn parent_of<'a>(&self, devpath: &'a str, subsystem: &str) -> Option<&'a str> {
        self.parents(devpath)
            .into_iter()
            .find(|parent| self.link_name(parent, "subsystem").is_some_and(|found| found == subsystem))
    }

    /// What the kernel would say of a device now: its `uevent` file, its path and subsystem.
    /// `None`: there is no such device.
    pub fn properties(&self, devpath: &str) -> Option<Properties> {
        let text = self.bytes(devpath, "uevent")?;
        let mut properties = uevent_file(&String::from_utf8_lossy(&text));
        properties.insert("DEVPATH".to_owned(), devpath.to_owned());
        if let Some(subsystem) = self.link_name(devpath, "subsystem") {
            properties.insert("SUBSYSTEM".to_owned(), subsystem);
        }
        Some(properties)
    }

    /// The path of a device to which a link in the tree leads.
    pub fn resolve(&self, link: &Path) -> Option<String> {
        let folder = fs::canonicalize(link).ok()?;
        let root = fs::canonicalize(&self.root).ok()?;
        Some(format!("/{}", folder.strip_prefix(root).ok()?.to_str()?))
    }

    /// The device with a number.
    pub fn by_number(&self, is_block: bool, major: u64, minor: u64) -> Option<String> {
        let kind = if is_block { "block" } else { "char" };
        self.resolve(&self.root.join(format!("dev/{kind}/{major}:{minor}")))
    }

    /// All devices, parents before what is below them.
    pub fn devices(&self) -> Vec<String> {
        let list = |path: &Path| -> Vec<PathBuf> {
            fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
        };
        let mut links = Vec::new();
        for bus in list(&self.root.join("bus")) {
            links.extend(list(&bus.join("devices")));
        }
        for class in list(&self.root.join("class")) {
            links.extend(list(&class));
        }
        let found: BTreeSet<String> = links.iter().filter_map(|link| self.resolve(link)).collect();
        found.into_iter().filter(|devpath| self.folder(devpath).join("uevent").exists()).collect()
    }
}
