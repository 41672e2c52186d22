//! Boot entries on the EFI system partition, in the order of systemd-boot
//! (`boot_entry_compare` of its `boot.c`; UAPI.1, "Sorting").

use super::error::{InspectError, Place};
use super::uki::Uki;
use super::version;
use formats::fat::{DirEntry, Fat, FatError};
use init::bless::EntryName;
use std::cmp::{Ordering, Reverse};
use std::path::Path;

/// Where UKIs are (UAPI.1, "Type #2").
pub(super) const FOLDER: &str = "EFI/Linux";

/// A UKI on the EFI system partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootEntry {
    /// Its file name.
    pub file_name: String,
    /// The name without counter and `.efi`: `NAME_VERSION`.
    pub base: String,
    /// Tries left; none when the name has no counter.
    pub left: Option<u32>,
    /// Tries used; none when the name has no counter.
    pub done: Option<u32>,
    /// Bytes of the file.
    pub size: u64,
    /// What os-release says to sort by.
    pub sort_key: Option<String>,
    /// The version that os-release says.
    pub version: Option<String>,
    /// Why systemd-boot does not show it.
    pub problem: Option<String>,
}

/// All entries, the one that would boot first.
pub(super) fn read_all(esp: &Fat<'_>, place: &Place) -> Result<Vec<BootEntry>, InspectError> {
    let fat = |source| InspectError::Fat { place: place.clone(), source };
    let folder = match esp.find(FOLDER) {
        Err(FatError::NotFound { .. }) => return Ok(Vec::new()),
        found => found.map_err(fat)?,
    };
    let mut entries = Vec::new();
    for file in esp.list(&folder).map_err(fat)? {
        let lower = file.name.to_ascii_lowercase();
        // systemd-boot leaves these out as well.
        if file.is_directory
            || Path::new(&lower).extension() != Some("efi".as_ref())
            || lower.starts_with('.')
            || lower.starts_with("auto-")
        {
            continue;
        }
        entries.push(BootEntry::read(esp, &file, place)?);
    }
    entries.sort_by(BootEntry::compare);
    Ok(entries)
}

impl BootEntry {
    fn read(esp: &Fat<'_>, file: &DirEntry, place: &Place) -> Result<Self, InspectError> {
        let mut entry = Self::from_name(&file.name);
        entry.size = file.size.into();
        let reader =
            esp.open_file(file).map_err(|source| InspectError::Fat { place: place.clone(), source })?;
        let os_release = Uki::open(&reader, place, &file.name).and_then(|uki| {
            // Without a kernel the stub has nothing to start.
            uki.has(".linux")?;
            uki.text(".osrel")
        });
        match os_release {
            Ok(text) => {
                let value = |keys: &[&str]| keys.iter().find_map(|key| os_release_value(&text, key));
                entry.sort_key = value(&["IMAGE_ID", "ID"]);
                entry.version = value(&["IMAGE_VERSION", "VERSION", "VERSION_ID", "BUILD_ID"]);
                if value(&["PRETTY_NAME", "IMAGE_ID", "NAME", "ID"]).is_none() {
                    entry.problem = Some("its os-release has no name".to_owned());
                }
            }
            Err(error) => entry.problem = Some(error.detail()),
        }
        Ok(entry)
    }

    fn from_name(file_name: &str) -> Self {
        let (base, counter) = match EntryName::parse(file_name) {
            Some(name) => (name.stem, Some(name.counter)),
            None => (file_name.rsplit_once('.').map_or(file_name, |(base, _)| base).to_owned(), None),
        };
        Self {
            file_name: file_name.to_owned(),
            base,
            left: counter.map(|counter| counter.left),
            done: counter.map(|counter| counter.done),
            size: 0,
            sort_key: None,
            version: None,
            problem: None,
        }
    }

    /// The lesser boots first.
    fn compare(&self, other: &Self) -> Ordering {
        let bad = |entry: &Self| (entry.problem.is_some(), entry.left == Some(0), entry.sort_key.is_none());
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        bad(self)
            .cmp(&bad(other))
            .then_with(|| self.sort_key.cmp(&other.sort_key))
            .then_with(|| match &self.sort_key {
                Some(_) => version::compare(&text(&other.version), &text(&self.version)),
                None => Ordering::Equal,
            })
            .then_with(|| version::compare(&other.base.to_lowercase(), &self.base.to_lowercase()))
            .then_with(|| match (self.left, other.left) {
                (Some(mine), Some(others)) => {
                    Reverse(mine).cmp(&Reverse(others)).then(self.done.cmp(&other.done))
                }
                _ => Ordering::Equal,
            })
    }
}

/// The value of a key of os-release(5), as systemd-boot reads it: quotes taken off, nothing unescaped.
pub(super) fn os_release_value(text: &str, key: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.trim().strip_prefix(key)?.strip_prefix('='))?;
    let unquoted = ['"', '\''].iter().find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
    Some(unquoted.unwrap_or(value).to_owned()).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(mut entries: Vec<BootEntry>) -> Vec<String> {
        entries.sort_by(BootEntry::compare);
        entries.into_iter().map(|entry| entry.file_name).collect()
    }

    fn entry(name: &str, version: &str) -> BootEntry {
        let mut entry = BootEntry::from_name(name);
        entry.sort_key = Some("slipway".to_owned());
        entry.version = Some(version.to_owned());
        entry
    }

    #[test]
    fn the_newest_with_tries_left_boots() {
        let entries = vec![
            entry("slipway_0.9.0+3.efi", "0.9.0"),
            entry("slipway_0.11.0+0-3.efi", "0.11.0"),
            entry("slipway_0.10.0+1-2.efi", "0.10.0"),
            entry("slipway_0.10.0~rc1+3.efi", "0.10.0~rc1"),
        ];
        let order = [
            "slipway_0.10.0+1-2.efi",
            "slipway_0.10.0~rc1+3.efi",
            "slipway_0.9.0+3.efi",
            "slipway_0.11.0+0-3.efi",
        ];
        assert_eq!(sorted(entries), order);
    }

    #[test]
    fn of_one_version_that_with_more_tries_boots_and_a_broken_one_never() {
        let mut broken = entry("slipway_9+3.efi", "9");
        broken.problem = Some("broken".into());
        let entries = vec![
            broken,
            entry("slipway_1+1-2.efi", "1"),
            entry("slipway_1+3.efi", "1"),
            entry("slipway_1+3-2.efi", "1"),
        ];
        assert_eq!(
            sorted(entries),
            ["slipway_1+3.efi", "slipway_1+3-2.efi", "slipway_1+1-2.efi", "slipway_9+3.efi"]
        );
    }

    #[test]
    fn names_and_os_release_come_apart() {
        let entry = BootEntry::from_name("slipway_0.1.0+2-1.efi");
        assert_eq!((entry.base.as_str(), entry.left, entry.done), ("slipway_0.1.0", Some(2), Some(1)));
        let entry = BootEntry::from_name("old.EFI");
        assert_eq!((entry.base.as_str(), entry.left, entry.done), ("old", None, None));
        let text = "NAME=\"A b\"\nID=x\nIMAGE_ID=\n";
        assert_eq!(os_release_value(text, "NAME").as_deref(), Some("A b"));
        assert_eq!(os_release_value(text, "ID").as_deref(), Some("x"));
        assert_eq!(os_release_value(text, "IMAGE_ID"), None);
    }
}
