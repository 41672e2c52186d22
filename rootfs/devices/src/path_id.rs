//! The place of a device in the machine, as udev's `path_id` names it: `pci-0000:00:04.0`. It is
//! the same after a restart and does not depend on the order in which devices are found.

use crate::sysfs::Sysfs;

/// The path of a block device's disk, of a network device …; `None` when nothing above it has a
/// stable place.
pub(crate) fn path_id(sysfs: &Sysfs, devpath: &str) -> Option<String> {
    let mut parts: Vec<String> = Vec::new();
    let mut has_root = false;
    let mut last = String::new();
    for parent in sysfs.parents(devpath) {
        let Some(subsystem) = sysfs.link_name(parent, "subsystem") else { continue };
        let name = parent.rsplit('/').next().unwrap_or_default();
        let is_repeated = subsystem == last;
        let part = match subsystem.as_str() {
            // Of a chain of bridges the device at the end is enough; what is below usb is named there.
            "pci" if !is_repeated => Some(format!("pci-{name}")),
            "usb" if !is_repeated => {
                let port = name.split_once('-').map(|(_, port)| port);
                port.map(|port| format!("usb-0:{port}"))
            }
            "scsi" if parts.is_empty() => scsi(name),
            "nvme" if parts.is_empty() => sysfs.attribute(devpath, "nsid").map(|nsid| format!("nvme-{nsid}")),
            "mmc" if parts.is_empty() => Some("mmc".to_owned()),
            "platform" if !is_repeated => Some(format!("platform-{name}")),
            "acpi" if !is_repeated => Some(format!("acpi-{name}")),
            _ => None,
        };
        has_root |= part.is_some() && matches!(subsystem.as_str(), "pci" | "platform" | "acpi");
        parts.extend(part);
        last = subsystem;
        if has_root && last == "pci" {
            // What is above a PCI device is the bus's own.
            break;
        }
    }
    parts.reverse();
    has_root.then(|| parts.join("-"))
}

/// `HOST:CHANNEL:TARGET:LUN`: the host's number depends on the order, so it is left out.
fn scsi(name: &str) -> Option<String> {
    let numbers: Vec<&str> = name.split(':').collect();
    let [_, channel, target, lun] = numbers.as_slice() else { return None };
    Some(format!("scsi-0:{channel}:{target}:{lun}"))
}
