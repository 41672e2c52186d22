//! File capabilities as an extended attribute (capabilities(7), `linux/capability.h`).

/// Names in the order of their numbers (`CAP_CHOWN` is 0).
const NAMES: [&str; 41] = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];

/// The number of a capability by its name, with or without `cap_`, in any case.
pub fn number(name: &str) -> Option<u32> {
    let lower = name.to_ascii_lowercase();
    let bare = lower.strip_prefix("cap_").unwrap_or(&lower);
    NAMES.iter().position(|known| *known == bare).map(|index| index as u32)
}

/// `security.capability` that gives the capabilities as permitted and effective
/// (`struct vfs_cap_data`, revision 2, 20 bytes little-endian).
pub fn xattr(capabilities: &[u32]) -> Vec<u8> {
    /// `VFS_CAP_REVISION_2 | VFS_CAP_FLAGS_EFFECTIVE`
    const MAGIC: u32 = 0x0200_0000 | 1;
    let permitted = capabilities.iter().fold(0u64, |set, number| set | 1 << number);
    let words = [MAGIC, permitted as u32, 0, (permitted >> 32) as u32, 0];
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_value() {
        // `setcap cap_net_bind_service=ep`, read back with getfattr.
        let expected = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(xattr(&[number("CAP_NET_BIND_SERVICE").unwrap()]), expected);
        assert_eq!(number("checkpoint_restore"), Some(40));
        assert_eq!(number("cap_everything"), None);
    }
}
