//! A box's cgroup.

use crate::plan::Cgroup;
use std::fs;
use std::io;
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

/// Puts a process into it, and so all that it will start.
pub(super) fn enter(folder: &Path, pid: i32) -> io::Result<()> {
    fs::write(folder.join("cgroup.procs"), pid.to_string())
}

/// Ends all that is in it, and removes it. Its absence is fine.
pub(super) fn remove(folder: &Path) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        // What the box made below goes first.
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                remove(&entry.path())?;
            }
        }
        match fs::remove_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy && Instant::now() < deadline => {
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
