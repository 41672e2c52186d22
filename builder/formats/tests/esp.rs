//! The ESP against fsck.vfat and mtools, and our reader against volumes of mkfs.vfat.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use formats::esp::{Esp, EspError, Options};
use formats::fat::{BootSectorError, Fat, FatError};
use formats::read_at::ReadAt;
use formats::tree::Content;
use support::{noise, run, succeed};

const MIB: u64 = 1 << 20;

fn options() -> Options {
    Options { size: 64 * MIB, volume_id: 0x1234_abcd, label: "ESP".into(), hidden_sectors: 2048 }
}

fn files(folder: &Path) -> Vec<(String, Content)> {
    let uki = folder.join("uki");
    let mut file = fs::File::create(&uki).unwrap();
    file.write_all(&noise(1, 5_000_017)).unwrap();
    let slice = Content::Slice { path: Arc::from(uki), offset: 11, length: 5_000_000 };
    vec![
        ("EFI/BOOT/BOOTX64.EFI".into(), Content::bytes(noise(2, 140_891))),
        ("EFI/Linux/slipway_0.1.0+3.efi".into(), slice),
        ("EFI/Linux/slipway_0.1.0+3-1.efi".into(), Content::bytes(noise(3, 4096))),
        ("loader/loader.conf".into(), Content::bytes(b"timeout 0\n".as_slice())),
        ("loader/entries.srel".into(), Content::bytes(b"type2\n".as_slice())),
        ("loader/empty".into(), Content::bytes([])),
        ("späße und 夜.txt".into(), Content::bytes(b"x".as_slice())),
    ]
}

fn image(files: &[(String, Content)], options: &Options) -> Vec<u8> {
    let mut image = Vec::new();
    Esp::plan(files, options).unwrap().write(&mut image).unwrap();
    assert_eq!(image.len() as u64, options.size);
    image
}

fn content(content: &Content) -> Vec<u8> {
    let mut bytes = vec![0; content.len() as usize];
    content.open().unwrap().read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

fn assert_fsck_is_content(path: &Path) {
    let said = succeed("fsck.vfat", "dosfstools", &["-n", "-v", path.to_str().unwrap()]);
    let complaints = ["differ", "orrupt", "rong", "nvalid", "Dirty", "reclaim", "Free cluster summary"];
    assert!(!complaints.iter().any(|complaint| said.contains(complaint)), "{said}");
}

#[test]
fn fsck_and_mtools_accept_ours() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path());
    for size in [33 * MIB, 64 * MIB, 128 * MIB, 513 * MIB] {
        let path = folder.path().join("esp");
        fs::write(&path, image(&files, &Options { size, ..options() })).unwrap();
        assert_fsck_is_content(&path);
        for (name, bytes) in &files[..4] {
            let out = folder.path().join("out");
            let from = format!("::/{name}");
            let arguments = ["-n", "-o", "-i", path.to_str().unwrap(), &from, out.to_str().unwrap()];
            succeed("mcopy", "mtools", &arguments);
            assert!(fs::read(out).unwrap() == content(bytes), "{name}");
        }
    }
    fs::write(folder.path().join("esp"), image(&files, &options())).unwrap();
    let esp = folder.path().join("esp");
    let listing = succeed("mdir", "mtools", &["-/", "-i", esp.to_str().unwrap(), "::"]);
    assert_eq!(listing, include_str!("esp.mdir.txt"));
}

#[test]
fn our_reader_gives_back_the_files() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path());
    let image = image(&files, &options());
    let fat = Fat::open(&image).unwrap();
    fat.check().unwrap();
    let boot = fat.boot_sector();
    assert_eq!((boot.label.as_str(), boot.volume_id, boot.cluster_size), ("ESP", 0x1234_abcd, 512));
    let walk = fat.walk().unwrap();
    assert_eq!(walk.len(), files.len() + 4);
    for (name, bytes) in &files {
        let file = fat.open_file(&fat.find(name).unwrap()).unwrap();
        assert!(walk.iter().any(|(path, _)| path == name), "{name}");
        assert_eq!(file.size(), bytes.len());
        let mut read = vec![0; file.size() as usize];
        file.read_exact_at(&mut read, 0).unwrap();
        assert!(read == content(bytes), "{name}");
        assert!(file.read_exact_at(&mut [0], file.size()).is_err());
    }
    assert_eq!(fat.find("efi/LINUX/Slipway_0.1.0+3.EFI").unwrap().size, 5_000_000);
    assert!(matches!(fat.find("EFI/nothing"), Err(FatError::NotFound { .. })));
    assert!(matches!(fat.find("loader/empty/x"), Err(FatError::NotFound { .. })));
}

