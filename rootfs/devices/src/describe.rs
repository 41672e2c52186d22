//! All that follows from a device, decided and not yet done.

use crate::encode::{encode, is_link, word};
use crate::event::{Event, Properties};
use crate::identity::identity;
use crate::path_id::path_id;
use crate::permissions::{Permission, permission};
use crate::superblock::{Source, probe};
use crate::sysfs::Sysfs;
use crate::table;
use std::collections::BTreeSet;

/// Links of device-mapper devices win over those of the disks below them, which show the same content.
const DM_PRIORITY: i32 = 50;

/// A device, as the manager sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Description {
    /// Name in the database: `b254:1`, `c10:232`, `n2`, `+pci:0000:00:04.0`.
    pub id: String,
    /// Path of its node below /dev.
    pub node: Option<String>,
    /// Links to the node, below /dev.
    pub links: BTreeSet<String>,
    /// Which device gets a link that several want: the one with the highest.
    pub priority: i32,
    /// Group and mode of the node.
    pub permission: Option<Permission>,
    /// Everything to be said of it: the kernel's and ours.
    pub properties: Properties,
}

/// Opens a node below /dev to look at what is in it.
pub type Open<'a> = &'a dyn Fn(&str) -> Option<Box<dyn Source>>;

/// Describes the device of an event. `open` is asked for block devices only.
pub fn describe(sysfs: &Sysfs, event: &Event, open: Open<'_>) -> Description {
    let mut properties = event.properties.clone();
    properties.remove("SEQNUM");
    properties.remove("SYNTH_UUID");
    let value = |key: &str| event.properties.get(key).cloned();
    let node = value("DEVNAME").map(|name| name.trim_start_matches("/dev/").to_owned());
    let node = node.filter(|name| is_link(name));
    let mut found = Description { id: id(event), node, ..Description::default() };
    if let Some(name) = &found.node {
        properties.insert("DEVNAME".to_owned(), format!("/dev/{name}"));
        found.permission = permission(&event.subsystem, name);
    }
    if let Some(path) = path_id(sysfs, &event.devpath) {
        properties.insert("ID_PATH_TAG".to_owned(), path.replace([':', '.'], "_"));
        properties.insert("ID_PATH".to_owned(), path);
    }
    match event.subsystem.as_str() {
        "block" => block(sysfs, event, open, &mut found, &mut properties),
        "virtio-ports" => {
            let name = sysfs.attribute(&event.devpath, "name").map(|name| word(&name));
            found.links.extend(name.map(|name| format!("virtio-ports/{name}")));
        }
        "rtc" if found.node.as_deref() == Some("rtc0") => {
            found.links.insert("rtc".to_owned());
        }
        "net" => {
            let driver = sysfs.link_name(&event.devpath, "device/driver");
            properties.extend(driver.map(|driver| ("ID_NET_DRIVER".to_owned(), driver)));
        }
        _ => {}
    }
    found.links.retain(|link| is_link(link));
    if !found.links.is_empty() {
        let links: Vec<String> = found.links.iter().map(|link| format!("/dev/{link}")).collect();
        properties.insert("DEVLINKS".to_owned(), links.join(" "));
    }
    if matches!(event.subsystem.as_str(), "block" | "net" | "tty" | "virtio-ports") {
        properties.insert("TAGS".to_owned(), ":systemd:".to_owned());
        properties.insert("CURRENT_TAGS".to_owned(), ":systemd:".to_owned());
    }
    found.properties = properties;
    found
}

/// The name of a device in udev's database.
pub fn id(event: &Event) -> String {
    let value =
        |key: &str| event.properties.get(key).filter(|text| text.bytes().all(|it| it.is_ascii_digit()));
    if let Some((major, minor)) = value("MAJOR").zip(value("MINOR")) {
        let kind = if event.subsystem == "block" { 'b' } else { 'c' };
        return format!("{kind}{major}:{minor}");
    }
    match value("IFINDEX").filter(|_| event.subsystem == "net") {
        Some(index) => format!("n{index}"),
        None => {
            let name = event.devpath.rsplit('/').next().unwrap_or_default();
            format!("+{}:{name}", event.subsystem.replace('/', "!"))
        }
    }
}

