//! `journald.conf` (journald.conf(5)): the keys that are read here. Others are told, not obeyed.

use crate::folder::Limits;
use crate::time;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Segments are not larger, whatever is asked for: offsets and readers' memory.
const SEGMENT_MAX: u64 = 64 << 20;
/// The largest file read.
const FILE_MAX: u64 = 1 << 20;

/// How the daemon works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `SystemMaxUse=`, bytes.
    pub max_use: Option<u64>,
    /// `SystemKeepFree=`, bytes.
    pub keep_free: Option<u64>,
    /// `SystemMaxFileSize=`, bytes.
    pub max_file_size: Option<u64>,
    /// `SystemMaxFiles=`.
    pub max_files: Option<u64>,
    /// `MaxRetentionSec=`; zero keeps for ever.
    pub max_retention: Duration,
    /// `RateLimitIntervalSec=`.
    pub rate_interval: Duration,
    /// `RateLimitBurst=`.
    pub rate_burst: u64,
    /// `SyncIntervalSec=`.
    pub sync_interval: Duration,
    /// `LineMax=`, bytes.
    pub line_max: usize,
    /// `ReadKMsg=`.
    pub read_kmsg: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_use: None,
            keep_free: None,
            max_file_size: None,
            max_files: None,
            max_retention: Duration::ZERO,
            rate_interval: Duration::from_secs(30),
            rate_burst: 10_000,
            sync_interval: Duration::from_secs(5),
            line_max: 48 << 10,
            read_kmsg: true,
        }
    }
}

impl Config {
    /// Reads text over what is set already; gives what is wrong with it, each with its line as `LINE: WHY`.
    pub fn read(&mut self, text: &str) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut section = String::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                name.clone_into(&mut section);
                continue;
            }
            let set = match line.split_once('=') {
                Some((key, value)) if section == "Journal" => self.set(key.trim(), value.trim()),
                _ => Err("not a key of [Journal]".to_owned()),
            };
            wrong.extend(set.err().map(|why| format!("{}: {why}", number + 1)));
        }
        wrong
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let bad = || format!("{key} does not take `{value}`");
        let default = Self::default();
        let own_time = |default| match value {
            "" => Some(default),
            "infinity" => Some(Duration::ZERO),
            value => time::span(value).map(Duration::from_micros),
        };
        let own_size = || if value.is_empty() { Some(None) } else { size(value).map(Some) };
        match key {
            "SystemMaxUse" => self.max_use = own_size().ok_or_else(bad)?,
            "SystemKeepFree" => self.keep_free = own_size().ok_or_else(bad)?,
            "SystemMaxFileSize" => self.max_file_size = own_size().ok_or_else(bad)?,
            "SystemMaxFiles" => self.max_files = own_size().ok_or_else(bad)?,
            "MaxRetentionSec" => self.max_retention = own_time(default.max_retention).ok_or_else(bad)?,
            "RateLimitIntervalSec" => self.rate_interval = own_time(default.rate_interval).ok_or_else(bad)?,
            "RateLimitBurst" => {
                self.rate_burst = own_size().ok_or_else(bad)?.unwrap_or(default.rate_burst);
            }
            "SyncIntervalSec" => self.sync_interval = own_time(default.sync_interval).ok_or_else(bad)?,
            "LineMax" => {
                let size = own_size().ok_or_else(bad)?.unwrap_or(default.line_max as u64);
                self.line_max = size.clamp(79, 1 << 20) as usize;
            }
            "ReadKMsg" => {
                self.read_kmsg = match value {
                    "1" | "yes" | "y" | "true" | "t" | "on" | "" => true,
                    "0" | "no" | "n" | "false" | "f" | "off" => false,
                    _ => return Err(bad()),
                };
            }
            _ => return Err(format!("`{key}` is not supported")),
        }
        Ok(())
    }

    /// The file and its drop-ins, `FILE.d/*.conf`, in order; with what is wrong, each with its file.
    pub fn load(path: &Path) -> (Self, Vec<String>) {
        let mut config = Self::default();
        let mut wrong = Vec::new();
        let mut paths = vec![path.to_owned()];
        let mut name = path.as_os_str().to_owned();
        name.push(".d");
        let listed = fs::read_dir(&name).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut more: Vec<PathBuf> =
            listed.filter(|path| path.extension() == Some("conf".as_ref())).collect();
        more.sort();
        paths.extend(more);
        for path in paths {
            let place = path.display();
            match read(&path) {
                Ok(text) => {
                    wrong.extend(config.read(&text).into_iter().map(|why| format!("{place}:{why}")));
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => wrong.push(format!("{place}: {error}")),
            }
        }
        (config, wrong)
    }

    /// Limits on a file system of this size.
    pub fn limits(&self, file_system_bytes: u64) -> Limits {
        let default = Limits::of(file_system_bytes);
        let use_bytes = self.max_use.unwrap_or(default.use_bytes).max(256 << 10);
        let segment = self.max_file_size.unwrap_or((use_bytes / 8).min(default.segment_bytes));
        Limits {
            use_bytes,
            keep_free_bytes: self.keep_free.unwrap_or(default.keep_free_bytes),
            segment_bytes: segment.clamp(64 << 10, SEGMENT_MAX),
            segments: self.max_files.map_or(default.segments, |files| files.clamp(2, 10_000) as usize),
            retention: Some(self.max_retention).filter(|most| !most.is_zero()),
        }
    }
}

/// A regular file, not endlessly long.
fn read(path: &Path) -> io::Result<String> {
    let meta = fs::metadata(path)?;
    if !meta.is_file() || meta.len() > FILE_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no regular file of at most 1 MiB"));
    }
    fs::read_to_string(path)
}

/// A number with a suffix of 1024: `16M`.
pub(crate) fn size(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    let shift = match &text[digits..] {
        "" | "B" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_what_is_wrong() {
        let mut config = Config::default();
        let wrong = config.read(
            "# a comment\n[Journal]\nSystemMaxUse=16M\nRateLimitBurst=5\nRateLimitIntervalSec=1min\n\
             MaxRetentionSec=1week\nStorage=volatile\nLineMax=x\nReadKMsg=no\n[Other]\nA=1\n",
        );
        assert_eq!(
            wrong,
            ["7: `Storage` is not supported", "8: LineMax does not take `x`", "11: not a key of [Journal]"]
        );
        assert_eq!((config.rate_burst, config.rate_interval), (5, Duration::from_mins(1)));
        assert!(!config.read_kmsg);
        let limits = config.limits(1 << 40);
        assert_eq!((limits.use_bytes, limits.segment_bytes), (16 << 20, 2 << 20));
        assert_eq!(limits.retention, Some(Duration::from_hours(7 * 24)));
        assert_eq!(size("99999999999T"), None);
    }
}
