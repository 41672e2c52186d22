//! What units say of their entries: `LogLevelMax=`, `LogExtraFields=`, `LogRateLimitIntervalSec=`,
//! `LogRateLimitBurst=` (systemd.exec(5)). PID 1 writes it into the folder `units` beside the journal's
//! as systemd does: links whose text is a number, and one file of fields, each behind its length in
//! eight bytes, the lowest first.

use crate::field::{split, valid_name};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::str::FromStr;
use std::time::Duration;

/// Units remembered.
const UNITS_MAX: usize = 4096;
/// The largest file of fields that is read.
const FIELDS_BYTES_MAX: u64 = 64 << 10;

/// What one unit says.
#[derive(Debug, Default)]
pub struct Settings {
    /// Entries of a higher number are dropped.
    pub level_max: Option<u8>,
    /// The rate limit, where it is not the journal's.
    pub rate_interval: Option<Duration>,
    /// Its burst.
    pub rate_burst: Option<u64>,
    /// What every entry has besides.
    pub fields: Vec<Vec<u8>>,
}

impl Settings {
    fn read(folder: &Path, unit: &str) -> Self {
        Self {
            level_max: number(folder, "log-level-max", unit).filter(|level| *level <= 7),
            rate_interval: number(folder, "log-rate-limit-interval", unit).map(Duration::from_micros),
            rate_burst: number(folder, "log-rate-limit-burst", unit),
            fields: fields(folder, unit),
        }
    }
}

fn number<T: FromStr>(folder: &Path, what: &str, unit: &str) -> Option<T> {
    fs::read_link(folder.join(format!("{what}:{unit}"))).ok()?.to_str()?.parse().ok()
}

fn fields(folder: &Path, unit: &str) -> Vec<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = File::open(folder.join(format!("log-extra-fields:{unit}")));
    // Without the file there are none.
    let _ = file.and_then(|file| file.take(FIELDS_BYTES_MAX).read_to_end(&mut bytes));
    parse(&bytes)
}

/// The fields of such a file, up to the first that is not whole.
fn parse(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let mut rest = bytes;
    while let Some((length, after)) = rest.split_first_chunk::<8>() {
        let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
        let Some((field, after)) = after.split_at_checked(length) else { break };
        if field.contains(&b'=') && valid_name(split(field).0, false) {
            found.push(field.to_owned());
        }
        rest = after;
    }
    found
}

/// The units that spoke lately.
pub struct Units {
    folder: PathBuf,
    known: HashMap<String, Rc<Settings>>,
    watch: Inotify,
}

impl Units {
    /// Reads the folder, which is made if need be.
    ///
    /// # Errors
    /// It cannot be made or watched.
    pub fn start(folder: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&folder)?;
        let watch = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        let flags = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_CLOSE_WRITE;
        watch.add_watch(&folder, flags)?;
        Ok(Self { folder, known: HashMap::new(), watch })
    }

    /// Becomes readable when a unit says something else.
    pub fn watch(&self) -> &Inotify {
        &self.watch
    }

    /// Units may say something else now.
    pub fn changed(&mut self) {
        while self.watch.read_events().is_ok_and(|events| !events.is_empty()) {}
        self.known.clear();
    }

    /// What a unit says.
    pub fn get(&mut self, unit: &str) -> Rc<Settings> {
        if let Some(known) = self.known.get(unit) {
            return Rc::clone(known);
        }
        if self.known.len() >= UNITS_MAX {
            self.known.clear();
        }
        let read = Rc::new(Settings::read(&self.folder, unit));
        self.known.insert(unit.to_owned(), Rc::clone(&read));
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn what_units_say_is_read_and_bad_words_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let mut units = Units::start(folder.path().join("units")).unwrap();
        let at = |what: &str| folder.path().join("units").join(format!("{what}:a.service"));
        let none = units.get("a.service");
        assert!(none.level_max.is_none() && none.fields.is_empty());
        symlink("4", at("log-level-max")).unwrap();
        symlink("2000000", at("log-rate-limit-interval")).unwrap();
        symlink("many", at("log-rate-limit-burst")).unwrap();
        let mut text = Vec::new();
        for field in ["ZONE=east=1", "bad=x", "_TRUSTED=x", "EMPTY="] {
            text.extend((field.len() as u64).to_le_bytes());
            text.extend(field.as_bytes());
        }
        text.extend(999_u64.to_le_bytes());
        fs::write(at("log-extra-fields"), text).unwrap();
        assert!(units.get("a.service").level_max.is_none(), "as known");
        units.changed();
        let said = units.get("a.service");
        assert_eq!((said.level_max, said.rate_interval), (Some(4), Some(Duration::from_secs(2))));
        assert_eq!(said.rate_burst, None);
        assert_eq!(said.fields, [b"ZONE=east=1".to_vec(), b"EMPTY=".to_vec()]);
    }
}
