//! Mounting: mount(2), umount2(2), and what changes the root directory.

use nix::mount::{MntFlags, MsFlags, umount2};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

pub use nix::mount::MsFlags as Flags;

/// One mount, as data. mount(2) gives the meaning of each field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Device, or the file system's name where there is none.
    pub source: PathBuf,
    /// Directory to mount on.
    pub target: PathBuf,
    /// File system type.
    pub fs_type: &'static str,
    /// `MS_*` flags.
    pub flags: Flags,
    /// Options of the file system, separated by commas.
    pub options: String,
}

/// A mount that failed.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// mount(2) refused it.
    #[error("cannot mount {} ({fs_type}) on {}: {cause}", source_name.display(), target.display())]
    Mount {
        /// Device or name.
        source_name: PathBuf,
        /// Where.
        target: PathBuf,
        /// File system type.
        fs_type: &'static str,
        /// The kernel's reason.
        cause: io::Error,
    },
    /// The mount could not be moved.
    #[error("cannot move the mount on {} to {}: {cause}", from.display(), to.display())]
    Move {
        /// Where it is.
        from: PathBuf,
        /// Where it should be.
        to: PathBuf,
        /// The kernel's reason.
        cause: io::Error,
    },
    /// The mount could not be undone.
    #[error("cannot unmount {}: {cause}", target.display())]
    Unmount {
        /// Where.
        target: PathBuf,
        /// The kernel's reason.
        cause: io::Error,
    },
    /// The mount's flags could not be changed.
    #[error("cannot remount {}: {cause}", target.display())]
    Remount {
        /// Where.
        target: PathBuf,
        /// The kernel's reason.
        cause: io::Error,
    },
    /// The root directory could not be switched.
    #[error("cannot make {} the root directory: {cause}", root.display())]
    SwitchRoot {
        /// The new root.
        root: PathBuf,
        /// The kernel's reason.
        cause: io::Error,
    },
}

impl Mount {
    /// A mount without flags and options.
    pub fn new(source: impl Into<PathBuf>, target: impl Into<PathBuf>, fs_type: &'static str) -> Self {
        Self {
            source: source.into(),
            target: target.into(),
            fs_type,
            flags: Flags::empty(),
            options: String::new(),
        }
    }

    /// The same with these flags.
    #[must_use]
    pub fn flags(self, flags: Flags) -> Self {
        Self { flags, ..self }
    }

    /// The same with these options.
    #[must_use]
    pub fn options(self, options: impl Into<String>) -> Self {
        Self { options: options.into(), ..self }
    }

    /// Mounts it.
    ///
    /// # Errors
    /// [`MountError::Mount`].
    pub fn mount(&self) -> Result<(), MountError> {
        nix::mount::mount(
            Some(&self.source),
            &self.target,
            Some(self.fs_type),
            self.flags,
            Some(self.options.as_str()),
        )
        .map_err(|cause| MountError::Mount {
            source_name: self.source.clone(),
            target: self.target.clone(),
            fs_type: self.fs_type,
            cause: cause.into(),
        })
    }
}

/// Moves the mount on `from` to `to` (`MS_MOVE`).
///
/// # Errors
/// [`MountError::Move`].
pub fn move_mount(from: &Path, to: &Path) -> Result<(), MountError> {
    nix::mount::mount(Some(from), to, None::<&str>, MsFlags::MS_MOVE, None::<&str>)
        .map_err(|cause| MountError::Move { from: from.into(), to: to.into(), cause: cause.into() })
}

