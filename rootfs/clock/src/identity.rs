//! What a machine is called and what it is: hostname(5), machine-info(5), os-release(5), DMI.

use serde::Serialize;
use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

/// `machine-info(5)`.
pub const MACHINE_INFO: &str = "etc/machine-info";
/// `hostname(5)`.
pub const HOSTNAME: &str = "etc/hostname";

/// Everything that `hostnamectl status` shows. What is not known is not there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the fields are the names that hostnamectl shows")]
pub struct Identity {
    pub hostname: String,
    pub static_hostname: Option<String>,
    pub pretty_hostname: Option<String>,
    pub icon_name: String,
    pub chassis: Option<String>,
    pub deployment: Option<String>,
    pub location: Option<String>,
    #[serde(rename = "MachineID")]
    pub machine_id: Option<String>,
    #[serde(rename = "BootID")]
    pub boot_id: Option<String>,
    pub operating_system_pretty_name: Option<String>,
    pub kernel_name: String,
    pub kernel_release: String,
    pub architecture: String,
    pub hardware_vendor: Option<String>,
    pub hardware_model: Option<String>,
    pub firmware_version: Option<String>,
}

impl Identity {
    /// Looks at the machine whose file tree starts at `root`.
    pub fn look(root: &Path) -> Self {
        let line = |path: &str| {
            let text = read(&root.join(path))?;
            let line = text.lines().next().unwrap_or_default().trim().to_owned();
            (!line.is_empty()).then_some(line)
        };
        let info = read(&root.join(MACHINE_INFO)).unwrap_or_default();
        let info = |key: &str| value(&info, key);
        let os = read(&root.join("etc/os-release")).unwrap_or_default();
        let kernel = rustix::system::uname();
        let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
        let chassis = info("CHASSIS").or_else(|| {
            let number = line("sys/class/dmi/id/chassis_type")?.parse().ok()?;
            chassis(number, line("sys/class/dmi/id/sys_vendor").as_deref())
        });
        let icon = chassis.as_ref().map_or("computer".to_owned(), |chassis| format!("computer-{chassis}"));
        Self {
            hostname: text(kernel.nodename()),
            static_hostname: line(HOSTNAME),
            pretty_hostname: info("PRETTY_HOSTNAME"),
            icon_name: info("ICON_NAME").unwrap_or(icon),
            chassis,
            deployment: info("DEPLOYMENT"),
            location: info("LOCATION"),
            machine_id: line("etc/machine-id"),
            boot_id: line("proc/sys/kernel/random/boot_id").map(|id| id.replace('-', "")),
            operating_system_pretty_name: value(&os, "PRETTY_NAME"),
            kernel_name: text(kernel.sysname()),
            kernel_release: text(kernel.release()),
            architecture: text(kernel.machine()).replace('_', "-"),
            hardware_vendor: line("sys/class/dmi/id/sys_vendor"),
            hardware_model: line("sys/class/dmi/id/product_name"),
            firmware_version: line("sys/class/dmi/id/bios_version"),
        }
    }
}

fn read(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    fs::File::open(path).ok()?.take(1 << 16).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The kind of a machine by the SMBIOS number (DSP0134 section 7.4.1), as systemd groups them.
fn chassis(number: u8, vendor: Option<&str>) -> Option<String> {
    if vendor.is_some_and(|vendor| ["QEMU", "Xen", "VMware, Inc.", "innotek GmbH", "Bochs"].contains(&vendor))
    {
        return Some("vm".to_owned());
    }
    let kind = match number {
        0x03 | 0x04 | 0x06 | 0x07 | 0x0d | 0x23 | 0x24 => "desktop",
        0x08 | 0x09 | 0x0a | 0x0e => "laptop",
        0x0b => "handset",
        0x11 | 0x1c | 0x1d => "server",
        0x1e => "tablet",
        0x1f | 0x20 => "convertible",
        0x21 | 0x22 => "embedded",
        _ => return None,
    };
    Some(kind.to_owned())
}

/// The value of a key in a file of shell assignments; an empty one is none.
pub fn value(text: &str, key: &str) -> Option<String> {
    let raw = text.lines().filter_map(|line| line.trim().strip_prefix(key)?.strip_prefix('=')).next_back()?;
    let mut plain = String::new();
    let mut quote = None;
    let mut letters = raw.trim().chars();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (None, '"' | '\'') => quote = Some(letter),
            (Some(open), _) if letter == open => quote = None,
            (None | Some('"'), '\\') => plain.extend(letters.next()),
            _ => plain.push(letter),
        }
    }
    (!plain.is_empty()).then_some(plain)
}

