//! `slipway inspect` on a small whole image: golden outputs, hostile trees, one flipped byte.
//!
//! Set `UPDATE_GOLDENS` to write the golden files instead of comparing with them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::inspect::{Fixture, session};
use common::{Disk, MIB, Made, directory, file, uki, write_esp};
use formats::qcow2;
use formats::tree::{Content, Entry, Kind};
use slipway::inspect::image::OpenImage;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;

/// Runs commands, with `IMAGE` for the image and `OUT` for the folder, and compares with a file.
fn golden(fixture: &Fixture, name: &str, commands: &[&str]) {
    let folder = fixture.folder.path().to_str().unwrap();
    let mut text = String::new();
    for command in commands {
        let words =
            command.split(' ').map(|word| word.replace("IMAGE", &fixture.image()).replace("OUT", folder));
        let words = words.collect::<Vec<_>>();
        let words = words.iter().map(String::as_str).collect::<Vec<_>>();
        let said = session(&words).replace(&fixture.image(), "IMAGE").replace(folder, "OUT");
        text.extend([format!("$ slipway inspect {command}\n"), said, "\n".to_owned()]);
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/inspect").join(name);
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        return;
    }
    let golden = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(text == golden, "{name} differs from its golden file; now it is:\n{text}");
}

#[test]
fn listings() {
    let fixture = Fixture::new(&Disk::new("0.1.0"));
    golden(
        &fixture,
        "ls.txt",
        &[
            "ls IMAGE",
            "ls -l IMAGE /usr/bin",
            "ls -l IMAGE /bin/",
            "ls -l IMAGE /dev",
            "ls -l -p ESP IMAGE /EFI/Linux",
            "ls --json IMAGE /usr/bin/su",
            "ls IMAGE /nothing/there",
            "ls -p SLOT-B IMAGE",
            "ls -p 7 IMAGE",
        ],
    );
    golden(
        &fixture,
        "cat.txt",
        &[
            "cat IMAGE /etc/os-release",
            "cat -p 1 IMAGE /loader/LOADER.CONF",
            "cat IMAGE /usr",
            "cat IMAGE /dev/console",
        ],
    );
    golden(
        &fixture,
        "tree.txt",
        &["tree IMAGE", "tree IMAGE /bin", "tree -p ESP IMAGE", "tree --json IMAGE /etc"],
    );
    golden(
        &fixture,
        "stat.txt",
        &[
            "stat IMAGE",
            "stat --json -p SLOT-A IMAGE",
            "stat IMAGE /usr/bin/host",
            "stat --json IMAGE /usr/bin/host",
            "stat IMAGE /bin",
            "stat IMAGE /dev/sda",
        ],
    );
}

#[test]
fn boot_entries() {
    let fixture = Fixture::new(&Disk::new("0.1.0"));
    golden(&fixture, "boot.txt", &["boot IMAGE", "boot --json IMAGE"]);
    let hash = fixture.made.verity.root_hash;
    let ukis = [("0.2.0+0-3", "0.2.0"), ("0.1.0+2-1", "0.1.0"), ("0.1.9", "0.1.9")];
    let mut ukis = ukis.map(|(name, version)| (format!("slipway_{name}.efi"), uki(version, &hash))).to_vec();
    ukis.push(("broken+3.efi".to_owned(), b"MZ but no more".to_vec()));
    write_esp(&mut fixture.file(), fixture.made.partition("ESP"), ukis);
    golden(&fixture, "boot-order.txt", &["boot IMAGE"]);

    let image = OpenImage::open(&fixture.path("a.raw")).unwrap();
    let names = image.entries().unwrap().into_iter().map(|entry| entry.file_name);
    let order = ["slipway_0.1.9.efi", "slipway_0.1.0+2-1.efi", "slipway_0.2.0+0-3.efi", "broken+3.efi"];
    assert_eq!(names.collect::<Vec<_>>(), order);
    let uki = image.uki().unwrap();
    assert_eq!((uki.linux.len(), uki.initrd.len(), uki.uname.as_str()), (50_000, 20_000, "6.1.0-test"));
    assert!(uki.os_release.contains("IMAGE_VERSION=0.1.9") && uki.command_line.contains("roothash="));
}

