//! Reading on as entries come (`journalctl -f`).

use super::{CURRENT, Entry, Filter};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Calls `each` with every wanted entry that is written from now on, until it says false.
///
/// # Errors
/// The folder cannot be watched or the file not be read.
pub fn follow(folder: &Path, filter: &Filter, mut each: impl FnMut(&Entry) -> bool) -> io::Result<()> {
    let watch = Inotify::init(InitFlags::IN_CLOEXEC)?;
    let events = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO;
    watch.add_watch(folder, events)?;
    let path = folder.join(CURRENT);
    let mut open = File::open(&path).ok();
    if let Some(file) = &mut open {
        file.seek(SeekFrom::End(0))?;
    }
    let mut reader = open.map(BufReader::new);
    let mut partial = Vec::new();
    loop {
        if let Some(from) = &mut reader {
            while from.read_until(b'\n', &mut partial)? > 0 && partial.ends_with(b"\n") {
                let entry: Option<Entry> = serde_json::from_slice(&partial).ok();
                partial.clear();
                if entry.is_some_and(|entry| filter.takes(&entry) && !each(&entry)) {
                    return Ok(());
                }
            }
        }
        let here = path.metadata().map(|meta| meta.ino()).ok();
        let mine = reader.as_ref().and_then(|from| from.get_ref().metadata().ok()).map(|meta| meta.ino());
        if here.is_some() && here != mine {
            reader = File::open(&path).ok().map(BufReader::new);
            partial.clear();
            continue; // rotated: the new file from its beginning
        }
        watch.read_events()?;
    }
}