#[test]
fn the_same_files_give_the_same_bytes_and_little_else() {
    /// Counts what is not zero.
    #[derive(Default)]
    struct Dense(u64);
    impl formats::stream::ImageSink for Dense {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
            self.0 += bytes.len() as u64;
            Ok(())
        }
        fn zeros(&mut self, _: u64) -> std::io::Result<()> {
            Ok(())
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path());
    assert!(image(&files, &options()) == image(&files, &options()));
    let mut dense = Dense::default();
    Esp::plan(&files, &options()).unwrap().write(&mut dense).unwrap();
    let payload: u64 = files.iter().map(|(_, content)| content.len()).sum();
    assert!(dense.0 - payload < 200_000, "{} bytes besides the files", dense.0 - payload);
}

#[test]
fn what_fat_cannot_hold_is_refused() {
    let plan = |path: &str, options: &Options| {
        Esp::plan(&[(path.into(), Content::bytes([1]))], options).err().unwrap().to_string()
    };
    for path in ["", "/a", "a//b", "a/", "..", "a.", "a ", "b/ a", "a:b", "a\\b", "a\n", &"x".repeat(256)] {
        assert!(plan(path, &options()).contains("no path of FAT file names"), "{path:?}");
    }
    for label in ["", "esp", "ELEVEN CHARS", "NO NAME", "A ", "Ä"] {
        let options = Options { label: label.into(), ..options() };
        assert!(plan("a", &options).contains("no FAT volume label"), "{label:?}");
    }
    let error = plan("a", &Options { size: 32 * MIB, ..options() });
    assert!(error.contains("outside of what FAT32 can be"), "{error}");
    assert!(plan("a", &Options { size: 64 * MIB + 512, ..options() }).contains("not a multiple"));
    let twice = [("a/b".into(), Content::bytes([1])), ("A/B".into(), Content::bytes([2]))];
    assert!(matches!(Esp::plan(&twice, &options()), Err(EspError::Duplicate { path }) if path == "A/B"));
    let path = Arc::from(Path::new("/dev/null"));
    let big = Content::Slice { path: Arc::clone(&path), offset: 0, length: 64 * MIB };
    let full = Esp::plan(&[("a".into(), big)], &options());
    assert!(matches!(full, Err(EspError::Full { needed, .. }) if needed == 64 * MIB));
    let huge = Content::Slice { path, offset: 0, length: 1 << 32 };
    assert!(matches!(Esp::plan(&[("a".into(), huge)], &options()), Err(EspError::FileTooLarge { .. })));
}

#[test]
fn volumes_of_mkfs_and_mcopy_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("theirs");
    let text = path.to_str().unwrap();
    fs::File::create(&path).unwrap().set_len(100 * MIB).unwrap();
    succeed("mkfs.vfat", "dosfstools", &["-F", "32", "-n", "THEIRS", text]);
    succeed("mmd", "mtools", &["-i", text, "::/deep", "::/deep/er"]);
    let bytes = noise(9, 3_000_001);
    let input = folder.path().join("in");
    fs::write(&input, &bytes).unwrap();
    for name in ["one", "two with a long name.bin", "three", "UPPER.TXT"] {
        let to = format!("::/deep/er/{name}");
        succeed("mcopy", "mtools", &["-i", text, input.to_str().unwrap(), &to]);
    }
    // Leaves deleted records and a hole that the next file is broken over.
    succeed("mdel", "mtools", &["-i", text, "::/deep/er/two with a long name.bin"]);
    fs::write(&input, noise(8, 6_000_000)).unwrap();
    succeed("mcopy", "mtools", &["-i", text, input.to_str().unwrap(), "::/in two pieces"]);

    let file = fs::File::open(&path).unwrap();
    let fat = Fat::open(&file).unwrap();
    fat.check().unwrap();
    let walk = fat.walk().unwrap();
    let names: Vec<_> = walk.iter().map(|(path, entry)| (path.as_str(), entry.size)).collect();
    assert_eq!(
        names,
        [
            ("deep", 0),
            ("deep/er", 0),
            ("deep/er/one", 3_000_001),
            ("deep/er/three", 3_000_001),
            ("deep/er/UPPER.TXT", 3_000_001),
            ("in two pieces", 6_000_000),
        ]
    );
    let broken = fat.open_file(&walk[5].1).unwrap();
    let mut read = vec![0; 6_000_000];
    broken.read_exact_at(&mut read, 0).unwrap();
    assert!(read == noise(8, 6_000_000));
    let mut middle = [0; 100];
    broken.read_exact_at(&mut middle, 2_999_990).unwrap();
    assert!(middle == read[2_999_990..3_000_090]);
}

