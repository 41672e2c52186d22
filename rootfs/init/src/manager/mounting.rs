//! What the child of PID 1 does that mounts or unmounts for a mount unit. It may wait for a disk or
//! a server as long as that takes; PID 1 does not.

use crate::unit::mount::{MOUNT, UNMOUNT};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::fs;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// Options of mount(8) that are flags of mount(2): name, flags, and whether it takes them away.
const FLAGS: [(&str, MsFlags, bool); 30] = [
    ("ro", MsFlags::MS_RDONLY, false),
    ("rw", MsFlags::MS_RDONLY, true),
    ("nosuid", MsFlags::MS_NOSUID, false),
    ("suid", MsFlags::MS_NOSUID, true),
    ("nodev", MsFlags::MS_NODEV, false),
    ("dev", MsFlags::MS_NODEV, true),
    ("noexec", MsFlags::MS_NOEXEC, false),
    ("exec", MsFlags::MS_NOEXEC, true),
    ("sync", MsFlags::MS_SYNCHRONOUS, false),
    ("async", MsFlags::MS_SYNCHRONOUS, true),
    ("dirsync", MsFlags::MS_DIRSYNC, false),
    ("remount", MsFlags::MS_REMOUNT, false),
    ("bind", MsFlags::MS_BIND, false),
    ("rbind", MsFlags::MS_BIND.union(MsFlags::MS_REC), false),
    ("noatime", MsFlags::MS_NOATIME, false),
    ("atime", MsFlags::MS_NOATIME, true),
    ("nodiratime", MsFlags::MS_NODIRATIME, false),
    ("diratime", MsFlags::MS_NODIRATIME, true),
    ("relatime", MsFlags::MS_RELATIME, false),
    ("norelatime", MsFlags::MS_RELATIME, true),
    ("strictatime", MsFlags::MS_STRICTATIME, false),
    ("nostrictatime", MsFlags::MS_STRICTATIME, true),
    ("silent", MsFlags::MS_SILENT, false),
    ("loud", MsFlags::MS_SILENT, true),
    ("private", MsFlags::MS_PRIVATE, false),
    ("rprivate", MsFlags::MS_PRIVATE.union(MsFlags::MS_REC), false),
    ("shared", MsFlags::MS_SHARED, false),
    ("rshared", MsFlags::MS_SHARED.union(MsFlags::MS_REC), false),
    ("slave", MsFlags::MS_SLAVE, false),
    ("rslave", MsFlags::MS_SLAVE.union(MsFlags::MS_REC), false),
];

/// Options that are for programs around mount(2), not for the kernel (mount(8), fstab(5)).
const OURS: [&str; 12] = [
    "defaults", "auto", "noauto", "nofail", "fail", "user", "nouser", "users", "owner", "group", "_netdev",
    "loop",
];

/// How a file system is mounted.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    flags: MsFlags,
    propagation: MsFlags,
    data: String,
}

fn options(text: &str) -> Result<Options, String> {
    let mut found = Options { flags: MsFlags::empty(), propagation: MsFlags::empty(), data: String::new() };
    let propagations = MsFlags::MS_PRIVATE | MsFlags::MS_SHARED | MsFlags::MS_SLAVE;
    for word in text.split(',').filter(|word| !word.is_empty()) {
        if word == "loop" || word.starts_with("loop=") {
            return Err("option loop is not supported".into());
        }
        if let Some((_, flags, off)) = FLAGS.iter().find(|(name, ..)| *name == word) {
            if flags.intersects(propagations) {
                found.propagation = *flags;
            } else {
                found.flags.set(*flags, !off);
            }
        } else if !OURS.contains(&word) && !["x-", "X-", "comment="].iter().any(|own| word.starts_with(own)) {
            if !found.data.is_empty() {
                found.data.push(',');
            }
            found.data.push_str(word);
        }
    }
    Ok(found)
}

/// Magic numbers: offset, bytes, type.
const MAGIC: [(u64, &[u8], &str); 12] = [
    (0x438, b"\x53\xef", "ext4"),
    (0, b"XFSB", "xfs"),
    (0x1_0040, b"_BHRfS_M", "btrfs"),
    (82, b"FAT32   ", "vfat"),
    (54, b"FAT16   ", "vfat"),
    (54, b"FAT12   ", "vfat"),
    (0x8001, b"CD001", "iso9660"),
    (0, b"hsqs", "squashfs"),
    (1024, b"\xe2\xe1\xf5\xe0", "erofs"),
    (1024, b"\x10\x20\xf5\xf2", "f2fs"),
    (3, b"EXFAT   ", "exfat"),
    (3, b"NTFS    ", "ntfs3"),
];

/// The type of the file system on a device.
fn probe(device: &mut (impl Read + Seek)) -> Option<&'static str> {
    MAGIC.iter().find_map(|(offset, magic, name)| {
        let mut bytes = [0_u8; 8];
        let bytes = &mut bytes[..magic.len()];
        device.seek(SeekFrom::Start(*offset)).ok()?;
        device.read_exact(bytes).ok()?;
        (bytes == *magic).then_some(*name)
    })
}

/// Loads the module of a file system that the kernel does not have yet, if there is one.
fn load_module(name: &str) {
    let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if known.lines().any(|line| line.split_whitespace().last() == Some(name)) {
        return;
    }
    let modules: &[&str] = match name {
        "vfat" => &["vfat", "nls_cp437", "nls_ascii"],
        "iso9660" => &["isofs"],
        _ => &[name],
    };
    for module in modules {
        // If that was needed, mount(2) says so.
        let _ = sys::modules::load(module);
    }
}

