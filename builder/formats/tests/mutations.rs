//! Good images with some bytes changed, or cut short: every reader gives a result or an
//! error. A panic, an overflow or an allocation without bounds fails the test.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::io::Cursor;
use std::sync::LazyLock;

use formats::esp::{self, Esp};
use formats::fat::Fat;
use formats::gpt::{self, Gpt, GptLayout, PartitionSpec};
use formats::qcow2::{self, Qcow2};
use formats::read_at::ReadAt;
use formats::stream::ImageSink;
use formats::tree::Content;
use formats::uki::{self, Uki};
use formats::verity::{self, VerityInfo, VerityWriter};
use proptest::prelude::*;
use support::noise;
use uuid::Uuid;

/// An image in memory with changes over it, so that a case costs no copy of the image.
struct Changed<'a> {
    image: &'a [u8],
    changes: Vec<(u64, u8)>,
    size: u64,
}

/// What a failing case needs to be repeated; not the image.
impl std::fmt::Debug for Changed<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{:?} of {} bytes", self.changes, self.size)
    }
}

impl ReadAt for Changed<'_> {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64).filter(|end| *end <= self.size);
        let end = end.ok_or(std::io::ErrorKind::UnexpectedEof)?;
        self.image.read_exact_at(buffer, offset)?;
        for (at, value) in &self.changes {
            if (offset..end).contains(at) {
                buffer[(at - offset) as usize] = *value;
            }
        }
        Ok(())
    }

    fn size(&self) -> u64 {
        self.size
    }
}

/// Up to eight bytes, most of them where the structures are; sometimes the end is cut off.
fn changed(
    image: &'static [u8],
    interesting: Vec<std::ops::Range<u64>>,
) -> impl Strategy<Value = Changed<'static>> {
    let size = image.len() as u64;
    let places = prop_oneof![
        9 => proptest::sample::select(interesting).prop_flat_map(|range| range),
        1 => 0..size,
    ];
    // Extreme values break sums more often than others.
    let values = prop_oneof![Just(0), Just(0xff), Just(0x7f), Just(0x80), Just(1), any::<u8>()];
    let changes = proptest::collection::vec((places, values), 1..8);
    let ends = prop_oneof![9 => Just(size), 1 => 0..=size];
    (changes, ends).prop_map(move |(changes, size)| Changed { image, changes, size })
}

fn cases() -> ProptestConfig {
    let cases = if std::env::var_os("SLIPWAY_NIGHTLY").is_some() { 50_000 } else { 1000 };
    ProptestConfig { cases, ..ProptestConfig::default() }
}

static DISK: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let specs: Vec<_> = (1..4)
        .map(|number| PartitionSpec {
            label: format!("P{number}"),
            type_guid: gpt::ROOT_X86_64,
            unique_guid: Uuid::from_u128(number),
            size: 1,
            attributes: 0,
        })
        .collect();
    let layout = GptLayout::plan(&specs, &gpt::Options { disk_guid: Uuid::from_u128(9) }).unwrap();
    let mut disk = layout.head_bytes().unwrap();
    disk.resize((layout.disk_size - gpt::TAIL_SIZE) as usize, 0);
    disk.extend(layout.tail_bytes().unwrap());
    disk
});

static VOLUME: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let files = [
        ("EFI/Linux/slipway_0.1.0+3.efi".to_owned(), Content::bytes(noise(1, 70_000))),
        ("loader/loader.conf".to_owned(), Content::bytes(b"timeout 0\n".as_slice())),
    ];
    let options = esp::Options { size: 33 << 20, volume_id: 1, label: "ESP".into(), hidden_sectors: 0 };
    let mut volume = Vec::new();
    Esp::plan(&files, &options).unwrap().write(&mut volume).unwrap();
    volume
});

static VERITY: LazyLock<(Vec<u8>, VerityInfo)> = LazyLock::new(|| {
    let mut image = Vec::new();
    let options = verity::Options { salt: vec![5; 32], uuid: [6; 16] };
    let mut writer = VerityWriter::new(&mut image, options).unwrap();
    writer.write(&noise(2, 150 * 4096)).unwrap();
    let info = writer.finish().unwrap();
    (image, info)
});

static UKI: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let stub = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub";
    let stub = std::fs::read(stub)
        .unwrap_or_else(|error| panic!("{stub}: {error}; apt-get install systemd-boot-efi"));
    let sections = [(".cmdline", Content::bytes(*b"quiet")), (".linux", Content::bytes(noise(3, 9000)))];
    let mut file = Vec::new();
    Uki::assemble(&stub, &sections).unwrap().write(&mut file).unwrap();
    file
});

