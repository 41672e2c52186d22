//! What is known of a link beside rtnetlink's, from sysfs; who this machine is.

use crate::config::{Candidate, Machine};
use crate::netlink::message::Link;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::Path;

/// A link as `[Match]` sees it.
pub(super) fn candidate(root: &Path, link: &Link) -> Candidate {
    let device = root.join("sys/class/net").join(&link.name).join("device");
    let base = |path: &Path| {
        let target = fs::read_link(path).ok()?;
        target.file_name().and_then(|name| name.to_str()).map(str::to_owned)
    };
    Candidate {
        name: link.name.clone(),
        alternative_names: link.alternative_names.clone(),
        mac: link.mac,
        driver: base(&device.join("driver")).unwrap_or_else(|| link.kind.clone()),
        kind_of_type: link.type_name().to_owned(),
        kind: link.kind.clone(),
        path: fs::canonicalize(&device).ok().and_then(|path| id_path(path.to_str()?)).unwrap_or_default(),
    }
}

/// The machine as `[Match]` sees it.
pub(super) fn machine(root: &Path) -> Machine {
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
    let uname = nix::sys::utsname::uname();
    let text = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
    let (host, kernel, hardware) = uname
        .map(|names| (text(Some(names.nodename())), text(Some(names.release())), text(Some(names.machine()))))
        .unwrap_or_default();
    Machine {
        host,
        id: read("etc/machine-id").trim().to_owned(),
        command_line: read("proc/cmdline").split_ascii_whitespace().map(str::to_owned).collect(),
        virtualization: sys::virtualization::kind(root),
        kernel,
        architecture: match hardware.as_str() {
            "x86_64" => "x86-64".to_owned(),
            "aarch64" => "arm64".to_owned(),
            other => other.to_owned(),
        },
    }
}

/// udev's `ID_PATH` of a device's place in sysfs: the last PCI function, then what hangs on it.
fn id_path(place: &str) -> Option<String> {
    let parts: Vec<&str> = place.split('/').collect();
    let is_pci = |part: &str| {
        let sizes: Vec<usize> = part.split([':', '.']).map(str::len).collect();
        sizes == [4, 2, 2, 1] && part.chars().all(|c| c.is_ascii_hexdigit() || ":.".contains(c))
    };
    let at = parts.iter().rposition(|part| is_pci(part))?;
    let mut path = format!("pci-{}", parts[at]);
    // usb1/1-2/1-2:1.0: the port and interface, without the number of the bus.
    if let Some((_, port)) =
        parts[at..].last().and_then(|last| last.split_once('-')).filter(|(_, port)| port.contains(':'))
    {
        path.push_str("-usb-0:");
        path.push_str(port);
    }
    Some(path)
}

/// The machine's DUID of type 2 (RFC 8415 section 11.3), made from its id without telling it; the
/// enterprise is systemd's.
pub(super) fn duid(root: &Path) -> Vec<u8> {
    let id = fs::read_to_string(root.join("etc/machine-id")).unwrap_or_default();
    let hash = Sha256::digest(format!("slipway-duid:{}", id.trim()));
    [&[0, 2, 0, 0, 0xab, 0x11][..], &hash[..8]].concat()
}

/// The identity of a link's addresses (RFC 8415 section 12): of its name, which outlives its
/// hardware.
pub(super) fn identity(name: &str) -> u32 {
    let hash = Sha256::digest(format!("slipway-iaid:{name}"));
    u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_devices() {
        for (place, wanted) in [
            ("/sys/devices/pci0000:00/0000:00:03.0/virtio1", Some("pci-0000:00:03.0")),
            ("/sys/devices/pci0000:00/0000:00:1c.4/0000:03:00.0", Some("pci-0000:03:00.0")),
            ("/sys/devices/pci0000:00/0000:00:14.0/usb1/1-2/1-2:1.0", Some("pci-0000:00:14.0-usb-0:2:1.0")),
            ("/sys/devices/virtual/net/x", None),
        ] {
            assert_eq!(id_path(place).as_deref(), wanted, "{place}");
        }
    }

    #[test]
    fn identities_are_steady_and_do_not_tell_the_machine_id() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("etc")).unwrap();
        fs::write(root.path().join("etc/machine-id"), "0123456789abcdef0123456789abcdef\n").unwrap();
        assert_eq!(duid(root.path()), duid(root.path()));
        assert_eq!(duid(root.path()).len(), 14);
        assert_ne!(identity("eth0"), identity("eth1"));
    }
}
