//! What the journal is to do with the entries of a unit, as systemd tells its own: links whose text
//! is a number, and a file of fields, in the folder `units`. They are there from the unit's start on.

use super::Manager;
use crate::engine::UnitId;
use crate::unit::execution::Logging;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// What is written for a unit: the names before its own, with the texts of the links.
fn links(logging: &Logging) -> [(&'static str, Option<String>); 3] {
    let interval = logging.rate_interval.map(|span| span.as_micros().to_string());
    [
        ("log-level-max", logging.level_max.map(|level| level.to_string())),
        ("log-rate-limit-interval", interval),
        ("log-rate-limit-burst", logging.rate_burst.map(|burst| burst.to_string())),
    ]
}

const FIELDS: &str = "log-extra-fields";

/// Each field behind its length.
fn encode(fields: &[String]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for field in fields {
        bytes.extend((field.len() as u64).to_le_bytes());
        bytes.extend(field.as_bytes());
    }
    bytes
}

fn replace(path: &Path, make: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    let new = path.with_file_name(".new");
    let _ = fs::remove_file(&new);
    make(&new)?;
    fs::rename(new, path)
}

impl Manager {
    fn log_folder(&self) -> PathBuf {
        self.paths.runtime.join("units")
    }

    fn logging(&self, id: UnitId) -> Option<(&str, &Logging)> {
        let unit = self.engine.unit(id);
        let execution = unit.service.as_ref()?.context.execution.as_deref()?;
        (execution.logging != Logging::default()).then_some((unit.name.as_str(), &execution.logging))
    }

    /// Tells the journal what is to become of what the unit is about to say.
    pub(super) fn export_logging(&mut self, id: UnitId) {
        let Some((name, logging)) = self.logging(id) else { return self.forget_logging(id) };
        let folder = self.log_folder();
        let write = || {
            fs::create_dir_all(&folder)?;
            for (what, text) in links(logging) {
                let path = folder.join(format!("{what}:{name}"));
                match text {
                    Some(text) => replace(&path, |new| symlink(text, new))?,
                    None => remove(&path)?,
                }
            }
            let path = folder.join(format!("{FIELDS}:{name}"));
            match logging.extra_fields.as_slice() {
                [] => remove(&path),
                fields => replace(&path, |new| fs::write(new, encode(fields))),
            }
        };
        let written = write();
        self.exported.insert(id);
        if let Err(error) = written {
            self.tell(Some(id), 4, &format!("its Log…= keys have no effect: {error}"));
        }
    }

    /// The unit has no such keys any more, or is gone. When it is only down they stay: what its last
    /// processes said may still have to be read.
    pub(super) fn forget_logging(&mut self, id: UnitId) {
        if !self.exported.remove(&id) {
            return;
        }
        let name = &self.engine.unit(id).name;
        for what in ["log-level-max", "log-rate-limit-interval", "log-rate-limit-burst", FIELDS] {
            // At worst the journal goes by it until the next boot.
            let _ = remove(&self.log_folder().join(format!("{what}:{name}")));
        }
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