static IMAGE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut disk = vec![0; 3 << 20];
    disk[100_000..400_000].copy_from_slice(&noise(4, 300_000));
    disk[1_000_000..1_200_000].fill(b'a');
    let mut image = Cursor::new(Vec::new());
    qcow2::write(&disk, std::slice::from_ref(&(0..3 << 20)), &mut image).unwrap();
    image.into_inner()
});

fn gpt_structures() -> Vec<std::ops::Range<u64>> {
    let size = DISK.len() as u64;
    vec![446..604, 1024..1440, size - gpt::TAIL_SIZE..size - gpt::TAIL_SIZE + 400, size - 512..size - 420]
}

/// Makes the CRCs of both copies right again, so that the values behind them are looked at.
fn with_good_crcs(disk: &Changed<'_>) -> Vec<u8> {
    let mut bytes = vec![0; disk.size() as usize];
    disk.read_exact_at(&mut bytes, 0).unwrap();
    let size = bytes.len();
    for (header, entries) in [(512, 1024), (size - 512, size - gpt::TAIL_SIZE as usize)] {
        let sum = crc32(&bytes[entries..entries + 128 * 128]);
        bytes[header + 88..header + 92].copy_from_slice(&sum.to_le_bytes());
        bytes[header + 16..header + 20].fill(0);
        let sum = crc32(&bytes[header..header + 92]);
        bytes[header + 16..header + 20].copy_from_slice(&sum.to_le_bytes());
    }
    bytes
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn partition_tables(disk in changed(&DISK, gpt_structures())) {
        let _ = Gpt::read(&disk);
        let _ = gpt::grow_last(&disk);
        if disk.size() >= 1 << 20 {
            let disk = with_good_crcs(&disk);
            if let Ok(gpt) = Gpt::read(&disk) {
                for partition in gpt.partitions {
                    prop_assert!(partition.end() <= disk.size());
                }
            }
            let _ = gpt::grow_last(&disk);
        }
    }

    #[test]
    fn fat_volumes(volume in changed(&VOLUME, {
        let fat = Fat::open(&*VOLUME).unwrap();
        let boot = fat.boot_sector();
        let (table, data) = (boot.table_offset, boot.data_offset);
        vec![0..90, table..table + 800, data..data + 4096, data..data + 300]
    })) {
        if let Ok(fat) = Fat::open(&volume) {
            let _ = fat.check();
            for (_, entry) in fat.walk().unwrap_or_default() {
                if let Ok(file) = fat.open_file(&entry) {
                    let mut bytes = vec![0; file.size().min(1 << 16) as usize];
                    let _ = file.read_exact_at(&mut bytes, 0);
                }
            }
        }
    }

    #[test]
    fn verity_trees(image in changed(&VERITY.0, {
        let superblock = VERITY.1.data_blocks * 4096;
        vec![superblock..superblock + 130, superblock + 4096..superblock + 8192]
    })) {
        let (original, info) = &*VERITY;
        let same = image.size() == original.len() as u64
            && image.changes.iter().all(|(at, value)| original[*at as usize] == *value);
        let verdict = verity::verify(&image, 0, info.data_blocks * 4096, &info.root_hash);
        if same {
            prop_assert!(verdict.is_ok());
        }
        // What passes has the same data, whatever else of the hash area changed.
        if verdict.is_ok() {
            let mut data = vec![0; (info.data_blocks * 4096) as usize];
            image.read_exact_at(&mut data, 0).unwrap();
            prop_assert!(data == original[..data.len()]);
        }
    }

    #[test]
    fn pe_files(file in changed(&UKI, vec![0..64, 60..64, 100..900])) {
        for section in uki::sections(&file).unwrap_or_default() {
            let _ = uki::section_bytes(&file, &section, 1 << 20);
        }
        let mut stub = vec![0; file.size() as usize];
        file.read_exact_at(&mut stub, 0).unwrap();
        let _ = Uki::assemble(&stub, &[(".initrd", Content::bytes(*b"x"))]);
    }

    #[test]
    fn qcow2_images(image in changed(&IMAGE, {
        let at = |place: usize| u64::from_be_bytes(IMAGE[place..place + 8].try_into().unwrap());
        let l1 = at(40);
        let l2 = at(l1 as usize) & 0x00ff_ffff_ffff_fe00;
        vec![0..112, l1..l1 + 8, l2..l2 + 400, 0x10000..0x10100]
    })) {
        if let Ok(disk) = Qcow2::open(&image) {
            let mut bytes = vec![0; 1 << 16];
            // A hostile size may be anything: look at the front and at the very end.
            for start in (0..disk.size().min(4 << 20)).step_by(1 << 16).chain([disk.size().saturating_sub(1 << 16)]) {
                let _ = disk.read_exact_at(&mut bytes, start);
            }
        }
    }
}
