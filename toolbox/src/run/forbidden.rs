//! Why a user may have no namespaces: the kernel says ENOSPC or EPERM alone.

use crate::namespace::Namespace;
use std::fs;
use std::io;

/// Settings that forbid user namespaces, the value with which each does, and the cure: namespaces(7) for the first,
/// Debian's and Ubuntu's kernels for the others.
const SETTINGS: [(&str, &str, &str); 3] = [
    ("user/max_user_namespaces", "0", "sysctl user.max_user_namespaces=10000"),
    ("kernel/unprivileged_userns_clone", "0", "sysctl kernel.unprivileged_userns_clone=1"),
    (
        "kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "sysctl kernel.apparmor_restrict_unprivileged_userns=0",
    ),
];

/// The failure to make namespaces, a union of `CLONE_NEW*`, with its cause and the cure where they are known.
pub(super) fn explained(error: io::Error, namespaces: u64) -> io::Error {
    let refused = matches!(error.raw_os_error(), Some(nix::libc::ENOSPC | nix::libc::EPERM));
    if !refused || namespaces & Namespace::User.clone_flag() == 0 {
        return error;
    }
    let read = |setting: &str| fs::read_to_string(format!("/proc/sys/{setting}")).ok();
    match cause(read) {
        Some(text) => io::Error::new(error.kind(), format!("{error}: {text}")),
        None => error,
    }
}

fn cause(read: impl Fn(&str) -> Option<String>) -> Option<String> {
    SETTINGS.iter().find(|(setting, value, _)| read(setting).is_some_and(|text| text.trim() == *value)).map(
        |(setting, value, cure)| {
            let name = setting.replace('/', ".");
            format!(
                "user namespaces are forbidden, {name} is {value}\nhint: run toolbox as root, or as root: {cure}"
            )
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_setting_and_its_cure_are_named() {
        let with = |name: &'static str, value: &'static str| {
            cause(move |setting| (setting == name).then(|| format!("{value}\n")))
        };
        let text = with("kernel/unprivileged_userns_clone", "0").unwrap();
        assert!(text.contains("kernel.unprivileged_userns_clone is 0\nhint: "), "{text}");
        assert!(text.ends_with("sysctl kernel.unprivileged_userns_clone=1"), "{text}");
        assert_eq!(with("kernel/unprivileged_userns_clone", "1"), None);
        assert_eq!(with("user/max_user_namespaces", "15000"), None);
        let other = explained(io::Error::from_raw_os_error(nix::libc::ENOSPC), 0);
        assert_eq!(other.raw_os_error(), Some(nix::libc::ENOSPC));
    }
}