#[test]
fn qcow2_is_the_same_disk() {
    let fixture = Fixture::new(&Disk { state: Some(common::root("0")), ..Disk::new("0.1.0") });
    let path = fixture.path("a.qcow2");
    let raw = fixture.file();
    let whole = 0..raw.metadata().unwrap().len();
    qcow2::write(&raw, std::slice::from_ref(&whole), &mut File::create(&path).unwrap()).unwrap();
    let path = path.to_str().unwrap();
    assert_eq!(OpenImage::open(Path::new(path)).unwrap().format(), "qcow2");
    assert_eq!(session(&["diff", &fixture.image(), path]), "[Same]\n");
    assert!(session(&["verify", path]).ends_with("no damage\n[Done]\n"));
    assert_eq!(session(&["tree", path, "-p", "STATE"]), session(&["tree", &fixture.image(), "-p", "STATE"]));
}

#[test]
fn differences() {
    let fixture = Fixture::new(&Disk { state: Some(common::root("0")), ..Disk::new("0.1.0") });
    let mut other = Disk { slot_size: 3 * MIB, ..Disk::new("0.2.0") };
    let entries = &mut other.root.entries;
    entries.remove(b"dev/log".as_slice());
    entries.insert(b"etc/new".to_vec(), directory(0o700));
    entries.insert(b"etc/new/file".to_vec(), file(b"new".to_vec(), 0o600));
    entries.get_mut(b"usr/bin/su".as_slice()).unwrap().mode = 0o755;
    entries.get_mut(b"usr/share/owned".as_slice()).unwrap().uid = 7;
    entries.get_mut(b"dev/sda".as_slice()).unwrap().kind = Kind::BlockDevice { major: 8, minor: 1 };
    entries.get_mut(b"bin".as_slice()).unwrap().kind = Kind::Symlink(b"usr/sbin".to_vec());
    entries.get_mut(b"tmp/fifo".as_slice()).unwrap().kind = Kind::File(Content::bytes(b"no fifo".as_slice()));
    let host = entries.get_mut(b"usr/bin/host".as_slice()).unwrap();
    host.xattrs.remove(b"user.note".as_slice());
    host.mtime += 1;
    let mut bytes = common::pattern(4, 30_000);
    bytes[29_999] ^= 1;
    host.kind = Kind::File(Content::bytes(bytes));
    other.write(&fixture.path("b.raw"));
    golden(
        &fixture,
        "diff.txt",
        &["diff IMAGE OUT/b.raw", "diff --json IMAGE OUT/b.raw", "diff IMAGE IMAGE"],
    );

    // Bytes that are nobody's: one in front of the first partition, one behind the tree.
    fs::copy(fixture.image(), fixture.path("c.raw")).unwrap();
    let c = fixture.path("c.raw");
    let c = c.to_str().unwrap();
    let copy = File::options().write(true).open(c).unwrap();
    copy.write_all_at(&[1], 500_000).unwrap();
    assert_eq!(
        session(&["diff", &fixture.image(), c]),
        "disk  bytes outside of the partitions\n[Different]\n"
    );
    copy.write_all_at(&[1], fixture.made.partition("SLOT-B").offset - 1).unwrap();
    assert_eq!(
        session(&["diff", &fixture.image(), c]),
        "SLOT-A  bytes that belong to no file\n[Different]\n"
    );
}

