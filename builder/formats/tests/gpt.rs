//! Partition tables against sgdisk and sfdisk, both ways, and under damage.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use formats::gpt::{
    self, ALIGNMENT, CopyError, ESP, Gpt, GptLayout, GrowError, LayoutError, MbrError, Options,
    PartitionSpec, ROOT_X86_64, ReadError, VAR,
};
use support::{run, succeed};
use uuid::Uuid;

const MIB: u64 = 1 << 20;

fn spec(label: &str, type_guid: Uuid, unique: u128, mib: u64) -> PartitionSpec {
    let unique_guid = Uuid::from_u128(0x1111_2222_3333_4444_5555_6666_7777_0000 + unique);
    PartitionSpec { label: label.into(), type_guid, unique_guid, size: mib * MIB, attributes: 0 }
}

fn layout() -> GptLayout {
    let mut slot_b = spec("SLOT-B", ROOT_X86_64, 3, 64);
    slot_b.attributes = 1 << 60;
    let specs = [
        spec("ESP", ESP, 1, 33),
        PartitionSpec { size: 64 * MIB - 5, ..spec("SLOT-A", ROOT_X86_64, 2, 64) },
        slot_b,
        spec("STATE", VAR, 4, 10),
    ];
    GptLayout::plan(&specs, &options()).unwrap()
}

fn options() -> Options {
    Options { disk_guid: Uuid::from_u128(0xabcd_ef01_2345_6789_abcd_ef01_2345_6789) }
}

fn write(layout: &GptLayout, path: &Path) -> File {
    let file = File::options().read(true).write(true).create(true).truncate(true).open(path).unwrap();
    file.set_len(layout.disk_size).unwrap();
    let (head, tail) = (layout.head_bytes().unwrap(), layout.tail_bytes().unwrap());
    assert_eq!((head.len() as u64, tail.len() as u64), (gpt::HEAD_SIZE, gpt::TAIL_SIZE));
    file.write_all_at(&head, 0).unwrap();
    file.write_all_at(&tail, layout.disk_size - gpt::TAIL_SIZE).unwrap();
    file
}

fn assert_sgdisk_is_content(path: &Path) {
    let said = succeed("sgdisk", "gdisk", &["-v", path.to_str().unwrap()]);
    assert!(said.contains("No problems found."), "{said}");
}

#[test]
fn sgdisk_and_sfdisk_accept_ours() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk");
    let layout = layout();
    write(&layout, &path);
    assert_sgdisk_is_content(&path);
    let json = succeed("sfdisk", "fdisk", &["-J", path.to_str().unwrap()]);
    let golden = json.replace(path.to_str().unwrap(), "disk");
    assert_eq!(golden, include_str!("gpt.sfdisk.json"));
}

#[test]
fn reading_gives_back_the_plan() {
    let folder = tempfile::tempdir().unwrap();
    let layout = layout();
    let file = write(&layout, &folder.path().join("disk"));
    let read = Gpt::read(&file).unwrap();
    assert_eq!(read.partitions, layout.partitions);
    assert_eq!((read.disk_guid, read.disk_size), (layout.disk_guid, layout.disk_size));
    assert!(read.protective_mbr.is_ok() && read.primary.is_ok() && read.backup.is_ok());
    assert_eq!(read.by_label("STATE").unwrap().end() + ALIGNMENT, layout.disk_size);
}

#[test]
fn tables_by_sgdisk_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk");
    File::create(&path).unwrap().set_len(100 * MIB).unwrap();
    let text = path.to_str().unwrap();
    let arguments =
        ["-n", "3:2048:+10M", "-c", "3:späße", "-t", "3:ef00", "-n", "7:0:0", "-A", "7:set:2", text];
    succeed("sgdisk", "gdisk", &arguments);
    let read = Gpt::read(&File::open(&path).unwrap()).unwrap();
    let seen: Vec<_> =
        read.partitions.iter().map(|p| (p.number, p.label.as_str(), p.offset, p.attributes)).collect();
    assert_eq!(seen, [(3, "späße", MIB, 0), (7, "", 11 * MIB, 4)]);
    assert!(read.primary.is_ok() && read.backup.is_ok());
    let error = gpt::grow_last(&File::open(&path).unwrap()).unwrap_err();
    assert!(matches!(error, GrowError::Gap { number: 3 }), "{error}");
}

#[test]
fn a_table_grows_onto_a_larger_disk() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk");
    let layout = layout();
    let file = write(&layout, &path);
    assert_eq!(gpt::grow_last(&file).unwrap(), None);

    file.set_len(5000 * MIB + 512).unwrap();
    let found = Gpt::read(&file).unwrap();
    assert!(matches!(found.backup, Err(CopyError::NotAtEnd { .. })), "{:?}", found.backup);
    let growth = gpt::grow_last(&file).unwrap().unwrap();
    assert_eq!(growth.partition.end(), 4999 * MIB);
    file.write_all_at(&growth.tail, growth.tail_offset).unwrap();
    // Power may fail here: the primary copy still describes the smaller disk.
    assert_eq!(Gpt::read(&file).unwrap().partitions, layout.partitions);
    file.write_all_at(&growth.head, 0).unwrap();
    assert_sgdisk_is_content(&path);
    let read = Gpt::read(&file).unwrap();
    assert_eq!(read.partitions[..3], layout.partitions[..3]);
    assert_eq!(read.partitions[3], growth.partition);
    assert!(read.primary.is_ok() && read.backup.is_ok());
    assert_eq!(gpt::grow_last(&file).unwrap(), None);
}

