//! Files that may lie on a file system that does not answer, read with a bound on the wait.
//!
//! PID 1 reads what it needs itself (unit files, time zones, PID files) from the root and its own
//! small file systems. A path, or a link there, may lead elsewhere: to a network server, say. That
//! is read by a thread, for which PID 1 waits [`BOUND`] at most, and not again while it is held up.

use std::collections::BTreeSet;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::mpsc::channel;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

/// How long the caller waits at most.
const BOUND: Duration = Duration::from_secs(2);

/// What the machine cannot be without anyway: the root, and what the kernel and PID 1 keep in memory.
const OWN: [&str; 9] = ["/etc", "/usr", "/lib", "/lib64", "/bin", "/sbin", "/dev", "/sys", "/run/systemd"];

/// Links followed on the way, as many as the kernel does (`path_resolution(7)`).
const MAX_LINKS: usize = 40;

/// Paths at which a thread is held up now.
static HELD_UP: LazyLock<Mutex<BTreeSet<PathBuf>>> = LazyLock::new(Mutex::default);

/// Whether the way to a path leaves the machine's own file systems. Looks at nothing that is not on
/// those: each link is read before it is followed.
fn leads_out(path: &Path, own: &[&Path]) -> bool {
    let mut rest: Vec<PathBuf> = parts(path);
    let mut at = PathBuf::from("/");
    let mut links = 0;
    while let Some(part) = rest.pop() {
        if part == Path::new("..") {
            at.pop();
            continue;
        }
        at.push(part);
        let inside = own.iter().any(|own| at.starts_with(own));
        // Above them is the root's own.
        if !inside && !own.iter().any(|own| own.starts_with(&at)) {
            return true;
        }
        if let Ok(target) = at.read_link() {
            links += 1;
            if links > MAX_LINKS {
                return true;
            }
            if target.is_absolute() {
                at = PathBuf::from("/");
            } else {
                at.pop();
            }
            rest.extend(parts(&target));
        }
    }
    false
}

/// The parts of a path, the last first.
fn parts(path: &Path) -> Vec<PathBuf> {
    let all = path.components().filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir));
    all.map(|part| PathBuf::from(part.as_os_str())).rev().collect()
}

/// Does `work` with the path, and waits for it no longer than [`BOUND`] unless the path is on a file
/// system of the machine's own.
///
/// # Errors
/// Those of `work`; `TimedOut` if it takes longer, and at once while an earlier one does.
pub(crate) fn within<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    bounded(path, &OWN.map(Path::new), BOUND, work)
}

fn bounded<T: Send + 'static>(
    path: &Path,
    own: &[&Path],
    bound: Duration,
    work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    if !leads_out(path, own) {
        return work(path);
    }
    let silent = || io::Error::new(io::ErrorKind::TimedOut, "its file system does not answer");
    let held_up = || HELD_UP.lock().unwrap_or_else(PoisonError::into_inner);
    if !held_up().insert(path.to_owned()) {
        return Err(silent());
    }
    let (give, take) = channel();
    let place = path.to_owned();
    let begun = std::thread::Builder::new().name("far".into()).stack_size(256 << 10).spawn(move || {
        let found = work(&place);
        HELD_UP.lock().unwrap_or_else(PoisonError::into_inner).remove(&place);
        // Whoever asked may have given up.
        let _ = give.send(found);
    });
    if let Err(error) = begun {
        held_up().remove(path);
        return Err(error);
    }
    take.recv_timeout(bound).unwrap_or_else(|_| Err(silent()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_lead_out_and_back() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("own/sub")).unwrap();
        fs::create_dir(at("far")).unwrap();
        for (text, name) in [
            ("../far/file", "own/out"),
            ("sub", "own/in"),
            ("own/sub", "way"),
            ("../far", "own/folder"),
            ("loop", "own/loop"),
        ] {
            symlink(text, at(name)).unwrap();
        }
        let own = at("own");
        let out = |name: &str| leads_out(&at(name), &[&own]);
        assert!(!out("own/file") && !out("own/in/file") && !out("own/sub/../file"));
        assert!(out("own/out") && out("own/folder/file") && out("far/file") && out("own/loop"));
        assert!(out("own/../far") && out("way/file"), "another's link is not looked at");
    }

    #[test]
    fn a_wait_has_its_bound_and_is_not_repeated() {
        let fifo = tempfile::tempdir().unwrap();
        let path = fifo.path().join("fifo");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let read = |bound| bounded(&path, &[], bound, |path| fs::read(path));
        let late = read(Duration::from_millis(10)).unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
        assert_eq!(read(Duration::MAX).unwrap_err().kind(), io::ErrorKind::TimedOut, "one thread a path");
        fs::write(&path, "x").unwrap(); // lets the reader go
        while HELD_UP.lock().unwrap().contains(&path) {
            std::thread::yield_now();
        }
        assert_eq!(bounded(Path::new("/proc/self/comm"), &[], BOUND, |_| Ok(7)).unwrap(), 7);
    }
}