/// The text with a key set to a value, or without the key when the value is empty.
pub fn with_value(text: &str, key: &str, value: &str) -> String {
    let is_key = |line: &str| line.trim().strip_prefix(key).is_some_and(|rest| rest.starts_with('='));
    let mut lines: Vec<String> = text.lines().filter(|line| !is_key(line)).map(str::to_owned).collect();
    if !value.is_empty() {
        let mut quoted = String::new();
        for letter in value.chars() {
            if matches!(letter, '"' | '\\' | '$' | '`') {
                quoted.push('\\');
            }
            quoted.push(letter);
        }
        lines.push(format!("{key}=\"{quoted}\""));
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// Why a value cannot be taken.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// hostname(7): labels of letters, digits and `-`, not at either end, 64 bytes in all (the kernel).
    #[error(
        "`{0}` is not a host name: labels of letters, digits and `-`, separated by dots, at most 64 in all"
    )]
    Hostname(String),
    /// One of a list.
    #[error(
        "`{0}` is not a chassis: desktop, laptop, convertible, server, tablet, handset, watch, embedded, vm, container"
    )]
    Chassis(String),
    /// A word.
    #[error("`{0}` is not a word of letters, digits and `-._`")]
    Word(String),
    /// Free text.
    #[error("the text has control characters, or more than 255 bytes")]
    Text,
}

/// Checks a host name.
///
/// # Errors
/// [`Invalid::Hostname`].
pub fn check_hostname(name: &str) -> Result<(), Invalid> {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let good = name.len() <= 64 && name.split('.').all(is_label);
    if good { Ok(()) } else { Err(Invalid::Hostname(name.to_owned())) }
}

/// Checks a value of machine-info(5); an empty one removes the key.
///
/// # Errors
/// See [`Invalid`].
pub fn check_info(key: &str, value: &str) -> Result<(), Invalid> {
    const CHASSIS: [&str; 10] = [
        "desktop",
        "laptop",
        "convertible",
        "server",
        "tablet",
        "handset",
        "watch",
        "embedded",
        "vm",
        "container",
    ];
    let is_word = value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    match key {
        _ if value.is_empty() => Ok(()),
        "CHASSIS" if !CHASSIS.contains(&value) => Err(Invalid::Chassis(value.to_owned())),
        "DEPLOYMENT" | "ICON_NAME" if !is_word => Err(Invalid::Word(value.to_owned())),
        _ if value.len() > 255 || value.chars().any(char::is_control) => Err(Invalid::Text),
        _ => Ok(()),
    }
}

/// Puts a text in place of a file at once, or removes the file when the text is empty.
///
/// # Errors
/// The file's.
pub fn replace(path: &Path, text: &str) -> io::Result<()> {
    if text.is_empty() {
        return match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
    }
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    fs::write(&fresh, text)?;
    fs::rename(&fresh, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_there_and_back() {
        let text = with_value("# c\nCHASSIS=vm\nLOCATION='a b'\n", "PRETTY_HOSTNAME", "Anna's \"Box\" $1");
        assert_eq!(value(&text, "PRETTY_HOSTNAME").as_deref(), Some("Anna's \"Box\" $1"));
        assert_eq!(value(&text, "LOCATION").as_deref(), Some("a b"));
        assert_eq!(with_value(&text, "PRETTY_HOSTNAME", ""), "# c\nCHASSIS=vm\nLOCATION='a b'\n");
        assert_eq!(value("CHASSISX=1\nCHASSIS=\n", "CHASSIS"), None);
    }

    #[test]
    fn host_names() {
        for good in ["a", "node-1.example", "1"] {
            assert_eq!(check_hostname(good), Ok(()));
        }
        for wrong in ["", ".", "a.", "-a", "a-", "a_b", "ä", "a b", &"a".repeat(64), &"a.".repeat(40)] {
            assert!(check_hostname(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn values_of_machine_info() {
        assert_eq!(check_info("CHASSIS", "vm"), Ok(()));
        assert_eq!(check_info("CHASSIS", "toaster"), Err(Invalid::Chassis("toaster".into())));
        assert!(check_info("DEPLOYMENT", "a b").is_err() && check_info("LOCATION", "a\nb").is_err());
        assert_eq!(check_info("LOCATION", "Rack 7, left"), Ok(()));
    }

    #[test]
    fn a_machine_from_its_files() {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in [
            ("etc/hostname", "node1\n"),
            ("etc/machine-info", "LOCATION=\"Rack 7\"\n"),
            ("etc/os-release", "NAME=x\nPRETTY_NAME=\"Slipway 0.1.0\"\n"),
            ("sys/class/dmi/id/chassis_type", "1\n"),
            ("sys/class/dmi/id/sys_vendor", "QEMU\n"),
        ] {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let found = Identity::look(root.path());
        assert_eq!(found.static_hostname.as_deref(), Some("node1"));
        assert_eq!((found.chassis.as_deref(), found.icon_name.as_str()), (Some("vm"), "computer-vm"));
        assert_eq!(found.location.as_deref(), Some("Rack 7"));
        assert_eq!(found.operating_system_pretty_name.as_deref(), Some("Slipway 0.1.0"));
        assert_eq!(chassis(0x17, None), None);
        assert_eq!(chassis(0x11, Some("Dell")).as_deref(), Some("server"));
    }
}
