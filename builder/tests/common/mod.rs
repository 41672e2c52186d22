//! Small images, made with the formats' own writers, for tests that need one without a build.
#![allow(dead_code, reason = "each test program uses its part of this")]

pub(crate) mod inspect;

use formats::esp::{self, Esp};
use formats::ext4::{self, Layout};
use formats::gpt::{self, GptLayout, PartitionSpec};
use formats::tree::{Content, Entry, Kind, Tree};
use formats::uki::Uki;
use formats::verity::{self, Digest32, VerityInfo, VerityWriter, to_hex};
use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use uuid::Uuid;

pub(crate) const MIB: u64 = 1 << 20;

/// A disk to make: ESP, SLOT-A with the root and its tree, SLOT-B empty, STATE as told.
pub(crate) struct Disk {
    pub(crate) version: &'static str,
    pub(crate) root: Tree,
    pub(crate) slot_size: u64,
    /// A file system with a journal in STATE, or nothing.
    pub(crate) state: Option<Tree>,
}

/// Where things came to be.
pub(crate) struct Made {
    pub(crate) layout: GptLayout,
    pub(crate) verity: VerityInfo,
    /// Bytes of the root's file system in its slot.
    pub(crate) root_size: u64,
    /// Name of the boot entry's file.
    pub(crate) entry: String,
}

impl Made {
    pub(crate) fn partition(&self, label: &str) -> &gpt::Partition {
        self.layout.partitions.iter().find(|partition| partition.label == label).unwrap()
    }
}

impl Disk {
    pub(crate) fn new(version: &'static str) -> Self {
        Self { version, root: root(version), slot_size: 2 * MIB, state: None }
    }

    /// Writes the disk to a file.
    pub(crate) fn write(&self, path: &Path) -> Made {
        let labels = ["ESP", "SLOT-A", "SLOT-B", "STATE"];
        let types = [gpt::ESP, gpt::ROOT_X86_64, gpt::ROOT_X86_64, gpt::VAR];
        let sizes = [34 * MIB, self.slot_size, self.slot_size, 6 * MIB];
        let specs: Vec<_> = (1..)
            .zip(labels.into_iter().zip(types).zip(sizes))
            .map(|(number, ((label, type_guid), size))| PartitionSpec {
                label: label.to_owned(),
                type_guid,
                unique_guid: Uuid::from_u128(number),
                size,
                attributes: 0,
            })
            .collect();
        let disk_guid = Uuid::from_u128(0xd15c);
        let layout = GptLayout::plan(&specs, &gpt::Options { disk_guid }).unwrap();
        let mut file = File::options().read(true).write(true).create(true).truncate(true).open(path).unwrap();
        file.set_len(layout.disk_size).unwrap();
        let tail = layout.tail_bytes().unwrap();
        file.write_all_at(&layout.head_bytes().unwrap(), 0).unwrap();
        file.write_all_at(&tail, layout.disk_size - tail.len() as u64).unwrap();

        let (slot, verity, root_size) = slot(&self.root);
        assert!(slot.len() as u64 <= self.slot_size, "slot of {} bytes", slot.len());
        file.write_all_at(&slot, layout.partitions[1].offset).unwrap();
        let entry = format!("slipway_{}+3.efi", self.version);
        let uki = uki(self.version, &verity.root_hash);
        write_esp(&mut file, &layout.partitions[0], vec![(entry.clone(), uki)]);
        if let Some(tree) = &self.state {
            let options = options("state", ext4::Size::Exact(layout.partitions[3].size), Some(1024));
            let mut image = Vec::new();
            Layout::plan(tree, &options).unwrap().write(&mut image).unwrap();
            file.write_all_at(&image, layout.partitions[3].offset).unwrap();
        }
        Made { layout, verity, root_size, entry }
    }
}

/// A file system with its tree behind it.
fn slot(tree: &Tree) -> (Vec<u8>, VerityInfo, u64) {
    let layout = Layout::plan(tree, &options("root", ext4::Size::Minimal, None)).unwrap();
    let root_size = layout.size_bytes();
    let mut image = Vec::new();
    let options = verity::Options { salt: vec![7; 32], uuid: [9; 16] };
    let mut writer = VerityWriter::new(&mut image, options).unwrap();
    layout.write(&mut writer).unwrap();
    let verity = writer.finish().unwrap();
    (image, verity, root_size)
}

fn options(label: &str, size: ext4::Size, journal_blocks: Option<u32>) -> ext4::Options {
    ext4::Options {
        size,
        uuid: [3; 16],
        hash_seed: [4; 16],
        label: label.to_owned(),
        created: 1_700_000_000,
        journal_blocks,
        resizable: false,
    }
}

/// Writes a whole ESP with these UKIs.
pub(crate) fn write_esp(file: &mut File, partition: &gpt::Partition, ukis: Vec<(String, Vec<u8>)>) {
    let mut files = vec![
        ("EFI/BOOT/BOOTX64.EFI".to_owned(), Content::bytes(pattern(1, 3000))),
        ("loader/loader.conf".to_owned(), Content::bytes(b"timeout 0\n".as_slice())),
    ];
    files.extend(ukis.into_iter().map(|(name, uki)| (format!("EFI/Linux/{name}"), Content::bytes(uki))));
    let options = esp::Options {
        size: partition.size,
        volume_id: 0x1234_abcd,
        label: "ESP".into(),
        hidden_sectors: (partition.offset / gpt::SECTOR_SIZE) as u32,
    };
    let mut image = Vec::new();
    Esp::plan(&files, &options).unwrap().write(&mut image).unwrap();
    file.seek(SeekFrom::Start(partition.offset)).unwrap();
    file.write_all(&image).unwrap();
}