#[test]
fn extract_gives_the_tree_and_leaves_out_what_needs_privileges() {
    let fixture = Fixture::new(&Disk::new("0.1.0"));
    golden(
        &fixture,
        "extract.txt",
        &[
            "extract IMAGE / OUT/whole",
            "extract --json IMAGE /etc OUT/etc",
            "extract IMAGE /usr/bin/host OUT/one",
            "extract -p ESP IMAGE /EFI/BOOT OUT/boot",
            "extract IMAGE / OUT/whole",
            "extract IMAGE /dev/console OUT/console",
        ],
    );
    let whole = fixture.path("whole");
    assert_eq!(fs::read(whole.join("usr/bin/host")).unwrap(), common::pattern(4, 30_000));
    assert_eq!(fs::read(fixture.path("one")).unwrap(), common::pattern(4, 30_000));
    assert_eq!(fs::read(fixture.path("boot/BOOTX64.EFI")).unwrap(), common::pattern(1, 3000));
    assert_eq!(fs::read_link(whole.join("etc/os-release")).unwrap(), Path::new("../usr/lib/os-release"));
    let mode = |path: &str| fs::metadata(whole.join(path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("usr/bin/su"), mode("tmp"), mode("usr/share/owned")), (0o755, 0o777, 0o640));
    assert_eq!(fs::metadata(whole.join("usr/bin/host")).unwrap().mtime(), 1_700_000_000);
    let sparse = fs::read(whole.join("usr/share/sparse")).unwrap();
    assert_eq!((sparse.len(), sparse.iter().position(|byte| *byte != 0)), (100_000, Some(50_000)));
    assert!(fs::symlink_metadata(whole.join("dev/console")).is_err());
}

/// Names that no writer of ours makes are put in by hand, with the checksums switched off.
#[test]
fn extract_never_leaves_its_folder() {
    let mut disk = Disk::new("0.1.0");
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().to_str().unwrap().as_bytes().to_vec();
    let mut put = |path: &[u8], entry: Entry| disk.root.entries.insert(path.to_vec(), entry);
    put(b"etc/link", Entry::new(Kind::Symlink(target), 0o777));
    put(b"etc/QQQQ", directory(0o755));
    put(b"etc/QQQQ/escaped", file(b"escaped".to_vec(), 0o644));
    let fixture = Fixture::new(&disk);
    let slot = fixture.made.partition("SLOT-A").clone();
    let mut bytes = vec![0; slot.size as usize];
    fixture.file().read_exact_at(&mut bytes, slot.offset).unwrap();
    bytes[1024 + 0x65] &= !4; // s_feature_ro_compat: metadata_csum
    let name = bytes.windows(4).position(|window| window == b"QQQQ").unwrap();
    assert_eq!(bytes[name - 2], 4, "name_len of the directory entry");
    let before = fs::read_dir(fixture.folder.path()).unwrap().count();
    for (new, expected) in [
        (b"link".as_slice(), "/etc/link: the name is there twice"),
        (b"..", "/etc/..: the name is there twice"),
        (b"../Q", "cannot be that of a file"),
        (b"a/b", "cannot be that of a file"),
        (b"/tmp", "cannot be that of a file"),
        (b"a\0b", "cannot be that of a file"),
        (b"", "cannot be that of a file"),
    ] {
        let mut bytes = bytes.clone();
        bytes[name - 2] = new.len() as u8;
        bytes[name..name + new.len()].copy_from_slice(new);
        fixture.file().write_all_at(&bytes, slot.offset).unwrap();
        let out = fixture.path("out");
        let said = session(&["extract", &fixture.image(), "/etc", out.to_str().unwrap()]);
        let shown = new.escape_ascii();
        assert!(said.contains(expected), "{shown}: {said}");
        assert!(fs::read_dir(outside.path()).unwrap().next().is_none(), "{shown} got out");
        if out.exists() {
            fs::remove_dir_all(&out).unwrap();
        }
        assert_eq!(fs::read_dir(fixture.folder.path()).unwrap().count(), before, "{shown} got out");
    }
}

