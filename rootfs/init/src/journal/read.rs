//! Reading back, oldest first.

use super::{CURRENT, Entry};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// The longest line read; a longer one is not ours.
const MAX_LINE_BYTES: u64 = 1 << 20;

/// Which entries.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Of this unit: said by it, or by PID 1 about it.
    pub unit: Option<String>,
    /// Of this boot.
    pub boot_id: Option<String>,
    /// At least this urgent (0 is the most urgent).
    pub priority: Option<u8>,
}

impl Filter {
    /// Whether an entry is wanted.
    pub fn takes(&self, entry: &Entry) -> bool {
        self.unit.as_ref().is_none_or(|unit| *unit == entry.unit)
            && self.boot_id.as_ref().is_none_or(|boot| *boot == entry.boot_id)
            && self.priority.is_none_or(|priority| entry.priority <= priority)
    }
}

/// The files of a journal, oldest first.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut numbered: Vec<(u32, PathBuf)> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let number = match name.as_str() {
                CURRENT => 0,
                name => name.strip_prefix("system.")?.strip_suffix(".jsonl")?.parse().ok()?,
            };
            Some((number, entry.path()))
        })
        .collect();
    numbered.sort_by(|a, b| b.cmp(a));
    numbered.into_iter().map(|(_, path)| path).collect()
}

/// All wanted entries of a journal. Lines that are no entry (torn by a power cut) are left out.
pub fn read(folder: &Path, filter: &Filter) -> impl Iterator<Item = Entry> + use<> {
    let filter = filter.clone();
    files(folder)
        .into_iter()
        .filter_map(|path| File::open(path).ok())
        .flat_map(|file| entries(BufReader::new(file)))
        .filter(move |entry| filter.takes(entry))
}

/// The entries of one stream of lines.
pub(super) fn entries(mut from: impl BufRead) -> impl Iterator<Item = Entry> {
    let mut line = Vec::new();
    std::iter::from_fn(move || {
        loop {
            line.clear();
            match from.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
            if let Ok(entry) = serde_json::from_slice(&line) {
                return Some(entry);
            }
        }
    })
}
