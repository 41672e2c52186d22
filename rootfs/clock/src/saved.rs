//! The saved clock: a file whose time is the last that was known, for machines without a clock
//! that runs while they are off.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::SystemTime;

/// The file (`systemd-timesyncd.service(8)`).
pub const PATH: &str = "/var/lib/systemd/timesync/clock";

/// The time to set at start, if any: never earlier than what was saved, nor than the program
/// itself, whose file has the image's epoch.
pub fn at_start(now: SystemTime, known: &[Option<SystemTime>]) -> Option<SystemTime> {
    known.iter().copied().flatten().max().filter(|known| *known > now)
}

/// When a file was last written.
pub fn time_of(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).ok()?.modified().ok()
}

/// Saves the clock as it is now. Only the file's time changes, so nothing can be torn.
///
/// # Errors
/// The file or its folder cannot be written.
pub fn save(path: &Path) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let file = File::options().create(true).append(true).open(path)?;
    file.set_modified(SystemTime::now())?;
    // A power cut must not take the clock back.
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn only_forward() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(at_start(at(5), &[Some(at(9)), Some(at(7)), None]), Some(at(9)));
        assert_eq!(at_start(at(9), &[Some(at(9)), Some(at(7))]), None);
        assert_eq!(at_start(at(9), &[None, None]), None);
    }

    #[test]
    fn saving_moves_the_files_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/clock");
        save(&path).unwrap();
        File::options().append(true).open(&path).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
        save(&path).unwrap();
        assert!(time_of(&path).unwrap().elapsed().unwrap() < Duration::from_mins(1));
    }
}
