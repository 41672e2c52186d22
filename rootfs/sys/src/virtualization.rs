//! Which hypervisor a machine runs on, by its vendor strings (systemd-detect-virt(1)).

use std::fs;
use std::path::Path;

const KINDS: [(&str, &str); 8] = [
    ("KVM", "kvm"),
    ("QEMU", "qemu"),
    ("VMware", "vmware"),
    ("innotek", "oracle"),
    ("Xen", "xen"),
    ("Hyper-V", "microsoft"),
    ("Amazon EC2", "amazon"),
    ("Google", "google"),
];

/// The hypervisor of the machine whose `/sys` and `/proc` are below `root`: `kvm`, `qemu`, …,
/// `vm-other` for one that is not known; empty on bare metal.
#[must_use]
pub fn kind(root: &Path) -> String {
    let read = |name: &str| fs::read_to_string(root.join("sys/class/dmi/id").join(name)).unwrap_or_default();
    let text = format!("{} {} {}", read("sys_vendor"), read("product_name"), read("bios_vendor"));
    let known = KINDS.iter().find(|(vendor, _)| text.contains(vendor)).map(|(_, kind)| (*kind).to_owned());
    let cpu = fs::read_to_string(root.join("proc/cpuinfo")).unwrap_or_default();
    let flagged = cpu.lines().any(|line| {
        line.starts_with("flags") && line.ends_with(" hypervisor") || line.contains(" hypervisor ")
    });
    known.unwrap_or_else(|| if flagged { "vm-other".into() } else { String::new() })
}