#[test]
fn each_kind_of_damage_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let good = image(&files(folder.path()), &options());
    let fat = Fat::open(&good).unwrap();
    let boot = fat.boot_sector().clone();
    let (table, second) = (boot.table_offset as usize, (boot.table_offset + boot.table_size) as usize);
    let loader = fat.find("loader").unwrap().first_cluster as usize;
    let efi = fat.find("EFI").unwrap().first_cluster;
    let check = |pokes: &[(usize, &[u8])]| {
        let mut bad = good.clone();
        for (at, bytes) in pokes {
            bad[*at..*at + bytes.len()].copy_from_slice(bytes);
        }
        Fat::open(&bad).and_then(|fat| fat.check()).unwrap_err()
    };
    let boot_error = |at, bytes: &[u8]| match check(&[(at, bytes)]) {
        FatError::BootSector(error) => error,
        other => panic!("{other}"),
    };
    assert!(matches!(boot_error(510, &[0]), BootSectorError::Signature { .. }));
    assert!(matches!(boot_error(11, &[1]), BootSectorError::Field { field: "BytsPerSec", .. }));
    assert!(matches!(boot_error(13, &[3]), BootSectorError::Field { field: "SecPerClus", found: 3, .. }));
    assert!(matches!(boot_error(16, &[9]), BootSectorError::Field { field: "NumFATs", .. }));
    assert!(matches!(boot_error(32, &[0xff; 4]), BootSectorError::TooLarge { .. }));
    assert!(matches!(boot_error(36, &[0xff; 4]), BootSectorError::Field { field: "FATSz32", .. }));
    assert!(matches!(boot_error(36, &[1, 0]), BootSectorError::TableTooShort { .. }));
    assert!(matches!(boot_error(13, &[128]), BootSectorError::NotFat32 { .. }));
    assert!(matches!(boot_error(44, &[1]), BootSectorError::Field { field: "RootClus", found: 1, .. }));

    // The chain of folder "loader" leads to itself, to nowhere, to a free cluster.
    let entry = |cluster: usize, value: u32| (cluster * 4, value.to_le_bytes());
    let chain = |value: u32| {
        let (at, bytes) = entry(loader, value);
        check(&[(table + at, &bytes), (second + at, &bytes)])
    };
    assert!(matches!(chain(loader as u32), FatError::CrossLinked { path, .. } if path == "loader"));
    assert!(matches!(chain(0x0fff_0000), FatError::Chain { found: 0x0fff_0000, .. }));
    assert!(matches!(chain(0), FatError::Chain { found: 0, .. }));
    assert!(matches!(chain(efi), FatError::CrossLinked { .. }));
    let (at, bytes) = entry(100_000, 0x0fff_ffff);
    let lost = check(&[(table + at, &bytes), (second + at, &bytes)]);
    assert!(matches!(lost, FatError::Lost { count: 1, first: 100_000 }), "{lost}");
    let differ = check(&[(second + at, &bytes)]);
    assert!(matches!(differ, FatError::CopiesDiffer { offset } if offset == at as u64), "{differ}");

    // Records of the root: label, EFI, loader, then the long name of the last file.
    let root = boot.data_offset as usize;
    let record = |at: usize, bytes: &[u8]| match check(&[(root + at, bytes)]) {
        FatError::Record { problem, .. } => problem,
        other => panic!("{other}"),
    };
    assert_eq!(record(32 + 28, &[1]), "folder has a size, or no cluster");
    assert_eq!(record(3 * 32, &[0x7f]), "long name has an impossible count of parts");
    assert_eq!(record(3 * 32, &[1]), "long name without its last part");
    assert_eq!(record(3 * 32 + 13, &[0]), "long name's parts are out of order");
    assert_eq!(record(5 * 32, &[0xe5]), "long name without a short one");
    assert_eq!(record(5 * 32, b"X"), "long name belongs to another record");
    assert_eq!(record(4 * 32 + 1, b"/"), "name is no file name");
    assert_eq!(record(5 * 32 + 28, &[0]), "file's size and first cluster do not agree");
    let short = check(&[(root + 5 * 32 + 28, &[1, 2])]);
    assert!(matches!(short, FatError::ChainTooShort { size: 513, clusters: 1, .. }), "{short}");
}

#[test]
fn fsck_finds_what_we_would_call_sound_sound() {
    // A name that needs several tails: one 8.3 name in two folders is no collision.
    let folder = tempfile::tempdir().unwrap();
    let many: Vec<_> = (0..200)
        .map(|index| (format!("EFI/Linux/slipway_0.1.{index}+3.efi"), Content::bytes(noise(index, 700))))
        .collect();
    let image = image(&many, &options());
    let path = folder.path().join("esp");
    fs::write(&path, &image).unwrap();
    assert_fsck_is_content(&path);
    Fat::open(&image).unwrap().check().unwrap();
    assert!(run("fsck.vfat", "dosfstools", &["-n", path.to_str().unwrap()]).status.success());
}
