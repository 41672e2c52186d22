//! Where user-data comes from, the first that has any: a NoCloud or config-drive disk, QEMU's
//! `fw_cfg`, SMBIOS, the image.

use super::label::{self, Seed};
use super::smbios;
use cloudconfig::SIZE_MAX;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Where a seed is mounted for the moment it takes to read it.
const MOUNT_POINT: &str = "/run/slipway/seed";
/// QEMU's `fw_cfg` device as ACPI names it (QEMU, `docs/specs/fw_cfg`).
const FW_CFG_DEVICE: &str = "/sys/bus/acpi/devices/QEMU0002:00";
const FW_CFG: &str = "/sys/firmware/qemu_fw_cfg/by_name/opt/slipway/user-data/raw";
const SMBIOS: &str = "/sys/firmware/dmi/entries";
const IMAGE: &str = "/usr/lib/slipway/user-data";

/// A document that was found.
pub(super) struct Found {
    pub(super) document: Vec<u8>,
    /// Where, for people.
    pub(super) source: String,
}

/// Finds the document. A source that cannot be read is said and passed over.
pub(super) fn find(boot_disk: &Path, log: &mut dyn FnMut(&str)) -> Option<Found> {
    let named =
        |document: io::Result<Option<Vec<u8>>>, source: String, log: &mut dyn FnMut(&str)| match document {
            Ok(document) => document.map(|document| Found { document, source }),
            Err(error) => {
                log(&format!("user-data: cannot read {source}: {error}"));
                None
            }
        };
    for (device, seed) in seeds(boot_disk) {
        let source = format!("{} {}", seed.kind, device.display());
        let found = named(from_seed(&device, seed), source, log);
        if found.is_some() {
            return found;
        }
    }
    named(from_fw_cfg(), "QEMU fw_cfg opt/slipway/user-data".to_owned(), log)
        .or_else(|| named(from_smbios(), "SMBIOS OEM string slipway.user-data".to_owned(), log))
        .or_else(|| named(read_if_there(Path::new(IMAGE)), format!("the image ({IMAGE})"), log))
}

/// Block devices with a telling label, in the order of their names; none of the boot disk.
fn seeds(boot_disk: &Path) -> Vec<(PathBuf, Seed)> {
    let boot_name = boot_disk.file_name();
    let mut devices: Vec<PathBuf> = fs::read_dir("/sys/class/block")
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| {
            // The link leads through the disk's own folder: …/block/vda/vda1.
            let place = fs::canonicalize(entry.path()).unwrap_or_default();
            let is_virtual = place.starts_with("/sys/devices/virtual");
            !is_virtual
                && !boot_name.is_some_and(|name| place.components().any(|part| part.as_os_str() == name))
        })
        .map(|entry| Path::new("/dev").join(entry.file_name().to_string_lossy().replace('!', "/")))
        .collect();
    devices.sort_unstable();
    devices
        .into_iter()
        .filter_map(|device| {
            let mut head = Vec::new();
            // A drive without a medium cannot be opened; it has no document either.
            File::open(&device).ok()?.take(label::HEAD as u64).read_to_end(&mut head).ok()?;
            Some((device, label::seed(&head)?))
        })
        .collect()
}

fn from_seed(device: &Path, seed: Seed) -> io::Result<Option<Vec<u8>>> {
    let target = Path::new(MOUNT_POINT);
    fs::create_dir_all(target)?;
    let mount = seed.mount(device, MOUNT_POINT).map_err(io::Error::other)?;
    mount.mount().map_err(io::Error::other)?;
    let document = read_if_there(&target.join(seed.document));
    sys::mount::unmount(target).map_err(io::Error::other)?;
    document
}

fn from_fw_cfg() -> io::Result<Option<Vec<u8>>> {
    if !Path::new(FW_CFG_DEVICE).exists() {
        return Ok(None);
    }
    sys::modules::load("qemu_fw_cfg").map_err(io::Error::other)?;
    read_if_there(Path::new(FW_CFG))
}

fn from_smbios() -> io::Result<Option<Vec<u8>>> {
    for number in 0.. {
        let path = Path::new(SMBIOS).join(format!("11-{number}/raw"));
        let Some(raw) = read_if_there(&path)? else { break };
        if let Some(document) = smbios::document(&raw) {
            return document.map(Some).map_err(io::Error::other);
        }
    }
    Ok(None)
}

/// A file's content, one byte more at most than a document may have.
fn read_if_there(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let mut bytes = Vec::new();
    file.take(SIZE_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}
