//! The manager over a scratch tree of sysfs: what it makes below /dev and keeps.

#![expect(clippy::unwrap_used, reason = "a test's failure is a panic")]

use devices::Event;
use devices::daemon::{Manager, Paths};
use devices::database::Entry;
use devices::event::Properties;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A machine of virtio disks, whose nodes are plain files.
struct Machine {
    folder: TempDir,
}

const PCI: &str = "devices/pci0000:00/0000:00:04.0";

impl Machine {
    fn new() -> Self {
        let machine = Self { folder: tempfile::tempdir().unwrap() };
        for folder in ["sys/class/block", "sys/bus/pci", "sys/bus/virtio", "dev", "run"] {
            fs::create_dir_all(machine.path(folder)).unwrap();
        }
        machine.write(&format!("sys/{PCI}/uevent"), "DRIVER=virtio-pci\n");
        symlink(machine.path("sys/bus/pci"), machine.path(&format!("sys/{PCI}/subsystem"))).unwrap();
        machine.write(&format!("sys/{PCI}/virtio1/uevent"), "DRIVER=virtio_blk\n");
        symlink(machine.path("sys/bus/virtio"), machine.path(&format!("sys/{PCI}/virtio1/subsystem")))
            .unwrap();
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn manager(&self) -> Manager {
        let paths = Paths {
            sys: self.path("sys"),
            dev: self.path("dev"),
            run: self.path("run"),
            group: "/etc/group".into(),
            aliases: None,
        };
        Manager::new(paths).unwrap()
    }

    /// Adds a disk that holds these bytes; gives its event.
    fn disk(&self, name: &str, minor: u32, bytes: &[u8]) -> Event {
        let folder = format!("sys/{PCI}/virtio1/block/{name}");
        self.write(
            &format!("{folder}/uevent"),
            &format!("MAJOR=254\nMINOR={minor}\nDEVNAME={name}\nDEVTYPE=disk\n"),
        );
        self.write(&format!("{folder}/size"), "2048\n");
        self.write(&format!("{folder}/dev"), &format!("254:{minor}\n"));
        self.write(&format!("{folder}/serial"), &format!("serial {name}\n"));
        symlink(self.path("sys/class/block"), self.path(&format!("{folder}/subsystem"))).unwrap();
        symlink(self.path(&folder), self.path(&format!("sys/class/block/{name}"))).unwrap();
        fs::write(self.path("dev").join(name), bytes).unwrap();
        let mut properties = Properties::new();
        for (key, value) in [
            ("ACTION", "add"),
            ("DEVPATH", folder.strip_prefix("sys").unwrap()),
            ("SUBSYSTEM", "block"),
            ("DEVNAME", name),
            ("MAJOR", "254"),
            ("MINOR", &minor.to_string()),
            ("DEVTYPE", "disk"),
            ("SEQNUM", "7"),
        ] {
            properties.insert(key.to_owned(), value.to_owned());
        }
        Event::from_properties(properties).unwrap()
    }

    fn link(&self, name: &str) -> Option<String> {
        fs::read_link(self.path("dev").join(name)).ok().map(|target| target.to_str().unwrap().to_owned())
    }
}

/// The start of an ext4 with a label.
fn ext4(label: &str) -> Vec<u8> {
    let mut bytes = vec![0; 8192];
    bytes[1024 + 0x38..1024 + 0x3a].copy_from_slice(b"\x53\xef");
    bytes[1024 + 0x60] = 0x40; // extents
    bytes[1024 + 0x68] = 1;
    bytes[1024 + 0x78..1024 + 0x78 + label.len()].copy_from_slice(label.as_bytes());
    bytes
}

fn quiet(line: &str) {
    panic!("the manager complains: {line}");
}

fn removal(event: &Event) -> Event {
    let mut properties = event.properties.clone();
    properties.insert("ACTION".to_owned(), "remove".to_owned());
    Event::from_properties(properties).unwrap()
}

const UUID: &str = "01000000-0000-0000-0000-000000000000";

#[test]
fn a_disk_comes_changes_and_goes() {
    let machine = Machine::new();
    let mut manager = machine.manager();
    let event = machine.disk("vda", 0, &ext4("data one"));
    let told = manager.take(&event, &mut quiet);
    for link in [
        "disk/by-label/data\\x20one",
        &format!("disk/by-uuid/{UUID}"),
        "disk/by-id/virtio-serial_vda",
        "disk/by-path/pci-0000:00:04.0",
        "disk/by-path/virtio-pci-0000:00:04.0",
    ] {
        assert_eq!(machine.link(link).as_deref(), Some("../../vda"), "{link}");
        assert!(told.properties["DEVLINKS"].split(' ').any(|it| it == format!("/dev/{link}")));
    }
    let kept = Entry::parse(&fs::read_to_string(machine.path("run/data/b254:0")).unwrap());
    assert_eq!(kept.properties["ID_FS_TYPE"], "ext4");
    assert_eq!(kept.properties["ID_PATH"], "pci-0000:00:04.0");
    assert_eq!(kept.links.len(), 5);
    assert!(!kept.properties.contains_key("SEQNUM"));

    // Another file system is made on it.
    fs::write(machine.path("dev/vda"), ext4("other")).unwrap();
    let mut change = event.clone();
    change.action = "change".to_owned();
    manager.take(&change, &mut quiet);
    assert_eq!(machine.link("disk/by-label/data\\x20one"), None);
    assert_eq!(machine.link("disk/by-label/other").as_deref(), Some("../../vda"));

    let told = manager.take(&removal(&event), &mut quiet);
    assert_eq!(told.properties["ID_FS_LABEL"], "other");
    assert_eq!(machine.link("disk/by-label/other"), None);
    assert!(!machine.path("run/data/b254:0").exists());
}

#[test]
fn of_two_disks_with_one_label_the_first_has_it_whoever_came_first() {
    let machine = Machine::new();
    let mut manager = machine.manager();
    let second = machine.disk("vdb", 16, &ext4("same"));
    manager.take(&second, &mut quiet);
    assert_eq!(machine.link("disk/by-label/same").as_deref(), Some("../../vdb"));
    let first = machine.disk("vda", 0, &ext4("same"));
    manager.take(&first, &mut quiet);
    assert_eq!(machine.link("disk/by-label/same").as_deref(), Some("../../vda"));
    manager.take(&removal(&first), &mut quiet);
    assert_eq!(machine.link("disk/by-label/same").as_deref(), Some("../../vdb"));
}

#[test]
fn a_new_service_goes_on_where_the_old_one_was() {
    let machine = Machine::new();
    let mut old = machine.manager();
    let (stays, goes) = (machine.disk("vda", 0, &ext4("stays")), machine.disk("vdb", 16, &ext4("goes")));
    old.take(&stays, &mut quiet);
    old.take(&goes, &mut quiet);
    let initialized =
        Entry::parse(&fs::read_to_string(machine.path("run/data/b254:0")).unwrap()).initialized_us;
    drop(old);
    fs::remove_file(machine.path("dev/vdb")).unwrap();
    fs::remove_file(machine.path("sys/class/block/vdb")).unwrap();
    fs::remove_dir_all(machine.path(&format!("sys/{PCI}/virtio1/block/vdb"))).unwrap();

    let mut new = machine.manager();
    new.cold_plug(&mut quiet);
    assert_eq!(machine.link("disk/by-label/stays").as_deref(), Some("../../vda"));
    assert_eq!(machine.link("disk/by-label/goes"), None);
    assert!(!machine.path("run/data/b254:16").exists());
    let kept = Entry::parse(&fs::read_to_string(machine.path("run/data/b254:0")).unwrap());
    assert_eq!(kept.initialized_us, initialized);
}

#[test]
fn what_is_no_link_is_not_touched() {
    let machine = Machine::new();
    machine.write("dev/disk/by-label/taken", "a file");
    let mut manager = machine.manager();
    let event = machine.disk("vda", 0, &ext4("taken"));
    let mut lines = Vec::new();
    manager.take(&event, &mut |line| lines.push(line.to_owned()));
    assert_eq!(lines, ["/dev/disk/by-label/taken is no link, it stays"]);
    assert!(Path::new(&machine.path("dev/disk/by-label/taken")).is_file());
    // A label that would lead out of the folder is none.
    fs::write(machine.path("dev/vda"), ext4("..")).unwrap();
    manager.take(&event, &mut |_| {});
    assert!(machine.link("disk/by-label/..").is_none());
}