#[test]
fn one_bad_copy_is_named_and_the_other_serves() {
    let folder = tempfile::tempdir().unwrap();
    let layout = layout();
    let file = write(&layout, &folder.path().join("disk"));
    let end = layout.disk_size;
    let judge = |offset: u64| {
        let mut byte = [0];
        file.read_exact_at(&mut byte, offset).unwrap();
        file.write_all_at(&[byte[0] ^ 0x55], offset).unwrap();
        let result = Gpt::read(&file).unwrap();
        file.write_all_at(&byte, offset).unwrap();
        assert_eq!(result.partitions, layout.partitions);
        result
    };
    assert!(matches!(judge(512).primary, Err(CopyError::Signature { offset: 512 })));
    assert!(matches!(judge(512 + 60).primary, Err(CopyError::HeaderCrc { offset: 512 })));
    assert!(matches!(judge(1024 + 32).primary, Err(CopyError::EntriesCrc { offset: 1024 })));
    assert!(matches!(judge(end - 512).backup, Err(CopyError::Signature { .. })));
    assert!(matches!(judge(end - 500).backup, Err(CopyError::HeaderCrc { .. })));
    assert!(matches!(judge(end - gpt::TAIL_SIZE).backup, Err(CopyError::EntriesCrc { .. })));
    assert!(matches!(judge(510).protective_mbr, Err(MbrError::Signature { .. })));
    assert!(matches!(judge(450).protective_mbr, Err(MbrError::NotProtective { .. })));

    file.write_all_at(&[0], 512).unwrap();
    file.write_all_at(&[0], end - 512).unwrap();
    let error = Gpt::read(&file).unwrap_err();
    assert!(matches!(error, ReadError::BothBad { .. }), "{error}");
    assert!(matches!(Gpt::read(&vec![0; 1000]), Err(ReadError::TooShort { size: 1000 })));
}

/// A header whose CRCs are right but whose values are not: only a checked sum stands there.
#[test]
fn hostile_values_under_good_checksums_are_refused() {
    let layout = layout();
    let mut disk = layout.head_bytes().unwrap();
    disk.resize(layout.disk_size as usize, 0);
    let poke = |at: usize, value: &[u8]| {
        let mut disk = disk.clone();
        disk[at..at + value.len()].copy_from_slice(value);
        let entries = crc32(&disk[1024..1024 + 128 * 128]);
        disk[512 + 88..512 + 92].copy_from_slice(&entries.to_le_bytes());
        disk[512 + 16..512 + 20].fill(0);
        let header = crc32(&disk[512..512 + 92]);
        disk[512 + 16..512 + 20].copy_from_slice(&header.to_le_bytes());
        match Gpt::read(&disk).unwrap_err() {
            ReadError::BothBad { primary, .. } => primary.to_string(),
            other => panic!("{other}"),
        }
    };
    let header = "partition table header at byte 512: ";
    assert_eq!(poke(512 + 24, &[9]), format!("{header}own sector is 9"));
    assert_eq!(poke(512 + 32, &[0xff; 8]), format!("{header}other copy's sector is {}", u64::MAX));
    assert_eq!(poke(512 + 48, &[0xff; 8]), format!("{header}last usable sector is {}", u64::MAX));
    assert_eq!(poke(512 + 40, &[0xff; 8]), format!("{header}first usable sector is {}", u64::MAX));
    assert_eq!(poke(512 + 72, &[0xff; 8]), format!("{header}first sector of entries is {}", u64::MAX));
    assert_eq!(poke(512 + 80, &[0xff; 4]), format!("{header}number of entries is {}", u32::MAX));
    assert_eq!(poke(512 + 84, &[0, 1]), format!("{header}size of an entry is 256"));
    let last = layout.disk_size / 512 - 34;
    assert_eq!(
        poke(1024 + 40, &u64::MAX.to_le_bytes()),
        format!("partition 1 has sectors 2048-{}, outside of 34-{last}", u64::MAX)
    );
    assert_eq!(poke(1024 + 128 + 32, &2048_u64.to_le_bytes()), "partitions 1 and 2 overlap");
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| crc >> 1 ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}

#[test]
fn plans_that_cannot_be_are_refused() {
    let plan = |specs: &[PartitionSpec]| GptLayout::plan(specs, &options()).unwrap_err();
    assert!(matches!(plan(&[spec(&"x".repeat(37), ESP, 1, 1)]), LayoutError::LabelTooLong { units: 37, .. }));
    assert!(matches!(plan(&[spec("a\0b", ESP, 1, 1)]), LayoutError::LabelNul { .. }));
    assert!(matches!(plan(&[spec("a", ESP, 1, 0)]), LayoutError::Empty { .. }));
    let huge = PartitionSpec { size: u64::MAX, ..spec("a", ESP, 1, 1) };
    assert!(matches!(plan(&[huge]), LayoutError::TooLarge { .. }));
    assert!(matches!(plan(&[spec("a", ESP, 1, 1), spec("b", ESP, 1, 1)]), LayoutError::SameGuid { .. }));
    let many: Vec<_> = (0..129).map(|index| spec("a", ESP, index, 1)).collect();
    assert!(matches!(plan(&many), LayoutError::TooMany { count: 129 }));
    let full: Vec<_> = (0..128).map(|index| spec("a", ESP, index, 1)).collect();
    assert!(GptLayout::plan(&full, &options()).unwrap().head_bytes().is_ok());
}

#[test]
fn a_disk_beyond_two_tebibytes_has_a_good_table() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk");
    let layout = GptLayout::plan(&[spec("big", VAR, 1, 3 << 20)], &options()).unwrap();
    write(&layout, &path);
    assert_sgdisk_is_content(&path);
    let output = run("sgdisk", "gdisk", &["-i", "1", path.to_str().unwrap()]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("(3.0 TiB)"), "{output:?}");
}
