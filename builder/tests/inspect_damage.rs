//! `slipway inspect` on images with bytes changed anywhere, or cut anywhere: it ends, with an
//! error or a result, and does not panic, hang or allocate without bounds.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::inspect::{Fixture, inspect};
use common::{Disk, Made, directory, file};
use formats::fat::Fat;
use formats::qcow2;
use formats::tree::{Entry, Kind};
use formats::window::Window;
use proptest::prelude::*;
use std::cell::OnceCell;
use std::fs::{self, File};
use std::io::Write as _;
use std::ops::Range;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::Path;

/// Every command; whether it fails does not matter, only that it ends.
fn run_all(image: &str, other: &str, folder: &Path) {
    let out = folder.join("extracted");
    let long_name = format!("/usr/share/many/{:0200}", 39);
    for arguments in [
        vec!["stat", image],
        vec!["ls", "-l", image],
        vec!["tree", "--json", image],
        vec!["tree", "-p", "ESP", image],
        vec!["cat", image, "/usr/share/islands"],
        vec!["stat", image, &long_name],
        vec!["boot", image],
        vec!["verify", image],
        vec!["diff", image, other],
        vec!["extract", image, "/", out.to_str().unwrap()],
    ] {
        match inspect(&arguments).0 {
            Ok(_) => {}
            Err(error) => assert!(error.to_string().len() < 4000, "{error}"),
        }
    }
    if out.exists() {
        make_removable(&out);
        fs::remove_dir_all(&out).unwrap();
    }
}

/// A damaged mode may keep even its owner out.
fn make_removable(folder: &Path) {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).unwrap();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            make_removable(&entry.path());
        }
    }
}

/// Images to damage: as they come, and without checksums in ext4, so that damage gets further.
struct Victims {
    fixture: Fixture,
    good: String,
    raw: String,
    qcow2: String,
    regions: Vec<Range<u64>>,
}

impl Victims {
    fn new() -> Self {
        let mut disk = Disk { state: Some(common::root("0")), ..Disk::new("0.1.0") };
        let mut put = |path: String, entry: Entry| disk.root.entries.insert(path.into_bytes(), entry);
        // A directory with an index, and a file whose extents need a block of their own.
        put("usr/share/many".into(), directory(0o755));
        for number in 0..40 {
            let entry = Entry::new(Kind::Symlink(b"x".to_vec()), 0o777);
            put(format!("usr/share/many/{number:0200}"), entry);
        }
        let islands = (0..12_u8).flat_map(|block| vec![block % 2; 4096]).collect();
        put("usr/share/islands".into(), file(islands, 0o644));
        put("usr/share/far".into(), Entry::new(Kind::Symlink(vec![b'y'; 200]), 0o777));
        let fixture = Fixture::new(&disk);
        let good = fixture.image();
        let name = |name: &str| fixture.path(name).to_str().unwrap().to_owned();
        let (raw, qcow2) = (name("victim.raw"), name("victim.qcow2"));
        fs::copy(&good, &raw).unwrap();
        let file = File::options().read(true).write(true).open(&raw).unwrap();
        let Made { layout, root_size, verity, .. } = &fixture.made;
        let [esp, slot, _, state] = layout.partitions.as_slice() else { panic!("four partitions") };
        for partition in [slot, state] {
            let mut byte = [0];
            let place = partition.offset + 1024 + 0x65;
            file.read_exact_at(&mut byte, place).unwrap();
            file.write_all_at(&[byte[0] & !4], place).unwrap();
        }
        let whole = 0..layout.disk_size;
        qcow2::write(&file, std::slice::from_ref(&whole), &mut File::create(&qcow2).unwrap()).unwrap();
        let (tables, data) = {
            let esp = Window::new(&file, esp.offset, esp.size);
            let fat = Fat::open(&esp).unwrap();
            (fat.boot_sector().table_offset, fat.boot_sector().data_offset)
        };
        let hash_blocks = verity.tree_blocks + 1;
        let regions = vec![
            0..17_408,
            layout.disk_size - 33 * 512..layout.disk_size,
            esp.offset..esp.offset + 512,
            // The used part of the tables; the folders and the UKI's headers; the UKI.
            esp.offset + tables..esp.offset + tables + 1024,
            esp.offset + data..esp.offset + data + 16_384,
            esp.offset + data..esp.offset + data + 90_000,
            slot.offset + 1024..slot.offset + 2048,
            slot.offset + 4096..slot.offset + 65_536,
            slot.offset..slot.offset + root_size,
            slot.offset + root_size..slot.offset + root_size + hash_blocks * 4096,
            state.offset..state.offset + 300_000,
        ];
        Self { fixture, good, raw, qcow2, regions }
    }
}

