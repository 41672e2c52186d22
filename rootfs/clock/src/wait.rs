//! `time-wait-sync`: ends once the clock has been set right, so that `time-sync.target` means what
//! it says (`systemd-time-wait-sync.service(8)`).

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use std::io;
use std::path::Path;

/// This file is there from then on.
pub const MARK: &str = "/run/systemd/timesync/synchronized";

/// The applet. Exit code: 1 failed, 2 usage.
pub fn main(arguments: &[String]) -> u8 {
    if !arguments.is_empty() {
        eprintln!("error: time-wait-sync takes no arguments");
        return 2;
    }
    match wait(Path::new(MARK)) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("error: {MARK}: {error}");
            1
        }
    }
}

/// Waits until a file is there.
///
/// # Errors
/// Its folder cannot be made or watched.
pub fn wait(mark: &Path) -> io::Result<()> {
    let folder = mark.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(folder)?;
    let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    inotify::add_watch(&watch, folder, WatchFlags::CREATE | WatchFlags::MOVED_TO)?;
    // Looked for after the watch is set: whatever comes later is told.
    while !mark.exists() {
        match poll(&mut [PollFd::new(&watch, PollFlags::IN)], None) {
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => drain(&watch),
        }
    }
    Ok(())
}

/// Reads away what is there.
pub(crate) fn drain(events: &std::os::fd::OwnedFd) {
    let mut bytes = [0; 4096];
    while !matches!(rustix::io::read(events, &mut bytes), Err(rustix::io::Errno::AGAIN) | Ok(0)) {}
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_ends_when_the_file_comes() {
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("a/synchronized");
        let other = mark.clone();
        let (send, receive) = std::sync::mpsc::channel();
        let waiting = std::thread::spawn(move || {
            super::wait(&other).unwrap();
            send.send(()).unwrap();
        });
        assert!(receive.recv_timeout(std::time::Duration::from_millis(50)).is_err());
        std::fs::create_dir_all(mark.parent().unwrap()).unwrap();
        std::fs::write(&mark, "").unwrap();
        waiting.join().unwrap();
    }
}
