//! The sessions in `/run/systemd/sessions/`: a file each, in systemd-logind's own form, so that
//! what reads those (sd-login(3)) reads these.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A session as its file has it.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct Record {
    /// Its number, the file's name.
    pub session: u64,
    /// User.
    pub uid: u32,
    /// User's name.
    pub user: String,
    /// Terminal, such as `pts/0`.
    pub tty: Option<String>,
    /// Where the client is.
    pub remote_host: String,
    /// `sshd`
    pub service: String,
    /// `active`, or `closing` when it is being ended.
    pub state: String,
    /// The first process.
    pub leader: Option<i32>,
    /// Its cgroup's name.
    pub scope: String,
    /// When it began, in microseconds since 1970.
    pub since_us: u64,
}

impl Record {
    /// The text of its file.
    pub fn text(&self) -> String {
        let line = |name: &str, value: Option<String>| {
            value.map_or_else(String::new, |value| format!("{name}={value}\n"))
        };
        format!(
            "# This is private data. Do not parse.\nUID={}\nUSER={}\nACTIVE={}\nSTATE={}\nREMOTE=1\nTYPE={}\nCLASS=user\n\
             SCOPE={}\nREMOTE_HOST={}\nSERVICE={}\nREALTIME={}\n{}{}",
            self.uid,
            self.user,
            u8::from(self.state == "active"),
            self.state,
            if self.tty.is_some() { "tty" } else { "unspecified" },
            self.scope,
            self.remote_host,
            self.service,
            self.since_us,
            line("TTY", self.tty.clone()),
            line("LEADER", self.leader.map(|leader| leader.to_string())),
        )
    }

    /// Reads the text of the file of session `number`; unknown keys are skipped. `None` without a user.
    pub fn parse(number: u64, text: &str) -> Option<Self> {
        let value = |key: &str| {
            let mut lines = text.lines().filter_map(|line| line.split_once('='));
            lines.find(|(name, _)| *name == key).map(|(_, value)| value.to_owned())
        };
        Some(Self {
            session: number,
            uid: value("UID")?.parse().ok()?,
            user: value("USER")?,
            tty: value("TTY"),
            remote_host: value("REMOTE_HOST").unwrap_or_default(),
            service: value("SERVICE").unwrap_or_default(),
            state: value("STATE").unwrap_or_default(),
            leader: value("LEADER").and_then(|text| text.parse().ok()),
            scope: value("SCOPE").unwrap_or_default(),
            since_us: value("REALTIME").and_then(|text| text.parse().ok()).unwrap_or(0),
        })
    }
}

/// The folder of sessions below `root`.
pub fn folder(root: &Path) -> PathBuf {
    root.join("run/systemd/sessions")
}

/// All sessions, by number. A file that cannot be read is of a session that ended just now.
///
/// # Errors
/// The folder cannot be read; a missing one is empty.
pub fn list(folder: &Path) -> io::Result<Vec<Record>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
        entries => entries?,
    };
    let mut records = Vec::new();
    for entry in entries {
        let entry = entry?;
        let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
        if let (Some(number), Ok(text)) = (number, fs::read_to_string(entry.path())) {
            records.extend(Record::parse(number, &text));
        }
    }
    records.sort_by_key(|record| record.session);
    Ok(records)
}

/// Writes a session's file, whole or not at all.
///
/// # Errors
/// The folder cannot be made or written.
pub fn write(folder: &Path, record: &Record) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let new = folder.join(format!(".{}.new", record.session));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(&new)?;
    file.write_all(record.text().as_bytes())?;
    fs::rename(&new, folder.join(record.session.to_string()))
}

/// Removes a session's file.
pub fn remove(folder: &Path, number: u64) {
    // Gone is gone.
    let _ = fs::remove_file(folder.join(number.to_string()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back_from_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let mut record = Record {
            session: 12,
            uid: 500,
            user: "core".to_owned(),
            tty: Some("pts/3".to_owned()),
            remote_host: "10.0.2.2".to_owned(),
            service: "sshd".to_owned(),
            state: "active".to_owned(),
            leader: Some(77),
            scope: "session-12.scope".to_owned(),
            since_us: 1_700_000_000_000_000,
        };
        write(folder.path(), &record).unwrap();
        assert_eq!(list(folder.path()).unwrap(), [record.clone()]);
        (record.session, record.tty, record.leader) = (9, None, None);
        write(folder.path(), &record).unwrap();
        fs::write(folder.path().join("10"), "nonsense").unwrap();
        let numbers: Vec<u64> = list(folder.path()).unwrap().iter().map(|record| record.session).collect();
        assert_eq!(numbers, [9, 12]);
        remove(folder.path(), 9);
        assert_eq!(list(folder.path()).unwrap().len(), 1);
        assert!(list(&folder.path().join("none")).unwrap().is_empty());
    }
}