/// A UKI on a stub that has nothing but headers.
pub(crate) fn uki(version: &str, root_hash: &Digest32) -> Vec<u8> {
    let os_release =
        format!("ID=slipway\nIMAGE_ID=slipway\nIMAGE_VERSION={version}\nPRETTY_NAME=\"Slipway {version}\"\n");
    let command_line = format!("console=ttyS0 panic=-1 roothash={}", to_hex(root_hash));
    let sections = [
        (".osrel", Content::bytes(os_release.into_bytes())),
        (".uname", Content::bytes(b"6.1.0-test".as_slice())),
        (".cmdline", Content::bytes(command_line.into_bytes())),
        (".initrd", Content::bytes(pattern(2, 20_000))),
        (".linux", Content::bytes(pattern(3, 50_000))),
    ];
    let mut bytes = Vec::new();
    Uki::assemble(&stub(), &sections).unwrap().write(&mut bytes).unwrap();
    bytes
}

/// The least that a PE program is (Microsoft "PE Format"): headers and one section of nothing.
fn stub() -> Vec<u8> {
    let mut stub = vec![0; 1536];
    let mut put = |at: usize, bytes: &[u8]| stub[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"MZ");
    put(0x3c, &64_u32.to_le_bytes()); // e_lfanew
    put(64, b"PE\0\0");
    put(68, &0x8664_u16.to_le_bytes()); // Machine
    put(70, &1_u16.to_le_bytes()); // NumberOfSections
    put(84, &240_u16.to_le_bytes()); // SizeOfOptionalHeader
    put(88, &0x20b_u16.to_le_bytes()); // Magic
    put(88 + 32, &512_u32.to_le_bytes()); // SectionAlignment
    put(88 + 36, &512_u32.to_le_bytes()); // FileAlignment
    put(88 + 56, &1536_u32.to_le_bytes()); // SizeOfImage
    put(88 + 60, &1024_u32.to_le_bytes()); // SizeOfHeaders
    put(88 + 108, &16_u32.to_le_bytes()); // NumberOfRvaAndSizes
    put(328, b".text\0\0\0");
    for (field, value) in [(8, 512_u32), (12, 1024), (16, 512), (20, 1024)] {
        put(328 + field, &value.to_le_bytes());
    }
    stub
}

/// A root with an entry of each type.
pub(crate) fn root(version: &str) -> Tree {
    let mut tree = Tree::default();
    let mut put = |path: &str, entry: Entry| tree.entries.insert(path.as_bytes().to_vec(), entry);
    for (path, mode) in [("", 0o755), ("dev", 0o755), ("etc", 0o755), ("tmp", 0o1777), ("usr", 0o755)] {
        put(path, directory(mode));
    }
    for path in ["usr/bin", "usr/lib", "usr/share"] {
        put(path, directory(0o755));
    }
    put("bin", Entry::new(Kind::Symlink(b"usr/bin".to_vec()), 0o777));
    put("etc/os-release", Entry::new(Kind::Symlink(b"../usr/lib/os-release".to_vec()), 0o777));
    put("usr/lib/os-release", file(format!("ID=slipway\nVERSION_ID={version}\n").into_bytes(), 0o644));
    let mut host = file(pattern(4, 30_000), 0o755);
    host.mtime = 1_700_000_000;
    host.xattrs.insert(
        b"security.capability".to_vec(),
        [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0].to_vec(),
    );
    host.xattrs.insert(b"user.note".to_vec(), b"a \"note\"".to_vec());
    put("usr/bin/host", host);
    put("usr/bin/systemctl", Entry::new(Kind::HardLink(b"usr/bin/host".to_vec()), 0));
    put("usr/bin/su", file(b"su".to_vec(), 0o4755));
    put("dev/console", Entry::new(Kind::CharDevice { major: 5, minor: 1 }, 0o600));
    put("dev/log", Entry::new(Kind::Socket, 0o666));
    put("dev/sda", Entry::new(Kind::BlockDevice { major: 8, minor: 300 }, 0o660));
    put("tmp/fifo", Entry::new(Kind::Fifo, 0o600));
    put("usr/share/bad\u{1b}[2Jname", file(Vec::new(), 0o644));
    let mut sparse = vec![0; 100_000];
    sparse[50_000] = 1;
    put("usr/share/sparse", file(sparse, 0o600));
    let owned = Entry { uid: 1000, gid: 70_000, ..file(b"mine".to_vec(), 0o640) };
    put("usr/share/owned", owned);
    tree
}

pub(crate) fn directory(mode: u16) -> Entry {
    Entry::new(Kind::Directory, mode)
}

pub(crate) fn file(bytes: Vec<u8>, mode: u16) -> Entry {
    Entry::new(Kind::File(Content::bytes(bytes)), mode)
}

/// Bytes that do not compress to nothing, the same on every machine.
pub(crate) fn pattern(seed: u32, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(|_| next()).collect()
}