fn run_mount(
    what: &str,
    target: &str,
    fs_type: &str,
    text: &str,
    mode: &str,
    more: &[&str],
) -> Result<(), String> {
    let Options { flags, propagation, mut data } = options(text)?;
    let is_bind = flags.contains(MsFlags::MS_BIND);
    let is_remount = flags.contains(MsFlags::MS_REMOUNT);
    let path = Path::new(target);
    let fail = |error: nix::Error| format!("cannot mount {what} on {target}: {}", error.desc());
    if !is_remount && !path.exists() {
        let mode = u32::from_str_radix(mode, 8).unwrap_or(0o755);
        let made = fs::DirBuilder::new().recursive(true).mode(mode).create(path);
        made.map_err(|error| format!("cannot make {target}: {error}"))?;
    }
    let fs_type = match fs_type {
        _ if is_bind || is_remount => "",
        "" | "auto" => {
            let mut device = fs::File::open(what).map_err(|error| format!("{what}: {error}"))?;
            probe(&mut device).ok_or_else(|| format!("{what}: no file system that is known"))?
        }
        known => known,
    };
    if !fs_type.is_empty() {
        load_module(fs_type);
    }
    let kind = (!fs_type.is_empty()).then_some(fs_type);
    // Of a bind mount the kernel takes the other flags in a second step: mount(2).
    let first = if is_bind && !is_remount { flags & (MsFlags::MS_BIND | MsFlags::MS_REC) } else { flags };
    let attempt = |flags: MsFlags, data: &str| mount(Some(what), path, kind, flags, Some(data));
    let mut done = attempt(first, &data);
    if done == Err(nix::Error::EINVAL) && more.contains(&"sloppy") && !data.is_empty() {
        eprintln!("options that {fs_type} does not take are left out: {data}");
        data.clear();
        done = attempt(first, &data);
    }
    let write_protected = matches!(done, Err(nix::Error::EROFS | nix::Error::EACCES));
    if write_protected && !flags.contains(MsFlags::MS_RDONLY) && !more.contains(&"read-write-only") {
        eprintln!("{what} is write-protected, mounting it read-only");
        done = attempt(first | MsFlags::MS_RDONLY, &data);
    }
    done.map_err(fail)?;
    if is_bind && !is_remount && flags != first {
        mount(None::<&str>, path, None::<&str>, flags | MsFlags::MS_REMOUNT, None::<&str>).map_err(fail)?;
    }
    if !propagation.is_empty() {
        mount(None::<&str>, path, None::<&str>, propagation, None::<&str>).map_err(fail)?;
    }
    Ok(())
}

fn run_unmount(target: &str, more: &[&str]) -> Result<(), String> {
    let mut flags = MntFlags::UMOUNT_NOFOLLOW;
    flags.set(MntFlags::MNT_DETACH, more.contains(&"lazy"));
    flags.set(MntFlags::MNT_FORCE, more.contains(&"force"));
    match umount2(target, flags) {
        // It is no mount point any more: that is what was wanted.
        Ok(()) | Err(nix::Error::EINVAL | nix::Error::ENOENT) => Ok(()),
        Err(error) => Err(format!("cannot unmount {target}: {}", error.desc())),
    }
}

/// Mounts or unmounts, if that is what this process was started for; gives its exit code. To be called
/// first by the `main` of every program that is PID 1.
pub fn main() -> Option<u8> {
    let arguments: Vec<String> = std::env::args().collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        [MOUNT, what, target, fs_type, options, mode, more @ ..] => {
            run_mount(what, target, fs_type, options, mode, more)
        }
        [UNMOUNT, target, more @ ..] => run_unmount(target, more),
        _ => return None,
    };
    Some(match done {
        Ok(()) => 0,
        Err(error) => {
            // Into the journal; if that is gone, the exit code says it.
            let _ = io::Write::write_all(&mut io::stderr(), format!("{error}\n").as_bytes());
            1
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    #[test]
    fn options_are_flags_data_or_ours() {
        let found = options("defaults,ro,nosuid,rw,x-systemd.automount,size=1M,noatime,mode=0700").unwrap();
        assert_eq!(found.flags, MsFlags::MS_NOSUID | MsFlags::MS_NOATIME);
        assert_eq!((found.data.as_str(), found.propagation), ("size=1M,mode=0700", MsFlags::empty()));
        assert_eq!(options("rbind,rslave").unwrap().propagation, MsFlags::MS_SLAVE | MsFlags::MS_REC);
        assert!(options("loop").is_err());
    }

    #[test]
    fn file_systems_are_known_by_their_magic() {
        let mut disk = vec![0; 0x1_1000];
        assert_eq!(probe(&mut Cursor::new(&disk)), None);
        disk[82..90].copy_from_slice(b"FAT32   ");
        assert_eq!(probe(&mut Cursor::new(&disk)), Some("vfat"));
        disk[0x438..0x43a].copy_from_slice(b"\x53\xef");
        assert_eq!(probe(&mut Cursor::new(&disk)), Some("ext4"));
        assert_eq!(probe(&mut Cursor::new(b"short")), None);
    }
}