fn block(sysfs: &Sysfs, event: &Event, open: Open<'_>, found: &mut Description, properties: &mut Properties) {
    let Some(node) = found.node.clone() else { return };
    let devpath = event.devpath.as_str();
    // Without a medium there is nothing to look at, and memory disks are nobody's.
    if node.starts_with("ram") || sysfs.number(devpath, "size").unwrap_or(0) == 0 {
        return;
    }
    let number = sysfs.number(devpath, "partition").and_then(|number| u32::try_from(number).ok());
    let disk =
        if number.is_some() { devpath.rsplit_once('/').map_or(devpath, |(disk, _)| disk) } else { devpath };
    let suffix = number.map(|number| format!("-part{number}")).unwrap_or_default();
    let links = &mut found.links;

    let (names, facts) = identity(sysfs, disk);
    links.extend(names.into_iter().map(|name| format!("disk/by-id/{name}{suffix}")));
    if let Some(name) = facts.get("DM_NAME") {
        links.insert(format!("mapper/{name}"));
        found.priority = DM_PRIORITY;
    }
    properties.extend(facts);
    if let Some(path) = path_id(sysfs, disk) {
        if sysfs.parent_of(disk, "virtio").is_some() {
            links.insert(format!("disk/by-path/virtio-{path}{suffix}"));
        }
        links.insert(format!("disk/by-path/{path}{suffix}"));
    }
    if let Some(sequence) = sysfs.number(disk, "diskseq") {
        links.insert(format!("disk/by-diskseq/{sequence}{suffix}"));
    }

    let mut put = |key: &str, value: &str| {
        if !value.is_empty() {
            properties.insert(key.to_owned(), value.to_owned());
        }
    };
    if let Some(source) = open(&node) {
        if number.is_none()
            && let Some(table) = table::table(&*source, sector_size(sysfs, disk))
        {
            put("ID_PART_TABLE_TYPE", table.scheme);
            put("ID_PART_TABLE_UUID", &table.uuid);
        }
        if let Some(content) = probe(&*source) {
            put("ID_FS_TYPE", content.kind);
            put("ID_FS_USAGE", content.usage);
            put("ID_FS_VERSION", &encode(&content.version));
            put("ID_FS_LABEL", &word(&content.label));
            put("ID_FS_LABEL_ENC", &encode(&content.label));
            put("ID_FS_UUID", &word(&content.uuid));
            put("ID_FS_UUID_ENC", &encode(&content.uuid));
            put("ID_FS_UUID_SUB", &word(&content.uuid_sub));
            put("ID_FS_UUID_SUB_ENC", &encode(&content.uuid_sub));
            if content.usage == "filesystem" || content.usage == "crypto" || content.kind == "swap" {
                for (folder, text) in [("by-label", &content.label), ("by-uuid", &content.uuid)] {
                    if !text.is_empty() {
                        links.insert(format!("disk/{folder}/{}", encode(text)));
                    }
                }
            }
        }
    }
    let Some(number) = number else { return };
    let name = sysfs.properties(disk).and_then(|it| it.get("DEVNAME").cloned());
    let Some(source) = name.and_then(|name| open(name.trim_start_matches("/dev/"))) else { return };
    let Some(entry) = table::partition(&*source, sector_size(sysfs, disk), number) else { return };
    put("ID_PART_ENTRY_SCHEME", entry.scheme);
    put("ID_PART_ENTRY_UUID", &entry.uuid);
    put("ID_PART_ENTRY_NAME", &encode(&entry.name));
    put("ID_PART_ENTRY_TYPE", &entry.kind);
    put("ID_PART_ENTRY_NUMBER", &number.to_string());
    for (key, attribute) in [("ID_PART_ENTRY_OFFSET", "start"), ("ID_PART_ENTRY_SIZE", "size")] {
        put(key, &sysfs.attribute(devpath, attribute).unwrap_or_default());
    }
    put("ID_PART_ENTRY_DISK", &sysfs.attribute(disk, "dev").unwrap_or_default());
    links.insert(format!("disk/by-partuuid/{}", encode(&entry.uuid)));
    if !entry.name.is_empty() {
        links.insert(format!("disk/by-partlabel/{}", encode(&entry.name)));
    }
}

fn sector_size(sysfs: &Sysfs, disk: &str) -> u64 {
    let size = sysfs.number(disk, "queue/logical_block_size").unwrap_or(512);
    if matches!(size, 512..=65536) { size } else { 512 }
}
