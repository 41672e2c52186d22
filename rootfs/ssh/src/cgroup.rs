//! The cgroup of a session: `user.slice/user-UID.slice/session-N.scope`, as systemd-logind has it.
//! Every process of a session is in it, whatever it does, and is killed with it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use tokio::io::Interest;

/// Where the unified hierarchy is mounted, from the text of /proc/self/mounts.
pub fn mount_point(mounts: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (point, kind) = (fields.next()?, fields.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(point))
    })
}

/// The scope of session `number` of user `uid`, below the mount point.
pub fn scope_path(uid: u32, number: u64) -> PathBuf {
    PathBuf::from(format!("user.slice/user-{uid}.slice/session-{number}.scope"))
}

/// A session's cgroup.
#[derive(Debug)]
pub struct Scope {
    path: PathBuf,
    folder: OwnedFd,
}

impl Scope {
    /// Makes it.
    ///
    /// # Errors
    /// mkdir(2) and open(2): no cgroup v2 is mounted, or this is not root.
    pub fn make(root: &Path, uid: u32, number: u64) -> io::Result<Self> {
        let path = root.join(scope_path(uid, number));
        fs::create_dir_all(&path)?;
        let folder = OpenOptions::new().read(true).custom_flags(nix::libc::O_DIRECTORY).open(&path)?;
        Ok(Self { path, folder: folder.into() })
    }

    /// The folder, for starting a process in it.
    pub fn folder(&self) -> BorrowedFd<'_> {
        self.folder.as_fd()
    }

    /// Kills every process in it (Linux 5.14, cgroup-v2.rst: `cgroup.kill`).
    ///
    /// # Errors
    /// write(2).
    pub fn kill(&self) -> io::Result<()> {
        kill(&self.path)
    }

    /// The processes in it.
    ///
    /// # Errors
    /// read(2).
    pub fn processes(&self) -> io::Result<Vec<i32>> {
        processes(&self.path)
    }

    /// Waits until no process is in it.
    ///
    /// # Errors
    /// `cgroup.events` cannot be read.
    pub async fn emptied(&self) -> io::Result<()> {
        let file = File::open(self.path.join("cgroup.events"))?;
        let mut events = crate::fd::watch(file, Interest::PRIORITY)?;
        loop {
            let mut text = String::new();
            events.get_mut().seek(SeekFrom::Start(0))?;
            events.get_mut().read_to_string(&mut text)?;
            if text.lines().any(|line| line == "populated 0") {
                return Ok(());
            }
            events.ready(Interest::PRIORITY).await?.clear_ready();
        }
    }

    /// Removes it, and its user's slice when that was the last.
    pub fn remove(&self) {
        remove(&self.path);
    }
}

/// See [`Scope::kill`].
///
/// # Errors
/// write(2).
pub fn kill(path: &Path) -> io::Result<()> {
    OpenOptions::new().write(true).open(path.join("cgroup.kill"))?.write_all(b"1")
}

/// See [`Scope::processes`].
///
/// # Errors
/// read(2).
pub fn processes(path: &Path) -> io::Result<Vec<i32>> {
    let text = fs::read_to_string(path.join("cgroup.procs"))?;
    Ok(text.lines().filter_map(|line| line.parse().ok()).collect())
}

/// See [`Scope::remove`]. What is still in use stays; nobody is hurt by an empty cgroup.
pub fn remove(path: &Path) {
    if fs::remove_dir(path).is_ok()
        && let Some(slice) = path.parent()
    {
        let _ = fs::remove_dir(slice);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unified_hierarchy_is_found() {
        let mounts = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        assert_eq!(mount_point(mounts), Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(mount_point("cgroup /x cgroup rw 0 0\n"), None);
    }
}
