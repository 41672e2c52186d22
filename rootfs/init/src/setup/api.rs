//! The kernel's file systems, where every program expects them.

use super::SetupError;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use sys::mount::{Flags, Mount};

const CGROUPS: &str = "/sys/fs/cgroup";
/// What units may be given limits of: kernel.org, "Control Group v2", controllers.
const CONTROLLERS: [&str; 5] = ["cpu", "cpuset", "io", "memory", "pids"];

/// Mounts what stage 1 has not, and hands the controllers to the units' cgroups.
pub(super) fn set_up() -> Result<(), SetupError> {
    for mount in mounts() {
        if is_mounted(&mount.target) {
            continue;
        }
        if mount.target.starts_with("/dev") {
            SetupError::creating(&mount.target, make_dir(&mount.target))?;
        }
        mount.mount()?;
    }
    for (link, target) in [("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")]
    {
        let link = Path::new("/dev").join(link);
        if fs::symlink_metadata(&link).is_err() {
            SetupError::creating(&link, symlink(target, &link))?;
        }
    }
    enable_controllers()
}

fn mounts() -> Vec<Mount> {
    let plain = Flags::MS_NOSUID | Flags::MS_NODEV;
    let locked = plain | Flags::MS_NOEXEC;
    vec![
        Mount::new("proc", "/proc", "proc").flags(locked),
        Mount::new("sysfs", "/sys", "sysfs").flags(locked),
        Mount::new("devtmpfs", "/dev", "devtmpfs").flags(Flags::MS_NOSUID).options("mode=0755"),
        Mount::new("tmpfs", "/run", "tmpfs").flags(plain).options("mode=0755"),
        Mount::new("devpts", "/dev/pts", "devpts")
            .flags(Flags::MS_NOSUID | Flags::MS_NOEXEC)
            .options("mode=0620,gid=5,ptmxmode=0666"),
        Mount::new("tmpfs", "/dev/shm", "tmpfs").flags(plain).options("mode=1777"),
        Mount::new("tmpfs", "/tmp", "tmpfs").flags(plain).options("mode=1777"),
        Mount::new("cgroup2", CGROUPS, "cgroup2").flags(locked).options("nsdelegate,memory_recursiveprot"),
    ]
}

/// Mounts efivarfs when the machine was started through UEFI; without it there is no telling
/// which boot entry this is.
pub(super) fn mount_efivars() -> Result<(), SetupError> {
    let target = Path::new(sys::efivar::MOUNT_POINT);
    if !target.exists() || is_mounted(target) {
        return Ok(());
    }
    sys::modules::load("efivarfs")?;
    let locked = Flags::MS_NOSUID | Flags::MS_NODEV | Flags::MS_NOEXEC;
    Ok(Mount::new("efivarfs", target, "efivarfs").flags(locked).mount()?)
}

fn enable_controllers() -> Result<(), SetupError> {
    let path = Path::new(CGROUPS).join("cgroup.controllers");
    let available = SetupError::reading(&path, fs::read_to_string(&path))?;
    let wanted: Vec<String> = available
        .split_whitespace()
        .filter(|name| CONTROLLERS.contains(name))
        .map(|name| format!("+{name}"))
        .collect();
    let path = Path::new(CGROUPS).join("cgroup.subtree_control");
    SetupError::writing(&path, fs::write(&path, wanted.join(" ")))
}

/// Whether another file system than its parent's is there.
fn is_mounted(target: &Path) -> bool {
    let device = |path: &Path| fs::metadata(path).map(|metadata| metadata.dev()).ok();
    target.parent().is_some_and(|parent| device(target).is_some() && device(target) != device(parent))
}

fn make_dir(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}