/// Makes all mounts of this mount namespace private, so that changes stay inside (`MS_REC|MS_PRIVATE`).
///
/// # Errors
/// [`MountError::Remount`].
pub fn make_private() -> Result<(), MountError> {
    let root = Path::new("/");
    nix::mount::mount(None::<&str>, root, None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .map_err(|cause| MountError::Remount { target: root.into(), cause: cause.into() })
}

/// Remounts the file system at `target` read-only, which writes out all that is pending.
///
/// # Errors
/// [`MountError::Remount`]: `EBUSY` when a file is open for writing.
pub fn remount_read_only(target: &Path) -> Result<(), MountError> {
    nix::mount::mount(
        None::<&str>,
        target,
        None::<&str>,
        MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY,
        None::<&str>,
    )
    .map_err(|cause| MountError::Remount { target: target.into(), cause: cause.into() })
}

/// Makes the mount that `tree` is the root of read-only, and all that is mounted below: mount_setattr(2), Linux
/// 5.12.
///
/// # Errors
/// mount_setattr(2): EINVAL when it is no mount's root, EPERM in another's mount namespace.
pub fn make_tree_read_only(tree: &impl AsFd) -> io::Result<()> {
    set_attributes(tree, crate::isolation::READ_ONLY)
}

/// As [`make_tree_read_only`], and no device node there can be opened: a read-only mount does not keep writers
/// from devices.
///
/// # Errors
/// As there.
pub fn make_tree_inert(tree: &impl AsFd) -> io::Result<()> {
    set_attributes(tree, crate::isolation::READ_ONLY | crate::isolation::NO_DEVICES)
}

fn set_attributes(tree: &impl AsFd, set: u64) -> io::Result<()> {
    use crate::isolation::{AT_RECURSIVE, MountAttributes, SYS_MOUNT_SETATTR};
    let attributes = MountAttributes { set, clear: 0, propagation: 0, user_namespace: 0 };
    let size = size_of::<MountAttributes>();
    // SAFETY: `attributes` is the kernel's structure with its true size, the path is a C string, and the kernel
    // keeps neither. Neither libc nor nix have the call.
    let done = unsafe {
        libc::syscall(
            SYS_MOUNT_SETATTR,
            tree.as_fd().as_raw_fd(),
            c"".as_ptr(),
            AT_RECURSIVE | libc::AT_EMPTY_PATH,
            &raw const attributes,
            size,
        )
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Unmounts `target`. It must not be in use.
///
/// # Errors
/// [`MountError::Unmount`].
pub fn unmount(target: &Path) -> Result<(), MountError> {
    umount2(target, MntFlags::UMOUNT_NOFOLLOW)
        .map_err(|cause| MountError::Unmount { target: target.into(), cause: cause.into() })
}

/// The node of the block device that holds the file system `path` is on.
///
/// # Errors
/// There is no such path, or the file system is on no block device.
pub fn device_of(path: &Path) -> io::Result<PathBuf> {
    let number = fs::metadata(path)?.dev();
    node_of((nix::sys::stat::major(number), nix::sys::stat::minor(number)))
}

/// The node of the block device with a number.
///
/// # Errors
/// There is no such block device.
pub fn node_of((major, minor): (u64, u64)) -> io::Result<PathBuf> {
    let link = fs::read_link(format!("/sys/dev/block/{major}:{minor}"))?;
    Ok(Path::new("/dev").join(link.file_name().unwrap_or_default()))
}

/// One mount of this process's namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountPoint {
    /// Major and minor number of the file system's device.
    pub device: (u64, u64),
    /// Where it is.
    pub target: PathBuf,
    /// The file system's type, as `ext4`.
    pub fs_type: String,
}

/// All mounts, in the order in which they were made: `/proc/self/mountinfo`, proc(5).
///
/// # Errors
/// It cannot be read.
pub fn mounts() -> io::Result<Vec<MountPoint>> {
    Ok(fs::read("/proc/self/mountinfo")?.split(|byte| *byte == b'\n').filter_map(mount_point).collect())
}

fn mount_point(line: &[u8]) -> Option<MountPoint> {
    let mut fields = line.split(|byte| *byte == b' ');
    let (major, minor) = std::str::from_utf8(fields.nth(2)?).ok()?.split_once(':')?;
    let mut target = Vec::new();
    let mut raw = fields.nth(1)?;
    // Space, tab, line feed and backslash are written as \ooo.
    while let [first, rest @ ..] = raw {
        let octal =
            rest.get(..3).filter(|_| *first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => (raw, _) = (&rest[3..], target.push(byte)),
            None => (raw, _) = (rest, target.push(*first)),
        }
    }
    let target = PathBuf::from(OsString::from_vec(target));
    // The fields before the dash are of varying number.
    fields.find(|field| *field == b"-")?;
    let fs_type = String::from_utf8_lossy(fields.next()?).into_owned();
    Some(MountPoint { device: (major.parse().ok()?, minor.parse().ok()?), target, fs_type })
}

/// Waits until no file system is mounted from `device` any more. After [`unmount`] one can be for
/// a moment yet: the mount namespaces of processes that were killed go later than they do.
///
/// # Errors
/// [`io::ErrorKind::TimedOut`], or the device cannot be opened.
pub fn wait_released(device: &Path, patience: Duration) -> io::Result<()> {
    let deadline = Instant::now() + patience;
    loop {
        // Of a block device, and without O_CREAT, it means "in use by nobody else": open(2).
        let claim = fs::OpenOptions::new().read(true).custom_flags(libc::O_EXCL).open(device);
        match claim {
            Err(error) if error.kind() != io::ErrorKind::ResourceBusy => return Err(error),
            Err(_) if Instant::now() >= deadline => return Err(io::ErrorKind::TimedOut.into()),
            Err(_) => thread::sleep(Duration::from_millis(10)),
            Ok(_) => return Ok(()),
        }
    }
}

/// Makes the mount at `root` the root directory of this process and, if it is PID 1, of all
/// that it will start: what switch_root(8) does after it has emptied the initramfs.
///
/// # Errors
/// [`MountError::SwitchRoot`].
pub fn switch_root(root: &Path) -> Result<(), MountError> {
    let switch = || -> nix::Result<()> {
        nix::unistd::chdir(root)?;
        nix::mount::mount(Some("."), "/", None::<&str>, MsFlags::MS_MOVE, None::<&str>)?;
        nix::unistd::chroot(".")?;
        nix::unistd::chdir("/")
    };
    switch().map_err(|cause| MountError::SwitchRoot { root: root.into(), cause: cause.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_mountinfo() {
        let line = br"36 35 254:4 /data /run/a\040b\134c rw,noatime master:1 - ext4 /dev/vda4 rw";
        let found = mount_point(line).unwrap();
        let target = r"/run/a b\c".into();
        assert_eq!(found, MountPoint { device: (254, 4), target, fs_type: "ext4".to_owned() });
        assert_eq!(mount_point(b""), None);
        assert!(mounts().unwrap().iter().any(|mount| mount.target == Path::new("/")));
    }
}
