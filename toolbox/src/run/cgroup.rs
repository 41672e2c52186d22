//! A box's cgroup.

use super::forbidden;
use crate::plan::Cgroup;
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long the kernel may take to let go of a cgroup whose processes are dead.
const PATIENCE: Duration = Duration::from_secs(5);

/// The folder that the box's cgroup will have: decided before it is made, so that whoever cleans up knows it.
pub(super) fn folder(plan: &Cgroup) -> PathBuf {
    plan.parent.join(format!("toolbox-{}", std::process::id()))
}

/// Makes it, with its limits.
pub(super) fn make(plan: &Cgroup, folder: &Path) -> io::Result<()> {
    match fs::create_dir(folder) {
        // Of a process with this number that ended with the machine's power, or whose cleaner was killed.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            remove(folder)?;
            fs::create_dir(folder)?;
        }
        other => other?,
    }
    for (file, value) in &plan.limits {
        fs::write(folder.join(file), value)?;
    }
    Ok(())
}

/// What was done, and why it failed.
type Failure = (&'static str, io::Error);

/// Forks into new namespaces, the child in the cgroup from its first moment: to move it there later, the kernel
/// waits for every processor, which takes longer than all else that a box needs.
pub(super) fn fork(namespaces: u64, folder: Option<&Path>) -> Result<Option<i32>, Failure> {
    let forked = |error| ("make the box's namespaces", forbidden::explained(error, namespaces));
    let Some(folder) = folder else { return sys::fork::fork(namespaces, None).map_err(forked) };
    let within = File::open(folder).and_then(|folder| sys::fork::fork(namespaces, Some(folder.as_fd())));
    let Err(_) = within else { return within.map_err(forked) };
    // A kernel before 5.7, or a failure that one of these two will tell by its name.
    let Some(child) = sys::fork::fork(namespaces, None).map_err(forked)? else { return Ok(None) };
    fs::write(folder.join("cgroup.procs"), child.to_string()).map_err(|error| {
        let _ = sys::process::kill(child, nix::libc::SIGKILL);
        let _ = waitpid(Pid::from_raw(child), None);
        ("put the box into its cgroup", error)
    })?;
    Ok(Some(child))
}

/// Ends all that is in it, and removes it. Its absence is fine.
pub(super) fn remove(folder: &Path) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match fs::remove_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy && Instant::now() < deadline => {
                // What the box made below goes first.
                for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                    if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                        remove(&entry.path())?;
                    }
                }
                kill(folder);
                std::thread::sleep(Duration::from_millis(1));
            }
            other => return other,
        }
    }
}

/// Kills all that is in it: at once since Linux 5.14, else one by one.
fn kill(folder: &Path) {
    if fs::write(folder.join("cgroup.kill"), "1").is_ok() {
        return;
    }
    for line in fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default().lines() {
        if let Ok(pid) = line.parse()
            && pid != std::process::id() as i32
        {
            let _ = sys::process::kill(pid, nix::libc::SIGKILL);
        }
    }
}