/// A tree that contains itself is refused, and links that lead out of the root do not.
#[test]
fn loops_end_and_links_stay_inside() {
    let mut disk = Disk::new("0.1.0");
    let mut link = |path: &str, target: &str| {
        let entry = Entry::new(Kind::Symlink(target.as_bytes().to_vec()), 0o777);
        disk.root.entries.insert(path.as_bytes().to_vec(), entry)
    };
    link("etc/self", "self");
    link("etc/out", "../../../../usr/lib/os-release");
    link("etc/abs", "/usr/lib/os-release");
    let fixture = Fixture::new(&disk);
    for path in ["/etc/out", "/etc/abs", "/../etc/../../etc/abs"] {
        assert_eq!(session(&["cat", &fixture.image(), path]), "ID=slipway\nVERSION_ID=0.1.0\n[Done]\n");
    }
    assert!(session(&["cat", &fixture.image(), "/etc/self"]).contains("too many levels of symbolic links"));

    let slot = fixture.made.partition("SLOT-A").clone();
    let mut bytes = vec![0; slot.size as usize];
    fixture.file().read_exact_at(&mut bytes, slot.offset).unwrap();
    bytes[1024 + 0x65] &= !4;
    let name = bytes.windows(3).position(|window| window == b"tmp").unwrap();
    bytes[name - 8..name - 4].copy_from_slice(&2_u32.to_le_bytes()); // the root's inode
    fixture.file().write_all_at(&bytes, slot.offset).unwrap();
    assert!(
        session(&["tree", &fixture.image()]).contains("/tmp: the directory (inode 2) is in the tree twice")
    );
}

#[test]
fn verify_of_a_good_image_says_what_was_checked() {
    let fixture = Fixture::new(&Disk { state: Some(common::root("0")), ..Disk::new("0.1.0") });
    golden(&fixture, "verify.txt", &["verify IMAGE", "verify --json IMAGE"]);
    // veritysetup has the same opinion.
    let slot = fixture.made.partition("SLOT-A");
    let mut bytes = vec![0; slot.size as usize];
    fixture.file().read_exact_at(&mut bytes, slot.offset).unwrap();
    let path = fixture.path("slot");
    fs::write(&path, bytes).unwrap();
    let root_hash = formats::verity::to_hex(&fixture.made.verity.root_hash);
    let status = Command::new("/usr/sbin/veritysetup")
        .args(["verify", path.to_str().unwrap(), path.to_str().unwrap(), &root_hash])
        .arg(format!("--hash-offset={}", fixture.made.root_size))
        .status()
        .unwrap_or_else(|error| panic!("veritysetup: {error}; apt-get install cryptsetup-bin"));
    assert!(status.success());
}

#[test]
fn verify_finds_one_flipped_byte() {
    let fixture = Fixture::new(&Disk { state: Some(common::root("0")), ..Disk::new("0.1.0") });
    let Made { layout, root_size, .. } = &fixture.made;
    let [esp, slot, _, state] = layout.partitions.as_slice() else { panic!("four partitions") };
    let tree = slot.offset + root_size + 4096;
    let mut volume = vec![0; esp.size as usize];
    fixture.file().read_exact_at(&mut volume, esp.offset).unwrap();
    let initrd = common::pattern(2, 20_000);
    let in_uki = volume.windows(64).position(|bytes| bytes == &initrd[..64]).unwrap() as u64;
    let places = [
        ("PE file has the checksum", esp.offset + in_uki + 100),
        ("protective MBR", 510),
        ("GPT primary", 512 + 16),
        ("GPT primary", 1024 + 40),
        ("GPT backup", layout.disk_size - 512 + 24),
        ("GPT backup", layout.disk_size - 33 * 512 + 3),
        ("partition ESP (at byte 1048576 of the disk) FAT32", esp.offset + 510),
        ("ext4 superblock", slot.offset + 1024 + 0x78),
        ("ext4 superblock", state.offset + 1024 + 0x78),
        ("verity data block 0 at byte 0", slot.offset),
        ("corrupt", slot.offset + root_size - 1),
        ("verity superblock", slot.offset + root_size + 1),
        ("byte", slot.offset + root_size + 4095),
        ("no slot has its root hash", slot.offset + root_size + 0x58),
        ("no slot has its root hash", tree),
    ];
    for (expected, offset) in places {
        let mut byte = [0];
        fixture.file().read_exact_at(&mut byte, offset).unwrap();
        fixture.file().write_all_at(&[byte[0] ^ 0x10], offset).unwrap();
        let said = session(&["verify", &fixture.image()]);
        let damaged = said.lines().filter(|line| line.starts_with("DAMAGED")).collect::<Vec<_>>().join("\n");
        assert!(damaged.contains(expected), "byte {offset}, {expected}:\n{said}");
        assert!(said.ends_with("[Damaged]\n"), "{said}");
        fixture.file().write_all_at(&byte, offset).unwrap();
    }
    assert!(session(&["verify", &fixture.image()]).ends_with("no damage\n[Done]\n"));
}