thread_local!(static VICTIMS: OnceCell<Victims> = const { OnceCell::new() });

/// Pokes bytes into a file, runs everything, and puts the bytes back.
fn poke_and_run(victims: &Victims, path: &str, pokes: &[(u64, u8)]) {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let before = pokes.iter().map(|(place, _)| {
        let mut byte = [0];
        file.read_exact_at(&mut byte, *place).unwrap();
        byte
    });
    let before = before.collect::<Vec<_>>();
    for (place, value) in pokes {
        file.write_all_at(&[*value], *place).unwrap();
    }
    run_all(path, &victims.good, victims.fixture.folder.path());
    for ((place, _), byte) in pokes.iter().zip(&before).rev() {
        file.write_all_at(byte, *place).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_raw_images_are_survived(
        region in 0_usize..11,
        pokes in prop::collection::vec((any::<u32>(), any::<u8>()), 1..40),
    ) {
        VICTIMS.with(|victims| {
            let victims = victims.get_or_init(Victims::new);
            let range = &victims.regions[region];
            let place = |place: u32| range.start + u64::from(place) % (range.end - range.start);
            let pokes = pokes.iter().map(|(at, value)| (place(*at), *value)).collect::<Vec<_>>();
            poke_and_run(victims, &victims.raw, &pokes);
        });
    }

    #[test]
    fn damaged_qcow2_images_are_survived(pokes in prop::collection::vec((any::<u32>(), any::<u8>()), 1..10)) {
        VICTIMS.with(|victims| {
            let victims = victims.get_or_init(Victims::new);
            let size = fs::metadata(&victims.qcow2).unwrap().len();
            // A third each of the header, of the tables at the end, and of everything.
            let place = |at: u64| match at % 3 {
                0 => at % 112,
                1 => size - 1 - at % size.min(200_000),
                _ => at % size,
            };
            let pokes = pokes.iter().map(|(at, value)| (place(u64::from(*at)), *value)).collect::<Vec<_>>();
            poke_and_run(victims, &victims.qcow2, &pokes);
        });
    }
}

#[test]
fn truncated_images_are_survived() {
    let victims = Victims::new();
    let size = fs::metadata(&victims.raw).unwrap().len();
    let near = victims.regions.iter().flat_map(|region| [region.start, region.start + 1000, region.end - 1]);
    for length in
        [0, 1, 511, 512, 1024, size - 1, size - 512].into_iter().chain(near).filter(|length| *length < size)
    {
        let copy = victims.fixture.path("short.raw");
        fs::copy(&victims.good, &copy).unwrap();
        File::options().write(true).open(&copy).unwrap().set_len(length).unwrap();
        run_all(copy.to_str().unwrap(), &victims.good, victims.fixture.folder.path());
    }
    let qcow2 = fs::read(&victims.qcow2).unwrap();
    for length in [3, 4, 71, 104, 112, 65_536, 65_537, qcow2.len() / 2, qcow2.len() - 65_536, qcow2.len() - 1]
    {
        let copy = victims.fixture.path("short.qcow2");
        File::create(&copy).unwrap().write_all(&qcow2[..length]).unwrap();
        run_all(copy.to_str().unwrap(), &victims.good, victims.fixture.folder.path());
    }
}
