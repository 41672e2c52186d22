//! Whose device nodes are, and who may use them: the usual groups and modes, as in udev's
//! `50-udev-default.rules`. What is not listed stays as the kernel makes it.

use std::fs;
use std::path::Path;

/// Group and mode of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permission {
    /// Group, by name.
    pub group: &'static str,
    /// Permission bits.
    pub mode: u32,
}

/// Subsystem (empty: any), pattern of the node's name below /dev, group, mode.
const TABLE: [(&str, &str, &str, u32); 33] = [
    ("block", "sr*", "cdrom", 0o660),
    ("block", "*", "disk", 0o660),
    ("tty", "tty", "tty", 0o666),
    ("tty", "ptmx", "tty", 0o666),
    ("tty", "console", "tty", 0o620),
    ("tty", "tty#", "tty", 0o620),
    ("tty", "tty*", "dialout", 0o660),
    ("tty", "hvc#", "dialout", 0o660),
    ("vc", "vcs*", "tty", 0o660),
    ("vc", "vcsa*", "tty", 0o660),
    ("mem", "mem", "kmem", 0o640),
    ("mem", "kmem", "kmem", 0o640),
    ("mem", "port", "kmem", 0o640),
    ("input", "input/js#", "input", 0o664),
    ("input", "input/*", "input", 0o660),
    ("graphics", "fb#", "video", 0o660),
    ("drm", "dri/renderD#", "render", 0o660),
    ("drm", "dri/*", "video", 0o660),
    ("video4linux", "*", "video", 0o660),
    ("sound", "snd/*", "audio", 0o660),
    ("printer", "*", "lp", 0o660),
    ("usb", "usb/lp#", "lp", 0o660),
    ("usb", "bus/usb/*", "root", 0o664),
    ("scsi_generic", "sg#", "disk", 0o660),
    ("bsg", "bsg/*", "disk", 0o660),
    ("scsi_tape", "*", "tape", 0o660),
    ("misc", "kvm", "kvm", 0o660),
    ("misc", "vhost-net", "kvm", 0o660),
    ("misc", "vhost-vsock", "kvm", 0o660),
    ("misc", "loop-control", "disk", 0o660),
    ("misc", "fuse", "root", 0o666),
    ("misc", "net/tun", "root", 0o666),
    ("misc", "vsock", "root", 0o666),
];

/// The permission of a node. `name` is its path below /dev.
pub fn permission(subsystem: &str, name: &str) -> Option<Permission> {
    let found = TABLE.iter().find(|(of, pattern, ..)| *of == subsystem && fits(pattern, name));
    found.map(|(.., group, mode)| Permission { group, mode: *mode })
}

/// `*` at the end is anything, `#` digits.
fn fits(pattern: &str, name: &str) -> bool {
    if let Some(start) = pattern.strip_suffix('*') {
        return name.starts_with(start);
    }
    match pattern.strip_suffix('#') {
        Some(start) => name
            .strip_prefix(start)
            .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit())),
        None => name == pattern,
    }
}

/// A group's number in a group(5) file.
pub(crate) fn group_id(file: &Path, name: &str) -> Option<u32> {
    let text = fs::read_to_string(file).ok()?;
    let mut rows = text.lines().map(|line| line.split(':'));
    rows.find_map(|mut row| (row.next()? == name).then(|| row.nth(1)?.parse().ok())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_nodes_have_their_usual_owners() {
        for (subsystem, name, group, mode) in [
            ("block", "vda1", "disk", 0o660),
            ("block", "sr0", "cdrom", 0o660),
            ("tty", "tty", "tty", 0o666),
            ("tty", "tty1", "tty", 0o620),
            ("tty", "ttyS0", "dialout", 0o660),
            ("misc", "kvm", "kvm", 0o660),
            ("drm", "dri/renderD128", "render", 0o660),
            ("drm", "dri/card0", "video", 0o660),
        ] {
            assert_eq!(permission(subsystem, name), Some(Permission { group, mode }), "{name}");
        }
        assert_eq!(permission("mem", "null"), None);
        assert_eq!(permission("misc", "kvmx"), None);
    }
}