/// ext4-view takes the high half of a symbolic link's size for a size, and would allocate it.
#[test]
fn a_link_of_absurd_size_is_refused() {
    let fixture = Fixture::new(&Disk::new("0.1.0"));
    let slot = fixture.made.partition("SLOT-A").clone();
    let mut bytes = vec![0; slot.size as usize];
    fixture.file().read_exact_at(&mut bytes, slot.offset).unwrap();
    bytes[1024 + 0x65] &= !4;
    let i_block = bytes.windows(9).position(|window| window == b"usr/bin\0\0").unwrap();
    bytes[i_block - 0x28 + 0x6c] = 0x40; // i_size_high
    fixture.file().write_all_at(&bytes, slot.offset).unwrap();
    let said = session(&["ls", &fixture.image()]);
    assert!(said.contains("/bin: a symbolic link of 274877906951 bytes, more than 4095"), "{said}");
}

/// Our readers do not replay a journal, and what they would see without that is the past.
#[test]
fn a_journal_in_use_is_said() {
    let fixture = Fixture::new(&Disk { state: Some(common::root("0")), ..Disk::new("0.1.0") });
    let superblock = fixture.made.partition("STATE").offset + 1024;
    let mut byte = [0];
    fixture.file().read_exact_at(&mut byte, superblock + 0x65).unwrap();
    fixture.file().write_all_at(&[byte[0] & !4], superblock + 0x65).unwrap();
    fixture.file().read_exact_at(&mut byte, superblock + 0x60).unwrap();
    fixture.file().write_all_at(&[byte[0] | 4], superblock + 0x60).unwrap();
    let said = session(&["ls", "-p", "STATE", &fixture.image()]);
    assert!(
        said.contains("the journal holds changes that are not replayed\nhint: boot the image once"),
        "{said}"
    );
    let said = session(&["verify", &fixture.image()]);
    assert!(said.contains("its journal holds changes") && said.ends_with("no damage\n[Done]\n"), "{said}");
}

#[test]
fn broken_images_are_told_apart() {
    let fixture = Fixture::new(&Disk::new("0.1.0"));
    for (name, bytes) in [("empty.raw", 0), ("zeros.raw", MIB)] {
        File::create(fixture.path(name)).unwrap().set_len(bytes).unwrap();
    }
    fs::write(fixture.path("short.qcow2"), b"QFI\xfb\0\0\0\x03").unwrap();
    fs::write(fixture.path("text.raw"), "x".repeat(100_000)).unwrap();
    File::create(fixture.path("z.raw.zst")).unwrap();
    golden(
        &fixture,
        "broken.txt",
        &[
            "stat OUT/absent.raw",
            "stat OUT",
            "stat OUT/z.raw.zst",
            "stat OUT/empty.raw",
            "stat OUT/zeros.raw",
            "stat OUT/text.raw",
            "stat OUT/short.qcow2",
            "stat /dev/null",
        ],
    );
}
