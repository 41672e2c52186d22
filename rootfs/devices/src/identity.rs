//! Who a disk is, whatever slot it is in: serial numbers and worldwide names.

use crate::encode::word;
use crate::event::Properties;
use crate::sysfs::Sysfs;

/// The names of a disk below `disk/by-id`, and what `udevadm info` shows of it.
pub(crate) fn identity(sysfs: &Sysfs, devpath: &str) -> (Vec<String>, Properties) {
    let mut names = Vec::new();
    let mut properties = Properties::new();
    let mut put = |key: &str, value: &str| properties.insert(key.to_owned(), value.to_owned());
    let attribute =
        |name: &str| sysfs.attribute(devpath, name).map(|text| word(&text)).filter(|text| !text.is_empty());
    let both = |first: &str, second: &str| {
        attribute(first).zip(attribute(second)).map(|(first, second)| format!("{first}_{second}"))
    };
    if let Some(name) = attribute("dm/name") {
        names.push(format!("dm-name-{name}"));
        put("DM_NAME", &name);
        if let Some(uuid) = attribute("dm/uuid") {
            names.push(format!("dm-uuid-{uuid}"));
            put("DM_UUID", &uuid);
        }
    } else if let Some(usb) = sysfs.parents(devpath).into_iter().find(|parent| is_usb(sysfs, parent)) {
        let text = |name: &str| sysfs.attribute(usb, name).map(|text| word(&text));
        if let Some((model, serial)) = text("product").zip(text("serial")) {
            let vendor = text("manufacturer").map(|vendor| vendor + "_").unwrap_or_default();
            put("ID_BUS", "usb");
            put("ID_SERIAL", &format!("{vendor}{model}_{serial}"));
            put("ID_SERIAL_SHORT", &serial);
            names.push(format!("usb-{vendor}{model}_{serial}-0:0"));
        }
    } else if sysfs.parent_of(devpath, "virtio").is_some() && attribute("serial").is_some() {
        let serial = attribute("serial").unwrap_or_default();
        put("ID_SERIAL", &serial);
        names.push(format!("virtio-{serial}"));
    } else if sysfs.parent_of(devpath, "nvme").is_some() {
        if let Some(serial) = both("device/model", "device/serial") {
            put("ID_SERIAL", &serial);
            names.push(format!("nvme-{serial}"));
        }
        if let Some(wwid) = attribute("wwid") {
            put("ID_WWN", &wwid);
            names.push(format!("nvme-{wwid}"));
        }
    } else if sysfs.parent_of(devpath, "mmc").is_some() {
        if let Some(serial) = both("device/name", "device/serial") {
            put("ID_SERIAL", &serial);
            names.push(format!("mmc-{serial}"));
        }
    } else if sysfs.parent_of(devpath, "scsi").is_some() {
        let page = sysfs.bytes(devpath, "device/vpd_pg80");
        // SPC-5, "Unit Serial Number VPD page": the number begins behind four bytes.
        let serial = page.and_then(|page| Some(word(&String::from_utf8_lossy(page.get(4..)?))));
        if let Some((model, serial)) =
            both("device/vendor", "device/model").zip(serial.filter(|it| !it.is_empty()))
        {
            put("ID_BUS", "scsi");
            put("ID_SERIAL", &format!("0{model}_{serial}"));
            put("ID_SERIAL_SHORT", &serial);
            names.push(format!("scsi-0{model}_{serial}"));
        }
        let wwid = attribute("device/wwid");
        if let Some(wwn) = wwid.as_ref().and_then(|wwid| wwid.strip_prefix("naa.")) {
            put("ID_WWN", &format!("0x{wwn}"));
            names.push(format!("wwn-0x{wwn}"));
        }
    }
    (names, properties)
}

fn is_usb(sysfs: &Sysfs, devpath: &str) -> bool {
    sysfs.properties(devpath).is_some_and(|it| it.get("DEVTYPE").is_some_and(|kind| kind == "usb_device"))
}
