//! Where user-data comes from, the first that has any: a NoCloud or config-drive disk, QEMU's
//! `fw_cfg`, SMBIOS, the image.

use super::Found;
use super::label::{self, Seed};
use super::parameters::Parameters;
use super::smbios;
use cloudconfig::{SIZE_MAX, metadata};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Where a seed is mounted for the moment it takes to read it.
const MOUNT_POINT: &str = "/run/slipway/seed";
/// QEMU's `fw_cfg` device as ACPI names it (QEMU, `docs/specs/fw_cfg`).
const FW_CFG_DEVICE: &str = "/sys/bus/acpi/devices/QEMU0002:00";
const FW_CFG: &str = "/sys/firmware/qemu_fw_cfg/by_name/opt/slipway";
const SMBIOS: &str = "/sys/firmware/dmi/entries";
const IMAGE: &str = "/usr/lib/slipway/user-data";
const DOCUMENT: &str = "user-data";

/// Finds the document. A source that cannot be read is said and passed over. Metadata of a disk
/// counts without a document, too, when it names the machine or has keys.
pub(super) fn find(boot_disk: &Path, parameters: &Parameters, log: &mut dyn FnMut(&str)) -> Option<Found> {
    let mut facts = parameters.facts.clone();
    let mut described = None;
    for (device, seed) in seeds(boot_disk) {
        let source = format!("{} {}", seed.kind, device.display());
        let [document, beside] = match from_seed(&device, seed) {
            Ok(both) => both,
            Err(error) => {
                log(&format!("user-data: cannot read {source}: {error}"));
                continue;
            }
        };
        match beside.as_deref().map(metadata::read) {
            Some(Ok(beside)) => {
                if beside.hostname.is_some() || !beside.keys.is_empty() {
                    described.get_or_insert_with(|| source.clone());
                }
                facts.complete(&beside);
            }
            Some(Err(error)) => log(&format!("user-data: {source}: {}: {error}", seed.metadata)),
            None => {}
        }
        if let Some(document) = document {
            return Some(Found { document, source, facts });
        }
    }
    let is_remote = parameters.network.is_some();
    let others: [(&str, Reader); 3] = [
        ("QEMU fw_cfg opt/slipway/user-data", from_fw_cfg),
        ("SMBIOS OEM string slipway.user-data", from_smbios),
        ("the image (/usr/lib/slipway/user-data)", from_image),
    ];
    // What the image brings comes after what is to be fetched.
    for (source, read) in &others[..if is_remote { 2 } else { 3 }] {
        match read() {
            Ok(Some(document)) => return Some(Found { document, source: (*source).to_owned(), facts }),
            Ok(None) => {}
            Err(error) => log(&format!("user-data: cannot read {source}: {error}")),
        }
    }
    let source = described.filter(|_| !is_remote)?;
    Some(Found { document: Vec::new(), source, facts })
}

/// Reads one source.
type Reader = fn() -> io::Result<Option<Vec<u8>>>;

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

/// The document and the metadata of a seed, those that are there.
fn from_seed(device: &Path, seed: Seed) -> io::Result<[Option<Vec<u8>>; 2]> {
    let target = Path::new(MOUNT_POINT);
    fs::create_dir_all(target)?;
    let mount = seed.mount(device, MOUNT_POINT).map_err(io::Error::other)?;
    mount.mount().map_err(io::Error::other)?;
    let document = read_if_there(&target.join(seed.document));
    let metadata = read_if_there(&target.join(seed.metadata));
    sys::mount::unmount(target).map_err(io::Error::other)?;
    Ok([document?.filter(|bytes| !bytes.trim_ascii().is_empty()), metadata?])
}

/// Whether there is such a device; its module is loaded then.
fn has_fw_cfg() -> io::Result<bool> {
    if !Path::new(FW_CFG_DEVICE).exists() {
        return Ok(false);
    }
    sys::modules::load("qemu_fw_cfg").map_err(io::Error::other)?;
    Ok(true)
}

fn from_fw_cfg() -> io::Result<Option<Vec<u8>>> {
    if has_fw_cfg()? { read_if_there(&Path::new(FW_CFG).join(DOCUMENT).join("raw")) } else { Ok(None) }
}

/// The small items below `opt/slipway` that are text, with their names.
pub(super) fn fw_cfg_items() -> io::Result<Vec<(String, String)>> {
    /// Each byte costs an exit of the machine.
    const ITEM_MAX: u64 = 16 << 10;
    if !has_fw_cfg()? {
        return Ok(Vec::new());
    }
    let folder = match fs::read_dir(FW_CFG) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut items = Vec::new();
    for entry in folder {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name == DOCUMENT {
            continue;
        }
        let mut bytes = Vec::new();
        File::open(entry.path().join("raw"))?.take(ITEM_MAX).read_to_end(&mut bytes)?;
        items.extend(String::from_utf8(bytes).ok().map(|text| (name, text)));
    }
    Ok(items)
}

/// All structures of OEM strings.
pub(super) fn oem_strings() -> io::Result<Vec<Vec<u8>>> {
    let mut structures = Vec::new();
    for number in 0.. {
        let Some(raw) = read_if_there(&Path::new(SMBIOS).join(format!("11-{number}/raw")))? else { break };
        structures.push(raw);
    }
    Ok(structures)
}

fn from_smbios() -> io::Result<Option<Vec<u8>>> {
    let found = oem_strings()?.iter().find_map(|raw| smbios::value(raw, "slipway.user-data="));
    found.transpose().map_err(io::Error::other)
}

fn from_image() -> io::Result<Option<Vec<u8>>> {
    read_if_there(Path::new(IMAGE))
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
