//! What is known of a device, a file each in /run/udev/data: udev's own form, which libudev and
//! sd-device read.

use crate::describe::Description;
use crate::event::Properties;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Properties that the kernel gives at any time, so they are not kept.
const KERNELS: [&str; 12] = [
    "ACTION",
    "DEVLINKS",
    "DEVNAME",
    "DEVPATH",
    "DEVTYPE",
    "MAJOR",
    "MINOR",
    "SUBSYSTEM",
    "TAGS",
    "CURRENT_TAGS",
    "DISKSEQ",
    "MODALIAS",
];

/// One entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    /// Links, below /dev.
    pub links: BTreeSet<String>,
    /// Priority of the links.
    pub priority: i32,
    /// Properties beyond the kernel's.
    pub properties: Properties,
    /// Tags.
    pub tags: BTreeSet<String>,
    /// When it was first seen, in microseconds since the kernel started.
    pub initialized_us: u64,
}

impl Entry {
    /// The entry of a described device.
    pub fn of(device: &Description, initialized_us: u64) -> Self {
        let own = device.properties.iter().filter(|(key, _)| !KERNELS.contains(&key.as_str()));
        let tags = device.properties.get("TAGS").map(String::as_str).unwrap_or_default();
        Self {
            links: device.links.clone(),
            priority: device.priority,
            properties: own.map(|(key, value)| (key.clone(), value.clone())).collect(),
            tags: tags.split(':').filter(|tag| !tag.is_empty()).map(str::to_owned).collect(),
            initialized_us,
        }
    }

    /// The file's text.
    pub fn render(&self) -> String {
        let mut text = String::new();
        for link in &self.links {
            text.extend(["S:", link, "\n"]);
        }
        if self.priority != 0 {
            text.extend(["L:", &self.priority.to_string(), "\n"]);
        }
        text.extend(["I:", &self.initialized_us.to_string(), "\n"]);
        for (key, value) in &self.properties {
            text.extend(["E:", key, "=", value, "\n"]);
        }
        for letter in ["G:", "Q:"] {
            for tag in &self.tags {
                text.extend([letter, tag, "\n"]);
            }
        }
        text.push_str("V:1\n");
        text
    }

    /// Reads a file's text. Lines of no known kind are left out.
    pub fn parse(text: &str) -> Self {
        let mut entry = Self::default();
        for line in text.split('\n') {
            let Some((letter, rest)) = line.split_once(':') else { continue };
            match letter {
                "S" => _ = entry.links.insert(rest.to_owned()),
                "L" => entry.priority = rest.parse().unwrap_or(0),
                "I" => entry.initialized_us = rest.parse().unwrap_or(0),
                "E" => entry
                    .properties
                    .extend(rest.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()))),
                "G" => _ = entry.tags.insert(rest.to_owned()),
                _ => {}
            }
        }
        entry
    }
}

/// The folder of entries.
#[derive(Debug, Clone)]
pub struct Database {
    folder: PathBuf,
}

impl Database {
    /// The entries below `run` (`/run/udev`).
    pub fn new(run: &Path) -> Self {
        Self { folder: run.join("data") }
    }

    /// Reads an entry; `None` when there is none.
    pub fn read(&self, id: &str) -> Option<Entry> {
        fs::read_to_string(self.folder.join(id)).ok().map(|text| Entry::parse(&text))
    }

    /// Writes an entry, in one step.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn write(&self, id: &str, entry: &Entry) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let temporary = self.folder.join(format!(".#{id}"));
        fs::write(&temporary, entry.render())?;
        fs::rename(&temporary, self.folder.join(id))
    }

    /// Removes an entry, if it is there.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn remove(&self, id: &str) -> io::Result<()> {
        match fs::remove_file(self.folder.join(id)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// The names of all entries.
    pub fn ids(&self) -> Vec<String> {
        let names = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        names
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| !name.starts_with('.'))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_kept_as_udev_keeps_them() {
        let text = "S:disk/by-label/a\nS:disk/by-uuid/b\nL:50\nI:1234\nE:ID_FS_TYPE=ext4\nE:X=a=b\nG:systemd\nQ:systemd\nV:1\n";
        assert_eq!(Entry::parse(text).render(), text);
        let folder = tempfile::tempdir().unwrap();
        let database = Database::new(folder.path());
        database.write("b254:0", &Entry::parse(text)).unwrap();
        assert_eq!(database.read("b254:0"), Some(Entry::parse(text)));
        assert_eq!(database.ids(), ["b254:0"]);
        database.remove("b254:0").unwrap();
        database.remove("b254:0").unwrap();
        assert_eq!(database.read("b254:0"), None);
    }
}
